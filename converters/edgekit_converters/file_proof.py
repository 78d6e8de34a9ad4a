"""What a .tflite file proves: its kernels against those of the Keras model, and its arithmetic."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekit_converters.contents import (
    CONVERSIONS,
    FileKernel,
    Graph,
    Operator,
    Tensor,
    file_kernels,
    read_contents,
)
from edgekit_converters.errors import ProofError
from edgekit_converters.proof import (
    FileProof,
    FloatOperator,
    LayerProof,
    WeightTensor,
    count_bits,
    count_values,
)

_KEPT = "the converter kept it in float"
_PRODUCTS = re.compile(
    r"BatchMatMul|Conv\dD|GatherV2|LastValueQuant|MatMul|Tensordot|[Ee]insum|conv\w*_transpose"
    r"|convolution|depthwise|embedding_lookup|separable_conv"
)
"""TensorFlow operations that a kernel belongs to; a bias may have moved to the next layer's."""

_PARTS = (".depthwise", ".pointwise", ".activation")
_WRAPPERS = ("", "quant_", "carried.", "quant_carried.")
"""What the bridge to TFMOT, and TFMOT, put behind and before a layer's name."""

Find = Callable[[str, bool], set[str]]
"""The layers that a tensor's name names: all of them, or those whose products are named."""


def prove_file(
    path: Path, layers: Sequence[LayerProof] = (), reasons: Mapping[str, str] | None = None
) -> FileProof:
    """Counts a file's operators and weights, and holds its kernels against what was asked.

    Operators that no value of the model passes through (shapes, indices, control flow, conversion
    of the file's own inputs and outputs) do not count. A file without an integer operator (float32,
    float16, dynamic, whose integers are only stored) has no `floats`: all of it is float by design.

    Args:
        path: the .tflite file.
        layers: the model's kernels, with what was asked of them. A layer that the file does not
            name by its tensors is not checked; if something was asked of it it is `not_found`.
        reasons: why layers were left in float, by path.

    Raises:
        ExportError: the file cannot be read.
        ProofError: a kernel of the file has lost zeros or distinct values, or is all zero.
    """
    graphs = read_contents(path)
    kernels = [kernel for graph in graphs for kernel in file_kernels(graph)]
    owners, numbered = _owners(kernels, layers)
    weights = tuple(
        _counted(kernel, next(iter(found)) if len(found) == 1 else "")
        for kernel, found in zip(kernels, owners, strict=True)
    )
    checked = {
        (layer, tensor.weights)
        for tensor, found in zip(weights, owners, strict=True)
        for layer in _checked(path, tensor, found, layers)
    }
    computing = [
        (graph, operator, graph.arithmetic(operator))
        for graph in graphs
        for operator in graph.operators
        if graph.arithmetic(operator) != "none"
    ]
    integers = sum(arithmetic == "integer" for _, _, arithmetic in computing)
    find = _finder(reasons or {}, numbered=numbered)
    return FileProof(
        operators=len(computing),
        integer_operators=integers,
        floats=tuple(
            FloatOperator(
                operator.name,
                next((tensor.name for tensor in graph.of(operator.outputs)), ""),
                _reason(graph, operator, reasons or {}, find),
            )
            for graph, operator, arithmetic in computing
            if integers and arithmetic == "float"
        ),
        weights=weights,
        not_found=tuple(
            dict.fromkeys(
                proof.layer
                for proof in layers
                if proof.asks and (proof.layer, proof.weights) not in checked
            )
        ),
    )


def _checked(
    path: Path, got: WeightTensor, found: set[str], layers: Sequence[LayerProof]
) -> list[str]:
    """The layers that a kernel belongs to, once it holds what was asked of each."""
    for layer in sorted(found):
        asked = [p for p in layers if (p.layer, p.weights) == (layer, got.weights)]
        broken = [_broken(path, proof, got) for proof in asked]
        # The kernels of one layer that have one size cannot be told apart.
        if all(broken):
            raise ProofError(broken[0])
    return sorted(found)


def _counted(kernel: FileKernel, layer: str) -> WeightTensor:
    tensor = kernel.tensor
    sparsity, distinct, most = count_values(tensor.data, kernel.channel_axis)
    if np.any(tensor.zeros):
        sparsity = float((tensor.data == tensor.zeros).mean())
    bits = count_bits(tensor.data) if tensor.dtype == "int8" else None
    return WeightTensor(
        layer, tensor.name, tensor.dtype, tensor.data.size, sparsity, distinct, most, bits
    )


def _broken(path: Path, proof: LayerProof, got: WeightTensor) -> str:
    """What a kernel in the file does not hold, empty if it holds all."""
    where, way_out = (
        f"The kernel of {proof.layer!r} in {path.name}",
        f"leave the layer out with where='!{proof.layer}'.",
    )
    if got.sparsity == 1.0 and proof.sparsity < 1.0:
        return (
            f"{where} is all zero, but {1 - proof.sparsity:.2%} of its weights in the Keras model "
            f"are not; {way_out}"
        )
    if (
        proof.sparsity_asked is not None
        and (proof.sparsity_asked - got.sparsity) * got.weights > 1 + 1e-3
    ):
        return (
            f"{where} has {got.sparsity:.2%} zeros, but {proof.sparsity_asked:.2%} were asked for; "
            f"{way_out}"
        )
    # Batch normalisation and int8 scale each output channel on its own.
    if proof.distinct_asked is not None and got.distinct_per_channel > proof.distinct_asked:
        return (
            f"{where} has {got.distinct_per_channel} distinct values in one output channel, but "
            f"{proof.distinct_asked} were asked for (the converter multiplies a batch "
            f"normalisation before a dense layer into its kernel); {way_out}"
        )
    if proof.bits_asked is not None and got.bits is not None and got.bits > proof.bits_asked:
        return (
            f"{where} has int8 codes that need {got.bits} bits, but a grid of {proof.bits_asked} "
            f"was asked for, all codes of which are multiples of {2 ** (8 - proof.bits_asked)}; "
            f"{way_out}"
        )
    return ""


def _owners(
    kernels: Sequence[FileKernel], layers: Sequence[LayerProof]
) -> tuple[list[set[str]], bool | None]:
    """The layers of each kernel, and whether the file numbers the names of layers.

    Keras 3 enters each layer's scope twice, which numbers it: `dense` becomes `dense_1`, where
    tf_keras has a layer of that name. The reading that explains more kernels is the file's; with
    none ahead (None) only what both say counts.
    """
    sizes = {(proof.layer, proof.weights) for proof in layers}
    paths = {proof.layer for proof in layers}
    by_reading = {
        numbered: [_owner(k, sizes, _finder(paths, numbered=numbered)) for k in kernels]
        for numbered in (True, False)
    }
    explained = {numbered: sum(map(bool, found)) for numbered, found in by_reading.items()}
    if explained[True] != explained[False]:
        numbered = explained[True] > explained[False]
        return by_reading[numbered], numbered
    pairs = zip(by_reading[True], by_reading[False], strict=True)
    return [one if one == other else set() for one, other in pairs], None


def _owner(kernel: FileKernel, sizes: Collection[tuple[str, int]], find: Find) -> set[str]:
    """The layers that use a kernel: equal ones may stand in the file once."""

    def named(tensors: Iterable[Tensor], products: bool) -> set[str]:
        found = set().union(*(find(tensor.name, products) for tensor in tensors))
        return {layer for layer in found if (layer, kernel.tensor.data.size) in sizes}

    own = named([kernel.tensor], True)
    if len(own) == 1:
        return own
    owners: set[str] = set()
    for operator in kernel.operators:
        outputs, bias = kernel.graph.of(operator.outputs), kernel.graph.bias(operator)
        said = (
            named(tensors, products) for products in (True, False) for tensors in (outputs, bias)
        )
        owners |= next((layer for layer in said if len(layer) == 1), set())
    return owners


def _finder(paths: Collection[str], *, numbered: bool | None) -> Find:
    """How to find the layers that a name such as `model/a/conv/Conv2D;model/relu/Relu` names."""
    if numbered is None:
        one, other = _finder(paths, numbered=True), _finder(paths, numbered=False)
        return lambda name, products: _agreed(one(name, products), other(name, products))
    if numbered:
        forms = {path: [re.compile(_numbered(path) + "/(.*)")] for path in paths}
    else:
        flat = Counter(_flat(path) for path in paths)
        forms = {
            path: [
                re.compile(f"[^/]*/{re.escape(path)}/(.*)"),
                *([re.compile(_bridged(path) + "/(.*)")] if flat[_flat(path)] == 1 else []),
            ]
            for path in paths
        }

    def find(name: str, products: bool) -> set[str]:
        return {
            path
            for part in name.split(";")
            for path, patterns in forms.items()
            for pattern in patterns
            if (match := pattern.fullmatch(part))
            and (not products or any(map(_PRODUCTS.match, match[1].split("/"))))
        }

    return find


def _agreed(one: set[str], other: set[str]) -> set[str]:
    return one if one == other or not other else other if not one else set()


def _numbered(path: str) -> str:
    return r"[^/]*_\d+/" + "/".join(rf"{re.escape(part)}_\d+" for part in path.split("/"))


def _flat(path: str) -> str:
    """A path as one name, as the bridge to TFMOT writes it."""
    return re.sub(r"[^A-Za-z0-9_.>-]", "_", path.replace("/", "."))


def _bridged(path: str) -> str:
    before, behind = ("|".join(map(re.escape, words)) for words in (_WRAPPERS, ("", *_PARTS)))
    return rf"[^/]*/(?:{before})\.?{re.escape(_flat(path))}(?:{behind})"


def _reason(graph: Graph, operator: Operator, reasons: Mapping[str, str], find: Find) -> str:
    """Why an operator computes in float, as far as the file and the passes tell."""
    if operator.name in CONVERSIONS:
        around = (
            graph.readers(operator.outputs[0])
            if operator.name == "DEQUANTIZE"
            else [maker for maker in [graph.maker(operator.inputs[0])] if maker]
        )
        users = [user for user in around if user.name not in CONVERSIONS]
        if not users:
            return "the converter goes from one scale to another through float"
        names = " and ".join(dict.fromkeys(user.name for user in users))
        return f"needed by {names}: {_reason(graph, users[0], reasons, find)}"
    constants = [tensor for tensor in graph.of(operator.inputs) if tensor.data is not None]
    for tensors in (graph.of(operator.outputs), constants):
        named = sorted(set().union(*(find(tensor.name, False) for tensor in tensors)))
        if named:
            return "; ".join(dict.fromkeys(reasons[layer] for layer in named))
    return _KEPT
