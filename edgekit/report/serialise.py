"""A comparison as versioned JSON, and back without loss."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from edgekit.comparison import COLUMNS, SCHEMA, Advice, Comparison, LayerSaving, Metric, Row, Stage
from edgekit.errors import ReportError
from edgekit.npu.outcome import NpuOutcome
from edgekit_converters.proof import FileProof, FloatOperator, LayerProof, WeightTensor
from edgekit_device.codec import decode
from edgekit_device.errors import RecordError
from edgekit_device.number import Number

T = TypeVar("T")

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def comparison_to_json(comparison: Comparison) -> str:
    """The comparison as JSON text that begins with its schema.

    Training that diverged has losses that are not finite, which JSON cannot say: they become the
    strings "NaN", "Infinity" and "-Infinity".
    """
    data = {"schema": SCHEMA, **_plain(comparison)}
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def comparison_from_json(text: str) -> Comparison:
    """Read what `comparison_to_json` gave.

    Raises:
        ReportError: no JSON, another schema, or a key or value that does not fit.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ReportError(f"A comparison is a JSON document. Received: {error}") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        raise ReportError(
            f"This EdgeKit reads comparisons of schema {SCHEMA!r}. Received: {schema!r}; "
            "use the EdgeKit version that wrote the file, or run the comparison again."
        )
    rest = {key: value for key, value in data.items() if key != "schema"}
    return _build(
        Comparison,
        rest,
        "comparison",
        rows=_each(_row),
        layers=_each(lambda item, where: _build(LayerSaving, item, where)),
        stages=_each(_stage),
        records=_each(lambda item, where: item),
        advice=_each(lambda item, where: _build(Advice, item, where)),
        notes=_each(lambda item, where: item),
        cautions=_each(lambda item, where: item),
        npus=_each(_npu_outcome),
    )


def _plain(value: Any) -> Any:
    """Dataclasses, tuples and Numbers as what JSON has."""
    if isinstance(value, Number):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


Reader = Callable[[Any, str], Any]


def _each(read: Reader) -> Reader:
    """A reader of a JSON array, as a tuple."""

    def read_all(data: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(data, list):
            raise ReportError(f"{where}: a JSON array is needed. Received: {data!r:.80}")
        return tuple(read(item, f"{where}[{i}]") for i, item in enumerate(data))

    return read_all


def _build(kind: Callable[..., T], data: Any, where: str, **readers: Reader) -> T:
    """The dataclass `kind` from a JSON object with its keys; one with a default may be missing."""
    if not isinstance(data, dict):
        raise ReportError(f"{where}: a JSON object is needed. Received: {data!r:.80}")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    needed = {field.name for field in fields if _no_default(field)}
    missing = sorted(needed - data.keys())
    unknown = sorted(data.keys() - {field.name for field in fields})
    if missing or unknown:
        raise ReportError(f"{where}: keys do not fit: missing {missing}, unknown {unknown}.")
    read = {
        name: readers[name](value, f"{where}.{name}") if name in readers else value
        for name, value in data.items()
    }
    return kind(**read)


def _no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def _number(data: Any, where: str) -> Number:
    try:
        return Number.from_json(data)
    except RecordError as error:
        raise ReportError(f"{where}: {error}") from error


def _row(data: Any, where: str) -> Row:
    return _build(
        Row,
        data,
        where,
        **dict.fromkeys((*COLUMNS, "accuracy_change", "instructions"), _number),
        stages=_each(lambda item, _: item),
        proof=_file_proof,
        metrics=_each(lambda item, where: _build(Metric, item, where, value=_number)),
    )


def _npu_outcome(data: Any, where: str) -> NpuOutcome:
    try:
        return decode(NpuOutcome, data, where)
    except RecordError as error:
        raise ReportError(str(error)) from error


def _file_proof(data: Any, where: str) -> FileProof | None:
    if data is None:
        return None
    return _build(
        FileProof,
        data,
        where,
        floats=_each(lambda item, where: _build(FloatOperator, item, where)),
        weights=_each(lambda item, where: _build(WeightTensor, item, where)),
        not_found=_each(lambda item, _: str(item)),
    )


def _stage(data: Any, where: str) -> Stage:
    return _build(
        Stage,
        data,
        where,
        seconds=_float,
        history=_history,
        changed=_each(lambda item, _: item),
        notes=_each(lambda item, _: item),
        skipped=_each(_pair),
        accuracy_before=_float_or_none,
        accuracy_after=_float_or_none,
        proof=_each(lambda item, where: _build(LayerProof, item, where)),
    )


def _pair(data: Any, where: str) -> tuple[str, str]:
    if not isinstance(data, list) or len(data) != 2:
        raise ReportError(f"{where}: a layer and a reason are needed. Received: {data!r:.80}")
    return str(data[0]), str(data[1])


def _float(data: Any, where: str) -> float:
    if isinstance(data, str) and data in _NOT_FINITE:
        return _NOT_FINITE[data]
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise ReportError(f"{where}: a number is needed. Received: {data!r:.80}")
    return data


def _float_or_none(data: Any, where: str) -> float | None:
    return None if data is None else _float(data, where)


def _history(data: Any, where: str) -> dict[str, list[float]]:
    if not isinstance(data, dict):
        raise ReportError(f"{where}: a JSON object is needed. Received: {data!r:.80}")
    return {key: list(_each(_float)(values, f"{where}.{key}")) for key, values in data.items()}
