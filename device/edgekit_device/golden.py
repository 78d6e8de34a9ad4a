"""The golden check: known inputs and outputs that the exporter stored beside the model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_device.errors import ModelError
from edgekit_device.protocol import Compared
from edgekit_device.record import Golden, Runtime

SCHEMA = "edgekit.manifest/1"


@dataclass(frozen=True)
class Reference:
    """The golden file and what its arrays mean; `tolerances` are in the order of `outputs`."""

    file: Path
    samples: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tolerances: tuple[float, ...]
    made_with: str


def file_sha256(path: Path) -> str:
    """Hash a file in pieces: a board may have less memory than the model has bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_reference(model: Path, model_sha256: str) -> Reference | str:
    """Read the manifest beside `model` and verify both files' hashes; a text says what is absent.

    Raises:
        ModelError: the manifest is malformed, or belongs to another file than is there.
    """
    path = model.with_suffix(".manifest.json")
    if not path.exists():
        return f"there is no {path.name} beside the model, so its answers were not checked"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["schema"] != SCHEMA:
            raise _unusable(path, f"the schema must be {SCHEMA!r}, not {manifest['schema']!r}")
        _same_hash(model, model_sha256, manifest["sha256"], path)
        if manifest.get("golden") is None:
            return f"{path.name} names no golden file, so the model's answers were not checked"
        return _reference(path, manifest)
    except OSError as error:
        raise _unusable(path, f"it cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise _unusable(path, f"it is not JSON: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(path, f"a key is missing or has the wrong type: {error!r}") from error


def _reference(path: Path, manifest: dict[str, Any]) -> Reference:
    golden = manifest["golden"]
    file = path.with_name(Path(golden["file"]).name)
    if not file.exists():
        raise _unusable(path, f"the golden file {file.name} that it names is not there")
    _same_hash(file, file_sha256(file), golden["sha256"], path)
    reference = Reference(
        file=file,
        samples=int(golden["samples"]),
        inputs=tuple(str(tensor["name"]) for tensor in manifest["inputs"]),
        outputs=tuple(str(tensor["name"]) for tensor in manifest["outputs"]),
        tolerances=tuple(float(tolerance) for tolerance in golden["tolerance"]),
        made_with=str(golden["runtime"]),
    )
    if len(reference.tolerances) != len(reference.outputs) or reference.samples < 1:
        raise _unusable(path, "it needs one tolerance per output and at least one sample")
    if not all(math.isfinite(tolerance) and tolerance >= 0 for tolerance in reference.tolerances):
        raise _unusable(path, f"tolerances are finite and not negative: {reference.tolerances}")
    return reference


def judge(reference: Reference, compared: Sequence[Compared]) -> tuple[Golden, str | None]:
    """Hold all samples' differences against the tolerances; the text says what is wrong, if so."""
    worst = (-1.0, 0.0, 0.0, "")
    for index, answer in enumerate(compared):
        for difference, tolerance in zip(answer.differences, reference.tolerances, strict=True):
            where = f"output {difference.output!r}, sample {index}"
            if difference.largest is None:
                reason = f"{where}: {difference.reason}"
                failed = Golden("failed", None, tolerance, reference.samples, reason)
                return failed, reason
            excess = _excess(difference.largest, tolerance)
            worst = max(worst, (excess, difference.largest, tolerance, where))
    excess, largest, tolerance, where = worst
    if excess <= 1:
        return Golden("passed", largest, tolerance, reference.samples), None
    reason = f"{where}: the largest error is {largest:g}, the tolerance {tolerance:g}"
    return Golden("failed", largest, tolerance, reference.samples, reason), reason


def wrong_answer(reference: Reference, runtime: Runtime, reason: str) -> ModelError:
    """Say that a runtime loads the model but computes something else, and what to do."""
    other = "tflite-runtime" if runtime.name == "litert" else "litert"
    return ModelError(
        "wrong-answer",
        f"{runtime.name} {runtime.version} loads this model but answers wrongly: {reason} "
        f"(the golden outputs were made with {reference.made_with}). "
        f"Do not ship this file with this runtime; try --runtime {other}, or export it again.",
    )


def _excess(largest: float, tolerance: float) -> float:
    if tolerance == 0:
        return math.inf if largest else 0.0
    return largest / tolerance


def _same_hash(file: Path, found: str, expected: str, manifest: Path) -> None:
    if found != expected:
        raise _unusable(
            manifest,
            f"{file.name} is not the file that it describes (sha256 {found[:12]}…, "
            f"expected {str(expected)[:12]}…)",
        )


def _unusable(manifest: Path, rule: str) -> ModelError:
    return ModelError(
        "golden-files",
        f"{manifest.name}: {rule}. Export the model again, or remove the manifest to profile "
        "the file without checking its answers.",
    )
