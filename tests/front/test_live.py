"""Progress of boards that work side by side: lines in logs, a bar for each on a terminal."""

import io

import pytest

from edgekit.cli.live import _Bars, live
from edgekit.progress import FOUND, Step


def test_logs_get_a_line_per_task_and_board_however_they_mix(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with live() as progress:
        progress(Step("export lcrm", 1.0))
        for current in (0.0, 0.5):
            for lane in ("pi", "zero"):
                progress(Step("profile", current, "a.tflite round", lane))
        progress(Step("profile", 1.0, "done", "pi"))
        progress(Step(FOUND, 1.0, "what was measured on zero is used", "zero"))
    assert capsys.readouterr().err.splitlines() == [
        "edgekit: export lcrm",
        "edgekit: pi: profile: a.tflite round",
        "edgekit: zero: profile: a.tflite round",
        "edgekit: pi: profile: done",
        "edgekit: found: what was measured on zero is used",
    ]


def test_a_terminal_gets_a_bar_for_each_board() -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(console=console) as bars:
        shown = _Bars(bars)

        def rows() -> list[tuple[str, float]]:
            return [(task.description, task.completed) for task in bars.tasks]

        shown(Step("train", 0.5))
        assert rows() == [("train", 0.5)]
        shown(Step("profile", 0.25, "a", "pi"))
        shown(Step("profile", 0.75, "b", "zero"))
        shown(Step("profile", 0.5, "a", "pi"))
        assert rows() == [("pi: profile", 0.5), ("zero: profile", 0.75)]
        shown(Step("reconnect", None, "away", "zero"))
        assert rows() == [("pi: profile", 0.5), ("zero: reconnect", 0.0)]
        shown.note("writing the report")
        assert rows() == [("writing the report", 0.0)]
