"""The command line's grammar; nothing heavy is imported here."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from edgekit.cli.options import (
    arithmetic_options,
    board_options,
    common_options,
    data_options,
    model_options,
    npu_options,
    out_options,
    profiling_options,
    training_options,
)

_RECIPES = ("base", "int8", "lcrm", "lcrm+int8")
_PASSES = (
    "lcrm, prune(0.5), cluster(16), qat, int8, … joined by +, or P, C, Q, PQ, CQ, PC, PCQ for the "
    "cascades of the middle three, such as lcrm+PCQ"
)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"edgekit {version('edgekit')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of `edgekit`."""
    top = argparse.ArgumentParser(
        prog="edgekit",
        description="Which version of a Keras model to ship on a small ARM board, and what it "
        "costs there.",
        epilog="Start with: edgekit demo",
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _inspect(commands.add_parser("inspect", help="layers, cost, and what LCRM would save"))
    _optimize(commands.add_parser("optimize", help="one recipe: Keras model in, .tflite out"))
    _train(commands.add_parser("train", help="train a Keras model, or measure what that costs"))
    _scan(commands.add_parser("scan", help="which layers LCRM may replace, and what that loses"))
    _compare(commands.add_parser("compare", help="all recipes on all boards, in one table"))
    _profile(commands.add_parser("profile", help="what .tflite files cost on a board"))
    _boards(commands.add_parser("boards", help="add, list, check, calibrate and remove boards"))
    _estimate(commands.add_parser("estimate", help="what a .tflite file would cost elsewhere"))
    _search(commands.add_parser("search", help="try substitutes for convolutions, or settings"))
    _report(commands.add_parser("report", help="show a finished comparison again"))
    _demo(commands.add_parser("demo", help="the whole way on handwritten digits, in minutes"))
    return top


def _inspect(command: argparse.ArgumentParser) -> None:
    model_options(command)
    command.add_argument(
        "--lcrm",
        default="lcrm",
        metavar="PASS",
        help="LCRM as in a recipe, such as 'lcrm(style=table4, where=\"conv*,!conv2\")'",
    )
    common_options(command)


def _optimize(command: argparse.ArgumentParser) -> None:
    model_options(command)
    command.add_argument("--recipe", required=True, metavar="R", help=f"passes: {_PASSES}")
    command.add_argument(
        "--calibration",
        metavar="FILE.npz",
        help="representative inputs where there are no data: one array per input, under its name",
    )
    command.add_argument(
        "--batch",
        type=_batch,
        default=1,
        metavar="N",
        help="the file's fixed batch size (default: 1), or open, which accelerators refuse",
    )
    data_options(command, required=False)
    command.add_argument(
        "--npu",
        action="append",
        default=[],
        metavar="NPU",
        help="energy-aware training weighs this NPU's energies: a profile's name, or its file",
    )
    command.set_defaults(arithmetic=[], multiplier_energy=None)
    training_options(command)
    out_options(command)
    common_options(command)


def _train(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Trains a Keras model for its task and writes its best epoch; with --profile it measures "
        "instead what training costs at each batch size."
    )
    model_options(command)
    data_options(command, required=True)
    command.add_argument(
        "--backend",
        choices=("tensorflow", "jax", "torch"),
        help="what Keras computes with (default: KERAS_BACKEND, else what Keras is set to)",
    )
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    group = command.add_argument_group("training")
    group.add_argument("-o", "--output", metavar="OUT.keras", help="the trained model's file")
    group.add_argument("--epochs", type=int, help="at most (default: 20)")
    group.add_argument("--learning-rate", type=float, help="default: 0.001")
    group.add_argument("--batch-size", type=int, help="default: 32")
    group.add_argument("--patience", type=int, help="epochs without gain (default: 5); 0: all")
    group = command.add_argument_group("measuring")
    group.add_argument("--profile", action="store_true", help="measure instead of training")
    group.add_argument(
        "--batch-sizes",
        type=_sizes,
        metavar="N,N,…",
        help="each in a process of its own (default: 16,32,64,128,256)",
    )
    group.add_argument("--steps", type=int, help="at least, after the first three (default: 20)")
    group.add_argument("--seconds", type=float, help="at least, of these steps (default: 6)")
    group.add_argument("--against", metavar="OTHER", help="a second model, in turns with the first")
    group.add_argument("--recipe", metavar="R", help="the same, made from the first, such as lcrm")
    group.add_argument(
        "--meter",
        help="power meter of this machine: auto (default), hwmon, iio, pmic, rapl, csv:FILE, …",
    )
    group.add_argument(
        "--board-profile",
        metavar="NAME",
        help="where there is no meter: the board profile whose power model estimates energy",
    )
    group.add_argument("--out", metavar="DIR", help="folder for training-profile.json and .svg")
    common_options(command)


def _sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} are not whole numbers from 1 on, as 16,32")
    return tuple(sorted({int(part) for part in parts}))


def _batch(text: str) -> int | None:
    if text == "open":
        return None
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number from 1 on nor open")
    return int(text)


def _scan(command: argparse.ArgumentParser) -> None:
    model_options(command)
    data_options(command, required=True)
    command.add_argument(
        "--lcrm",
        default="lcrm(auto=true)",
        metavar="PASS",
        help="an automatic LCRM as in a recipe, such as \"lcrm(auto=true, where='block*')\"",
    )
    command.add_argument(
        "--budget",
        metavar="GOAL",
        help="pick a point: drop<=1 (points), macs<=4M, macs<=0.4x, parameters<=0.3x, "
        "'latency_ms<=5 on BOARD', 'energy_mj<=0.2 on NPU', 'drop<=1 on PLACE' "
        "(a BOARD or NPU; a file's: on FILE.toml, on npu:FILE.toml); each also ' in float32'",
    )
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    out_options(command)
    common_options(command)


def _compare(command: argparse.ArgumentParser) -> None:
    model_options(command)
    data_options(command, required=True)
    command.add_argument(
        "--recipes",
        nargs="+",
        default=_RECIPES,
        metavar="R",
        help=f"passes: {_PASSES}; all stands for base, the cascades, lcrm, and lcrm with each "
        f"cascade (default: {' '.join(_RECIPES)})",
    )
    board_options(command, many=True)
    npu_options(command)
    training_options(command)
    profiling_options(command)
    out_options(command)
    common_options(command)


def _profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", nargs="+", metavar="MODEL.tflite")
    board_options(command, many=False)
    npu_options(command)
    profiling_options(command)
    common_options(command)


def _boards(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="install the agent on a board and remember it")
    add.add_argument("name", metavar="NAME", help="what to call it, such as pi")
    add.add_argument("url", metavar="ssh://USER@HOST[:PORT]")
    way = add.add_mutually_exclusive_group()
    way.add_argument(
        "--offline", action="store_true", help="fetch its packages here: it has no network"
    )
    way.add_argument(
        "--python",
        metavar="PATH",
        help="install nothing: the interpreter of an environment there that has the agent",
    )
    common_options(add)
    common_options(
        actions.add_parser(
            "list", help="the boards that are remembered, and the emulated ones that are up"
        )
    )
    for name, does in (
        ("up", "boot an emulated board, which stays up: qemu:pi4"),
        ("down", "end an emulated board"),
        ("check", "say what is wrong with a board, or that nothing is"),
        ("remove", "forget a board"),
    ):
        action = actions.add_parser(name, help=does)
        action.add_argument("name", metavar="NAME")
        common_options(action)
    _calibrate(actions.add_parser("calibrate", help="fit a board profile to your own measurements"))


def _calibrate(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Profiles the models on a real board with 1 up to all threads, fits the latency model of "
        "its profile and, where there is a power meter, the power model, and writes the profile."
    )
    command.add_argument("name", metavar="BOARD", help="a name, ssh://USER@HOST or local")
    command.add_argument("models", nargs="*", metavar="MODEL.tflite")
    command.add_argument(
        "--from",
        dest="records",
        nargs="+",
        metavar="RECORDS.json",
        help="run nothing: fit to what edgekit profile --json printed for these models there",
    )
    profiling_options(command, threads=None)
    common_options(command)


def _estimate(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL.tflite")
    place = command.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--npu", metavar="NPU", help="NPU profile: a name such as nepu-v1, or its TOML file"
    )
    place.add_argument(
        "--board",
        action="append",
        metavar="PROFILE",
        help="board profile: a name such as pi4, or its TOML file; may be given more than once",
    )
    command.add_argument("--threads", type=int, help="on a board (default: 1)")
    arithmetic_options(command)
    command.add_argument(
        "--out", metavar="DIR", help="folder for estimate.json, layers.csv and pictures"
    )
    common_options(command)


def _search(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Trains a model for every substitute of its convolutions (LCRM paper, Table 15), or for "
        "settings of its training (Table 16), rates each on the validation samples, and keeps the "
        "best. Stopped or killed, it goes on where it was when the same command is given again."
    )
    model_options(command)
    data_options(command, required=True)
    command.add_argument(
        "--what",
        choices=("substitutes", "hyperparameters"),
        default="substitutes",
        help="default: %(default)s",
    )
    command.add_argument(
        "--sampler",
        choices=("grid", "tpe"),
        help="default: grid for substitutes, tpe for hyperparameters",
    )
    command.add_argument(
        "--pruner",
        choices=("median", "halving", "none"),
        default="median",
        help="what gives hopeless trials up early (default: %(default)s)",
    )
    command.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="of the whole study (default: the whole grid, or 30 with tpe)",
    )
    command.add_argument(
        "--choices",
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="narrow what is tried: substitute=standard,group(8),group+dilated, batch_size=32,64, "
        "…; may be given more than once",
    )
    command.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="PATTERN",
        help="which of the convolutions between the first and the last to replace, such as "
        "'conv*,!conv2' (default: all)",
    )
    command.add_argument(
        "--weights",
        choices=("kept", "fresh"),
        default="kept",
        help="of the layers that stay, in a search of substitutes (default: %(default)s)",
    )
    command.add_argument(
        "--storage", default="search.db", metavar="FILE", help="default: %(default)s"
    )
    command.add_argument("--study", metavar="NAME", help="in the storage (default: as --what)")
    command.add_argument(
        "-o",
        "--output",
        metavar="BEST.keras",
        help="write the best trial's model there and rate it on the test samples",
    )
    group = command.add_argument_group("training of each trial")
    group.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    group.add_argument("--learning-rate", type=float, help="of substitutes (default: 0.001)")
    group.add_argument("--batch-size", type=int, help="of substitutes (default: 32)")
    group.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    group.add_argument(
        "--deterministic", action="store_true", help="same seed, same scores; slower training"
    )
    common_options(command)


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="the run folder of a comparison")
    common_options(command)


def _demo(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--small", action="store_true", help="a shorter one: fewer epochs, shorter profiling"
    )
    board_options(command, many=True)
    command.add_argument("--out", default="edgekit-demo", help="run folder (default: %(default)s)")
    common_options(command)
