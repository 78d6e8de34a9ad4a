"""`edgekit train`: the best epoch as a file, and its scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli import INTERRUPTED, OK, USAGE, main
from edgekit.data import load_data


def test_the_best_epoch_is_written_and_rated_on_validation_and_test(
    models_py: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import edgekit_converters as ec

    out = tmp_path / "made" / "trained.keras"
    asked = ["train", f"{models_py}:tiny", "--data", "digits", "--epochs", "3", "--json"]
    assert main([*asked, "--batch-size", "64", "--learning-rate", "0.01", "-o", str(out)]) == OK
    told = json.loads(capsys.readouterr().out)
    model, data = ec.load_model(out), load_data("digits", (8, 8, 1))
    assert told["file"] == str(out)
    assert told["best_epoch"] == 1 + int(np.argmin(told["history"]["val_loss"]))
    for name, split in (("validation", data.validation), ("test", data.test)):
        right = model.predict(split.x, verbose=0).argmax(-1) == split.y
        metric = told[name]["metrics"][0]
        assert metric["name"] == "accuracy"
        assert metric["value"]["value"] == pytest.approx(right.mean())
        assert metric["value"]["low"] <= right.mean() <= metric["value"]["high"]
        assert told[name]["samples"] == len(split.y)
    assert told["validation"]["metrics"][0]["value"]["value"] == pytest.approx(
        told["history"]["val_accuracy"][told["best_epoch"] - 1], abs=1e-6
    )
    assert [file.name for file in out.parent.iterdir()] == ["trained.keras"]
    # Without the optimiser's moments the file is the weights and some kilobytes.
    assert out.stat().st_size < 4 * model.count_params() + 40_000


def test_a_model_given_in_python_is_not_changed(models_py: Path, tmp_path: Path) -> None:
    import edgekit_converters as ec
    from edgekit.optimization import load_parent
    from edgekit.training.teaching import teach

    parent, data = load_parent(f"{models_py}:tiny"), load_data("digits", (8, 8, 1))
    before = [weight.copy() for weight in parent.model.get_weights()]
    done = teach(parent, data, tmp_path / "out.keras", ec.Training(epochs=1, batch_size=256))
    assert done.epochs == 1
    assert all(map(np.array_equal, before, parent.model.get_weights()))
    assert not all(map(np.array_equal, before, ec.load_model(done.file).get_weights()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "model.h5"], "model.h5: Keras models end in .keras"),
        ([], "name its file with -o OUT.keras"),
        (["-o", "out.keras", "--epochs", "0"], "--epochs 0 trains nothing"),
        (["-o", "out.keras", "--batch-sizes", "16"], "--batch-sizes is of --profile"),
        (["-o", "out.keras", "--profile"], "-o is of training"),
        (["--profile", "--epochs", "3"], "--epochs is of training"),
        (["--profile", "--against", "a.keras", "--recipe", "lcrm"], "both name a second model"),
        (["--profile", "--steps", "0"], "at least 1 step"),
        (["--profile", "--seconds", "nan"], "--seconds is nan"),
        (["--profile", "--recipe", "qat"], "not behind qat"),
        (["--profile", "--recipe", "lcrm(auto=true)"], "or leave out auto"),
        (["--profile", "--recipe", "int8"], "--recipe 'int8'"),
        (["--profile", "--meter", "rapl:x"], "meter"),
        (["--profile", "--board-profile", "pi99"], "there is no board profile 'pi99'"),
        (["--backend", "torch"], "torch"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    models_py: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["train", f"{models_py}:tiny", "--data", "digits", *arguments]
    assert main(asked) == USAGE
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("model", "said"),
    [("two_outputs", "has 2 outputs"), ("frozen", "has no weights that may be trained")],
)
def test_a_model_that_cannot_be_trained_is_refused(
    models_py: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, said: str
) -> None:
    asked = ["train", f"{models_py}:{model}", "--data", "digits", "-o", str(tmp_path / "o.keras")]
    assert main(asked) == USAGE
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_model_that_is_trained_is_never_overwritten(
    models_py: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import edgekit_converters as ec

    given, link = tmp_path / "given.keras", tmp_path / "link.keras"
    ec.save_model(ec.load_model(f"{models_py}:tiny"), given)
    link.symlink_to(given)
    before = given.read_bytes()
    assert main(["train", str(given), "--data", "digits", "-o", str(link)]) == USAGE
    assert "is the model that was given" in capsys.readouterr().err
    assert given.read_bytes() == before


@pytest.mark.parametrize("arguments", [["-o", "{}/o.keras"], ["--profile", "--out", "{}"]])
def test_a_folder_that_cannot_be_written_is_told_of_before_any_work(
    models_py: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    # Root ignores permissions, but not those of the kernel's own folders.
    asked = ["train", f"{models_py}:tiny", "--data", "digits"]
    assert main([*asked, *(each.format("/sys/kernel") for each in arguments)]) == USAGE
    said = capsys.readouterr().err
    assert "/sys/kernel cannot be written" in said
    assert f"another folder with {'-o' if '-o' in arguments else '--out'}" in said
    assert "kept" not in said
    assert "epoch" not in said
    assert "batches" not in said


HIDDEN = """
import os, sys

class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "keras":
            with open(sys.argv[2], "a") as file:
                print([os.environ.get(one) for one in sys.argv[1].split()], file=file)

sys.meta_path.insert(0, Told())
from edgekit.cli import main
sys.exit(main(["train", "nowhere.keras", "--data", "digits", "--profile"]))
"""


def test_the_process_that_measures_hides_gpus_from_itself_before_keras_is_imported(
    tmp_path: Path,
) -> None:
    names, seen = "CUDA_VISIBLE_DEVICES JAX_PLATFORMS KERAS_TORCH_DEVICE", tmp_path / "seen"
    ran = subprocess.run(
        [sys.executable, "-c", HIDDEN, names, str(seen)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == USAGE, ran.stderr
    assert seen.read_text().splitlines() == ["['', 'cpu', 'cpu']"]


def test_an_interrupted_training_claims_to_keep_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "models.py"
    model.write_text("def stopped():\n    raise KeyboardInterrupt\n")
    asked = ["train", f"{model}:stopped", "--data", "digits", "-o", str(tmp_path / "o.keras")]
    assert main(asked) == INTERRUPTED
    said = capsys.readouterr().err
    assert said.endswith("edgekit: interrupted; an unfinished training or profile is not kept\n")
