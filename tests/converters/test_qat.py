"""Quantisation-aware training: int8 files that keep the zeros and clusters of earlier passes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from cascade_runs import (
    FAST,
    chain,
    data,
    distinct,
    file_kernels,
    kernels,
    operators,
    per_channel,
)
from converter_models import frozen
from keras import layers

from edgekit_converters import (
    ConverterError,
    Outcome,
    Qat,
    Quantize,
    Recipe,
    RewriteError,
    TrainingData,
    TrainingError,
    architecture,
    export_tflite,
    parse_recipe,
    run_pass,
)

LAYERS = ("conv", "depthwise", "pointwise", "hidden", "out")
DEPTHWISE = "prune(0.5, depthwise=true)+cluster(6, per_channel=true, depthwise=true)+qat"
RECIPES = ("Q", "PQ", "CQ", "prune(0.5)+cluster(8)+qat", DEPTHWISE)


@cache
def outcome_of(recipe: str) -> Outcome:
    """The last pass of the recipe; recipes share what they begin with."""
    passes = parse_recipe(recipe).passes
    earlier = passes[:-1]
    model = outcome_of(str(Recipe(earlier))).model if earlier else chain()
    return run_pass(model, passes[-1], before=earlier, data=data(), training=FAST)


def exported(recipe: str, folder: Path, **options: Any) -> Path:
    step = parse_recipe(recipe).export
    model = outcome_of(recipe).model
    images = [data().train[0]]
    return export_tflite(model, step, folder / "m.tflite", representative=images, **options).path


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_proof_tells_what_earlier_passes_asked_for(recipe: str) -> None:
    proofs = {proof.layer: proof for proof in outcome_of(recipe).proof}
    assert tuple(proofs) == LAYERS
    pruned = [name for name, proof in proofs.items() if proof.sparsity_asked is not None]
    clustered = [name for name, proof in proofs.items() if proof.distinct_asked is not None]
    usual = ["conv", "pointwise", "hidden", "out"]
    wanted = {"Q": ([], []), "PQ": (usual, []), "CQ": ([], usual), DEPTHWISE: (LAYERS, LAYERS)}
    assert (pruned, clustered) == tuple(map(list, wanted.get(recipe, (usual, usual))))
    for proof in proofs.values():
        if proof.sparsity_asked is not None:
            assert proof.sparsity >= proof.sparsity_asked >= 0.5
        if proof.distinct_asked is not None:
            counted = proof.distinct_per_channel if proof.per_channel else proof.distinct
            assert 2 <= counted <= proof.distinct_asked
    assert [name for name, proof in proofs.items() if proof.per_channel] == (
        ["conv", "pointwise"] if recipe == DEPTHWISE else []
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_file_is_int8_with_those_zeros_and_values(recipe: str, tmp_path: Path) -> None:
    path = exported(recipe, tmp_path)
    assert operators(path)[-1] == "DEQUANTIZE:FLOAT32"
    assert not [operator for operator in operators(path)[:-1] if ":" in operator]
    found = dict(zip(LAYERS, file_kernels(path), strict=True))
    assert {kernel.dtype for kernel in found.values()} == {np.dtype("int8")}
    for proof in outcome_of(recipe).proof:
        kernel = found[proof.layer]
        assert kernel.size == proof.weights
        if proof.sparsity_asked is not None:
            assert (kernel == 0).mean() >= proof.sparsity_asked
        if proof.distinct_asked is not None and proof.layer != "depthwise":
            assert per_channel(kernel) <= proof.distinct_asked
        if proof.distinct_asked is not None and proof.layer == "depthwise":
            assert per_channel(kernel.reshape(9, 8)) <= proof.distinct_asked


def test_repeated_channels_of_lcrm_are_integers_in_the_file(tmp_path: Path) -> None:
    recipe = "lcrm(multiplier=2, keep_ends=false)+PCQ"
    path = exported(recipe, tmp_path)
    assert "CONCATENATION" in operators(path)
    assert not [operator for operator in operators(path)[:-1] if ":" in operator]
    asked = [proof for proof in outcome_of(recipe).proof if proof.sparsity_asked is not None]
    assert [proof.layer for proof in asked].count("conv_pointwise") == 1
    assert all(proof.sparsity >= 0.5 for proof in asked)


def test_training_moves_centroids_and_kernels() -> None:
    earlier = kernels(outcome_of("C").model)
    used = {proof.layer: proof for proof in outcome_of("CQ").proof}
    assert used["conv"].distinct == distinct(earlier["conv"]) == 16
    trained = outcome_of("CQ").model.trained
    centroids = [w for w in trained.trainable_weights if "centroids" in w.name]
    assert len(centroids) == 4
    values = np.unique(earlier["conv"])
    assert not np.isin(centroids[0].numpy(), values).all()


def test_the_model_given_stays_as_it_is_and_says_what_it_is_made_of() -> None:
    model = chain()
    before = frozen(model)
    outcome = run_pass(model, Qat(), data=data(), training=FAST)
    assert frozen(model) == before
    assert architecture(outcome.model).count_params() == model.count_params()
    assert outcome.model.name == "chain"
    assert outcome.skipped == ()
    assert dict(line.split(": ") for line in outcome.changed)["conv"] == "int8"
    assert outcome.trainable_parameters == model.count_params() - 2 * 8
    assert outcome.other_parameters > 2 * 8


def test_the_file_answers_as_the_rounded_model_does(tmp_path: Path) -> None:
    path = exported("PQ", tmp_path, batch=None)
    interpreter = Interpreter(str(path))
    (source,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(source["index"], [5, 8, 8, 4])
    interpreter.allocate_tensors()
    images = data().validation[0][:5]
    interpreter.set_tensor(source["index"], images)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    wanted = outcome_of("PQ").model.trained.predict(images, verbose=0)
    np.testing.assert_allclose(got, wanted, atol=0.02)


def test_integer_ends(tmp_path: Path) -> None:
    outcome = run_pass(chain(), Qat(io="int"), data=data(), training=FAST)
    images = [data().train[0]]
    file = export_tflite(
        outcome.model, Recipe((Qat("int"),)).export, tmp_path / "m.tflite", representative=images
    )
    interpreter = Interpreter(str(file.path))
    ends = interpreter.get_input_details() + interpreter.get_output_details()
    assert [end["dtype"] for end in ends] == [np.int8, np.int8]
    assert {"QUANTIZE", "DEQUANTIZE:FLOAT32"}.isdisjoint(operators(file.path))


def test_ranges_of_activations_are_those_of_the_data() -> None:
    """TFMOT starts them at -6..6 and a few steps hardly move them."""
    model = chain()
    slow = replace(FAST, tuning_learning_rate=1e-6)
    trained = run_pass(model, Qat(), data=data(), training=slow).model.trained
    ranges = {
        weight.name.split(":")[0]: float(weight)
        for weight in trained.weights
        if weight.name.split(":")[0].endswith(("_min", "_max")) and not weight.shape.rank
    }
    images = data().train[0]
    assert ranges["quantize_layer/quantize_layer_min"] == pytest.approx(0, abs=0.02)
    assert ranges["quantize_layer/quantize_layer_max"] == pytest.approx(2, abs=0.1)
    inner = keras.Model(
        model.inputs[0], [model.get_layer(n).output for n in ("pointwise", "hidden")]
    )
    for name, seen in zip(("pointwise", "hidden"), inner(images, training=True), strict=True):
        (highest,) = (
            value for key, value in ranges.items()
            if key.startswith(f"quant_{name}/") and key.endswith("post_activation_max")
        )  # fmt: skip
        assert highest == pytest.approx(float(np.max(seen)), rel=0.35), name
        assert highest < 5
    assert 6.0 not in ranges.values()


@pytest.mark.parametrize(
    ("recipe", "left"),
    [
        ("prune(0.5)+cluster(6)+qat(where='!conv')", {"conv"}),
        ("prune(0.5)+cluster(6)+qat(where='hidden,out')", {"conv", "pointwise"}),
    ],
)
def test_layers_left_out_stay_float_and_keep_zeros_and_values(
    recipe: str, left: set[str], tmp_path: Path
) -> None:
    outcome = outcome_of(recipe)
    assert left <= {
        path for path, reason in outcome.skipped if reason.startswith("excluded by where")
    }
    found = dict(zip(LAYERS, file_kernels(exported(recipe, tmp_path)), strict=True))
    for proof in outcome.proof:
        kernel = found[proof.layer]
        assert (kernel.dtype == np.float32) == (
            proof.layer in left or (proof.layer == "depthwise" and "pointwise" in left)
        )
        if proof.sparsity_asked is not None:
            assert (kernel == 0).mean() >= 0.5
            assert per_channel(kernel) <= 6
    # TFMOT wraps the layers behind the first rounded one, those it does not round too.
    (conv,) = (
        getattr(layer, "layer", layer)
        for layer in outcome.model.trained.layers
        if layer.name.removeprefix("quant_") == "conv"
    )
    trained = conv.kernel.numpy()
    earlier = kernels(outcome.model.keras)["conv"]
    assert (trained[earlier != 0] != earlier[earlier != 0]).any()
    assert distinct(trained) <= 6


def test_per_channel_clusters_with_channels_that_pruning_nearly_emptied() -> None:
    """Clustering leaves the kernel, whose other channels have many values: so does this pass."""
    model = chain()
    conv = model.get_layer("conv")
    kernel, bias = conv.get_weights()
    kernel[..., 0] *= 1e-3
    conv.set_weights([kernel, bias])
    passes = parse_recipe("prune(0.3)+cluster(4, per_channel=true)+qat").rewrites
    for index, step in enumerate(passes):
        outcome = run_pass(model, step, before=passes[:index], data=data(), training=FAST)
        model = outcome.model
        if index == 1:
            assert "in one channel" in dict(outcome.skipped)["conv"]
    proof = {proof.layer: proof for proof in outcome.proof}
    assert proof["conv"].distinct_asked is None
    assert proof["conv"].sparsity >= 0.3 - 1e-2
    assert proof["hidden"].distinct_asked == 4


def test_without_data_or_epochs_it_says_what_it_needs() -> None:
    with pytest.raises(
        TrainingError,
        match=r"qat of 'chain' needs training data .--data.: it "
        r"learns its rounding\. Without training, int8 needs no more",
    ):
        run_pass(chain(), Qat())  # fmt: skip
    with pytest.raises(TrainingError, match="needs one --tuning-epochs or more"):
        run_pass(chain(), Qat(), data=data(), training=replace(FAST, tuning_epochs=0))


def test_a_model_without_kernels_is_refused() -> None:
    image = keras.Input((8, 8, 4))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(image))
    model = keras.Model(image, x[:, :3], name="bare")
    with pytest.raises(RewriteError, match=r"qat finds no layer with a kernel .*'bare'.*none"):
        run_pass(model, Qat(), data=data(), training=FAST)
    with pytest.raises(RewriteError, match=r"qat\(where='nope'\) matches no layer"):
        run_pass(chain(), Qat(where=("nope",)), data=data(), training=FAST)


@pytest.mark.parametrize("recipe", ["P", "C", "Q"])
@pytest.mark.parametrize("part", ["train", "validation"])
def test_data_with_nan_are_refused(recipe: str, part: str) -> None:
    images, labels = getattr(data(), part)
    broken = images.copy()
    broken[3, 2, 1, 0] = np.nan
    given = replace(data(), **{part: (broken, labels)})
    with pytest.raises(TrainingError, match="hold NaN or infinite values; remove or repair"):
        run_pass(chain(), parse_recipe(recipe).passes[0], data=given, training=FAST)


def test_a_model_of_nan_is_refused_before_the_runtime_crashes_on_it() -> None:
    model = chain()
    layer = model.get_layer("hidden")
    layer.set_weights([np.full(weight.shape, np.nan) for weight in layer.get_weights()])
    with pytest.raises(ConverterError, match="NaN"):
        run_pass(model, Qat(), data=data(), training=FAST)


@pytest.mark.parametrize("recipe", ["P", "C", "Q"])
def test_one_sample_is_enough_to_run(recipe: str) -> None:
    images, labels = data().train
    given = TrainingData((images[:1], labels[:1]), (images[1:2], labels[1:2]), 3)
    outcome = run_pass(chain(), parse_recipe(recipe).passes[0], data=given, training=FAST)
    assert outcome.trained.epochs == 1


@pytest.mark.parametrize("recipe", ["P", "C", "Q"])
def test_data_of_the_wrong_shape_are_refused_in_one_sentence(recipe: str) -> None:
    given = data(channels=3)
    with pytest.raises(ConverterError, match=r"\(8, 8, 3\).*\(8, 8, 4\)"):
        run_pass(chain(), parse_recipe(recipe).passes[0], data=given, training=FAST)


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    first = exported("Q", tmp_path).read_bytes()
    again = run_pass(chain(), Qat(), data=data(), training=FAST)
    images = [data().train[0]]
    file = export_tflite(
        again.model, Quantize("int8"), tmp_path / "n.tflite", representative=images
    )
    assert file.path.read_bytes() == first
