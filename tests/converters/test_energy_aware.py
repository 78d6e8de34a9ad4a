"""Bits and zeros that go where energy is saved, on handwritten digits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from cascade_runs import FAST, chain, data, file_kernels
from keras import layers
from sklearn.datasets import load_digits

from edgekit_converters import (
    NpuQat,
    Outcome,
    Prune,
    Quantize,
    RewriteError,
    Training,
    TrainingData,
    TrainingError,
    classification_objective,
    export_tflite,
    fine_tune,
    prove_file,
    run_pass,
    training_facts,
)
from edgekit_converters.cascades.allocation import allocate
from edgekit_converters.cascades.bits import _BitsAdam
from edgekit_converters.cascades.kernels import kernels, products
from edgekit_converters.complexity import macs
from edgekit_converters.energy import EnergyCosts, EnergyEstimate
from edgekit_converters.graph import read_graph
from edgekit_converters.keras2.bridge import to_tf_keras

TUNED = Training(tuning_epochs=6, tuning_learning_rate=5e-4, batch_size=64, deterministic=True)
FETCHES = EnergyCosts(mac_16bit_j=0.0)
PRODUCTS = EnergyCosts(weight_bit_j=0.0)


@cache
def digits() -> TrainingData:
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    return TrainingData((images[450:], labels[450:]), (images[:450], labels[:450]), 10)


@cache
def trained() -> Any:
    """The first convolutions multiply most, `wide` has most of the weights."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="first"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="second"),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(96, activation="relu", name="wide"),
            layers.Dense(10, activation="softmax", name="out"),
        ],
        name="digits",
    )
    objective = classification_objective(model, 10)
    fine_tune(
        model,
        digits().train,
        digits().validation,
        objective,
        Training(epochs=12, deterministic=True),
    )
    return model


@cache
def learned(weight: float, costs: EnergyCosts = FETCHES, bits: int = 6) -> Outcome:
    step = NpuQat(bits, energy_aware=weight)
    return run_pass(trained(), step, data=digits(), training=replace(TUNED, energy_costs=costs))


def bits_of(outcome: Outcome) -> dict[str, int]:
    return {proof.layer: proof.bits_asked or 0 for proof in outcome.proof}


def energies(costs: EnergyCosts) -> dict[str, float]:
    return {
        call.path: costs.layer_j(macs(call) or 0, int(np.prod(call.layer.kernel.shape)), 6, 8)
        for call in read_graph(trained()).calls
        if hasattr(call.layer, "kernel")
    }


@pytest.mark.slow
@pytest.mark.parametrize("costs", [FETCHES, PRODUCTS], ids=["fetches", "products"])
def test_much_weight_takes_bits_where_most_energy_is(costs: EnergyCosts) -> None:
    outcome, spent = learned(0.9, costs), energies(costs)
    bits = bits_of(outcome)
    order = sorted(spent, key=lambda layer: spent[layer])
    assert bits[order[-1]] == 2
    assert bits[order[0]] >= 5
    assert [bits[layer] for layer in order] == sorted(bits.values(), reverse=True)
    assert outcome.accuracy_before is not None
    assert outcome.accuracy_after is not None
    assert outcome.accuracy_after > outcome.accuracy_before - 0.06
    assert outcome.energy is not None
    assert outcome.energy.before_j == pytest.approx(sum(spent.values()))
    after = sum(spent[layer] * bits[layer] / 6 for layer in spent)
    assert outcome.energy.after_j == pytest.approx(after)
    assert outcome.changed[-1].startswith("all of them: estimated energy of products and weights")
    assert f"wide: int8 on a grid of {bits['wide']} bits" in outcome.changed


@pytest.mark.slow
def test_less_weight_leaves_more_bits() -> None:
    little, much = learned(0.002), learned(0.9)
    assert little.energy is not None
    assert much.energy is not None
    assert much.energy.after_j < little.energy.after_j <= little.energy.before_j
    assert sum(bits_of(little).values()) > sum(bits_of(much).values())


def test_each_kernel_in_the_file_lies_on_its_own_grid(tmp_path: Path) -> None:
    outcome = learned(0.9)
    path = tmp_path / "m.tflite"
    images = [digits().train[0]]
    export_tflite(outcome.model, Quantize("int8"), path, representative=images)
    bits = bits_of(outcome)
    assert len(set(bits.values())) > 1
    for codes, wanted in zip(file_kernels(path), bits.values(), strict=True):
        assert (codes.astype(int) % 2 ** (8 - wanted) == 0).all()
        assert (codes.astype(int) % 2 ** (9 - wanted) != 0).any()
    proof = prove_file(path, outcome.proof)
    assert {tensor.layer: tensor.bits for tensor in proof.weights} == bits


@pytest.mark.slow
def test_without_weight_nothing_is_different(tmp_path: Path) -> None:
    assert str(NpuQat(6, energy_aware=0.0)) == str(NpuQat(6)) == "npu_qat(6)"
    files = []
    for number, costs in enumerate((FETCHES, PRODUCTS)):
        step, training = NpuQat(6, energy_aware=0), replace(FAST, energy_costs=costs)
        outcome = run_pass(chain(), step, data=data(), training=training)
        assert outcome.energy is None
        assert set(bits_of(outcome).values()) == {6}
        path, images = tmp_path / f"{number}.tflite", [data().train[0]]
        export_tflite(outcome.model, Quantize("int8"), path, representative=images)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_one_epoch_is_enough_to_run() -> None:
    outcome = run_pass(chain(), NpuQat(3, energy_aware=0.5), data=data(), training=FAST)
    assert outcome.trained.epochs == 1
    assert set(bits_of(outcome).values()) <= {2, 3}


def test_bits_move_in_proportion_to_their_gradients() -> None:
    bits, other = tf.Variable([6.0, 6.0]), tf.Variable(1.0)
    fixed = tf.Variable(0.0)
    optimizer = _BitsAdam(0.1, bits, fixed, 8, 0.2)
    optimizer.build([bits, other])
    for _ in range(5):
        optimizer.apply_gradients([(tf.constant([4.0, 1.0]), bits), (tf.constant(3.0), other)])
    fallen = 6 - bits.numpy()
    assert fallen[0] == pytest.approx(5 * 0.2, rel=1e-3)
    assert fallen[1] == pytest.approx(fallen[0] / 4, rel=1e-3)
    assert other.numpy() == pytest.approx(0.5, rel=1e-3)
    fixed.assign(1.0)
    optimizer.apply_gradients([(tf.constant([4.0, 1.0]), bits), (tf.constant(3.0), other)])
    np.testing.assert_allclose(6 - bits.numpy(), fallen)


def test_products_of_kernels_are_those_of_the_graph() -> None:
    bridged = to_tf_keras(chain())
    counted = {kernel.path: products(kernel) for kernel in kernels(bridged)}
    graph = read_graph(chain())
    assert counted == {call.path: macs(call) for call in graph.calls if call.path in counted}
    assert counted["conv"] == 36 * 9 * 4 * 8


def test_open_sizes_are_refused() -> None:
    image = keras.Input((None, None, 4))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="conv")(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    with pytest.raises(RewriteError, match=r"products of 'conv' cannot be counted.*is open"):
        run_pass(model, Prune(0.5, allocation="energy"))


@pytest.mark.parametrize("costs", [FETCHES, PRODUCTS], ids=["fetches", "products"])
def test_zeros_go_where_energy_is_saved(costs: EnergyCosts) -> None:
    """With random weights of one size the energy of a weight alone decides."""
    model = keras.models.clone_model(trained())
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    found = kernels(to_tf_keras(model))
    shares = allocate(found, Prune(0.5, allocation="energy"), costs)
    sizes = {kernel.layer.name: kernel.values.size for kernel in found}
    zeros = sum(share * sizes[name] for name, share in shares.items())
    assert zeros == pytest.approx(0.5 * sum(sizes.values()), abs=1)
    assert all(0.124 < share < 0.876 for share in shares.values())
    rank = sorted(shares, key=lambda name: shares[name])
    # A weight of a dense layer multiplies once, one of a convolution 64 times.
    assert (rank[-1] == "second") == (costs == PRODUCTS)
    assert set(allocate(found, Prune(0.3), costs).values()) == {0.3}


def test_the_pass_keeps_the_allocation_and_its_proof() -> None:
    outcome = run_pass(trained(), Prune(0.6, allocation="energy"), data=digits(), training=TUNED)
    zeros = [proof.sparsity * proof.weights for proof in outcome.proof]
    assert sum(zeros) == pytest.approx(0.6 * sum(proof.weights for proof in outcome.proof), abs=4)
    assert len({round(proof.sparsity, 2) for proof in outcome.proof}) > 1
    for proof in outcome.proof:
        assert proof.sparsity_asked is not None
        assert proof.sparsity >= proof.sparsity_asked > 0.1
    assert outcome.energy is not None
    assert outcome.energy.after_j < 0.6 * outcome.energy.before_j
    assert outcome.changed[-1].endswith("zeros skipped")
    assert run_pass(trained(), Prune(0.6)).energy is None


def test_costs_are_checked_and_part_of_the_stages_they_matter_to() -> None:
    with pytest.raises(TrainingError, match="mac_16bit_j is -1; give joules, 0 or more"):
        EnergyCosts(mac_16bit_j=-1)
    with pytest.raises(TrainingError, match="both 0; one must cost something"):
        EnergyCosts(0, 0)
    costs = EnergyCosts(2.0, 3.0)
    assert costs.mac_j(4, 8) == 2.0 * 0.25 * 0.5
    assert costs.layer_j(10, 5, 4, 8) == 10 * 0.25 + 5 * 4 * 3.0
    assert str(EnergyEstimate(2.0, 1.5)).endswith("2 J -> 1.5 J per inference (-25.0%)")
    for step, matters in (
        (NpuQat(), False), (NpuQat(energy_aware=0.1), True), (Prune(), False),
        (Prune(allocation="energy"), True),
    ):  # fmt: skip
        facts = [training_facts(step, Training(energy_costs=each)) for each in (FETCHES, PRODUCTS)]
        assert (facts[0] != facts[1]) == matters
