"""Groups of options that several commands share; nothing heavy is imported here."""

from __future__ import annotations

import argparse


def model_options(command: argparse.ArgumentParser) -> None:
    """Which model, and what it needs to be loaded."""
    command.add_argument(
        "model",
        metavar="MODEL",
        help=".keras or .h5 file (Keras 3 or 2), file.py:function, or parent:NAME such as "
        "parent:vgg9",
    )
    command.add_argument(
        "--custom-objects", metavar="FILE.py", help="layers and functions that the model needs"
    )
    command.add_argument(
        "--unsafe", action="store_true", help="load models that carry code of their own (Lambda)"
    )


def data_options(command: argparse.ArgumentParser, *, required: bool) -> None:
    """Which data, and how their pixels are scaled."""
    command.add_argument(
        "--data",
        required=required,
        help="digits, glyphs, nuclei, lowlight, cifar10, cifar100, mnist, an .npz file, a folder "
        "of images (by class, with masks, in pairs; CIFAR, idx), or file.py:function",
    )
    command.add_argument(
        "--pixels",
        choices=("unit", "byte"),
        default="unit",
        help="images from 0 to 1 (unit, default) or 0 to 255 (byte, for models that rescale)",
    )


def training_options(command: argparse.ArgumentParser) -> None:
    """How rewritten models are trained."""
    group = command.add_argument_group("training of rewritten models")
    group.add_argument(
        "--epochs", type=int, default=20, help="at most (default: %(default)s); distill has its own"
    )
    group.add_argument("--learning-rate", type=float, default=1e-3, help="default: %(default)s")
    tuning = "for pruning, clustering and quantisation-aware training (default: %(default)s)"
    group.add_argument("--tuning-epochs", type=int, default=10, help=f"the same {tuning}")
    group.add_argument(
        "--tuning-learning-rate", type=float, default=1e-4, help=f"the same {tuning}"
    )
    group.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    group.add_argument(
        "--patience", type=int, default=5, help="epochs without gain; 0: never stop early"
    )
    group.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    group.add_argument(
        "--deterministic", action="store_true", help="same seed, same files; slower training"
    )


def board_options(command: argparse.ArgumentParser, *, many: bool) -> None:
    """Where files run."""
    command.add_argument(
        "--board",
        action="append" if many else "store",
        default=None if many else "local",
        metavar="BOARD",
        help="local (default), local:PYTHON for another environment's interpreter, qemu:pi4 for an "
        "emulated board, a name given with edgekit boards add, or ssh://USER@HOST"
        + ("; may be given more than once: boards work side by side" if many else ""),
    )


def npu_options(command: argparse.ArgumentParser) -> None:
    """Which NPUs are emulated too."""
    command.add_argument(
        "--npu",
        action="append",
        default=[],
        metavar="NPU",
        help="an NPU to emulate too: a profile's name such as nepu-v1, or its TOML file; may be "
        "given more than once, and energy-aware training weighs the first one's energies",
    )
    arithmetic_options(command)


def arithmetic_options(command: argparse.ArgumentParser) -> None:
    """What of an NPU's arithmetic is not its profile's."""
    command.add_argument(
        "--arithmetic",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the NPU, instead of its profile's: weight_bits=4, activation_bits=6, "
        "accumulator_bits=24, multiplier=drum(4), …; may be given more than once",
    )
    command.add_argument(
        "--multiplier-energy",
        type=float,
        metavar="X",
        help="the NPU's multiplier's energy relative to the exact one, where none is published",
    )


def profiling_options(command: argparse.ArgumentParser, threads: int | None = 1) -> None:
    """How long and with what files are profiled."""
    group = command.add_argument_group("profiling")
    group.add_argument("--runs", type=int, default=50, help="at least (default: %(default)s)")
    group.add_argument("--seconds", type=float, default=10.0, help="at least (default: 10)")
    group.add_argument("--warmup", type=int, default=3, help="runs dropped (default: %(default)s)")
    group.add_argument("--rounds", type=int, default=5, help="turns per file (default: 5)")
    what = "at most (default: all cores)" if threads is None else "default: %(default)s"
    group.add_argument("--threads", type=int, default=threads, help=what)
    group.add_argument("--runtime", choices=("auto", "litert", "tflite-runtime"), default="auto")
    group.add_argument(
        "--idle-seconds", type=float, default=2.0, help="idle baseline before (default: 2)"
    )
    group.add_argument(
        "--sample-interval", type=float, default=0.1, help="of CPU and memory (default: 0.1 s)"
    )
    group.add_argument(
        "--timeout", type=float, default=120.0, help="seconds for one answer (default: 120)"
    )
    group.add_argument("--profile", metavar="NAME", help="board profile: a name or a TOML file")
    group.add_argument(
        "--meter",
        default="auto",
        help="power meter on the board: auto (one that is there, else the profile's power model), "
        "model, hwmon, iio, pmic, rapl, csv:FILE or serial:DEVICE[@BAUD]",
    )
    group.add_argument("--affinity", metavar="CORES", help="cores to stay on, such as 0,2-3")
    group.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help="seconds that each file runs alone and without a pause, instead of --runs in rounds",
    )


def out_options(command: argparse.ArgumentParser) -> None:
    """The run folder."""
    command.add_argument("--out", default=None, help="run folder (default: edgekit-runs/MODEL-KEY)")


def common_options(command: argparse.ArgumentParser) -> None:
    """What every command takes."""
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
