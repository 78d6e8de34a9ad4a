"""Fine-tuning: it learns, stops, restores, repeats itself, and says what it cannot do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from edgekit_converters import Training, TrainingError, classification_objective, fine_tune
from edgekit_converters.parents import digits_cnn
from edgekit_converters.train import Objective, TrainingData, validation_score

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def digits() -> tuple[Data, Data]:
    images, labels = load_digits(return_X_y=True)
    x = (images / 16).reshape(-1, 8, 8, 1).astype(np.float32)[:900]
    return (x[:600], labels[:600]), (x[600:], labels[600:900])


def small(classes: int = 10, last: Any = "softmax", seed: int = 1) -> Any:
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(classes, activation=last),
        ],
        name="small",
    )


CLASSES = Objective("sparse_categorical_crossentropy", from_logits=False)


def test_it_learns_and_reports_every_epoch(digits: tuple[Data, Data]) -> None:
    seen: list[tuple[int, int, dict[str, float]]] = []
    model = small()
    trained = fine_tune(
        model, *digits, CLASSES, Training(epochs=6, learning_rate=5e-3),
        lambda epoch, epochs, metrics: seen.append((epoch, epochs, metrics)),
    )  # fmt: skip
    assert trained.epochs == 6
    assert trained.history["val_accuracy"][-1] > 0.8 > trained.history["accuracy"][0]
    assert [(epoch, epochs) for epoch, epochs, _ in seen] == [(n, 6) for n in range(1, 7)]
    assert [m["val_loss"] for *_, m in seen] == trained.history["val_loss"]


def test_the_kits_own_parent_learns_digits(digits: tuple[Data, Data]) -> None:
    trained = fine_tune(digits_cnn(), *digits, CLASSES, Training(epochs=2))
    assert trained.history["accuracy"][-1] > 0.7


@pytest.mark.parametrize("patience", [0, 2])
def test_the_model_is_left_at_its_best_epoch(patience: int, digits: tuple[Data, Data]) -> None:
    (x, y), validation = digits
    rng = np.random.default_rng(0)
    noise = (x[:64], rng.permutation(y[:64]))  # the more it learns of this, the worse it gets
    model = small()
    training = Training(epochs=8, learning_rate=2e-2, patience=patience)
    trained = fine_tune(model, noise, validation, CLASSES, training)
    losses = trained.history["val_loss"]
    assert trained.best_epoch == 1 + int(np.argmin(losses)) < trained.epochs
    assert trained.epochs == (8 if patience == 0 else trained.best_epoch + patience)
    loss, _ = model.evaluate(*validation, verbose=0)
    assert loss == pytest.approx(min(losses), rel=1e-4)
    assert loss < losses[-1]


def test_no_epoch_leaves_the_model_untouched(digits: tuple[Data, Data]) -> None:
    model = small()
    before = model.get_weights()
    assert fine_tune(model, *digits, CLASSES, Training(epochs=0)).epochs == 0
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_the_seed_decides(digits: tuple[Data, Data]) -> None:
    (x, y), _ = digits

    def weights(seed: int) -> list[Any]:
        model = small()
        fine_tune(model, (x, y), (x[:9], y[:9]), CLASSES, Training(epochs=1, seed=seed))
        return model.get_weights()

    first, again, other = weights(3), weights(3), weights(4)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert not np.allclose(first[0], other[0], atol=1e-4)


DETERMINISTIC = """
import hashlib, keras, numpy as np
from edgekit_converters import Training, classification_objective, fine_tune
from edgekit_converters.parents import digits_cnn
keras.utils.set_random_seed(5)
rng = np.random.default_rng(0)
x, y = rng.random((96, 8, 8, 1), "float32"), rng.integers(0, 10, 96)
model = digits_cnn()
training = Training(epochs=1, seed=11, deterministic=True)
fine_tune(model, (x, y), (x, y), classification_objective(model, 10), training)
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


def test_deterministic_means_the_same_bits_in_another_process() -> None:
    runs = [
        subprocess.Popen([sys.executable, "-c", DETERMINISTIC], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    digests = {run.communicate()[0].split()[-1] for run in runs}
    assert [run.returncode for run in runs] == [0, 0]
    assert len(digests) == 1


@pytest.mark.parametrize("where", ["train", "validation"])
def test_data_that_are_no_numbers_are_refused(where: str, digits: tuple[Data, Data]) -> None:
    (x, y), (vx, vy) = digits
    bad = np.where(np.arange(len(x))[:, None, None, None] == 3, np.nan, x).astype(np.float32)
    train, validation = ((bad, y), (vx, vy)) if where == "train" else ((x, y), (bad, y))
    with pytest.raises(TrainingError, match=rf"The {where}\w* data hold NaN .*; remove"):
        fine_tune(small(), train, validation, CLASSES, Training(epochs=2))


def test_a_learning_rate_far_too_high_is_refused(digits: tuple[Data, Data]) -> None:
    logits = Objective("sparse_categorical_crossentropy", from_logits=True)
    with pytest.raises(TrainingError, match=r"'small' diverged.*--learning-rate than 1e\+30"):
        fine_tune(small(last=None), *digits, logits, Training(epochs=3, learning_rate=1e30))


def two_outputs() -> Any:
    x = keras.Input((4,))
    return keras.Model(x, [layers.Dense(2, name="left")(x), layers.Dense(2, name="right")(x)])


def ends_in(*last: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *last])


OBJECTIVES = {
    "softmax": (lambda: small(), 10, Objective("sparse_categorical_crossentropy", False)),
    "logits": (lambda: small(last=None), 10, Objective("sparse_categorical_crossentropy", True)),
    "softmax layer": (
        lambda: ends_in(layers.Dense(3), layers.Softmax()),
        3,
        Objective("sparse_categorical_crossentropy", False),
    ),
    "softmax activation layer": (
        lambda: ends_in(layers.Dense(3), layers.Activation("softmax")),
        3,
        Objective("sparse_categorical_crossentropy", False),
    ),
    "softmax in a nested model": (
        lambda: keras.Sequential([keras.Input((8, 8, 1)), small()]),
        10,
        Objective("sparse_categorical_crossentropy", False),
    ),
    "more units than classes": (
        lambda: small(12),
        10,
        Objective("sparse_categorical_crossentropy", False),
    ),
    "one sigmoid": (lambda: small(1, "sigmoid"), 2, Objective("binary_crossentropy", False)),
    "one logit": (lambda: small(1, None), 2, Objective("binary_crossentropy", True)),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_loss_fits_how_the_model_ends(kind: str) -> None:
    make, classes, wanted = OBJECTIVES[kind]
    assert classification_objective(make(), classes) == wanted


@pytest.mark.parametrize("last", ["sigmoid", None])
def test_a_single_unit_learns_two_classes(last: str | None, digits: tuple[Data, Data]) -> None:
    (x, y), (vx, vy) = digits
    model = small(1, last)
    objective = classification_objective(model, 2)
    trained = fine_tune(
        model, (x, y > 4), (vx, vy > 4), objective, Training(epochs=4, learning_rate=1e-2)
    )
    assert trained.history["val_accuracy"][-1] > 0.75


NO_OBJECTIVE = {
    "several outputs": (two_outputs, 2, ["2 outputs", "left", "right", "without data"]),
    "too few units": (lambda: small(4), 10, ["'small' has 4 outputs", "at least 10 units"]),
    "one unit, three classes": (lambda: small(1), 3, ["1 outputs", "at least 3 units"]),
    "an image": (
        lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3)]),
        2,
        ["(None, 6, 6, 2)", "(batch, classes)"],
    ),
}


@pytest.mark.parametrize("kind", NO_OBJECTIVE)
def test_a_model_that_is_no_classifier_is_refused(kind: str) -> None:
    make, classes, words = NO_OBJECTIVE[kind]
    with pytest.raises(TrainingError) as refusal:
        classification_objective(make(), classes)
    for word in words:
        assert word in str(refusal.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [("epochs", -1), ("learning_rate", 0), ("learning_rate", float("nan")),
     ("learning_rate", float("inf")), ("learning_rate", -1e-3), ("batch_size", 0),
     ("patience", -1), ("seed", -1), ("seed", 2**32)],
)  # fmt: skip
def test_an_option_out_of_range_is_named(option: str, value: Any) -> None:
    with pytest.raises(TrainingError, match=rf"{option} is {value}; it must be"):
        Training(**{option: value})


@pytest.mark.parametrize("kind", [list, dict])
def test_a_model_of_two_inputs_is_scored(kind: type) -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((6,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    inputs = [a, b] if kind is list else {"a": a, "b": b}
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(joined))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(150, size)).astype("float32") for size in (4, 6)]
    x = arrays if kind is list else dict(zip("ab", arrays, strict=True))
    labels = model.predict(x, verbose=0).argmax(-1)
    wrong = np.where(np.arange(150) < 30, (labels + 1) % 3, labels)
    data = TrainingData((x, wrong), (x, wrong), 3)
    assert validation_score(model, data) == pytest.approx(0.8)
