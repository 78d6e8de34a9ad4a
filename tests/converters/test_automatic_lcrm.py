"""`lcrm(auto=true)` on a trained model: scanned, chosen, built, and held against its promise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from converter_models import frozen
from learned_models import learned

from edgekit_converters import (
    Lcrm,
    Place,
    RecipeError,
    RewriteError,
    Scan,
    Scanned,
    Training,
    TrainingData,
    TrainingError,
    costs_of,
    inspect_model,
    place_costs,
    run_pass,
    scan_model,
)
from edgekit_converters.lcrm import fitted

UNTRAINED = Training(epochs=0)
AUTO = Lcrm(auto=True, where=("conv3", "conv4", "conv5"), samples=300)


@cache
def scanned() -> Scan:
    model, given = learned()
    return scan_model(model, AUTO, given, UNTRAINED)


def test_the_scan_tries_every_layer_until_nothing_is_lost_or_saved() -> None:
    model, _ = learned()
    found = scanned()
    assert {trial.path for trial in found.trials} == {"conv3", "conv4", "conv5"}
    assert ("conv1", "excluded by where") in found.skipped
    assert found.macs == inspect_model(model).macs
    down = [trial.choice for trial in found.trials if trial.path == "conv5"]
    assert (down[0].multiplier, down[0].spatial) == (1, False)
    assert all(choice.spatial for choice in down[1:])
    for trial in found.trials:
        assert trial.macs_after is not None
        assert trial.macs_before is not None
        assert trial.macs_after < trial.macs_before
    by_path: dict[str, list[float]] = {}
    for trial in found.trials:
        by_path.setdefault(trial.path, []).append(trial.off)
    for off in by_path.values():
        assert off[-1] < off[0]
        assert all(each > 2e-3 for each in off[:-1])
    assert len(found.together) == max(map(len, by_path.values()))
    assert found.together[0].lost > found.together[-1].lost
    assert found.together[0].off == pytest.approx(sum(off[0] for off in by_path.values()))


def test_the_scan_leaves_the_model_as_it_is_and_finds_the_same_again() -> None:
    model, given = learned()
    before = frozen(model)
    again = scan_model(model, replace(AUTO, where=("conv4",)), given, UNTRAINED)
    assert frozen(model) == before
    assert again.trials == tuple(trial for trial in scanned().trials if trial.path == "conv4")


@pytest.mark.parametrize("target", ["drop<=3", "macs<=0.4x", "macs<=350k", "parameters<=0.6x"])
def test_a_goal_is_met_and_what_was_promised_is_reported_beside_what_came(target: str) -> None:
    model, given = learned()
    step = replace(AUTO, target=target)
    done = run_pass(
        model, step, data=given, training=UNTRAINED,
        scanned=Scanned(scanned(), costs_of(scanned(), step.goal)),
    )  # fmt: skip
    seen, whole = inspect_model(done.model), inspect_model(model)
    before, after = done.accuracy_before or 0, done.accuracy_after or 0
    if target == "drop<=3":
        assert before - after <= 0.03 + 1e-9
        assert seen.macs < whole.macs
    elif target == "macs<=0.4x":
        assert seen.macs <= 0.4 * whole.macs
    elif target == "macs<=350k":
        assert seen.macs <= 350e3
    else:
        assert seen.parameters <= 0.6 * whole.parameters
    said = done.notes[0]
    promised, came = (float(text) for text in re.findall(r"score (\d\.\d+)", said))
    assert came == pytest.approx(after, abs=6e-4)
    assert promised == pytest.approx(came, abs=0.1)
    assert "missed" not in said
    assert done.notes[1].startswith("chose ")


def test_many_validation_samples_are_drawn_from_all_classes() -> None:
    model, given = learned()
    x, y = (np.concatenate([part] * 5) for part in given.validation)
    by_class = np.argsort(y, kind="stable")
    many = replace(given, validation=(x[by_class], y[by_class]))
    found = scan_model(model, replace(AUTO, where=("conv5",)), many, UNTRAINED)
    assert found.score == pytest.approx(scanned().score, abs=0.03)


def test_a_layer_that_cannot_inherit_stays_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = learned()
    monkeypatch.setattr(fitted, "LARGEST_MOMENTS", 8 * 200**2)
    found = scan_model(model, replace(AUTO, where=("conv4", "conv5")), given, UNTRAINED)
    # 24 channels are few enough for a pointwise layer, their 216 taps too many for a depthwise one.
    assert [(trial.path, trial.substitute) for trial in found.trials] == [("conv5", "pointwise 16")]
    assert "starts fresh: the moments" in dict(found.skipped)["conv4"]
    monkeypatch.setattr(fitted, "LARGEST_MOMENTS", 8)
    with pytest.raises(RewriteError, match=r"could replace \(.*starts fresh: the moments"):
        scan_model(model, AUTO, given, UNTRAINED)


def test_it_makes_its_own_scan_where_none_is_given() -> None:
    model, given = learned()
    step = replace(AUTO, where=("conv4",), target="drop<=20")
    done = run_pass(model, step, data=given, training=UNTRAINED)
    assert [d.path for d in done.decisions if d.substitute] == ["conv4"]


def test_a_loss_that_adds_up_to_more_is_met_by_another_attempt() -> None:
    """What the scan says of single layers is made too good, so that the first choice fails."""
    model, given = learned()
    true = scanned()
    rosy = replace(
        true, together=tuple(replace(each, lost=each.lost / 8) for each in true.together)
    )
    step = replace(AUTO, target="drop<=2")
    done = run_pass(
        model, step, data=given, training=UNTRAINED,
        scanned=Scanned(rosy, costs_of(rosy, step.goal)),
    )  # fmt: skip
    lost = (done.accuracy_before or 0) - (done.accuracy_after or 0)
    assert lost <= 0.02 + 1e-9 or "missed in" in done.notes[0]


def by_parameters(models: Sequence[Any]) -> list[float]:
    """A place where a weight costs a thousandth of a millisecond and a call one."""
    return [1.0 + inspect_model(model).parameters / 1000 for model in models]


def test_a_place_prices_each_layer_without_the_cost_of_a_call() -> None:
    model, given = learned()
    found = scanned()
    place = Place("a shelf", "ms", by_parameters)
    costs = place_costs(model, found, place)
    assert costs.parent == by_parameters([model])[0]
    for trial in found.trials:
        saved = (trial.parameters_before - trial.parameters_after) / 1000
        assert costs.saved[trial.path, trial.choice] == pytest.approx(saved)
    step = replace(AUTO, target="latency_ms<=0.6x on shelf")
    done = run_pass(
        model, step, data=given, training=UNTRAINED, scanned=Scanned(found, costs, place)
    )
    assert by_parameters([done.model])[0] <= 0.6 * costs.parent
    assert "on a shelf" in done.notes[0]


def test_goals_that_cannot_be_met_or_reckoned_are_refused() -> None:
    model, given = learned()

    def asked(target: str, data: TrainingData | None = given) -> None:
        step = replace(AUTO, target=target)
        told = Scanned(scanned(), costs_of(scanned(), step.goal)) if "on" not in target else None
        run_pass(model, step, data=data, training=UNTRAINED, scanned=told)

    with pytest.raises(RewriteError, match=r"nearest, conv3 r=1, .* comes to .* MACs"):
        asked("macs<=1k")
    with pytest.raises(RecipeError, match="is not known here"):
        asked("latency_ms<=1 on pi4")
    with pytest.raises(TrainingError, match="give the data"):
        run_pass(model, AUTO, training=UNTRAINED)


def test_a_model_without_a_convolution_to_replace_is_told_so() -> None:
    _, given = learned()
    image = keras.Input((8, 8, 3))
    x = keras.layers.Dense(4, activation="softmax")(keras.layers.GlobalMaxPooling2D()(image))
    model = keras.Model(image, x)
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    model.fit(*given.train, epochs=8, verbose=0)
    with pytest.raises(RewriteError, match="no convolution that LCRM could replace"):
        run_pass(model, Lcrm(auto=True), data=given, training=UNTRAINED)


def test_a_parent_that_was_never_trained_has_nothing_to_hand_on() -> None:
    model, given = learned()
    fresh = keras.models.clone_model(model)
    with pytest.raises(TrainingError, match="nothing to inherit"):
        run_pass(fresh, AUTO, data=given, training=UNTRAINED)
    x, y = given.train
    few = TrainingData((x[:20], y[:20]), given.validation, 4)
    with pytest.raises(TrainingError, match="too few to inherit"):
        run_pass(model, AUTO, data=few, training=UNTRAINED)
    assert np.isfinite(model.get_weights()[0]).all()
