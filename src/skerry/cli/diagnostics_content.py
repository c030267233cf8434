"""What goes into a diagnostics bundle, section by section; what cannot be had is named with its cause."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from skerry.cli.http import CHECKS_SECONDS, Unreachable, node_api
from skerry.core.config import Found
from skerry.kit.clock import iso
from skerry.kit.errors import NotFound, SkerryError
from skerry.kit.file_lock import last_holder
from skerry.node.diagnostics import disk, secrets, system, tails
from skerry.node.diagnostics.bundle import MANIFEST, Bundle, member_name
from skerry.node.diagnostics.masking import Scrubber
from skerry.node.identity import Identity, read_identity
from skerry.node.inventory import collect
from skerry.node.node_settings import STORE_FILE
from skerry.node.settings import chosen_data_dir, database_of, find_settings, node_settings
from skerry.node.store.opening import LOCK_FILE
from skerry.node.workloads.logs import CURRENT

FORMAT = 1
MOST_LOGS = 20 << 20
"""Bytes of all logs together, before compression."""

_LEAST_LOG = 64 << 10
"""With less room than that, a log is left out as a whole."""

UNIT = "skerry-node"

_SYNC_LINES = 200
_OTHERS = 12 << 20
"""Bytes that all but the logs never reach."""

_QUESTIONS = {
    "status": "/v1/status",
    "sync": "/v1/sync",
    "sync-log": f"/v1/sync/log?limit={_SYNC_LINES}",
    "keys": "/v1/keys",
    "doctor": "/v1/doctor",
    "security": "/v1/security",
    "storage": "/v1/storage",
}
"""What only the agent knows, by the name of its member."""


class Collector:
    """Collects what a bundle of one node has. `told` hears what is being done; `missing` is what could not be had, and why."""

    def __init__(
        self, configs: Sequence[Path], options: Mapping[str, str], told: Callable[[str], None]
    ) -> None:
        self.missing: dict[str, str] = {}
        self._told = told
        self._settings = self._read_settings(configs, options)
        data_dir = self._settings["data_dir"].value if self._settings else None
        self.data_dir = Path(str(data_dir or chosen_data_dir(options))).absolute()
        if not self.data_dir.is_dir():
            raise NotFound(f"cannot look into {self.data_dir}: there is no node there. Name its directory with --data-dir.")  # fmt: skip
        self._pid = self._agent()
        own = secrets.of_node(self.data_dir, self._pid, self._password_files())
        self._scrubber = Scrubber(own | self._proxy_passwords())
        self._workloads: Mapping[str, secrets.Values] = {}

    def most(self) -> int:
        """Bytes that the bundle may have, were nothing of it compressed."""
        logs = sum(path.stat().st_size for path in self._logs() if path.is_file())
        return min(logs, MOST_LOGS) + _OTHERS

    def collect(self, bundle: Bundle, written_in: Path, now: int) -> None:
        """Everything, the manifest last; the bundle is written in this directory."""
        self._from_database(bundle)
        self._from_agent(bundle)
        self._told("looking at the device")
        identity = self._identity()
        here = self._section
        here(bundle, "settings", self._shown_settings)
        here(bundle, "trust", lambda: disk.trust(self.data_dir))
        here(bundle, "inventory", lambda: collect(self._hubs(identity), ()))
        here(bundle, "files", lambda: disk.sizes(self.data_dir))
        here(bundle, "device", system.device)
        here(bundle, "disks", lambda: system.disks([self.data_dir, written_in, Path("/tmp")]))  # noqa: S108
        here(bundle, "agent", self._process)
        self._add_logs(bundle)
        self._told("writing the manifest")
        manifest = {
            "format": FORMAT,
            "made_at": iso(now),
            "versions": system.versions(),
            "node": {"id": identity.node_id, "name": identity.name} if identity else None,
            "data_dir": str(self.data_dir),
            "members": bundle.members,
            "missing": self.missing,
        }
        bundle.add_json(MANIFEST, self._scrubber.value(manifest))

    def _section(self, bundle: Bundle, name: str, found: Callable[[], object]) -> None:
        try:
            value = to_plain(found())
        except (SkerryError, OSError, sqlite3.Error, ValueError) as error:
            self._lacks(name, error)
        else:
            bundle.add_json(f"{name}.json", self._scrubber.value(value))

    def _lacks(self, name: str, error: Exception) -> None:
        self.missing[name] = self._scrubber.text(str(error) or type(error).__name__)

    def _from_agent(self, bundle: Bundle) -> None:
        self._told("asking the agent")
        answers = asyncio.run(ask(self.data_dir, _QUESTIONS))
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                if f"{name}.json" not in bundle.members:
                    self._lacks(name, answer)
                continue
            if isinstance(answer, disk.SyncLines):
                answer = disk.without_values(answer.entries)  # noqa: PLW2901
            bundle.add_json(f"{name}.json", self._scrubber.value(to_plain(answer)))

    def _from_database(self, bundle: Bundle) -> None:
        """Also finds the values to mask in each log; those first, since what is added is masked."""
        self._told("checking the database")
        specs: dict[str, secrets.Spec] = {}
        with ExitStack() as stack:
            try:
                database = stack.enter_context(disk.opened(self._database()))
                specs = secrets.specs_in(database)
            except (SkerryError, sqlite3.Error, OSError) as error:
                self._lacks("database", error)
                self._lacks("workloads", error)
            else:
                self._mask_workloads(specs)
                self._section(bundle, "database", lambda: disk.database_facts(database))
                self._section(bundle, "workloads", lambda: disk.workloads(database, specs))
                self._section(
                    bundle,
                    "sync-log-on-disk",
                    lambda: disk.sync_log(database, _SYNC_LINES),
                )
                return
        self._mask_workloads(specs)

    def _mask_workloads(self, specs: dict[str, secrets.Spec]) -> None:
        self._workloads = secrets.of_workloads(specs)
        self._scrubber = self._scrubber.knowing(
            value for values in self._workloads.values() for value in values.nowhere
        )

    def _add_logs(self, bundle: Bundle) -> None:
        left = MOST_LOGS
        left -= self._add_log(bundle, "agent", self._agents_log, left)
        keepers = self.data_dir / "run" / "keeper.log"
        left -= self._add_log(bundle, "keeper", partial(tails.last_lines, keepers), left)
        for path in self._logs():
            workload = path.parent.name
            known = self._workloads.get(workload)
            left -= self._add_log(
                bundle,
                f"workloads/{member_name(workload)}",
                partial(tails.last_lines, path),
                left,
                self._scrubber.knowing(known.log if known else ()),
            )

    def _add_log(
        self,
        bundle: Bundle,
        name: str,
        read: Callable[[int], bytes],
        left: int,
        scrubber: Scrubber | None = None,
    ) -> int:
        member = f"logs/{name}.log"
        if left < _LEAST_LOG:
            self.missing[member] = f"the bundle has {MOST_LOGS >> 20} MiB of newer logs already"
            return 0
        self._told(f"reading {member}")
        try:
            data = (scrubber or self._scrubber).data(read(min(left, tails.MOST_BYTES)))
        except (SkerryError, OSError) as error:
            self._lacks(member, error)
            return 0
        bundle.add(member, data)
        return len(data)

    def _agents_log(self, most: int) -> bytes:
        """The file or journal that its process writes to; of one that has ended, where `skerry up` has put it."""
        try:
            stderr = Path(f"/proc/{self._pid}/fd/2").readlink() if self._pid else Path()
        except OSError:
            stderr = Path()
        places = [stderr, self.data_dir.parent / "node.log"]
        for place in places:
            if place.is_absolute() and place.is_file():
                return tails.last_lines(place, most)
        return tails.journal(UNIT, most)

    def _logs(self) -> list[Path]:
        """Those of workloads, the newest first."""
        try:
            found = [path for path in (self.data_dir / "logs").glob(f"*/{CURRENT}") if not path.parent.is_symlink()]  # fmt: skip
            return sorted(found, key=lambda path: (-path.lstat().st_mtime_ns, path.parent.name))
        except OSError:
            return []

    def _read_settings(self, configs: Sequence[Path], options: Mapping[str, str]) -> Found | None:
        try:
            return find_settings(configs, options=options)
        except (SkerryError, OSError) as error:
            self.missing["settings"] = Scrubber().text(str(error))
            return None

    def _shown_settings(self) -> object:
        if self._settings is None:
            raise NotFound(self.missing["settings"])
        shown = [
            {"setting": path, "value": str(each), "from": each.origin}
            for path, each in sorted(self._settings.items())
        ]
        proxies = node_settings(self._settings).proxies
        return {"settings": shown, "proxies": to_plain(proxies)}

    def _password_files(self) -> Iterator[Path]:
        if self._settings is not None:
            registries = self._settings["containers.registries"].value
            if isinstance(registries, dict):
                for fields in registries.values():
                    yield Path(fields["password_file"])

    def _proxy_passwords(self) -> frozenset[bytes]:
        if self._settings is None:
            return frozenset()
        texts = [str(each.value) for each in self._settings.values()]
        proxies = node_settings(self._settings).proxies
        found = secrets.passwords_in([proxies.http, proxies.https, *texts])
        return frozenset(each.encode(errors="surrogateescape") for each in found)

    def _identity(self) -> Identity | None:
        try:
            return read_identity(self.data_dir)
        except (SkerryError, OSError) as error:
            self._lacks("identity", error)
            return None

    def _hubs(self, identity: Identity | None) -> list[str]:
        return [] if identity is None else [identity.hub_url, *identity.hub_urls]

    def _database(self) -> Path:
        if self._settings is None:
            return self.data_dir / STORE_FILE
        return database_of(self._settings)

    def _agent(self) -> str:
        """The agent's pid, of the process that has the lock's file open; empty when none lives."""
        lock = (self.data_dir / LOCK_FILE).resolve()
        pid = last_holder(lock)
        try:
            files = list(Path("/proc", pid, "fd").iterdir()) if pid else []
        except OSError:
            return ""
        return pid if any(_leads_to(file, lock) for file in files) else ""

    def _process(self) -> system.ProcessFacts:
        if not self._pid:
            raise NotFound("the agent does not run")
        return system.process(self._pid)


def _leads_to(link: Path, target: Path) -> bool:
    try:
        return link.readlink() == target
    except OSError:  # closed meanwhile
        return False


def to_plain(value: object) -> object:
    """What JSON can say, of structs and paths too."""
    return msgspec.to_builtins(value, enc_hook=str)


async def ask(data_dir: Path, questions: Mapping[str, str]) -> dict[str, object]:
    """The agent's answers, or why there is none: one that does not answer is not asked again."""
    answers: dict[str, object] = {}
    gone: Exception | None = None
    try:
        async with node_api(data_dir) as node:
            for name, path in questions.items():
                api = node.patient(CHECKS_SECONDS) if answers else node
                try:
                    kind = disk.SyncLines if name == "sync-log" else Any
                    answers[name] = gone or await api.get(path, kind)
                except Unreachable as error:
                    answers[name] = gone = error
                except SkerryError as error:
                    answers[name] = error
    except SkerryError as error:
        return dict.fromkeys(questions, error)
    return answers
