"""Models with layers that TFMOT refuses: cascades run all the same, and say what stayed float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascade_runs import FAST, cascade, data, distinct, kernels, operators, zeros
from converter_models import frozen
from refused_models import TRAITS, build

from edgekit_converters import Outcome, export_tflite, parse_recipe, run_pass
from edgekit_converters.graph import read_graph

FLOAT_INSIDE = {
    "rescaling": {"rescaling"},
    "elu_and_layer_norm": {"elu", "norm"},
    "lstm": {"lstm"},
}
"""The layers whose arithmetic is float in the int8 file; no other model has any."""

ENDS = ("DEQUANTIZE:FLOAT32",)


def untrained_then_qat(model: Any, recipe: str) -> list[Outcome]:
    """The passes before the last at once, the last with training: as sharp, and much quicker."""
    passes = parse_recipe(recipe).rewrites
    outcomes: list[Outcome] = []
    for index, step in enumerate(passes):
        given = data() if step is passes[-1] else None
        before = passes[:index]
        outcomes.append(run_pass(model, step, before=before, data=given, training=FAST))
        model = outcomes[-1].model
    return outcomes


def check(model: Any, recipe: str, outcomes: list[Outcome], folder: Path) -> None:
    before = frozen(model)
    last = outcomes[-1]
    step = parse_recipe(recipe).export
    file = export_tflite(last.model, step, folder / "m.tflite", representative=[data().train[0]])
    assert frozen(model) == before
    assert file.keras_difference < (0.1 if step.scheme == "int8" else 1e-3)
    assert last.accuracy_after is not None
    paths = {call.path for call in read_graph(model).calls}
    assert {path for path, _ in last.skipped} <= paths
    assert all(reason for _, reason in last.skipped)
    for proof in last.proof:
        assert proof.layer in paths
        assert proof.sparsity < 1
        if "P" in recipe and proof.sparsity_asked is not None:
            assert proof.sparsity >= proof.sparsity_asked
    if step.scheme == "int8":
        check_floats(model, last, file.path)


def check_floats(model: Any, outcome: Outcome, path: Path) -> None:
    """Layers that stayed float are named with the reason, and nothing else computes in float."""
    told = dict(outcome.skipped) | {
        line.split(": ")[0]: line for line in outcome.changed if "its output is rounded" in line
    }
    wanted = FLOAT_INSIDE.get(model.name, set())
    assert wanted <= set(told), told
    floats = [name for name in operators(path) if ":FLOAT32" in name and name not in ENDS]
    assert bool(floats) == bool(wanted), floats


@pytest.mark.parametrize("name", TRAITS)
def test_pcq_runs(name: str, tmp_path: Path) -> None:
    model = build(name)
    check(model, "PCQ", untrained_then_qat(model, "PCQ"), tmp_path)


# Minutes each; the others' traits are met by the quicker test above.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe"),
    [("custom", "PCQ"), ("custom", "C"), ("nested", "PCQ"), ("relu_layers", "PCQ"), ("lstm", "Q")],
)
def test_every_cascade_trains(name: str, recipe: str, tmp_path: Path) -> None:
    model = build(name)
    outcomes = cascade(model, recipe)
    check(model, recipe, outcomes, tmp_path)
    if recipe == "PCQ":
        return
    if recipe == "C":
        taken = {line.split(": ")[0] for line in outcomes[0].changed}
        for path, kernel in kernels(outcomes[0].model).items():
            if path in taken and path != "separable":
                assert distinct(kernel) <= 16, path


def test_what_is_carried_learns_with_the_rest() -> None:
    """The layer that TFMOT does not know has weights: they are trained, not lost."""
    model = build("custom")
    for recipe in ("P", "C"):
        (outcome,) = cascade(model, recipe)
        assert ("gain", "Gain is a layer that TFMOT does not know") in outcome.skipped
        gain = np.asarray(outcome.model.get_layer("gain").gain)
        assert np.ptp(gain) > 0
        assert (np.asarray(model.get_layer("gain").gain) == 1).all()
    assert zeros(kernels(cascade(model, "P")[0].model)["b"]) == 288


def test_relu_layers_behind_convolutions_leave_no_kernel_unrounded(tmp_path: Path) -> None:
    """TFMOT rounds neither the kernel nor the output of such a convolution."""
    outcome = run_pass(build("relu_layers"), parse_recipe("Q").passes[0], data=data(),
                       training=FAST)  # fmt: skip
    rounded = [
        layer.layer.name
        for layer in outcome.model.trained.layers
        if getattr(layer, "_weight_vars", None)
    ]
    assert rounded == ["a", "b", "c", "out"]
