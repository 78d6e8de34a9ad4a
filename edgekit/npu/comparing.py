"""The recipes' files on an NPU, each emulated and costed once; what is done is reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekit.data import Dataset
from edgekit.disk import storing
from edgekit.errors import DiskError, EdgeKitError
from edgekit.exporting import Optimized
from edgekit.npu.cost import DRAM
from edgekit.npu.emulation import cost_of_emulation, emulate_file
from edgekit.npu.estimating import Estimate
from edgekit.npu.outcome import NpuLayer, NpuOutcome, failed
from edgekit.npu.target import Npu
from edgekit.progress import Listener, Step
from edgekit.stages import versions
from edgekit.store import content_key, read_facts, stage_folder
from edgekit_converters.errors import ConverterError
from edgekit_device import Number
from edgekit_device.codec import decode, encode
from edgekit_device.delegate import library_path
from edgekit_device.emulation import Emulation
from edgekit_device.errors import EdgeKitDeviceError
from edgekit_device.golden import file_sha256
from edgekit_device.version import __version__


def on_npu(
    run: Path,
    npu: Npu,
    results: Mapping[str, Optimized | str],
    data: Dataset,
    progress: Listener,
) -> list[NpuOutcome]:
    """One outcome per recipe, in order; a file that cannot be emulated says why.

    Raises:
        DiskError: an outcome cannot be kept.
    """
    base = results["base"]
    reference = base.scores if isinstance(base, Optimized) else None
    found = []
    for recipe, result in results.items():
        if isinstance(result, str):
            found.append(failed(recipe, str(npu), "the recipe failed"))
            continue
        try:
            outcome, scores = _kept(run, npu, result, data, progress)
            change = Number.unavailable("base failed")
            if reference is not None and scores:
                change = data.task.change(scores, reference)
            elif not scores:
                change = outcome.accuracy
            found.append(replace(outcome, accuracy_change=_emulated(change)))
        except DiskError:
            raise
        except (EdgeKitError, EdgeKitDeviceError, ConverterError) as error:
            found.append(failed(recipe, str(npu), str(error)))
            progress(Step(f"failed {recipe} on {npu}", 1.0, str(error)))
    return found


def _kept(
    run: Path, npu: Npu, result: Optimized, data: Dataset, progress: Listener
) -> tuple[NpuOutcome, list[float]]:
    key = content_key(
        {
            "file": result.sha256,
            "from_logits": result.from_logits,
            "recipe": result.recipe,
            "data": data.fingerprint,
            "delegate": file_sha256(library_path()),
            "versions": {**versions(), "edgekit-device": __version__},
            **npu.key,
        }
    )

    def make(_: Path) -> dict[str, Any]:
        progress(Step(f"emulate {result.recipe}"))
        outcome, scores = _outcome(npu, result, data, progress)
        return {"outcome": encode(outcome), "scores": scores}

    label = f"emulation of {result.recipe} on {npu}"
    with storing(run, f"the {label}"):
        folder, _ = stage_folder(run, key, label, make, progress)
    facts = read_facts(folder)
    outcome = decode(NpuOutcome, facts["outcome"], label)
    # The same NPU may have been named in another way.
    return replace(outcome, npu=str(npu)), [float(score) for score in facts["scores"]]


def _outcome(
    npu: Npu, result: Optimized, data: Dataset, progress: Listener
) -> tuple[NpuOutcome, list[float]]:
    import edgekit_converters as ec

    raw = ec.raw_samples(result.file, data.test.x)
    done, outputs = emulate_file(result.file, npu, [raw], progress=progress)
    cost = cost_of_emulation(result.file, npu, done)
    scores: list[float] = []
    accuracy = None
    if _computes(cost):
        real = ec.real_outputs(result.file, outputs[0], len(data.test))
        scores = data.task.rate(real, data.test.y, result.from_logits)
        accuracy = data.task.number(scores)
    return outcome_of(result.recipe, npu, done, cost, accuracy), scores


def outcome_of(
    recipe: str, npu: Npu, done: Emulation, cost: Estimate, accuracy: Number | None
) -> NpuOutcome:
    """Counts of the emulation and costs of the model, side by side."""
    claimed = sum(node.reason is None for node in done.nodes)
    partitions = f"{done.partitions} partition{'' if done.partitions == 1 else 's'}"
    left = [
        (f"{node.operator} (node {node.node})", node.reason)
        for node in done.nodes
        if node.reason is not None
    ]
    not_estimated = [
        (f"{one.operator} (node {one.node})", one.reason) for one in cost.not_estimated
    ]
    macs = sum(node.macs for node in done.totals)
    skipped = sum(node.skipped_macs for node in done.totals)
    saturations = sum(node.saturations for node in done.totals)
    computes = _computes(cost)
    nothing = Number.unavailable(_nothing(npu, not_estimated))
    latency, energy = (_whole(number, not_estimated) for number in (cost.latency_ms, cost.energy_j))
    return NpuOutcome(
        recipe=recipe,
        npu=str(npu),
        coverage=f"{claimed} of {len(done.nodes)} nodes, {partitions}",
        left=tuple(left),
        not_estimated=tuple(not_estimated),
        accuracy=_emulated(accuracy) if accuracy is not None and computes else nothing,
        accuracy_change=nothing,
        latency_ms=latency,
        energy_j=energy,
        cycles=as_sure_as(latency, cost.cycles),
        utilisation=as_sure_as(latency, _utilisation(cost, npu)),
        dram_bytes=as_sure_as(latency, sum(cost.bytes.get(DRAM, (0.0, 0.0)))),
        skipped_share=Number.emulated(skipped / macs) if macs and computes else nothing,
        saturations=Number.emulated(saturations / done.inferences) if computes else nothing,
        energy_parts_j=tuple(
            (name, as_sure_as(energy, value)) for name, value in cost.energy_parts_j.items()
        ),
        layers=tuple(
            NpuLayer(
                node=layer.node,
                operator=layer.operator,
                name=layer.name,
                unit=layer.unit,
                bound_by=layer.bound_by,
                cycles=layer.cycles,
                utilisation=layer.utilisation,
                energy_j=layer.energy_j.value,
            )
            for layer in cost.layers
        ),
    )


def _computes(cost: Estimate) -> bool:
    """Whether products of the file run on the NPU: without them its arithmetic plays no part."""
    return any(layer.macs for layer in cost.layers)


def _nothing(npu: Npu, not_estimated: Sequence[tuple[str, str]]) -> str:
    reasons = dict.fromkeys(reason for _, reason in not_estimated)
    return f"no product of the file runs on {npu}: {'; '.join(reasons) or 'it has none'}"


def _whole(number: Number, not_estimated: Sequence[tuple[str, str]]) -> Number:
    """A total that leaves operators out would look like one that does not."""
    if number.value is None or not not_estimated:
        return number
    (what, why), more = not_estimated[0], len(not_estimated) - 1
    others = f" and {more} more" if more else ""
    return Number.unavailable(f"{what}{others} cannot be estimated: {why}")


def _emulated(number: Number) -> Number:
    """A share of samples that is measured, but in an arithmetic that is emulated."""
    return replace(number, how="emulated") if number.value is not None else number


def as_sure_as(total: Number, value: float | None) -> Number:
    """A value with the relative interval of the total that it belongs to."""
    if total.value is None or total.low is None or total.high is None:
        return Number.unavailable(total.reason or "not estimated")
    if value is None:
        return Number.unavailable("not published")
    if not total.value:
        return Number.estimated(value, value, value)
    low, high = (value * end / total.value for end in (total.low, total.high))
    # Rounding must not put the value outside its own interval.
    return Number.estimated(value, min(low, value), max(high, value))


def _utilisation(cost: Estimate, npu: Npu) -> float:
    """The share of the arrays' peak that the products are, over the whole inference."""
    seconds = cost.cycles / npu.profile.clock_hz
    return cost.macs / (seconds * npu.profile.peak_macs_per_s) if seconds else 0.0
