"""The whole way on scikit-learn's handwritten digits, from training the parent on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.boards import ProfileSettings
from edgekit.comparing import compare
from edgekit.comparison import Comparison
from edgekit.data import load_data
from edgekit.journal import alone
from edgekit.progress import Listener, Step
from edgekit.stages import Parent, versions
from edgekit.store import content_key, open_run, stage_folder

if TYPE_CHECKING:
    from edgekit_converters import Training


def run_demo(out: Path, *, small: bool, boards: Sequence[str], progress: Listener) -> Comparison:
    """Trains a small CNN on digits and compares the built-in recipes of it.

    `small` trains fewer epochs and profiles for less time: it shows that everything works, not
    what LCRM can do.
    """
    import edgekit_converters as ec

    training = ec.Training(epochs=6 if small else 40, patience=8, batch_size=32)
    profiling = ProfileSettings(seconds=1.0 if small else 10.0)
    # The parent is trained here, on the training split alone.
    run, data = open_run(out), replace(load_data("digits", (8, 8, 1)), test_drawn_here=False)

    def train_parent(folder: Path) -> dict[str, object]:
        ec.set_seed(training.seed)
        model = ec.digits_cnn()
        trained = ec.fine_tune(
            model,
            (data.train.x, data.train.y),
            (data.validation.x, data.validation.y),
            ec.classification_objective(model, data.classes),
            training,
            lambda epoch, epochs, metrics: progress(
                Step("train the parent", epoch / epochs, f"epoch {epoch} of {epochs}")
            ),
        )
        ec.save_model(model, folder / "model.keras")
        return {"epochs": trained.epochs, "history": trained.history}

    facts = {"demo": small, "data": data.fingerprint, "versions": versions()}
    key = content_key(facts)
    with alone(run, "edgekit demo"):
        folder, _ = stage_folder(run, key, "trained parent", train_parent, progress)
    parent = Parent(ec.load_model(folder / "model.keras"), key)
    model = folder / "model.keras"
    return compare(
        parent,
        data,
        boards=boards,
        out=run,
        training=training,
        profiling=profiling,
        progress=progress,
        command=_command(model, out, training),
        replace_other=True,
    )


def _command(model: Path, out: Path, training: Training) -> str:
    """The demo's comparison as a command, for advice to build on."""
    return (
        f"edgekit compare {shlex.quote(str(model))} --data digits --epochs {training.epochs} "
        f"--patience {training.patience} --out {shlex.quote(f'{out}-next')}"
    )
