import platform
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from edgekit_device import profile_models
from edgekit_device.board import LatencyModel, Power
from edgekit_device.conditions import Moment
from edgekit_device.energy import energy_j, power_w
from edgekit_device.errors import BoardProfileError
from edgekit_device.machine import read_machine
from edgekit_device.number import Number
from edgekit_device.profiles import board_here, load_profile, recognise, shipped_profiles
from edgekit_device.summary import machine_text

SHIPPED = [
    entry.name.removesuffix(".toml")
    for entry in (files("edgekit_device") / "profiles" / "boards").iterdir()
]

LATENCY = """[latency]
macs_factor = 2.0
traffic_factor = 0.5
low = 0.5
source = "someone"
"""

NOW = Moment(0.0, None, None, None, None)


@pytest.fixture
def board_file(tmp_path: Path, board_text: str) -> Callable[..., str]:
    def write(old: str = "", new: str = "") -> str:
        assert old in board_text
        file = tmp_path / "bench.toml"
        file.write_text(board_text.replace(old, new, 1) if old else board_text)
        return str(file)

    return write


def test_the_six_pis_are_shipped() -> None:
    assert set(SHIPPED) == {"pi3b", "pi3b+", "pi4", "pi400", "pi5", "pi-zero-2w"}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_loads_by_the_name_of_its_file(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.architecture == "aarch64"
    assert profile.sources["clock_hz"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_laboratory_of_several_power_models_is_named(name: str) -> None:
    for power in load_profile(name).power:
        assert power.laboratory is not None
        assert power.source.startswith(power.laboratory)


def test_shipped_power_is_the_published_fit() -> None:
    fit = shipped_profiles()["pi4"].power[0]
    assert (fit.idle_w, fit.full_load_w) == (2.286, pytest.approx(2.286 + 4.534))
    assert shipped_profiles()["pi-zero-2w"].power == ()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Raspberry Pi 3 Model B Rev 1.2", "pi3b"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "pi3b+"),
        ("Raspberry Pi 4 Model B Rev 1.5", "pi4"),
        ("Raspberry Pi 400 Rev 1.0", "pi400"),
        ("Raspberry Pi 5 Model B Rev 1.0", "pi5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "pi-zero-2w"),
        # Without the firmware's revision, as Linux' own trees have them.
        ("Raspberry Pi 3 Model B", "pi3b"),
        ("Raspberry Pi 3 Model B+", "pi3b+"),
        ("Raspberry Pi 4 Model B", "pi4"),
        ("Raspberry Pi 400", "pi400"),
        ("Raspberry Pi 5", "pi5"),
        ("Raspberry Pi Zero 2 W", "pi-zero-2w"),
        ("Raspberry Pi 50 Model B", None),
        ("Raspberry Pi 500 Rev 1.0", None),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", None),
        ("Radxa ROCK 5B", None),
    ],
)
def test_recognises_a_board_by_its_device_tree(model: str, name: str | None) -> None:
    profile = recognise(model)
    assert (profile.name if profile else None) == name


def device_tree(root: Path, model: bytes, compatible: bytes = b"") -> Path:
    folder = root / "proc" / "device-tree"
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(model)
    if compatible:
        (folder / "compatible").write_bytes(compatible)
    return root


def test_reads_the_device_tree_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    root = device_tree(tmp_path, b"Raspberry Pi 4 Model B Rev 1.4\0")
    board = board_here(None, root)
    assert board.profile is not None
    assert (board.profile.name, board.reason) == ("pi4", None)


@pytest.mark.parametrize(
    ("model", "compatible", "name"),
    [
        ("Raspberry Pi Compute Module 4 Rev 1.1", "4-compute-module\0brcm,bcm2711", "pi4"),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", "3-model-a-plus\0brcm,bcm2837", "pi3b+"),
        ("Raspberry Pi Compute Module 3 Rev 1.0", "3-compute-module\0brcm,bcm2710", "pi3b+"),
        ("Raspberry Pi 500 Rev 1.0", "500\0brcm,bcm2712", "pi5"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "5-compute-module\0brcm,bcm2712", "pi5"),
    ],
)
def test_an_unknown_pi_gets_the_profile_of_its_chip_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, compatible: str, name: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    root = device_tree(tmp_path, f"{model}\0".encode(), f"raspberrypi,{compatible}\0".encode())
    board, known = board_here(None, root), load_profile(name)
    assert board.profile is not None
    assert board.profile.name == name
    assert repr(model) in str(board.note)
    assert known.description in str(board.note)
    assert board.note in machine_text(read_machine(root, name), (), board, NOW, ())
    # Measured over estimated: 1.25 times as far for the latency, 1.5 times for the power.
    assert board.profile.latency is not None
    assert known.latency is not None
    assert board.profile.latency.low == pytest.approx(known.latency.low / 1.25)
    assert board.profile.latency.high == pytest.approx(known.latency.high * 1.25)
    second, full = Number.measured(1000.0), Number.measured(1.0)
    wide = energy_j(board.profile.power, power_w, full, second)
    narrow = energy_j(known.power, power_w, full, second)
    assert wide.value == narrow.value
    assert (wide.low, wide.high) == (
        pytest.approx((narrow.low or 0) / 1.5),
        pytest.approx((narrow.high or 0) * 1.5),
    )


@pytest.mark.parametrize(
    ("model", "compatible"),
    [
        ("Some Carrier", "maker,carrier\0brcm,bcm2711"),
        ("linux,dummy-virt", "linux,dummy-virt"),
        ("Raspberry Pi Zero W Rev 1.1", "raspberrypi,model-zero-w\0brcm,bcm2835"),
        ("Raspberry Pi 9 Rev 1.0", ""),
    ],
)
def test_no_other_machine_is_taken_for_a_pi_and_no_other_chip_for_a_known_one(
    tmp_path: Path, model: str, compatible: str
) -> None:
    board = board_here(None, device_tree(tmp_path, model.encode(), compatible.encode()))
    assert (board.profile, board.note) == (None, None)
    assert repr(model) in str(board.reason)


def test_the_note_stands_in_the_energys_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Callable[..., Path], quick: Any
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    root = device_tree(tmp_path, b"Raspberry Pi 500 Rev 1.0\0", b"brcm,bcm2712\0")
    (record,) = profile_models([model()], quick(seconds=0.3), root=root)
    assert record.machine.board == "pi5"
    assert record.energy_j.how == "estimated"
    assert "no profile for 'Raspberry Pi 500 Rev 1.0'" in str(record.energy_j.reason)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_latency_model_has_all_that_it_needs(name: str) -> None:
    profile = load_profile(name)
    assert profile.latency is not None
    assert profile.cpu.l2_bytes
    assert profile.cpu.memory_bandwidth_bytes_per_s
    assert profile.latency.low <= 0.63
    assert profile.latency.high >= 2.5
    taken_over = profile.name not in ("pi3b+", "pi4")
    assert ("taken over" in profile.latency.source or "mean of" in profile.latency.source) is (
        taken_over
    )
    assert (profile.latency.high > 2.5) is taken_over


def test_an_unknown_board_says_how_to_give_a_profile(tmp_path: Path) -> None:
    board = board_here(None, device_tree(tmp_path, b"Radxa ROCK 5B\0"))
    assert board.profile is None
    assert "'Radxa ROCK 5B'" in str(board.reason)
    assert "--profile" in str(board.reason)


def test_a_machine_without_a_device_tree_says_how_to_give_a_profile(tmp_path: Path) -> None:
    board = board_here(None, tmp_path)
    assert board.profile is None
    assert "--profile" in str(board.reason)


def test_a_profile_of_another_architecture_is_not_applied(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    board = board_here("pi4", tmp_path)
    assert board.profile is None
    assert "aarch64" in str(board.reason)
    assert "riscv64" in str(board.reason)


def test_a_profile_file_is_read(board_file: Callable[..., str]) -> None:
    profile = load_profile(board_file())
    assert (profile.name, profile.cores, profile.cpu.l2_bytes) == ("bench", 4, 524288)
    assert profile.cpu.peak_macs_per_cycle_int8 is None
    assert [power.full_load_w for power in profile.power] == [6.0, 7.0]
    assert [power.laboratory for power in profile.power] == [None, None]


def test_a_profile_may_have_a_latency_model_and_power_that_knows_its_clock(
    board_file: Callable[..., str],
) -> None:
    own = "full_load_w = 6.0\nclock_hz = 1e9\ncubic_w = 1.5\nlow = 0.9\nhigh = 1.2"
    profile = load_profile(board_file("full_load_w = 6.0", own))
    assert profile.latency is None
    assert profile.power[0] == Power(2.0, 6.0, "laboratory A", None, 1e9, 1.5, 0.9, 1.2)
    profile = load_profile(board_file("[[power]]", f"{LATENCY}high = 3\n[[power]]"))
    assert profile.latency == LatencyModel(2.0, 0.5, 0.5, 3, "someone")


def test_a_power_model_may_name_its_laboratory(board_file: Callable[..., str]) -> None:
    profile = load_profile(board_file("idle_w = 2.0", "idle_w = 2.0\nlaboratory = 'A'"))
    assert [power.laboratory for power in profile.power] == ["A", None]


@pytest.mark.parametrize(
    ("old", "new", "key", "rule"),
    [
        ("edgekit.board/1", "edgekit.board/9", "schema", "must be 'edgekit.board/1'"),
        ("cores = 4", "cores = 0", "cores", "from 1 to 1024"),
        ("cores = 4", "cores = 2.5", "cores", "whole number"),
        ("cores = 4", "cores = true", "cores", "must be a number"),
        ("cores = 4", "cores = 4\ncolour = 'red'", "colour", "not a key"),
        ("clock_hz = 1_000_000_000", "clock_hz = nan", "clock_hz", "must be a number"),
        ("clock_hz = 1_000_000_000", "clock_hz = 1500", "clock_hz", "from 1e"),
        ('name = "bench"', "name = ''", "name", "must be text"),
        ('name = "bench"', "", "name", "is missing"),
        ("[1_000_000_000]", "[]", "memory_bytes", "list of numbers"),
        ("[1_000_000_000]", "['1 GB']", "memory_bytes", "must be a number"),
        ('["Test Board"]', "[3]", "device_tree_models", "list of texts"),
        ("l2_bytes = 524288", "l2_bytes = 524288\nl3 = 1", "cpu.l3", "is missing"),
        ("l2_bytes = 524288", "l2_bytes = 524288\ncolour = 'red'", "cpu.colour", "not a key"),
        ("full_load_w = 6.0", "full_load_w = 6\ncubic_w = 1", "power[0].cubic_w", "from 0 to 0"),
        ("full_load_w = 6.0", "full_load_w = 6\nlow = 1.1", "power[0].low", "from 0 to 1"),
        ("[[power]]", f"{LATENCY}high = 0.9\n[[power]]", "latency.high", "from 1 to"),
        ("[[power]]", f"{LATENCY}high = 2\nk = 3\n[[power]]", "latency.k", "not a key"),
        ("full_load_w = 6.0", "full_load_w = 1.9", "power[0].full_load_w", "from 2 to"),
        ("full_load_w = 7.0", "full_load_w = 7.0\nvolts = 5", "power[1].volts", "not a key"),
        ('source = "laboratory A"', "", "power[0].source", "is missing"),
        ("idle_w = 2.0", "idle_w = 2.0\nlaboratory = 3", "power[0].laboratory", "must be text"),
        ('"cpu.l2_bytes" = "data sheet"', "", "sources.cpu.l2_bytes", "is missing"),
        ('cores = "data sheet"', "cores = 'x'\nname = 'x'", "sources.name", "not a key"),
    ],
)
def test_a_broken_profile_names_file_key_and_rule(
    board_file: Callable[..., str], old: str, new: str, key: str, rule: str
) -> None:
    file = board_file(old, new)
    with pytest.raises(BoardProfileError) as caught:
        load_profile(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert f"{key}: " in message
    assert rule in message


def test_what_is_not_toml_or_not_there_is_said(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    with pytest.raises(BoardProfileError, match="cannot be read"):
        load_profile(str(file))
    file.write_text("cores = ")
    with pytest.raises(BoardProfileError, match="not TOML"):
        load_profile(str(file))
    with pytest.raises(BoardProfileError, match="pi400"):
        load_profile("pi9")
