"""What a terminal says of one recipe's file."""

from pathlib import Path

import pytest

from edgekit.cli.inspection import print_optimized
from edgekit.comparison import Stage
from edgekit.exporting import Optimized
from edgekit_converters.proof import FileProof, FloatOperator, LayerProof, WeightTensor
from edgekit_device import Number

WEIGHTS = tuple(
    WeightTensor(layer, f"{layer}/kernel", "float32", 100, 0.5, 33, 16) for layer in ("a", "b")
)
ASKED = (
    LayerProof("a", 100, 0.5, 33, 16, sparsity_asked=0.5),
    LayerProof("b", 100, 0.5, 33, 16),
    LayerProof("c", 100, 0.5, 33, 16, distinct_asked=33),
)


def said(proof: FileProof, capsys: pytest.CaptureFixture[str], *, staged: bool = True) -> str:
    one = Number.counted(1)
    print_optimized(
        Optimized(
            recipe="P",
            file=Path("P.tflite"),
            accuracy=Number.unavailable("no data were given"),
            parameters=one,
            macs=one,
            file_bytes=one,
            gzip_bytes=one,
            zstd_bytes=one,
            sha256="",
            keras_difference=Number.measured(0.0),
            scores=(),
            from_logits=False,
            stages=(Stage("P", "prune(0.5)", 1.0, 1, proof=ASKED),) if staged else (),
            layers=(),
            proof=proof,
        )
    )
    return capsys.readouterr().out


def test_a_float_file_shows_what_it_has_of_what_was_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = said(FileProof(9, 0, (), WEIGHTS, ("c",)), capsys)
    assert (
        "in the file, a (float32): 50.0% zeros, 33 distinct values, at most 16 per channel" in text
    )
    assert "in the file, b" not in text
    assert "not found in the file by name: c" in text
    assert "operators" not in text


def test_of_a_file_of_which_nothing_was_asked_nothing_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "in the file" not in said(FileProof(9, 0, (), WEIGHTS), capsys, staged=False)


def test_integer_operators_are_counted_even_if_none_came_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    floats = (FloatOperator("GELU", "g", "it has no int8 kernel"),)
    text = said(FileProof(1, 0, floats, WEIGHTS), capsys)
    assert "0 of 1 operators compute in integers" in text
    assert "float GELU (g): it has no int8 kernel" in text
