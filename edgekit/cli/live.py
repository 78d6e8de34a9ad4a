"""Progress for people, on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from edgekit.progress import FOUND, Step

if TYPE_CHECKING:
    from rich.progress import TaskID


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
    """A bar for each lane, which each new task takes over."""

    def __init__(self, bars: object) -> None:
        from rich.progress import Progress

        if not isinstance(bars, Progress):
            raise TypeError(f"a rich Progress is needed, not {type(bars).__name__}")
        self._bars = bars
        self._rows: dict[str, tuple[TaskID, str]] = {}

    def __call__(self, step: Step) -> None:
        if step.task == FOUND:
            # Above the bar, where the next task does not take it away.
            self._bars.console.print(f"edgekit: {step.detail}", highlight=False, markup=False)
            return
        if step.lane not in self._rows:
            # Another number of lanes is another part of the work.
            if "" in {step.lane, *self._rows}:
                for row, _ in self._rows.values():
                    self._bars.remove_task(row)
                self._rows.clear()
            self._rows[step.lane] = self._bars.add_task("", total=None, detail=""), step.task
        row, task = self._rows[step.lane]
        if step.task != task:
            self._rows[step.lane] = row, step.task
            self._bars.reset(row)
        self._bars.update(
            row,
            description=f"{step.lane}: {step.task}" if step.lane else step.task,
            detail=step.detail,
            completed=step.fraction or 0.0,
            total=None if step.fraction is None else 1.0,
        )

    def note(self, text: str) -> None:
        self(Step(text))


class _Lines:
    """A line at the start and the end of each task, none in between: logs stay short."""

    def __init__(self) -> None:
        self._tasks: dict[str, str] = {}

    def __call__(self, step: Step) -> None:
        finished = step.fraction is not None and step.fraction >= 1
        if step.task != self._tasks.get(step.lane, "") or finished:
            lane = f"{step.lane}: " if step.lane and step.task != FOUND else ""
            detail = f": {step.detail}" if step.detail else ""
            print(f"edgekit: {lane}{step.task}{detail}", file=sys.stderr, flush=True)
        self._tasks[step.lane] = step.task

    def note(self, text: str) -> None:
        self(Step(text))
