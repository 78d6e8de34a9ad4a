"""Training on an NPU's grid: what stands in the int8 file, counted there, and what it computes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from cascade_runs import CLASSES, FAST, chain, data, file_kernels, operators, per_channel
from converter_models import frozen
from keras import layers
from refused_models import build

from edgekit_converters import (
    NpuQat,
    Outcome,
    ProofError,
    Quantize,
    Recipe,
    RewriteError,
    TrainingError,
    export_tflite,
    load_stage,
    parse_recipe,
    prove_file,
    run_pass,
    save_stage,
)
from edgekit_converters.cascades.grid import GridActivation, best_reach, operand, put_on_grid, snap
from edgekit_converters.cascades.ranges import calibrate
from edgekit_converters.cascades.rounded import prepare
from edgekit_converters.proof import LayerProof, count_bits

LAYERS = ("conv", "depthwise", "pointwise", "hidden", "out")


@cache
def outcome_of(recipe: str) -> Outcome:
    """The last pass of the recipe; recipes share what they begin with."""
    passes = parse_recipe(recipe).passes
    earlier = passes[:-1]
    model = outcome_of(str(Recipe(earlier))).model if earlier else chain()
    return run_pass(model, passes[-1], before=earlier, data=data(), training=FAST)


def exported(model: Any, folder: Path, io: Any = "float") -> Path:
    images = [data().train[0]]
    path = folder / "m.tflite"
    return export_tflite(model, Quantize("int8", io), path, representative=images).path


def on_grid(codes: np.ndarray, bits: int) -> bool:
    size = 2 ** (8 - bits)
    return bool((codes % size == 0).all() and (np.abs(codes.astype(int)) <= 128 - size).all())


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_every_kernel_in_the_file_lies_on_the_grid(bits: int, tmp_path: Path) -> None:
    outcome = outcome_of(f"npu_qat({bits})")
    path = exported(outcome.model, tmp_path)
    assert not [operator for operator in operators(path)[:-1] if ":" in operator]
    found = dict(zip(LAYERS, file_kernels(path), strict=True))
    for proof in outcome.proof:
        codes = found[proof.layer]
        assert codes.dtype == np.int8
        assert on_grid(codes, bits)
        assert proof.bits_asked == bits
        assert proof.levels is not None
        assert proof.levels_asked == 2**bits - 1 >= proof.levels >= 2
        # A batch normalisation with a negative factor may have turned the codes' signs.
        assert len(np.unique(np.abs(codes))) <= proof.levels
    proof = prove_file(path, outcome.proof)
    assert proof.not_found == ()
    assert {tensor.layer: tensor.bits for tensor in proof.weights} == dict.fromkeys(LAYERS, bits)


def test_negative_batch_normalisation_keeps_the_grid(tmp_path: Path) -> None:
    model = chain()
    bn = model.get_layer("bn")
    gamma, *others = bn.get_weights()
    bn.set_weights([np.where(np.arange(8) % 2, -gamma, 0.3 * gamma), *others])
    outcome = run_pass(model, NpuQat(3), data=data(), training=FAST)
    assert all(on_grid(codes, 3) for codes in file_kernels(exported(outcome.model, tmp_path)))


MODELS = ("transposed", "squeeze_excite", "nested_twice", "custom", "bn_behind_add", "hard_swish")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_on_graphs_that_tfmot_does_not_know(name: str, tmp_path: Path) -> None:
    model = build(name)
    before = frozen(model)
    outcome = run_pass(model, NpuQat(4, 6), data=data(), training=FAST)
    assert frozen(model) == before
    path = exported(outcome.model, tmp_path)
    rounded = [proof for proof in outcome.proof if proof.bits_asked == 4]
    assert rounded
    kernels = [codes for codes in file_kernels(path) if codes.dtype == np.int8]
    assert len(kernels) >= len(rounded)
    assert all(on_grid(codes, 4) for codes in kernels)
    assert prove_file(path, outcome.proof).not_found == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ["P+npu_qat(4)", "C+npu_qat(4)", "prune(0.5)+cluster(6, per_channel=true)+npu_qat(5)"]
)
def test_zeros_and_clusters_stay(recipe: str, tmp_path: Path) -> None:
    outcome = outcome_of(recipe)
    path = exported(outcome.model, tmp_path)
    found = dict(zip(LAYERS, file_kernels(path), strict=True))
    asked = 0
    for proof in outcome.proof:
        codes = found[proof.layer]
        assert on_grid(codes, proof.bits_asked or 0)
        if proof.sparsity_asked is not None:
            assert (codes == 0).mean() >= proof.sparsity_asked >= 0.5
        if proof.distinct_asked is not None:
            assert per_channel(codes) <= proof.distinct_asked
        asked += (proof.sparsity_asked, proof.distinct_asked) != (None, None)
    assert asked == 4
    assert prove_file(path, outcome.proof).not_found == ()


def test_a_code_beside_the_grid_is_an_error(tmp_path: Path) -> None:
    outcome = outcome_of("npu_qat(4)")
    path = exported(outcome.model, tmp_path)
    content = bytearray(path.read_bytes())
    codes = np.moveaxis(file_kernels(path)[3], -1, 0).tobytes()
    place = bytes(content).find(codes)
    assert place > 0
    content[place + 5] ^= 8
    path.write_bytes(bytes(content))
    with pytest.raises(ProofError, match=r"'hidden' in m\.tflite has int8 codes that need 5 bits"):
        prove_file(path, outcome.proof)


@pytest.mark.parametrize(
    ("codes", "bits"), [([0, 0], 1), ([64, -64], 2), ([-128], 1), ([32, 96, 0], 3), ([127, 64], 8)]
)
def test_bits_are_counted_on_codes(codes: list[int], bits: int) -> None:
    assert count_bits(np.array(codes, np.int8)) == bits


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize(("smallest", "largest"), [(0.0, 6.0), (-1.3, 2.9), (-4.0, 0.0)])
def test_activations_are_rounded_as_the_npu_does(
    bits: int, smallest: float, largest: float
) -> None:
    scale = (largest - smallest) / 255
    zero = round(-smallest / scale) - 128
    codes = np.arange(-128, 128)

    def coarse(code: Any) -> Any:
        if bits == 8:
            return code
        shifted = (code + (1 << (7 - bits))) >> (8 - bits)
        return np.clip(shifted, -(1 << (bits - 1)), (1 << (bits - 1)) - 1) << (8 - bits)

    real = tf.constant((codes - zero) * scale, tf.float32)
    got = operand(real, tf.constant(smallest), tf.constant(largest), bits)
    np.testing.assert_allclose(got, (coarse(codes) - coarse(np.array(zero))) * scale, atol=1e-5)
    assert len(np.unique(np.round(got / scale))) == 2**bits


def test_gradients_pass_and_the_reach_is_learned() -> None:
    kernel, reach = tf.constant([0.1, -0.34, 0.9, 2.0]), tf.constant(0.7)
    with tf.GradientTape() as tape:
        tape.watch([kernel, reach])
        rounded = snap(kernel, reach, 4)
        total = tf.reduce_sum(rounded)
    np.testing.assert_allclose(rounded, [0.1, -0.3, 0.7, 0.7], atol=1e-6)
    of_kernel, of_reach = tape.gradient(total, [kernel, reach])
    np.testing.assert_allclose(of_kernel, [1, 1, 0, 0])
    # Clipped weights move with the reach; the others' rounding error does so in part.
    assert of_reach.numpy() == pytest.approx(2 + (1 - 1) / 7 + (-3 + 3.4) / 7, abs=1e-5)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_first_reach_is_the_nearest_grid_and_no_channel_has_a_scale_of_zero(bits: int) -> None:
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(3, 3, 8, 4)).astype(np.float32)
    kernel[..., 2] = 0
    reach = best_reach(kernel, bits, per_channel=True)
    assert (reach > 0).all()

    def error(size: Any) -> Any:
        return ((kernel - snap(kernel, size, bits).numpy()) ** 2).sum(axis=(0, 1, 2))

    for factor in (0.8, 0.9, 1.1, 1.25):
        assert (error(reach) <= error(np.float32(factor) * reach) * 1.02).all()
    assert best_reach(kernel, bits, per_channel=False).shape == ()


def test_only_what_kernels_read_is_coarse() -> None:
    """The sum of a skip connection and the logits are no operands of products."""
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", name="first")(image)
    y = layers.ReLU(name="relu")(layers.BatchNormalization()(x))
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="second")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool")(layers.MaxPooling2D(2)(x))
    x = layers.Dense(5, activation="relu", name="third")(layers.Dropout(0.1)(x))
    model = keras.Model(image, layers.Dense(CLASSES, name="logits")(x))
    rounded = prepare(model, NpuQat(8, 4), (), 0).rounded
    assert len(put_on_grid(rounded, 8, 4)) == 4
    coarse = set()
    for layer in rounded.layers:
        found = [*getattr(layer, "_output_quantizers", ()), getattr(layer, "quantizer", None)]
        found += [a.quantizer for a in getattr(layer, "_quantize_activations", ())]
        if any(isinstance(quantizer, GridActivation) for quantizer in found):
            coarse.add(layer.name.removeprefix("quant_"))
    assert coarse == {"quantize_layer", "relu", "pool", "third"}


def test_a_dense_layer_trains_on_the_integers_that_the_npu_multiplies() -> None:
    image = keras.Input((8, 8, 4))
    model = keras.Model(image, layers.Dense(CLASSES, name="only")(layers.Flatten()(image)))
    rounded = prepare(model, NpuQat(4, 3), (), 0).rounded
    calibrate(rounded, data(), FAST)
    grid = put_on_grid(rounded, 4, 3)["only"]
    images = data().validation[0]
    got = rounded(images, training=False).numpy()
    ends = {weight.name.split("/")[-1].split(":")[0]: float(weight) for weight in rounded.weights
            if not weight.shape.rank}  # fmt: skip
    low, high = ends["quantize_layer_min"], ends["quantize_layer_max"]
    step = (high - low) / 255
    zero = int(np.rint(-low / step)) - 128
    codes = np.clip(np.rint(images.reshape(len(images), -1) / step) + zero, -128, 127).astype(int)

    def operands(code: Any) -> Any:
        return np.clip((code + 16) >> 5, -4, 3) << 5

    kernel, scale = grid.settled()
    weights = np.rint(kernel / scale).astype(int)
    assert on_grid(weights, 4)
    sums = (operands(codes) - operands(np.array(zero))) @ weights
    wanted = sums * step * scale + np.asarray(model.get_layer("only").bias)
    shown = (ends["post_activation_max"] - ends["post_activation_min"]) / 255
    inside = (wanted > ends["post_activation_min"]) & (wanted < ends["post_activation_max"])
    assert inside.mean() > 0.5
    assert np.abs(got - wanted)[inside].max() < 0.6 * shown
    fine = (codes - zero) @ weights * step * scale
    assert np.abs(fine - wanted).max() > 5 * shown


@pytest.mark.slow
def test_coarse_activations_cost_accuracy_in_training_and_not_in_the_file(tmp_path: Path) -> None:
    """The file's activations have 8 bits: only the NPU drops the others."""
    fine, coarse = outcome_of("npu_qat(8)"), outcome_of("npu_qat(8, activation_bits=2)")
    history = [outcome.trained.history["loss"][0] for outcome in (fine, coarse)]
    assert history[0] != history[1]
    path = exported(coarse.model, tmp_path)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    image = data().validation[0][:1]
    interpreter.set_tensor(source["index"], image)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(got, coarse.model.trained.predict(image, verbose=0), atol=0.02)


@pytest.mark.slow
def test_layers_left_out_stay_float(tmp_path: Path) -> None:
    outcome = run_pass(
        outcome_of("prune(0.5)+cluster(6)").model, NpuQat(4, where=("!conv",)),
        before=parse_recipe("prune(0.5)+cluster(6)").passes, data=data(), training=FAST,
    )  # fmt: skip
    found = dict(zip(LAYERS, file_kernels(exported(outcome.model, tmp_path)), strict=True))
    assert found["conv"].dtype == np.float32
    assert per_channel(found["conv"]) <= 6
    proofs = {proof.layer: proof for proof in outcome.proof}
    assert proofs["conv"].bits_asked is None
    assert proofs["out"].bits_asked == 4


def test_a_stage_read_again_gives_the_same_file(tmp_path: Path) -> None:
    outcome = outcome_of("P+npu_qat(4)")
    folder = tmp_path / "stage"
    folder.mkdir()
    save_stage(outcome.model, folder)
    again = load_stage(folder)
    assert (str(again.step), [str(step) for step in again.before]) == ("npu_qat(4)", ["prune(0.5)"])
    first = exported(outcome.model, tmp_path).read_bytes()
    assert exported(again, folder).read_bytes() == first


def test_the_same_seed_gives_the_same_file_and_integer_ends(tmp_path: Path) -> None:
    step = NpuQat(4, io="int")
    files = []
    for name in ("a", "b"):
        model = run_pass(chain(), step, data=data(), training=FAST).model
        (tmp_path / name).mkdir()
        files.append(exported(model, tmp_path / name, Recipe((step,)).export.io))
    assert files[0].read_bytes() == files[1].read_bytes()
    interpreter = Interpreter(str(files[0]))
    ends = interpreter.get_input_details() + interpreter.get_output_details()
    assert [end["dtype"] for end in ends] == [np.int8, np.int8]


def test_what_it_needs_is_said() -> None:
    with pytest.raises(TrainingError, match=r"npu_qat\(4\) of 'chain' needs training data"):
        run_pass(chain(), NpuQat())
    with pytest.raises(TrainingError, match="needs one --tuning-epochs or more"):
        run_pass(chain(), NpuQat(), data=data(), training=replace(FAST, tuning_epochs=0))
    with pytest.raises(RewriteError, match=r"npu_qat\(where='nope'\) matches no layer"):
        run_pass(chain(), NpuQat(where=("nope",)), data=data(), training=FAST)


def test_old_proofs_read_as_before() -> None:
    proof = LayerProof("a", 3, 0.0, 3, 3)
    assert (proof.levels_asked, proof.asks) == (None, False)
    assert replace(proof, bits_asked=2).levels_asked == 3
