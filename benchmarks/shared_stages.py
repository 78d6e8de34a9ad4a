"""Wall time of all recipes in one run folder, against each in a folder of its own.

Recipes with a common beginning share its trained stages. Digits, with few epochs: the ratio is what
counts. Every recipe alone runs right behind its turn in the shared folder, so that both meet the
same noise.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import results
from cascades import carry_out_all, digits_task

import edgekit_converters as ec
from edgekit.comparing import ALL_RECIPES
from edgekit.optimization import load_parent

SHORT = ec.Training(epochs=10, tuning_epochs=3)


def main() -> None:
    model, data, _ = digits_task(0)
    parent = load_parent(model)
    table = [["recipe", "seconds in the shared folder", "seconds alone"]]
    shared, alone = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for number, recipe in enumerate(ALL_RECIPES):
            common = Path(folder) / "shared"
            shared[recipe], _ = carry_out_all(parent, data, SHORT, common, [recipe])
            own = Path(folder) / str(number)
            alone[recipe], _ = carry_out_all(parent, data, SHORT, own, [recipe])
            table.append([recipe, f"{shared[recipe]:.1f}", f"{alone[recipe]:.1f}"])
    ratio = sum(shared.values()) / sum(alone.values())
    table.append(["all, ratio", f"{ratio:.3f}", "1"])
    results.write("shared_stages", {"shared": shared, "alone": alone, "ratio": ratio}, table)


if __name__ == "__main__":
    main()
