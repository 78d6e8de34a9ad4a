"""Figures 6 to 8 on small models: a U-Net on nuclei, a Decom-Net on lowlight, each with its LCRM.

All four start from fresh weights and train for as many epochs; curves and scores go to
results/lcrm_paper_pictures.json, the test pictures beside docs/lcrm-paper.md.

    python -m benchmarks.lcrm_paper.pictures
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgekit_converters as ec
from benchmarks import results
from edgekit import load_data
from edgekit.data.generated import generated
from edgekit.tasks import score_outputs
from edgekit_converters.complexity import parameters, total_macs
from edgekit_converters.graph import read_graph

FOLDER = Path(__file__).parents[2] / "docs" / "lcrm-paper"
SHOWN = 4


@dataclass(frozen=True)
class Study:
    """A parent, its generated task, samples in the three splits, and the figure of its pictures."""

    parent: str
    task: str
    samples: tuple[int, int, int]
    figure: str
    batch_size: int = 8


STUDIES = (
    Study("unet_small", "nuclei", (240, 60, 100), "figure7"),
    Study("decom_net_small", "lowlight", (300, 60, 100), "figure8"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows, table = [], [["model", "version", "metric", "score", "best epoch", "parameters", "MACs"]]
    for study in STUDIES:
        for row in _study(study, options.epochs, options.seed):
            rows.append(row)
            table.append(
                [
                    row["model"], row["version"], row["metric"], f"{row['score']['value']:.3f}",
                    f"{row['best_epoch']} of {options.epochs}", f"{row['parameters']:,}",
                    f"{row['macs'] / 1e6:.1f} M",
                ]
            )  # fmt: skip
    facts = {
        "epochs": options.epochs,
        "seed": options.seed,
        "studies": [asdict(study) for study in STUDIES],
        "rows": rows,
    }
    results.write("lcrm_paper_pictures", facts, table)


def _study(study: Study, epochs: int, seed: int) -> list[dict[str, Any]]:
    parent = ec.PARENTS[study.parent]()
    shape = parent.input_shape[1:]
    arrays = generated(study.task, shape, seed=seed, samples=study.samples)
    data = load_data(arrays, shape, seed=seed)
    rows, answers = [], []
    for version in ("parent", "lcrm"):
        ec.set_seed(seed)
        model = ec.PARENTS[study.parent]()
        if version == "lcrm":
            model = ec.apply_lcrm(model, weights="fresh")[0]
        objective = ec.objective_for(model, data.targets)
        start = time.monotonic()
        told = ec.fine_tune(
            model,
            (data.train.x, data.train.y),
            (data.validation.x, data.validation.y),
            objective,
            ec.Training(epochs=epochs, batch_size=study.batch_size, patience=0, seed=seed),
        )
        seconds = time.monotonic() - start
        outputs = _answers(model, data.test.x)
        scored = score_outputs(data.task, outputs, data.test.y, objective.from_logits)
        answers.append(outputs)
        rows.append(
            {
                "model": study.parent,
                "task": study.task,
                "version": version,
                "metric": data.task.metric,
                "score": data.task.number(scored.samples).to_json(),
                "metrics": {each.name: each.value.to_json() for each in scored.metrics},
                "best_epoch": told.best_epoch,
                "history": told.history,
                "seconds": seconds,
                "parameters": parameters(model),
                "macs": total_macs(read_graph(model))[0],
            }
        )
        print({name: value for name, value in rows[-1].items() if name != "history"}, flush=True)
    draw(study, data.test.x, data.test.y, *answers)
    return rows


def _answers(model: Any, samples: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        ec.export_tflite(model, ec.Quantize("float32"), file)
        return np.stack([np.asarray(first, np.float32) for first, *_ in ec.predict(file, samples)])


def draw(study: Study, x: Any, wanted: Any, parent: Any, lcrm: Any) -> Path:
    """A row of pictures for each of the first test samples: input, truth, parent, LCRM."""
    from matplotlib.figure import Figure

    columns = (
        ("input", x),
        ("wanted", wanted),
        (study.parent, _shown(study, parent)),
        ("its LCRM", _shown(study, lcrm)),
    )
    figure = Figure(figsize=(6.4, 1.65 * SHOWN), layout="constrained")
    axes = figure.subplots(SHOWN, len(columns))
    for row in range(SHOWN):
        for column, (title, pictures) in enumerate(columns):
            place = axes[row][column]
            place.imshow(np.squeeze(pictures[row]), cmap="gray", vmin=0, vmax=1)
            place.set_axis_off()
            if row == 0:
                place.set_title(title, fontsize=9)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{study.figure}.png"
    figure.savefig(file, dpi=100, metadata={"Software": None})
    return file


def _shown(study: Study, outputs: Any) -> Any:
    return outputs > 0.5 if study.task == "nuclei" else np.clip(outputs, 0.0, 1.0)


if __name__ == "__main__":
    main()
