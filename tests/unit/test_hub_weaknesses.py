"""What `skerry doctor --security` finds at a hub: each weakness alone, and a hub without any."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from skerry.cli.hub_weaknesses import LONG, HubSurface, hub_weaknesses
from skerry.wire.access import AccessTokenView
from skerry.wire.local import KeyStatus
from skerry.wire.trust import TrustView
from skerry.wire.workload import ProcessSpec, WorkloadSpec

TOKEN = AccessTokenView("ci", "operator", "valid", 0, LONG, "admin")
TRUST = TrustView(1, [], root_key=False, intermediate_expires_at=0, behind=[])
SPEC = WorkloadSpec("cam", process=ProcessSpec(["cam"]), env={"RATE": "1s"})
SOUND = HubSurface(KeyStatus(enabled=True, source="TPM"), TRUST, [TOKEN], [SPEC], now=0)

WEAK = {
    "hub: data at rest": replace(SOUND, keys=KeyStatus(enabled=False)),
    "hub: nodes": replace(SOUND, trust=replace(TRUST, behind=["n1"])),
    "hub: root's key": replace(SOUND, trust=replace(TRUST, root_key=True)),
    "hub: tokens": replace(SOUND, tokens=[replace(TOKEN, expires_at=LONG + 1)]),
    "hub: environments": replace(SOUND, workloads=[replace(SPEC, env={"API_KEY": "x9y"})]),
}


def test_a_sound_hub_has_no_weakness() -> None:
    assert {found.outcome for found in hub_weaknesses(SOUND)} == {"ok"}


@pytest.mark.parametrize("name", WEAK)
def test_each_weakness_is_found_alone_with_what_to_do(name: str) -> None:
    found = [check for check in hub_weaknesses(WEAK[name]) if check.outcome != "ok"]
    assert [check.name for check in found] == [name]
    assert found[0].fix
    assert "x9y" not in str(found)


def test_nodes_without_certificates_are_a_weakness_and_have_no_root() -> None:
    outcomes = {each.name: each.outcome for each in hub_weaknesses(replace(SOUND, trust=None))}
    assert (outcomes["hub: nodes"], outcomes["hub: root's key"]) == ("warning", "skipped")


def test_what_the_hub_does_not_tell_is_no_finding() -> None:
    outcomes = {each.name: each.outcome for each in hub_weaknesses(replace(SOUND, tokens=None))}
    assert outcomes["hub: tokens"] == "skipped"


def test_a_revoked_token_is_none() -> None:
    gone = replace(TOKEN, expires_at=2 * LONG, state="revoked")
    assert {each.outcome for each in hub_weaknesses(replace(SOUND, tokens=[gone]))} == {"ok"}
