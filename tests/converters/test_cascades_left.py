"""Kernels that a cascade leaves alone because it could do nothing good, and models at the edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from cascade_runs import FAST, kernels
from keras import layers

from edgekit_converters import (
    ExportError,
    Outcome,
    Prune,
    Qat,
    Quantize,
    Training,
    TrainingData,
    TrainingError,
    correct,
    export_tflite,
    parse_recipe,
    run_pass,
)


def at_once(model: Any, recipe: str) -> Outcome:
    (step,) = parse_recipe(recipe).passes
    return run_pass(model, step)


def dense_head(units: int) -> Any:
    return keras.Sequential(
        [keras.Input((64,)), layers.Dense(32, name="hidden"), layers.Dense(units, name="head")]
    )


def test_a_dense_layer_too_small_for_two_blocks_is_left() -> None:
    outcome = at_once(dense_head(3), "prune(pattern=4x4)")
    assert dict(outcome.skipped)["head"].startswith("32 x 3 weights hold no two blocks of 4x4")
    assert [proof.sparsity_asked is not None for proof in outcome.proof] == [True, False]


@pytest.mark.parametrize("units", [10, 12, 13])
def test_blocks_cut_at_the_end_are_asked_for_and_told_as_they_are(units: int) -> None:
    outcome = at_once(dense_head(units), "prune(0.5, pattern=5x4)")
    for proof in outcome.proof:
        assert 0.3 < (proof.sparsity_asked or 0) <= proof.sparsity <= 0.7
        zeros = round(proof.sparsity * proof.weights)
        told = f"{proof.layer}: {zeros} of {proof.weights} weights are zero as 5x4"
        assert told in outcome.changed


def test_two_in_four_needs_three_input_channels() -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, name="one"),
            layers.Conv2D(3, 3, name="eight"),
            layers.Conv2D(4, 1, name="three"),
        ]
    )
    outcome = at_once(model, "prune(pattern=2:4)")
    assert dict(outcome.skipped) == {"one": "1 input channels are too few for the 2:4 pattern"}
    told = {proof.layer: (proof.sparsity_asked, proof.sparsity) for proof in outcome.proof}
    assert told["eight"] == (0.5, 0.5)
    assert told["three"] == pytest.approx((1 / 3, 1 / 3))


@pytest.mark.parametrize("recipe", ["P", "C"])
def test_a_kernel_of_zeros_stays_one_and_breaks_nothing(recipe: str) -> None:
    model = dense_head(10)
    model.get_layer("head").set_weights([np.zeros((32, 10)), np.ones(10)])
    outcome = at_once(model, recipe)
    assert dict(outcome.skipped)["head"] == "all of its weights are zero already"
    assert not kernels(outcome.model)["head"].any()


def test_a_dense_layer_behind_a_normalisation_is_not_clustered(tmp_path: Path) -> None:
    """Conversion would multiply the normalisation into it, input by input."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(10, name="head"),
        ]
    )
    generator = np.random.default_rng(0)
    for variable in model.layers[1].variables:
        variable.assign(generator.uniform(0.5, 2, variable.shape))
    outcome = at_once(model, "C")
    assert "which undoes clusters" in dict(outcome.skipped)["head"]
    file = export_tflite(outcome.model, Quantize("float32"), tmp_path / "m.tflite")
    assert file.keras_difference < 1e-5


def binary(last: str | None) -> tuple[Any, TrainingData]:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(1, activation=last),
        ]
    )
    generator = np.random.default_rng(0)
    y = np.arange(64) % 2
    x = (generator.random((64, 8, 8, 1)) + y[:, None, None, None]).astype(np.float32) / 2
    return model, TrainingData((x, y), (x[:32], y[:32]), 2)


@pytest.mark.parametrize("last", ["sigmoid", None])
def test_one_output_unit_is_trained_and_scored(last: str | None, tmp_path: Path) -> None:
    model, data = binary(last)
    outcome = run_pass(model, Qat(), data=data, training=Training(tuning_epochs=2))
    assert outcome.accuracy_after is not None
    file = export_tflite(
        outcome.model, Quantize("int8"), tmp_path / "m.tflite", representative=[data.train[0]]
    )
    x, y = data.validation
    right = correct(file.path, x, y, from_logits=last is None)
    assert np.mean(right) == pytest.approx(outcome.accuracy_after, abs=0.1)


def test_clustered_kernels_are_not_counted_as_trainable() -> None:
    model, data = binary("sigmoid")
    clustered = run_pass(model, parse_recipe("C").passes[0])
    before = parse_recipe("C").passes
    outcome = run_pass(clustered.model, Qat(), before=before, data=data, training=FAST)
    # Two times 16 centroids, 8 + 1 biases; the last layer has 288 weights, the first 72.
    assert outcome.trainable_parameters == 32 + 9
    assert outcome.other_parameters > 288 + 72


def test_an_activation_without_end_is_refused_and_does_not_end_the_process(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    model.set_weights([np.full((4, 4), 1e38), np.zeros(4)])
    samples = [np.full((8, 4), 1e3, np.float32)]
    with pytest.raises(ExportError, match="NaN or infinite values on the representative set"):
        export_tflite(model, Quantize("int8"), tmp_path / "m.tflite", representative=samples)


def test_what_diverges_names_the_option_of_its_own_learning_rate() -> None:
    model, data = binary(None)
    training = Training(tuning_epochs=2, tuning_learning_rate=1e30)
    with pytest.raises(TrainingError, match="Try a smaller --tuning-learning-rate than 1e"):
        run_pass(model, Prune(), data=data, training=training)


def test_every_digit_of_a_sparsity_is_written() -> None:
    assert str(parse_recipe("prune(0.1234567)")) == "prune(0.1234567)"
    assert str(parse_recipe("prune(0.9999999)")) == "prune(0.9999999)"
