"""Recipes: ordered tuples of passes, written `lcrm(style=table4)+int8`. Needs no TensorFlow."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from edgekit_converters.errors import RecipeError
from edgekit_converters.lcrm.rules import STYLES, Style, Weights

Scheme = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)


@dataclass(frozen=True)
class Lcrm:
    """Replace standard convolutions; `where` holds layer patterns, `!pattern` excludes.

    `weights` says whether the layers that stay keep their weights or start fresh.
    """

    style: Style = "equations"
    where: tuple[str, ...] = ()
    keep_ends: bool = True
    weights: Weights = "kept"

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise RecipeError(
                f"lcrm(style={self.style!r}): no such style; choose one of {', '.join(STYLES)}."
            )
        if not isinstance(self.keep_ends, bool):
            raise RecipeError(f"lcrm(keep_ends={self.keep_ends!r}): give true or false.")
        if self.weights not in get_args(Weights):
            raise RecipeError(f"lcrm(weights={self.weights!r}): choose kept or fresh.")

    def __str__(self) -> str:
        return _written("lcrm", self)


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


Pass = Lcrm | Quantize


@dataclass(frozen=True)
class Recipe:
    """Passes in the order in which they are applied; no pass at all is the base model."""

    passes: tuple[Pass, ...] = ()

    def __post_init__(self) -> None:
        for index, step in enumerate(self.passes):
            if isinstance(step, Quantize) and index < len(self.passes) - 1:
                raise RecipeError(
                    f"{self}: {step.scheme} must come last; what follows it would change weights "
                    "that are already quantised."
                )
        if sum(isinstance(step, Lcrm) for step in self.passes) > 1:
            raise RecipeError(f"{self}: lcrm may stand in a recipe once.")

    @property
    def rewrites(self) -> tuple[Pass, ...]:
        """The passes that change the Keras model (and so call for training)."""
        return tuple(step for step in self.passes if not isinstance(step, Quantize))

    @property
    def export(self) -> Quantize:
        """How the file is written."""
        last = self.passes[-1] if self.passes else None
        return last if isinstance(last, Quantize) else Quantize("float32")

    def __str__(self) -> str:
        return "+".join(str(step) for step in self.passes) or "base"


_TERM = re.compile(r"\s*(?P<name>[A-Za-z_][\w]*)\s*(?:\((?P<options>[^()]*)\))?\s*")
_OPTION = re.compile(r"\s*(\w+)\s*=\s*('[^']*'|\"[^\"]*\"|[^,'\"]+?)\s*(?:,|$)")


def parse_recipe(text: str) -> Recipe:
    """Reads a recipe such as `base`, `int8`, `lcrm(where='block*,!block1')+int8(io=int)`.

    Raises:
        RecipeError: naming the term that cannot be read and what may stand there.
    """
    terms = re.split(r"\+(?![^(]*\))", text)
    if [term.strip().lower() for term in terms] == ["base"]:
        return Recipe()
    return Recipe(tuple(_parse_term(term, text) for term in terms))


def _parse_term(term: str, text: str) -> Pass:
    match = _TERM.fullmatch(term)
    name = match["name"].lower() if match else ""
    if match is None or name not in ("lcrm", *SCHEMES):
        raise RecipeError(
            f"Recipe {text!r}: {term.strip()!r} is no pass; choose from lcrm, "
            f"{', '.join(SCHEMES)}, joined by +, or base alone."
        )
    options = _parse_options(match["options"] or "", term.strip())
    if name == "lcrm":
        if "where" in options:
            patterns = (pattern.strip() for pattern in str(options["where"]).split(","))
            options["where"] = tuple(pattern for pattern in patterns if pattern)
        return _build(Lcrm, options, term.strip())
    return _build(Quantize, options, term.strip(), scheme=name)


def _parse_options(text: str, term: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    position = 0
    while position < len(text.rstrip()):
        match = _OPTION.match(text, position)
        if match is None:
            raise RecipeError(f"{term}: options are written name=value, separated by commas.")
        if match[1] in options:
            raise RecipeError(f"{term}: the option {match[1]!r} stands there twice.")
        options[match[1]] = _value(match[2])
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


def _written(name: str, step: Any) -> str:
    changed = [
        (field.name, getattr(step, field.name))
        for field in fields(step)
        if getattr(step, field.name) != field.default
    ]
    inside = ", ".join(f"{option}={_literal(value)}" for option, value in changed)
    return f"{name}({inside})" if inside else name


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return "'" + ",".join(value) + "'"
    return str(value).lower() if isinstance(value, bool) else str(value)
