"""The sensitivity scan of a model, on its own: what `lcrm(auto=true)` would choose from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.choosing import Scannable, place_of, scanned
from edgekit.data import Dataset
from edgekit.journal import alone, under_way
from edgekit.progress import Listener, silent
from edgekit.stages import Parent, training_data, versions
from edgekit.store import StageDamageError, open_run, set_aside

if TYPE_CHECKING:
    from edgekit_converters import Scanned, Training
    from edgekit_converters.passes import Lcrm


def scan(
    parent: Parent,
    step: Lcrm,
    data: Dataset,
    *,
    out: str | Path = "edgekit-runs",
    training: Training | None = None,
    progress: Listener = silent,
) -> Scanned:
    """Scans the layers that the automatic pass may replace, and prices what its goal is about.

    Both are kept in `out`, where the recipe that starts with the pass finds them. Of `training`
    only the seed matters.

    Raises:
        ConverterError, EdgeKitError: with what to do.
    """
    import edgekit_converters as ec

    training, run = training or ec.Training(), open_run(out)
    of = Scannable(
        {"model": parent.key, "before": []},
        parent.model,
        data,
        training_data(data),
        training,
        versions(),
    )
    with alone(run, "edgekit scan") as entry, under_way(run, "scan", entry, progress):
        while True:
            try:
                found = scanned(run, of, step, place_of(step, progress), progress)
                break
            except StageDamageError as damaged:
                set_aside(run, damaged, progress)
    if found is None:
        raise ec.RecipeError(f"{step} chooses nothing; a scan is for lcrm(auto=true).")
    return found
