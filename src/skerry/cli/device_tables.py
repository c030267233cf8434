"""Devices as tables, for `skerry device` and `skerry get devices`."""

from __future__ import annotations

from skerry.cli.output import Cell, Line, Table, ago, number, pairs, word, words, yes_no
from skerry.kit.clock import NS, iso
from skerry.kit.units import format_duration, format_size
from skerry.wire.devices import DeviceDetail, DevicePage, DeviceView
from skerry.wire.inventory import Inventory

_CHANGES_SHOWN = 5

_HARDWARE = ("MODEL", "SERIAL", "CPU", "CPUS", "MEMORY", "OS", "KERNEL", "PYTHON", "MACHINE", "ADDRESSES")  # fmt: skip


def devices_table(page: DevicePage, now: int) -> Table:
    """One line for each device."""
    return Table(
        ("NAME", "STATE", "ONLINE", "LAST SEEN", "ADDRESS", "WORKLOADS", "VERSION", "LABELS", "ID", "SSH USER", "REGISTERED", "ENROLLED", *_HARDWARE),
        [
            (
                view.name,
                word(view.state),
                yes_no(view.online),
                _when(view.last_seen, now),
                view.ip_address,
                Cell(f"{view.running}/{view.workloads}", raw=view.workloads),
                view.version,
                pairs(view.labels),
                view.id,
                view.ssh_user,
                number(view.registered_at),
                number(view.enrolled_at),
                *_hardware(view),
            )
            for view in page.devices
        ],
        page,
        empty="no devices: skerry device provision NAME registers one",
        csv_only=frozenset({"ID", "SSH USER", "REGISTERED", "ENROLLED", *_HARDWARE}),
    )  # fmt: skip


def device_table(found: DeviceDetail, now: int) -> Table:
    """One device: who it is above, its orders below."""
    return Table(
        ("ORDER", "STATE", "GIVEN", "BY", "UNTIL", "MESSAGE", "ID"),
        [
            (
                each.action,
                word(each.state),
                ago(each.issued_at, now),
                each.issuer,
                Cell(iso(each.expires_at), raw=each.expires_at),
                each.message,
                each.id,
            )
            for each in found.commands
        ],
        found,
        empty="no orders",
        lead=_lead(found, now),
        csv_only=frozenset({"ID"}),
        below="MESSAGE",
    )


def left_words(found: DeviceDetail) -> str:
    """What a draining device has not sent yet."""
    drain = next((each for each in found.commands if each.action == "decommission"), None)
    if drain is None or drain.state == "queued":
        return "it has not heard of it yet"
    left = [f"{count} in {lane}" for lane, count in sorted(drain.left.items())]
    return ", ".join(left) or "its workloads end"


def _lead(found: DeviceDetail, now: int) -> list[Line]:
    seen = "never heard of" if found.age is None else f"heard {ago(found.last_seen, now).text}"
    lines = [
        f"device    {found.name} ({found.id})",
        f"state     {found.state}, {'online' if found.online else 'offline'}, {seen}",
        f"address   {found.ssh_user}@{found.ip_address}" if found.ip_address else "",
        f"labels    {pairs(found.labels).text}" if found.labels else "",
        f"version   {found.version}" if found.version else "",
        _fingerprint(found),
        *_inventory_lines(found),
        *_own_lines(found, now),
        *(
            f"changed   {iso(change.at)}: {each.name} {each.old or 'nothing'} → {each.new or 'nothing'}"
            for change in found.history[:_CHANGES_SHOWN]
            for each in change.fields
        ),
        f"decided   {iso(found.decided_at)} by {found.decided_by}: {found.reason or 'no reason given'}"
        if found.decided_at
        else "",
        f"left      {left_words(found)}" if found.state == "draining" else "",
    ]
    if found.erasure is not None:
        erased = found.erasure.erased
        lines += [
            f"erased    {iso(erased.ended_at)}: {erased.files} files, {erased.bytes} bytes, {len(erased.keys)} keys first",
            f"          sha256 {found.erasure.sha256} of the certificate",
            *(f"not erased: {each}" for each in erased.left),
        ]
    elif found.state == "decommissioned" and found.enrolled_at:
        lines.append("erased    not yet: it has not said so")
    return [Line(line) for line in lines if line]


def _fingerprint(view: DeviceView) -> str:
    """As which device twins know it, where that is anything."""
    kept, told = view.fingerprint, view.told_fingerprint
    if kept and told not in {"", kept}:
        return f"twins     know it as {kept}, but it says {told}: skerry device fingerprint {view.name}"
    if told and not kept:
        return f"twins     it says {told}, which another device is known as: skerry device fingerprint {view.name}"
    return f"twins     know it as {kept}" if kept else ""


def _hardware(view: DeviceView) -> list[Cell | str]:
    found = view.inventory or Inventory()
    return [
        found.model,
        found.serial,
        found.cpu,
        number(found.cpus),
        number(found.memory),
        found.os,
        found.kernel,
        view.python,
        view.machine,
        words(found.addresses),
    ]


def _inventory_lines(view: DeviceView) -> list[str]:
    found = view.inventory
    if found is None:
        return []
    drives = [f"{each.name} {format_size(each.size)}" for each in found.drives]
    return [
        f"hardware  {found.model or 'unknown'}, {found.cpus} × {found.cpu or view.machine}, {format_size(found.memory)}",
        f"serial    {found.serial}" if found.serial else "",
        f"disks     {', '.join(drives)}" if drives else "",
        f"system    {found.os}, {found.kernel}, Python {view.python}",
        f"network   {' '.join(found.addresses)}" if found.addresses else "",
        f"has       {' '.join(found.capabilities)}",
    ]


def _own_lines(found: DeviceDetail, now: int) -> list[str]:
    """What it wants by itself; of an offline device, what was."""
    words = [
        f"{each.phase}, for {format_duration((now - each.since) / NS)}"
        if found.online
        else f"unknown (was {each.phase})"
        for each in found.own
    ]
    return [
        f"own       {each.workload} {said}" for each, said in zip(found.own, words, strict=True)
    ]


def _when(at: int, now: int) -> Cell:
    return ago(at, now) if at else Cell("never", raw=0)
