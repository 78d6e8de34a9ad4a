"""The passes that a recipe is made of, as values with checked options. Needs no TensorFlow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from edgekit_converters.errors import RecipeError
from edgekit_converters.lcrm.goal import Goal, parse_goal
from edgekit_converters.lcrm.rules import STYLES, Style, Weights

Scheme = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
Target = Literal["auto", "relu", "relu6", "hard_swish"]
Allocation = Literal["uniform", "energy"]
Schedule = Literal["polynomial", "constant"]
Initialisation = Literal["kmeans++", "linear", "density", "random"]

ANY_PATTERN = "any"
M_OF_N = "2:4"
DEFAULT_TARGET = "drop<=1"
FEWEST_SAMPLES = 64
"""With fewer, what substitutes inherit is chance."""


@dataclass(frozen=True)
class Lcrm:
    """Replace standard convolutions; `where` holds layer patterns, `!pattern` excludes.

    `weights` says whether the layers that stay keep their weights or start fresh. With `inherit`
    the substitutes start from the model's own activations on `samples` training samples. Depthwise
    layers make `multiplier` channels of each; with `spatial` there is one in case 2, too. With
    `auto` they inherit, and a scan chooses for each layer what `target` allows: to stay, or by what
    to be replaced.
    """

    style: Style = "equations"
    where: tuple[str, ...] = ()
    keep_ends: bool = True
    weights: Weights = "kept"
    inherit: bool = False
    multiplier: int = 1
    spatial: bool = False
    samples: int = 2048
    auto: bool = False
    target: str = DEFAULT_TARGET

    @property
    def goal(self) -> Goal:
        """What `target` says."""
        return parse_goal(self.target)

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise RecipeError(
                f"lcrm(style={self.style!r}): no such style; choose one of {', '.join(STYLES)}."
            )
        _check_flag("lcrm", "keep_ends", self.keep_ends)
        _check_choice("lcrm", "weights", self.weights, Weights)
        _check_flag("lcrm", "inherit", self.inherit)
        _check_flag("lcrm", "auto", self.auto)
        _check_flag("lcrm", "spatial", self.spatial)
        _check_whole("lcrm", "multiplier", self.multiplier, 1)
        _check_whole("lcrm", "samples", self.samples, FEWEST_SAMPLES)
        if self.style != "equations":
            for option, unusual, why in (
                ("inherit", self.inherit, "its layers have no least squares fit in closed form"),
                ("multiplier", self.multiplier > 1, "it sets the multipliers itself"),
                ("spatial", self.spatial, "it says what case 2 becomes"),
                ("auto", self.auto, "its layers have no least squares fit in closed form"),
            ):
                if unusual:
                    raise RecipeError(
                        f"lcrm(style={self.style}, {option}={_literal(getattr(self, option))}): "
                        f"{why}; leave out {option}, or the style."
                    )
        parse_goal(self.target)
        if self.target != DEFAULT_TARGET and not self.auto:
            raise RecipeError(
                f"lcrm(target={self.target!r}): a target is what auto=true chooses for; add it, or "
                "leave target out."
            )
        for option, unusual in (("multiplier", self.multiplier > 1), ("spatial", self.spatial)):
            if self.auto and unusual:
                raise RecipeError(
                    f"lcrm(auto=true, {option}={_literal(getattr(self, option))}): auto chooses "
                    f"that for each layer; leave {option} out, or auto."
                )
        if (self.inherit or self.auto) and self.weights == "fresh":
            raise RecipeError(
                f"lcrm({'inherit' if self.inherit else 'auto'}=true, weights=fresh): one keeps "
                "what the model has learnt, the other throws it away; leave one of them out."
            )
        if self.samples != 2048 and not (self.inherit or self.auto):
            raise RecipeError(
                f"lcrm(samples={self.samples}): samples are what inherit=true and auto=true learn "
                "from; add one of them, or leave samples out."
            )

    def __str__(self) -> str:
        return _written("lcrm", self)


@dataclass(frozen=True)
class Distill:
    """Train the model so far on the outputs of the model that the recipe starts from.

    `weight` is the share of the loss that imitates them, softened by `temperature`; the rest asks
    for the labels. Dropout layers are off meanwhile, unless `dropout` is true.
    """

    epochs: int = 8
    temperature: float = 3.0
    weight: float = 0.8
    dropout: bool = False

    def __post_init__(self) -> None:
        _check_whole("distill", "epochs", self.epochs, 1)
        _check_flag("distill", "dropout", self.dropout)
        if not _is_number(self.temperature) or not 1 <= self.temperature < math.inf:
            raise RecipeError(
                f"distill(temperature={self.temperature!r}): give a number from 1 (outputs as they "
                "are) on, usually 2 to 5."
            )
        if not _is_number(self.weight) or not 0 < self.weight <= 1:
            raise RecipeError(
                f"distill(weight={self.weight!r}): give the imitation's share of the loss, a "
                "number above 0 and at most 1, such as 0.8."
            )

    def __str__(self) -> str:
        return _written("distill", self)


@dataclass(frozen=True)
class Activations:
    """Replace costly activation functions by cheap ones; `auto` chooses one near to each.

    A gate's activation is replaced only where a pattern of `where` names it.
    """

    to: Target = "auto"
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_choice("activations", "to", self.to, Target)

    def __str__(self) -> str:
        return _written("activations", self)


@dataclass(frozen=True)
class LowRank:
    """Write large kernels as the product of two smaller ones that hold `energy` of their energy.

    Energy is the sum of the squared singular values.
    """

    energy: float = 0.95
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _is_number(self.energy) or not 0 < self.energy <= 1:
            raise RecipeError(
                f"low_rank(energy={self.energy!r}): give the share of the kernels' energy to keep, "
                "a number above 0 and at most 1, such as 0.95."
            )

    def __str__(self) -> str:
        return _written("low_rank", self, first=repr(float(self.energy)))


@dataclass(frozen=True)
class Prune:
    """Set the smallest weights of each kernel to zero while training goes on.

    `pattern` is `any` (single weights), `2:4` (two zeros in every four input channels) or a block
    such as `4x1` (dense layers only). Depthwise kernels stay whole unless `depthwise`. `allocation`
    gives every kernel the same sparsity, or all together the one asked for, more of it where zeros
    save energy.
    """

    sparsity: float = 0.5
    schedule: Schedule = "polynomial"
    pattern: str = ANY_PATTERN
    where: tuple[str, ...] = ()
    depthwise: bool = False
    allocation: Allocation = "uniform"

    def __post_init__(self) -> None:
        if not _is_number(self.sparsity) or not 0 < self.sparsity < 1:
            raise RecipeError(
                f"prune(sparsity={self.sparsity!r}): give the share of weights to set to zero, a "
                "number above 0 and below 1, such as 0.5."
            )
        _check_choice("prune", "schedule", self.schedule, Schedule)
        if self.pattern not in (ANY_PATTERN, M_OF_N) and self.block is None:
            raise RecipeError(
                f"prune(pattern={self.pattern!r}): choose any (single weights), 2:4, or a block "
                "of rows x columns such as 4x1."
            )
        if self.pattern == M_OF_N and self.sparsity != 0.5:
            raise RecipeError(
                f"prune({self.sparsity:g}, pattern=2:4): two zeros in every four weights are a "
                "sparsity of 0.5; leave the sparsity out, or the pattern."
            )
        _check_flag("prune", "depthwise", self.depthwise)
        _check_choice("prune", "allocation", self.allocation, Allocation)
        if self.allocation == "energy" and self.pattern != ANY_PATTERN:
            raise RecipeError(
                f"prune(pattern={self.pattern}, allocation=energy): a pattern fixes the share of "
                "zeros of every kernel or block; leave the pattern out, or the allocation."
            )

    @property
    def block(self) -> tuple[int, int] | None:
        """Rows and columns of the block pattern, None for the other patterns."""
        match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", str(self.pattern))
        return (int(match[1]), int(match[2])) if match else None

    def __str__(self) -> str:
        return _written("prune", self, first=repr(float(self.sparsity)))


@dataclass(frozen=True)
class Cluster:
    """Let each kernel have no more than `centroids` distinct values, which training moves.

    `per_channel` gives every output channel of a convolution centroids of its own. Depthwise
    kernels stay as they are unless `depthwise`.
    """

    centroids: int = 16
    initialisation: Initialisation = "kmeans++"
    per_channel: bool = False
    where: tuple[str, ...] = ()
    depthwise: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.centroids, bool) or not isinstance(self.centroids, int):
            raise RecipeError(
                f"cluster(centroids={self.centroids!r}): give a whole number from 2 on."
            )
        if self.centroids < 2:
            raise RecipeError(
                f"cluster(centroids={self.centroids}): with fewer than 2 distinct values a kernel "
                "says nothing; give 2 or more, usually 8 to 64."
            )
        _check_choice("cluster", "initialisation", self.initialisation, Initialisation)
        _check_flag("cluster", "per_channel", self.per_channel)
        _check_flag("cluster", "depthwise", self.depthwise)

    def __str__(self) -> str:
        return _written("cluster", self, first=str(self.centroids))


@dataclass(frozen=True)
class Qat:
    """Train with int8 rounding in the loop, then write int8; keeps earlier zeros and clusters."""

    io: Literal["float", "int"] = "float"
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.io not in ("float", "int"):
            raise RecipeError(f"qat(io={self.io!r}): choose float or int.")

    def __str__(self) -> str:
        return _written("qat", self)


@dataclass(frozen=True)
class NpuQat:
    """Train with an NPU's rounding in the loop, then write int8 whose weights lie on its grid.

    Weights and the activations that they are multiplied with have 2 to 8 bits each; keeps earlier
    zeros and clusters. With `energy_aware` each layer learns its own bits, from 2 to `weight_bits`:
    the share of the loss that the estimated energy has.
    """

    weight_bits: int = 4
    activation_bits: int = 8
    energy_aware: float = 0.0
    io: Literal["float", "int"] = "float"
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("weight_bits", "activation_bits"):
            bits = getattr(self, name)
            if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
                raise RecipeError(f"npu_qat({name}={bits!r}): give a whole number from 2 to 8.")
        if not _is_number(self.energy_aware) or not 0 <= self.energy_aware < 1:
            raise RecipeError(
                f"npu_qat(energy_aware={self.energy_aware!r}): give the energy's share of the "
                "loss, from 0 (none) to below 1, such as 0.1."
            )
        if self.energy_aware and self.weight_bits == 2:
            raise RecipeError(
                f"npu_qat(2, energy_aware={self.energy_aware:g}): 2 bits are the fewest, so there "
                "is nothing to save; give more weight_bits, or leave energy_aware out."
            )
        _check_choice("npu_qat", "io", self.io, Literal["float", "int"])

    def __str__(self) -> str:
        return _written("npu_qat", self, first=str(self.weight_bits))


@dataclass(frozen=True)
class Quantize:
    """How the weights and activations are stored in the file; `io` is the type of its ends."""

    scheme: Scheme = "int8"
    io: Literal["float", "int"] = "float"

    def __post_init__(self) -> None:
        if self.io not in ("float", "int"):
            raise RecipeError(f"{self.scheme}(io={self.io!r}): choose float or int.")
        if self.io == "int" and self.scheme not in ("int8", "int16x8"):
            raise RecipeError(
                f"{self.scheme}(io=int): only int8 and int16x8 files have integer ends."
            )

    def __str__(self) -> str:
        return self.scheme + ("(io=int)" if self.io == "int" else "")


Pass = Lcrm | Activations | LowRank | Distill | Prune | Cluster | Qat | NpuQat | Quantize


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_flag(name: str, option: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise RecipeError(f"{name}({option}={value!r}): give true or false.")


def _check_whole(name: str, option: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise RecipeError(f"{name}({option}={value!r}): give a whole number from {least} on.")


def _check_choice(name: str, option: str, value: Any, kind: Any) -> None:
    if value not in get_args(kind):
        raise RecipeError(f"{name}({option}={value!r}): choose one of {', '.join(get_args(kind))}.")


def _written(name: str, step: Any, first: str = "") -> str:
    """The pass as text: its first option without a name where it has one, then what changed."""
    changed = [
        f"{field.name}={_literal(getattr(step, field.name))}"
        for field in fields(step)[1 if first else 0 :]
        if getattr(step, field.name) != field.default
    ]
    inside = ", ".join([first, *changed] if first else changed)
    return f"{name}({inside})" if inside else name


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "'" + ",".join(value) + "'"
    if isinstance(value, str) and not re.fullmatch(r"[\w.:*+-]+", value):
        return f"'{value}'"
    return str(value).lower() if isinstance(value, bool) else str(value)
