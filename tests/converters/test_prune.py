"""Pruning: exactly the zeros asked for, where they are asked for, and nowhere else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from cascade_runs import FAST, chain, data, file_kernels, kernels, zeros
from converter_models import MODELS, frozen
from hypothesis import example, given, settings
from keras import layers

from edgekit_converters import (
    Outcome,
    Prune,
    Quantize,
    RewriteError,
    Training,
    TrainingData,
    export_tflite,
    run_pass,
)


def rounded_zeros(size: int, sparsity: float) -> int:
    """As many as leave the rounded share of weights, but one at least."""
    return size - max(round(size * (1 - sparsity)), 1)


def alone(layer: Any, shape: tuple[int, ...]) -> Any:
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input(shape), layer])


@pytest.fixture(scope="module")
def half() -> tuple[Any, Outcome]:
    model = chain()
    return model, run_pass(model, Prune(), data=data(), training=FAST)


def test_every_taken_kernel_has_exactly_the_zeros_asked_for(half: tuple[Any, Outcome]) -> None:
    _, outcome = half
    found = kernels(outcome.model)
    assert {name: zeros(found[name]) for name in ("conv", "pointwise", "hidden", "out")} == {
        "conv": 144, "pointwise": 48, "hidden": 60, "out": 15,
    }  # fmt: skip
    asked = {proof.layer: (proof.sparsity_asked, proof.sparsity) for proof in outcome.proof}
    assert asked["conv"] == asked["out"] == (0.5, 0.5)
    assert asked["depthwise"] == (None, 0.0)


def test_it_says_what_it_changed_and_what_it_left(half: tuple[Any, Outcome]) -> None:
    _, outcome = half
    assert outcome.changed[0] == "conv: 144 of 288 weights are zero"
    assert [path for path, _ in outcome.skipped] == ["depthwise"]
    assert "prune(depthwise=true)" in outcome.skipped[0][1]
    assert (outcome.trained.epochs, outcome.trained.best_epoch) == (1, 1)
    assert outcome.trainable_parameters == outcome.model.count_params() - 2 * 8
    # Moving statistics, and a mask, a threshold and a step for each of the four kernels.
    assert outcome.other_parameters == 2 * 8 + (288 + 96 + 120 + 30) + 2 * 4
    assert outcome.accuracy_before is not None
    assert outcome.accuracy_after is not None


def test_zeros_have_no_sign_that_compression_would_have_to_keep(
    half: tuple[Any, Outcome],
) -> None:
    _, outcome = half
    at_once = run_pass(chain(), Prune())
    for model in (outcome.model, at_once.model):
        for kernel in kernels(model).values():
            assert not np.signbit(kernel[kernel == 0]).any()


def test_what_is_left_goes_on_learning(half: tuple[Any, Outcome]) -> None:
    model, outcome = half
    before, after = kernels(model), kernels(outcome.model)
    kept = after["conv"] != 0
    assert not np.isclose(before["conv"][kept], after["conv"][kept], atol=1e-6).any()
    assert not (before["depthwise"] == after["depthwise"]).any()


def test_the_model_given_stays_as_it_is() -> None:
    model = chain()
    before = frozen(model)
    run_pass(model, Prune(0.9, depthwise=True), data=data(), training=FAST)
    run_pass(model, Prune(0.9))
    assert frozen(model) == before


@pytest.mark.parametrize("sparsity", [0.01, 0.3, 0.875, 0.999])
@pytest.mark.parametrize("schedule", ["polynomial", "constant"])
def test_both_schedules_end_at_the_sparsity(schedule: Any, sparsity: float) -> None:
    model = alone(layers.Dense(3, name="dense"), (67,))
    training = replace(FAST, tuning_epochs=2)
    outcome = run_pass(model, Prune(sparsity, schedule), data=vectors(67), training=training)
    (kernel,) = kernels(outcome.model).values()
    assert zeros(kernel) == rounded_zeros(kernel.size, sparsity)


def vectors(width: int, count: int = 32) -> TrainingData:
    rng = np.random.default_rng(0)
    split = rng.random((count, width), "float32"), rng.integers(0, 3, count)
    return TrainingData(split, split, 3)


@pytest.mark.parametrize("epochs", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("batch", [16, 100])
def test_however_few_the_batches_the_zeros_are_there(epochs: int, batch: int) -> None:
    outcome = run_pass(
        alone(layers.Dense(3, name="dense"), (40,)), Prune(0.7), data=vectors(40),
        training=Training(tuning_epochs=epochs, batch_size=batch, patience=0),
    )  # fmt: skip
    assert outcome.trained.epochs == epochs
    assert zeros(kernels(outcome.model)["dense"]) == 84


@pytest.mark.parametrize("epochs", [4, 6])
def test_the_best_epoch_is_never_one_whose_zeros_are_missing(epochs: int) -> None:
    """The model is right to begin with: every further zero makes the loss worse."""
    model = alone(layers.Dense(3, activation="softmax", name="dense"), (40,))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 1, (40, 3)), np.zeros(3)])
    x = rng.normal(0, 1, (64, 40)).astype(np.float32)
    split = x, model.predict(x, verbose=0).argmax(axis=1)
    training = Training(tuning_epochs=epochs, batch_size=100, tuning_learning_rate=1e-5, patience=0)
    outcome = run_pass(model, Prune(0.9), data=TrainingData(split, split, 3), training=training)
    losses = outcome.trained.history["val_loss"]
    assert losses[0] == min(losses) < losses[-1]
    # One batch an epoch: the schedule ends with the batch in the middle.
    assert outcome.trained.best_epoch >= epochs // 2
    assert zeros(kernels(outcome.model)["dense"]) == 108


def test_patience_does_not_end_the_training_before_the_schedule() -> None:
    outcome = run_pass(
        alone(layers.Dense(3, name="dense"), (40,)), Prune(0.7), data=vectors(40),
        training=Training(tuning_epochs=12, batch_size=100, tuning_learning_rate=5.0, patience=1),
    )  # fmt: skip
    assert outcome.trained.best_epoch >= 6
    assert zeros(kernels(outcome.model)["dense"]) == 84


def test_without_data_it_prunes_the_smallest_weights_at_once() -> None:
    model = chain()
    outcome = run_pass(model, Prune(0.75))
    before, after = kernels(model)["conv"], kernels(outcome.model)["conv"]
    assert zeros(after) == 216
    assert np.abs(before[after == 0]).max() <= np.abs(after[after != 0]).min()
    assert (before[after != 0] == after[after != 0]).all()
    assert (outcome.trained.epochs, outcome.accuracy_before, outcome.accuracy_after) == (
        0, None, None,
    )  # fmt: skip


def test_patterns_and_exclusions_choose_the_layers() -> None:
    model = chain()

    def pruned(**options: Any) -> list[str]:
        found = kernels(run_pass(model, Prune(0.5, **options)).model)
        return [name for name, kernel in found.items() if zeros(kernel)]

    assert pruned(where=("*conv", "out")) == ["conv", "out"]
    assert pruned(where=("!hidden", "!o*")) == ["conv", "pointwise"]
    assert pruned(where=("depthwise",), depthwise=True) == ["depthwise"]
    assert pruned(depthwise=True) == ["conv", "depthwise", "pointwise", "hidden", "out"]
    with pytest.raises(RewriteError, match=r"prune\(where='nope'\) matches no layer .* hidden"):
        pruned(where=("nope",))
    with pytest.raises(RewriteError, match=r"finds no kernel to prune .*depthwise=true"):
        pruned(where=("depthwise",))


def groups_of_four(kernel: np.ndarray) -> np.ndarray:
    """Zeros in every full group of four input channels."""
    full = kernel.shape[-2] // 4 * 4
    grouped = np.moveaxis(kernel[..., :full, :], -2, -1)
    return (grouped.reshape(*grouped.shape[:-1], -1, 4) == 0).sum(axis=-1)


@pytest.mark.parametrize("trained", [True, False])
def test_two_in_four_input_channels_are_zero_in_model_and_file(
    trained: bool, tmp_path: Path
) -> None:
    given = data() if trained else None
    outcome = run_pass(chain(), Prune(pattern="2:4"), data=given, training=FAST)
    found = kernels(outcome.model)
    for name in ("conv", "pointwise", "hidden", "out"):
        assert (groups_of_four(found[name]) == 2).all(), name
    # 10 input channels: two groups of four, and two channels that keep their weights.
    assert zeros(found["out"]) == 4 * 3
    assert not (found["out"][8:] == 0).any()
    assert zeros(found["depthwise"]) == 0
    file = export_tflite(outcome.model, Quantize("float32"), tmp_path / "m.tflite")
    conv, _, pointwise, hidden, out = file_kernels(file.path)
    for kernel in (conv, pointwise, hidden, out):
        assert (groups_of_four(kernel) == 2).all()


def test_three_input_channels_have_no_group_of_four_but_one_zero_each() -> None:
    model = alone(layers.Conv2D(4, 3, name="rgb"), (8, 8, 3))
    outcome = run_pass(model, Prune(pattern="2:4"))
    assert ((kernels(outcome.model)["rgb"] == 0).sum(axis=2) == 1).all()
    assert outcome.proof[0].sparsity_asked == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("shape", "pattern", "blocks"), [((8, 12), "4x1", 24), ((8, 12), "2x3", 16), ((9, 5), "4x2", 9)]
)
def test_blocks_of_dense_layers_are_zero_as_a_whole(
    shape: tuple[int, int], pattern: str, blocks: int
) -> None:
    rows, columns = map(int, pattern.split("x"))
    model = alone(layers.Dense(shape[1], name="dense"), (shape[0],))
    outcome = run_pass(model, Prune(0.5, pattern=pattern))
    kernel = kernels(outcome.model)["dense"]
    whole = [
        (kernel[r : r + rows, c : c + columns] == 0).all()
        for r in range(0, shape[0], rows)
        for c in range(0, shape[1], columns)
    ]
    assert len(whole) == blocks
    assert sum(whole) == blocks - round(blocks / 2)
    assert outcome.proof[0].sparsity_asked is not None
    assert outcome.proof[0].sparsity >= outcome.proof[0].sparsity_asked


def test_blocks_leave_convolutions_and_say_so() -> None:
    outcome = run_pass(chain(), Prune(0.5, pattern="2x2"))
    assert {path for path, reason in outcome.skipped if "dense layers" in reason} == {
        "conv", "pointwise",
    }  # fmt: skip


def test_frozen_layers_are_pruned_but_do_not_learn() -> None:
    model = chain()
    model.get_layer("conv").trainable = False
    outcome = run_pass(model, Prune(), data=data(), training=FAST)
    before, after = kernels(model)["conv"], kernels(outcome.model)["conv"]
    kept = after != 0
    assert zeros(after) == 144
    assert (before[kept] == after[kept]).all()
    assert not outcome.model.get_layer("conv").trainable
    learned = kernels(outcome.model)["out"]
    assert not np.isin(learned[learned != 0], kernels(model)["out"]).all()


def test_a_shared_and_a_nested_layer_are_pruned_once() -> None:
    model = MODELS["nested_twice"]()
    given = TrainingData(
        (data(channels=3).train[0], data(channels=3).train[1] % 2),
        (data(channels=3).validation[0], data(channels=3).validation[1] % 2),
        2,
    )
    for training in (FAST, replace(FAST, tuning_epochs=3)):
        outcome = run_pass(model, Prune(0.6), data=given, training=training)
        found = kernels(outcome.model)
        assert zeros(found["twice/conv"]) == rounded_zeros(found["twice/conv"].size, 0.6)
        assert [line.split(":")[0] for line in outcome.changed][:2] == ["stem", "twice/conv"]


def test_a_model_with_nothing_to_prune_is_refused_with_the_reason() -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.ReLU()(image)), name="bare")
    with pytest.raises(RewriteError, match=r"'bare' .it has no convolution and no dense layer"):
        run_pass(model, Prune())
    tiny = alone(layers.Dense(1, name="one"), (1,))
    with pytest.raises(RewriteError, match=r"one: 1 weights are too few for a sparsity of 0.5"):
        run_pass(tiny, Prune())


DIGEST = """
import sys
sys.path.insert(0, sys.argv[1])
import hashlib, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from cascade_runs import chain, cascade
model = cascade(chain(), "PC")[-1].model
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
"""


def digest(model: Any) -> str:
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def test_the_same_seed_gives_the_same_bits(half: tuple[Any, Outcome]) -> None:
    _, outcome = half
    again = run_pass(chain(), Prune(), data=data(), training=FAST)
    assert digest(again.model) == digest(outcome.model)
    other = run_pass(chain(), Prune(), data=data(), training=replace(FAST, seed=1))
    assert digest(other.model) != digest(outcome.model)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_in_another_process() -> None:
    here = str(Path(__file__).parent)
    runs = [
        subprocess.run(
            [sys.executable, "-c", DIGEST, here], capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert runs[0].stdout.split()[-1] == runs[1].stdout.split()[-1]


SHAPES = st.one_of(
    st.tuples(st.just("dense"), st.integers(1, 40), st.integers(1, 12)),
    st.tuples(st.just("conv"), st.integers(1, 6), st.integers(1, 8)),
    st.tuples(st.just("depthwise"), st.integers(1, 8), st.just(1)),
)


@settings(max_examples=25)
@given(SHAPES, st.floats(0.001, 0.999), st.sampled_from(["polynomial", "constant"]))
@example(("dense", 2, 1), 0.5, "polynomial")
@example(("conv", 1, 1), 0.95, "constant")
def test_any_shape_and_sparsity_give_the_exact_count(
    kind: tuple[str, int, int], sparsity: float, schedule: Any
) -> None:
    name, inputs, outputs = kind
    shape: tuple[int, ...] = (inputs,) if name == "dense" else (4, 4, inputs)
    layer = {
        "dense": lambda: layers.Dense(outputs, name="it"),
        "conv": lambda: layers.Conv2D(outputs, 3, name="it"),
        "depthwise": lambda: layers.DepthwiseConv2D(3, name="it"),
    }[name]()
    model = alone(layer, shape)
    size = int(np.prod(layer.kernel.shape))
    step = Prune(sparsity, schedule, depthwise=True)
    if round(size * sparsity) < 1:
        with pytest.raises(RewriteError, match="too few"):
            run_pass(model, step)
        return
    kernel = kernels(run_pass(model, step).model)["it"]
    # The share of weights to keep is rounded in float32, where a half may fall to either side.
    assert abs(zeros(kernel) - rounded_zeros(size, sparsity)) <= (
        1 if abs(size * (1 - sparsity) % 1 - 0.5) < 1e-3 else 0
    )
