"""Low-rank factorisation: large kernels as two smaller ones in a row, by their singular values.

A k x k convolution takes one of two forms, whichever multiplies less:

- `channels`: k x k to r channels, then 1 x 1 to all (Zhang et al., "Accelerating Very Deep
  Convolutional Networks for Classification and Detection", TPAMI 2016, section 3.1; the filters as
  one matrix go back to Denton et al., "Exploiting Linear Structure Within Convolutional Networks
  for Efficient Evaluation", NIPS 2014);
- `spatial`: k x 1 to r channels, then 1 x k to all (Tai et al., "Convolutional Neural Networks with
  Low-Rank Regularization", ICLR 2016, theorem 1, which gives the best such pair in closed form).

A dense layer becomes two. Each is the best of its rank in the least squares sense (Eckart, Young).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
import numpy as np

from edgekit_converters.complexity import macs
from edgekit_converters.errors import RewriteError
from edgekit_converters.factors import build_factors, matrix_of
from edgekit_converters.graph import Call, Graph, read_graph
from edgekit_converters.lcrm.plan import normalisations_behind
from edgekit_converters.outcome import Outcome
from edgekit_converters.passes import LowRank
from edgekit_converters.retrained import retrained
from edgekit_converters.rewriting import rewrite
from edgekit_converters.train import Progress, Training, TrainingData
from edgekit_converters.where import check_where, selected

Form = Literal["channels", "spatial", "dense"]


@dataclass(frozen=True)
class Factors:
    """Two layers for one: their rank, the share of the kernel's energy it holds, and the cost.

    Energy is the sum of the squared singular values. MACs are per output position where the graph
    leaves sizes open.
    """

    form: Form
    rank: int
    full_rank: int
    energy: float
    weights: int
    macs: int

    def __str__(self) -> str:
        shape = {
            "channels": "k x k, then 1 x 1",
            "spatial": "k x 1, then 1 x k",
            "dense": "two dense layers",
        }[self.form]
        return (
            f"rank {self.rank} of {self.full_rank} ({shape}) holds {self.energy:.2%} of the energy"
        )


def low_rank(
    model: Any,
    step: LowRank,
    data: TrainingData | None,
    training: Training,
    progress: Progress | None,
) -> Outcome:
    """Factorises a copy of the model and, where there are data, trains it.

    Raises:
        RewriteError: no layer gets smaller, or a pattern that matches no layer.
    """
    graph = read_graph(model)
    calls = [call for call in graph.calls if _family(call.layer)]
    check_where("low_rank", "convolution or dense layer", step.where, [c.path for c in calls])
    chosen: dict[int, Factors] = {}
    changed, skipped, seen = [], [], set()
    for call in calls:
        if id(call.layer) in seen:
            continue
        seen.add(id(call.layer))
        found = _choose(call, graph, step)
        if isinstance(found, str):
            skipped.append((call.path, found))
        else:
            chosen[id(call.layer)] = found
            changed.append(_told(call, graph, found))
    if not chosen:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in skipped[:3])
        raise RewriteError(
            f"{step} finds no kernel to factorise in {model.name!r} "
            f"({reasons or 'it has no convolution and no dense layer'}); leave low_rank out or "
            "keep less energy."
        )
    replacements = {
        call.path: partial(build_factors, form=found.form, rank=found.rank)
        for call in graph.calls
        for found in [chosen.get(id(call.layer))]
        if found
    }
    thawed = normalisations_behind(graph, set(replacements))
    result = rewrite(model, replacements, thawed=thawed)
    return retrained(
        model, result, data, training.tuning, progress,
        changed=tuple(changed), skipped=tuple(skipped),
    )  # fmt: skip


def _family(layer: Any) -> bool:
    names = [base.__name__ for base in type(layer).__mro__]
    return isinstance(layer, keras.layers.Layer) and any(
        "Conv" in name or name in ("Dense", "EinsumDense") for name in names
    )


def _choose(call: Call, graph: Graph, step: LowRank) -> Factors | str:
    """The cheapest form, or why the layer is left."""
    layer = call.layer
    reason = "" if selected(call.path, step.where) else "excluded by where"
    reason = reason or _foreign(layer)
    if reason:
        return reason
    kernel = np.asarray(layer.kernel, np.float64)
    if not np.isfinite(kernel).all():
        raise RewriteError(
            f"{step}: the kernel of {call.path!r} holds NaN or infinite values; repair the model, "
            f"or leave the layer out with where='!{call.path}'."
        )
    if not kernel.any():
        return "all of its weights are zero"
    weights, work = kernel.size, _work(call, graph)
    forms = [_factors(call, graph, form, kernel, step.energy) for form in _forms(call, graph)]
    cheapest = min(forms, key=lambda form: (form.macs, form.weights))
    if cheapest.macs < work and cheapest.weights < weights:
        return cheapest
    return (
        f"{cheapest} and takes {cheapest.weights} weights and {cheapest.macs} MACs, while it has "
        f"{weights} and {work}"
    )


def _foreign(layer: Any) -> str:
    """Why a layer cannot be factorised so; empty if it can."""
    name = type(layer).__name__
    if type(layer) not in (keras.layers.Conv2D, keras.layers.Dense):
        if type(layer) is not getattr(keras.layers, name, None):
            return f"{name} is a class of its own: what it computes is not known"
        if "Depthwise" in name or "Separable" in name:
            return "depthwise: already a factor"
        return f"{name} is not factorised, only Conv2D and Dense are"
    if getattr(layer, "groups", 1) > 1:
        return f"grouped convolution ({layer.groups} groups)"
    if layer.kernel_constraint is not None:
        return "its kernel has a constraint, which factors would not keep"
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return "its kernel is not its own (LoRA or quantised)"
    return ""


def _forms(call: Call, graph: Graph) -> tuple[Form, ...]:
    if isinstance(call.layer, keras.layers.Dense):
        return ("dense",)
    sizes_known = all(macs(each) is not None for each in _calls(call, graph))
    square = min(call.layer.kernel_size) > 1
    return ("channels", "spatial") if sizes_known and square else ("channels",)


def _factors(call: Call, graph: Graph, form: Form, kernel: Any, energy: float) -> Factors:
    matrix = matrix_of(kernel, form)
    small = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    squares = np.clip(np.linalg.eigvalsh(small)[::-1], 0, None)
    held = np.cumsum(squares) / squares.sum()
    # Rounding may keep the last sum a hair under 1.
    rank = min(int(np.searchsorted(held, energy - 1e-12)) + 1, len(squares))
    per_rank = sum(matrix.shape)
    return Factors(
        form, rank, len(squares), float(held[rank - 1]), rank * per_rank,
        rank * sum(_macs_per_rank(each, form) for each in _calls(call, graph)),
    )  # fmt: skip


def _macs_per_rank(call: Call, form: Form) -> int:
    """MACs of both layers for each of their inner channels."""
    layer = call.layer
    rows, columns = matrix_of(np.asarray(layer.kernel), form).shape
    positions = _macs(call) // int(np.prod(layer.kernel.shape))
    if form != "spatial":
        return positions * int(rows + columns)
    first = 2 if layer.data_format == "channels_first" else 1
    # The first layer strides along the rows alone.
    high, wide = call.output_shapes[0][first], call.input_shapes[0][first + 1]
    return (high or 1) * (wide or 1) * int(rows) + positions * int(columns)


def _work(call: Call, graph: Graph) -> int:
    return sum(map(_macs, _calls(call, graph)))


def _macs(call: Call) -> int:
    """The call's MACs, those of one position where sizes are open."""
    return macs(call) or int(np.prod(call.layer.kernel.shape))


def _calls(call: Call, graph: Graph) -> list[Call]:
    return [each for each in graph.calls if each.layer is call.layer]


def _told(call: Call, graph: Graph, found: Factors) -> str:
    frozen = "" if call.layer.trainable else "was frozen, now trained; "
    size = int(np.prod(call.layer.kernel.shape))
    return (
        f"{call.path}: {frozen}{found}; {size} weights become {found.weights}, "
        f"{_work(call, graph)} MACs {found.macs}"
    )
