"""Models as tests need them: content, what describes it, and workloads that name it."""

from __future__ import annotations

import hashlib
import random

from skerry.wire.models import ModelFile, ModelSource, ModelSpec

HUB = ModelSource(hub=True)


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def model(
    name: str = "yolo", data: bytes = b"weights", source: ModelSource = HUB, file: str = "w.onnx"
) -> ModelSpec:
    return ModelSpec(
        name=name,
        files=[ModelFile(file, sha256(data), len(data))],
        source=source,
        format="onnx",
    )
