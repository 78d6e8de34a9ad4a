"""Building the delegate, tabulating circuits, and the page of its operators."""

import platform
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from delegate_models import OPERATORS, need_delegate, run

from edgekit_device.arithmetic import Arithmetic
from edgekit_device.build_delegate import build_delegate, compiler
from edgekit_device.cli import main
from edgekit_device.delegate import operator_rules, products
from edgekit_device.errors import ArithmeticSettingError, DelegateUnavailableError
from edgekit_device.npu_operators import operators_page
from edgekit_device.product_table import product_table

ROOT = Path(__file__).parents[2]

UNSIGNED = """
/***
* This code is a part of a library of circuits (a comment with a function: int8_t f(int8_t a) {)
***/
#include <stdint.h>
#include <stdlib.h>

uint64_t mul8u_LOW(const uint64_t B,const uint64_t A)
{
  uint64_t n0 = (A >> 0) & 1, high = A & 0xFE;
  return high * B + n0 * (B & 0xF0);
}
"""
SIGNED = "int16_t mul8s_LOW(int8_t A, int8_t B)\n{\n  return (int16_t)(A * (B & ~1));\n}\n"
BITS = "uint64_t mul8s_BITS(uint64_t a, uint64_t b) { return (int8_t)a * (int8_t)b; }"


def circuit(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "circuit.c"
    file.write_text(text)
    return file


@pytest.fixture
def int8_codes() -> np.ndarray:
    return np.arange(256).astype(np.uint8).astype(np.int8).astype(np.int64)


needs_c = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@needs_c
def test_a_signed_circuit_multiplies_codes(tmp_path: Path, int8_codes: np.ndarray) -> None:
    out = tmp_path / "table.bin"
    made = product_table(circuit(tmp_path, SIGNED), out)
    expected = np.multiply.outer(int8_codes, int8_codes & ~1)
    assert np.array_equal(np.fromfile(out, "<i4").reshape(256, 256), expected)
    exact = np.multiply.outer(int8_codes, int8_codes)
    assert made.worst_case_error == np.abs(expected - exact).max() / 2**16
    assert made.mean_absolute_error == np.abs(expected - exact).mean() / 2**16


@needs_c
def test_an_unsigned_circuit_multiplies_magnitudes_and_a_is_the_activation(
    tmp_path: Path, int8_codes: np.ndarray
) -> None:
    out = tmp_path / "table.bin"
    assert not product_table(circuit(tmp_path, UNSIGNED), out).is_signed
    a, b = np.meshgrid(np.abs(int8_codes), np.abs(int8_codes), indexing="ij")
    signs = np.sign(np.multiply.outer(int8_codes, int8_codes))
    expected = signs * ((a & 0xFE) * b + (a & 1) * (b & 0xF0))
    assert np.array_equal(np.fromfile(out, "<i4").reshape(256, 256), expected)


@needs_c
def test_a_circuit_on_bits_is_read_as_twos_complement(
    tmp_path: Path, int8_codes: np.ndarray
) -> None:
    out = tmp_path / "table.bin"
    assert product_table(circuit(tmp_path, BITS), out).worst_case_error == 0


@needs_c
def test_the_delegate_multiplies_as_the_circuit_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_delegate()
    out = tmp_path / "exact.bin"
    assert main(["product-table", str(circuit(tmp_path, BITS)), str(out)]) == 0
    assert f'multiplier = "table({out})"' in capsys.readouterr().out
    assert np.array_equal(products(f"table({out})"), products("exact"))
    model, inputs = OPERATORS["CONV_2D"](np.random.default_rng(2))
    exact, _ = run(model.to_bytes(), inputs)
    looked_up, _ = run(model.to_bytes(), inputs, Arithmetic(multiplier=f"table({out})"))
    assert np.array_equal(exact[0], looked_up[0])


@needs_c
@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("int x;", {}, "found: none"),
        (SIGNED + BITS, {}, "found: mul8s_BITS, mul8s_LOW: name one with --function"),
        (SIGNED, {"function": "mul8s_KV"}, "'mul8s_KV' is not one"),
        (SIGNED.replace("mul8s", "times"), {}, "does not say whether it is signed"),
        (SIGNED.replace("~1", "nothing"), {}, "does not compile"),
        (SIGNED.replace("return", "abort(); return"), {}, "did not give 65536 products"),
    ],
)
def test_what_is_no_circuit_is_refused(
    text: str, options: dict, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ArithmeticSettingError, match=sentence):
        product_table(circuit(tmp_path, text), tmp_path / "table.bin", **options)
    assert not (tmp_path / "table.bin").exists()


def test_the_page_of_operators_is_the_delegates() -> None:
    need_delegate()
    page = ROOT / "docs" / "npu-operators.md"
    if not page.exists():
        pytest.skip("the documentation is not here")
    assert page.read_text() == operators_page(operator_rules()) + "\n"


@pytest.mark.slow
def test_the_library_is_built_for_a_pi_and_loads_on_its_older_system(tmp_path: Path) -> None:
    try:
        compiler("aarch64", "C++")
    except DelegateUnavailableError as error:
        pytest.skip(str(error))
    built = build_delegate("aarch64", tmp_path / "nepu.so")
    content = built.read_bytes()
    machine = int.from_bytes(content[18:20], "little")
    assert machine == 183  # EM_AARCH64
    wanted = {
        name: max((int(minor) for minor in re.findall(pattern, content)), default=0)
        for name, pattern in (("glibc", rb"GLIBC_2\.(\d+)"), ("libstdc++", rb"GLIBCXX_3\.4\.(\d+)"))
    }
    # Raspberry Pi OS bullseye: glibc 2.31, libstdc++ of GCC 10.
    assert wanted["glibc"] <= 31
    assert wanted["libstdc++"] <= 28


def test_without_any_compiler_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("edgekit_device.build_delegate.find_spec", lambda name: None)
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]
    for target, package in ((platform.machine(), "g++"), (other, f"g\\+\\+-{other}")):
        with pytest.raises(DelegateUnavailableError, match=package.replace("_", "-")):
            build_delegate(target, tmp_path / "nepu.so")
    assert main(["build-delegate", "--out", str(tmp_path / "nepu.so")]) == 2
    assert "pip install ziglang" in capsys.readouterr().err


def test_a_compiler_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing = tmp_path / "c++"
    failing.write_text("#!/bin/sh\necho no memory left >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("CXX", str(failing))
    with pytest.raises(DelegateUnavailableError, match="failed:\nno memory left"):
        build_delegate(platform.machine(), tmp_path / "nepu.so")
    assert not (tmp_path / "nepu.so").exists()


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelegateUnavailableError, match=r"x86_64\. Received: 'riscv64'"):
        build_delegate("riscv64", tmp_path / "nepu.so")
