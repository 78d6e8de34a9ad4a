import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit_device import Record, Settings, profile_models
from edgekit_device.errors import RecordError


@pytest.fixture
def document(model: Callable[..., Path], quick: Callable[..., Settings]) -> Any:
    settings = quick(seconds=0.2, sample_interval_s=0.02)
    (record,) = profile_models([model("conv_int8")], settings)
    return json.loads(json.dumps(record.to_json(), allow_nan=False))


def test_a_record_comes_back_from_json_as_it_went(document: Any) -> None:
    record = Record.from_json(document)
    assert record.to_json() == document
    assert (document["schema"], document["model"]["file"]) == (
        "edgekit.record/2",
        "conv_int8.tflite",
    )
    assert record.samples


def test_another_schema_is_refused_with_its_name(document: Any) -> None:
    with pytest.raises(RecordError, match=r"'edgekit.record/9'.*profile the model again"):
        Record.from_json({**document, "schema": "edgekit.record/9"})
    with pytest.raises(RecordError, match="JSON object"):
        Record.from_json([document])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("runs",), "many", r"record\.runs: .*int.*'many'"),
        (("runs",), True, r"record\.runs"),
        (("batch",), 1.5, r"record\.batch"),
        (("status",), "fine", r"record\.status: must be one of ok, error"),
        (("golden", "status"), "maybe", r"record\.golden\.status"),
        (("load_ms",), 0, r"record\.load_ms: Number"),
        (("load_ms",), {"how": "measured"}, r"record\.load_ms: .*a value is needed"),
        (("samples",), {}, r"record\.samples: a JSON array"),
        (("samples", 0, "rss_bytes"), 0.5, r"record\.samples\[0\]\.rss_bytes"),
        (("machine",), None, r"record\.machine: a JSON object"),
        (("machine", "colour"), "red", r"record\.machine: .*unknown \['colour'\]"),
        (("settings", "runs"), 0, r"record\.settings: runs"),
        (("error",), "x", r"record\.error: a JSON object"),
        (("warmup_ms",), [float("nan")], r"record\.warmup_ms\[0\]: a finite float"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    document: Any, path: tuple[Any, ...], value: object, says: str
) -> None:
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(RecordError, match=says):
        Record.from_json(document)


def test_a_missing_key_is_named(document: Any) -> None:
    del document["idle"]
    with pytest.raises(RecordError, match=r"missing \['idle'\]"):
        Record.from_json(document)
