"""Substitutes of Appendix A: each keeps the convolution's output shape, or says why there is none.

Counts on the paper's AlexNet are those of Table 15.
"""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgekit_converters as ec
from edgekit_converters.complexity import parameters
from edgekit_converters.search.building import build, open_places, substituted
from edgekit_converters.search.grouped import BlockConv2D, plain
from edgekit_converters.search.substitutes import (
    Convolve,
    Place,
    candidates,
    parse_candidate,
    structure,
)
from edgekit_converters.stage import fingerprint

NAMES = (*candidates(), "group(3)", "dilated(3)", "group(2)+dilated(3)", "depthwise+pointwise")


@st.composite
def places(draw: st.DrawFn) -> Place:
    size = st.integers(1, 5)
    strides = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (2, 1)]))
    dilations = [(1, 1), (2, 1)] if strides == (1, 1) else [(1, 1)]
    return Place(
        draw(st.sampled_from([1, 2, 3, 4, 6, 8])),
        draw(st.sampled_from([1, 2, 3, 4, 6, 8, 9])),
        (draw(size), draw(size)),
        strides,
        draw(st.sampled_from(["same", "valid"])),
        draw(st.sampled_from(dilations)),
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12)
@given(place=places(), rows=st.integers(9, 14), columns=st.integers(9, 14))
def test_a_substitute_has_the_convolutions_output_shape_or_a_reason(
    name: str, place: Place, rows: int, columns: int
) -> None:
    made = structure(parse_candidate(name), place)
    if isinstance(made, str):
        assert len(made) > 10
        return
    shape = (rows, columns, place.channels_in)
    tensor, conv = keras.Input(shape), conv_at(place)
    wanted = conv(tensor)
    got = build(conv, made, (None, *shape))(tensor)
    assert got.shape == wanted.shape
    outputs = keras.Model(tensor, got)(np.zeros((1, *shape), np.float32))
    assert tuple(outputs.shape)[1:] == tuple(wanted.shape)[1:]


def conv_at(place: Place) -> Any:
    return keras.layers.Conv2D(
        place.filters,
        place.kernel,
        strides=place.strides,
        padding=place.padding,
        dilation_rate=place.dilation,
        activation="relu",
    )


TABLE_15 = {
    "standard": 11.2,
    "dilated": 11.2,
    "group": 7.7,
    "pointwise": 8.0,
    "transposed": 11.2,
    "group+dilated": 7.7,
    "transposed+dilated": 11.2,
}


@pytest.mark.slow
def test_parameters_on_the_papers_alexnet_are_those_of_table_15() -> None:
    model = ec.PARENTS["alexnet"]()
    for name, millions in TABLE_15.items():
        made = substituted(model, parse_candidate(name))
        assert made.left == ()
        assert made.model.count_params() / 1e6 == pytest.approx(millions, abs=0.06), name
        assert made.model.output_shape == model.output_shape


@pytest.mark.parametrize(
    ("name", "place", "reason"),
    [
        ("group(8)", Place(16, 12, (3, 3)), "8 groups do not divide both 16 input and 12"),
        ("group", Place(3, 8, (3, 3)), "no divisor in common"),
        ("dilated", Place(8, 8, (3, 3), (2, 2)), "no dilation together with strides"),
        ("transposed", Place(8, 8, (3, 3), (2, 2)), "enlarges"),
        ("transposed", Place(8, 8, (3, 3), dilation=(2, 2)), "TFLite"),
        ("depthwise", Place(8, 12, (3, 3)), "no multiple of 8"),
        ("separable", Place(8, 8, (3, 3), (2, 1)), "equal strides"),
        ("dilated+pointwise", Place(8, 1, (3, 3)), "cannot be shared"),
        ("group(4)+dilated", Place(8, 12, (3, 3)), "4 groups do not divide"),
        ("lcrm", Place(2, 1, (1, 1)), "no fewer parameters"),
    ],
)
def test_what_does_not_fit_says_why(name: str, place: Place, reason: str) -> None:
    made = structure(parse_candidate(name), place)
    assert isinstance(made, str)
    assert reason in made


def test_a_group_takes_the_most_groups_that_fit_up_to_32() -> None:
    assert structure(parse_candidate("group"), Place(64, 256, (5, 5))) == ((Convolve(256, 32),),)
    assert structure(parse_candidate("group"), Place(48, 64, (3, 3))) == ((Convolve(64, 16),),)


@pytest.mark.parametrize(
    "text",
    ["grouped", "group(1)", "pointwise(2)", "lcrm+group", "group+dilated+pointwise", ""],
)
def test_what_is_no_substitute_is_refused(text: str) -> None:
    with pytest.raises(ec.RewriteError, match=r"choose from|takes|stand alone"):
        parse_candidate(text)


def small() -> Any:
    return keras.Sequential(
        [
            keras.Input((10, 10, 1)),
            keras.layers.Conv2D(8, 3, name="first"),
            keras.layers.Conv2D(12, 3, padding="same", activation="relu", name="second"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Conv2D(6, 3, strides=2, name="third"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, "softmax"),
        ],
        name="small",
    )


def test_places_that_do_not_fit_are_left_with_the_reason_and_the_model_stays_as_it_is() -> None:
    model = small()
    before = fingerprint(model)
    made = substituted(model, parse_candidate("dilated"))
    assert made.replaced == ("second",)
    assert [path for path, _ in made.left] == ["third"]
    assert fingerprint(model) == before
    kept, theirs = made.model.get_layer("third").kernel, model.get_layer("third").kernel
    np.testing.assert_array_equal(kept, theirs)
    fresh = substituted(model, parse_candidate("dilated"), weights="fresh").model
    assert not np.array_equal(fresh.get_layer("third").kernel, theirs)


def test_a_candidate_that_fits_nowhere_and_a_model_without_convolutions_are_refused() -> None:
    with pytest.raises(ec.RewriteError, match=r"group\(5\) fits no convolution .*second: 5 groups"):
        substituted(small(), parse_candidate("group(5)"))
    flat = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="flat")
    with pytest.raises(ec.RewriteError, match=r"'flat' has no convolution .*none at all"):
        open_places(flat, (), True)
    with pytest.raises(ec.RewriteError, match="matches no convolution"):
        open_places(small(), ("nothing*",), True)


def test_the_form_that_trains_fast_computes_what_keras_own_group_convolution_does() -> None:
    made = substituted(small(), parse_candidate("group(2)+dilated")).model
    blocks = [layer for layer in made.layers if isinstance(layer, BlockConv2D)]
    assert blocks
    own = plain(made)
    assert not [layer for layer in own.layers if isinstance(layer, BlockConv2D)]
    assert sum(map(parameters, own.layers)) == sum(map(parameters, made.layers))
    x = np.random.default_rng(0).random((3, 10, 10, 1), np.float32)
    np.testing.assert_allclose(own(x), made(x), atol=1e-5)


def test_a_transposed_convolution_with_the_kernel_turned_round_is_the_convolution() -> None:
    conv = keras.layers.Conv2D(4, 3, padding="valid", use_bias=False)
    tensor = keras.Input((9, 9, 2))
    wanted = keras.Model(tensor, conv(tensor))
    place = Place(2, 4, (3, 3), padding="valid")
    made = structure(parse_candidate("transposed"), place)
    assert not isinstance(made, str)
    model = keras.Model(tensor, build(conv, made, (None, 9, 9, 2))(tensor))
    kernel = np.asarray(conv.kernel)[::-1, ::-1].transpose(0, 1, 3, 2)
    model.set_weights([kernel])
    x = np.random.default_rng(0).random((2, 9, 9, 2), np.float32)
    np.testing.assert_allclose(model(x), wanted(x), atol=1e-5)
