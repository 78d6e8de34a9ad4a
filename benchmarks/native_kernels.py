"""How fast the NEPU delegate's kernels are: whole convolutions on one thread, per instruction set.

Compiles `native/kernels.cpp` with the delegate's sources and times int8, int8 with operands of five
bits, looked-up products and float32 on layers of AlexNet and MobileNet. Repetitions of all variants
are interleaved; each time is the thread's own processor time, so that other programs on the machine
disturb little. A chain of rotations, one a clock cycle, tells how many cycles a second the thread
had: figures per cycle can be carried to another machine of the kind.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from results import write

HERE = Path(__file__).parent
NATIVE = HERE.parent / "device" / "native"


def compiled(folder: Path) -> Path:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if not compiler:
        sys.exit("No C++ compiler found: install g++ or name one in CXX.")
    program = folder / "kernels"
    sources = [HERE / "native" / "kernels.cpp", *sorted(NATIVE.glob("gemm*.cpp"))]
    options = ["-std=c++17", "-O3", "-fvisibility=hidden", f"-I{NATIVE}"]
    subprocess.run([compiler, *options, *sources, "-o", program], check=True)
    return program


def measured(program: Path, repetitions: int) -> dict[tuple[str, str, str], list[float]]:
    """Billions of products (of the clock: cycles) a second by (arithmetic, layer, variant)."""
    command = [program, str(repetitions)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rates: dict[tuple[str, str, str], list[float]] = {}
    for line in done.stdout.splitlines():
        variant, arithmetic, layer, macs, seconds = line.split(",")
        rates.setdefault((arithmetic, layer, variant), []).append(int(macs) / float(seconds) / 1e9)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates = measured(compiled(Path(folder)), options.repetitions)
    clock_ghz = statistics.median(rates.pop(("cycles", "chain", "clock")))
    header = ["arithmetic", "layer", "kernels", "GMAC/s", "least", "most", "MACs a cycle"]
    table, rows = [], []
    for (arithmetic, layer, variant), found in sorted(rates.items(), key=lambda item: item[0][:2]):
        rate = statistics.median(found)
        figures = [rate, min(found), max(found), rate / clock_ghz]
        table.append([arithmetic, layer, variant, *(f"{figure:.1f}" for figure in figures)])
        rounded = [round(figure, 2) for figure in figures]
        rows.append(dict(zip(header, [arithmetic, layer, variant, *rounded], strict=True)))
    facts = {
        "repetitions": options.repetitions,
        "cycles_per_ns": round(clock_ghz, 3),
        "rows": rows,
    }
    write("native_kernels", facts, [header, *table])


if __name__ == "__main__":
    main()
