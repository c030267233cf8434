"""How a container is given GPUs, by what the engine says about itself. Pure."""

from __future__ import annotations

from typing import Literal

from skerry.kit.errors import Refused
from skerry.node.workloads.runtimes.containers.answers import EngineInfo

_CDI = "nvidia.com/gpu="


def gpu_request(info: EngineInfo, gpus: Literal["all"] | int) -> dict[str, object]:
    """A device request of the creation's body. Raises Refused where the engine can give no GPU."""
    if "nvidia" in info.runtimes:
        count = -1 if gpus == "all" else gpus
        return {"Driver": "", "Count": count, "Capabilities": [["gpu"]]}
    known = sorted(one.id for one in info.discovered_devices if one.id.startswith(_CDI))
    if f"{_CDI}all" in known and gpus == "all":
        return {"Driver": "cdi", "DeviceIDs": [f"{_CDI}all"]}
    single = [name for name in known if name.removeprefix(_CDI).isdigit()]
    if gpus != "all" and len(single) >= gpus:
        return {"Driver": "cdi", "DeviceIDs": single[:gpus]}
    has = f"{len(single)} GPUs" if single else "no NVIDIA runtime"
    raise Refused(
        f"«container.gpus» is {gpus}, and the engine on this node reports {has}. "
        "Install the NVIDIA container toolkit there, or run it on another node"
    )
