"""What a comparison says about how its numbers are to be read."""

from pathlib import Path

import numpy as np
import pytest

from edgekit.data import Dataset, Split
from edgekit.exporting import Optimized
from edgekit.rows import make_notes
from edgekit_converters.proof import FileProof
from edgekit_device import Number

SPLIT = Split(np.zeros((4, 2), np.float32), np.array([0, 1, 1, 1]))
DATA = Dataset("four", SPLIT, SPLIT, SPLIT, 2)


def optimized(recipe: str) -> Optimized:
    one = Number.counted(1)
    return Optimized(
        recipe=recipe,
        file=Path("m.tflite"),
        accuracy=Number.measured(0.75),
        parameters=one,
        macs=one,
        file_bytes=one,
        gzip_bytes=one,
        zstd_bytes=one,
        sha256="",
        keras_difference=Number.measured(0.0),
        scores=(1.0, 1.0, 1.0, 0.0),
        from_logits=False,
        stages=(),
        layers=(),
        proof=FileProof(1, 0, (), ()),
    )


def notes(*recipes: str) -> str:
    return " ".join(make_notes(DATA, [optimized(recipe) for recipe in recipes]))


def test_the_notes_give_the_measure_of_chance_and_how_files_took_turns() -> None:
    said = notes("base", "int8")
    assert "Always guessing the most frequent class would score 0.750." in said
    assert "The 2 files ran in turns in the same rounds" in said


def test_what_was_trained_is_told_from_what_was_only_converted() -> None:
    said = notes("base", "int8", "P", "Q")
    assert "base and its post-training quantised versions (int8, …) are the parent as it" in said
    assert "all other recipes are trained on the training split." in said


@pytest.mark.parametrize(
    ("recipe", "pruning", "clustering", "quantising", "packed"),
    [
        ("int8", False, False, False, False),
        ("lcrm", False, False, False, False),
        ("lcrm+P", True, False, False, True),
        ("C", False, True, False, True),
        ("Q", False, False, True, False),
        ("prune(0.7)+cluster(8)+qat", True, True, True, True),
    ],
)
def test_what_is_used_is_explained(
    recipe: str, pruning: bool, clustering: bool, quantising: bool, packed: bool
) -> None:
    said = notes("base", recipe)
    assert ("P is pruning" in said) is pruning
    assert ("C is clustering" in said) is clustering
    assert ("Q is quantisation-aware training" in said) is quantising
    assert ("alone makes no CPU kernel faster" in said) is packed
