"""Which convolutions LCRM takes, which it leaves, and the reason it gives for each."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from converter_models import MODELS, block
from keras import layers

from edgekit_converters import RewriteError, apply_lcrm
from edgekit_converters.graph import read_graph
from edgekit_converters.lcrm.plan import plan_lcrm


def decisions(model: Any, **options: Any) -> dict[str, Any]:
    """Also applies the plan: what is planned must be possible."""
    rewritten, plan = apply_lcrm(model, **options)
    assert [t.shape for t in rewritten.outputs] == [t.shape for t in model.outputs]
    return {decision.path: decision for decision in plan}


def reasons(model: Any, **options: Any) -> dict[str, str]:
    return {path: decision.reason for path, decision in decisions(model, **options).items()}


def chain(*inner: Any, shape: tuple[int, ...] = (9, 9, 4)) -> Any:
    """The layers between a first convolution and a Dense end."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(4, 3, padding="same", name="stem"),
            *inner,
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


class OwnConv(layers.Conv2D):
    pass


LEFT: dict[str, tuple[Any, str]] = {
    "grouped": (lambda: layers.Conv2D(8, 3, groups=2, name="it"), "grouped convolution (2 groups)"),
    "transposed": (lambda: layers.Conv2DTranspose(8, 3, name="it"), "transposed convolution"),
    "depthwise": (lambda: layers.DepthwiseConv2D(3, name="it"), "already depthwise"),
    "separable": (lambda: layers.SeparableConv2D(8, 3, name="it"), "already depthwise"),
    "pointwise": (lambda: layers.Conv2D(8, 1, name="it"), "already pointwise"),
    "own class": (lambda: OwnConv(8, 3, name="it"), "OwnConv is a class of its own"),
    "unequal strides": (
        lambda: layers.Conv2D(8, 3, strides=(1, 2), name="it"),
        "a depthwise convolution needs equal strides",
    ),
}


@pytest.mark.parametrize("kind", LEFT)
def test_what_algorithm_1_does_not_speak_of_is_left_with_the_reason(kind: str) -> None:
    make, reason = LEFT[kind]
    found = decisions(chain(make()))
    assert reason in found["it"].reason
    assert found["it"].substitute is None
    assert found["it"].verdict == f"left: {found['it'].reason}"
    assert found["it"].parameters_before == found["it"].parameters_after > 0


def test_unequal_strides_do_not_hinder_a_pointwise_substitute() -> None:
    assert decisions(chain(layers.Conv2D(2, 3, strides=(1, 2), name="it")))["it"].case == "2"


def test_a_convolution_that_would_grow_is_left() -> None:
    image = keras.Input((9, 9, 1))
    x = layers.Conv2D(1, 2, name="stem")(image)
    x = layers.Conv2D(1, (1, 2), name="it")(x)
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    assert "would have no fewer parameters" in reasons(model)["it"]


def test_other_dimensions_are_left() -> None:
    signal, video = keras.Input((9, 4)), keras.Input((5, 9, 9, 2))
    one = layers.Conv1D(8, 3, name="one")(layers.Conv1D(8, 3)(signal))
    deep = layers.DepthwiseConv1D(3, name="deep")(one)
    three = layers.Conv3D(4, 3, name="three")(layers.Conv3D(4, 3)(video))
    both = layers.Concatenate()([layers.Flatten()(deep), layers.Flatten()(three)])
    found = reasons(keras.Model([signal, video], layers.Dense(2)(both)))
    for name in ("one", "deep", "three"):
        assert found[name] == "not two-dimensional"


def test_a_convolution_inside_a_wrapper_is_left_and_named() -> None:
    video = keras.Input((3, 9, 9, 4))
    x = layers.TimeDistributed(layers.Conv2D(4, 3), name="each")(video)
    x = layers.ConvLSTM2D(4, 3, name="memory")(x)
    model = keras.Model(video, layers.Dense(2)(layers.Flatten()(x)))
    assert reasons(model)["each"] == "inside TimeDistributed, which is not opened"


def test_shared_convolutions_are_left() -> None:
    found = decisions(MODELS["shared"]())
    assert found["twin"].reason.startswith("shared")
    assert found["own"].substitute is not None
    assert reasons(MODELS["nested_twice"]())["twice/conv"].startswith("shared")


def test_nested_convolutions_are_taken() -> None:
    found = decisions(MODELS["nested"]())
    assert found["middle/block/conv"].substitute is not None
    assert found["stem"].reason == "first convolution"


def test_the_same_names_in_two_nested_models_stay_apart() -> None:
    image = keras.Input((8, 8, 4))
    x = block("right")(block("left")(layers.Conv2D(4, 3, padding="same", name="conv")(image)))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    found = decisions(model, where=("right/*",))
    assert found["right/conv"].substitute is not None
    assert found["left/conv"].reason == "excluded by where"
    assert found["conv"].reason == "excluded by where"


def test_first_and_last_convolutions_are_kept_unless_asked() -> None:
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", name="enter")(layers.Rescaling(2.0)(image))
    y = layers.Conv2D(4, 3, padding="same", name="middle")(layers.BatchNormalization()(x))
    z = layers.Conv2D(4, 3, padding="same", name="leave")(layers.Add()([x, y]))
    model = keras.Model(image, [layers.Softmax()(layers.UpSampling2D()(z)), y])
    found = reasons(model)
    assert found["enter"] == "first convolution"
    assert found["leave"].startswith("last convolution")
    assert found["middle"].startswith("last convolution")  # it is the second output
    assert set(reasons(model, keep_ends=False).values()) == {""}


def test_every_input_has_its_first_convolution() -> None:
    one, two = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    joined = layers.Add()([layers.Conv2D(4, 3, name="a")(one), layers.Conv2D(4, 3, name="b")(two)])
    x = layers.Conv2D(4, 3, name="c")(joined)
    found = reasons(keras.Model([one, two], layers.Dense(2)(layers.Flatten()(x))))
    assert found == {"a": "first convolution", "b": "first convolution", "c": ""}


def test_a_model_without_or_with_one_convolution_stays() -> None:
    vector = keras.Input((4,))
    assert decisions(keras.Model(vector, layers.Dense(2)(vector))) == {}
    assert [*reasons(chain()).values()] == ["first convolution"]


WHERE = {
    "one": (("a",), {"a"}),
    "pattern": (("block*",), {"block1", "block2"}),
    "question mark": (("block?",), {"block1", "block2"}),
    "all but": (("!block*",), {"a"}),
    "some but": (("block*", "!block1"), {"block2"}),
}


@pytest.mark.parametrize("kind", WHERE)
def test_where_selects_and_excludes(kind: str) -> None:
    where, wanted = WHERE[kind]
    inner = [layers.Conv2D(4, 3, padding="same", name=name) for name in ("a", "block1", "block2")]
    found = decisions(chain(*inner), where=where)
    assert {path for path, decision in found.items() if decision.substitute} == wanted


@pytest.mark.parametrize("pattern", ["blok*", "!blok*", "flatten"])
def test_a_pattern_that_matches_nothing_names_the_convolutions(pattern: str) -> None:
    with pytest.raises(RewriteError) as refusal:
        apply_lcrm(chain(), where=(pattern,))
    assert repr(pattern) in str(refusal.value)
    assert "stem" in str(refusal.value)


def test_an_unknown_style_names_the_styles() -> None:
    with pytest.raises(RewriteError, match=r"'fancy'.*equations, table4, notebook"):
        plan_lcrm(read_graph(chain()), style="fancy")  # type: ignore[arg-type]


def test_a_verdict_says_whether_it_pays() -> None:
    found = decisions(chain(layers.Conv2D(32, 5, padding="same", name="big")))
    assert found["big"].verdict.startswith("yes: saves ")
    big = layers.Conv2D(64, 7, padding="same", name="big")
    small = [layers.MaxPooling2D(9), layers.Conv2D(2, 3, padding="same", name="small")]
    assert decisions(chain(big, *small))["small"].verdict.startswith("little: ")
    late = layers.Conv2D(64, 2, strides=9, name="late")
    assert decisions(chain(late), style="table4")["late"].verdict.startswith("no: ")


class NoConfig(layers.Layer):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def call(self, x: Any) -> Any:
        return x * self.factor


def test_a_layer_that_cannot_be_copied_is_named_with_the_way_out() -> None:
    with pytest.raises(RewriteError, match=r"NoConfig.*get_config\(\)"):
        apply_lcrm(chain(NoConfig(2.0)))


def test_channels_first_is_planned_like_channels_last() -> None:
    def model(order: str) -> Any:
        shape = (4, 9, 9) if order == "channels_first" else (9, 9, 4)
        image = keras.Input(shape)
        x = layers.Conv2D(6, 3, data_format=order, name="stem")(image)
        x = layers.Conv2D(9, 3, data_format=order, name="up")(x)
        x = layers.Conv2D(4, 3, strides=2, data_format=order, name="down")(x)
        return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))

    first, last = (decisions(model(order)) for order in ("channels_first", "channels_last"))
    assert [(d.case, d.macs_after) for d in first.values()] == [
        (d.case, d.macs_after) for d in last.values()
    ]
    assert np.prod([d.parameters_after for d in first.values()]) > 0
