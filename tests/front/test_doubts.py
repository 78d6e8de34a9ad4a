"""What would mislead unless said: twins, foreign data, test samples seen before."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import ProfileSettings, compare, load_data
from edgekit.data import Split
from edgekit.optimization import load_parent

QUICK = ProfileSettings(runs=2, seconds=0, rounds=1, idle_seconds=0)
ARRAYS = {"x": np.random.default_rng(0).random((40, 4)), "y": np.arange(40) % 2}
OWN_TEST = {"x_test": np.full((6, 4), 0.5), "y_test": np.arange(6) % 2}


@pytest.fixture
def quickly(compared: Any, tmp_path: Path) -> Any:
    def run(model: Any, data: Any, *recipes: str) -> Any:
        return compare(
            model, data, recipes, out=tmp_path, training=compared.training, profiling=QUICK
        )

    return run


def test_a_recipe_that_changed_nothing_is_told_as_the_same_file(
    quickly: Any, compared: Any, models_py: Path
) -> None:
    base, int8, lcrm, both = quickly(
        f"{models_py}:no_conv", compared.data, "int8", "lcrm", "lcrm+int8"
    ).rows
    assert (base.same_as, int8.same_as, lcrm.same_as, both.same_as) == ("", "", "base", "int8")
    assert not lcrm.pareto
    assert not both.pareto


def test_base_that_does_not_fit_the_data_is_doubted(quickly: Any, compared: Any) -> None:
    data = compared.data
    data = data if not isinstance(data, Path) else load_data(data, (8, 8, 1))
    turned = replace(data, test=Split(data.test.x, (data.test.y + 3) % 10))
    (caution,) = quickly(compared.model, turned).cautions
    assert "not clearly better than always guessing" in caution
    assert f"({turned.trivial[0]:.3f})" in caution


def test_training_that_beats_base_is_doubted(quickly: Any, compared: Any, models_py: Path) -> None:
    cautions = quickly(f"{models_py}:tiny", compared.data, "lcrm").cautions
    assert any("not clearly better" in caution for caution in cautions)


def test_test_samples_of_ones_own_are_used_and_trusted() -> None:
    own, drawn = load_data({**ARRAYS, **OWN_TEST}), load_data(ARRAYS)
    assert np.array_equal(own.test.x, OWN_TEST["x_test"].astype(np.float32))
    assert (own.test_drawn_here, drawn.test_drawn_here) == (False, True)
    assert len(drawn.test) == 10


def test_drawn_test_samples_are_a_caution(quickly: Any, tiny_keras: Path) -> None:
    cautions = quickly(tiny_keras, "digits").cautions
    assert any("drew the test samples" in caution for caution in cautions)


def test_other_code_in_the_users_file_is_another_parent(models_py: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.py"
    shutil.copy(models_py, file)
    keys = [load_parent(f"{file}:tiny").key]
    file.write_text(file.read_text() + "\n# changed\n")
    keys.append(load_parent(f"{file}:tiny").key)
    assert keys[0] != keys[1]


def test_each_rewriting_recipe_has_layers_of_its_own(quickly: Any, compared: Any) -> None:
    done = quickly(compared.model, compared.data, "lcrm", "lcrm(style=notebook)", "lcrm+int8")
    by_recipe: dict[str, list[str]] = {}
    for layer in done.layers:
        by_recipe.setdefault(layer.recipe, []).append(layer.layer)
    assert by_recipe == {name: ["c1", "c2", "c3"] for name in ("lcrm", "lcrm(style=notebook)")}
