"""What one recipe's file came to on one NPU: emulated answers and counts, estimated costs."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit_device import Number


@dataclass(frozen=True)
class NpuLayer:
    """One operator; None where its cost is not estimated."""

    node: int
    operator: str
    name: str
    unit: str
    bound_by: str
    cycles: float
    utilisation: float
    energy_j: float | None


@dataclass(frozen=True)
class NpuOutcome:
    """One file on one NPU; counts are means per inference over the test samples.

    `coverage` says how many nodes run in the NPU's arithmetic; `left` names those that stay on the
    CPU, `not_estimated` those that no cost covers, each with the reason. `energy_parts_j` are those
    of `energy_j`. `dram_bytes` is what moves between chip and memory.
    """

    recipe: str
    npu: str
    coverage: str
    left: tuple[tuple[str, str], ...]
    not_estimated: tuple[tuple[str, str], ...]
    accuracy: Number
    accuracy_change: Number
    latency_ms: Number
    energy_j: Number
    cycles: Number
    utilisation: Number
    dram_bytes: Number
    skipped_share: Number
    saturations: Number
    energy_parts_j: tuple[tuple[str, Number], ...]
    layers: tuple[NpuLayer, ...]
    error: str | None = None


def failed(recipe: str, npu: str, why: str) -> NpuOutcome:
    """The outcome of a file that could not be emulated, or of a recipe that has none."""
    unknown = Number.unavailable(why)
    return NpuOutcome(
        recipe=recipe,
        npu=npu,
        coverage="",
        left=(),
        not_estimated=(),
        accuracy=unknown,
        accuracy_change=unknown,
        latency_ms=unknown,
        energy_j=unknown,
        cycles=unknown,
        utilisation=unknown,
        dram_bytes=unknown,
        skipped_share=unknown,
        saturations=unknown,
        energy_parts_j=(),
        layers=(),
        error=why,
    )
