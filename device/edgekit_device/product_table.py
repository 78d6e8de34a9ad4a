"""Tabulates an 8-bit multiplier circuit given as C code, as EvoApproxLib publishes them.

V. Mrazek, R. Hrbacek, Z. Vasicek, L. Sekanina: EvoApprox8b. DATE 2017, pp. 258-261.
"""

from __future__ import annotations

import platform
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit_device.build_delegate import compiler
from edgekit_device.errors import ArithmeticSettingError

_FUNCTION = re.compile(r"\b(u?int\d+_t)\s+(\w+)\s*\(([^()]*)\)\s*\{")

# Two's complement bits go in and come out, whichever integer types the circuit is written with.
_TABULATE = """
#include <stdio.h>
#include "circuit.c"
int main(void) {{
  for (int activation = 0; activation < 256; ++activation) {{
    for (int weight = 0; weight < 256; ++weight) {{
      int a = (signed char)activation, w = (signed char)weight;
      int32_t product;
      if ({is_signed}) {{
        product = (int16_t){name}(({type})({first}), ({type})({second}));
      }} else {{
        int negative = (a < 0) != (w < 0);
        a = a < 0 ? -a : a, w = w < 0 ? -w : w;
        product = (uint16_t){name}(({type})({first}), ({type})({second}));
        product = negative ? -product : product;
      }}
      fwrite(&product, sizeof product, 1, stdout);
    }}
  }}
  return 0;
}}
"""


@dataclass(frozen=True)
class Circuit:
    """A tabulated circuit; errors are relative to 2^16, over all pairs of int8 operands."""

    function: str
    is_signed: bool
    mean_absolute_error: float
    worst_case_error: float

    def summary(self) -> str:
        """Say it in one line."""
        kind = "signed" if self.is_signed else "unsigned, between signs and magnitudes"
        mean, worst = 100 * self.mean_absolute_error, 100 * self.worst_case_error
        return (
            f"{self.function} ({kind}): mean absolute error {mean:.4g} %, worst case {worst:.4g} % "
            "of 2^16, over int8 operands"
        )


def product_table(
    source: Path, out: Path, function: str | None = None, is_signed: bool | None = None
) -> Circuit:
    """Compile the circuit, run it on all operands, and write its 256 x 256 int32 products.

    The file is what `multiplier = "table(FILE)"` takes: [activation as uint8][weight as uint8].
    An unsigned circuit multiplies magnitudes, and the sign is put back. The operand that the
    circuit calls A is the activation. Compiling and running somebody's code is what this does:
    take circuits from people you trust.

    Raises:
        ArithmeticSettingError: the file holds no such function, or does not compile or run.
        DelegateUnavailableError: no C compiler.
    """
    try:
        text = source.read_text("utf-8", "replace")
    except OSError as error:
        raise ArithmeticSettingError(f"the circuit {source} cannot be read: {error}") from error
    name, type_, arguments = _chosen(source, text, function)
    if is_signed is None:
        if not re.match(r"mul8[su]", name):
            raise ArithmeticSettingError(
                f"{source}: {name} does not say whether it is signed (mul8s…, mul8u…): "
                "add --signed or --unsigned"
            )
        is_signed = name.startswith("mul8s")
    first, second = ("w", "a") if arguments[0].lower() == "b" else ("a", "w")
    main = _TABULATE.format(
        name=name, type=type_, first=first, second=second, is_signed=int(is_signed)
    )
    products = np.frombuffer(_run(source, text, main), "<i4").reshape(256, 256)
    operands = np.arange(256).astype(np.uint8).astype(np.int8).astype(np.int64)
    error_of = np.abs(products - np.multiply.outer(operands, operands)) / 2**16
    try:
        out.write_bytes(products.tobytes())
    except OSError as error:
        raise ArithmeticSettingError(f"the table {out} cannot be written: {error}") from error
    return Circuit(name, is_signed, float(error_of.mean()), float(error_of.max()))


def _chosen(source: Path, text: str, function: str | None) -> tuple[str, str, tuple[str, str]]:
    """Give the function's name, its operands' type and their names."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    found: dict[str, tuple[str, tuple[str, str]]] = {}
    for _, name, arguments in _FUNCTION.findall(code):
        operands = [
            re.fullmatch(r"(?:const\s+)?(u?int\d+_t)\s+(\w+)", part.strip())
            for part in arguments.split(",")
        ]
        if len(operands) == 2 and operands[0] and operands[1]:
            found[name] = operands[0][1], (operands[0][2], operands[1][2])
    if function is None and len(found) == 1:
        function = next(iter(found))
    if function not in found:
        known = ", ".join(sorted(found)) or "none"
        what = "name one with --function" if function is None else f"{function!r} is not one"
        raise ArithmeticSettingError(
            f"{source}: a C function of two integers is needed; found: {known}: {what}"
        )
    return (function, *found[function])


def _run(source: Path, text: str, main: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "circuit.c").write_text(f"#include <stdint.h>\n{text}", "utf-8")
        (here / "main.c").write_text(main, "utf-8")
        program = here / "tabulate"
        command = [*compiler(platform.machine(), "C"), "-O1", "-w", str(here / "main.c")]
        done = subprocess.run(
            [*command, "-o", str(program)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ArithmeticSettingError(
                f"{source} does not compile:\n{done.stderr.strip()[-2000:]}"
            )
        try:
            ran = subprocess.run([program], capture_output=True, check=False, timeout=60)
        except subprocess.TimeoutExpired as error:
            raise ArithmeticSettingError(
                f"{source}: the circuit did not end within 60 s"
            ) from error
    if ran.returncode != 0 or len(ran.stdout) != 4 * 65536:
        raise ArithmeticSettingError(
            f"{source}: the circuit did not give 65536 products (exit status {ran.returncode}, "
            f"{len(ran.stdout) // 4} products)"
        )
    return ran.stdout
