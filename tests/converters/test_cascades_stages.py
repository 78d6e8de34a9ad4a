"""Stages of cascades as files, and what a cascade leaves in the process that ran it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascade_runs import cascade, chain, data
from refused_models import build

from edgekit_converters import (
    ModelLoadError,
    Qat,
    Quantize,
    export_tflite,
    fingerprint,
    load_stage,
    save_stage,
    training_facts,
)
from edgekit_converters.train import Training

HERE = Path(__file__).parent


def file_of(model: Any, folder: Path) -> bytes:
    images = [data().train[0]]
    path = folder / "m.tflite"
    return export_tflite(model, Quantize("int8"), path, representative=images).path.read_bytes()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, str]:
    """The folder of a stage behind prune, cluster and qat, its file, and the Keras fingerprint."""
    folder = tmp_path_factory.mktemp("stage")
    outcomes = cascade(chain(), "prune(0.5)+cluster(8, depthwise=true)+qat")
    save_stage(outcomes[-1].model, folder)
    work = tmp_path_factory.mktemp("work")
    return folder, file_of(outcomes[-1].model, work), fingerprint(outcomes[1].model)


def test_a_stage_read_again_gives_the_same_file(
    stored: tuple[Path, bytes, str], tmp_path: Path
) -> None:
    folder, content, key = stored
    model = load_stage(folder)
    assert (model.name, model.step, model.caution) == ("chain", Qat(), 0)
    assert [str(step) for step in model.before] == ["prune(0.5)", "cluster(8, depthwise=true)"]
    assert fingerprint(model.keras) == key
    assert file_of(model, tmp_path) == content
    save_stage(model, tmp_path)
    for name in ("rounded.npz", "rounded.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_stages_of_models_with_carried_layers(tmp_path: Path) -> None:
    for name in ("custom", "nested_twice"):
        folder = tmp_path / name
        folder.mkdir()
        (outcome,) = cascade(build(name), "Q")
        save_stage(outcome.model, folder)
        content = file_of(outcome.model, folder)
        assert file_of(load_stage(folder), folder) == content


FRESH = """
import hashlib, os, sys
from pathlib import Path
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.insert(0, sys.argv[1])
import keras
version, before = keras.__version__, dict(os.environ)
from cascade_runs import cascade, chain
from test_cascades_stages import file_of
from edgekit_converters import load_stage
content = file_of(load_stage(Path(sys.argv[2])), Path(sys.argv[3]))
cascade(chain(), "PCQ")
import tensorflow as tf
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert keras.__version__ == version
assert tf.keras.__version__ == version, tf.keras.__version__
assert tf.keras.Model is keras.Model
print(hashlib.sha256(content).hexdigest())
"""

QUIET = ("WARNING: All log messages before absl", "I0000", "INFO: Created TensorFlow Lite")


@pytest.mark.slow
def test_another_process_gives_the_same_file_says_nothing_and_keeps_its_keras(
    stored: tuple[Path, bytes, str], tmp_path: Path
) -> None:
    folder, content, _ = stored
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", FRESH, str(HERE), str(folder), str(tmp_path)],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONWARNINGS": "error,ignore::DeprecationWarning"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [hashlib.sha256(content).hexdigest()]
    told = [line for line in run.stderr.splitlines() if line and not line.startswith(QUIET)]
    assert told == []


@pytest.mark.parametrize("value", ["0", "1", None])
def test_tfmot_leaves_the_environment_as_it_was(value: str | None) -> None:
    script = "import os; import edgekit_converters.cascades.library as l; " \
        "print(os.environ.get('TF_USE_LEGACY_KERAS'))"  # fmt: skip
    given = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env=given if value is None else {**given, "TF_USE_LEGACY_KERAS": value},
    )  # fmt: skip
    assert run.stdout.split() == [str(value)]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(bytes(content))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncated, flipped, emptied, removed])
@pytest.mark.parametrize("name", ["model.keras", "rounded.npz"])
def test_a_damaged_file_is_named(
    stored: tuple[Path, bytes, str], name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(stored[0], tmp_path / "copy"))
    damage(folder / name)
    with pytest.raises(ModelLoadError, match="copy"):
        load_stage(folder)


@pytest.mark.parametrize(
    "facts",
    [
        "", "{", "[]", "null", '"PCQ"', "{}", '{"recipe": "Q"}', '{"recipe": 5, "caution": 0}',
        '{"recipe": "base", "caution": 0}', '{"recipe": "P", "caution": 0}',
        '{"recipe": "nonsense", "caution": 0}', '{"recipe": "Q", "caution": 0}',
        '{"recipe": "cluster(100)+qat", "caution": 0}',
        '{"recipe": "prune(0.5)+cluster(8, depthwise=true)+qat", "caution": "much"}',
    ],
)  # fmt: skip
def test_facts_that_do_not_fit_are_damage_too(
    stored: tuple[Path, bytes, str], facts: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(stored[0], tmp_path / "copy"))
    (folder / "rounded.json").write_text(facts)
    with pytest.raises(ModelLoadError, match=r"The quantised model in .*copy is damaged: \S"):
        load_stage(folder)


def test_weights_of_another_model_are_damage(
    stored: tuple[Path, bytes, str], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(stored[0], tmp_path / "copy"))
    with np.load(folder / "rounded.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    for change in ({"weight_0": kept["weight_0"].ravel()[:1]}, {"weight_999": np.zeros(1)}):
        np.savez(folder / "rounded.npz", **{**kept, **change})
        with pytest.raises(ModelLoadError, match="is damaged"):
            load_stage(folder)


def test_a_stage_of_pruning_is_a_plain_keras_file(tmp_path: Path) -> None:
    outcomes = cascade(chain(), "PC")
    for outcome in outcomes:
        save_stage(outcome.model, tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras"]
        assert fingerprint(load_stage(tmp_path)) == fingerprint(outcome.model)


def test_only_the_settings_that_matter_make_another_stage() -> None:
    facts = training_facts(Qat(), Training(epochs=3))
    assert facts == training_facts(Qat(), Training(epochs=9, learning_rate=1.0))
    assert facts != training_facts(Qat(), Training(tuning_epochs=3))
    assert json.loads(json.dumps(facts)) == facts
