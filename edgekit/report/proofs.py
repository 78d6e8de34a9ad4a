"""What each stage and each file can prove, as text: zeros, distinct values, integer operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.comparison import Row, Stage
from edgekit.report.format import MISSING, count_text
from edgekit_converters.proof import FileProof, LayerProof

_HALF_A_WEIGHT = 0.5 + 1e-6


@dataclass(frozen=True)
class KernelLine:
    """One kernel after a stage; a verdict is None where nothing was asked."""

    layer: str
    weights: str
    zeros_asked: str
    zeros: str
    zeros_kept: bool | None
    distinct_asked: str
    distinct: str
    distinct_per_channel: str
    distinct_kept: bool | None
    per_channel: bool
    bits_asked: str
    levels: str
    levels_kept: bool | None


@dataclass(frozen=True)
class StageProof:
    """One stage: how accurate before and after, and its kernels."""

    stage: Stage
    best: str
    accuracy: str
    asked: str
    kernels: tuple[KernelLine, ...]

    @property
    def on_grid(self) -> bool:
        """Whether kernels were asked to lie on a grid of few bits."""
        return any(kernel.levels_kept is not None for kernel in self.kernels)


@dataclass(frozen=True)
class FileLines:
    """One file: what its operators compute in, and its weights."""

    recipe: str
    same_as: str
    operators: str
    tensors: str
    proof: FileProof


def stage_proofs(stages: Sequence[Stage]) -> tuple[StageProof, ...]:
    """Each stage once, in order."""
    return tuple(
        StageProof(
            stage=stage,
            best=f", best {stage.best_epoch}" if stage.best_epoch else "",
            accuracy=_accuracies(stage),
            asked=_asked(stage.proof),
            kernels=tuple(_kernel(proof) for proof in stage.proof),
        )
        for stage in stages
    )


def file_proofs(rows: Sequence[Row]) -> tuple[FileLines, ...]:
    """Each recipe's file once; boards share it."""
    found: dict[str, FileLines] = {}
    for row in rows:
        if row.proof is not None and row.recipe not in found:
            found[row.recipe] = FileLines(
                row.recipe, row.same_as, _operators(row.proof), _tensors(row.proof), row.proof
            )
    return tuple(found.values())


def share(value: float) -> str:
    """A share in percent: 50.0%, 0%."""
    return f"{value:.1%}" if value else "0%"


def _accuracies(stage: Stage) -> str:
    values = (stage.accuracy_before, stage.accuracy_after)
    if values == (None, None):
        return MISSING
    return " → ".join(MISSING if value is None else f"{value:.3f}" for value in values)


def _kernel(proof: LayerProof) -> KernelLine:
    zeros_kept = distinct_kept = None
    if proof.sparsity_asked is not None:
        # In weights, of which there are whole ones only: half a weight less is still as asked.
        short = (proof.sparsity_asked - proof.sparsity) * proof.weights
        zeros_kept = short <= _HALF_A_WEIGHT
    if proof.distinct_asked is not None:
        counted = proof.distinct_per_channel if proof.per_channel else proof.distinct
        distinct_kept = counted <= proof.distinct_asked
    return KernelLine(
        layer=proof.layer,
        weights=count_text(proof.weights),
        zeros_asked=MISSING if proof.sparsity_asked is None else share(proof.sparsity_asked),
        zeros=share(proof.sparsity),
        zeros_kept=zeros_kept,
        distinct_asked=_distinct_asked(proof),
        distinct=str(proof.distinct),
        distinct_per_channel=str(proof.distinct_per_channel),
        distinct_kept=distinct_kept,
        per_channel=proof.per_channel,
        bits_asked=MISSING if proof.bits_asked is None else str(proof.bits_asked),
        levels=MISSING if proof.levels is None else f"{proof.levels} of {proof.levels_asked}",
        levels_kept=_levels_kept(proof),
    )


def _levels_kept(proof: LayerProof) -> bool | None:
    if proof.levels is None or proof.levels_asked is None:
        return None
    return proof.levels <= proof.levels_asked


def _distinct_asked(proof: LayerProof) -> str:
    if proof.distinct_asked is None:
        return MISSING
    where = "in a channel" if proof.per_channel else "in all"
    return f"≤ {proof.distinct_asked} {where}"


def _asked(proofs: Sequence[LayerProof]) -> str:
    """A line for the closed block: how many kernels have what was asked of them."""
    lines = [_kernel(proof) for proof in proofs]
    parts = []
    for what, kept in (
        ("zeros", [line.zeros_kept for line in lines if line.zeros_kept is not None]),
        (
            "distinct values",
            [line.distinct_kept for line in lines if line.distinct_kept is not None],
        ),
        ("bits", [line.levels_kept for line in lines if line.levels_kept is not None]),
    ):
        if kept:
            parts.append(f"{what} as asked in {sum(kept)} of {len(kept)} kernels")
    return ", ".join(parts)


def _operators(proof: FileProof) -> str:
    floats = proof.operators - proof.integer_operators
    if not proof.integer_operators:
        return f"{proof.operators} operators, all in float"
    if not floats:
        return f"{proof.operators} operators, all in integers"
    return f"{proof.operators} operators, {proof.integer_operators} in integers, {floats} in float"


def _tensors(proof: FileProof) -> str:
    if not proof.weights:
        return "no weight tensors"
    total = sum(tensor.weights for tensor in proof.weights)
    zeros = sum(tensor.weights * tensor.sparsity for tensor in proof.weights) / max(total, 1)
    most = max(tensor.distinct for tensor in proof.weights)
    kinds = ", ".join(dict.fromkeys(tensor.dtype for tensor in proof.weights))
    tensors = f"{len(proof.weights)} weight tensor{'s' if len(proof.weights) > 1 else ''}"
    return f"{tensors} ({kinds}), {share(zeros)} zeros, at most {most} distinct values in one"
