"""Studies on SQLite: what is tried next, what survives, and whom a study refuses.

The scores are those of a known function: what is tested is the loop over trials, with Optuna.
"""

import fcntl
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.errors import SearchError, TrainingError
from edgekit_converters.search.space import Space, Values
from edgekit_converters.search.storage import open_study
from edgekit_converters.search.study import (
    Evaluate,
    News,
    Report,
    Sampler,
    Trial,
    finished,
    importances,
    run_trials,
)

pytest.importorskip("optuna")

SPACE = Space({"size": (1, 2, 3, 4, 5), "kind": ("a", "b", "c"), "rate": (0.1, 0.01, 0.001)})
IDENTITY = {"model": "m" * 64, "epochs": 3}


def score(values: Values) -> float:
    return {"a": 0.1, "b": 0.5, "c": 0.3}[str(values["kind"])] + 0.01 * float(values["size"])


def known(number: int, values: Values, report: Report) -> tuple[float, dict[str, Any]]:
    for epoch in (1, 2, 3):
        report(epoch, score(values) * epoch / 3)
    return score(values), {"note": number}


def searched(
    path: Path,
    trials: int,
    evaluate: Evaluate = known,
    *,
    sampler: Sampler = "tpe",
    pruner: Any = "none",
    space: Space = SPACE,
    listen: Callable[[News], None] = lambda news: None,
) -> tuple[Trial, ...]:
    with open_study(path, "study", IDENTITY) as study:
        run_trials(
            study, space, evaluate,
            sampler=sampler, pruner=pruner, trials=trials, epochs=3, seed=7, listen=listen,
        )  # fmt: skip
        return finished(study)


def values(trials: tuple[Trial, ...]) -> list[Values]:
    return [trial.values for trial in trials]


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_search_that_goes_on_tries_what_an_uninterrupted_one_tries(
    tmp_path: Path, sampler: Sampler
) -> None:
    whole = searched(tmp_path / "whole.db", 8, sampler=sampler)
    part = searched(tmp_path / "parts.db", 5, sampler=sampler)
    assert searched(tmp_path / "parts.db", 5, sampler=sampler) == part
    rest = searched(tmp_path / "parts.db", 8, sampler=sampler)
    assert rest[:5] == part
    assert values(rest) == values(whole)
    assert [trial.score for trial in rest] == [score(trial.values) for trial in rest]


def test_no_point_is_tried_twice_and_the_end_of_the_space_is_the_end(tmp_path: Path) -> None:
    space = Space({"size": (1, 2), "kind": ("a", "b", "c")})
    for sampler in ("grid", "tpe"):
        trials = searched(tmp_path / f"{sampler}.db", 50, sampler=sampler, space=space)
        assert len({str(trial.values) for trial in trials}) == len(trials) == space.size


def test_tpe_prefers_what_was_best_and_the_importance_names_it() -> None:
    import optuna

    kinds: list[Any] = []
    for seed in range(8):
        study = optuna.create_study(direction="maximize")
        run_trials(
            study, SPACE, known,
            sampler="tpe", pruner="none", trials=16, epochs=3, seed=seed, listen=lambda news: None,
        )  # fmt: skip
        kinds += [trial.values["kind"] for trial in finished(study)[4:]]
        found = importances(study)
        assert max(found, key=lambda name: found[name]) == "kind"
        assert sum(found.values()) == pytest.approx(1)
    # A third of the points have the best kind.
    assert kinds.count("b") > 0.42 * len(kinds)


def test_a_trial_that_was_lost_is_tried_again_under_another_number(tmp_path: Path) -> None:
    path = tmp_path / "study.db"

    def lost(number: int, given: Values, report: Report) -> tuple[float, dict[str, Any]]:
        if number == 2:
            raise KeyboardInterrupt
        return known(number, given, report)

    with pytest.raises(KeyboardInterrupt):
        searched(path, 6, lost)
    assert states(path) == ["COMPLETE", "COMPLETE", "RUNNING"]
    again = searched(path, 6)
    assert states(path) == ["COMPLETE", "COMPLETE", "FAIL", *["COMPLETE"] * 4]
    assert [trial.number for trial in again] == [0, 1, 3, 4, 5, 6]
    assert values(again) == values(searched(tmp_path / "whole.db", 6))


def test_a_trial_whose_model_cannot_be_kept_ends_the_search_and_is_tried_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "study.db"

    def full(number: int, given: Values, report: Report) -> tuple[float, dict[str, Any]]:
        if number == 1:
            raise SearchError("no room")
        return known(number, given, report)

    with pytest.raises(SearchError, match="no room"):
        searched(path, 3, full, sampler="grid")
    assert states(path) == ["COMPLETE", "RUNNING"]
    again = searched(path, 3, sampler="grid")
    assert values(again) == values(searched(tmp_path / "whole.db", 3, sampler="grid"))


def test_what_a_lost_trial_had_reached_competes_with_no_other(tmp_path: Path) -> None:
    def lost(number: int, given: Values, report: Report) -> tuple[float, dict[str, Any]]:
        if number in (0, 1, 2):
            report(1, 9.0)
            raise KeyboardInterrupt
        return known(number, given, report)

    space = Space({"kind": ("b", "c", "a"), "size": (5, 4, 3)})
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "s.db", 9, lost, sampler="grid", pruner="halving", space=space)
    again = searched(tmp_path / "s.db", 9, sampler="grid", pruner="halving", space=space)
    whole = searched(tmp_path / "w.db", 9, sampler="grid", pruner="halving", space=space)
    assert [(one.values, one.state) for one in again] == [(one.values, one.state) for one in whole]
    assert {one.state for one in whole} == {"complete", "pruned"}


def test_an_error_of_the_search_itself_is_not_taken_for_the_storages(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="the version of a thing"),
        open_study(tmp_path / "s.db", "study", IDENTITY),
    ):
        raise RuntimeError("the version of a thing")


def states(path: Path) -> list[str]:
    with sqlite3.connect(path) as found:
        rows = found.execute("SELECT state FROM trials ORDER BY number").fetchall()
    found.close()
    return [state for (state,) in rows]


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_a_hopeless_trial_is_given_up_and_says_so(tmp_path: Path, pruner: str) -> None:
    space = Space({"kind": ("b", "c", "a"), "size": (5, 4, 3, 2, 1)})
    told: list[News] = []
    trials = searched(tmp_path / "s.db", 15, pruner=pruner, space=space, listen=told.append)
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    assert all(f"of 3 at {trial.score:.3f} ({pruner})" in trial.reason for trial in pruned)
    assert {news.ended.state for news in told if news.ended} == {"complete", "pruned"}
    best = max(trials, key=lambda trial: score(trial.values))
    assert best.state == "complete"


def test_a_trial_that_cannot_work_fails_with_its_reason_once(tmp_path: Path) -> None:
    def picky(number: int, given: Values, report: Report) -> tuple[float, dict[str, Any]]:
        if given["kind"] == "b":
            raise TrainingError("b diverges")
        return known(number, given, report)

    space = Space({"kind": ("a", "b", "c"), "size": (1,)})
    trials = searched(tmp_path / "s.db", 3, picky, sampler="grid", space=space)
    failed = [trial for trial in trials if trial.state == "failed"]
    assert [(trial.values["kind"], trial.reason) for trial in failed] == [("b", "b diverges")]
    assert [trial.state for trial in trials].count("complete") == 2
    assert searched(tmp_path / "s.db", 3, sampler="grid", space=space) == trials


def test_other_circumstances_are_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    searched(path, 1)
    for other, told in (
        ({**IDENTITY, "epochs": 4}, r"another epochs \(3, now 4\)"),
        ({**IDENTITY, "model": "n" * 64}, r"another model \(mmmmmmmm, now nnnnnnnn\)"),
        ({**IDENTITY, "where": ["a"]}, "another where"),
    ):
        with (
            pytest.raises(SearchError, match=rf"'study' in .*s\.db.*{told}.*--study"),
            open_study(path, "study", other),
        ):
            pass
    with open_study(path, "another", {"epochs": 4}) as study:
        assert finished(study) == ()


def test_what_is_no_storage_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("no database at all, but longer than a header of a hundred bytes " * 4)
    with sqlite3.connect(other) as made:
        made.execute("CREATE TABLE recipes (name TEXT)")
    made.close()
    cases = [
        (text, "study", "cannot be used as a study's storage"),
        (other, "study", r"something else \(its tables: recipes\)"),
        (tmp_path, "study", "is a folder"),
        (tmp_path / "none" / "s.db", "study", "cannot be written"),
        (tmp_path / "s.db", "../x", "a name has letters"),
    ]
    for path, name, told in cases:
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(SearchError, match=told), open_study(path, name, IDENTITY):
            pass
        assert not before or path.read_bytes() == before


def test_two_searches_do_not_share_a_storage_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    searched(path, 1)
    with (tmp_path / ".s.db.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SearchError, match="in use by another search"):
            searched(path, 2)
    assert len(searched(path, 2)) == 2


def test_a_study_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    import optuna

    path = tmp_path / "s.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    theirs = optuna.create_study(storage=storage, study_name="study", direction="maximize")
    theirs.optimize(lambda trial: trial.suggest_int("x", 0, 3), n_trials=1)
    storage.engine.dispose()
    with pytest.raises(SearchError, match="not made by edgekit search"):
        searched(path, 2)
