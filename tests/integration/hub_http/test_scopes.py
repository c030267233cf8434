"""A role for the nodes of one site, over HTTP: nothing that the other site's node has said or is told comes through."""

from __future__ import annotations

import json

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.http_client import Client, problem, text_of
from tests.pushes import Pushes
from tests.route_table import SCOPED, filled
from tests.web_sockets import next_frame

from skerry.hub.trust.ssh_keys import public_line
from skerry.testing.running_hub import EnrolledNode, RunningHub
from skerry.wire.access import RoleRequest
from skerry.wire.codec import compress, encode
from skerry.wire.people import Apply
from skerry.wire.ssh import SshCertificateRequest, SshNode, SshRevoke
from skerry.wire.workload import ProcessSpec, Selector, WorkloadSpec

pytestmark = pytest.mark.guarantee("G9")

Headers = dict[str, str]
SECRET = "roof-canary"
ASKED = {"node": f"{SECRET}-node", "workload": f"{SECRET}-work", "name": f"{SECRET}*"}


async def push(hub: RunningHub, client: Client, node: EnrolledNode, name: str, at: int) -> None:
    unit = Pushes().records("keep", [(name, at, 1.5), (f"{name}.text", at, f"said by {name}")])
    headers = hub.node(node) | {"Content-Encoding": "zstd"}
    await text_of(client, "POST", "/sync/v1/push", 200, headers, compress(encode(unit)))


async def fill(hub: RunningHub, client: Client) -> None:
    """Nodes «lab-1» and the one that must not show; a workload on each, one on both."""
    lab = await hub.enrol("lab-1", {"site": "lab"})
    roof = await hub.enrol(f"{SECRET}-node", {"site": "roof", "owner": f"{SECRET}-owner"})
    await push(hub, client, lab, "lab.temperature", 10)
    await push(hub, client, roof, f"{SECRET}.temperature", 20)
    process = ProcessSpec(command=["true"])
    specs = [
        WorkloadSpec(name="lab-work", process=process, on=Selector(node="lab-1")),
        WorkloadSpec(name=f"{SECRET}-work", process=process, on=Selector(node=f"{SECRET}-node")),
        WorkloadSpec(name="shared", process=process),
    ]
    await text_of(client, "PUT", "/api/v1/workloads", 200, hub.person, encode(Apply(specs)))


@pytest.fixture
async def lab(hub: RunningHub, client: Client) -> Headers:
    """Somebody who may everything there, at the site «lab» alone."""
    await fill(hub, client)
    role = RoleRequest("lab", ["read", "write", "execute", "configure"], {"site": "lab"})
    await text_of(client, "POST", "/api/v1/access/roles", 200, hub.person, encode(role))
    return await hub.access_token("ann", "lab")


async def test_nothing_of_other_nodes_comes_through(
    hub: RunningHub, client: Client, lab: Headers
) -> None:
    everything = await text_of(client, "GET", "/api/v1/records?limit=1000", 200, hub.person)
    assert SECRET in everything
    queries = ("", *(f"?{key}={word}" for key, word in ASKED.items()))
    for method, path in sorted(SCOPED):
        if method != "GET" or path == "/live":
            continue
        for query in queries:
            named = path.replace("{node:str}", f"{SECRET}-node")
            for where in (filled(path), named.replace("{name:str}", f"{SECRET}-node")):
                async with client.get(where + query, headers=lab) as response:
                    text = await response.text()
                # An error says again what was asked for, and nothing else.
                for word in ASKED.values() if response.status == 404 else ():
                    text = text.replace(word, "")
                assert SECRET not in text, where + query


async def test_what_is_theirs_is_all_there(client: Client, lab: Headers) -> None:
    async def got(path: str) -> str:
        return await text_of(client, "GET", path, 200, lab)

    assert [each["name"] for each in json.loads(await got("/api/v1/nodes"))] == ["lab-1"]
    workloads = {each["name"]: each for each in json.loads(await got("/api/v1/workloads"))}
    assert {name: list(each["nodes"]) for name, each in workloads.items()} == {
        "lab-work": ["lab-1"], "shared": ["lab-1"],
    }  # fmt: skip
    assert len(json.loads(await got("/api/v1/assignments"))) == 2
    rows = json.loads(await got("/api/v1/records"))["rows"]
    assert sorted(row["name"] for row in rows) == ["lab.temperature", "lab.temperature.text"]
    exported = [json.loads(line) for line in (await got("/api/v1/records/export")).splitlines()]
    assert exported[-1]["end"] == 2
    complete = json.loads(await got("/api/v1/records/completeness"))
    assert {each["node"] for each in complete["series"]} == {"lab-1"}


async def test_it_acts_on_what_is_wholly_its_own(client: Client, lab: Headers) -> None:
    restart = "/api/v1/workloads/{}/restart"
    await text_of(client, "POST", restart.format("lab-work"), 204, lab)
    assert "runs on nodes, too" in await problem(client, "POST", restart.format("shared"), 409, lab)
    hidden = await problem(client, "POST", restart.format(f"{SECRET}-work"), 404, lab)
    nowhere = await problem(client, "POST", restart.format("nowhere"), 404, lab)
    assert hidden.replace(f"{SECRET}-work", "nowhere") == nowhere
    words = await problem(client, "DELETE", "/api/v1/nodes/lab-1", 403, lab)
    assert words == (
        "cannot do this as «ann»: it is about the whole fleet, and role lab is for nodes with site=lab only."
    )


DEEDS = (
    ("GET", "/api/devices/{}", None),
    ("GET", "/api/devices/{}/diagnostics", None),
    ("POST", "/api/devices/{}/provision?ip_address=10.6.6.6", None),
    ("POST", "/api/devices/{}/update", None),
    ("POST", "/api/devices/{}/restart", None),
    ("DELETE", "/api/devices/{}?now=true", None),
    ("POST", "/api/v1/nodes/{}/ssh-certificates", encode(SshCertificateRequest(""))),
    ("GET", "/api/v1/nodes/{}/logs/w", None),
)


async def test_devices_of_others_are_as_if_they_were_not_there(
    hub: RunningHub, client: Client, lab: Headers
) -> None:
    before = await text_of(client, "GET", f"/api/devices/{SECRET}-node", 200, hub.person)
    hidden = json.loads(before)["id"]
    words = {}
    for name in (f"{SECRET}-node", hidden, "nowhere"):
        for method, path, body in DEEDS:
            said = await problem(client, method, path.format(name), 404, lab, body)
            words.setdefault((method, path), set()).add(said.replace(name, "…").split(";")[0])
        async with client.ws_connect(f"/api/v1/nodes/{name}/tunnel/22", headers=lab) as socket:
            said = str((await next_frame(socket)).data).replace(name, "…")
        words.setdefault("tunnel", set()).add(said)
    assert {len(each) for each in words.values()} == {1}
    after = await text_of(client, "GET", f"/api/devices/{SECRET}-node", 200, hub.person)
    kept = ("state", "commands", "ip_address", "history")
    assert [json.loads(after)[key] for key in kept] == [json.loads(before)[key] for key in kept]


async def test_their_own_devices_answer_them(client: Client, lab: Headers) -> None:
    page = json.loads(await text_of(client, "GET", "/api/devices", 200, lab))
    assert (page["total"], [each["name"] for each in page["devices"]]) == (1, ["lab-1"])
    own = "/api/devices/lab-1"
    assert json.loads(await text_of(client, "GET", own, 200, lab))["labels"] == {"site": "lab"}
    await text_of(client, "POST", f"{own}/provision?ip_address=::1", 200, lab)
    assert "no releases" in await problem(client, "POST", f"{own}/update", 409, lab)
    await text_of(client, "POST", f"{own}/restart", 202, lab)
    done = json.loads(await text_of(client, "DELETE", f"{own}?now=true", 200, lab))
    assert done["state"] == "decommissioned"
    assert json.loads(await text_of(client, "GET", "/api/devices", 200, lab))["total"] == 0


async def test_ssh_opens_their_own_devices(hub: RunningHub, client: Client, lab: Headers) -> None:
    """`lab` may everything there, and so gets a shell."""
    told = encode(SshNode("dev", 22, public_line(Ed25519PrivateKey.generate()), "limited"))
    for name, labels, status in (("lab-2", {"site": "lab"}, 200), ("roof-2", {}, 404)):
        node = await hub.enrol(name, labels)
        await text_of(client, "POST", "/sync/v1/ssh", 200, hub.node(node), told)
        asked = encode(SshCertificateRequest(public_line(Ed25519PrivateKey.generate())))
        path = f"/api/v1/nodes/{name}/ssh-certificates"
        made = json.loads(await text_of(client, "POST", path, status, lab, asked))
        assert (made.get("node_id"), made.get("limited")) == (
            (node.node_id, False) if status == 200 else (None, None)
        )
    for method, path in (("GET", "ssh"), ("POST", "ssh/revoke")):
        body = encode(SshRevoke(1)) if method == "POST" else None
        said = await problem(client, method, f"/api/v1/access/{path}", 403, lab, body)
        assert "it is about the whole fleet" in said


async def test_each_permission_of_theirs_is_asked_for(
    hub: RunningHub, client: Client, lab: Headers
) -> None:
    """`lab` has filled the hub."""
    asked = encode(RoleRequest("looks", ["read"], {"site": "lab"}))
    await text_of(client, "POST", "/api/v1/access/roles", 200, hub.person, asked)
    eve = await hub.access_token("eve", "looks")
    for method, path, body in DEEDS:
        if method != "GET" or path.endswith("diagnostics"):
            words = await problem(client, method, path.format("lab-1"), 403, eve, body)
            assert "it needs permission" in words
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await client.ws_connect("/api/v1/nodes/lab-1/tunnel/22", headers=eve)
    assert json.loads(await text_of(client, "GET", "/api/devices", 200, eve))["total"] == 1


async def test_the_page_shows_their_nodes_alone(
    hub: RunningHub, client: Client, lab: Headers
) -> None:
    twin = f"/api/v1/entities/twins_{'0' * 32}/rows/aaaaaaaa-2222-4333-8444-555555555555"
    await text_of(client, "PUT", twin, 200, hub.person, b'{"body": {"name": "a whole-fleet twin"}}')
    text = await text_of(client, "POST", "/api/v1/login-codes", 200, lab)
    async with client.get(json.loads(text)["path"], allow_redirects=False) as response:
        cookie = {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}
    for headers, shown in ((hub.person, True), (cookie, False), (hub.person, True)):
        page = await text_of(client, "GET", "/", 200, headers)
        assert "lab-1" in page
        assert (SECRET in page) is shown
        assert ("a whole-fleet twin" in page) is shown
    async with client.get("/live", headers=cookie) as stream:
        text = ""
        while "event: events" not in text:
            text += (await stream.content.readany()).decode()
    assert "lab-1" in text
    assert SECRET not in text
    assert "event: twins" in text
    assert "whole-fleet" not in text
    await problem(client, "GET", "/api/v1/models", 403, cookie)


async def test_a_node_that_is_labelled_otherwise_is_seen_no_more(
    hub: RunningHub, client: Client, lab: Headers
) -> None:
    await text_of(client, "DELETE", "/api/v1/nodes/lab-1", 200, hub.person)
    assert json.loads(await text_of(client, "GET", "/api/v1/nodes", 200, lab)) == []
    assert json.loads(await text_of(client, "GET", "/api/v1/records", 200, lab))["rows"] == []
    await problem(client, "GET", "/api/v1/workloads?name=shared", 404, lab)
