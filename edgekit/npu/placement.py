"""Where tensors live between layers: in the shared on-chip memory while they fit, else in DRAM."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgekit.npu.cost import DRAM, SHARED, Homes
from edgekit.npu.profile import NpuProfile
from edgekit.npu.schedule import INPUTS, WEIGHTS
from edgekit.npu.workload import VIEWS, Layer, Operand, Workload


@dataclass(frozen=True)
class _Life:
    """A tensor's bytes and the nodes between which it is needed, both included."""

    size: float
    born: int
    dies: int


def homes_of(workload: Workload, profile: NpuProfile, estimated: Collection[int]) -> list[Homes]:
    """The homes of each layer's tensors, in the order of the layers.

    Tensors are placed in the order in which they are made, at the widths of the file, each where
    it fits as long as it lives. What the caller or a layer that is not estimated hands over goes
    through the DRAM. Where the profile keeps weights, they take what the activations leave.
    """
    capacity = float(profile.shared.bytes or 0) if profile.shared else 0.0
    roots = _Roots(workload.layers)
    lives = _lives(workload, roots, estimated)
    used = [0.0] * len(workload.layers)
    resident = set()
    for place, life in sorted(lives.items(), key=lambda item: item[1].born):
        span = range(life.born, life.dies + 1)
        if all(used[node] + life.size <= capacity for node in span):
            resident.add(place)
            for node in span:
                used[node] += life.size
    free = capacity - max(used, default=0.0) if profile.keeps_weights else 0.0
    kept = _kept([layer for layer in workload.layers if layer.node in estimated], free)
    held = sum(kept.values())
    return [
        _homes(layer, roots, resident, layer.node in kept, capacity - used[place] - held)
        for place, layer in enumerate(workload.layers)
    ]


def _homes(
    layer: Layer, roots: _Roots, resident: Collection[int], kept: bool, room: float
) -> Homes:
    """One layer's homes; `room` is what the shared memory has left while it runs, in bytes."""
    far = [operand for operand in layer.inputs if roots(operand) not in resident]
    far_bytes = sum(operand.elements * operand.bits / 8 for operand in far)
    total = sum(operand.elements for operand in layer.inputs)
    staged = set()
    if not kept and layer.weights is not None and _weight_bytes(layer) <= room:
        staged.add(WEIGHTS)
        room -= _weight_bytes(layer)
    if far and far_bytes <= room:
        staged.add(INPUTS)
    return Homes(
        weights=SHARED if kept else DRAM,
        inputs_shared=1 - sum(operand.elements for operand in far) / total if total else 0.0,
        outputs=SHARED
        if layer.outputs and all(roots(operand) in resident for operand in layer.outputs)
        else DRAM,
        staged=frozenset(staged),
    )


def _kept(layers: Sequence[Layer], free: float) -> dict[int, float]:
    """Bytes of the weights that stay on the chip, by node: in order, what still fits."""
    found: dict[int, float] = {}
    for layer in layers:
        if layer.weights is not None and _weight_bytes(layer) <= free:
            found[layer.node] = _weight_bytes(layer)
            free -= found[layer.node]
    return found


def _weight_bytes(layer: Layer) -> float:
    if layer.weights is None:
        return 0.0
    return layer.weights.elements * layer.weights.bits / 8 + layer.bias_bytes


def _lives(workload: Workload, roots: _Roots, estimated: Collection[int]) -> dict[int, _Life]:
    outside = {*workload.inputs, *workload.outputs}
    outside = {roots.of(place) for place in outside}
    born: dict[int, int] = {}
    size: dict[int, float] = {}
    dies: dict[int, int] = {}
    for layer in workload.layers:
        operands = (*layer.inputs, *layer.outputs)
        if layer.node not in estimated:
            outside |= {roots(operand) for operand in operands}
        for operand in operands:
            dies[roots(operand)] = layer.node
        for operand in layer.outputs:
            born.setdefault(roots(operand), layer.node)
            size.setdefault(roots(operand), operand.elements * operand.bits / 8)
    return {
        place: _Life(size[place], born[place], dies[place])
        for place in born
        if place not in outside
    }


class _Roots:
    """Tensors that are views of others count as those."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._parents = {
            layer.outputs[0].place: layer.inputs[0].place
            for layer in layers
            if layer.operator in VIEWS and layer.inputs and layer.outputs
        }

    def of(self, place: int) -> int:
        seen = set()
        while place in self._parents and place not in seen:
            seen.add(place)
            place = self._parents[place]
        return place

    def __call__(self, operand: Operand) -> int:
        return self.of(operand.place)
