"""Cycles of a systolic array, as SCALE-Sim (v2/v3, MIT) counts them.

A matrix product of M pixels, N filters and K products per output is laid on R x C processing
elements: Sr of its three sizes over the rows, Sc over the columns, and T is streamed through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gemm:
    """A matrix product: m output pixels, n filters, k products per output; all counts."""

    m: int
    n: int
    k: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.n * self.k


def spread(gemm: Gemm, dataflow: str) -> tuple[int, int, int]:
    """(Sr, Sc, T) of a dataflow (SCALE-Sim, arXiv 1811.02883, table of dataflow mappings)."""
    if dataflow == "OS":
        return gemm.m, gemm.n, gemm.k
    if dataflow == "WS":
        return gemm.k, gemm.n, gemm.m
    return gemm.k, gemm.m, gemm.n


def fold_overhead(rows: int, columns: int, dataflow: str) -> int:
    """Cycles of a fold besides the streamed T: OS R + C - 2; WS and IS 2R + C - 2.

    The stationary operand of WS and IS is loaded first, which takes R cycles more.
    """
    return (rows if dataflow == "OS" else 2 * rows) + columns - 2


def folds(size: Any, array: int) -> Any:
    """How often a size is laid over one side of the array; takes NumPy arrays too."""
    return -(-size // array)


def compute_cycles(gemm: Gemm, rows: int, columns: int, dataflow: str) -> int:
    """Cycles without stalls: ceil(Sr/R) ceil(Sc/C) (overhead + T) - 1."""
    over_rows, over_columns, streamed = spread(gemm, dataflow)
    per_fold = fold_overhead(rows, columns, dataflow) + streamed
    return int(folds(over_rows, rows) * folds(over_columns, columns) * per_fold - 1)


def mapping_efficiency(gemm: Gemm, rows: int, columns: int, dataflow: str) -> float:
    """Share of the PEs that hold work, over all folds."""
    over_rows, over_columns, _ = spread(gemm, dataflow)
    laid = folds(over_rows, rows) * rows * folds(over_columns, columns) * columns
    return over_rows * over_columns / float(laid)
