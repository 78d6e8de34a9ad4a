"""The command line's grammar; nothing heavy is imported here."""

from __future__ import annotations

import argparse
from importlib.metadata import version

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
    _model(command)
    command.add_argument(
        "--lcrm",
        default="lcrm",
        metavar="PASS",
        help="LCRM as in a recipe, such as 'lcrm(style=table4, where=\"conv*,!conv2\")'",
    )
    _common(command)


def _optimize(command: argparse.ArgumentParser) -> None:
    _model(command)
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
    _data(command, required=False)
    command.add_argument(
        "--npu",
        action="append",
        default=[],
        metavar="NPU",
        help="energy-aware training weighs this NPU's energies: a profile's name, or its file",
    )
    command.set_defaults(arithmetic=[], multiplier_energy=None)
    _training(command)
    _out(command)
    _common(command)


def _train(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Trains a Keras model for its task and writes its best epoch; with --profile it measures "
        "instead what training costs at each batch size."
    )
    _model(command)
    _data(command, required=True)
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
    _common(command)


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
    _model(command)
    _data(command, required=True)
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
        "'latency_ms<=5 on BOARD', 'energy_mj<=0.2 on NPU', 'drop<=1 on BOARD'",
    )
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    _out(command)
    _common(command)


def _compare(command: argparse.ArgumentParser) -> None:
    _model(command)
    _data(command, required=True)
    command.add_argument(
        "--recipes",
        nargs="+",
        default=_RECIPES,
        metavar="R",
        help=f"passes: {_PASSES}; all stands for base, the cascades, lcrm, and lcrm with each "
        f"cascade (default: {' '.join(_RECIPES)})",
    )
    _board(command, many=True)
    _npu(command)
    _training(command)
    _profiling(command)
    _out(command)
    _common(command)


def _profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", nargs="+", metavar="MODEL.tflite")
    _board(command, many=False)
    _npu(command)
    _profiling(command)
    _common(command)


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
    _common(add)
    _common(
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
        _common(action)
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
    _profiling(command, threads=None)
    _common(command)


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
    _arithmetic(command)
    command.add_argument(
        "--out", metavar="DIR", help="folder for estimate.json, layers.csv and pictures"
    )
    _common(command)


def _search(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Trains a model for every substitute of its convolutions (LCRM paper, Table 15), or for "
        "settings of its training (Table 16), rates each on the validation samples, and keeps the "
        "best. Stopped or killed, it goes on where it was when the same command is given again."
    )
    _model(command)
    _data(command, required=True)
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
        help="convolutions to replace, such as 'conv*,!conv2' (default: all but first and last)",
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
    _common(command)


def _report(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="the run folder of a comparison")
    _common(command)


def _demo(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--small", action="store_true", help="a shorter one: fewer epochs, shorter profiling"
    )
    _board(command, many=True)
    command.add_argument("--out", default="edgekit-demo", help="run folder (default: %(default)s)")
    _common(command)


def _model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model", metavar="MODEL", help=".keras or .h5 file (Keras 3 or 2), or file.py:function"
    )
    command.add_argument(
        "--custom-objects", metavar="FILE.py", help="layers and functions that the model needs"
    )
    command.add_argument(
        "--unsafe", action="store_true", help="load models that carry code of their own (Lambda)"
    )


def _data(command: argparse.ArgumentParser, *, required: bool) -> None:
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


def _training(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("training of rewritten models")
    group.add_argument("--epochs", type=int, default=20, help="at most (default: %(default)s)")
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


def _board(command: argparse.ArgumentParser, *, many: bool) -> None:
    command.add_argument(
        "--board",
        action="append" if many else "store",
        default=None if many else "local",
        metavar="BOARD",
        help="local (default), local:PYTHON for another environment's interpreter, qemu:pi4 for an "
        "emulated board, a name given with edgekit boards add, or ssh://USER@HOST"
        + ("; may be given more than once: boards work side by side" if many else ""),
    )


def _npu(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--npu",
        action="append",
        default=[],
        metavar="NPU",
        help="an NPU to emulate too: a profile's name such as nepu-v1, or its TOML file; may be "
        "given more than once, and energy-aware training weighs the first one's energies",
    )
    _arithmetic(command)


def _arithmetic(command: argparse.ArgumentParser) -> None:
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


def _profiling(command: argparse.ArgumentParser, threads: int | None = 1) -> None:
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


def _out(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", default=None, help="run folder (default: edgekit-runs/MODEL-KEY)")


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
