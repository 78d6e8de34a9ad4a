"""What `lcrm(auto=true)` chooses from, made once per run folder: the scan and the prices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.data import Dataset
from edgekit.places import Priced, priced
from edgekit.progress import Listener, Step
from edgekit.store import UNREADABLE, content_key, read_facts, stage_folder, unreadable
from edgekit_converters.passes import Lcrm
from edgekit_device.codec import decode, encode

if TYPE_CHECKING:
    from edgekit_converters import Costs, Scan, Scanned, Training, TrainingData
    from edgekit_converters.passes import Pass


@dataclass(frozen=True)
class Scannable:
    """A model with what tells it from others, and the data to scan it with."""

    key: dict[str, Any]
    model: Any
    data: Dataset | None
    given: TrainingData | None
    training: Training
    versions: dict[str, str]


def place_of(step: Pass, progress: Listener) -> Priced | None:
    """Where an automatic LCRM's goal is about, if the pass is one and its goal names a place.

    Raises:
        EdgeKitError, EdgeKitDeviceError: there is no such place.
    """
    if not isinstance(step, Lcrm) or not step.auto or step.goal.place is None:
        return None
    return priced(step.goal, progress)


def scanned(
    run: Path, of: Scannable, step: Pass, place: Priced | None, progress: Listener
) -> Scanned | None:
    """The scan and what its choices save, from the run folder where they are there already.

    None for a pass that chooses nothing.

    Raises:
        ConverterError, EdgeKitError: with what to do.
    """
    import edgekit_converters as ec

    if not isinstance(step, Lcrm) or not step.auto:
        return None
    facts = {
        "scan": "lcrm",
        **of.key,
        "where": step.where,
        "keep_ends": step.keep_ends,
        "samples": step.samples,
        "data": of.data.fingerprint if of.data else None,
        "seed": of.training.seed,
        "versions": of.versions,
    }
    ec.check_goal(of.model, step.goal)
    scan = _scan(run, of, step, content_key(facts), progress)
    if place is None:
        return ec.Scanned(scan, ec.costs_of(scan, step.goal))
    tried = [encode((trial.path, trial.choice)) for trial in scan.trials]
    key = content_key({**facts, "prices": place.key, "tried": tried})
    return ec.Scanned(scan, _costs(run, of, scan, place, key, progress), place.place)


def _scan(run: Path, of: Scannable, step: Lcrm, key: str, progress: Listener) -> Scan:
    import edgekit_converters as ec

    label = "scan for lcrm(auto=true)"

    def make(_: Path) -> dict[str, Any]:
        found = ec.scan_model(
            of.model,
            step,
            of.given,
            of.training,
            lambda part, share: progress(Step(label, share, part)),
        )
        progress(Step(label, 1.0, f"{len(found.trials)} substitutes tried"))
        return {"scan": encode(found)}

    folder, reused = stage_folder(run, key, label, make, progress)
    try:
        return decode(ec.Scan, read_facts(folder)["scan"], label)
    except UNREADABLE as error:
        raise unreadable(folder, label, error, reused) from error


def _costs(
    run: Path, of: Scannable, scan: Scan, place: Priced, key: str, progress: Listener
) -> Costs:
    import edgekit_converters as ec

    label = f"price of each layer on {place.place.name}"

    def make(_: Path) -> dict[str, Any]:
        progress(Step(label))
        found = ec.place_costs(of.model, scan, place.place)
        saved = [found.saved[trial.path, trial.choice] for trial in scan.trials]
        return {"parent": found.parent, "saved": saved}

    folder, reused = stage_folder(run, key, label, make, progress)
    keys = [(trial.path, trial.choice) for trial in scan.trials]
    try:
        facts = read_facts(folder)
        saved = dict(zip(keys, map(float, facts["saved"]), strict=True))
        return ec.Costs(place.place.unit, float(facts["parent"]), saved)
    except UNREADABLE as error:
        raise unreadable(folder, label, error, reused) from error
