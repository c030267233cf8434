"""What `skerry doctor --security` finds: each weakness alone, and a device without any."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from skerry.node.health.weaknesses import Surface, weaknesses
from skerry.node.node_settings import KeyKind
from skerry.wire.local import BackupStatus, KeyStatus
from skerry.wire.workload import ContainerSpec, ProcessSpec, WorkloadSpec

STRICT = WorkloadSpec("cam", process=ProcessSpec(["cam"]), isolation="strict", env={"RATE": "1s"})
IMAGE = ContainerSpec(f"acme/cam@sha256:{'a' * 64}", network="bridge")
IN_A_BOX = WorkloadSpec("box", runtime="container", container=IMAGE)
SOUND = Surface(
    hub_url="https://hub:8601",
    files={"/data": 0o700, "/data/node.secret": 0o600},
    keys=KeyStatus(enabled=True, source="TPM 2.0 of this device"),
    own_key="tpm",
    backups=BackupStatus("/data/backups"),
    workloads=[STRICT, IN_A_BOX],
    public_port=None,
    core_limit=0,
    is_root=True,
)


def boxed(**fields: object) -> list[WorkloadSpec]:
    return [replace(IN_A_BOX, container=replace(IMAGE, **fields))]


WEAK = {
    "files": (replace(SOUND, files={"/data/trust/node.key": 0o640}), "/data/trust/node.key (640)"),
    "link to the hub": (replace(SOUND, hub_url="http://hub:8600"), "plain HTTP to http://hub:8600"),
    "data at rest": (replace(SOUND, keys=KeyStatus(enabled=True, beside=True)), "same disk"),
    "isolation of workloads": (
        replace(SOUND, workloads=[replace(STRICT, isolation="standard")]),
        "can do what root can: cam",
    ),
    "containers": (replace(SOUND, workloads=boxed(privileged=True)), "box"),
    "images": (replace(SOUND, workloads=boxed(image="acme/cam:2")), "box"),
    "environments": (
        replace(SOUND, workloads=[replace(STRICT, env={"DB_PASSWORD": "x"})]),
        "cam (DB_PASSWORD)",
    ),
    "read-only port": (replace(SOUND, public_port=8000), "127.0.0.1:8000"),
    "crash dumps": (replace(SOUND, core_limit=-1), "its memory"),
}


def test_a_sound_device_has_no_weakness() -> None:
    assert {found.outcome for found in weaknesses(SOUND)} == {"ok"}


@pytest.mark.parametrize("name", WEAK)
def test_each_weakness_is_found_alone_with_what_to_do(name: str) -> None:
    surface, words = WEAK[name]
    found = [check for check in weaknesses(surface) if check.outcome != "ok"]
    assert [check.name for check in found] == [name]
    assert words in found[0].detail
    assert found[0].fix


def test_without_encryption_disk_and_backups_are_weak() -> None:
    found = weaknesses(replace(SOUND, keys=KeyStatus(enabled=False)))
    assert [check.name for check in found if check.outcome == "warning"] == [
        "data at rest",
        "backups",
    ]


@pytest.mark.parametrize("change", [{"cap_add": ["SYS_ADMIN"]}, {"network": "host"}])
def test_a_container_with_the_devices_rights_is_named(change: dict[str, object]) -> None:
    found = weaknesses(replace(SOUND, workloads=boxed(**change)))
    assert [check.name for check in found if check.outcome != "ok"] == ["containers"]


def test_a_value_that_looks_secret_is_never_shown() -> None:
    surface = replace(SOUND, workloads=[replace(STRICT, env={"API_KEY": "s3cr3t"})])
    assert "s3cr3t" not in str(weaknesses(surface))


@pytest.mark.parametrize(
    ("own_key", "keys", "outcome"),
    [
        ("tpm", KeyStatus(enabled=False), "ok"),
        ("file", KeyStatus(enabled=True), "ok"),
        ("file", KeyStatus(enabled=True, beside=True), "warning"),
        ("file", KeyStatus(enabled=False), "warning"),
        (None, KeyStatus(enabled=False), "skipped"),
    ],
)
def test_a_key_that_goes_with_the_disk_is_weak(
    own_key: KeyKind | None, keys: KeyStatus, outcome: str
) -> None:
    found = weaknesses(replace(SOUND, own_key=own_key, keys=keys))
    assert [check.outcome for check in found if check.name == "this node's key"] == [outcome]
