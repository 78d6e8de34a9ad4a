"""Writes docs/lcrm-applications.md: LCRM over every model of keras.applications.

    python docs/make_lcrm_applications.py [NAME ...]

Without names all models are done anew (about six minutes); with names only their rows. Each row
is written as soon as it is known, so an interrupted run keeps what it has.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from edgekit_converters import Decision, apply_lcrm
from edgekit_converters.complexity import parameters, total_macs
from edgekit_converters.graph import read_graph

PAGE = Path(__file__).with_name("lcrm-applications.md")
CASES = ("1.1", "1.2", "2", "3")
INTRODUCTION = f"""\
# LCRM over keras.applications

Every model of `keras.applications` (Keras {keras.__version__}, `weights=None`, its own input size
or 224x224 where it leaves that open, with its top) after `apply_lcrm` with default options (style
`equations`, first and last convolution kept). In every row the rewritten model has the output shape
of its parent. The columns 1.1 to 3 count the convolutions that each case of Algorithm 1 replaced;
MACs are in units of 10^6 and count multiply-accumulates (two FLOPs each), bias left out. Written by
`docs/make_lcrm_applications.py`.

| model | input | convolutions | 1.1 | 1.2 | 2 | 3 | left, by reason \
| parameters before → after | MACs before → after (10^6) |
|---|---|--:|--:|--:|--:|--:|---|--:|--:|
"""


def names() -> list[str]:
    """The models that the installed Keras offers."""
    return sorted(name for name in dir(keras.applications) if name[0].isupper())


def build(name: str) -> Any:
    """The model at its own input size, or at 224 x 224 where it leaves the size open."""
    function = getattr(keras.applications, name)
    model = function(weights=None)
    if None in model.inputs[0].shape[1:]:
        return function(weights=None, input_shape=(224, 224, 3))
    return model


def row(name: str) -> str:
    """The table's line for one model; says why where LCRM cannot do it."""
    try:
        model = build(name)
        rewritten, plan = apply_lcrm(model)
    except Exception as error:  # noqa: BLE001 - a row that says what failed is the purpose
        reason = " ".join(str(error).split())[:200].replace("|", "/")
        return f"| {name} | failed: {type(error).__name__}: {reason} ||||||||| |"
    before, after = ([tuple(t.shape) for t in m.outputs] for m in (model, rewritten))
    if before != after:
        return f"| {name} | failed: output shapes {before} became {after} ||||||||| |"
    cases = Counter(decision.case for decision in plan if decision.substitute is not None)
    left = Counter(short_reason(decision) for decision in plan if decision.substitute is None)
    cells = [
        name,
        "x".join(str(size) for size in model.inputs[0].shape[1:]),
        str(len(plan)),
        *(str(cases[case]) for case in CASES),
        ", ".join(f"{count} {reason}" for reason, count in left.most_common()) or "none",
        f"{parameters(model):,} → {parameters(rewritten):,}",
        f"{millions(model)} → {millions(rewritten)}",
    ]
    return f"| {' | '.join(cells)} |"


def short_reason(decision: Decision) -> str:
    """The reason without what differs from layer to layer."""
    if decision.reason.endswith("no fewer parameters"):
        return "without gain in parameters"
    return decision.reason.partition(":")[0].partition(" (")[0]


def millions(model: Any) -> str:
    """MACs in millions; calls that cannot be counted are said."""
    total, unknown = total_macs(read_graph(model))
    return f"{total / 1e6:,.1f}" + (f" and {len(unknown)} calls not counted" if unknown else "")


def known_rows() -> dict[str, str]:
    """The rows that the page already has, by model."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    offered = set(names())
    cells = ((line.split("|")[1].strip(), line) for line in lines if line.startswith("| "))
    return {name: line for name, line in cells if name in offered}


def main(chosen: list[str]) -> None:
    """Does the chosen models, or all of them, and writes the page after each."""
    rows = known_rows() if chosen else {}
    for name in chosen or names():
        started = time.perf_counter()
        rows[name] = row(name)
        keras.backend.clear_session()
        gc.collect()
        PAGE.write_text(INTRODUCTION + "".join(f"{rows[key]}\n" for key in sorted(rows)))
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
