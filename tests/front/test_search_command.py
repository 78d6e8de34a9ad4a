"""`edgekit search` with real trainings: the table, the best model, going on after a kill."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import keras
import pytest

from edgekit.cli import main
from edgekit.outputs import free_name

pytest.importorskip("optuna")

NAMES = "substitute=standard,group(2)+dilated,pointwise,group(5)"


Search = Callable[..., str]


@pytest.fixture
def search(
    tiny_keras: Path, digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Search:
    """The command in this process: its output, or where it is to fail what it said."""

    def run(*more: str, code: int = 0) -> str:
        kept = signal.getsignal(signal.SIGTERM)
        try:
            ended = main([*command(tiny_keras, digits_npz, tmp_path)[3:], *more])
        finally:
            signal.signal(signal.SIGTERM, kept)
        said = capsys.readouterr()
        assert ended == code, said.err
        return said.err if code else said.out

    return run


def command(model: Path, data: Path, folder: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "edgekit", "search", str(model), "--data", str(data),
        "--storage", str(folder / "search.db"), "--epochs", "2", *more,
    ]  # fmt: skip


@pytest.mark.slow
def test_substitutes_are_rated_and_the_best_is_a_model_of_keras_own_layers(
    search: Search, tiny_keras: Path, tmp_path: Path
) -> None:
    before = tiny_keras.read_bytes()
    best = tmp_path / "best.keras"
    narrow = ("--choices", NAMES)
    told = json.loads(search(*narrow, "-o", str(best), "--json"))
    by_name = {trial["values"]["substitute"]: trial for trial in told["trials"]}
    assert list(by_name) == ["standard", "group(2)+dilated", "pointwise", "group(5)"]
    assert by_name["group(5)"]["state"] == "failed"
    assert "5 groups do not divide" in by_name["group(5)"]["reason"]
    standard = by_name["standard"]["facts"]
    assert (standard["parameters"], standard["macs"]) == tuple(told["given"].values())
    assert by_name["pointwise"]["facts"]["replaced"] == ["c2", "c3"]
    assert told["best"]["values"]["substitute"] in ("group(2)+dilated", "pointwise")
    model = keras.models.load_model(best)
    assert model.count_params() == told["best"]["facts"]["parameters"]
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    assert 0 <= told["test"]["value"] <= 1
    assert tiny_keras.read_bytes() == before

    again = json.loads(search(*narrow, "--json"))
    assert again["trials"] == told["trials"]
    assert again["test"] is None
    text = search(*narrow)
    assert "★" in text
    assert "-o best.keras" in text
    assert "5 groups do not divide" in text
    other = search(*narrow, "--seed", "3", code=2)
    assert "was made with another seed (0, now 3)" in other


@pytest.mark.slow
def test_hyperparameters_train_the_whole_model_and_are_told_with_how_to_use_them(
    search: Search,
) -> None:
    more = ("--what", "hyperparameters", "--choices", "batch_size=64,128", "--trials", "2")
    text = search(*more)
    assert "2 of 750 points tried" in text
    assert "keras.optimizers." in text
    assert "--learning-rate" in text
    told = json.loads(search(*more, "--json"))
    assert [set(trial["values"]) for trial in told["trials"]] == [
        {"initializer", "batch_size", "optimizer", "learning_rate", "activation"}
    ] * 2
    assert Path(told["model"]).exists()


@pytest.mark.slow
def test_a_killed_search_loses_its_running_trial_and_nothing_else(
    search: Search, tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    narrow = ("--choices", "substitute=standard,pointwise,separable")
    with subprocess.Popen(
        command(tiny_keras, digits_npz, tmp_path, *narrow), stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "trial 2 of 3" in line:
                os.kill(child.pid, signal.SIGKILL)
                break
    assert child.returncode == -signal.SIGKILL
    first = rows(tmp_path)
    assert [state for _, state, _ in first] == ["COMPLETE", "RUNNING"]
    told = json.loads(search(*narrow, "--json"))
    assert [trial["number"] for trial in told["trials"]] == [0, 2, 3]
    names = [trial["values"]["substitute"] for trial in told["trials"]]
    assert names == ["standard", "pointwise", "separable"]
    after = rows(tmp_path)
    assert after[0] == first[0]
    assert [state for _, state, _ in after] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def rows(folder: Path) -> list[tuple[int, str, str]]:
    with closing(sqlite3.connect(folder / "search.db")) as found:
        return found.execute(
            "SELECT number, state, datetime_complete FROM trials ORDER BY number"
        ).fetchall()


def test_without_optuna_one_sentence_says_how_to_get_it(
    tiny_keras: Path, digits_npz: Path, tmp_path: Path
) -> None:
    start = "import sys; sys.modules['optuna'] = None; from edgekit.cli import main; sys.exit(main("
    arguments = command(tiny_keras, digits_npz, tmp_path)[3:]
    done = subprocess.run(
        [sys.executable, "-c", f"{start}{arguments!r}))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("edgekit: A search needs Optuna")
    assert "pip install 'edgekit[search]'" in done.stderr
    assert not (tmp_path / "search.db").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--choices", "pointwise"], "give NAME=VALUE"),
        (["--choices", "kernel=3"], "no 'kernel' in a search of substitutes"),
        (["--trials", "0"], "trials is 0; it must be 1 or more"),
        (["--epochs", "0"], "epochs is 0"),
        (["-o", "best.h5"], "end in .keras"),
        (["-o", "nowhere/best.keras"], "does not exist"),
        (["--where", "dense*"], "matches no convolution"),
        (["--where", "c1"], "choose others by where, or leave it out"),
        (["--what", "hyperparameters", "--batch-size", "64"], "--choices batch_size=64"),
        (["--what", "hyperparameters", "--where", "c1"], "choose substitutes"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_training(
    search: Search, tmp_path: Path, more: list[str], told: str
) -> None:
    assert told in search(*more, code=2)
    assert not (tmp_path / "search.db").exists()


def test_the_searched_model_is_never_overwritten(
    search: Search, tiny_keras: Path, tmp_path: Path
) -> None:
    before, link = tiny_keras.read_bytes(), tmp_path / "link.keras"
    link.symlink_to(tiny_keras)
    for name in (tiny_keras, link):
        assert "is the model that was given" in search("-o", str(name), code=2)
    assert tiny_keras.read_bytes() == before
    assert not (tmp_path / "search.db").exists()


def test_the_standard_convolution_alone_is_no_best_trial_and_the_text_says_so(
    tiny_keras: Path, digits_npz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = command(tiny_keras, digits_npz, tmp_path, "--choices", "substitute=standard")[3:]
    assert main([*asked, "--epochs", "1"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "only the standard convolution is complete, and it is no substitute" in said
    assert main([*asked, "--epochs", "1", "-o", str(tmp_path / "best.keras")]) == 2
    assert "only the standard convolution is complete" in capsys.readouterr().err


def test_the_hint_names_a_file_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(free_name("best")) == "best.keras"
    Path("best.keras").touch()
    Path("best-2.keras").symlink_to("gone.keras")
    assert str(free_name("best")) == "best-3.keras"
