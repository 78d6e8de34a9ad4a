"""The proof of a file: what the converter wrote is counted, named, held against what was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from cascade_runs import cascade, data
from converter_models import MODELS, randomise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers
from proved_files import KINDS, VALUES, by_layer, filled, keras_proofs, written

from edgekit_converters import ProofError, Quantize, export_tflite
from edgekit_converters.file_proof import prove_file
from edgekit_converters.graph import read_graph
from edgekit_converters.passes import SCHEMES
from edgekit_converters.proof import LayerProof


@pytest.mark.parametrize("scheme", SCHEMES)
def test_zeros_and_distinct_values_are_counted_exactly(scheme: str, tmp_path: Path) -> None:
    model = filled()
    asked = keras_proofs(model, sparsity_asked=0.5, distinct_asked=4)
    proof = prove_file(written(model, tmp_path, scheme), asked)
    found = by_layer(proof)
    assert set(found) == set(KINDS)
    for kernel in asked:
        got = found[kernel.layer]
        assert got.weights == kernel.weights
        assert round(got.sparsity * got.weights) == kernel.weights // 2
        assert got.distinct_per_channel == kernel.distinct_per_channel == 4
        small = scheme == "dynamic"  # kernels below 1024 weights stay as they are
        kind = "float32" if small else {"float32": "float32", "float16": "float16"}.get(scheme)
        assert got.dtype == (kind or "int8")
    assert found["conv"].distinct > 4 or scheme in ("int8", "int16x8")  # folded: scaled per channel


@pytest.mark.parametrize("scheme", SCHEMES)
def test_operators_are_told_by_what_they_compute_in(scheme: str, tmp_path: Path) -> None:
    proof = prove_file(written(filled(), tmp_path, scheme))
    integers = proof.operators if scheme in ("int8", "int16x8") else 0
    assert proof.operators >= 7
    assert (proof.integer_operators, proof.floats) == (integers, ())


def test_integers_that_are_only_stored_leave_a_file_in_float(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((64,)), layers.Dense(32, name="wide")], name="stored")
    proof = prove_file(written(model, tmp_path, "dynamic"), keras_proofs(model))
    assert by_layer(proof)["wide"].dtype == "int8"
    assert (proof.operators, proof.integer_operators, proof.floats) == (1, 0, ())


def test_shape_arithmetic_does_not_count(tmp_path: Path) -> None:
    steps = [layers.Conv2D(8, 3), layers.Reshape((-1, 8)), layers.Conv1D(3, 2)]
    model = keras.Sequential([keras.Input((8, 8, 4)), *steps], name="open")
    fixed = prove_file(written(model, tmp_path, "float32"))
    proof = prove_file(written(model, tmp_path, "float32", batch=None))
    assert proof.integer_operators == 0
    assert fixed.operators <= proof.operators <= fixed.operators + 2  # reshapes of values


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"recurrent"}))
def test_kernels_are_named_by_their_keras_path(name: str, tmp_path: Path) -> None:
    model = randomise(MODELS[name]())
    wanted = keras_proofs(model)
    for scheme in ("float32", "int8"):
        proof = prove_file(written(model, tmp_path, scheme), wanted)
        assert set(by_layer(proof)) == {kernel.layer for kernel in wanted}


def test_equal_names_inside_nested_models_stay_apart(tmp_path: Path) -> None:
    def inner(name: str, filters: int) -> Any:
        return keras.Sequential(
            [keras.Input((6, 6, 3)), layers.Conv2D(filters, 1, name="conv")], name=name
        )

    image = keras.Input((6, 6, 3))
    x = inner("b", 3)(inner("a", 3)(image))
    model = keras.Model(image, layers.Conv2D(3, 1, name="conv")(x), name="equal")
    values = {"a/conv": 1.0, "b/conv": 2.0, "conv": 3.0}
    for call in read_graph(model).calls:
        call.layer.kernel.assign(np.full(call.layer.kernel.shape, 0.0))
        first = np.zeros(call.layer.kernel.shape)
        first[0, 0, : int(values[call.path]), 0] = 1.0
        call.layer.kernel.assign(first)
    proof = prove_file(written(model, tmp_path), keras_proofs(model))
    ones = {layer: round((1 - got.sparsity) * 9) for layer, got in by_layer(proof).items()}
    assert ones == values


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(["d", "d_1", "d_2", "d_1_1"]), known=st.integers(1, 4))
def test_a_kernel_is_never_given_to_another_layer(
    order: list[str], known: int, tmp_path: Path
) -> None:
    steps = [layers.Dense(4, name=name) for name in order]
    model = keras.Sequential([keras.Input((4,)), *steps], name="numbers")
    for zeros, layer in enumerate(model.layers):
        kernel = np.ones(16)
        kernel[:zeros] = 0.0
        layer.kernel.assign(kernel.reshape(4, 4) * (zeros + 1))
    proof = prove_file(written(model, tmp_path), keras_proofs(model)[:known])
    for tensor in proof.weights:
        assert tensor.layer in ("", order[round(tensor.sparsity * 16)])
    if known == 4:
        assert set(by_layer(proof)) == set(order)


def test_layers_of_tf_keras_have_their_names_unnumbered(tmp_path: Path) -> None:
    block = tf_keras.Sequential(
        [tf_keras.layers.Conv2D(4, 3, padding="same", name="conv")], "block"
    )
    twin = tf_keras.layers.Conv2D(4, 3, padding="same", name="twin")
    image = tf_keras.Input((8, 8, 4))
    x = tf_keras.layers.Conv2D(4, 3, padding="same", name="twin_1")(twin(twin(block(image))))
    path = tmp_path / "old.tflite"
    converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.Model(image, x, name="old"))
    path.write_bytes(converter.convert())
    asked = [LayerProof(name, 144, 0.0, 144, 36) for name in ("block/conv", "twin", "twin_1")]
    assert [tensor.layer for tensor in prove_file(path, asked).weights] == [
        "block/conv",
        "twin",
        "twin_1",
    ]


def test_an_embedding_counts_as_a_kernel(tmp_path: Path) -> None:
    words = keras.Input((6,), dtype="int32")
    model = keras.Model(words, layers.Dense(2)(layers.Embedding(30, 4)(words)), name="words")
    proof = prove_file(written(model, tmp_path), [])
    assert sorted(tensor.weights for tensor in proof.weights) == [8, 120]
    assert {tensor.layer for tensor in proof.weights} == {""}


def test_lost_zeros_break_the_proof(tmp_path: Path) -> None:
    model = filled()
    path = written(model, tmp_path, "int8")
    more = keras_proofs(model, sparsity_asked=0.75)
    with pytest.raises(ProofError, match=r"'conv' in filled.tflite has 50\.00% zeros, .*75\.00%"):
        prove_file(path, more)
    one_weight = [
        LayerProof("conv", 288, 0.5, 4, 4, sparsity_asked=0.5 + 1 / 288),
        LayerProof("hidden", 72, 0.5, 4, 4, sparsity_asked=0.5 + 2 / 72),
    ]
    with pytest.raises(ProofError, match=r"'hidden'.*where='!hidden'"):
        prove_file(path, one_weight)
    assert prove_file(path, one_weight[:1])


def test_a_kernel_that_became_all_zero_breaks_the_proof(tmp_path: Path) -> None:
    model = filled()
    before = keras_proofs(model)
    model.get_layer("two").kernel.assign(np.zeros((1, 1, 6, 7)))
    path = written(model, tmp_path)
    with pytest.raises(ProofError, match=r"'two' in filled.tflite is all zero, but 50\.00%"):
        prove_file(path, before)
    prove_file(path, keras_proofs(model))  # as it was in Keras


def test_a_normalisation_before_a_clustered_dense_layer_breaks_its_clusters(
    tmp_path: Path,
) -> None:
    model = scaled(layers.Dense(6, name="behind"))
    model.get_layer("behind").kernel.assign(np.resize(VALUES[1:], (8, 6)))
    with pytest.raises(ProofError, match=r"'behind'.* in one output channel, but 3 were asked"):
        prove_file(written(model, tmp_path), keras_proofs(model, distinct_asked=3)[1:])


def scaled(*behind: Any) -> Any:
    first = layers.Dense(8, activation="relu", name="first")
    steps = [keras.Input((16,)), first, layers.BatchNormalization(name="bn"), *behind]
    return randomise(keras.Sequential(steps, name="scaled"))


def test_a_kernel_that_the_file_does_not_name_stays_without_a_layer(tmp_path: Path) -> None:
    model = scaled(layers.Dense(6, name="behind"), layers.BatchNormalization())
    path = written(model, tmp_path)
    proof = prove_file(path, keras_proofs(model))
    assert [tensor.layer for tensor in proof.weights] == ["first", ""]
    assert proof.not_found == ()
    assert prove_file(path, keras_proofs(model, distinct_asked=128)).not_found == ("behind",)


def test_a_float_island_is_listed_with_its_conversions(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, name="conv"),
            layers.ELU(name="elu"),
            layers.Conv2D(4, 3, name="last"),
        ],
        name="island",
    )
    proof = prove_file(written(model, tmp_path, "int8"), keras_proofs(model))
    assert (proof.operators, proof.integer_operators) == (5, 2)
    assert [(item.operator, item.reason) for item in proof.floats] == [
        ("DEQUANTIZE", "needed by ELU: the converter kept it in float"),
        ("ELU", "the converter kept it in float"),
        ("QUANTIZE", "needed by ELU: the converter kept it in float"),
    ]
    assert "elu" in proof.floats[1].tensor


def rounded() -> Any:
    """Nested, separable, transposed and carried layers."""
    image = keras.Input((8, 8, 4), name="image")
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(6, 3, name="conv")], name="in")
    x = layers.SeparableConv2D(6, 3, name="sep")(layers.ReLU()(inner(image)))
    x = layers.Conv2DTranspose(5, 3, name="up")(x)
    x = layers.GlobalAveragePooling2D()(layers.PReLU(name="slopes")(x))
    return keras.Model(image, layers.Dense(3, activation="softmax", name="conv")(x), name="rounded")


@pytest.mark.slow
def test_quantisation_aware_training_is_proved_with_its_reasons(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    outcome = cascade(rounded(), "prune(0.5)+cluster(4)+qat(where='!in/conv')")[-1]
    path = tmp_path / "rounded.tflite"
    export_tflite(outcome.model, Quantize("int8"), path, representative=[data().train[0]])
    reasons = dict(outcome.skipped)
    proof = prove_file(path, outcome.proof, reasons)
    named = [tensor.layer for tensor in proof.weights]
    assert named == ["in/conv", "sep", "sep", "up", "conv"]
    asked = [kernel for kernel in outcome.proof if kernel.sparsity_asked]
    assert len(asked) == 4
    for kernel in asked:
        (got,) = (
            t for t in proof.weights if (t.layer, t.weights) == (kernel.layer, kernel.weights)
        )
        assert got.sparsity >= kernel.sparsity
        assert got.distinct_per_channel <= 4
    told = {item.operator: item.reason for item in proof.floats}
    assert told["CONV_2D"] == reasons["in/conv"]
    assert told["CONV_2D"].startswith("excluded by where")
    assert proof.integer_operators + len(proof.floats) == proof.operators
