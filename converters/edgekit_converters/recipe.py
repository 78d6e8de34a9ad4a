"""Recipes: ordered tuples of passes, written `lcrm(style=table4)+PCQ`. Needs no TensorFlow."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, fields
from typing import Any

from edgekit_converters.errors import RecipeError
from edgekit_converters.passes import (
    SCHEMES,
    Activations,
    Cluster,
    Distill,
    Lcrm,
    LowRank,
    NpuQat,
    Pass,
    Prune,
    Qat,
    Quantize,
)

_LETTERS: dict[str, Pass] = {"P": Prune(), "C": Cluster(), "Q": Qat()}
SHORT_NAMES = ("P", "C", "Q", "PQ", "CQ", "PC", "PCQ")
"""The cascades of Table 12 (LCRM paper): pruning, clustering, quantisation-aware training."""

_KINDS: dict[str, type[Pass]] = {
    "lcrm": Lcrm,
    "activations": Activations,
    "low_rank": LowRank,
    "distill": Distill,
    "prune": Prune,
    "cluster": Cluster,
    "qat": Qat,
    "npu_qat": NpuQat,
}
_POSITIONAL: dict[type[Pass], str] = {
    Activations: "to",
    LowRank: "energy",
    Distill: "epochs",
    Prune: "sparsity",
    Cluster: "centroids",
    NpuQat: "weight_bits",
}
_WHY_NOT: dict[tuple[type[Pass], type[Pass]], str] = {
    (Lcrm, Distill): "it replaces layers, and what they were taught would be gone",
    (Lcrm, LowRank): "it replaces convolutions by fresh ones, and the factors would be gone",
    (Lcrm, Prune): "it replaces layers, and their zeros would be gone",
    (Lcrm, Cluster): "it replaces layers, and their clusters would be gone",
    (Activations, Prune): "its training would fill the zeros again",
    (Activations, Cluster): "its training would pull weights out of their clusters",
    (LowRank, Prune): "its factors would have none of the zeros",
    (LowRank, Cluster): "its factors would have none of the clusters",
    (Distill, Prune): "its training would fill the zeros again",
    (Distill, Cluster): "its training would pull weights out of their clusters",
    (Prune, Cluster): "it would pull weights out of their clusters, while cluster keeps zeros",
}
"""Why the first may not stand behind the second."""


@dataclass(frozen=True)
class Recipe:
    """Passes in the order in which they are applied; no pass at all is the base model."""

    passes: tuple[Pass, ...] = ()

    def __post_init__(self) -> None:
        for index, step in enumerate(self.passes):
            for later in self.passes[index + 1 :]:
                _check_order(step, later)
        if self.passes and isinstance(self.passes[0], Distill):
            raise RecipeError(
                f"{self.passes[0]} as the first pass: the model would be its own teacher; put what "
                "changes it before, as in lcrm(inherit=true)+distill."
            )
        clusters = [step for step in self.passes if isinstance(step, Cluster)]
        if clusters and self.prunes and clusters[0].centroids < 3:
            raise RecipeError(
                f"{clusters[0]} behind {self.prunes[0]}: one of the distinct values is the zero "
                "that pruning made, so give 3 centroids or more."
            )

    @property
    def prunes(self) -> tuple[Prune, ...]:
        """The pruning pass, if there is one."""
        return tuple(step for step in self.passes if isinstance(step, Prune))

    @property
    def rewrites(self) -> tuple[Pass, ...]:
        """The passes that change the Keras model (and so call for training)."""
        return tuple(step for step in self.passes if not isinstance(step, Quantize))

    @property
    def stages(self) -> tuple[tuple[Pass, ...], ...]:
        """The rewriting passes by what is trained once: distillation trains what all before made.

        Every other pass is trained on its own.
        """
        taught = [i for i, step in enumerate(self.rewrites) if isinstance(step, Distill)]
        first = taught[0] + 1 if taught else 0
        alone = tuple((step,) for step in self.rewrites[first:])
        return (self.rewrites[:first], *alone) if first else alone

    @property
    def export(self) -> Quantize:
        """How the file is written."""
        last = self.passes[-1] if self.passes else None
        if isinstance(last, Qat | NpuQat):
            return Quantize("int8", last.io)
        return last if isinstance(last, Quantize) else Quantize("float32")

    def __str__(self) -> str:
        """The recipe as `parse_recipe` reads it; passes of the built-in cascades as letters."""
        terms: list[str] = []
        letters = {step: letter for letter, step in _LETTERS.items()}
        for step in self.passes:
            letter = letters.get(step)
            if letter and terms and terms[-1] + letter in SHORT_NAMES:
                terms[-1] += letter
            else:
                terms.append(letter or str(step))
        return "+".join(terms) or "base"


def _check_order(step: Pass, later: Pass) -> None:
    first, second = str(step), str(later)
    if isinstance(step, Qat | NpuQat) and isinstance(later, Quantize):
        name = first.partition("(")[0]
        raise RecipeError(
            f"{first}+{second}: {name} writes an int8 file itself; leave {second} out."
        )
    if {type(step), type(later)} == {Qat, NpuQat}:
        raise RecipeError(
            f"{first}+{second}: both train the rounding of one int8 file; leave one of them out."
        )
    if isinstance(step, Qat | NpuQat | Quantize):
        raise RecipeError(
            f"{first}+{second}: {first.partition('(')[0]} must come last; what follows it would "
            "change weights that are already quantised."
        )
    if type(step) is type(later):
        name = first.partition("(")[0]
        raise RecipeError(f"{first}+{second}: {name} may stand in a recipe once.")
    if (type(later), type(step)) in _WHY_NOT:
        name = second.partition("(")[0]
        raise RecipeError(
            f"{first}+{second}: {name} must come before {first.partition('(')[0]}; behind it "
            f"{_WHY_NOT[type(later), type(step)]}. Write {second}+{first}."
        )


_TERM = re.compile(r"\s*(?P<name>[A-Za-z_][\w]*)\s*(?:\((?P<options>[^()]*)\))?\s*")
_OPTION = re.compile(r"\s*(?:(\w+)\s*=\s*)?('[^']*'|\"[^\"]*\"|[^,'\"=]+?)\s*(?:,|$)")


def parse_recipe(text: str) -> Recipe:
    """Reads a recipe such as `base`, `PCQ`, `lcrm(where='block*,!block1')+prune(0.7)+int8`.

    Raises:
        RecipeError: naming the term that cannot be read and what may stand there.
    """
    terms = re.split(r"\+(?![^(]*\))", text)
    if [term.strip().lower() for term in terms] == ["base"]:
        return Recipe()
    return Recipe(tuple(step for term in terms for step in _parse_term(term, text)))


def _parse_term(term: str, text: str) -> tuple[Pass, ...]:
    if re.fullmatch(r"\s*[PCQ]+\s*", term, re.IGNORECASE):
        return tuple(_LETTERS[letter] for letter in term.strip().upper())
    match = _TERM.fullmatch(term)
    name = match["name"].lower() if match else ""
    if match is None or name not in (*_KINDS, *SCHEMES):
        raise RecipeError(
            f"Recipe {text!r}: {term.strip()!r} is no pass; choose from {', '.join(_KINDS)}, "
            f"{', '.join(SCHEMES)} or the cascades {', '.join(SHORT_NAMES)}, joined by +, or base "
            "alone."
        )
    if name in SCHEMES:
        options = _parse_options(match["options"] or "", term.strip(), positional="")
        return (_build(Quantize, options, term.strip(), scheme=name),)
    kind = _KINDS[name]
    options = _parse_options(match["options"] or "", term.strip(), _POSITIONAL.get(kind, ""))
    if "where" in options:
        patterns = (pattern.strip() for pattern in str(options["where"]).split(","))
        options["where"] = tuple(pattern for pattern in patterns if pattern)
    return (_build(kind, options, term.strip()),)


def _parse_options(text: str, term: str, positional: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _OPTION.match(text, position)
        name = match[1] if match and match[1] else positional
        if match is None or not name or (match[1] is None and options):
            first = f" (the first may be {positional} without its name)" if positional else ""
            raise RecipeError(
                f"{term}: options are written name=value, separated by commas{first}."
            )
        if name in options:
            raise RecipeError(f"{term}: the option {name!r} stands there twice.")
        options[name] = _value(match[2])
        position = match.end()
    return options


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _build(kind: type[Pass], options: dict[str, Any], term: str, **fixed: Any) -> Pass:
    offered = [field.name for field in fields(kind) if field.name not in fixed]
    for name in options:
        if name not in offered:
            raise RecipeError(f"{term}: no option {name!r}; it takes {', '.join(offered)}.")
    return kind(**options, **fixed)
