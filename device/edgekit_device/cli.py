"""The command line of the agent: profile, info, serve, and what the NEPU delegate needs."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import Any

from edgekit_device.affinity import cores_from
from edgekit_device.agent import agent
from edgekit_device.codec import encode
from edgekit_device.depot import DEFAULT_BYTES
from edgekit_device.emulation_cli import add_emulate, run_emulate
from edgekit_device.errors import EdgeKitDeviceError
from edgekit_device.machine import read_machine
from edgekit_device.meters.choosing import meters_here
from edgekit_device.meters.named import FORMS
from edgekit_device.profile import profile_models
from edgekit_device.profiles import board_here
from edgekit_device.progress import Event, Progress, silent
from edgekit_device.runtime import installed
from edgekit_device.serve import serve_stdio
from edgekit_device.settings import RUNTIME_CHOICES, Settings
from edgekit_device.summary import machine_text, record_text
from edgekit_device.version import __version__
from edgekit_device.watching import Watch

OK, FAILED_MODEL, USAGE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143

_DEFAULTS = Settings()

_NUMBERS = (
    ("--threads", "threads", "threads of the runtime"),
    ("--runs", "runs", "least number of timed runs"),
    ("--seconds", "seconds", "least duration of the timed runs"),
    ("--warmup", "warmup", "first runs, reported apart"),
    ("--rounds", "rounds", "rounds, in each of which every model does its share"),
    ("--idle-seconds", "idle_seconds", "duration of the idle baseline, 0: none"),
    ("--sample-interval", "sample_interval_s", "seconds between samples, 0: none"),
    ("--timeout", "timeout_s", "seconds after which an answer counts as missing"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Exit codes: 0 when all went well, 1 when a model gave an error record, 2 when the command
    could not be obeyed, 130 when interrupted. SIGTERM raises SystemExit with 143, so that the
    workers end with the agent.
    """
    options = _parser().parse_args(arguments)
    try:
        with _ending_on_sigterm():
            return _COMMANDS[options.command](options)
    except EdgeKitDeviceError as error:
        if options.debug:
            raise
        print(f"edgekit-agent: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("edgekit-agent: interrupted", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack: by default it ends the process without any cleaning up."""
    # Python takes signal handlers from its main thread alone.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    # A second one must not break off what the first one began to clean up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(TERMINATED)


def _profile(options: argparse.Namespace) -> int:
    names = [field.name for field in fields(Settings)]
    given = {name: getattr(options, name) for name in names}
    if options.affinity is not None:
        given["affinity"] = cores_from(options.affinity)
    settings = Settings(**given)
    records = profile_models(options.models, settings, progress=_PROGRESS[options.progress])
    if options.json:
        print(json.dumps([record.to_json() for record in records], allow_nan=False))
    else:
        print("\n\n".join(record_text(record) for record in records))
    return OK if all(record.status == "ok" for record in records) else FAILED_MODEL


def _info(options: argparse.Namespace) -> int:
    board, runtimes = board_here(options.profile, Path("/")), installed()
    machine = read_machine(Path("/"), board.profile.name if board.profile else None)
    now, meters = Watch(Path("/")).glance(time.monotonic()).moment, meters_here(Path("/"))
    if options.json:
        facts = {
            "agent": agent(),
            "machine": machine,
            "runtimes": runtimes,
            "board": board,
            "conditions": now,
            "meters": meters,
        }
        print(json.dumps({name: encode(value) for name, value in facts.items()}, allow_nan=False))
    else:
        print(machine_text(machine, runtimes, board, now, meters))
    return OK


def _build_delegate(options: argparse.Namespace) -> int:
    from edgekit_device.build_delegate import build_delegate

    built = build_delegate(options.target, options.out)
    print(f"{built}: {built.stat().st_size} bytes")
    return OK


def _product_table(options: argparse.Namespace) -> int:
    from edgekit_device.product_table import product_table

    table = product_table(options.circuit, options.out, options.function, options.is_signed)
    print(f'{table.summary()}\nUse it as multiplier = "table({options.out})"')
    return OK


def _npu_operators(options: argparse.Namespace) -> int:
    from edgekit_device.delegate import operator_rules
    from edgekit_device.npu_operators import operators_page

    print(operators_page(operator_rules()))
    return OK


def _emulate(options: argparse.Namespace) -> int:
    return run_emulate(options, _PROGRESS)


def _run_serve(options: argparse.Namespace) -> int:
    serve_stdio(options.store, options.store_limit)
    return OK


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "build-delegate": _build_delegate,
    "emulate": _emulate,
    "info": _info,
    "npu-operators": _npu_operators,
    "product-table": _product_table,
    "profile": _profile,
    "serve": _run_serve,
}


def _tell_json(event: Event) -> None:
    print(json.dumps(event.to_json()), file=sys.stderr, flush=True)


def _tell_text(event: Event) -> None:
    print(event, file=sys.stderr, flush=True)


_PROGRESS: dict[str, Progress] = {"text": _tell_text, "json": _tell_json, "none": silent}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "edgekit-agent", description="Run TFLite models on this machine and record what they cost."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--profile", metavar="NAME|FILE", help="board profile (default: recognise)")
    common.add_argument("--json", action="store_true", help="write JSON to standard output")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_emulate(commands, common, _PROGRESS)
    commands.add_parser("info", parents=[common], help="this machine, its runtimes, its profile")
    _serve(commands.add_parser("serve", help="speak the agent's protocol on stdin and stdout"))
    profile = commands.add_parser(
        "profile",
        parents=[common],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        help="profile models, in turns",
        description="Several models take turns in rounds, so that drift of the machine hits all "
        "alike. Runs and seconds are the least per model, over all rounds.",
    )
    profile.add_argument("models", nargs="+", metavar="MODEL", help="a .tflite file")
    profile.add_argument(
        "--runtime", choices=RUNTIME_CHOICES, default=_DEFAULTS.runtime, help="TFLite runtime"
    )
    for flag, name, what in _NUMBERS:
        default = getattr(_DEFAULTS, name)
        profile.add_argument(
            flag, dest=name, type=type(default), default=default, metavar="N", help=what
        )
    profile.add_argument("--meter", default=_DEFAULTS.meter, metavar="METER", help=f"{FORMS}")
    profile.add_argument("--affinity", metavar="CORES", help="cores to stay on, such as 0,2-3")
    profile.add_argument(
        "--duration",
        dest="duration_s",
        type=float,
        metavar="N",
        help="seconds that each model runs alone and without a pause, instead of runs in rounds",
    )
    profile.add_argument(
        "--progress", choices=sorted(_PROGRESS), default="text", help="on standard error"
    )
    _add_delegate_commands(commands)
    return parser


def _serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="for files and jobs (default: $EDGEKIT_AGENT_STORE, or in the cache)",
    )
    serve.add_argument(
        "--store-limit",
        type=int,
        default=DEFAULT_BYTES,
        metavar="BYTES",
        help="of all files kept (default: %(default)s)",
    )
    serve.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_delegate_commands(commands: Any) -> None:
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument("--debug", action="store_true", help="show the traceback of an error")
    build = commands.add_parser(
        "build-delegate",
        parents=[debug],
        help="build the NEPU delegate's library",
        description="With the system's compiler, Debian's cross compiler, or ziglang from PyPI.",
    )
    build.add_argument("--target", choices=("aarch64", "x86_64"), help="default: this machine")
    build.add_argument(
        "--out", type=Path, metavar="FILE", help="default: the package, or the working directory"
    )
    commands.add_parser(
        "npu-operators",
        parents=[debug],
        help="write the table of the operators that the NEPU delegate takes",
    )
    table = commands.add_parser(
        "product-table",
        parents=[debug],
        help="tabulate an 8-bit multiplier circuit given as C code (EvoApproxLib)",
        description="Compiles and runs the code: take circuits from people you trust.",
    )
    table.add_argument("circuit", type=Path, metavar="CIRCUIT.c")
    table.add_argument("out", type=Path, metavar="OUT.bin")
    table.add_argument("--function", metavar="NAME", help="if the file holds several")
    signs = table.add_mutually_exclusive_group()
    signs.add_argument("--signed", dest="is_signed", action="store_true", default=None)
    signs.add_argument("--unsigned", dest="is_signed", action="store_false", default=None)
