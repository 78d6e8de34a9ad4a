"""Writes docs/parents.md: the kit's parents beside the LCRM paper's, counted.

Run from the repository's root: .venv/bin/python docs/make_parents.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from edgekit_converters import PARENTS, apply_lcrm
from edgekit_converters.complexity import parameters, total_macs
from edgekit_converters.graph import read_graph

PAGE = Path(__file__).with_name("parents.md")
PAPER = {
    # parameters of the parent and of its LCRM version, as the paper prints them, and where
    "alexnet": ("11.2 M", "7.7 M", "Table 4"),
    "vgg9": ("7.9 M", "3.65 M", "Table 11"),
    "unet": ("1.4 M", "0.304 M", "Table 10"),
    "decom_net": ("0.19 M", "0.028 M", "Table 9"),
}
INTRODUCTION = """\
# The parents, counted

`parent:NAME` stands for one of these models wherever EdgeKit takes a model (`edgekit inspect
parent:unet`), and `edgekit_converters.NAME(…)` builds it in Python with other sizes and classes.
Their weights are untrained. The small ones train in minutes on two cores. Parameters include those
of batch normalisation; MACs count one per multiply-accumulate, bias left out; behind them are the
parameters after LCRM in its three styles (docs/lcrm.md) and those of the paper's LCRM. Written by
`docs/make_parents.py`.

| parent | input | parameters | paper | MACs | LCRM: `equations` | `table4` | `notebook` \
| paper's LCRM |
|---|---|--:|--:|--:|--:|--:|--:|--:|
"""
DIFFERENCES = """
## Where the paper's numbers come from

- **AlexNet** (Table 4) is given layer by layer. Its LCRM version counts what its authors' notebook
  builds: every "depthwise separable" convolution is a depthwise one alone (`notebook`).
- **VGG-9** is not described in the paper; the layers are those of the notebook `LCRMVGG9.ipynb`,
  which has AlexNet's first convolution and 62 classes of EMNIST at 224x224x1. Its LCRM version
  (3 654 462 parameters) keeps a standard 5x5 convolution of 128 filters behind the first depthwise
  one (409 728 parameters) and makes all others depthwise; no style here does that.
- **U-Net** is not described either; the layers are those of `model_energy_U_net.ipynb`: 16 to 256
  filters, an expanding path of transposed convolutions alone, batch normalisation. Here every
  convolution of the contracting path has batch normalisation behind it, there one of each pair,
  which makes 1984 parameters of difference. Transposed convolutions (217 328 parameters) stay as
  they are in every LCRM version. The paper's 0.304 M lie between `equations` and `table4`.
- **Decom-Net** of Retinex-Net has a first kernel of 9x9, which makes 207 748 parameters; 0.19 M
  and, after LCRM, 0.028 M come out with one of 3x3, as here. The paper's 1800 epochs train
  Retinex-Net's own losses on pairs; here the enhanced picture itself is learned
  ([tasks.md](tasks.md)), for which `decom_net_small` leaves the illumination out.
"""


def row(name: str) -> str:
    """The table's line for one parent."""
    model = PARENTS[name]()
    shape = "x".join(str(size) for size in model.inputs[0].shape[1:])
    parent, lcrm, where = PAPER.get(name, ("", "", ""))
    macs, _ = total_macs(read_graph(model))
    cells = [
        f"`{name}`",
        shape,
        f"{parameters(model):,}",
        f"{parent} ({where})" if parent else "",
        f"{macs / 1e6:,.1f} M",
        *(f"{_after(model, style):,}" for style in ("equations", "table4", "notebook")),
        lcrm,
    ]
    return f"| {' | '.join(cells)} |"


def _after(model: Any, style: Any) -> int:
    return parameters(apply_lcrm(model, style=style)[0])


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(map(row, PARENTS)) + "\n" + DIFFERENCES


if __name__ == "__main__":
    PAGE.write_text(page())
