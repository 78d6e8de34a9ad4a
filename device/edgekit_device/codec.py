"""Frozen dataclasses to plain JSON data and back, with every type checked on the way back."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgekit_device.errors import RecordError
from edgekit_device.number import Number

T = TypeVar("T")


def encode(value: object) -> Any:
    """Turn dataclasses, tuples, Numbers and plain values into what `json.dumps` takes."""
    if isinstance(value, Number):
        return value.to_json()
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], data: object, where: str) -> T:
    """Build the dataclass `kind` from JSON data; `where` names the data in an error.

    Raises:
        RecordError: a key is missing or unknown, or a value has another type than the field.
    """
    decoded: T = _decode(kind, data, where)
    return decoded


def _decode(kind: Any, data: object, where: str) -> Any:
    if kind is Number:
        return _number(data, where)
    if is_dataclass(kind):
        return _dataclass(kind, data, where)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _optional(kind, data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise RecordError(f"{where}: a JSON array is needed. Received: {data!r}")
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(data)
        if len(kinds) != len(data):
            raise RecordError(f"{where}: {len(kinds)} values are needed. Received: {data!r}")
        pairs = zip(kinds, data, strict=True)
        return tuple(_decode(item, value, f"{where}[{i}]") for i, (item, value) in enumerate(pairs))
    if origin is Literal:
        if data not in get_args(kind):
            allowed = ", ".join(map(str, get_args(kind)))
            raise RecordError(f"{where}: must be one of {allowed}. Received: {data!r}")
        return data
    return _plain(kind, data, where)


def _number(data: object, where: str) -> Number:
    try:
        return Number.from_json(data)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error


def _dataclass(kind: Any, data: object, where: str) -> Any:
    if not isinstance(data, dict):
        raise RecordError(f"{where}: a JSON object is needed. Received: {data!r}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    if set(names) != data.keys():
        missing, unknown = sorted(set(names) - data.keys()), sorted(data.keys() - set(names))
        raise RecordError(f"{where}: the keys do not fit: missing {missing}, unknown {unknown}")
    return kind(**{name: _decode(hints[name], data[name], f"{where}.{name}") for name in names})


def _optional(kind: Any, data: object, where: str) -> Any:
    if data is None:
        return None
    (inner,) = (arg for arg in get_args(kind) if arg is not NoneType)
    return _decode(inner, data, where)


def _plain(kind: type, data: object, where: str) -> object:
    # JSON writes 2.0 as 2 in many languages, and Python's bool is an int.
    allowed = (int, float) if kind is float else kind
    wrong = not isinstance(data, allowed) or (isinstance(data, bool) and kind is not bool)
    if wrong or (isinstance(data, float) and not math.isfinite(data)):
        raise RecordError(f"{where}: a finite {kind.__name__} is needed. Received: {data!r}")
    return data
