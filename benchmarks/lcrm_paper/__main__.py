"""Writes docs/lcrm-paper.md and the figures beside it.

python -m benchmarks.lcrm_paper
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.lcrm_paper.page import write
from benchmarks.lcrm_paper.rows import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "lcrm-paper.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lcrm_paper",
                                     description=__doc__.splitlines()[0])  # fmt: skip
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results files")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args()
    write(options.results, options.out)
    print(options.out)


if __name__ == "__main__":
    main()
