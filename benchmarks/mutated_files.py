"""How one agent fares with damaged `.tflite` files: what each came to, and that nothing is left."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import count, islice, takewhile
from pathlib import Path

import results

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "device"))

from mutated_files import mutations, profile_mutations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="files (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=8, help="in one job (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after, if given")
    options = parser.parse_args()
    start_s = time.monotonic()
    in_time = takewhile(lambda _: time.monotonic() - start_s < options.minutes * 60, count())
    files = (content for content, _ in zip(mutations(options.seed), in_time, strict=False))
    with tempfile.TemporaryDirectory() as home:
        outcomes = profile_mutations(Path(home), islice(files, options.count), options.at_once)
    total, took_s = sum(outcomes.values()), time.monotonic() - start_s
    facts = {"files": total, "seed": options.seed, "seconds": took_s, "outcomes": dict(outcomes)}
    table = [
        ["outcome", "files", "share"],
        *([kind, str(number), f"{number / total:.1%}"] for kind, number in outcomes.most_common()),
        ["answered by one agent, in all", str(total), f"{total / took_s:.1f} a second"],
        ["agents ended, processes left", "0", "checked after every job"],
        ["files left", "0", "checked at the end"],
    ]
    results.write("mutated_files", facts, table)


if __name__ == "__main__":
    main()
