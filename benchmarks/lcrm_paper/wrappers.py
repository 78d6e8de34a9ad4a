"""Figure 9: parameters of digits_cnn while each technique trains it, wrappers included.

One epoch on a few digits: counts do not depend on what was learnt.

    python -m benchmarks.lcrm_paper.wrappers
"""

from __future__ import annotations

from typing import Any

import edgekit_converters as ec
from benchmarks import results
from benchmarks.lcrm_paper.techniques import TECHNIQUES
from edgekit import load_data
from edgekit_converters.complexity import parameters


def main() -> None:
    rows, table = [], [["technique", "trainable", "other"]]
    for technique in TECHNIQUES:
        trainable, other = counts(technique)
        rows.append({"technique": technique, "trainable": trainable, "other": other})
        table.append([technique, f"{trainable:,}", f"{other:,}"])
        print(rows[-1], flush=True)
    results.write("lcrm_paper_wrappers", {"model": "digits_cnn", "rows": rows}, table)


def counts(technique: str) -> tuple[int, int]:
    """Trainable and other parameters of the model in the technique's last stage of training."""
    digits = load_data("digits", (8, 8, 1))
    few = [(part.x[:200], part.y[:200]) for part in (digits.train, digits.validation)]
    data = ec.TrainingData(few[0], few[1], digits.classes)
    ec.set_seed(0)
    model: Any = ec.digits_cnn()
    trained = sum(parameters_of(model.trainable_weights))
    found, before = (trained, parameters(model) - trained), ()
    for step in ec.parse_recipe(technique).passes:
        done = ec.run_pass(
            model, step, before=before, data=data, training=ec.Training(epochs=1, tuning_epochs=1)
        )
        model, before = done.model, (*before, step)
        found = done.trainable_parameters, done.other_parameters
    return found


def parameters_of(weights: Any) -> list[int]:
    """How many values each of the weights holds."""
    return [int(weight.numpy().size) for weight in weights]


if __name__ == "__main__":
    main()
