"""Progress for people, on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from edgekit.progress import FOUND, Step


class Live(Protocol):
    """Listens to steps, and takes short notes of its own."""

    def __call__(self, step: Step) -> None:
        """Shows the step."""

    def note(self, text: str) -> None:
        """Shows that something is being done whose end cannot be foreseen."""


@contextmanager
def live() -> Iterator[Live]:
    """A listener for the length of one piece of work."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


class _Bars:
    """One bar, which each new task takes over."""

    def __init__(self, bars: object) -> None:
        from rich.progress import Progress

        if not isinstance(bars, Progress):
            raise TypeError(f"a rich Progress is needed, not {type(bars).__name__}")
        self._bars = bars
        self._row = bars.add_task("", total=None, detail="")
        self._task = ""

    def __call__(self, step: Step) -> None:
        if step.task == FOUND:
            # Above the bar, where the next task does not take it away.
            self._bars.console.print(f"edgekit: {step.detail}", highlight=False, markup=False)
            return
        if step.task != self._task:
            self._task = step.task
            self._bars.reset(self._row)
        self._bars.update(
            self._row,
            description=step.task,
            detail=step.detail,
            completed=step.fraction or 0.0,
            total=None if step.fraction is None else 1.0,
        )

    def note(self, text: str) -> None:
        self(Step(text))


class _Lines:
    """A line at the start and the end of each task, none in between: logs stay short."""

    def __init__(self) -> None:
        self._task = ""

    def __call__(self, step: Step) -> None:
        finished = step.fraction is not None and step.fraction >= 1
        if step.task != self._task or finished:
            detail = f": {step.detail}" if step.detail else ""
            print(f"edgekit: {step.task}{detail}", file=sys.stderr, flush=True)
        self._task = step.task

    def note(self, text: str) -> None:
        self(Step(text))
