"""Inheritance and distillation in a run folder: one stage, made once, of its own teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit import optimize
from edgekit.data import Dataset, Split, load_data
from edgekit.optimization import load_parent
from edgekit.progress import Step


@pytest.fixture(scope="module")
def parent() -> Any:
    """A small model of digits, trained for some seconds."""
    import keras
    from keras import layers

    from edgekit_converters import set_seed

    set_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu", name="first"),
            layers.Conv2D(24, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="dense"),
        ],
        name="small",
    )
    data = digits()
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(data.train.x, data.train.y, epochs=8, batch_size=32, verbose=0)
    return model


def digits() -> Dataset:
    return load_data("digits", (8, 8, 1), seed=0)


def test_a_taught_model_is_one_stage_that_is_made_once(parent: Any, tmp_path: Path) -> None:
    steps: list[Step] = []
    recipe = "lcrm(inherit=true, samples=300)+distill(epochs=2)+int8"
    done = optimize(parent, recipe, digits(), out=tmp_path, progress=steps.append)
    (stage,) = done.stages
    assert stage.recipe == stage.name == "lcrm(inherit=true, samples=300)+distill(epochs=2)"
    assert stage.epochs == 2
    assert len(stage.history["loss"]) == 2
    assert [change.split(":")[0] for change in stage.changed] == ["dense", "second"]
    assert ("first", "first convolution") in stage.skipped
    assert [layer.layer for layer in done.layers if layer.substituted] == ["second"]
    told = [f"{step.task.split()[0]} {step.detail}" for step in steps]
    assert any(text.startswith("fit layer 1 of 1: explains ") for text in told)
    assert any(text.startswith("train epoch 2 of 2: loss ") for text in told)
    assert done.accuracy.value > 0.8
    again = optimize(parent, recipe, digits(), out=tmp_path)
    assert [stage.reused for stage in again.stages] == [True]
    more = optimize(parent, recipe.replace("=2", "=3"), digits(), out=tmp_path)
    assert [stage.reused for stage in more.stages] == [False]


def test_a_cascade_goes_on_behind_a_taught_model(parent: Any, tmp_path: Path) -> None:
    from edgekit_converters import Training

    recipe = "lcrm(inherit=true, spatial=true)+distill(epochs=1)+prune+int8"
    done = optimize(
        load_parent(parent), recipe, digits(), out=tmp_path, training=Training(tuning_epochs=1)
    )
    first, second = done.stages
    assert first.name == "lcrm(inherit=true, spatial=true)+distill(epochs=1)"
    assert (second.name, second.epochs) == ("prune(0.5)", 1)
    assert second.accuracy_before == first.accuracy_after
    assert all(each.sparsity >= 0.49 for each in second.proof if each.sparsity_asked)


def test_without_data_there_is_one_clear_sentence(parent: Any, tmp_path: Path) -> None:
    from edgekit_converters import TrainingError

    with pytest.raises(TrainingError, match="give the data"):
        optimize(parent, "lcrm(inherit=true)", out=tmp_path)
    untrained = type(parent).from_config(parent.get_config())
    with pytest.raises(TrainingError, match="nothing to inherit from 'small'"):
        optimize(untrained, "lcrm(inherit=true)", digits(), out=tmp_path)
    few = digits()
    few = Dataset(few.name, Split(few.train.x[:40], few.train.y[:40]), few.validation, few.test, 10)
    with pytest.raises(TrainingError, match="40 training samples are too few"):
        optimize(parent, "lcrm(inherit=true)", few, out=tmp_path)
