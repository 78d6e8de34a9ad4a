"""LCRM that inherits: what is separable is found again, what is not comes near, all in order."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import keras
import numpy as np
import pytest
from converter_models import MODELS, assert_same, frozen, outputs, randomise, samples
from keras import layers
from learned_models import learned

from edgekit_converters import Lcrm, Training, TrainingData, TrainingError, apply_lcrm, run_pass
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm import fitted
from edgekit_converters.lcrm.inherit import inherit
from edgekit_converters.lcrm.order import followers, reorder
from edgekit_converters.rewriting import copy_model
from edgekit_converters.train import validation_score

UNTRAINED = Training(epochs=0)
SHAPES = {"1.1": (3, 9), "1.2": (4, 9), "2": (9, 6), "3": (6, 6)}
GRID = list(product(((1, 1), (2, 1), (3, 1), (1, 2)), ("same", "valid"), ("bias", "bn", "neither")))
TRIALS = [
    (case, *GRID[(index + shift) % len(GRID)], 1 + index % 2)
    for shift, case in enumerate((*SHAPES, "2 spatial"))
    for index in range(0, len(GRID), 3)
]


def parent(case: str, options: dict[str, Any], norm: str, multiplier: int, spatial: bool) -> Any:
    """A model around one convolution that the substitute of its case can compute."""
    m, n = SHAPES[case]
    rng = np.random.default_rng(2)
    conv = layers.Conv2D(n, 3, use_bias=norm == "bias", name="it", **options)
    image = keras.Input((11, 12, m))
    x = conv(layers.Rescaling(1.0)(image))
    if norm == "bn":
        x = layers.BatchNormalization(name="bn")(x)
    x = layers.Conv2D(3, 1, name="reader")(layers.ReLU()(x))
    model = randomise(keras.Model(image, x, name="separable"))
    depthwise = rng.normal(size=(3, 3, m, multiplier))
    kernel = np.einsum("ijmq,mqn->ijmn", depthwise, rng.normal(size=(m, multiplier, n)))
    if case == "2" and not spatial:
        kernel = centred(kernel)
    if case == "1.2":
        kernel[..., [2]] = centred(kernel)[..., [2]]  # 9 % 4 == 1: one output is pointwise
    conv.set_weights([kernel, *conv.get_weights()[1:]])
    return model


def centred(kernel: Any) -> Any:
    """The kernel with its middle tap alone."""
    only = np.zeros_like(kernel)
    only[1, 1] = kernel[1, 1]
    return only


def settled(model: Any, x: Any) -> Any:
    """The parent with batch normalisation that fits the samples, as training leaves it."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            before = keras.Model(model.input, layer.input)(x)
            mean, variance = keras.ops.moments(before, (0, 1, 2))
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
    return model


@pytest.mark.parametrize(("case", "steps", "padding", "norm", "multiplier"), TRIALS)
def test_what_the_substitute_can_compute_is_found_again(
    case: str, steps: tuple[int, int], padding: str, norm: str, multiplier: int
) -> None:
    stride, dilation = steps
    case, spatial = case.removesuffix(" spatial"), case.endswith("spatial")
    options = {"strides": stride, "dilation_rate": dilation, "padding": padding}
    x = np.random.default_rng(0).normal(size=(200, 11, 12, SHAPES[case][0])).astype("float32")
    model = settled(parent(case, options, norm, multiplier, spatial), x)
    student, plan = apply_lcrm(
        model, keep_ends=False, multiplier=multiplier, spatial=spatial, where=("it",)
    )
    told, _ = inherit(model, student, plan, [x], ridge=1e-10)
    wanted = outputs(model, [x[:50]])
    assert_same(outputs(student, [x[:50]]), wanted, 2e-3 * float(np.std(wanted[0])))
    assert "explains 100.0%" in told["it"]


def ordered(channels_first: bool) -> Any:
    """Cases 1.1, 3 and 2 with batch normalisation, in either order of the axes."""
    order, axis = ("channels_first", 1) if channels_first else ("channels_last", -1)
    image = keras.Input((4, 12, 11) if channels_first else (12, 11, 4))
    x = image
    for number, filters in enumerate((8, 8, 5)):
        start = keras.initializers.GlorotUniform(seed=number)
        x = layers.Conv2D(
            filters, 3, padding="same", data_format=order, kernel_initializer=start,
            name=f"conv{number}",
        )(x)  # fmt: skip
        x = layers.ReLU()(layers.BatchNormalization(axis=axis)(x))
    x = layers.GlobalAveragePooling2D(data_format=order)(x)
    start = keras.initializers.GlorotUniform(seed=9)
    return keras.Model(image, layers.Dense(3, "softmax", kernel_initializer=start, name="out")(x))


@pytest.mark.parametrize("options", [{}, {"multiplier": 2}, {"spatial": True}])
def test_channels_first_inherits_the_same(options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(300, 12, 11, 4)).astype("float32")
    answers = []
    for channels_first in (False, True):
        model, samples = ordered(channels_first), x.transpose(0, 3, 1, 2) if channels_first else x
        student, plan = apply_lcrm(model, keep_ends=False, **options)
        told, _ = inherit(model, student, plan, [samples])
        assert all("explains" in said for said in told.values())
        answers.append(outputs(student, [samples[:50]]))
    assert_same(answers[1], answers[0], 1e-4)


def test_an_untrained_student_is_nearly_as_good_as_its_parent() -> None:
    model, given = learned()
    scores = {
        name: run_pass(model, step, data=given, training=UNTRAINED).accuracy_after or 0
        for name, step in {
            "random": Lcrm(),
            "inherits": Lcrm(inherit=True),
            "more": Lcrm(inherit=True, multiplier=2, spatial=True),
        }.items()
    }
    best = validation_score(model, given)
    assert best > 0.85
    assert scores["random"] < 0.5
    assert scores["inherits"] > scores["random"] + 0.2
    assert scores["more"] > best - 0.1


def test_the_callers_model_stays_and_the_same_comes_out_again() -> None:
    model, given = learned()
    before = frozen(model)
    told: list[tuple[int, int, dict[str, float]]] = []
    step = Lcrm(inherit=True, samples=200)
    first, second = (
        run_pass(
            model, step, data=given, training=UNTRAINED,
            progress=lambda layer, count, facts: told.append((layer, count, facts)),
        )
        for _ in range(2)
    )  # fmt: skip
    assert frozen(model) == before
    assert_same(first.model.get_weights(), second.model.get_weights(), 0)
    assert [(layer, count) for layer, count, _ in told[:4]] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(0 < facts["explained"] < 1 for *_, facts in told)
    dense, *changes = first.changed
    assert dense.startswith("out: refitted, explains ")
    assert [change.split(":")[0] for change in changes] == ["conv2", "conv3", "conv4", "conv5"]
    assert all("(fitted, explains " in change for change in changes)
    other = run_pass(model, replace(step, samples=300), data=given, training=UNTRAINED).model
    weights = zip(other.get_weights(), first.model.get_weights(), strict=True)
    assert any(not np.array_equal(one, two) for one, two in weights)


def test_where_sizes_are_open_the_fit_crops_as_the_graph_does() -> None:
    image = keras.Input((None, None, 6))
    conv = layers.Conv2D(4, 3, strides=2, padding="same", name="it")
    model = randomise(keras.Model(image, conv(layers.ReLU()(image))))
    kernel, bias = conv.get_weights()
    kernel[1:] = kernel[:, 1:] = 0  # of an even size this tap is what strides start from
    conv.set_weights([kernel, bias])
    x = np.random.default_rng(0).normal(size=(200, 12, 12, 6)).astype("float32")
    student, plan = apply_lcrm(model, keep_ends=False)
    inherit(model, student, plan, [x], ridge=1e-10)
    assert_same(outputs(student, [x]), outputs(model, [x]), 1e-3)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float64"])
def test_other_precisions_inherit_too(dtype: str) -> None:
    image = keras.Input((9, 9, 4))
    x = layers.Conv2D(9, 3, name="it", dtype=dtype)(layers.ReLU()(image))
    x = layers.BatchNormalization(dtype=dtype)(x)
    model = randomise(keras.Model(image, layers.Conv2D(2, 1, dtype=dtype)(layers.ReLU()(x))))
    data = np.random.default_rng(0).normal(size=(200, 9, 9, 4)).astype("float32")
    student, plan = apply_lcrm(model, where=("it",), keep_ends=False)
    told, _ = inherit(model, student, plan, [data])
    assert told["it"].startswith("fitted, explains ")
    got, wanted = (np.asarray(outputs(each, [data])[0], "float32") for each in (student, model))
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.6


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_graph_that_lcrm_takes_can_inherit(name: str, spatial: bool) -> None:
    model = randomise(MODELS[name]())
    before = frozen(model)
    student, plan = apply_lcrm(model, keep_ends=False, spatial=spatial)
    started = apply_lcrm(model, keep_ends=False, spatial=spatial)[0]
    x = samples(model, 150)
    told, _ = inherit(model, student, plan, x)
    assert set(told) == {decision.path for decision in plan if decision.substitute}
    assert all(text.startswith("fitted, explains ") for text in told.values())
    assert frozen(model) == before
    if told:
        wanted = outputs(model, x)
        lost = [
            sum(float(((a - b) ** 2).mean() / b.var()) for a, b in zip(got, wanted, strict=True))
            for got in (outputs(student, x), outputs(started, x))
        ]
        assert lost[0] < 0.5 * lost[1]


def test_batch_normalisations_behind_have_the_statistics_of_what_they_see() -> None:
    model, given = learned()
    student = run_pass(model, Lcrm(inherit=True), data=given, training=UNTRAINED).model
    x = given.train[0]
    for layer in student.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.name != "bn1":
            seen = keras.Model(student.input, layer.input).predict(x, verbose=0)
            np.testing.assert_allclose(layer.moving_mean, seen.mean((0, 1, 2)), atol=1e-3)
            np.testing.assert_allclose(layer.moving_variance, seen.var((0, 1, 2)), rtol=1e-2)
    kept = [each.get_layer("bn1").moving_mean.numpy() for each in (student, model)]
    assert (kept[0] == kept[1]).all()


READERS: dict[str, Any] = {
    "flatten, dense": lambda x: layers.Dense(3)(layers.Flatten()(x)),
    "pool, dense": lambda x: layers.Dense(3)(layers.GlobalAveragePooling2D()(x)),
    "strided": lambda x: layers.Conv2D(4, 3, strides=2)(layers.MaxPooling2D()(x)),
    "transposed": lambda x: layers.Conv2DTranspose(4, 3)(layers.LeakyReLU()(x)),
    "depthwise": lambda x: layers.Conv2D(4, 1)(
        layers.DepthwiseConv2D(3, depth_multiplier=2)(layers.BatchNormalization()(x))
    ),
    "two readers": lambda x: layers.Add()([layers.Conv2D(4, 1)(x), layers.Conv2D(4, 1)(x)]),
    "joined": lambda x: layers.Conv2D(4, 1)(
        layers.Concatenate()([layers.ReLU()(x), layers.Conv2D(2, 1)(x), x])
    ),
    "nested": lambda x: keras.Sequential(
        [keras.Input(x.shape[1:]), layers.Dropout(0.1), layers.Conv2D(4, 1)]
    )(x),
}
STOPPED: dict[str, tuple[Any, str]] = {
    "added": (lambda x: layers.Conv2D(4, 1)(layers.Add()([x, layers.ReLU()(x)])), "add"),
    "output": (lambda x: x, "the model's output"),
    "reshaped": (lambda x: layers.Conv2D(4, 1)(layers.Reshape((81, 8, 1))(x)), "reshape"),
    "operation": (lambda x: layers.Conv2D(4, 1)(x * 2.0), "multiply"),
}


def reordered(reader: Any) -> Any:
    """A convolution of case 1.2 that loses least by giving its fifth output pointwise."""
    image = keras.Input((9, 8, 4))
    conv = layers.Conv2D(9, 3, padding="same", name="it")
    model = randomise(keras.Model(image, reader(conv(layers.ReLU()(image)))))
    kernel = np.random.default_rng(4).normal(size=(3, 3, 4, 9))
    kernel[..., 4] = centred(kernel)[..., 4]
    conv.set_weights([kernel, conv.get_weights()[1]])
    return model


@pytest.mark.parametrize("name", READERS)
def test_whoever_reads_reordered_outputs_follows(name: str) -> None:
    model = reordered(READERS[name])
    x = np.random.default_rng(0).normal(size=(150, 9, 8, 4)).astype("float32")
    student, plan = apply_lcrm(model, where=("it",), keep_ends=False)
    told, _ = inherit(model, student, plan, [x])
    assert "in their order" not in told["it"]
    pointwise, middle = student.get_layer("it_pointwise_0").kernel, model.get_layer("it").kernel
    np.testing.assert_allclose(pointwise[0, 0, :, 0], middle[1, 1, :, 4], rtol=1e-2, atol=1e-3)
    other, order = copy_model(model), np.random.default_rng(1).permutation(9)
    graph, made = read_graph(model), {call.path: call.layer for call in read_graph(other).calls}
    tensor = next(call.outputs[0] for call in graph.calls if call.path == "it")
    kernel, bias = made["it"].get_weights()
    made["it"].set_weights([kernel[..., order], bias[order]])
    for path, axes in followers(graph, tensor, order, ()).weights.items():
        reorder(made[path], axes)
    assert_same(outputs(other, [x]), outputs(model, [x]), 1e-4)


@pytest.mark.parametrize("name", STOPPED)
def test_outputs_that_cannot_be_followed_keep_their_order(name: str) -> None:
    reader, stop = STOPPED[name]
    model = reordered(reader)
    x = np.random.default_rng(0).normal(size=(150, 9, 8, 4)).astype("float32")
    student, plan = apply_lcrm(model, where=("it",), keep_ends=False)
    told, _ = inherit(model, student, plan, [x])
    assert f"outputs in their order because of {stop}" in told["it"]
    ours, theirs = outputs(student, [x])[0], outputs(model, [x])[0]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.6


def test_a_substitute_behind_reordered_outputs_knows_their_order() -> None:
    model = reordered(lambda x: layers.Dense(3)(layers.Flatten()(layers.Conv2D(9, 3)(x))))
    x = np.random.default_rng(0).normal(size=(300, 9, 8, 4)).astype("float32")
    student, plan = apply_lcrm(model, keep_ends=False)
    told, _ = inherit(model, student, plan, [x])
    assert len(told) == 2
    ours, theirs = outputs(student, [x])[0], outputs(model, [x])[0]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.6


def test_a_layer_that_cannot_be_fitted_is_named_and_starts_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, given = learned()
    few = replace(given, train=tuple(part[:64] for part in given.train))
    shown = run_pass(model, Lcrm(inherit=True, where=("conv4",)), data=few, training=UNTRAINED)
    assert "fitted" in shown.changed[-1]
    monkeypatch.setattr(fitted, "LARGEST_MOMENTS", 8 * 200**2)
    told = run_pass(model, Lcrm(inherit=True), data=given, training=UNTRAINED).changed
    assert "(fitted, " in told[1]
    assert "starts fresh: the moments of its 216 inputs per window take 0 MiB" in told[3]
    assert "(fitted, " in told[4]  # a pointwise substitute sees 24 inputs alone
    monkeypatch.undo()
    image = keras.Input((3, 3, 40))
    small = keras.Model(image, layers.Conv2D(40, 3, name="it")(layers.ReLU()(image)))
    student, plan = apply_lcrm(small, keep_ends=False)
    said, _ = inherit(small, student, plan, samples(small, 64))
    assert said["it"] == (
        "starts fresh: 64 positions in 64 samples are too few for its 360 inputs per window, "
        "1440 are needed"
    )


def spoiled(value: float) -> Any:
    model = keras.models.clone_model(learned()[0])
    model.set_weights(learned()[0].get_weights())
    kernel = model.get_layer("conv2").kernel
    kernel.assign(np.full(kernel.shape, value))
    return model


def test_what_there_is_nothing_to_inherit_from_is_refused() -> None:
    model, given = learned()
    step = Lcrm(inherit=True)
    untrained = keras.models.clone_model(model)
    for wrong, data, said in (
        (untrained, given, "nothing to inherit from 'learned', which gets"),
        (model, None, "give the data"),
        (model, replace(given, train=tuple(p[:63] for p in given.train)), "63 training samples"),
        (spoiled(np.nan), given, "hold NaN or infinite"),
        (spoiled(3e38), given, "NaN or infinite values"),
    ):
        with pytest.raises(TrainingError) as refusal:
            run_pass(wrong, step, data=data, training=UNTRAINED)
        assert said in str(refusal.value)


@pytest.mark.slow
def test_digits_inherit_almost_all() -> None:
    from sklearn.datasets import load_digits

    from edgekit_converters import digits_cnn

    digits = load_digits()
    x, y = digits.images[..., None].astype("float32") / 16, digits.target
    given = TrainingData((x[:1400], y[:1400]), (x[1400:], y[1400:]), 10)
    keras.utils.set_random_seed(0)
    model = digits_cnn()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*given.train, epochs=15, batch_size=32, verbose=0)
    random, inherits = (
        run_pass(model, step, data=given, training=UNTRAINED).accuracy_after or 0
        for step in (Lcrm(), Lcrm(inherit=True))
    )
    assert random < 0.3
    assert inherits > validation_score(model, given) - 0.1
