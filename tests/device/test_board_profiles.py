import platform
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from edgekit_device.errors import BoardProfileError
from edgekit_device.profiles import board_here, load_profile, recognise, shipped_profiles

SHIPPED = [
    entry.name.removesuffix(".toml")
    for entry in (files("edgekit_device") / "profiles" / "boards").iterdir()
]


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
        ("Raspberry Pi 50 Model B", None),
        ("Radxa ROCK 5B", None),
    ],
)
def test_recognises_a_board_by_its_device_tree(model: str, name: str | None) -> None:
    profile = recognise(model)
    assert (profile.name if profile else None) == name


def device_tree(root: Path, model: bytes) -> Path:
    folder = root / "proc" / "device-tree"
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(model)
    return root


def test_reads_the_device_tree_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    root = device_tree(tmp_path, b"Raspberry Pi 4 Model B Rev 1.4\0")
    board = board_here(None, root)
    assert board.profile is not None
    assert (board.profile.name, board.reason) == ("pi4", None)


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
