"""LCRM's Algorithm 1 as data: which layers replace a convolution, and what both cost.

Nothing here needs Keras. M and N are input and output channels, k x k the kernel, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Case = Literal["1.1", "1.2", "2", "3"]
Style = Literal["equations", "table4", "notebook"]
Weights = Literal["kept", "fresh"]
STYLES: tuple[Style, ...] = get_args(Style)


@dataclass(frozen=True)
class Convolution:
    """A standard convolution as far as its cost goes; sizes are (height, width)."""

    kernel: tuple[int, int]
    channels_in: int
    filters: int
    input_size: tuple[int | None, int | None]
    output_size: tuple[int | None, int | None]
    use_bias: bool = True


@dataclass(frozen=True)
class Choice:
    """Beyond the paper: the depthwise layers' multiplier, and whether case 2 has such a layer.

    The paper drops the k x k kernel there.
    """

    multiplier: int = 1
    spatial: bool = False


@dataclass(frozen=True)
class Depthwise:
    """A k x k depthwise convolution; each channel gives `multiplier` channels."""

    multiplier: int


@dataclass(frozen=True)
class Pointwise:
    """A 1 x 1 convolution to `filters` channels."""

    filters: int


Branch = tuple[Depthwise | Pointwise, ...]


@dataclass(frozen=True)
class Substitute:
    """Branches that read the same input and are concatenated along the channels."""

    branches: tuple[Branch, ...]

    def __str__(self) -> str:
        return " | ".join(" -> ".join(_words(layer) for layer in b) for b in self.branches)


def lcrm_case(channels_in: int, filters: int) -> Case:
    """The case of Algorithm 1 (paper section III-A): 1.1, 1.2 (up), 2 (down) or 3 (equal)."""
    if channels_in > filters:
        return "2"
    if channels_in == filters:
        return "3"
    return "1.1" if filters % channels_in == 0 else "1.2"


def substitute(
    channels_in: int,
    filters: int,
    style: Style = "equations",
    choice: Choice | None = None,
) -> Substitute:
    """What LCRM puts in place of an M -> N convolution.

    `equations` follows equations (3) to (15): every "DWS" is depthwise (multiplier 1) followed by
    pointwise. `table4` has the layers that Table 4 counts: in case 1.1 pointwise to N and a
    depthwise on those N channels, elsewhere the depthwise alone. `notebook` follows the authors'
    notebooks: every "DWS" is a depthwise alone whose multiplier changes the channel count.

    `choice` is for `equations` alone.
    """
    choice = choice or Choice()
    case = lcrm_case(channels_in, filters)
    if case == "2" and not choice.spatial:
        return Substitute(((Pointwise(filters),),))
    if case == "1.2":
        m2 = filters % channels_in
        m4 = (filters - m2) // channels_in
        deep: Branch = (
            (Depthwise(choice.multiplier), Pointwise(channels_in * m4))
            if style == "equations"
            else (Depthwise(m4),)
        )
        return Substitute(((Pointwise(m2),), deep))
    if style == "equations":
        return Substitute(((Depthwise(choice.multiplier), Pointwise(filters)),))
    if style == "table4" and case == "1.1":
        return Substitute(((Pointwise(filters), Depthwise(1)),))
    return Substitute(((Depthwise(filters // channels_in),),))


def convolution_parameters(conv: Convolution) -> int:
    """Equation (1), k*k*M*N, plus N biases where the layer has them."""
    k_h, k_w = conv.kernel
    return k_h * k_w * conv.channels_in * conv.filters + (conv.filters if conv.use_bias else 0)


def convolution_macs(conv: Convolution) -> int | None:
    """Equation (2), k*k*M*N*H*W over the output; None where the output size is open."""
    k_h, k_w = conv.kernel
    return _over(conv.output_size, k_h * k_w * conv.channels_in * conv.filters)


def substitute_parameters(conv: Convolution, replacement: Substitute) -> int:
    """Parameters of the replacement; its layers have a bias where the convolution has one."""
    return sum(
        weights + (channels_out if conv.use_bias else 0)
        for weights, channels_out, _ in _layers(conv, replacement)
    )


def substitute_macs(conv: Convolution, replacement: Substitute) -> int | None:
    """MACs of the replacement, bias left out (equations (4), (8), (13)); None where a size is open.

    A pointwise layer in front of a depthwise one works at the input's resolution.
    """
    counts = [_over(size, weights) for weights, _, size in _layers(conv, replacement)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _layers(
    conv: Convolution, replacement: Substitute
) -> list[tuple[int, int, tuple[int | None, int | None]]]:
    """(weights without bias, output channels, output size) of every layer of the replacement."""
    k_h, k_w = conv.kernel
    found = []
    for branch in replacement.branches:
        channels = conv.channels_in
        for position, layer in enumerate(branch):
            if isinstance(layer, Depthwise):
                weights = k_h * k_w * channels * layer.multiplier
                channels *= layer.multiplier
            else:
                weights = channels * layer.filters
                channels = layer.filters
            before_depthwise = any(isinstance(later, Depthwise) for later in branch[position + 1 :])
            found.append(
                (weights, channels, conv.input_size if before_depthwise else conv.output_size)
            )
    return found


def _over(size: tuple[int | None, int | None], work: int) -> int | None:
    height, width = size
    return None if height is None or width is None else height * width * work


def _words(layer: Depthwise | Pointwise) -> str:
    if isinstance(layer, Pointwise):
        return f"pointwise {layer.filters}"
    return "depthwise" if layer.multiplier == 1 else f"depthwise x{layer.multiplier}"
