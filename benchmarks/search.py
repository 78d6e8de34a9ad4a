"""The LCRM paper's Appendix A on a small AlexNet: substitutes (Table 15), settings (Table 16).

Untrained parent:alexnet_small on generated glyphs (or with --task digits parent:digits_cnn on
digits, which few epochs teach); every trial from fresh weights as in the paper, none given up.
With --hyperparameters: TPE over Table 16's grid, on the LCRM version, as the paper does it.
Stopped, it goes on with --storage where it was.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import results

import edgekit_converters as ec
from edgekit.data.generated import generated
from edgekit.optimization import load_data_for, load_parent
from edgekit.progress import Step
from edgekit.searching import Searched, search
from edgekit_device.codec import encode

TABLE_15 = {
    "standard": (11.2, 0.801),
    "dilated": (11.2, 0.785),
    "group": (7.7, 0.664),
    "pointwise": (8.0, 0.702),
    "transposed": (11.2, 0.760),
    "group+dilated": (7.7, 0.633),
    "transposed+dilated": (11.2, 0.764),
    "lcrm": (7.7, 0.781),
}
"""Millions of parameters and accuracy at epoch 24; the paper's model 7 (DWS + PWC) is LCRM."""
FURTHER = ("separable", "separable+pointwise")
_MODELS = {"glyphs": "alexnet_small", "digits": "digits_cnn"}
_BATCH = 16
TABLE_16 = {
    "initializer": "uniform",
    "batch_size": 128,
    "optimizer": "Adam",
    "learning_rate": 0.0001,
    "activation": "relu",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hyperparameters", action="store_true", help="Table 16 instead")
    parser.add_argument("--task", choices=_MODELS, default="glyphs")
    parser.add_argument("--samples", type=int, default=2000, help="glyphs to train on")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--trials", type=int, default=12, help="of TPE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", type=Path, help="default: a new one")
    options = parser.parse_args()
    storage = options.storage or Path(mkdtemp()) / "search.db"
    if options.hyperparameters:
        _hyperparameters(options, storage)
    else:
        _substitutes(options, storage)


def _substitutes(options: argparse.Namespace, storage: Path) -> None:
    from edgekit_converters.search.building import substituted
    from edgekit_converters.search.running import Search
    from edgekit_converters.search.substitutes import parse_candidate

    names, model = (*TABLE_15, *FURTHER), _MODELS[options.task]
    asked = Search(pruner="none", weights="fresh", choices={"substitute": names})
    done = _search(options, storage, f"parent:{model}", asked, batch_size=_BATCH)
    full = ec.PARENTS["alexnet"]()
    trials = {str(trial.values["substitute"]): trial for trial in done.found.trials}
    table = [
        ["substitute", "AlexNet, paper", "AlexNet, counted", model, "its MACs",
         "accuracy, paper", "accuracy here", "validation loss"]
    ]  # fmt: skip
    rows = []
    for name in names:
        trial = trials[name]
        counted = substituted(full, parse_candidate(name)).model.count_params()
        paper = TABLE_15.get(name)
        rows.append({**asdict(trial), "alexnet_parameters": counted, "paper": paper})
        table.append(
            [
                name,
                f"{paper[0]} M" if paper else "",
                f"{counted / 1e6:.2f} M",
                f"{trial.facts['parameters'] / 1e3:.1f} k",
                f"{trial.facts['macs'] / 1e6:.2f} M",
                f"{paper[1]:.3f} ({paper[1] - TABLE_15['standard'][1]:+.3f})" if paper else "",
                f"{trial.score:.3f} ({trial.score - trials['standard'].score:+.3f})",
                f"{min(trial.facts['val_loss']):.3f}",
            ]
        )  # fmt: skip
    name = "search" if options.task == "glyphs" else f"search_{options.task}"
    results.write(name, {**_conditions(options, done), "rows": rows}, table)


def _hyperparameters(options: argparse.Namespace, storage: Path) -> None:
    from edgekit_converters.search.running import Search

    ec.set_seed(options.seed)
    parent, _ = ec.apply_lcrm(ec.PARENTS[_MODELS[options.task]](), weights="fresh")
    asked = Search("hyperparameters", trials=options.trials)
    done = _search(options, storage, parent, asked)
    best = done.found.best
    if best is None:
        raise SystemExit("no trial is complete")
    table = [["hyperparameter", "paper's choice", "best here", "share of the variation (fANOVA)"]]
    for name, paper in TABLE_16.items():
        share = done.found.importance.get(name)
        table.append(
            [name, str(paper), str(best.values[name]), "" if share is None else f"{share:.0%}"]
        )
    rows = [asdict(trial) for trial in done.found.trials]
    facts = {**_conditions(options, done), "importance": done.found.importance, "rows": rows}
    results.write("search_hyperparameters", facts, table)


def _search(
    options: argparse.Namespace, storage: Path, model: Any, asked: Any, **training: Any
) -> Searched:
    parent = load_parent(model, seed=options.seed)
    data = load_data_for(parent, _data(options), seed=options.seed)
    return search(
        parent, data, asked,
        training=ec.Training(epochs=options.epochs, seed=options.seed, **training),
        storage=storage, out=storage.with_name(f"best-{asked.what}.keras"), progress=_print,
    )  # fmt: skip


def _data(options: argparse.Namespace) -> Any:
    if options.task == "digits":
        return "digits"
    splits = (options.samples, 1000, 2000)
    return generated("glyphs", (24, 24, 1), seed=options.seed, samples=splits)


def _print(step: Step) -> None:
    if step.fraction == 1.0:
        print(f"{step.task}: {step.detail}", flush=True)


def _conditions(options: argparse.Namespace, done: Searched) -> dict[str, Any]:
    best = done.found.best
    return {
        "task": options.task,
        "model": _MODELS[options.task],
        "seed": options.seed,
        "samples": options.samples if options.task == "glyphs" else "all",
        "epochs": options.epochs,
        "batch_size": "searched" if options.hyperparameters else _BATCH,
        "best": None if best is None else best.values,
        "best_on_test": None if done.test is None else encode(done.test),
    }


if __name__ == "__main__":
    main()
