"""A gate with a real broker behind it, real MQTT clients before it, and an agent that says only what a test lets it say."""

from __future__ import annotations

import getpass
import hashlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.closing import Closes
from tests.ports import free_port

from skerry.gate import VERSION, journal, packets
from skerry.gate.packets import Packet, Reader
from skerry.gate.tokens import body_of
from skerry.gate.topics import Scope
from skerry.keeper import protocol
from skerry.node.broker.commands import GatePlan, broker_command, gate_command, started
from skerry.node.broker.config import mosquitto_conf

PATIENCE = 30.0
OWN, FOREIGN = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
FEW_WATCHES = Path(__file__).with_name("few_watches.py")
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin") or "mosquitto"


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition that nothing announces."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, f"not in {PATIENCE} s: {what}"
        time.sleep(0.01)


class GateRig(Closes):
    """Directories, ports and processes of one gate; nothing runs until it is started."""

    def __init__(self, path: Path, memory: Path, limit: int = 32 * 1024 * 1024) -> None:
        self.run = path / "broker"
        self.run.mkdir(mode=0o700)
        self.journal = memory / "journal"
        self.limit = limit
        self.largest = 32 * 1024 * 1024
        self.broker_memory = 224 * 1024 * 1024
        self.mqtt_port, self.rest_port = free_port(), free_port()
        self.gate: subprocess.Popen[bytes] | None = None
        self.broker: subprocess.Popen[bytes] | None = None
        self._clients: list[Device] = []
        self._scopes: dict[str, Scope] = {}

    def close(self) -> None:
        """Nothing of it is left."""
        for client in self._clients:
            client.close()
        for process in (self.gate, self.broker):
            if process:
                process.kill()
                process.wait()

    def start(self) -> None:
        """Both."""
        self.start_broker()
        self.start_gate()

    def start_gate(
        self, release: Path | None = None, *, watches_below: int = 0, log: Path | None = None
    ) -> None:
        """The one that is installed, or that of a release; it can watch no descriptors but those below a number.

        What it says goes to `log`.
        """
        ports = (self.mqtt_port, self.rest_port)
        plan = GatePlan(self.run, self.journal, *ports, self.limit, self.largest)
        _, isolated, bare, file, *places = started(gate_command(plan))
        if release:
            file = str(release / "skerry/gate/__main__.py")
        words = [sys.executable, isolated, bare, file, *places]
        if watches_below:
            words = [sys.executable, str(FEW_WATCHES), str(watches_below), *words]
        with log.open("wb") if log else nullcontext() as stderr:
            self.gate = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr)
        assert self.gate.stdout
        with self.gate.stdout as stdout:
            assert stdout.read() == b""

    def start_broker(self) -> None:
        conf = self.run / "mosquitto.conf"
        own = (getpass.getuser(), self.largest, self.broker_memory)
        conf.write_text(mosquitto_conf(self.run / "broker", *own))
        self.broker = subprocess.Popen(broker_command(Path(MOSQUITTO), self.run))
        until(self._answers, "the broker listens")

    def _answers(self) -> bool:
        assert self.broker
        assert self.broker.poll() is None
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.run / "broker")) == 0

    def kill_broker(self) -> None:
        assert self.broker
        self.broker.kill()
        self.broker.wait()

    def kill_gate(self) -> None:
        assert self.gate
        self.gate.send_signal(signal.SIGKILL)
        self.gate.wait()

    def token(self, name: str = "token", **scope: Any) -> str:
        """A token that holds from now on, or with another scope; the gate reads it when it starts or is told."""
        token = f"cw_{name}"
        digest = hashlib.sha256(token.encode()).hexdigest()
        entry = {"n": len(self._scopes) + 1, "role": "driver", "twins": [OWN], **scope}
        self._scopes[digest] = Scope(
            entry["n"],
            entry["role"],
            entry.get("prefix", ""),
            frozenset(entry["twins"]),
            frozenset(filter(None, [entry.get("environment")])),
            frozenset(entry.get("workflows", ())),
            entry.get("workload", ""),
        )
        self.write_tokens()
        return token

    def end(self, token: str) -> None:
        """The token has ended; the gate is not told."""
        del self._scopes[hashlib.sha256(token.encode()).hexdigest()]
        self.write_tokens()

    def write_tokens(self) -> None:
        path = self.run / "tokens"
        path.with_suffix(".new").write_bytes(body_of(self._scopes))
        path.with_suffix(".new").replace(path)

    def device(self, token: str, name: str = "", **options: Any) -> Device:
        """A client that has not connected yet."""
        device = Device(self.mqtt_port, token, name, **options)
        self._clients.append(device)
        return device

    def entries(self) -> list[journal.Entry]:
        """Everything that is in the journal."""
        found = []
        for session, k in journal.files(str(self.journal)):
            with suppress(FileNotFoundError):  # all of it has just been stored
                found += [entry for entry, _ in journal.read(f"{self.journal}/{session}-{k}", 0)]
        return found


class Device:
    """A client of paho as the SDK uses it."""

    def __init__(
        self,
        port: int,
        token: str,
        name: str = "",
        *,
        user: str | None = None,
        version: int = mqtt.MQTTv5,
        will: str | None = None,
        clean: bool | None = None,
    ) -> None:
        self.heard: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self.acks: queue.Queue[tuple[int, int]] = queue.Queue()
        self.granted: queue.Queue[list[int]] = queue.Queue()
        self.greetings: queue.Queue[int] = queue.Queue()
        self.farewells: queue.Queue[int] = queue.Queue()
        self.connack: Properties | None = None
        self._port = port
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=version, clean_session=clean
        )
        self.client.username_pw_set(
            user or f"cwh_{hashlib.sha256(token.encode()).hexdigest()}", token
        )
        self.client.on_message = lambda _client, _data, message: self.heard.put(message)
        self.client.on_publish = lambda _client, _data, mid, code, _properties: self.acks.put(
            (mid, code.value)
        )
        self.client.on_subscribe = lambda _client, _data, _mid, codes, _properties: (
            self.granted.put([code.value for code in codes])
        )
        self.client.on_connect = self._greeted
        self.client.on_disconnect = lambda _client, _data, _flags, code, _p: self.farewells.put(
            code.value
        )
        if will:
            self.client.will_set(will, b"gone", 1, retain=True)

    def _greeted(self, _client: Any, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
        self.connack = properties
        self.greetings.put(code.value)

    def begin(self) -> None:
        """Connects without waiting for an answer."""
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()

    def connect(self) -> Self:
        """Connects, and is let in."""
        self.begin()
        assert self.greetings.get(timeout=PATIENCE) == 0
        return self

    def refusal(self) -> int:
        """Connects, and is told why not."""
        self.begin()
        code = self.greetings.get(timeout=PATIENCE)
        self.close()
        return code

    def publish(self, topic: str, payload: str | bytes, qos: int = 0, **options: Any) -> int:
        return self.client.publish(topic, payload, qos, **options).mid

    def subscribe(self, *filters: str, qos: int = 0) -> list[int]:
        """The broker's answer for each."""
        self.client.subscribe([(topic, qos) for topic in filters])
        return self.granted.get(timeout=PATIENCE)

    def hear(self) -> tuple[str, bytes]:
        message = self.heard.get(timeout=PATIENCE)
        return message.topic, message.payload

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


async def held_by_nobody(descriptors: list[int]) -> None:
    """In place of a keeper, where a test has none."""
    for fd in descriptors:
        os.close(fd)


def properties(**values: Any) -> Properties:
    """Of a PUBLISH."""
    made = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Agent(Closes):
    """The agent's end of the control socket."""

    def __init__(self, run: Path) -> None:
        self.events: queue.Queue[protocol.Message] = queue.Queue()
        self._replies: queue.Queue[protocol.Message] = queue.Queue()
        self._ids = 0
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.connect(str(run / "control"))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while (message := protocol.receive(self._sock)) is not None:
                (self.events if message.get("event") else self._replies).put(message)
        except OSError:
            return

    def ask(self, operation: str, *fields: tuple[str, object]) -> protocol.Message:
        """The reply."""
        self._ids += 1
        self.tell(operation, ("id", self._ids), *fields)
        reply = self._replies.get(timeout=PATIENCE)
        assert reply.get("id") == str(self._ids)
        return reply

    def tell(self, operation: str, *fields: tuple[str, object]) -> None:
        protocol.transmit(self._sock, protocol.encode([("op", operation), *fields]))

    def hello(self) -> protocol.Message:
        reply = self.ask("hello", ("version", VERSION))
        assert reply.get("error") is None, reply.get("text")
        return reply

    def close(self) -> None:
        if self._sock.fileno() < 0:
            return
        self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()


def greeting(token: str, name: str) -> bytes:
    """What a client says first."""
    return packets.packet(
        0x10,
        b"\0\4MQTT\5\xc2\0\0\0"
        + b"".join(
            len(part).to_bytes(2, "big") + part
            for part in (name.encode(), b"mqttcyb", token.encode())
        ),
    )


class Raw:
    """A client that says exactly what a test wants said."""

    def __init__(self, rig: GateRig, token: str, name: str = "raw") -> None:
        self.sock = socket.create_connection(("127.0.0.1", rig.mqtt_port), PATIENCE)
        self._reader = Reader(2**28)
        self._packets: list[Packet] = []
        self.sock.sendall(greeting(token, name))
        self.refusal = self.next().body[1]
        """Why it was not let in; 0: it was."""

    def next(self) -> Packet:
        while not self._packets:
            data = self.sock.recv(65536)
            assert data, "hung up"
            self._packets += self._reader.feed(data)
        return self._packets.pop(0)

    def publish(
        self, topic: str, payload: bytes, qos: int, packet_id: int, *, dup: bool = False
    ) -> None:
        raw = packets.publish(topic, payload, qos, packet_id)
        self.sock.sendall(bytes((raw[0] | (8 if dup else 0),)) + raw[1:])
