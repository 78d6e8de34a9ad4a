"""What each command does: arguments in, work, something to read out, an exit code."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.boards import ProfileSettings, parse_board, profile_on
from edgekit.cli.live import live
from edgekit.disk import storing
from edgekit.errors import EdgeKitError, RunError
from edgekit_device.affinity import cores_from
from edgekit_device.errors import EdgeKitDeviceError

if TYPE_CHECKING:
    from edgekit.npu.target import Npu
    from edgekit.stages import Parent
    from edgekit_converters import Training


def user_errors() -> tuple[type[Exception], ...]:
    """The errors whose text is meant for the user."""
    from edgekit_converters.errors import ConverterError

    return EdgeKitError, ConverterError, EdgeKitDeviceError


def inspect(options: argparse.Namespace) -> int:
    """`edgekit inspect`."""
    import edgekit_converters as ec

    passes = ec.parse_recipe(options.lcrm).passes
    if len(passes) != 1 or not isinstance(passes[0], ec.Lcrm):
        raise RunError(f"--lcrm {options.lcrm!r}: give one lcrm pass, such as lcrm(style=table4).")
    with live() as progress:
        progress.note("loading the model")
        model = ec.load_model(
            options.model, custom_objects=options.custom_objects, safe=not options.unsafe
        )
        seen = ec.inspect_model(model, passes[0])
    if options.json:
        from edgekit.cli.inspection import inspection_json

        print(json.dumps(inspection_json(seen), indent=1))
    else:
        from edgekit.cli.inspection import print_inspection

        print_inspection(seen, options.model)
    return 0


def optimize(options: argparse.Namespace) -> int:
    """`edgekit optimize`."""
    import edgekit_converters as ec
    from edgekit.optimization import load_data_for
    from edgekit.optimization import optimize as run
    from edgekit_device.codec import encode

    recipe, training = ec.parse_recipe(options.recipe), trained(options)
    with live() as progress:
        progress.note("loading the model")
        parent = parent_of(options)
        data = options.data and load_data_for(
            parent, options.data, seed=training.seed, pixels=options.pixels
        )
        done = run(
            parent,
            recipe,
            data,
            out=out_of(options, parent),
            batch=options.batch,
            calibration=options.calibration,
            training=training,
            progress=progress,
        )
    if options.json:
        facts = {**asdict(done), "file": str(done.file)}
        del facts["scores"]
        facts["metrics"] = [encode(metric) for metric in done.metrics]
        facts.update(
            {key: value.to_json() for key, value in vars(done).items() if hasattr(value, "to_json")}
        )
        print(json.dumps(facts, indent=1))
    else:
        from edgekit.cli.inspection import print_optimized

        print_optimized(done)
    return 0


def compare(options: argparse.Namespace) -> int:
    """`edgekit compare`."""
    from edgekit.comparing import compare as run
    from edgekit.optimization import load_data_for

    training, profiling = trained(options), profiling_settings(options)
    with live() as progress:
        progress.note("loading the model")
        parent = parent_of(options)
        data = load_data_for(parent, options.data, seed=training.seed, pixels=options.pixels)
        out = out_of(options, parent)
        comparison = run(
            parent,
            data,
            options.recipes,
            options.board or ["local"],
            _npus(options),
            out=out,
            training=training,
            profiling=profiling,
            progress=progress,
            command=_again(options),
        )
    return show(comparison, out, as_json=options.json)


def profile(options: argparse.Namespace) -> int:
    """`edgekit profile`."""
    from edgekit.cli.emulation import emulate_all, emulations_json, print_emulations

    board, files = parse_board(options.board), [Path(model) for model in options.models]
    npus = _npus(options)
    with live() as progress:
        records = profile_on(board, files, profiling_settings(options), progress)
        emulated = emulate_all(board, files, npus, options.runtime, progress)
    if options.json:
        print(json.dumps([*records, *emulations_json(emulated)], indent=1))
    else:
        from edgekit_device.record import Record
        from edgekit_device.summary import record_text

        print("\n\n".join(record_text(Record.from_json(record)) for record in records))
        print_emulations(emulated)
    whole = all(record["status"] == "ok" for record in records)
    return 0 if whole and not any(one.error for one in emulated) else 1


def estimate(options: argparse.Namespace) -> int:
    """`edgekit estimate`."""
    if options.board:
        from edgekit.cli.board_estimation import run as on_boards

        return on_boards(options)
    if options.threads is not None:
        raise RunError("--threads is for a board: name one with --board instead of --npu.")
    from edgekit.npu.estimating import estimate as run
    from edgekit.npu.files import estimate_json, write_estimate
    from edgekit.npu.target import load_target
    from edgekit.npu.workload import read_workload

    npu = load_target(options.npu, options.arithmetic, options.multiplier_energy)
    profile = npu.profile
    found = run(read_workload(Path(options.model)), profile, npu.precision)
    files = write_estimate(found, profile, Path(options.out)) if options.out else ()
    if options.json:
        print(json.dumps(estimate_json(found), indent=1))
    else:
        from edgekit.cli.estimation import print_estimate

        print_estimate(found, profile)
        for file in files:
            print(file)
    return 0 if found.layers else 1


def report(options: argparse.Namespace) -> int:
    """`edgekit report`."""
    from edgekit.report import read_comparison

    folder = Path(options.run)
    return show(read_comparison(folder / "comparison.json"), folder, as_json=options.json)


def demo(options: argparse.Namespace) -> int:
    """`edgekit demo`."""
    from edgekit.demo import run_demo

    out = Path(options.out)
    with live() as progress:
        comparison = run_demo(
            out, small=options.small, boards=options.board or ["local"], progress=progress
        )
    return show(comparison, out, as_json=options.json)


def show(comparison: Any, out: Path, *, as_json: bool) -> int:
    """Writes the report's files and prints the table (or the JSON)."""
    from edgekit.report import print_table, write_report

    with live() as progress:
        progress.note("writing the report")
        with storing(out, "the report"):
            files = write_report(comparison, out)
    if as_json:
        print(files.json.read_text(), end="")
    else:
        print_table(comparison)
        print(f"\nReport: {files.html.resolve()}")
        print(f"Files:  {(out / 'files').resolve()}")
    return 1 if any(row.error for row in comparison.rows) else 0


def _again(options: argparse.Namespace) -> str:
    """The command that was given, for people: later options override what it says."""
    shown = (word for word in options.given if word not in ("--json", "--debug"))
    return shlex.join(["edgekit", *shown])


def parent_of(options: argparse.Namespace) -> Parent:
    """The model that the command works on."""
    from edgekit.optimization import load_parent

    return load_parent(
        options.model,
        seed=options.seed,
        safe=not options.unsafe,
        custom_objects=options.custom_objects,
    )


def trained(options: argparse.Namespace) -> Training:
    """How the options have rewritten models trained."""
    import edgekit_converters as ec

    npus = _targets(options)
    costs = {"energy_costs": npus[0].energy_costs} if npus else {}
    return ec.Training(
        **costs,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        patience=options.patience,
        seed=options.seed,
        deterministic=options.deterministic,
        tuning_epochs=options.tuning_epochs,
        tuning_learning_rate=options.tuning_learning_rate,
    )


def profiling_settings(options: argparse.Namespace) -> ProfileSettings:
    """What the options of a command that profiles ask for."""
    return ProfileSettings(
        runs=options.runs,
        seconds=options.seconds,
        warmup=options.warmup,
        rounds=options.rounds,
        threads=options.threads,
        runtime=options.runtime,
        profile=options.profile,
        idle_seconds=options.idle_seconds,
        sample_interval_s=options.sample_interval,
        timeout_s=options.timeout,
        meter=options.meter,
        affinity=None if options.affinity is None else cores_from(options.affinity),
        duration_s=options.duration,
    )


def _npus(options: argparse.Namespace) -> list[Npu]:
    """The NPUs asked for; the library that emulates them is loaded before any work."""
    from edgekit_device.delegate import instruction_sets

    if not options.npu and (options.arithmetic or options.multiplier_energy is not None):
        given = "--arithmetic" if options.arithmetic else "--multiplier-energy"
        raise RunError(f"{given} is that of an NPU: name one with --npu, such as nepu-v1.")
    if options.npu:
        instruction_sets()
    return _targets(options)


def _targets(options: argparse.Namespace) -> list[Npu]:
    from edgekit.npu.target import load_target

    return [
        load_target(named, options.arithmetic, options.multiplier_energy) for named in options.npu
    ]


def out_of(options: argparse.Namespace, parent: Parent) -> Path:
    """The run folder: two models of one name must not share one."""
    if options.out:
        return Path(options.out)
    name = options.model
    name = name.rpartition(":")[2] if ".py:" in name else Path(name).stem
    return Path("edgekit-runs") / f"{name}-{parent.key[:6]}"


def search(options: argparse.Namespace) -> int:
    """`edgekit search`."""
    from edgekit.cli.searching import run

    return run(options)


def boards(options: argparse.Namespace) -> int:
    """`edgekit boards`."""
    from edgekit.cli.boards import run

    return run(options)


def scan(options: argparse.Namespace) -> int:
    """`edgekit scan`."""
    from edgekit.cli.scanning import run

    return run(options)


def train(options: argparse.Namespace) -> int:
    """`edgekit train`."""
    from edgekit.cli.training import run

    return run(options)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "boards": boards,
    "compare": compare,
    "demo": demo,
    "estimate": estimate,
    "inspect": inspect,
    "optimize": optimize,
    "profile": profile,
    "report": report,
    "scan": scan,
    "search": search,
    "train": train,
}
