"""The substitutes of Appendix A (LCRM paper) as data: which layers stand for one convolution.

Every rule is a pure function of a convolution's place; nothing here needs Keras. M and N are its
input and output channels, as in the paper. Table 15 has single substitutes in series and pairs in
parallel; by its counts a pair shares N: half of it comes from each branch, and where one of the two
is a group convolution, a dilated one beside it is grouped as well.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgekit_converters.errors import RewriteError
from edgekit_converters.lcrm import rules
from edgekit_converters.lcrm.rules import Depthwise, Pointwise

STANDARD, LCRM = "standard", "lcrm"
_GROUPS, _DILATION = 32, 2
"""What the paper settled on (Appendix A): at most 32 groups, and every second pixel."""


@dataclass(frozen=True)
class Place:
    """What a substitute has to fit: a convolution without its weights; pairs are (rows, columns).

    `padding` is Keras' "valid" or "same".
    """

    channels_in: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "same"
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Convolve:
    """A convolution with the place's kernel, in groups; taps `spread` times as far apart."""

    filters: int
    groups: int = 1
    spread: int = 1


@dataclass(frozen=True)
class Transpose:
    """A transposed convolution with the place's kernel."""

    filters: int


Chain = tuple[Convolve | Transpose | Depthwise | Pointwise, ...]
"""Layers one behind another."""
Structure = tuple[Chain, ...]
"""Branches that read the same input and are concatenated along the channels."""


@dataclass(frozen=True)
class Kind:
    """One kind of convolution, with the number in brackets where it takes one."""

    name: str
    number: int | None = None

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name}({self.number})"


@dataclass(frozen=True)
class Candidate:
    """One kind, or two side by side."""

    kinds: tuple[Kind, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.kinds))


def structure(candidate: Candidate, place: Place) -> Structure | str:
    """The layers that stand for the convolution, or a sentence that says why there are none."""
    if len(candidate.kinds) == 1:
        return _KINDS[candidate.kinds[0].name](candidate.kinds[0], place)
    if place.filters < 2:
        return f"{place.filters} output channel cannot be shared by two branches"
    first = place.filters - place.filters // 2
    groups = next((kind for kind in candidate.kinds if kind.name == "group"), None)
    branches: list[Chain] = []
    for kind, share in zip(candidate.kinds, (first, place.filters - first), strict=True):
        part = replace(place, filters=share)
        made = _KINDS[kind.name](kind, part)
        if groups is not None and kind.name == "dilated" and not isinstance(made, str):
            made = _grouped(groups, made, part)
        if isinstance(made, str):
            return f"{kind}: {made}"
        branches += made
    return tuple(branches)


def parse_candidate(text: str) -> Candidate:
    """Reads `pointwise`, `group(8)`, `group(8)+dilated(3)`, `standard` or `lcrm`.

    Raises:
        RewriteError: naming the kind that is none, and those there are.
    """
    kinds = []
    for term in text.split("+"):
        match = re.fullmatch(r"\s*([a-z]+)(?:\((\d+)\))?\s*", term)
        if match is None or match[1] not in _KINDS:
            raise RewriteError(
                f"{text!r}: {term.strip()!r} is no substitute; choose from {', '.join(_KINDS)}, or "
                "two of them joined by +."
            )
        number = None if match[2] is None else int(match[2])
        least = _LEAST.get(match[1])
        if number is not None and (least is None or number < least):
            rule = "takes no number" if least is None else f"takes a number from {least} on"
            raise RewriteError(f"{text!r}: {match[1]} {rule}.")
        kinds.append(Kind(match[1], number))
    names = [kind.name for kind in kinds]
    if len(kinds) > 2 or (len(kinds) == 2 and {STANDARD, LCRM} & set(names)):
        raise RewriteError(
            f"{text!r}: a pair has two of {', '.join(_PAIRED)}; {STANDARD} and {LCRM} stand alone."
        )
    return Candidate(tuple(kinds))


def candidates() -> tuple[str, ...]:
    """What is searched unless told otherwise: all kinds alone, and pairs of those of Table 15."""
    pairs = (f"{first}+{second}" for first, second in itertools.combinations(_PAIRED, 2))
    return (STANDARD, *_SINGLE, *pairs, LCRM)


def _standard(kind: Kind, place: Place) -> Structure | str:
    return ((Convolve(place.filters),),)


def _dilated(kind: Kind, place: Place) -> Structure | str:
    if max(place.strides) > 1:
        return f"strides {place.strides}: Keras takes no dilation together with strides"
    if place.kernel == (1, 1):
        return "a kernel of 1 x 1 has no taps to spread"
    return ((Convolve(place.filters, spread=kind.number or _DILATION),),)


def _group(kind: Kind, place: Place) -> Structure | str:
    return _grouped(kind, ((Convolve(place.filters),),), place)


def _grouped(kind: Kind, made: Structure, place: Place) -> Structure | str:
    common = math.gcd(place.channels_in, place.filters)
    if kind.number is None:
        groups = max(count for count in range(1, _GROUPS + 1) if common % count == 0)
        if groups == 1:
            return (
                f"{place.channels_in} and {place.filters} channels have no divisor in common up to "
                f"{_GROUPS}, so there are no groups"
            )
    elif common % kind.number:
        return (
            f"{kind.number} groups do not divide both {place.channels_in} input and "
            f"{place.filters} output channels"
        )
    else:
        groups = kind.number
    return tuple(
        tuple(replace(layer, groups=groups) for layer in chain if isinstance(layer, Convolve))
        for chain in made
    )


def _pointwise(kind: Kind, place: Place) -> Structure | str:
    return ((Pointwise(place.filters),),)


def _transposed(kind: Kind, place: Place) -> Structure | str:
    if max(place.strides) > 1:
        return (
            f"strides {place.strides}: a transposed convolution enlarges by them, where this one "
            "has to shrink"
        )
    if max(place.dilation) > 1:
        return f"dilation {place.dilation}: TFLite has no transposed convolution with dilation"
    return ((Transpose(place.filters),),)


def _depthwise(kind: Kind, place: Place) -> Structure | str:
    if place.filters % place.channels_in:
        return (
            f"{place.filters} output channels are no multiple of {place.channels_in} input "
            "channels, which a depthwise convolution alone needs"
        )
    return _unequal(place) or ((Depthwise(place.filters // place.channels_in),),)


def _separable(kind: Kind, place: Place) -> Structure | str:
    return _unequal(place) or ((Depthwise(1), Pointwise(place.filters)),)


def _lcrm(kind: Kind, place: Place) -> Structure | str:
    made = rules.substitute(place.channels_in, place.filters)
    deep = any(isinstance(layer, Depthwise) for branch in made.branches for layer in branch)
    conv = rules.Convolution(
        place.kernel, place.channels_in, place.filters, (None, None), (None, None)
    )
    if rules.substitute_parameters(conv, made) >= rules.convolution_parameters(conv):
        return f"{made} would have no fewer parameters"
    return (_unequal(place) if deep else "") or made.branches


def _unequal(place: Place) -> str:
    if place.strides[0] == place.strides[1]:
        return ""
    return f"strides {place.strides}: a depthwise convolution needs equal strides"


_KINDS: dict[str, Callable[[Kind, Place], Structure | str]] = {
    STANDARD: _standard,
    "dilated": _dilated,
    "group": _group,
    "pointwise": _pointwise,
    "transposed": _transposed,
    "depthwise": _depthwise,
    "separable": _separable,
    LCRM: _lcrm,
}
_LEAST = {"dilated": 2, "group": 2}
"""Kinds with a number, and the least it may be."""
_SINGLE = ("dilated", "group", "pointwise", "transposed", "depthwise", "separable")
_PAIRED = ("group", "transposed", "separable", "dilated", "pointwise")
