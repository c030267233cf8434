"""Engine's output streams and creations, as pure functions."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from skerry.keeper.log_rules import LogRules
from skerry.keeper.masks import Masks
from skerry.kit.errors import Refused
from skerry.node.node_settings import Registry
from skerry.node.ports import ContainerLaunch
from skerry.node.workloads.runtimes.containers.answers import PullBytes, PullLine
from skerry.node.workloads.runtimes.containers.creation import (
    LOG,
    Findings,
    creation,
    exit_of,
    labels,
    log_of,
    with_secrets,
)
from skerry.node.workloads.runtimes.containers.credentials import registry_auth, registry_of
from skerry.node.workloads.runtimes.containers.engine import split_image
from skerry.node.workloads.runtimes.containers.frames import (
    Lines,
    Mark,
    Unframed,
    last_mark,
    seconds,
)
from skerry.node.workloads.runtimes.containers.pulling import Progress, why_missing
from skerry.wire.workload import (
    Assignment,
    ContainerSpec,
    Exit,
    Generation,
    Resources,
    WorkloadSpec,
)

NONE = Masks(LogRules(1000, 1))
T1 = b"2026-11-21T05:57:53.248922682Z"
T2 = b"2026-11-21T05:57:54.000000000Z"


def frame(payload: bytes, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


@given(st.lists(st.binary(max_size=50), max_size=6), st.integers(1, 9))
def test_frames_are_found_however_the_stream_is_cut(payloads: list[bytes], step: int) -> None:
    stream = b"".join(frame(payload, 1 + index % 2) for index, payload in enumerate(payloads))
    unframed, found = Unframed(), []
    for start in range(0, len(stream), step):
        found += unframed.feed(stream[start : start + step])
    names = (b"stdout", b"stderr")
    assert found == [(names[index % 2], payload) for index, payload in enumerate(payloads)]


def test_lines_have_the_engines_time_and_our_form() -> None:
    lines = Lines(Mark(), NONE)
    assert lines.of(b"stdout", T1 + b" hello\n") == [T1 + b" stdout F hello\n"]
    assert lines.of(b"stderr", b"2026-11-21T05:57:54Z part") == [T2 + b" stderr P part\n"]
    assert lines.of(b"stderr", b"no time at all\n") == []


@given(st.lists(st.sampled_from([T1, T2]), max_size=8).map(sorted), st.integers(0, 8))
def test_following_again_repeats_and_loses_nothing(times: list[bytes], written: int) -> None:
    payloads = [at + b" %d\n" % number for number, at in enumerate(times)]
    before = [
        line
        for payload in payloads[:written]
        for line in Lines(Mark(), NONE).of(b"stdout", payload)
    ]
    mark = last_mark(b"".join(before))
    again = Lines(mark, NONE)
    asked = [payload for payload in payloads if payload[:30] >= mark.at]
    after = [line for payload in asked for line in again.of(b"stdout", payload)]
    assert before + after == [
        line for p in payloads for line in Lines(Mark(), NONE).of(b"stdout", p)
    ]


def test_lines_of_our_own_are_no_mark() -> None:
    ours = T2 + b" stderr F skerry: pulled image acme/cam:2\n"
    assert last_mark(T1 + b" stdout F a\n" + ours) == Mark(T1, 1)
    assert last_mark(b"") == Mark()


def test_a_mark_is_asked_for_in_seconds() -> None:
    assert seconds(T1) == "1795240673.248922682"
    assert seconds(b"") == "0"


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("cam", ("cam", "latest")),
        ("acme/cam:2", ("acme/cam", "2")),
        ("lan:5000/acme/cam", ("lan:5000/acme/cam", "latest")),
        ("lan:5000/cam:2", ("lan:5000/cam", "2")),
        ("cam@sha256:ab", ("cam", "sha256:ab")),
    ],
)
def test_an_images_name_and_tag(image: str, parts: tuple[str, str]) -> None:
    assert split_image(image) == parts


@pytest.mark.parametrize(
    ("code", "exit_"),
    [(0, Exit(0)), (7, Exit(7)), (137, Exit(signal=9)), (143, Exit(signal=15)), (255, Exit(255))],
)
def test_an_exit_code_of_an_engine(code: int, exit_: Exit) -> None:
    assert exit_of(code, 0, "") == exit_
    assert exit_of(137, 0, "out of memory") == Exit(signal=9, reason="out of memory")


def test_what_is_asked_of_the_engine() -> None:
    spec = ContainerSpec(
        image="acme/cam:2",
        command=["run"],
        network="host",
        user="1000",
        read_only=True,
        cap_drop=["ALL"],
        volumes=["/srv:/data:ro"],
        devices=["/dev/video0:/dev/cam"],
    )
    resources = Resources(
        cpu=0.5, memory=64 << 20, open_files=100, pids=20, unattended_restart=True
    )
    launch = ContainerLaunch(
        instance="i1",
        workload="cam",
        environment={"A": "b"},
        strict=False,
        log=Path("/l/current.log"),
        log_rules=LogRules(10, 2),
        spec=spec,
        resources=resources,
        socket=Path("/r/w/cam/sock"),
    )
    body = creation("mark", launch, Findings())
    host = body["HostConfig"]
    assert (body["Image"], body["Cmd"], body["Env"], body["User"]) == (
        "acme/cam:2", ["run"], ["A=b"], "1000",
    )  # fmt: skip
    assert "Entrypoint" not in body
    assert body["Labels"]["io.skerry.node"] == "mark"
    assert body["Labels"]["io.skerry.instance"] == "i1"
    assert json.loads(body["Labels"]["io.skerry.log"]) == [
        "/l/current.log", 10, 2, None, False, [],
    ]  # fmt: skip
    assert host["Binds"] == ["/r/w/cam:/run/skerry", "/srv:/data:ro"]
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (
        64 << 20,
        64 << 20,
        500_000_000,
    )
    assert (host["PidsLimit"], host["NetworkMode"], host["ReadonlyRootfs"]) == (20, "host", True)
    assert (host["CapDrop"], host["RestartPolicy"]) == (["ALL"], {"Name": "on-failure"})
    assert host["Devices"][0]["PathInContainer"] == "/dev/cam"
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 100}]
    bounded = replace(launch, resources=Resources(storage=1 << 20))
    assert "StorageOpt" not in creation("mark", bounded, Findings())["HostConfig"]
    strict = creation("mark", replace(bounded, strict=True), Findings())["HostConfig"]
    assert strict["StorageOpt"] == {"size": "1048576"}


def test_a_pulls_progress_in_words() -> None:
    progress = Progress()
    assert str(progress) == "waiting for the registry"
    progress.take(PullLine("a", "Downloading", PullBytes(1_000_000, 4_000_000)))
    progress.take(PullLine("b", "Already exists"))
    assert str(progress) == "1 MB of 4 MB, 1 of 2 layers"
    progress.take(PullLine("a", "Download complete"))
    assert str(progress) == "4 MB of 4 MB, 2 of 2 layers"


def test_progress_goes_on_after_a_cut() -> None:
    progress = Progress()
    for status, current, total in (
        ("Pulling fs layer", 0, 0),
        ("Downloading", 2_000_000, 6_000_000),
        ("Retrying in 5 seconds", 0, 0),
    ):
        progress.take(PullLine("a", status, PullBytes(current, total)))
    assert str(progress).endswith("0 of 1 layers; the download was cut, the engine tries again")
    progress.take(PullLine("a", "Downloading", PullBytes(500_000, 4_000_000)))
    assert progress.bytes == (2_500_000, 6_000_000)
    progress.take(PullLine("a", "Download complete"))
    assert progress.meta() == {
        "bytes": 6_000_000,
        "bytes_total": 6_000_000,
        "layers": 1,
        "layers_total": 1,
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ('Get "http://r/v2/": dial tcp 10.0.0.1:80: connect: connection refused', "did not answer (2 tries). Load"),
        ("dial tcp: lookup registry.lan: no such host", "did not answer (2 tries). Load"),
        ("manifest unknown", "cannot be pulled (2 tries): manifest unknown. Load"),
        ("pull access denied for acme/cam", "cannot be pulled (2 tries): pull access denied"),
        ("write /x: no space left on device", "no space left on the engine's disk (2 tries)"),
    ],
)  # fmt: skip
def test_why_an_image_is_missing(words: str, sentence: str) -> None:
    assert sentence in why_missing("acme/cam:2", words, 2)


async def test_credentials_belong_to_a_registry() -> None:
    hosts = {
        "acme/cam:2": "docker.io",
        "cam": "docker.io",
        "registry.lan/cam": "registry.lan",
        "localhost/cam": "localhost",
        "r:5000/acme/cam@sha256:0": "r:5000",
    }
    assert {image: registry_of(image) for image in hosts} == hosts
    assert await registry_auth({}, _secret_of, "registry.lan/cam", [_user(None)]) is None


async def _secret_of(_assignment: Assignment, name: str) -> bytes:
    return {"ok": b"edge:hunter:22\n", "wrong": b"hunter22"}[name]


def _user(pull_secret: str | None) -> Assignment:
    container = ContainerSpec(image="registry.lan/cam", pull_secret=pull_secret)
    spec = WorkloadSpec(name="cam", runtime="container", container=container)
    return Assignment("cam", Generation(1, 1), spec)


async def test_a_secret_of_the_workload_comes_before_the_settings(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of-the-node")
    (tmp_path / "password").chmod(0o600)
    settings = {"registry.lan": Registry("node", str(tmp_path / "password"))}

    async def words(*users: Assignment) -> dict[str, str]:
        header = await registry_auth(settings, _secret_of, "registry.lan/cam", users)
        assert header is not None
        found = json.loads(base64.urlsafe_b64decode(header))
        assert isinstance(found, dict)
        return found

    of_node = {"username": "node", "password": "of-the-node", "serveraddress": "registry.lan"}
    assert await words(_user(None)) == of_node
    of_secret = of_node | {"username": "edge", "password": "hunter:22"}
    assert await words(_user(None), _user("ok")) == of_secret
    with pytest.raises(Refused, match="secret «wrong» for a registry: it is not «USER:PASSWORD»"):
        await words(_user("wrong"))


def test_a_container_prints_no_secret_into_its_log() -> None:
    lines = Lines(Mark(), Masks(LogRules(1000, 1, known=True, secrets=["hunter22"])))
    assert lines.of(b"stdout", T1 + b" login with hunter22, token=abc\n") == [
        T1 + b" stdout F login with ***, token=***\n"
    ]


def test_the_label_of_a_container_tells_the_rules_of_its_log_but_no_secret() -> None:
    rules = LogRules(5, 2, 60.0, known=True, patterns=["sk-*"], secrets=["hunter22"])
    launch = ContainerLaunch(
        instance="i",
        workload="w",
        environment={"PASSWORD": "hunter22"},
        strict=False,
        log=Path("/d/current.log"),
        log_rules=rules,
        spec=ContainerSpec(image="i"),
        resources=Resources(),
        socket=Path("/run/sock"),
    )
    label = labels("owner", launch)[LOG]
    assert "hunter22" not in label
    path, found = log_of(label)
    assert path == Path("/d/current.log")
    assert with_secrets(found, ["PASSWORD=hunter22", "PATH=/bin"]) == rules
    assert with_secrets(LogRules(5, 2), ["PASSWORD=hunter22"]).secrets == ()
