"""A board profile as the TOML file that it can be read from again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from edgekit_device.board import SCHEMA, BoardProfile


def profile_toml(profile: BoardProfile) -> str:
    """Write a profile as TOML; `edgekit_device.board.parse_board` reads the same profile."""
    lines = [f"schema = {toml_text(SCHEMA)}"]
    for field in fields(profile):
        value = getattr(profile, field.name)
        if field.name not in ("cpu", "latency", "power", "sources"):
            lines += _pairs({field.name: value})
    lines += ["", "[cpu]", *_pairs(_own(profile.cpu))]
    for power in profile.power:
        lines += ["", "[[power]]", *_pairs(_own(power))]
    if profile.latency is not None:
        lines += ["", "[latency]", *_pairs(_own(profile.latency))]
    lines += ["", "[sources]", *_pairs(profile.sources)]
    return "\n".join(lines) + "\n"


def _own(value: Any) -> dict[str, Any]:
    if not is_dataclass(value):
        raise TypeError(f"a dataclass is needed. Received: {value!r}")
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _pairs(values: Mapping[str, Any]) -> list[str]:
    """One line per key; what is not known is left out, but for the one list that may be empty."""
    return [
        f"{key if key.isidentifier() else toml_text(key)} = {_value(value)}"
        for key, value in values.items()
        if value is not None and (value != () or key == "device_tree_models")
    ]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value)


def toml_text(text: str) -> str:
    """Write a text as TOML's basic string."""
    # JSON's strings are TOML's, but for one control character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
