"""Answers the agent: one method for each operation of `protocol`."""

from __future__ import annotations

import os
from collections.abc import Callable

from skerry.keeper.children import Child
from skerry.keeper.connections import Connection
from skerry.keeper.instances import Exit, Instances, StartFailure
from skerry.keeper.log_rules import rules_of
from skerry.keeper.protocol import VERSION, Fields, Message, ProtocolError, Refusal

TYPE_CHECKING = False  # as in `children`
if TYPE_CHECKING:
    from skerry.keeper.executions import Executions

Answer = list[tuple[str, object]]


class Requests:
    """Serves at most one attached agent; `quitting` turns true when it has asked the keeper to end."""

    def __init__(self, instances: Instances) -> None:
        self.quitting = False
        self._instances = instances
        self._agent: Connection | None = None
        self._executions: Executions | None = None
        self._starts: dict[str, list[tuple[Connection, str]]] = {}
        self._operations: dict[str, Callable[[Connection, Message], Answer | None]] = {
            "hello": self._hello,
            "list": self._list,
            "spawn": self._spawn,
            "adopt": self._adopt,
            "signal": self._signal,
            "mask": self._mask,
            "ack": self._acknowledge,
            "quit": self._quit,
        }
        self._beside = {"exec": self._execute, "tie": self._tie, "hold": self._hold}
        instances.on_started = self._started
        instances.on_ended = self._ended

    @property
    def attached(self) -> bool:
        """Whether an agent is there."""
        return self._agent is not None

    def handle(self, connection: Connection, request: Message) -> None:
        """Carries out one request and replies, unless the reply has to wait for an exec."""
        number = request.get("id") or ""
        try:
            answer = self._perform(connection, request)
        except ProtocolError as error:
            answer = [("error", "malformed"), ("text", error)]
        except Refusal as refusal:
            answer = [("error", refusal.word), ("text", refusal)]
        except OSError as error:
            answer = failed(error.errno or 0, "keeper")
        finally:
            request.close()
        if answer is not None:
            connection.send([("id", number), *answer])

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        if self._agent is connection:
            self._agent = None
        if self._executions is not None:
            self._executions.closed(connection)

    def _perform(self, connection: Connection, request: Message) -> Answer | None:
        name = request.text("op")
        if name in self._beside:
            agent = self._agent
            if agent is None or agent.peer_pid() != connection.peer_pid():
                raise Refusal("detached", "this is for the process of the attached agent")
            return self._beside[name](connection, request)
        operation = self._operations.get(name)
        if operation is None:
            raise ProtocolError(f"the operation «{name}» is unknown")
        if operation != self._hello and connection is not self._agent:
            raise Refusal("detached", "«hello» comes first")
        return operation(connection, request)

    def _hello(self, connection: Connection, request: Message) -> Answer:
        if request.number("version") != VERSION:
            raise Refusal("version", f"this keeper speaks version {VERSION}")
        agent = self._agent
        if agent is not None and agent is not connection:
            # An agent that died may still be readable; its end must not lock its successor out.
            if not agent.hung_up():
                raise Refusal("busy", f"the agent with pid {agent.peer_pid()} is attached")
            agent.close()
        self._agent = connection
        if request.get("holds") is None:
            self._instances.let_go()
        return [("version", VERSION), ("pid", os.getpid()), ("holds", 1)]

    def _list(self, connection: Connection, _request: Message) -> Answer:
        for child in self._instances.running.values():
            # Before exec there is nothing to report yet: `spawn` or `adopt` by name waits for it.
            if child.status_fd < 0:
                connection.send(_running(child))
        for exit_ in self._instances.exits.values():
            connection.send(_exited(exit_))
        return [("sockets", name) for name in self._instances.sockets]

    def _spawn(self, connection: Connection, request: Message) -> Answer | None:
        instance = request.text("instance")
        exit_ = self._instances.exits.get(instance)
        if exit_ is not None:
            connection.send(_exited(exit_))
            return [("pid", exit_.pid), ("start", exit_.start)]
        if instance not in self._instances.running:
            self._instances.spawn(request)
        return self._when_started(connection, request)

    def _adopt(self, connection: Connection, request: Message) -> Answer | None:
        known = request.text("instance") in self._instances.running
        if not known and self._instances.adopt(request) is None:
            raise Refusal("gone", "nothing of the instance lives")
        return self._when_started(connection, request)

    def _when_started(self, connection: Connection, request: Message) -> Answer | None:
        child = self._instances.running[request.text("instance")]
        if child.status_fd < 0:
            return [("pid", child.pid), ("start", child.start)]
        waiting = self._starts.setdefault(child.instance, [])
        waiting.append((connection, request.text("id")))
        return None

    def _signal(self, _connection: Connection, request: Message) -> Answer:
        child = self._instances.running.get(request.text("instance"))
        if child is not None:
            child.signal(request.number("number"))
        return []

    def _mask(self, _connection: Connection, request: Message) -> Answer:
        child = self._instances.running.get(request.text("instance"))
        if child is not None:
            child.output.obey(rules_of(request))
        return []

    def _acknowledge(self, _connection: Connection, request: Message) -> Answer:
        self._instances.exits.pop(request.text("instance"), None)
        return []

    def _quit(self, _connection: Connection, _request: Message) -> Answer:
        running, exits = len(self._instances.running), len(self._instances.exits)
        if running or exits:
            raise Refusal("busy", f"{running} instances run, {exits} exits wait for «ack»")
        self.quitting = True
        return []

    def _execute(self, connection: Connection, request: Message) -> Answer | None:
        self._use_executions().begin(connection, request)
        return None

    def _tie(self, connection: Connection, request: Message) -> Answer:
        self._use_executions().tie(connection, request.text("text"))
        return []

    def _hold(self, _connection: Connection, request: Message) -> Answer:
        self._instances.hold(request.text("sockets"), request.take_descriptors())
        return []

    def _use_executions(self) -> Executions:
        if self._executions is None:
            # Most keepers never execute anything beside an instance.
            from skerry.keeper.executions import Executions  # noqa: PLC0415

            self._executions = Executions(self._instances)
        return self._executions

    def _started(self, child: Child, failure: StartFailure | None) -> None:
        if failure is None:
            answer: Answer = [("pid", child.pid), ("start", child.start)]
        else:
            answer = failed(failure.errno, failure.step)
        for connection, number in self._starts.pop(child.instance, []):
            connection.send([("id", number), *answer])

    def _ended(self, exit_: Exit) -> None:
        if self._agent is not None:
            self._agent.send(_exited(exit_))


def failed(errno: int, step: str) -> Answer:
    """The answer to a request that the system has refused."""
    text = os.strerror(errno) if errno else "the value is not accepted"
    return [("error", "failed"), ("text", text), ("errno", errno), ("step", step)]


def _running(child: Child) -> Fields:
    file = child.output.file
    return [
        ("event", "running"),
        ("instance", child.instance),
        ("workload", child.workload),
        ("pid", child.pid),
        ("start", child.start),
        ("log", file.path),
        *file.rules.fields(),
        ("isolation", child.isolation),
    ]


def _exited(exit_: Exit) -> Fields:
    fields: Answer = [
        ("event", "exited"),
        ("instance", exit_.instance),
        ("workload", exit_.workload),
        ("pid", exit_.pid),
        ("start", exit_.start),
        ("at", exit_.at),
    ]
    if exit_.code is not None:
        fields.append(("code", exit_.code))
    if exit_.signal is not None:
        fields.append(("signal", exit_.signal))
    if exit_.reason:
        fields.append(("reason", exit_.reason))
    return fields
