"""Which changes make a trained stage another one, and which do not."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.data import Dataset, Split, load_data
from edgekit.errors import RunError
from edgekit.optimization import load_parent, optimize
from edgekit.progress import FOUND, Step, silent
from edgekit.stages import run_stages
from edgekit.store import STAGES, open_run, put, read_facts
from edgekit_converters import Training, parse_recipe

Reuse = Callable[..., list[bool]]
UNTRAINED = Training(epochs=0)


@pytest.fixture
def data(digits_npz: Path) -> Dataset:
    return load_data(digits_npz, (8, 8, 1))


@pytest.fixture
def reused(tiny_keras: Path, data: Dataset, tmp_path: Path) -> Reuse:
    """Carry a recipe's stages out in one run folder and say which were there already."""
    run = open_run(tmp_path)

    def carry_out(recipe: str = "lcrm", **changes: Any) -> list[bool]:
        parent = load_parent(changes.pop("model", tiny_keras))
        given = {"data": data, "training": UNTRAINED, **changes}
        staged = run_stages(run, parent, parse_recipe(recipe), progress=silent, **given)
        staged.load()
        return [stage.reused for stage in staged.stages]

    assert carry_out() == [False]
    return carry_out


@pytest.mark.parametrize("recipe", ["lcrm", "lcrm+int8", "LCRM + float16", "lcrm(style=equations)"])
def test_the_same_pass_on_the_same_things_is_reused(reused: Reuse, recipe: str) -> None:
    assert reused(recipe) == [True]


@pytest.mark.parametrize(
    "changes",
    [
        {"training": Training(epochs=0, seed=1)},
        {"training": Training(epochs=0, learning_rate=0.5)},
        {"training": Training(epochs=0, batch_size=16)},
        {"recipe": "lcrm(style=table4)"},
        {"recipe": "lcrm(where='c2')"},
        {"data": None},
    ],
    ids=["seed", "learning rate", "batch size", "style", "where", "no data"],
)
def test_anything_that_may_change_the_result_is_another_stage(
    reused: Reuse, changes: dict[str, Any]
) -> None:
    assert reused(**changes) == [False]
    assert reused() == [True]


def test_one_changed_pixel_is_another_stage(reused: Reuse, data: Dataset) -> None:
    x = data.train.x.copy()
    x[0, 0, 0, 0] += 1
    assert reused(data=replace(data, train=Split(x, data.train.y))) == [False]


def test_one_changed_weight_is_another_stage(
    reused: Reuse, tiny_keras: Path, tmp_path: Path
) -> None:
    import keras

    model = keras.models.load_model(tiny_keras)
    weights = model.get_weights()
    weights[0] = np.nextafter(weights[0], 1)
    model.set_weights(weights)
    model.save(tmp_path / "other.keras")
    assert reused(model=tmp_path / "other.keras") == [False]


def test_a_recipe_without_a_pass_on_the_model_has_no_stage(reused: Reuse) -> None:
    assert reused("int8") == []


def test_the_parent_is_never_changed(tiny_keras: Path, data: Dataset, tmp_path: Path) -> None:
    parent = load_parent(tiny_keras)
    before = [weight.copy() for weight in parent.model.get_weights()]
    training = Training(epochs=1, learning_rate=0.1)
    run_stages(open_run(tmp_path), parent, parse_recipe("lcrm"), data, training, silent)
    after = parent.model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


OWN_LAYER = """
import keras
from keras import layers

class Scale(layers.Layer):
    def call(self, x):
        return 2.0 * x

def build():
    x = keras.Input((8, 8, 1))
    y = layers.Conv2D(3, 3, name="c1")(x)
    y = Scale(name="own")(layers.Conv2D(4, 3, name="c2")(y))
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(10)(y))
"""


def test_layers_of_the_users_own_file_survive_being_stored(tmp_path: Path) -> None:
    (tmp_path / "own_model.py").write_text(OWN_LAYER)
    parent = load_parent(f"{tmp_path / 'own_model.py'}:build")
    run = open_run(tmp_path / "run")
    staged = run_stages(run, parent, parse_recipe("lcrm"), None, UNTRAINED, silent)
    assert type(staged.load().get_layer("own")).__name__ == "Scale"


def test_settings_of_other_passes_leave_a_stage_alone(reused: Reuse) -> None:
    other = Training(epochs=0, tuning_epochs=3, tuning_learning_rate=0.5)
    assert reused(training=other) == [True]


def test_a_model_that_cannot_be_read_is_trained_again(tiny_keras: Path, tmp_path: Path) -> None:
    run = open_run(tmp_path)
    steps: list[Step] = []

    def carry_out(recipe: str) -> list[bool]:
        done = optimize(tiny_keras, recipe, out=run, training=UNTRAINED, progress=steps.append)
        return [stage.reused for stage in done.stages]

    assert carry_out("lcrm") == [False]
    # Stored as it is, checksums and all, but no model of this Keras.
    (folder,) = (path.parent for path in run.glob("stages/*/model.keras"))
    facts = read_facts(folder)
    shutil.rmtree(folder)

    def other(partial: Path) -> dict[str, Any]:
        (partial / "model.keras").write_text("written by a Keras of the future")
        return facts

    put(run, STAGES, folder.name, "stage lcrm", other)
    # Its file is there already, and nothing needs the model.
    assert carry_out("lcrm") == [True]
    assert not any(step.task == FOUND for step in steps)
    assert carry_out("lcrm+float16") == [False]
    (found,) = (step.detail for step in steps if step.task == FOUND)
    assert found.startswith("stage lcrm was damaged (")
    assert "is neither a Keras .keras file" in found
    assert carry_out("lcrm+dynamic") == [True]


def test_a_file_is_converted_and_scored_once(
    tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    tasks: list[str] = []

    def carry_out(**changes: Any) -> Any:
        tasks.clear()
        given = {"recipe": "lcrm+int8", "data": digits_npz, "training": UNTRAINED, **changes}

        def listen(step: Step) -> None:
            tasks.append(step.task)

        return optimize(tiny_keras, out=tmp_path, progress=listen, **given)

    first = carry_out()
    assert tasks == ["export lcrm+int8", "score lcrm+int8"]
    content = first.file.read_bytes()
    first.file.unlink()
    golden = first.file.with_suffix(".golden.npz")
    golden.unlink()
    golden.write_text("not what it was")
    again = carry_out()
    assert tasks == []
    assert replace(again, stages=()) == replace(first, stages=())
    assert again.file.read_bytes() == content
    assert np.load(golden)["input_0"].shape[0] == 4
    # Written over in place: the stored file is the same one where there are hard links.
    golden.write_text("not what it was")
    assert carry_out().file.read_bytes() == content
    assert np.load(golden)["input_0"].shape[0] == 4
    carry_out(batch=2)
    assert "export lcrm+int8" in tasks
    carry_out(training=replace(UNTRAINED, seed=1))
    assert "export lcrm+int8" in tasks


def test_successors_of_a_stage_with_other_weights_are_done_again(
    tiny_keras: Path, digits_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --deterministic, training again does not give the same weights."""
    import edgekit_converters as ec

    def carry_out(tasks: list[str]) -> list[bool]:
        done = optimize(
            tiny_keras,
            "lcrm+P",
            digits_npz,
            out=tmp_path,
            training=Training(epochs=0, tuning_epochs=0),
            progress=lambda step: tasks.append(step.task),
        )
        return [stage.reused for stage in done.stages]

    def damage_the_first() -> None:
        for folder in (tmp_path / "stages").iterdir():
            if read_facts(folder).get("stage", {}).get("recipe") == "lcrm":
                (folder / "model.keras").write_text("damaged")

    assert carry_out([]) == [False, False]
    damage_the_first()
    again: list[str] = []
    assert carry_out(again) == [False, True]
    assert "export lcrm+P" not in again
    run_pass = ec.run_pass

    def noisy(*given: Any, **more: Any) -> Any:
        outcome = run_pass(*given, **more)
        outcome.model.set_weights([1.001 * weight for weight in outcome.model.get_weights()])
        return outcome

    monkeypatch.setattr(ec, "run_pass", noisy)
    damage_the_first()
    assert carry_out(again) == [False, False]
    assert "export lcrm+P" in again


@pytest.mark.parametrize(("fact", "recipe"), [("stage", "lcrm"), ("proof", "base")])
def test_facts_that_do_not_read_back_end_the_run(
    tiny_keras: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fact: str, recipe: str
) -> None:
    """Done again they would be no better: only an earlier run's are worth another try."""

    def spoilt(folder: Path) -> dict[str, Any]:
        return {name: value for name, value in read_facts(folder).items() if name != fact}

    with monkeypatch.context() as patch:
        patch.setattr("edgekit.stages.read_facts", spoilt)
        patch.setattr("edgekit.exporting.read_facts", spoilt)
        with pytest.raises(RunError, match=rf"was stored .* cannot be read again .*'{fact}'"):
            optimize(tiny_keras, recipe, out=tmp_path, training=UNTRAINED)
    assert optimize(tiny_keras, recipe, out=tmp_path, training=UNTRAINED).file.is_file()
