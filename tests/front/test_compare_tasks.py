"""Segmentation and enhancement from data to report: the table speaks of their own metric."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import edgekit_converters as ec
from edgekit import ProfileSettings, compare, load_data, write_report
from edgekit.data import Dataset
from edgekit.data.generated import generated
from edgekit.report import read_comparison
from edgekit.report.table import table_text
from edgekit_converters import TrainingError

QUICK = ProfileSettings(runs=2, seconds=0, rounds=1, idle_seconds=0)
TRAINING = ec.Training(epochs=2, batch_size=8, tuning_epochs=1)
RECIPES = ("int8", "lcrm+int8", "Q")


@dataclass(frozen=True)
class Done:
    """A comparison with its data, its text and its page."""

    result: Any
    data: Dataset
    out: Path
    text: str
    page: str


def done(model: Any, name: str, out: Path) -> Done:
    """A small model trained for a moment and compared."""
    shape = tuple(model.inputs[0].shape[1:])
    data = load_data(generated(name, shape, samples=(48, 12, 24)))
    ec.fine_tune(
        model,
        (data.train.x, data.train.y),
        (data.validation.x, data.validation.y),
        ec.objective_for(model, data.targets),
        ec.Training(epochs=12, batch_size=8, learning_rate=3e-3),
    )
    result = compare(model, data, RECIPES, out=out, training=TRAINING, profiling=QUICK)
    page = write_report(result, out).html.read_text()
    return Done(result, data, out, table_text(result), page)


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory: pytest.TempPathFactory) -> Done:
    keras.utils.set_random_seed(0)
    return done(ec.unet_small(size=16), "nuclei", tmp_path_factory.mktemp("nuclei"))


@pytest.fixture(scope="module")
def lowlight(tmp_path_factory: pytest.TempPathFactory) -> Done:
    keras.utils.set_random_seed(0)
    return done(ec.decom_net_small(size=16), "lowlight", tmp_path_factory.mktemp("lowlight"))


@pytest.fixture(params=["nuclei", "lowlight"])
def either(request: pytest.FixtureRequest) -> Done:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


pytestmark = pytest.mark.slow


def test_every_recipe_is_scored_with_an_interval_and_a_paired_change(either: Done) -> None:
    for row in either.result.rows:
        assert row.error is None
        assert 0 <= row.accuracy.low <= row.accuracy.value <= row.accuracy.high <= 1
        assert row.accuracy_change.low <= row.accuracy_change.value <= row.accuracy_change.high
    base, int8, *_ = either.result.rows
    assert base.accuracy.low > either.data.trivial[0]
    assert abs(int8.accuracy_change.value) < 0.1
    # On the same images a change is surer than two intervals of one value each.
    paired = int8.accuracy_change.high - int8.accuracy_change.low
    assert paired < base.accuracy.high - base.accuracy.low


def test_stages_are_scored_by_the_tasks_metric(either: Done) -> None:
    metric = either.data.task.metric
    for stage in either.result.stages:
        assert stage.metric == metric
        assert 0 <= stage.accuracy_after <= 1
    manifest = json.loads((either.out / "files" / "base.manifest.json").read_text())
    assert manifest["task"]["metric"] == metric


@pytest.mark.parametrize("where", ["text", "page"])
def test_nothing_in_the_report_speaks_of_classes_or_accuracy(either: Done, where: str) -> None:
    said = getattr(either, where).replace("pixel accuracy", "")
    assert either.data.task.metric in said
    assert not re.search(r"accurac|class\b|classes", re.sub(r"masks of 2 classes|class=", "", said))


def test_further_metrics_are_in_table_page_and_json(nuclei: Done, lowlight: Done) -> None:
    wanted = {"pixel accuracy", "precision", "recall"}
    assert {metric.name for metric in nuclei.result.rows[0].metrics} == wanted
    for name in wanted:
        assert name in nuclei.text
        assert name in nuclei.page
    for said in (lowlight.text, lowlight.page):
        assert "PSNR (dB" in said
        assert "LPIPS: unavailable" in said
    for one in (nuclei, lowlight):
        assert read_comparison(one.out / "comparison.json").rows == one.result.rows


MISFITS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "classes for masks": (ec.digits_cnn, "nuclei", "segmentation needs"),
    "other size": (lambda: ec.unet_small(size=32), "nuclei", r"masks to be learned have .*\(64"),
    "pictures of one channel": (lambda: ec.unet_small(channels=3), "lowlight", "pictures to be"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_model_that_cannot_give_the_targets_is_refused(misfit: str) -> None:
    make, name, why = MISFITS[misfit]
    data = load_data(generated(name, samples=(4, 4, 4)))
    with pytest.raises(TrainingError, match=why):
        ec.objective_for(make(), data.targets)


def test_logits_of_more_than_two_classes_are_learned_and_scored(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((12, 12, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 1)(inputs))
    x = np.random.default_rng(0).random((60, 12, 12, 1))
    data = load_data({"x": x, "y": (3 * x[..., 0]).astype(int)})
    objective = ec.objective_for(model, data.targets)
    assert (objective.from_logits, objective.classes) == (True, 3)
    training = ec.Training(epochs=40, batch_size=4, learning_rate=0.1)
    train, validation = data.train, data.validation
    ec.fine_tune(model, (train.x, train.y), (validation.x, validation.y), objective, training)
    (row,) = compare(model, data, (), out=tmp_path, profiling=QUICK).rows
    assert row.accuracy.value > data.trivial[0] + 0.3
