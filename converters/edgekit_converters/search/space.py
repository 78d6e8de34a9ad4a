"""What is searched, as values: named dimensions with a few choices each."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from edgekit_converters.errors import SearchError
from edgekit_converters.search.substitutes import candidates, parse_candidate

What = Literal["substitutes", "hyperparameters"]
Value = str | int | float
Values = dict[str, Value]
"""One choice per dimension."""

TABLE_16: dict[str, tuple[Value, ...]] = {
    "initializer": ("uniform", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform"),
    "batch_size": (16, 32, 64, 128, 256),
    "optimizer": ("SGD", "RMSprop", "Adagrad", "Adam", "Nadam"),
    "learning_rate": (0.01, 0.001, 0.0001),
    "activation": ("relu", "tanh", "sigmoid", "softmax", "linear"),
}
"""The grid of Table 16 (LCRM paper)."""


@dataclass(frozen=True)
class Space:
    """Dimensions by name, each with its choices."""

    choices: Mapping[str, tuple[Value, ...]]

    @property
    def size(self) -> int:
        """How many points there are."""
        return math.prod(len(options) for options in self.choices.values())

    def points(self, seed: int) -> Iterator[Values]:
        """Every point once: a single dimension in its order, several in one that the seed draws.

        So a few trials of a large grid are spread over it.
        """
        every = [
            dict(zip(self.choices, values, strict=True))
            for values in itertools.product(*self.choices.values())
        ]
        if len(self.choices) > 1:
            random.Random(seed).shuffle(every)
        return iter(every)


def space_of(what: What, narrowed: Mapping[str, tuple[str, ...]] | None = None) -> Space:
    """The appendix' space, with the dimensions in `narrowed` cut down to the choices given there.

    A substitute may be any that `parse_candidate` reads; numbers may be others than the paper's.

    Raises:
        SearchError: an unknown dimension or choice; RewriteError: no substitute.
    """
    if what not in get_args(What):
        raise SearchError(f"search knows {' and '.join(get_args(What))}, not {what!r}.")
    offered = {"substitute": candidates()} if what == "substitutes" else TABLE_16
    chosen: dict[str, tuple[Value, ...]] = dict(offered)
    for name, given in (narrowed or {}).items():
        if name not in offered:
            raise SearchError(
                f"There is no {name!r} in a search of {what}; it has {', '.join(offered)}."
            )
        values = tuple(dict.fromkeys(_value(name, text, offered[name]) for text in given))
        if not values:
            raise SearchError(f"{name} has no choice left; give one or more of {offered[name]}.")
        chosen[name] = values
    return Space(chosen)


def _value(name: str, text: str, offered: tuple[Value, ...]) -> Value:
    text = text.strip()
    if name == "substitute":
        return str(parse_candidate(text))
    if isinstance(offered[0], str):
        known = {str(option).lower(): option for option in offered}
        if text.lower() not in known:
            raise SearchError(f"{name} {text!r} is none of {', '.join(map(str, offered))}.")
        return known[text.lower()]
    try:
        value = type(offered[0])(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        kind = "whole number from 1 on" if isinstance(offered[0], int) else "positive number"
        raise SearchError(f"{name} {text!r} is no {kind}.")
    return value
