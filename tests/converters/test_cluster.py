"""Clustering: no more distinct values than asked, and zeros of pruning stay where they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from cascade_runs import FAST, cascade, chain, data, distinct, file_kernels, kernels, per_channel
from cascade_runs import zeros as zeros_of
from converter_models import frozen
from hypothesis import example, given, settings
from keras import layers

from edgekit_converters import (
    Cluster,
    Outcome,
    Prune,
    Quantize,
    RecipeError,
    RewriteError,
    Training,
    export_tflite,
    parse_recipe,
    run_pass,
)
from edgekit_converters.proof import LayerProof

INITIALISATIONS = ("kmeans++", "linear", "density", "random")


def dense(kernel: Any) -> Any:
    """A model that is one dense layer with the kernel."""
    kernel = np.asarray(kernel, np.float32)
    layer = layers.Dense(kernel.shape[1], use_bias=False, name="it")
    model = keras.Sequential([keras.Input((kernel.shape[0],)), layer], name="one")
    layer.set_weights([kernel])
    return model


def proofs(outcome: Outcome) -> dict[str, LayerProof]:
    return {proof.layer: proof for proof in outcome.proof}


@pytest.fixture(scope="module")
def eight() -> tuple[Any, Outcome]:
    model = chain()
    return model, run_pass(model, Cluster(8), data=data(), training=FAST)


@pytest.fixture(scope="module")
def pruned() -> Any:
    """A model with half of each kernel zero, the depthwise one included."""
    step = Prune(0.5, depthwise=True)
    return run_pass(chain(), step, data=data(), training=FAST).model


BEFORE = (Prune(0.5, depthwise=True),)


def test_every_taken_kernel_has_no_more_values_than_asked(eight: tuple[Any, Outcome]) -> None:
    _, outcome = eight
    found = kernels(outcome.model)
    for name in ("conv", "pointwise", "hidden", "out"):
        assert 1 < distinct(found[name]) <= 8, name
        assert proofs(outcome)[name].distinct == distinct(found[name])
        assert proofs(outcome)[name].distinct_asked == 8
    assert distinct(found["depthwise"]) == 72
    assert proofs(outcome)["depthwise"].distinct_asked is None


def test_it_says_what_it_changed_and_what_it_left(eight: tuple[Any, Outcome]) -> None:
    model, outcome = eight
    assert outcome.changed[0] == "conv: 288 weights share 8 values"
    assert [path for path, _ in outcome.skipped] == ["depthwise"]
    assert "cluster(depthwise=true)" in outcome.skipped[0][1]
    assert outcome.trained.best_epoch == 1
    # The centroids of four kernels are trained beside the weights.
    assert outcome.trainable_parameters == model.count_params() - 2 * 8 + 4 * 8
    assert outcome.other_parameters == 2 * 8 + (288 + 96 + 120 + 30)
    assert outcome.accuracy_after is not None


def test_the_model_given_stays_as_it_is() -> None:
    model = chain()
    before = frozen(model)
    run_pass(model, Cluster(4, depthwise=True), data=data(), training=FAST)
    run_pass(model, Cluster(4))
    assert frozen(model) == before


def test_centroids_learn(eight: tuple[Any, Outcome]) -> None:
    _, outcome = eight
    at_once = kernels(run_pass(chain(), Cluster(8)).model)
    assert not np.isin(np.unique(kernels(outcome.model)["conv"]), np.unique(at_once["conv"])).all()


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_every_initialisation_holds_the_count_with_and_without_zeros(
    initialisation: Any, pruned: Any
) -> None:
    step = Cluster(6, initialisation, depthwise=True)
    cases: Any = ((chain(), (), None), (pruned, BEFORE, None), (pruned, BEFORE, data()))
    for model, before, given_data in cases:
        outcome = run_pass(model, step, before=before, data=given_data, training=FAST)
        old, new = kernels(model), kernels(outcome.model)
        assert len(outcome.changed) == 5
        for name, kernel in new.items():
            assert 2 <= distinct(kernel) <= 6, name
            if before:
                assert (kernel[old[name] == 0] == 0).all(), name


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_per_channel_gives_each_channel_values_of_its_own(initialisation: Any, pruned: Any) -> None:
    step = Cluster(4, initialisation, per_channel=True)
    cases: Any = ((chain(), (), None), (pruned, BEFORE, data()))
    for model, before, given_data in cases:
        outcome = run_pass(model, step, before=before, data=given_data, training=FAST)
        old, new = kernels(model), kernels(outcome.model)
        assert per_channel(new["conv"]) <= 4 < distinct(new["conv"])
        # Other kinds of layers have one set of values, per channel or not.
        assert distinct(new["hidden"]) <= 4
        proof = proofs(outcome)["conv"]
        assert (proof.distinct_per_channel, proof.per_channel) == (per_channel(new["conv"]), True)
        assert "4 values in each channel" in outcome.changed[0]
        if before:
            assert all((new[name][old[name] == 0] == 0).all() for name in new)


def test_pruned_kernels_that_clustering_leaves_keep_their_zeros(pruned: Any) -> None:
    step = Cluster(16, where=("!hidden",))
    training = replace(FAST, tuning_epochs=2)
    outcome = run_pass(pruned, step, before=BEFORE, data=data(), training=training)
    old, new = kernels(pruned), kernels(outcome.model)
    assert dict(outcome.skipped) == {
        "depthwise": "depthwise kernel: few weights, all of them needed; cluster(depthwise=true) "
        "takes it",
        "hidden": "excluded by where",
        "out": "pruning left 15 weights, fewer than the 16 centroids",
    }
    for name in ("depthwise", "hidden", "out"):
        assert (new[name][old[name] == 0] == 0).all(), name
        assert (new[name] != old[name]).any(), name
    assert proofs(outcome)["hidden"].sparsity_asked == 0.5
    assert proofs(outcome)["hidden"].distinct_asked is None


def test_the_zeros_and_values_are_in_the_file_too(pruned: Any, tmp_path: Path) -> None:
    outcome = run_pass(pruned, Cluster(8), before=BEFORE, data=data(), training=FAST)
    file = export_tflite(outcome.model, Quantize("float32"), tmp_path / "m.tflite")
    conv, depthwise, pointwise, hidden, out = file_kernels(file.path)
    # The batch normalisation is folded into the first one, channel by channel.
    assert per_channel(conv) <= 8
    assert all(distinct(kernel) <= 8 for kernel in (pointwise, hidden, out))
    assert all((kernel == 0).mean() >= 0.5 for kernel in (conv, depthwise, pointwise, hidden, out))


def test_layers_with_too_few_weights_are_left_and_named() -> None:
    outcome = run_pass(chain(), Cluster(100))
    assert dict(outcome.skipped) == {
        "depthwise": "depthwise kernel: few weights, all of them needed; cluster(depthwise=true) "
        "takes it",
        "pointwise": "has 96 weights, no more than the 100 centroids",
        "out": "has 30 weights, no more than the 100 centroids",
    }
    found = kernels(outcome.model)
    assert distinct(found["conv"]) <= 100
    assert distinct(found["pointwise"]) == 96


def test_more_centroids_than_any_kernel_has_weights_is_refused() -> None:
    with pytest.raises(
        RewriteError,
        match=r"cluster\(300\) finds no kernel to cluster .*conv: has "
        r"288 weights, no more than the 300 centroids; .* leave cluster out\.",
    ):
        run_pass(chain(), Cluster(300))  # fmt: skip


def test_a_model_without_kernels_is_refused() -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(image), name="bare")
    with pytest.raises(RewriteError, match=r"'bare' .it has no convolution and no dense layer"):
        run_pass(model, Cluster(), data=data(channels=3), training=FAST)


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
@pytest.mark.parametrize("after_pruning", [False, True])
def test_a_channel_of_zeros_only(initialisation: Any, after_pruning: bool) -> None:
    model = chain()
    conv = model.get_layer("conv")
    kernel, bias = conv.get_weights()
    kernel[..., 3] = 0
    conv.set_weights([kernel, bias])
    before: tuple[Any, ...] = ()
    if after_pruning:
        before = (Prune(0.25),)
        model = run_pass(model, before[0]).model
    for each in (False, True):
        step = Cluster(4, initialisation, per_channel=each)
        outcome = run_pass(model, step, before=before)
        new = kernels(outcome.model)["conv"]
        if each and after_pruning:
            assert dict(outcome.skipped)["conv"].startswith("pruning left 0 weights in one channel")
        else:
            assert (per_channel(new) if each else distinct(new)) <= 4
        if after_pruning:
            assert (new[..., 3] == 0).all()


def test_the_same_seed_gives_the_same_bits(eight: tuple[Any, Outcome]) -> None:
    _, outcome = eight
    again = run_pass(chain(), Cluster(8), data=data(), training=FAST)
    assert frozen(again.model)[1] == frozen(outcome.model)[1]
    drawn = [run_pass(chain(), Cluster(8, "random")).model for _ in range(2)]
    assert frozen(drawn[0])[1] == frozen(drawn[1])[1]


def test_behind_pruning_two_centroids_are_refused_when_the_recipe_is_written() -> None:
    with pytest.raises(RecipeError, match="3 centroids or more"):
        parse_recipe("P+cluster(2)")
    outcome = cascade(chain(), "P+cluster(3)")[-1]
    assert distinct(kernels(outcome.model)["conv"]) <= 3
    assert zeros_of(kernels(outcome.model)["conv"]) >= 144


def test_the_values_of_frozen_layers_learn_and_it_says_so() -> None:
    model = chain()
    for name in ("conv", "hidden"):
        model.get_layer(name).trainable = False
    outcome = run_pass(model, Cluster(8), data=data(), training=FAST)
    found = kernels(outcome.model)
    assert distinct(found["conv"]) <= 8
    assert distinct(found["hidden"]) <= 8
    told = dict(line.split(": ") for line in outcome.changed)
    assert [name for name, what in told.items() if "was frozen, now trained" in what] == [
        "conv",
        "hidden",
    ]
    assert not outcome.model.get_layer("conv").trainable
    assert not model.get_layer("conv").trainable


@pytest.mark.parametrize("epochs", [0, 2])
def test_the_epochs_are_the_tuning_ones(epochs: int) -> None:
    training = Training(epochs=7, tuning_epochs=epochs, batch_size=100)
    outcome = run_pass(chain(), Cluster(5), data=data(), training=training)
    assert outcome.trained.epochs == epochs
    assert outcome.accuracy_after is not None
    assert distinct(kernels(outcome.model)["conv"]) <= 5


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 10)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-6, 1.0, 1e4]),
    st.integers(3, 40),
    st.sampled_from(INITIALISATIONS),
    st.one_of(st.none(), st.floats(0.1, 0.95)),
)
@example((4, 4), 0, 1.0, 8, "kmeans++", 0.5)
@example((4, 4), 0, 1.0, 8, "density", 0.5)
@example((30, 10), 1, 1.0, 16, "random", 0.9)
def test_any_kernel_and_count(
    shape: tuple[int, int], seed: int, scale: float, count: int, initialisation: Any,
    sparsity: float | None,
) -> None:  # fmt: skip
    model = dense(np.random.default_rng(seed).normal(0, scale, shape))
    before: tuple[Any, ...] = ()
    size = shape[0] * shape[1]
    if sparsity is not None and round(size * sparsity) >= 1:
        before = (Prune(sparsity),)
        model = run_pass(model, before[0]).model
    old = kernels(model)["it"]
    nonzero = size - zeros_of(old)
    step = Cluster(count, initialisation)
    if size <= count or (before and nonzero < count):
        with pytest.raises(RewriteError, match="finds no kernel to cluster"):
            run_pass(model, step, before=before)
        return
    outcome = run_pass(model, step, before=before)
    new = kernels(outcome.model)["it"]
    assert distinct(new) <= count
    if before:
        assert (new[old == 0] == 0).all()


@settings(max_examples=10)
@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0]), min_size=24, max_size=24),
    st.sampled_from(INITIALISATIONS),
)
def test_kernels_of_few_values(values: list[float], initialisation: Any) -> None:
    """Fewer distinct values than centroids, all of one sign, or all the same."""
    model = dense(np.reshape(values, (6, 4)))
    if not any(values):
        return
    new = kernels(run_pass(model, Cluster(8, initialisation)).model)["it"]
    assert distinct(new) <= 8
    assert np.isfinite(new).all()
