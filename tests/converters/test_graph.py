"""A Keras graph as plain values, and the promise that the caller's model stays as it is."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from converter_models import MODELS, frozen, samples
from keras import layers

from edgekit_converters import (
    Lcrm,
    Quantize,
    apply_lcrm,
    export_tflite,
    fingerprint,
    inspect_model,
    run_pass,
)
from edgekit_converters.graph import input_keys, output_keys, read_graph


def test_nested_models_are_opened_and_their_layers_have_paths() -> None:
    types = {call.path: type(call.layer).__name__ for call in read_graph(MODELS["nested"]()).calls}
    assert list(types.values()) == ["Conv2D", "Conv2D", "ReLU", "Add", "Flatten", "Dense"]
    assert list(types)[:3] == ["stem", "middle/block/conv", "middle/block/relu"]
    assert list(types)[3].startswith("middle/add")
    assert "/" not in "".join(list(types)[4:])


def test_a_nested_model_called_twice_appears_twice() -> None:
    graph = read_graph(MODELS["nested_twice"]())
    assert [call.path for call in graph.calls][:5] == [
        "stem", "twice/conv", "twice/relu", "twice/conv", "twice/relu",
    ]  # fmt: skip
    first, second = (call for call in graph.calls if call.path == "twice/conv")
    assert first.layer is second.layer
    assert graph.times_called()[id(first.layer)] == 2
    assert second.inputs == next(c for c in graph.calls if c.path == "twice/relu").outputs


def test_a_shared_layer_is_counted_once_per_call() -> None:
    graph = read_graph(MODELS["shared"]())
    times = {call.layer.name: graph.times_called()[id(call.layer)] for call in graph.calls}
    assert (times["twin"], times["own"]) == (2, 1)


@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_is_made_before_it_is_read(name: str) -> None:
    graph = read_graph(MODELS[name]())
    made = set(graph.inputs)
    for call in graph.calls:
        assert made.issuperset(call.inputs), call.path
        assert len(call.inputs) == len(call.input_shapes)
        assert not made.intersection(call.outputs)
        made.update(call.outputs)
    assert made.issuperset(graph.outputs)


def test_inputs_and_outputs_keep_the_models_order() -> None:
    model = MODELS["two_by_two"]()
    graph = read_graph(model)
    readers = {call.inputs[0]: call.layer.name for call in graph.calls if len(call.inputs) == 1}
    assert readers[graph.inputs[0]].startswith("conv2d")
    makers = {call.outputs[0]: call.layer.name for call in graph.calls}
    assert [makers[number] for number in graph.outputs] == ["right", "left"]
    assert input_keys(model) == ["zebra", "ant"]
    assert output_keys(model) == ["right", "left"]


def test_names_in_the_file_are_unique_words() -> None:
    one, two = keras.Input((2,), name="a-b"), keras.Input((2,), name="a.b")
    dense = layers.Dense(2, name="out")
    model = keras.Model([one, two], [dense(one), dense(two)])
    assert len(set(input_keys(model))) == 2
    assert len(set(output_keys(model))) == 2
    assert all(key.isidentifier() for key in input_keys(model) + output_keys(model))


@pytest.mark.parametrize("name", MODELS)
def test_looking_and_rewriting_leave_the_model_as_it_is(name: str) -> None:
    model = MODELS[name]()
    before, key = frozen(model), fingerprint(model)
    inspect_model(model)
    for style in ("equations", "table4", "notebook"):
        rewritten, _ = apply_lcrm(model, style=style, keep_ends=False)
        rewritten.set_weights([weight + 1 for weight in rewritten.get_weights()])
    run_pass(model, Lcrm())
    assert frozen(model) == before
    assert fingerprint(model) == key


@pytest.mark.parametrize("scheme", ["float32", "int8"])
@pytest.mark.parametrize("name", ["sequential", "two_by_two", "nested_twice"])
def test_exporting_leaves_the_model_as_it_is(name: str, scheme: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    before = frozen(model)
    export_tflite(model, Quantize(scheme), tmp_path / "m.tflite", representative=samples(model, 8))
    assert frozen(model) == before


def test_a_fingerprint_follows_weights_and_architecture() -> None:
    model, other = MODELS["sequential"](), MODELS["skip"]()
    key = fingerprint(model)
    assert fingerprint(other) != key
    model.set_weights([weight + 1e-3 for weight in model.get_weights()])
    assert fingerprint(model) != key
