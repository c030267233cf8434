"""The fifth documented file, edge-agent-config.yaml: one agent, its limits, its model, what goes in and out.

Agents are not built yet: the file is recognised, checked by this table and told; nothing runs it. The reader is that of
the settings (`config`), so mistakes read alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from skerry.core.config import Configured, SourceFile, Sources, known_names, load
from skerry.core.features import WORKFLOWS
from skerry.core.setting_values import Setting

AGENT = (
    Setting("name", "text", None, "What the agent is called.", required=True),
    Setting("version", "text", None, "Which version of it this is.", required=True),
    Setting("type", "word", None, "Where it is meant to run.", words=("edge",), required=True),
    Setting("resources.max_memory", "size", None, "Memory that it may use.", unit="bytes", low=1_000_000),
    Setting("resources.max_cpu", "number", None, "Processors that it may use.", unit="processors", low=0.01, high=1024),
    Setting("resources.max_storage", "size", None, "Room for what it writes.", unit="bytes"),
    Setting("model.type", "word", None, "Whether the model's numbers were made smaller.", words=("quantized", "full")),
    Setting("model.format", "word", None, "What the model's file is.", words=("onnx",)),
    Setting("model.path", "path", None, "The model's file."),
    Setting("model.precision", "word", None, "The numbers of the model.", words=("int8", "fp16", "fp32")),
    Setting("runtime.executor", "word", None, "What runs it.",
            words=("onnxruntime", "wasm", "python", "container", "exec")),
    Setting("runtime.threads", "integer", None, "Threads for one answer.", unit="threads", low=1, high=1024),
    Setting("runtime.acceleration", "word", None, "What it calculates on.", words=("cpu", "gpu", "npu")),
    Setting("input.format", "word", None, "What goes in.", words=("text", "json", "image", "audio", "binary")),
    Setting("input.max_length", "integer", None, "The longest input.", low=1),
    Setting("output.format", "word", None, "What comes out.", words=("json", "text")),
    Setting("output.classes", "words", None, "The classes that the model tells apart, in its order."),
)  # fmt: skip


def is_agent(file: SourceFile, settings: Iterable[Setting]) -> bool:
    """Whether most of the file's names are an agent's, rather than those of `settings`."""
    return known_names(AGENT, file) > known_names(settings, file)


def read_agent(file: SourceFile) -> dict[str, Configured]:
    """The checked description. Raises InvalidInput listing every mistake."""
    return load(AGENT, Sources(files=(file,)))


def set_apart(
    files: Iterable[SourceFile], settings: Iterable[Setting]
) -> tuple[tuple[SourceFile, ...], list[dict[str, Configured]]]:
    """The files of settings, and the checked descriptions of agents that were among them. Raises InvalidInput."""
    declared, rest, agents = tuple(settings), [], []
    for file in files:
        if is_agent(file, declared):
            agents.append(read_agent(file))
        else:
            rest.append(file)
    return tuple(rest), agents


def not_run(agent: dict[str, Configured]) -> str:
    """A sentence for people who start a node with an agent's file."""
    return f"agent «{agent['name']}» ({agent['name'].origin}) is not run: {WORKFLOWS.name} are not built yet"
