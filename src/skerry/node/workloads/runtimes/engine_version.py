"""What an engine says of itself; outside the containers' room, which an agent without containers never loads. Pure."""

from __future__ import annotations

import msgspec


class _Component(msgspec.Struct, frozen=True, rename="pascal"):
    name: str = ""


class Version(msgspec.Struct, frozen=True, rename="pascal", kw_only=True):
    """The answer to `GET /version`; `arch` is Go's name of its machine."""

    api_version: str
    version: str = ""
    arch: str = ""
    components: list[_Component] = []
    min_a_p_i_version: str = msgspec.field(name="MinAPIVersion", default="1.24")

    @property
    def is_podman(self) -> bool:
        return any(one.name == "Podman Engine" for one in self.components)
