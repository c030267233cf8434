"""The page in a real browser: shows what nodes pushed, updates without a reload, talks to nobody but its hub."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from tests.people_certificates import certified
from tests.pushes import Pushes

from skerry.kit.clock import NS, SystemClock, iso
from skerry.testing.running_hub import RunningHub, running_hub
from skerry.wire.access import UserRequest
from skerry.wire.codec import compress, encode
from skerry.wire.people import Apply
from skerry.wire.records import Meta, Value
from skerry.wire.sync import Enrolled, Lane, PushUnit
from skerry.wire.workload import Generation, ProcessSpec, Selector, WorkloadSpec, WorkloadStatus

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "correct horse battery"
ENVIRONMENT, TWIN = "7d5bd0a64a5f4a5e9d5c0b8f4c7f8a11", "6f1f0c1e-2222-4333-8444-555555555555"
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Debian's chromium is not installed"),
]


expect.set_options(timeout=30_000)


@dataclass
class Device:
    """A node made by hand: its identity and what it has pushed."""

    hub: RunningHub
    client: aiohttp.ClientSession
    enrolled: Enrolled
    pushes: Pushes

    async def push(self, unit: PushUnit) -> None:
        async with self.client.post(
            "/sync/v1/push",
            data=compress(encode(unit)),
            headers=self.hub.node(self.enrolled) | {"Content-Encoding": "zstd"},
        ) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["outcome"] == "ok"

    async def record(
        self, lane: Lane, name: str, values: list[tuple[int, Value]], meta: Meta | None = None
    ) -> None:
        named = [(name, at, value) for at, value in values]
        await self.push(self.pushes.records(lane, named, meta=meta))

    async def row(self, kind: str, body: dict[str, object]) -> None:
        """A row about the twin."""
        address = f"/api/v1/entities/{kind}_{ENVIRONMENT}/rows/{TWIN}"
        data = encode({"body": body})
        async with self.client.put(address, data=data, headers=self.hub.person) as response:
            assert response.status == 200, await response.text()

    async def status(self, status: WorkloadStatus) -> None:
        hlc = SystemClock().wall_ns() // 1_000_000 << 16
        await self.push(self.pushes.status(self.enrolled.node_id, status, hlc))


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    """A hub that knows a node «puffin», of which nothing was heard for two hours."""
    async with running_hub(tmp_path) as running:
        await running.enrol("puffin", {"site": "roof"})
    with contextlib.closing(sqlite3.connect(tmp_path / "hub.db")) as database, database:
        database.execute("UPDATE node SET last_seen = last_seen - 7200 * 1000000000")
    async with running_hub(tmp_path) as running:
        yield running


@pytest.fixture
async def device(hub: RunningHub) -> AsyncIterator[Device]:
    async with aiohttp.ClientSession(hub.address) as client:
        yield await filled(hub, client)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser: Browser) -> Page:
    page = await browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    return page


async def filled(hub: RunningHub, client: aiohttp.ClientSession) -> Device:
    """A node «gannet» with two workloads, ten minutes of figures and an event."""
    device = Device(hub, client, await hub.enrol("gannet", {"site": "lab"}), Pushes())
    specs = [
        WorkloadSpec(name=name, process=ProcessSpec(command=["true"]), on=Selector(node="gannet"))
        for name in ("disk-watch", "host-sensors")
    ]
    async with client.put(
        "/api/v1/workloads", data=encode(Apply(specs)), headers=hub.person
    ) as response:
        assert response.status == 200
    now = SystemClock().wall_ns()
    sine = [(now - (600 - n) * NS, 20 + 9 * math.sin(n / 40)) for n in range(590)]
    await device.record("keep", "host.cpu.percent", sine)
    await device.record("keep", "host.memory.used", [(now, 3_200_000_000)], {"unit": "B"})
    await device.record("keep", "door.state", [(now, "open <b>wide</b>")])
    await device.record("event", "host.disk.limit", [(now, "above 90 %")], {"path": "/var"})
    generation = Generation(1, 1)
    await device.status(
        WorkloadStatus("host-sensors", generation, "running", now - 300 * NS, pid=7)
    )
    await device.status(
        WorkloadStatus(
            "disk-watch", generation, "backoff", now, restarts=3, message="ended with code 1",
            next_start_at=now + 3600 * NS,
        )
    )  # fmt: skip
    own = WorkloadStatus("cyberwave-driver-6f1f0c1e", Generation(0, 1), "running", now - 60 * NS)
    await device.status(own)
    known = "/api/devices/gannet/fingerprint?fingerprint=gannet-1a"
    async with client.post(known, headers=hub.person) as response:
        assert response.status == 200, await response.text()
    await device.row(
        "twins", {"name": "arm <i>1</i>", "metadata": {"edge_fingerprint": "gannet-1a"}}
    )
    await device.row("presence", {"online": True, "edge_id": TWIN, "since": iso(now - 65 * NS)})
    await device.row(
        "alerts",
        {"twin_uuid": TWIN, "alert_type": "driver_health", "description": "hot <b>motor</b>"},
    )
    return device


async def log_in(page: Page, hub: RunningHub) -> None:
    async with (
        aiohttp.ClientSession(hub.address) as client,
        client.post("/api/v1/login-codes", headers=hub.person) as response,
    ):
        code = await response.json()
    await page.goto(hub.address + code["path"])


@pytest.mark.guarantee("G5")
async def test_it_shows_what_the_hub_knows(device: Device, page: Page) -> None:
    await log_in(page, device.hub)
    await expect(page.locator("#summary")).to_contain_text("Nodes online1 of 2")
    nodes = page.locator("#nodes tbody tr")
    await expect(nodes.filter(has_text="gannet")).to_contain_text("online")
    await expect(nodes.filter(has_text="gannet")).to_contain_text("site=lab")
    await expect(nodes.filter(has_text="puffin")).to_have_text(re.compile(r"offline\s+2h 0m ago"))
    workloads = page.locator("#workloads tbody tr")
    await expect(workloads.filter(has_text="host-sensors")).to_contain_text("running")
    troubled = workloads.filter(has_text="disk-watch")
    await expect(troubled).to_contain_text("ended with code 1; starts again in 59m")
    own = workloads.filter(has_text="cyberwave-driver-6f1f0c1e")
    await expect(own.locator("th .label")).to_have_text("device")
    twin = page.locator("#twins tbody tr")
    await expect(twin).to_contain_text(re.compile(r"arm <i>1</i>\s+gannet\s+online"))
    await expect(twin).to_contain_text(re.compile(r"driver_health\s+hot <b>motor</b>"))
    await expect(page.locator(".card", has_text="host.memory.used")).to_contain_text("3.2 GB")
    cpu = page.locator(".card", has_text="host.cpu.percent")
    await expect(cpu).to_contain_text("29.0 %")
    line = await cpu.locator("path").get_attribute("d")
    assert line is not None
    assert line.count("L") > 100
    await expect(page.locator("#figures")).to_contain_text("open <b>wide</b>")
    await expect(page.locator("#events")).to_contain_text("above 90 %")
    await expect(page.locator("#events")).to_contain_text("path: /var")
    if directory := os.environ.get("SKERRY_SCREENSHOTS"):
        await take_screenshots(page, Path(directory))


async def test_a_push_changes_the_open_page(device: Device, page: Page) -> None:
    await log_in(page, device.hub)
    await expect(page.locator("#link-state")).to_have_text("live")
    await page.evaluate("window.sameDocument = true")
    now = SystemClock().wall_ns()
    await device.record("keep", "host.cpu.percent", [(now, 77.7)])
    await device.status(WorkloadStatus("disk-watch", Generation(1, 1), "running", now))
    await expect(page.locator("#figures")).to_contain_text("77.7 %")
    await expect(page.locator("#workloads tr", has_text="disk-watch")).to_contain_text("running")
    await device.row(
        "alerts", {"twin_uuid": TWIN, "alert_type": "driver_health", "status": "resolved"}
    )
    await expect(page.locator("#twins")).not_to_contain_text("driver_health")
    await expect(page.locator("#twins")).to_contain_text("arm")
    twins = f"/api/v1/entities/twins_{ENVIRONMENT}/rows/{TWIN}"
    async with device.client.delete(twins, headers=device.hub.person) as response:
        assert response.status == 200
    await expect(page.locator("#twins")).to_be_hidden(timeout=15_000)
    assert await page.evaluate("window.sameDocument")


async def test_no_request_leaves_the_hub(device: Device, page: Page) -> None:
    addresses: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await log_in(page, device.hub)
    await expect(page.locator("#link-state")).to_have_text("live")
    await device.record("keep", "host.cpu.percent", [(SystemClock().wall_ns(), 77.7)])
    await expect(page.locator("#figures")).to_contain_text("77.7 %")
    await page.goto(f"{device.hub.address}/schema")
    await expect(page.locator("main")).to_contain_text("/api/v1/records")
    assert {urlsplit(address).netloc for address in addresses} == {
        urlsplit(device.hub.address).netloc
    }
    assert complaints == []  # a breach of the content security policy would be one


@pytest.mark.guarantee("G9")
async def test_without_login_there_is_only_the_form(device: Device, page: Page) -> None:
    await page.goto(device.hub.address)
    await expect(page.locator("#by-password")).to_be_visible()
    await expect(page.locator("body")).not_to_contain_text("gannet")
    for token in ("wrong", device.hub.admin_token):
        await page.click("summary")
        await page.fill("#token", token)
        await page.click("#by-token button")
        if token == "wrong":
            await expect(page.locator(".problem")).to_contain_text("no token of this hub")
    await expect(page.locator("#nodes")).to_contain_text("gannet")
    await page.click("text=Sign out")
    await expect(page.locator("#user")).to_be_visible()
    await page.goto(device.hub.address)
    await expect(page.locator("#user")).to_be_visible()


@pytest.mark.guarantee("G5")
async def test_a_page_without_its_hub_says_so(tmp_path: Path, page: Page) -> None:
    async with running_hub(tmp_path) as hub:
        await log_in(page, hub)
        await expect(page.locator("#link-state")).to_have_text("live")
    await expect(page.locator("#link-state")).to_have_text("not updating")
    await expect(page.locator("#stale")).to_contain_text("No connection to the hub")


async def test_it_is_readable_on_a_phone(device: Device, page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await log_in(page, device.hub)
    await expect(page.locator("#nodes")).to_contain_text("gannet")
    assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_a_long_text_hides_nothing_beside_it(device: Device, page: Page) -> None:
    """Drivers publish whole JSON objects, and how old they are stands to the right of them."""
    now = SystemClock().wall_ns()
    text = '{"lifecycle_state":"' + "x" * 1000 + '"}'
    await device.record("keep", "cyberwave/twin/telemetry", [(now, text)])
    await device.record("event", "cyberwave/twin/event", [(now, text)])
    await device.row("twins", {"name": "n" * 1000})
    alert = {"twin_uuid": TWIN, "alert_type": "k" * 1000, "description": "d" * 1000}
    await device.row("alerts", alert)
    await log_in(page, device.hub)
    await expect(page.locator("#figures")).to_contain_text("cyberwave/twin/telemetry")
    await expect(page.locator("#events")).to_contain_text("cyberwave/twin/event")
    await expect(page.locator("#twins")).to_contain_text("k" * 100)
    widths = "sheets => sheets.map(sheet => [sheet.scrollWidth, sheet.clientWidth])"
    for width in (1280, 360):
        await page.set_viewport_size({"width": width, "height": 740})
        for needed, has in await page.locator(".sheet").evaluate_all(widths):
            assert needed <= has


async def take_screenshots(page: Page, directory: Path) -> None:
    """For people who change the page: run with SKERRY_SCREENSHOTS=DIRECTORY and look."""
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        await page.set_viewport_size({"width": width, "height": 900})
        await page.screenshot(path=directory / f"page-{scheme}-{width}.png", full_page=True)


async def make_user(hub: RunningHub) -> None:
    body = encode(UserRequest("ann", "monitor", PASSWORD))
    async with (
        aiohttp.ClientSession(hub.address) as client,
        client.post("/api/v1/access/users", data=body, headers=hub.person) as response,
    ):
        assert response.status == 200


@pytest.mark.guarantee("G9")
async def test_a_user_signs_in_with_a_password_and_out(device: Device, page: Page) -> None:
    await make_user(device.hub)
    await page.goto(device.hub.address)
    for password in ("wrong", PASSWORD):
        await page.fill("#user", "ann")
        await page.fill("#password", password)
        await page.click("#by-password button")
        if password == "wrong":
            await expect(page.locator(".problem")).to_contain_text("no such user")
    await expect(page.locator("#nodes")).to_contain_text("gannet")
    [cookie] = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    await page.click("text=Sign out")
    await expect(page.locator("#user")).to_be_visible()
    await page.context.add_cookies([cookie])
    await page.goto(device.hub.address)
    await expect(page.locator("#user")).to_be_visible()


@pytest.mark.guarantee("G9")
async def test_a_page_of_another_origin_signs_nobody_in_or_out(
    device: Device, page: Page, tmp_path: Path
) -> None:
    await make_user(device.hub)
    await log_in(page, device.hub)
    await expect(page.locator("#nodes")).to_contain_text("gannet")
    forms = "".join(
        f'<form method="post" action="{device.hub.address}{path}" id="{name}">'
        f'<input name="user" value="ann"><input name="password" value="{PASSWORD}"></form>'
        for name, path in (("in", "/login"), ("out", "/logout"))
    )
    (tmp_path / "evil.html").write_text(forms)
    for name in ("in", "out"):
        await page.goto((tmp_path / "evil.html").as_uri())
        async with page.expect_navigation():
            await page.evaluate(f"document.getElementById('{name}').submit()")
        await expect(page.locator("body")).to_contain_text("a page of another origin")
    await page.goto(device.hub.address)
    await expect(page.locator("#nodes")).to_contain_text("gannet")


@pytest.mark.guarantee("G9")
async def test_over_tls_the_session_is_for_this_host_alone(
    browser: Browser, tmp_path: Path
) -> None:
    async with running_hub(tmp_path / "hub", tls=certified(tmp_path)) as hub:
        context = await browser.new_context(ignore_https_errors=True)
        page = await context.new_page()
        page.set_default_timeout(30_000)
        await page.goto(hub.address)
        await page.click("summary")
        await page.fill("#token", hub.admin_token)
        await page.click("#by-token button")
        await expect(page.locator("#nodes")).to_be_visible()
        [cookie] = await context.cookies()
        assert cookie["name"].startswith("__Host-skerry_")
        assert (cookie["secure"], cookie["httpOnly"], cookie["path"]) == (True, True, "/")
        await page.click("text=Sign out")
        await expect(page.locator("#user")).to_be_visible()
        assert await context.cookies() == []
