"""Distillation: its loss by hand, its schedule, and what it gives on every kind of target."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from cascade_runs import CLASSES, chain, data
from converter_models import assert_same, frozen
from keras import layers

from edgekit_converters import (
    Distill,
    LowRank,
    Objective,
    RecipeError,
    Training,
    TrainingData,
    TrainingError,
    run_pass,
    training_facts,
)
from edgekit_converters.distill import distillation_loss

STEP = Distill(2, temperature=2.0, weight=0.7)
LABELS = np.array([0, 2, 1])
THEIRS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 4.0, 1.0]])
OURS = np.array([[1.0, 0.0, -0.5], [0.4, -2.0, 1.3], [2.0, 2.5, -1.0]])


def softmax(values: Any) -> Any:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def by_hand(labels: Any, theirs: Any, ours: Any) -> Any:
    hard = -np.log(softmax(ours)[np.arange(len(labels)), labels])
    wanted, given = softmax(theirs / 2), softmax(ours / 2)
    soft = (wanted * np.log(wanted / given)).sum(-1)
    return 0.3 * hard + 0.7 * 4 * soft


@pytest.mark.parametrize("from_logits", [True, False])
def test_the_loss_of_three_samples_is_that_of_the_formula(from_logits: bool) -> None:
    loss = distillation_loss(STEP, Objective("sparse_categorical_crossentropy", from_logits))
    targets = np.concatenate([LABELS[:, None], THEIRS], axis=1).astype("float32")
    outputs = (OURS if from_logits else softmax(OURS)).astype("float32")
    np.testing.assert_allclose(loss(targets, outputs), by_hand(LABELS, THEIRS, OURS), rtol=1e-5)
    masks = loss(targets[None, :, None], outputs[None, :, None])  # the same as pixels of a mask
    np.testing.assert_allclose(masks[0, :, 0], by_hand(LABELS, THEIRS, OURS), rtol=1e-5)


@pytest.mark.parametrize("from_logits", [True, False])
def test_a_single_output_is_two_classes(from_logits: bool) -> None:
    loss = distillation_loss(STEP, Objective("binary_crossentropy", from_logits))
    labels, theirs, ours = np.array([1, 0, 1]), np.array([2.0, -1.0, 0.3]), np.array([0.5, 1.0, -2])
    pairs = [np.stack([np.zeros(3), logits], axis=1) for logits in (theirs, ours)]
    targets = np.concatenate([labels[:, None], pairs[0]], axis=1).astype("float32")
    outputs = (ours if from_logits else 1 / (1 + np.exp(-ours))).astype("float32")[:, None]
    np.testing.assert_allclose(loss(targets, outputs), by_hand(labels, *pairs), rtol=1e-4)


def test_pictures_are_near_the_truth_and_near_the_parents() -> None:
    loss = distillation_loss(STEP, Objective("mean_absolute_error"))
    rng = np.random.default_rng(0)
    picture, theirs, ours = (rng.random((3, 4, 5, 2)).astype("float32") for _ in range(3))
    wanted = 0.3 * np.abs(picture - ours).mean(-1) + 0.7 * ((theirs - ours) ** 2).mean(-1)
    np.testing.assert_allclose(loss(np.concatenate([picture, theirs], -1), ours), wanted, rtol=1e-5)


def test_certain_probabilities_give_a_finite_loss_and_gradient() -> None:
    import tensorflow as tf

    loss = distillation_loss(STEP, Objective("sparse_categorical_crossentropy", False))
    logits = tf.Variable([[90.0, -90.0, 0.0], [0.0, 0.0, 120.0], [-200.0, 0.0, 0.0]])
    targets = np.concatenate([LABELS[:, None], THEIRS], axis=1).astype("float32")
    with tf.GradientTape() as tape:
        value = loss(targets, tf.nn.softmax(logits))
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, logits)).all()


@cache
def taught() -> tuple[Any, TrainingData]:
    model, given = chain(), data(300)
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(*given.train, epochs=6, batch_size=16, verbose=0)
    return model, given


def test_a_model_learns_from_its_parent_without_a_right_label() -> None:
    parent, given = taught()
    student, before = chain(seed=9), frozen(parent)
    wrong = replace(given, train=(given.train[0], (given.train[1] + 1) % CLASSES))
    told: list[int] = []
    training = Training(learning_rate=1e-2, batch_size=16, deterministic=True)
    outcome = run_pass(
        student, Distill(6, weight=1.0), data=wrong, training=training, parent=parent,
        progress=lambda epoch, epochs, facts: told.append(epoch),
    )  # fmt: skip
    assert outcome.accuracy_after > 0.8 > outcome.accuracy_before
    assert told == [1, 2, 3, 4, 5, 6]
    assert outcome.trained.epochs == 6
    assert outcome.trained.history["loss"][-1] < outcome.trained.history["loss"][0]
    assert outcome.trained.history["val_accuracy"][-1] > 0.8
    assert outcome.trainable_parameters == sum(w.numpy().size for w in student.trainable_weights)
    assert frozen(parent) == before
    rate = outcome.model.optimizer.learning_rate
    assert float(rate) == pytest.approx(0, abs=1e-6)
    again = run_pass(student, Distill(6, weight=1.0), data=wrong, training=training, parent=parent)
    assert_same(again.model.get_weights(), outcome.model.get_weights(), 0)


@pytest.mark.parametrize("kept", [False, True])
def test_dropout_is_off_unless_asked_for_and_comes_back(kept: bool) -> None:
    parent, given = taught()
    inner = keras.Sequential([layers.Dense(12, name="d"), layers.GaussianDropout(0.4, name="g")])
    student = keras.Sequential(
        [
            keras.Input((8, 8, 4)), layers.SpatialDropout2D(0.3, name="s"), layers.Flatten(),
            inner, layers.Dropout(0.5, name="o"), layers.Dense(CLASSES, activation="softmax"),
        ]
    )  # fmt: skip
    seen: list[float] = []
    outcome = run_pass(
        student, Distill(2, dropout=kept), data=given, parent=parent,
        training=Training(learning_rate=1e-9, batch_size=len(given.train[0])),
        progress=lambda epoch, epochs, facts: seen.append(facts["loss"]),
    )  # fmt: skip
    # One batch, and next to no step: only what is dropped can change the loss.
    assert (abs(seen[0] - seen[1]) > 1e-3) == kept
    rates = [layer.rate for layer in outcome.model.layers if hasattr(layer, "rate")]
    rates.append(outcome.model.get_layer(inner.name).get_layer("g").rate)
    assert rates == [0.3, 0.5, 0.4]


@pytest.mark.parametrize("end", ["sigmoid", "softmax", "linear"])
def test_masks_are_taught_pixel_by_pixel(end: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.random((60, 8, 8, 1)).astype("float32")
    y = (x[..., 0] > 0.6).astype("int64")
    image = keras.Input((8, 8, 1))
    last = layers.Conv2D(1 if end == "sigmoid" else 2, 1, activation=end)
    parent = keras.Model(image, last(layers.Conv2D(4, 3, padding="same", name="body")(image)))
    loss = keras.losses.BinaryCrossentropy if end == "sigmoid" else (
        lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=end == "linear")
    )  # fmt: skip
    parent.compile(keras.optimizers.Adam(0.05), loss())
    parent.fit(x, y[..., None], epochs=15, verbose=0)
    given = TrainingData(
        (x[:40], y[:40]), (x[40:], y[40:]), 2, "segmentation", lambda outputs, masks, objective: 0.5
    )
    outcome = run_pass(parent, Distill(1), data=given, parent=parent)
    assert 0 <= outcome.trained.history["val_iou"][0] <= 1
    assert outcome.model.output_shape == parent.output_shape


def test_pictures_are_taught_by_the_parents_pictures() -> None:
    x = np.random.default_rng(3).random((60, 8, 8, 3)).astype("float32") / 2
    image = keras.Input((8, 8, 3))
    parent = keras.Model(image, layers.Conv2D(3, 1, name="it")(image))
    parent.get_layer("it").set_weights([2 * np.eye(3)[None, None], np.zeros(3)])
    given = TrainingData(
        (x[:40], 2 * x[:40]), (x[40:], 2 * x[40:]), 0, "enhancement",
        lambda outputs, pictures, objective: -float(np.abs(outputs - pictures).mean()),
    )  # fmt: skip
    student = keras.Model(image, layers.Conv2D(3, 1, name="own")(image))
    training = Training(learning_rate=0.05, batch_size=8)
    outcome = run_pass(student, Distill(8), data=given, parent=parent, training=training)
    assert outcome.accuracy_after > 0.5 * outcome.accuracy_before
    assert "val_mse" in outcome.trained.history
    parent.get_layer("it").set_weights([-np.eye(3)[None, None], np.zeros(3)])
    with pytest.raises(TrainingError, match=r"off by .* one colour for all by"):
        run_pass(student, Distill(1), data=given, parent=parent)


def test_what_cannot_teach_is_refused() -> None:
    parent, given = taught()
    student, spoiled = chain(seed=9), chain()
    spoiled.get_layer("out").bias.assign([np.inf, 0, 0])
    for wrong, facts, error, said in (
        (parent, None, TrainingError, "give the data"),
        (None, given, RecipeError, "needs a teacher"),
        (chain(seed=9), given, TrainingError, "nothing to inherit from 'chain'"),
        (spoiled, given, TrainingError, "hold NaN or infinite"),
    ):
        with pytest.raises(error) as refusal:
            run_pass(student, STEP, data=facts, parent=wrong)
        assert said in str(refusal.value)


def test_the_settings_that_matter_are_its_own() -> None:
    facts = training_facts(Distill(), Training())
    assert facts == training_facts(Distill(), Training(epochs=3, patience=1, tuning_epochs=2))
    assert facts != training_facts(Distill(), Training(learning_rate=0.1))
    assert facts != training_facts(LowRank(), Training())
