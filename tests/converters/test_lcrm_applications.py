"""LCRM over keras.applications: one of each family in the quick suite, the rest in the slow one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from edgekit_converters import apply_lcrm
from edgekit_converters.complexity import parameters, total_macs
from edgekit_converters.graph import read_graph

PAGE = Path(__file__).parents[2] / "docs" / "lcrm-applications.md"
NAMES = sorted(name for name in dir(keras.applications) if name[0].isupper())
SMALL = {
    # one member of each family: a size that its strides allow, the convolutions replaced
    "ConvNeXtTiny": (64, 3),
    "DenseNet121": (64, 58),
    "EfficientNetB0": (64, 0),
    "EfficientNetV2B0": (64, 5),
    "InceptionResNetV2": (96, 103),
    "InceptionV3": (96, 53),
    "MobileNet": (64, 0),
    "MobileNetV2": (64, 0),
    "MobileNetV3Small": (64, 0),
    "NASNetMobile": (64, 0),
    "ResNet50": (64, 16),
    "ResNet50V2": (64, 16),
    "VGG16": (64, 12),
    "Xception": (96, 1),
}


@pytest.fixture(autouse=True)
def _free_memory() -> Iterator[None]:
    yield
    keras.backend.clear_session()
    gc.collect()


def substituted(model: Any) -> int:
    """Rewrites the model, checks what must hold for any of them, and counts the substitutes."""
    rewritten, plan = apply_lcrm(model)
    assert [tuple(t.shape) for t in rewritten.outputs] == [tuple(t.shape) for t in model.outputs]
    saved = sum(decision.parameters_before - decision.parameters_after for decision in plan)
    assert parameters(model) - parameters(rewritten) == saved
    before, unknown = total_macs(read_graph(model))
    after, _ = total_macs(read_graph(rewritten))
    assert unknown == ()
    assert before - after == sum((d.macs_before or 0) - (d.macs_after or 0) for d in plan)
    convolutions = [layer for layer in model._flatten_layers() if "Conv2D" in type(layer).__name__]
    assert len(plan) == len(convolutions)
    assert all(bool(d.substitute) != bool(d.reason) for d in plan)
    return sum(d.substitute is not None for d in plan)


@pytest.mark.parametrize("name", SMALL)
def test_one_member_of_each_family_is_rewritten(name: str) -> None:
    size, wanted = SMALL[name]
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=5)
    assert substituted(model) == wanted == replaced_on_the_page(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(SMALL)))
def test_every_other_application_is_rewritten_as_the_page_says(name: str) -> None:
    model = getattr(keras.applications, name)(weights=None)
    if None in model.inputs[0].shape[1:]:
        model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    assert substituted(model) == replaced_on_the_page(name)
    assert rows()[name][8].startswith(f"{parameters(model):,} →")


def replaced_on_the_page(name: str) -> int:
    return sum(int(cell) for cell in rows()[name][3:7])


def rows() -> dict[str, list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row for row in cells if row[0] != "model"}


def test_every_family_has_its_small_member() -> None:
    families = {getattr(keras.applications, name).__module__ for name in NAMES}
    covered = {getattr(keras.applications, name).__module__ for name in SMALL}
    assert families - covered <= {"keras.src.applications.vgg19"}


def test_the_page_has_a_row_for_every_application() -> None:
    assert sorted(rows()) == NAMES
    for name, row in rows().items():
        assert len(row) == 10, name
        assert "failed" not in row[1]
