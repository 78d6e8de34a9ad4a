"""Odd graphs, odd lives of interpreters, odd options: right, or refused with a sentence."""

import ctypes
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tflite_file as tf
from chains import Q, chain, conv, same_as_reference
from delegate_models import (
    OPERATORS,
    RUNTIME,
    codes,
    input_tensor,
    invoke,
    need_delegate,
    reference,
    run,
)
from tflite_file import ModelFile

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.delegate import Event, Nepu, events_json, library_path
from edgekit_device.errors import DelegateUnavailableError, ModelError

MODELS = Path(__file__).parent / "models"


@pytest.fixture(scope="module", autouse=True)
def _delegate() -> None:
    need_delegate()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def test_tensors_inside_a_partition_may_be_outputs_too(rng: np.random.Generator) -> None:
    model = chain(rng)
    model.outputs = [out for _, _, (out,), _ in model.nodes]
    inputs = [codes(rng, (1, 6, 6, 4))]
    nepu = Nepu(None, RUNTIME)
    same_as_reference(model.to_bytes(), inputs, nepu)
    assert nepu.coverage().partitions == 1


def test_a_tensor_may_feed_two_nodes_and_outputs_may_stand_in_any_order(
    rng: np.random.Generator,
) -> None:
    model = ModelFile()
    x = input_tensor(model, rng, (1, 6, 6, 4), **Q)
    left, right = conv(model, rng, x), conv(model, rng, x)
    both = model.node(tf.ADD, [left, right], model.tensor((1, 6, 6, 4), **Q), activation=0)
    model.outputs = [both, right, left]
    same_as_reference(model.to_bytes(), [codes(rng, (1, 6, 6, 4))], Nepu(None, RUNTIME))


def test_what_is_left_splits_the_model_and_is_named_with_the_reason(
    rng: np.random.Generator,
) -> None:
    model = chain(rng, tf.TANH)
    nepu = Nepu(None, RUNTIME)
    same_as_reference(model.to_bytes(), [codes(rng, (1, 6, 6, 4))], nepu)
    assert nepu.coverage().summary() == (
        "NEPU: 2 of 3 nodes, 2 partitions\n  on the CPU: 1 x TANH: the NEPU has no such operator"
    )
    assert [(event.node, event.partition) for event in nepu.events()] == [(0, 0), (2, 1)]


def test_a_broken_rule_is_the_reason(rng: np.random.Generator) -> None:
    model, _ = OPERATORS["CONCATENATION"](rng)
    model.tensors[model.inputs[1]] = replace(model.tensors[model.inputs[1]], scales=(0.5,))
    nepu = Nepu(None, RUNTIME)
    with pytest.raises(ModelError):  # the runtime's own kernel refuses it too
        nepu.interpreter(model.to_bytes())
    (left,) = nepu.coverage().left()
    assert left.reason is not None
    assert left.reason.startswith(
        "CONCATENATION: inputs and output share one scale and zero point. Received: 0.500000 and"
    )


def test_a_model_of_which_nothing_is_taken_is_an_error_when_asked() -> None:
    nepu = Nepu(Arithmetic(weight_bits=4), RUNTIME)
    file = MODELS / "batch_of_8.tflite"
    nepu.interpreter(file)
    with pytest.raises(ModelError, match="the NEPU takes none of its nodes"):
        nepu.interpreter(file, require_claims=True)
    Nepu(None, RUNTIME).interpreter(file, require_claims=True)


def test_what_one_interpreter_gave_the_delegate_is_no_claim_of_another(
    rng: np.random.Generator,
) -> None:
    nepu = Nepu(Arithmetic(weight_bits=4), RUNTIME)
    kept = nepu.interpreter(chain(rng).to_bytes(), require_claims=True)
    with pytest.raises(ModelError, match="the NEPU takes none of its nodes: NEPU: 0 of"):
        nepu.interpreter(MODELS / "batch_of_8.tflite", require_claims=True)
    again = nepu.interpreter(chain(rng).to_bytes(), require_claims=True)
    assert nepu.coverage().claimed == 4
    del kept, again
    for _ in range(3):  # where freed ones stood, which the runtime may give out anew
        nepu.interpreter(chain(rng).to_bytes(), require_claims=True)
        with pytest.raises(ModelError, match="the NEPU takes none of its nodes"):
            nepu.interpreter(MODELS / "batch_of_8.tflite", require_claims=True)


def test_float32_stays_on_the_cpu_in_approximate_arithmetic() -> None:
    nepu = Nepu(Arithmetic(weight_bits=4), RUNTIME)
    nepu.interpreter(MODELS / "conv_float32.tflite")
    (reason,) = {node.reason for node in nepu.coverage().left() if node.operator == "CONV_2D"}
    assert reason is not None
    assert reason.startswith("CONV_2D: float32 runs in exact arithmetic only")


def test_another_size_of_the_input_is_taken(rng: np.random.Generator) -> None:
    content = chain(rng, tf.TANH).to_bytes()
    nepu = Nepu(None, RUNTIME)
    ours, theirs = nepu.interpreter(content, reference=True), reference(content)
    for height, width in ((6, 6), (9, 4), (3, 11), (6, 6)):
        x = codes(rng, (2, height, width, 4))
        for interpreter in (ours, theirs):
            index = interpreter.get_input_details()[0]["index"]
            interpreter.resize_tensor_input(index, x.shape)
            interpreter.allocate_tensors()
        np.testing.assert_array_equal(invoke(ours, [x])[0], invoke(theirs, [x])[0])
    assert nepu.coverage().claimed == 2
    assert len(nepu.coverage().nodes) == 3


def test_two_interpreters_share_one_delegate(rng: np.random.Generator) -> None:
    nepu = Nepu(None, RUNTIME)
    made = []
    for _ in range(2):
        content = chain(rng, tf.TANH).to_bytes()
        made.append((nepu.interpreter(content, reference=True), reference(content)))
    problems: list[str] = []

    def work(ours: object, theirs: object, seed: int) -> None:
        draw = np.random.default_rng(seed)
        for _ in range(30):
            x = codes(draw, (1, 6, 6, 4))
            if not np.array_equal(invoke(ours, [x])[0], invoke(theirs, [x])[0]):
                problems.append(f"{seed}")

    threads = [
        threading.Thread(target=work, args=(ours, theirs, seed))
        for seed, (ours, theirs) in enumerate(made)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert {(event.graph, event.node, event.runs) for event in nepu.events()} == {
        (graph, node, 30) for graph in (0, 1) for node in (0, 2)
    }


def test_preparing_again_changes_nothing(rng: np.random.Generator) -> None:
    content = chain(rng, tf.TANH).to_bytes()
    # The runtime's own delegate takes what is left, and has ours prepare again.
    nepu = Nepu(None, RUNTIME)
    interpreter = nepu.interpreter(content)
    x = codes(rng, (1, 6, 6, 4))
    first = invoke(interpreter, [x])[0]
    for _ in range(3):
        interpreter.allocate_tensors()
        np.testing.assert_array_equal(invoke(interpreter, [x])[0], first)


def test_inferences_are_told_apart(rng: np.random.Generator) -> None:
    nepu = Nepu(None, RUNTIME)
    interpreter = nepu.interpreter(chain(rng).to_bytes())
    x = [codes(rng, (1, 6, 6, 4))]
    invoke(interpreter, x)
    nepu.next_inference()
    invoke(interpreter, x)
    invoke(interpreter, x)
    seen = [(event.inference, event.node, event.runs) for event in nepu.events()]
    assert seen == [(0, 0, 1), (0, 1, 1), (1, 0, 2), (1, 1, 2)]
    nepu.reset()
    assert nepu.events() == ()
    invoke(interpreter, x)
    assert [event.inference for event in nepu.events()] == [0, 0]


def test_events_count_what_the_layer_is_made_of(rng: np.random.Generator) -> None:
    nepu = Nepu(None, RUNTIME)
    interpreter = nepu.interpreter(chain(rng).to_bytes())
    invoke(interpreter, [codes(rng, (1, 6, 6, 4))])
    first = nepu.events()[0]
    # Of 36 x 9 positions, those beyond the image's edge are left out: (6 * 3 - 2)^2.
    assert (first.operator, first.macs) == ("CONV_2D", 16 * 16 * 4 * 4)
    assert (first.bytes_in, first.bytes_out) == (144, 144)
    assert first.bytes_weights == 9 * 4 * 4 + 4 * 4
    assert first.wall_ns > 0
    document = json.loads(events_json(nepu.coverage(), nepu.events(), nepu.arithmetic))
    assert Event(**document["events"][0]) == first
    assert document["arithmetic"]["multiplier"] == "exact"


def test_branches_and_loops_give_the_runtimes_answers(rng: np.random.Generator) -> None:
    content = (MODELS / "branch_and_loop.tflite").read_bytes()
    nepu = Nepu(None, RUNTIME)
    ours, theirs = nepu.interpreter(content, reference=True), reference(content)
    for times in (0, 1, 5):
        for size in (0.01, 10):
            x = (rng.random((2, 6)) * size).astype(np.float32)
            inputs = [
                x if each["shape"].size else np.int32(times) for each in ours.get_input_details()
            ]
            nepu.reset()
            (actual,), (expected,) = invoke(ours, inputs), invoke(theirs, inputs)
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
            assert nepu.events()
    assert nepu.coverage().claimed >= 2
    # Weights that reach a loop's body as arguments are not constant there.
    assert all(node.reason for node in nepu.coverage().left())


def test_any_number_of_images_and_a_computed_shape(rng: np.random.Generator) -> None:
    content = (MODELS / "unknown_batch.tflite").read_bytes()
    nepu = Nepu(None, RUNTIME)
    ours, theirs = nepu.interpreter(content, reference=True), reference(content)
    for batch in (1, 5, 2, 1):
        x = rng.random((batch, 8, 8, 2)).astype(np.float32)
        for interpreter in (ours, theirs):
            index = interpreter.get_input_details()[0]["index"]
            interpreter.resize_tensor_input(index, x.shape)
            interpreter.allocate_tensors()
        (actual,), (expected,) = invoke(ours, [x]), invoke(theirs, [x])
        assert actual.shape == (batch, 3)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert nepu.coverage().claimed == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weight_bits": "9"}, "NEPU option weight_bits: must be a whole number from 2 to 8"),
        ({"weight_bits": ""}, "Received: ''"),
        ({"weight_bits": "4.0"}, "Received: '4.0'"),
        ({"accumulator_overflow": "trap"}, "must be saturate or wrap"),
        ({"multiplier": "booth"}, "must be exact, truncated"),
        ({"multiplier": "drum(1)"}, "from 2 to 8"),
        ({"multiplier": "drum("}, "must be exact, truncated"),
        ({"multiplier": ""}, "must be exact, truncated"),
        ({"noise": "nan"}, "must be a number from 0 to 1"),
        ({"seed": "-1"}, "from 0 to 2"),
        ({"seed": "18446744073709551616"}, "from 0 to 2"),
        ({"skip_zero_weights": "yes"}, "must be true or false"),
        ({"kernels": "sse9"}, "must be auto or one that this processor has"),
        ({"colour": "red"}, "is not known; known are weight_bits"),
    ],
)
def test_a_bad_option_is_refused_with_a_sentence_even_if_nobody_listens(
    options: dict[str, str], sentence: str
) -> None:
    library = ctypes.CDLL(str(library_path()))
    create = library.tflite_plugin_create_delegate
    create.restype = ctypes.c_void_p
    heard: list[str] = []
    report = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda text: heard.append(text.decode()))
    count = len(options)
    keys = (ctypes.c_char_p * count)(*(key.encode() for key in options))
    values = (ctypes.c_char_p * count)(*(value.encode() for value in options.values()))
    assert create(keys, values, ctypes.c_size_t(count), report) is None
    assert len(heard) == 1
    assert sentence in heard[0]
    assert create(keys, values, ctypes.c_size_t(count), None) is None


def test_a_delegate_that_is_never_used_is_freed() -> None:
    library = ctypes.CDLL(str(library_path()))
    create, destroy = (
        library.tflite_plugin_create_delegate,
        library.tflite_plugin_destroy_delegate,
    )
    create.restype, destroy.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    pointer = create(None, None, ctypes.c_size_t(0), None)
    assert pointer
    destroy(pointer)
    destroy(None)


def test_a_named_library_that_is_none_is_said_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEKIT_NEPU_LIBRARY", str(tmp_path / "none.so"))
    with pytest.raises(
        DelegateUnavailableError, match="delegate unavailable: EDGEKIT_NEPU_LIBRARY"
    ):
        Nepu(None, RUNTIME)
    text = tmp_path / "text.so"
    text.write_text("not a library")
    monkeypatch.setenv("EDGEKIT_NEPU_LIBRARY", str(text))
    with pytest.raises(DelegateUnavailableError, match="cannot be loaded"):
        Nepu(None, RUNTIME)


def test_random_chains_of_operators_are_exact(rng: np.random.Generator) -> None:
    """Nodes of all kinds behind one another, so that buffers inside partitions are used."""
    for _ in range(20):
        model = ModelFile()
        x = input_tensor(model, rng, (1, 8, 8, 4), **Q)
        last = x
        for _ in range(int(rng.integers(2, 7))):
            kind = int(rng.integers(5))
            shape = model.tensors[last].shape
            if kind == 0:
                last = conv(model, rng, last)
            elif kind == 1:
                last = model.node(tf.RELU, [last], model.tensor(shape, **Q))
            elif kind == 2:
                out = model.tensor(shape, **Q)
                last = model.node(tf.ADD, [last, x], out, activation=0)
            elif kind == 3:
                last = model.node(
                    tf.MAX_POOL_2D,
                    [last],
                    model.tensor(shape, **Q),
                    padding=0,
                    stride_h=1,
                    stride_w=1,
                    filter_h=2,
                    filter_w=2,
                    activation=0,
                )
            else:
                squashed = model.tensor(shape, scales=(1 / 128,), zero=0)
                last = model.node(tf.TANH, [last], squashed)
                last = model.node(tf.QUANTIZE, [last], model.tensor(shape, **Q))
        model.outputs = [last]
        same_as_reference(model.to_bytes(), [codes(rng, (1, 8, 8, 4))], Nepu(None, RUNTIME))


def test_skipping_zeros_changes_no_exact_result(rng: np.random.Generator) -> None:
    model, inputs = OPERATORS["CONV_2D"](rng)
    content = model.to_bytes()
    (plain,), (dense,) = run(content, inputs)
    (skipping,), (sparse,) = run(
        content, inputs, Arithmetic(skip_zero_weights=True, skip_zero_activations=True)
    )
    np.testing.assert_array_equal(plain, skipping)
    assert dense.skipped_macs == 0
    assert 0 < sparse.skipped_macs <= sparse.macs == dense.macs
