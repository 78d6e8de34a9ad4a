"""What a model is made of, and silence from native libraries."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import pytest
from converter_models import MODELS, assert_same, frozen, outputs, samples

from edgekit_converters import (
    Lcrm,
    Quantize,
    RecipeError,
    apply_lcrm,
    fingerprint,
    inspect_model,
    load_model,
    run_pass,
    save_model,
)
from edgekit_converters.complexity import total_macs
from edgekit_converters.graph import read_graph
from edgekit_converters.quiet import quiet


@pytest.mark.parametrize("style", ["equations", "table4", "notebook"])
@pytest.mark.parametrize("name", MODELS)
def test_an_inspection_foretells_the_rewritten_model(name: str, style: str) -> None:
    model, options = MODELS[name](), Lcrm(style, keep_ends=False)  # type: ignore[arg-type]
    inspection = inspect_model(model, options)
    rewritten, decisions = apply_lcrm(model, style=options.style, keep_ends=False)
    assert inspection.lcrm == decisions
    assert inspection.parameters_after == rewritten.count_params()
    assert inspection.macs_after == total_macs(read_graph(rewritten))[0]
    assert inspection.name == model.name == rewritten.name


def test_layers_are_listed_with_shapes_and_costs() -> None:
    inspection = inspect_model(MODELS["sequential"]())
    assert [(layer.path, layer.type) for layer in inspection.layers][:2] == [
        ("first", "Conv2D"),
        ("second", "Conv2D"),
    ]
    first = inspection.layers[0]
    assert first.input_shapes == ((None, 8, 8, 3),)
    assert first.output_shapes == ((None, 6, 6, 4),)
    assert (first.parameters, first.macs) == (3 * 3 * 3 * 4 + 4, 36 * 9 * 3 * 4)
    assert inspection.input_shapes == ((None, 8, 8, 3),)
    assert inspection.output_shapes == ((None, 3),)
    # Moving mean and variance of the one BatchNormalization are not trained.
    assert inspection.parameters - inspection.trainable_parameters == 2 * 8


def test_what_is_not_counted_is_named() -> None:
    inspection = inspect_model(MODELS["recurrent"]())
    assert [path.partition("_")[0] for path in inspection.not_counted] == ["bidirectional", "lstm"]
    assert inspection.macs == 5 * 2


def test_a_model_comes_back_from_its_file_between_stages(tmp_path: Path) -> None:
    model, _ = apply_lcrm(MODELS["nested"]())
    save_model(model, tmp_path / "stage.keras")
    loaded = load_model(tmp_path / "stage.keras")
    assert_same(outputs(loaded, samples(model)), outputs(model, samples(model)))
    assert frozen(loaded)[1] == frozen(model)[1]
    assert fingerprint(loaded) == fingerprint(model)


def test_quantisation_is_no_pass_over_the_model() -> None:
    with pytest.raises(RecipeError, match=r"int8 is done when the file is written"):
        run_pass(MODELS["sequential"](), Quantize("int8"))


def test_native_chatter_is_swallowed_and_errors_come_through(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with quiet():
        os.write(1, b"chatter")
        os.write(2, b"chatter")
    print("after")
    assert capfd.readouterr() == ("after\n", "")
    with pytest.raises(KeyError), quiet():
        raise KeyError("x")
    os.write(2, b"back")
    assert capfd.readouterr().err == "back"


def test_an_inspection_of_a_frozen_model_counts_what_trains() -> None:
    model = keras.models.clone_model(MODELS["skip"]())
    model.trainable = False
    assert inspect_model(model).trainable_parameters == 0
