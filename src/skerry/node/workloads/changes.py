"""What a new assignment means for what runs: nothing, a new value to hold, or another process. Pure.

An instance is replaced only when what it was made from differs (program, environment, limits, log files, …) or when
a restart was asked for. What else there is (restart policy, dependencies, probes, …) takes effect as it stands.
"""

from __future__ import annotations

from msgspec.structs import replace

from skerry.core.secrets import restarting
from skerry.node.store.instances import ActualWorkload
from skerry.node.workloads.transitions import Moment, first_seen, renewed
from skerry.wire.workload import Assignment

_AS_THEY_STAND = frozenset(
    {
        "name", "on", "restart", "stop", "ready", "depends_on", "on_disconnect", "streams", "models", "update", "overrides",
        "worker",
    }
)  # fmt: skip
"""Fields that take effect without another process, or that `_made_from` looks into. A field that nobody has put here replaces what runs: too much
rather than too little."""


def hold(actual: ActualWorkload | None, wish: Assignment, moment: Moment) -> ActualWorkload:
    """The workload once `wish` is known. A stale wish is ignored; one that needs another process waits for the stop."""
    if actual is None:
        return first_seen(wish, moment)
    held = actual.assignment
    wish = _effective(held, wish)
    if wish == held:
        return actual
    if actual.instance is None and (needs_restart(held, wish) or _gives_new_chance(actual, wish)):
        return renewed(actual, wish, moment)
    if actual.instance is not None and needs_restart(held, wish):
        return actual
    now = replace(actual, assignment=wish)
    return replace(now, ready=True, probe="") if _loses_probe(actual, wish) else now


def is_stale(held: Assignment, wish: Assignment) -> bool:
    """Whether `wish` is older intent than what this node already acts on."""
    return wish.generation < held.generation


def needs_restart(held: Assignment, wish: Assignment) -> bool:
    """Whether an instance made from `held` must be replaced because of `wish`."""
    asked = restart_asked(held, wish) or reload_asked(held, wish)
    return asked or _made_from(held) != _made_from(wish)


def restart_asked(held: Assignment, wish: Assignment) -> bool:
    """Whether somebody asked for a restart. A counter that went back (the hub was restored) asks for nothing."""
    return not is_stale(held, wish) and wish.restarts > held.restarts


def reload_asked(held: Assignment, wish: Assignment) -> bool:
    """Whether this device itself wants the worker restarted."""
    return wish.local.reloads > held.local.reloads


def in_force(held: Assignment, wish: Assignment) -> bool:
    """Whether what was made from `held` is what `wish` wants."""
    return not needs_restart(held, _effective(held, wish))


def _effective(held: Assignment, wish: Assignment) -> Assignment:
    """Of a stale wish only that holds which the device adds to it."""
    return replace(held, local=wish.local) if is_stale(held, wish) else wish


def _made_from(assignment: Assignment) -> tuple[object, ...]:
    """Models count by their content, wherever it comes from and in whatever order they are named."""
    logs = replace(assignment.spec.logs, ship=None)
    spec = replace(assignment.spec, logs=logs)
    fields = [field for field in spec.__struct_fields__ if field not in _AS_THEY_STAND]
    models = sorted((model.name, model.content) for model in assignment.models)
    secrets = restarting(spec, assignment.secrets)
    scripts = None if spec.worker is None else (spec.worker.scripts, spec.worker.pattern)
    recipe = assignment.local.recipe
    return *(getattr(spec, field) for field in fields), models, secrets, scripts, recipe


def _loses_probe(actual: ActualWorkload, wish: Assignment) -> bool:
    """Whether nobody asks any more if it is ready; what runs without a probe counts as ready."""
    had = actual.assignment.spec.probe is not None
    return actual.phase == "running" and had and wish.spec.probe is None


def _gives_new_chance(actual: ActualWorkload, wish: Assignment) -> bool:
    """Whether another restart policy starts a workload of which nothing lives. What has succeeded is done."""
    policy = wish.spec.restart
    differs = policy != actual.assignment.spec.restart
    return differs and (actual.phase != "succeeded" or policy.policy == "always")
