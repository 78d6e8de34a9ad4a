"""The trained stages of a recipe, each done once per run folder and shared by its successors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.comparison import LayerSaving, Stage
from edgekit.data import Dataset
from edgekit.errors import RunError
from edgekit.progress import Listener, Step
from edgekit.store import content_key, damaged, read_stage, stage_folder

if TYPE_CHECKING:
    from edgekit_converters import Training
    from edgekit_converters.recipe import Recipe


@dataclass(frozen=True)
class Parent:
    """The model a comparison starts from, its content key, and how to load its kind of file."""

    model: Any
    key: str
    safe: bool = True


@dataclass(frozen=True)
class Staged:
    """A model after some passes, with what led there."""

    model: Any
    key: str
    stages: tuple[Stage, ...]
    layers: tuple[LayerSaving, ...]


def run_stages(
    run: Path,
    parent: Parent,
    recipe: Recipe,
    data: Dataset | None,
    training: Training,
    progress: Listener,
) -> Staged:
    """Applies the recipe's model-changing passes, training after each where there are data."""

    staged = Staged(parent.model, parent.key, (), ())
    for count, step in enumerate(recipe.rewrites, start=1):
        name = "+".join(map(str, recipe.rewrites[:count]))
        key = content_key(
            {
                "parent": staged.key,
                "pass": str(step),
                "data": data.fingerprint if data else None,
                "training": asdict(training) if data else None,
                "versions": versions(),
            }
        )
        make = _maker(staged.model, step, name, data, training, progress)
        folder, reused = stage_folder(run, key, make)
        stage, layers = _told(folder, reused)
        staged = Staged(
            _read_model(folder, parent.safe),
            key,
            (*staged.stages, stage),
            (*staged.layers, *layers),
        )
    return staged


def _read_model(folder: Path, safe: bool) -> Any:
    import edgekit_converters as ec

    try:
        return ec.load_model(folder / "model.keras", safe=safe)
    except ec.ModelLoadError as error:
        raise RunError(
            f"The stage {folder} cannot be read; delete that folder and run again, it will be "
            f"trained anew. {error}"
        ) from error


def versions() -> dict[str, str]:
    """What may change a result: part of every stage's key and of every report."""
    from importlib.metadata import version

    names = ("edgekit", "edgekit-converters", "tensorflow", "keras", "ai-edge-litert", "numpy")
    return {name: version(name) for name in names}


def _maker(
    model: Any,
    step: Any,
    name: str,
    data: Dataset | None,
    training: Training,
    progress: Listener,
) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        import edgekit_converters as ec

        start = time.monotonic()
        ec.set_seed(training.seed, training.deterministic)
        rewritten, decisions = ec.apply_pass(model, step)
        epochs, history = 0, {}
        changed = [d for d in decisions if d.substitute is not None]
        if data is not None and changed:
            trained = ec.fine_tune(
                rewritten,
                (data.train.x, data.train.y),
                (data.validation.x, data.validation.y),
                ec.classification_objective(rewritten, data.classes),
                training,
                _epoch_reporter(name, progress),
            )
            epochs, history = trained.epochs, trained.history
        ec.save_model(rewritten, folder / "model.keras")
        stage = Stage(
            recipe=name,
            name=str(step),
            seconds=round(time.monotonic() - start, 2),
            epochs=epochs,
            history=history,
            changed=tuple(map(_change, changed)),
            skipped=tuple((d.path, d.reason) for d in decisions if d.substitute is None),
        )
        layers = [asdict(_saving(d, name)) for d in decisions]
        return {"stage": asdict(stage), "layers": layers}

    return make


def _change(decision: Any) -> str:
    frozen = "was frozen, now trained; " if decision.frozen else ""
    return f"{decision.path}: {decision.substitute} ({frozen}case {decision.case})"


def _saving(decision: Any, recipe: str) -> LayerSaving:
    return LayerSaving(
        layer=decision.path,
        case=decision.case or "",
        action=str(decision.substitute or decision.reason),
        parameters_before=decision.parameters_before,
        parameters_after=decision.parameters_after,
        macs_before=decision.macs_before,
        macs_after=decision.macs_after,
        substituted=decision.substitute is not None,
        recipe=recipe,
    )


def _told(folder: Path, reused: bool) -> tuple[Stage, tuple[LayerSaving, ...]]:
    """What a finished stage tells of itself."""
    facts = read_stage(folder)
    try:
        layers = tuple(LayerSaving(**layer) for layer in facts["layers"])
        return _stage(facts["stage"], reused), layers
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder, f"its stage.json lacks or misspells {error}") from error


def _stage(facts: dict[str, Any], reused: bool) -> Stage:
    return Stage(
        **{
            **facts,
            "changed": tuple(facts["changed"]),
            "skipped": tuple((layer, reason) for layer, reason in facts["skipped"]),
            "reused": reused,
        }
    )


def _epoch_reporter(name: str, progress: Listener) -> Callable[[int, int, dict[str, float]], None]:
    def report(epoch: int, epochs: int, metrics: dict[str, float]) -> None:
        shown = (
            f"{key.replace('val_', 'validation ')} {metrics[key]:.3f}"
            for key in ("loss", "val_accuracy")
            if key in metrics
        )
        detail = f"epoch {epoch} of {epochs}: {', '.join(shown)}"
        progress(Step(f"train {name}", epoch / epochs, detail))

    return report
