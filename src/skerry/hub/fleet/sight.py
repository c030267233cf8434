"""What of the fleet somebody sees whose role is for some nodes only: one place that says so, for every route. Pure.

`Nodes.sight` makes one from a role. Routes that use none of this are refused to such roles (`api.auth`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from skerry.core.roles import Role, covers
from skerry.hub.fleet.controller import Node
from skerry.kit.errors import NotFound, Refused
from skerry.wire.people import AssignmentView, DeviceWorkload, NodeView, WorkloadView


@dataclass(frozen=True)
class Sight:
    """The ids and names of the nodes that are seen. `ids` is None where nothing is hidden."""

    ids: frozenset[str] | None = None
    names: frozenset[str] = frozenset()

    def node(self, node_id: str) -> bool:
        """Whether the node of this id is seen."""
        return self.ids is None or node_id in self.ids

    def named(self, name: str) -> bool:
        """Whether the node of this name is seen: a name may look like another one's id."""
        return self.ids is None or name in self.names

    def nodes(self, views: Iterable[NodeView]) -> list[NodeView]:
        """Those that are seen."""
        return [view for view in views if self.node(view.id)]

    def workloads(self, views: Sequence[WorkloadView], name: str | None) -> list[WorkloadView]:
        """Those that run on nodes that are seen, as they are there; of how a change goes through all nodes, nothing.

        Raises NotFound when one is asked for by its name and not seen.
        """
        if self.ids is None:
            return list(views)
        cut = [
            replace(
                view,
                update=None,
                nodes={node: each for node, each in view.nodes.items() if self.named(node)},
            )
            for view in views
            if name is None or view.name == name
        ]
        seen = [view for view in cut if view.nodes]
        if name is not None and not seen:
            raise unseen("show", name)
        return seen

    def device_workloads(self, views: Sequence[DeviceWorkload]) -> list[DeviceWorkload]:
        """Those of nodes that are seen."""
        if self.ids is None:
            return list(views)
        cut = [
            replace(view, nodes={node: at for node, at in view.nodes.items() if self.named(node)})
            for view in views
        ]
        return [view for view in cut if view.nodes]

    def assignments(
        self, views: Sequence[AssignmentView], workload: str | None, node: str | None
    ) -> list[AssignmentView]:
        """Those of nodes that are seen, and of the workload and node that are asked for."""
        return [
            view
            for view in views
            if self.named(view.node)
            and (workload is None or view.workload == workload)
            and (node is None or view.node == node)
        ]

    def check_whole(self, verb: str, name: str, views: Iterable[WorkloadView]) -> None:
        """Raises NotFound unless workload `name` is seen, and Refused when it runs on other nodes, too."""
        if self.ids is None:
            return
        nodes = [node for view in views if view.name == name for node in view.nodes]
        seen = [node for node in nodes if self.named(node)]
        if not seen:
            raise unseen(verb, name)
        if len(seen) < len(nodes):
            raise Refused(
                f"cannot {verb} workload «{name}»: it runs on nodes, too, that your role is not for"
            )


EVERYTHING = Sight()


def seen_by(role: Role, nodes: Iterable[Node]) -> Sight:
    """What whoever has the role sees of these nodes."""
    if not role.scoped:
        return EVERYTHING
    seen = [node for node in nodes if covers(role, node.labels)]
    return Sight(frozenset(node.id for node in seen), frozenset(node.name for node in seen))


def unseen(verb: str, name: str) -> NotFound:
    """There is none, or it is hidden: the words are the same, and name no other."""
    return NotFound(
        f"cannot {verb} workload «{name:.80}»: none of this name runs on nodes that your role is for"
    )
