"""Node and hub settings: defaults, files, and what is refused before anything starts."""

from pathlib import Path

import pytest

from skerry.hub import settings as hub
from skerry.kit.errors import InvalidInput
from skerry.node import settings as node
from skerry.node.node_settings import from_bytes, to_bytes


def test_a_node_without_any_settings() -> None:
    settings = node.node_settings(
        node.find_settings(environment={}, options={"data_dir": "/srv/n"})
    )
    assert settings.data_dir == Path("/srv/n")
    assert settings.run_dir == Path("/srv/n/run")
    assert settings.api.port == 8000
    assert settings.hub.url is None
    assert settings.labels == {}


@pytest.mark.parametrize(
    ("environment", "options", "first"),
    [
        ({"DOCKER_HOST": "unix:///srv/d.sock"}, {}, ["/srv/d.sock"]),
        ({"DOCKER_HOST": "unix:///srv/d.sock"}, {"containers.socket": "/srv/own.sock"}, ["/srv/own.sock"]),
        ({}, {}, ["/var/run/docker.sock", "/run/podman/podman.sock"]),
        ({"DOCKER_HOST": "tcp://10.0.0.1:2375"}, {}, ["/var/run/docker.sock", "/run/podman/podman.sock"]),
    ],
)  # fmt: skip
def test_where_an_engine_is_looked_for(
    environment: dict[str, str], options: dict[str, str], first: list[str]
) -> None:
    found = node.find_settings(environment={}, options={"data_dir": "/srv/n"} | options)
    sockets = node.node_settings(found, environment).engine_sockets
    assert [str(path) for path in sockets[:2]] == first
    own = node.node_settings(found, environment | {"XDG_RUNTIME_DIR": "/run/me"}).engine_sockets
    assert (Path("/run/me/podman/podman.sock") in own) == (len(first) == 2)


def test_settings_travel_to_the_agents_process() -> None:
    options = {"data_dir": "/srv/n", "labels": "{site: «lab»}", "hub.url": "http://hub:8600"}
    settings = node.node_settings(node.find_settings(environment={}, options=options))
    assert settings.labels == {"site": "«lab»"}
    assert from_bytes(to_bytes(settings)) == settings


def test_default_directories() -> None:
    home = Path("/home/ada")
    assert node.default_data_dir(home, root=False) == home / ".local/share/skerry/node"
    assert node.default_data_dir(home, root=True) == Path("/var/lib/skerry/node")
    assert hub.default_data_dir(home, root=False) == home / ".local/share/skerry/hub"
    assert hub.default_data_dir(home, root=True) == Path("/var/lib/skerry/hub")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("edge-7", "edge-7"),
        ("Edge_7.example.org", "edge-7"),
        ("-x-", "x"),
        ("", "node"),
        ("é", "node"),
        ("a" * 80, "a" * 63),
    ],
)
def test_a_node_is_named_after_its_host(host: str, name: str) -> None:
    assert node.default_name(host) == name


def test_node_yaml_is_found_in_the_data_directory(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("name: from-file\nlabels: {site: lab}\n")
    found = node.find_settings(environment={"SKERRY_NODE_DATA_DIR": str(tmp_path)})
    assert found["name"].value == "from-file"
    assert found["name"].origin == f"{tmp_path}/node.yaml:1"
    elsewhere = tmp_path / "other.yaml"
    elsewhere.write_text("name: chosen\n")
    options = {"data_dir": str(tmp_path)}
    assert (
        node.find_settings([elsewhere], options=options, environment={})["name"].value == "chosen"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: Edge", "name: «Edge» is not a name"),
        ("labels: {site: [a]}", "labels.site must be a text, this is a list"),
        ("labels: {-: a}", "labels: «-» is not a label's key"),
        ("hub: {url: hub:8600}", "hub.url: «hub:8600» is not a URL: write for example http://hub:8600"),
        ("api: {port: -1}", "api.port: -1 is out of range: at least 0"),
        ("logs: {level: verbose}", "logs.level: unknown level «verbose»: known are: debug, error, info, warning"),
        ("records: {keep_limit: 1KB}", "records.keep_limit: 1KB is out of range: at least 1MB"),
    ],
)  # fmt: skip
def test_what_a_node_refuses(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        node.find_settings([file], environment={})
    assert str(caught.value).startswith(f"{file}:1: {message}")


def test_a_path_that_is_too_long_for_sockets_is_refused() -> None:
    options = {"data_dir": f"/srv/{'x' * 100}"}
    with pytest.raises(InvalidInput) as caught:
        node.node_settings(node.find_settings(options=options, environment={}))
    assert str(caught.value).endswith(
        "it has 120 bytes, UNIX sockets take at most 107. "
        "Choose a data directory whose path is at least 13 bytes shorter."
    )


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read /nowhere/hub.yaml: No such file"):
        hub.find_settings([Path("/nowhere/hub.yaml")], environment={})
    big = tmp_path / "big.yaml"
    with big.open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(
        InvalidInput, match=r"cannot read .*: 50 MB is more than a file may have \(1 MiB\)"
    ):
        hub.find_settings([big], environment={})
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\n\xff\xfe")
    with pytest.raises(InvalidInput, match=r"line 2 is not UTF-8 text"):
        hub.find_settings([binary], environment={})


def test_a_hub_and_its_store() -> None:
    options = {"data_dir": "/srv/hub", "listen": "127.0.0.1:0"}
    settings = hub.hub_settings(hub.find_settings(options=options, environment={}))
    assert (settings.host, settings.port) == ("127.0.0.1", 0)
    assert settings.database_url == "sqlite:////srv/hub/hub.db"
    assert settings.retention.measurements == 30 * 86400


@pytest.mark.parametrize(
    ("listen", "fault"),
    [
        ("127.0.0.1:8600", None),
        ("localhost:8600", None),
        ("[::1]:8600", None),
        ("0.0.0.0:8600", "«0.0.0.0:8600» is not on loopback"),
        ("hub.example.org:1", "«hub.example.org:1» is not on loopback"),
        ("8600", "«8600» is not an address: write for example 127.0.0.1:8600"),
        ("127.0.0.1:99999", "«127.0.0.1:99999» is not an address"),
    ],
)
def test_a_hub_without_tls_listens_on_loopback_only(listen: str, fault: str | None) -> None:
    found = hub.listen_fault(listen, secure=False)
    assert found is None if fault is None else str(found).startswith(fault)
    secure = hub.listen_fault(listen, secure=True)
    assert secure is None or "is not an address" in secure


@pytest.mark.guarantee("G9")
def test_settings_of_tls_that_do_not_go_together(tmp_path: Path) -> None:
    both = {"tls.certificate": "/c.pem", "tls.key": "/k.pem"}
    away = {"listen": "0.0.0.0:8600"}
    documented = "encryption.communication"
    for options, fault in (
        ({}, ""),
        (both | away, ""),
        (both | {f"{documented}.enabled": "true"}, ""),
        (
            away | {f"{documented}.certificate_path": "/c.pem", f"{documented}.key_path": "/k.pem"},
            "",
        ),
        (away, "option --listen: listen: «0.0.0.0:8600» is not on loopback, and without"),
        ({"tls.key": "/k.pem"}, "belong together; one of them is missing"),
        (away | {"tls.certificate": "/c.pem"}, "belong together"),
        ({f"{documented}.enabled": "true"}, "enabled asks for TLS: set «tls.certificate»"),
    ):
        if not fault:
            assert hub.settings_to_start([], options).port == 8600
            continue
        with pytest.raises(InvalidInput, match=fault):
            hub.settings_to_start([], options)


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("https://hub.lan", ""),
        ("http://127.0.0.1:8600", ""),
        ("http://localhost:8600", ""),
        ("http://[::1]:8600", ""),
        ("http://hub.lan:8600", "in the clear"),
        ("http://192.0.2.7", "in the clear"),
        ("hub.lan", "is not an address"),
    ],
)
def test_hubs_send_each_other_the_administrators_token_over_tls_only(
    address: str, fault: str
) -> None:
    options = {"address": address}
    if not fault:
        assert (
            hub.hub_settings(hub.find_settings(environment={}, options=options)).address == address
        )
        return
    with pytest.raises(InvalidInput, match=fault):
        hub.find_settings(environment={}, options=options)
