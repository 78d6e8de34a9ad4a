"""What a model is made of, and what LCRM would make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgekit_converters.complexity import macs, parameters, total_macs
from edgekit_converters.graph import Shape, read_graph
from edgekit_converters.lcrm.plan import Decision, plan_lcrm
from edgekit_converters.passes import Lcrm


@dataclass(frozen=True)
class LayerInfo:
    """One call of one layer; MACs are None where they cannot be counted."""

    path: str
    type: str
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    parameters: int
    macs: int | None
    shared: bool


@dataclass(frozen=True)
class Inspection:
    """A whole model: its layers in execution order, its totals, LCRM's plan for it."""

    name: str
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    layers: tuple[LayerInfo, ...]
    lcrm: tuple[Decision, ...]
    parameters: int
    trainable_parameters: int
    macs: int
    not_counted: tuple[str, ...]

    @property
    def parameters_after(self) -> int:
        """Parameters of the model once LCRM has replaced what it can."""
        return self.parameters + sum(d.parameters_after - d.parameters_before for d in self.lcrm)

    @property
    def macs_after(self) -> int:
        """MACs of the model once LCRM has replaced what it can."""
        return self.macs + sum((d.macs_after or 0) - (d.macs_before or 0) for d in self.lcrm)


def inspect_model(model: Any, options: Lcrm | None = None) -> Inspection:
    """Lists the layers of a Keras model with their cost, and LCRM's decisions under `options`."""
    graph, options = read_graph(model), options or Lcrm()
    shared = graph.times_called()
    total, unknown = total_macs(graph)
    return Inspection(
        name=model.name,
        input_shapes=tuple(tuple(tensor.shape) for tensor in model.inputs),
        output_shapes=tuple(tuple(tensor.shape) for tensor in model.outputs),
        layers=tuple(
            LayerInfo(
                call.path,
                type(call.layer).__name__,
                call.input_shapes,
                call.output_shapes,
                parameters(call.layer) if hasattr(call.layer, "weights") else 0,
                macs(call),
                shared[id(call.layer)] > 1,
            )
            for call in graph.calls
        ),
        lcrm=plan_lcrm(
            graph,
            style=options.style,
            where=options.where,
            keep_ends=options.keep_ends,
            multiplier=options.multiplier,
            spatial=options.spatial,
        ),
        parameters=parameters(model),
        trainable_parameters=sum(math.prod(weight.shape) for weight in model.trainable_weights),
        macs=total,
        not_counted=unknown,
    )
