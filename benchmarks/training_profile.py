"""What training costs by batch size: a parent against its LCRM version, in turns.

The LCRM paper's Tables 5 to 7 and Figure 5, of the small AlexNet on glyphs, on this machine's CPU.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import results

from edgekit.cli.training import off_the_gpu
from edgekit.data import Dataset
from edgekit.optimization import load_data_for, load_parent
from edgekit.report.format import number_text, ratio, ratio_text
from edgekit.training.profiling import ProfileOptions, Subject, profile_training, rewritten
from edgekit.training.rows import NUMBERS, TrainingProfile, TrainingRow
from edgekit_converters.backend import chosen_backend


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="parent:alexnet_small")
    parser.add_argument("--data", default="glyphs")
    parser.add_argument("--steps", type=int, default=20, help="at least, per batch size")
    parser.add_argument("--seconds", type=float, default=4.0, help="at least, per batch size")
    options = parser.parse_args()
    measuring = ProfileOptions(steps=options.steps, seconds=options.seconds)
    profile = pair(options.model, options.data, measuring)
    results.write("training_profile", profile.to_json(), table(profile))


def pair(model: str, data: str | dict[str, Any], options: ProfileOptions) -> TrainingProfile:
    """The model against its LCRM version, on the backend that KERAS_BACKEND names."""
    with off_the_gpu() as environ:
        chosen_backend()
        parent = load_parent(model)
        first = Subject(parent.model.name, parent)
        split: Dataset = load_data_for(parent, data)
        return profile_training(
            [first, rewritten(first, "lcrm")],
            split,
            options,
            environ=environ,
            progress=lambda step: print(f"{step.fraction or 0:.0%} {step.detail}", flush=True),
        )


def table(profile: TrainingProfile) -> list[list[str]]:
    """A line per batch size and model; ratios are to the parent's with the same batch size."""
    known = [
        name for name in NUMBERS if any(getattr(r, name).value is not None for r in profile.rows)
    ]
    lines = [["batch", "model", *(NUMBERS[name] for name in known)]]
    base: dict[int, TrainingRow] = {}
    for row in profile.rows:
        first = base.setdefault(row.batch_size, row)
        cells = []
        for name in known:
            number, other = getattr(row, name), getattr(first, name)
            shares = name.endswith(("_share", "_ratio"))
            compared = "" if row is first or shares else ratio_text(ratio(number, other))
            cells.append(f"{number_text(name, number)} {compared}".strip())
        lines.append([str(row.batch_size), row.model, *cells])
    return lines


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
