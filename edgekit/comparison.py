"""The result of a comparison as values: rows of recipe x board, and what led to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgekit.npu.outcome import NpuOutcome
from edgekit_converters.proof import FileProof, LayerProof
from edgekit_device.number import Number

SCHEMA = "edgekit.comparison/1"

COLUMNS: dict[str, str] = {
    "accuracy": "accuracy",
    "parameters": "parameters",
    "macs": "MACs",
    "file_bytes": "file (bytes)",
    "gzip_bytes": "gzip -9 (bytes)",
    "zstd_bytes": "zstd -19 (bytes)",
    "latency_p50_ms": "latency p50 (ms)",
    "peak_rss_bytes": "peak RSS (bytes)",
    "energy_j": "energy/inference (J)",
}
"""The numeric columns of a row, in table order, with their headings."""


_NOT_PACKED = Number.unavailable("not recorded")
_NOT_EMULATED = Number.unavailable("instructions are counted on emulated boards")
_NOT_COMPARED = Number.unavailable("not compared with base")


@dataclass(frozen=True)
class Metric:
    """A further measure of a file's answers; `more` says that more of it is better."""

    name: str
    value: Number
    more: bool = True
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One recipe on one board; a column that could not be had is an unavailable `Number`.

    `accuracy` is the comparison's main metric, `accuracy_change` that less the base's, with the
    95 % interval of a paired comparison; `metrics` are further ones.
    `same_as` names the recipe of an earlier row whose file (`sha256`) is the very same: the two
    differ by noise alone. `stages` names the trained stages behind it by their `Stage.recipe`, in
    order; `proof` is what stands in its file. `instructions` are those of one inference, counted on
    an emulated board; `throttled` says what held the board's clock down, where anything did.
    """

    recipe: str
    board: str
    file: str
    accuracy: Number
    parameters: Number
    macs: Number
    file_bytes: Number
    gzip_bytes: Number
    latency_p50_ms: Number
    peak_rss_bytes: Number
    energy_j: Number
    accuracy_change: Number = _NOT_COMPARED
    sha256: str = ""
    same_as: str = ""
    pareto: bool = False
    error: str | None = None
    zstd_bytes: Number = _NOT_PACKED
    stages: tuple[str, ...] = ()
    proof: FileProof | None = None
    instructions: Number = _NOT_EMULATED
    throttled: str = ""
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True)
class LayerSaving:
    """What the last pass of `recipe` did, or did not do, to one convolution."""

    layer: str
    case: str
    action: str
    parameters_before: int
    parameters_after: int
    macs_before: int | None
    macs_after: int | None
    substituted: bool
    recipe: str = ""


@dataclass(frozen=True)
class Stage:
    """One step of a recipe: what it changed, what it left with the reason, how it trained.

    `best_epoch` is the one whose weights it left with. `trainable_parameters` and
    `other_parameters` are those of the model while it was trained, with the masks, centroids and
    ranges that the step itself needs; None where not known. Accuracies (or what `metric` names) are
    the Keras model's on the validation split, before and after; None without data. `proof` holds
    what was asked of each kernel and what came out. `notes` say what an automatic choice was asked
    for, what was predicted and what came of it.
    """

    recipe: str
    name: str
    seconds: float
    epochs: int
    history: dict[str, list[float]] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    reused: bool = False
    best_epoch: int = 0
    trainable_parameters: int | None = None
    other_parameters: int | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    proof: tuple[LayerProof, ...] = ()
    metric: str = "accuracy"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advice:
    """What to try next, with the exact command (empty where there is none)."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Comparison:
    """All rows of one comparison with their evidence: stages, per-layer savings, board records.

    `metric` is what the rows' accuracy is. `cautions` are doubts about the comparison as a whole;
    `npus` what each file came to on each NPU, of which the rows hold what boards have too.
    """

    model: str
    data: str
    created: str
    settings: dict[str, Any]
    versions: dict[str, str]
    rows: tuple[Row, ...]
    layers: tuple[LayerSaving, ...]
    stages: tuple[Stage, ...]
    records: tuple[dict[str, Any], ...]
    advice: tuple[Advice, ...]
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    npus: tuple[NpuOutcome, ...] = ()
    metric: str = "accuracy"
