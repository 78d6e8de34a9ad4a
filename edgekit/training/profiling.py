"""What training a model costs at each batch size, beside a second model where there is one.

For each batch size every model gets a process of its own. They take turns in the same rounds, so
that a machine that drifts does not favour one of them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit.data import Dataset
from edgekit.errors import RunError
from edgekit.progress import Listener, Step, silent
from edgekit.training.child import Request
from edgekit.training.energy import Meters, metered
from edgekit.training.measured import Told, row_of
from edgekit.training.rows import ProfiledModel, TrainingProfile, TrainingRow, failed_row
from edgekit.training.worker import Child, ChildError
from edgekit_device.machine import read_machine
from edgekit_device.number import Number

if TYPE_CHECKING:
    from edgekit.stages import Parent
    from edgekit_converters.passes import Pass

BATCH_SIZES = (16, 32, 64, 128, 256)
"""Those of the LCRM paper's Tables 5 to 7."""

FIRST_STEPS = 3
"""Steps that are shown apart: in them the libraries compile and look for the fastest kernels."""

_TURNS = 4
_LEAST_SAMPLES = 512
_BATCHES_OF_SAMPLES = 2


@dataclass(frozen=True)
class ProfileOptions:
    """How to measure: at least so many steps and seconds for each batch size.

    `meter` and `board_profile` are those of `metered`.
    """

    batch_sizes: tuple[int, ...] = BATCH_SIZES
    steps: int = 20
    seconds: float = 4.0
    seed: int = 0
    meter: str = "auto"
    board_profile: str | None = None

    def __post_init__(self) -> None:
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            given = ", ".join(map(str, self.batch_sizes)) or "none"
            raise RunError(f"The batch sizes are {given}; give whole numbers from 1 on.")
        if self.steps < 1:
            raise RunError(f"--steps is {self.steps}; at least 1 step has to be measured.")
        if not 0 <= self.seconds < float("inf"):
            raise RunError(f"--seconds is {self.seconds}; it must be 0 or more.")


@dataclass(frozen=True)
class Subject:
    """A model to be trained, as its name in the table; `code` are Python files it needs."""

    name: str
    parent: Parent
    recipe: str | None = None
    code: tuple[str, ...] = ()


@dataclass
class _Work:
    """What all children have in common."""

    folder: Path
    data: Dataset
    options: ProfileOptions
    environ: Mapping[str, str]
    meters: Meters
    requests: dict[str, Request]
    progress: Listener
    done: int = 0
    total: int = 1
    rows: dict[tuple[int, str], TrainingRow] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)


def rewritten(subject: Subject, recipe: str, seed: int = 0) -> Subject:
    """The subject's model after a recipe of passes that need no training, such as `lcrm`.

    What substitutes start from does not matter to the time of a step: nothing is inherited.

    Raises:
        RunError: another pass is asked for.
    """
    from dataclasses import replace

    import edgekit_converters as ec
    from edgekit.store import content_key

    passes = ec.parse_recipe(recipe).passes
    model = subject.parent.model
    for step in passes:
        known: Pass = replace(step, inherit=False) if isinstance(step, ec.Lcrm) else step
        if not isinstance(known, ec.Lcrm | ec.Activations | ec.LowRank):
            raise RunError(
                f"--recipe {recipe!r}: training is profiled behind lcrm, activations and low_rank, "
                f"not behind {step}; leave it out, or give a model of your own with --against."
            )
        model = ec.run_pass(model, known, training=ec.Training(seed=seed)).model
    if not passes:
        raise RunError(f"--recipe {recipe!r} changes nothing; name a pass such as lcrm.")
    key = content_key({"parent": ec.fingerprint(model)})
    parent = replace(subject.parent, model=model, key=key)
    return Subject(f"{subject.name} {recipe}", parent, recipe, subject.code)


def profile_training(
    subjects: Sequence[Subject],
    data: Dataset,
    options: ProfileOptions | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    progress: Listener = silent,
) -> TrainingProfile:
    """Measures training and inference of one model, or two side by side, at each batch size.

    A batch size that cannot be had (too few samples, too little memory) costs its own row alone.
    `environ` is the environment of the measured processes; KERAS_BACKEND names their backend.

    Raises:
        ConverterError, EdgeKitError, EdgeKitDeviceError: before any work, for input that cannot be
            used.
    """
    import edgekit_converters as ec

    options = options or ProfileOptions()
    names = [subject.name for subject in subjects]
    if len(set(names)) < len(names):
        raise RunError(f"Two models are called {names[0]}; they need two names.")
    for subject in subjects:
        ec.objective_for(subject.parent.model, data.targets)
    with tempfile.TemporaryDirectory(prefix="edgekit-training-") as folder:
        environment = _environment(environ)
        requests = _requests(Path(folder), subjects, data, options)
        with metered(options.meter, options.board_profile, environment) as meters:
            total = len(subjects) * len(options.batch_sizes)
            work = _Work(
                Path(folder), data, options, environment, meters, requests, progress, total=total
            )
            for size in options.batch_sizes:
                _one_size(work, size, names)
        return _profile(work, subjects)


def _environment(environ: Mapping[str, str] | None) -> dict[str, str]:
    """Memory of a GPU is to be taken as it is needed, and NVML and CUDA to number GPUs alike."""
    import sys

    from edgekit_converters.backend import chosen_backend

    given = dict(os.environ if environ is None else environ)
    defaults = {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": chosen_backend(),
    }
    # A child imports what this process imports, wherever that was found.
    path = os.pathsep.join(each or os.getcwd() for each in sys.path)
    return {**defaults, **given, "PYTHONPATH": path}


def _requests(
    folder: Path, subjects: Sequence[Subject], data: Dataset, options: ProfileOptions
) -> dict[str, Request]:
    """What each subject's children are asked, but for the batch size; their files are written."""
    import edgekit_converters as ec

    count = min(
        len(data.train), max(_LEAST_SAMPLES, _BATCHES_OF_SAMPLES * max(options.batch_sizes))
    )
    samples, targets = folder / "x.npy", folder / "y.npy"
    np.save(samples, data.train.x[:count])
    np.save(targets, data.train.y[:count])
    found = {}
    for number, subject in enumerate(subjects):
        file = folder / f"{number}.keras"
        ec.save_model(subject.parent.model, file)
        objective = ec.objective_for(subject.parent.model, data.targets)
        found[subject.name] = Request(
            parent=os.getpid(),
            model=str(file),
            code=subject.code,
            safe=subject.parent.safe,
            samples=str(samples),
            targets=str(targets),
            objective=asdict(objective),
            batch_size=1,
            seed=options.seed,
        )
    return found


def _one_size(work: _Work, size: int, names: Sequence[str]) -> None:
    """Fills the rows of one batch size; a model whose memory another one took goes on alone."""
    if size > len(work.data.train):
        reason = (
            f"a batch of {size} needs as many training samples, {work.data.name} has "
            f"{len(work.data.train)}"
        )
        for name in names:
            _finish(work, failed_row(name, size, reason))
        return
    failed = _together(work, size, names)
    for name, error in failed.items():
        if error.memory and len(names) > 1:
            failed_alone = _together(work, size, [name])
            if name not in failed_alone:
                continue
            error = failed_alone[name]
        _finish(work, failed_row(name, size, f"batches of {size}: {error}"))


def _together(work: _Work, size: int, names: Sequence[str]) -> dict[str, ChildError]:
    """Measures models in turns; gives those that failed, and makes the rows of the others."""
    failed: dict[str, ChildError] = {}
    with ExitStack() as stack:
        running: dict[str, tuple[Child, Told]] = {}
        for name in names:
            place = Path(tempfile.mkdtemp(dir=work.folder)) / "child"
            request = Request(**{**asdict(work.requests[name]), "batch_size": size})
            child = stack.enter_context(Child(request, place, work.environ))
            try:
                running[name] = child, Told.hello(name, size, child.hear())
            except ChildError as error:
                failed[name] = error
        for command, keep in _commands(work.options):
            _tell(work, size, command)
            for name, (child, told) in list(running.items()):
                try:
                    running[name] = child, keep(told, child.ask(command))
                except ChildError as error:
                    failed[name] = error
                    child.close()
                    del running[name]
        for _, told in running.values():
            work.told.append(told)
            _finish(work, row_of(told, work.meters, len(work.data.train)))
    return failed


def _commands(options: ProfileOptions) -> Iterator[tuple[str, Any]]:
    """What each child is asked in turn, and what becomes of the answer."""
    steps, seconds = -(-options.steps // _TURNS), options.seconds / _TURNS
    yield f"train {FIRST_STEPS} 0", Told.with_first
    for _ in range(_TURNS):
        yield f"train {steps} {seconds}", Told.with_training
    yield "memory", Told.with_memory
    yield f"infer {FIRST_STEPS} 0", Told.unchanged
    for _ in range(_TURNS):
        yield f"infer {steps} {seconds / 2}", Told.with_inference


def _tell(work: _Work, size: int, command: str) -> None:
    words = {"train": "training", "infer": "inference", "memory": "memory"}
    detail = f"batches of {size}: {words[command.split()[0]]}"
    work.progress(Step("profile training", min(work.done / work.total, 0.99), detail))


def _finish(work: _Work, row: TrainingRow) -> None:
    work.rows[row.batch_size, row.model] = row
    work.done += 1
    detail = f"{row.model}, batches of {row.batch_size}"
    if row.error is not None:
        detail = f"{row.model}: {row.error}"
    work.progress(Step("profile training", work.done / work.total, detail))


def _profile(work: _Work, subjects: Sequence[Subject]) -> TrainingProfile:
    told = work.told[0] if work.told else None
    rows = [work.rows[size, s.name] for size in work.options.batch_sizes for s in subjects]
    if told is None:
        raise RunError(f"Nothing could be measured. {rows[0].model}: {rows[0].error}.")
    gpu = work.meters.gpu
    return TrainingProfile(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=work.data.describe(),
        images_per_epoch=len(work.data.train),
        backend=told.backend,
        backend_version=told.version,
        device=told.device,
        gpu=None if isinstance(gpu, str) or told.device == "cpu" else gpu.name,
        machine=read_machine(Path("/"), work.options.board_profile),
        batch_sizes=work.options.batch_sizes,
        steps=work.options.steps,
        seconds=work.options.seconds,
        models=tuple(_model(subject) for subject in subjects),
        rows=tuple(rows),
    )


def _model(subject: Subject) -> ProfiledModel:
    from edgekit_converters.complexity import total_macs
    from edgekit_converters.graph import read_graph

    model = subject.parent.model
    macs, unknown = total_macs(read_graph(model))
    number = Number.counted(macs)
    if unknown:
        number = Number.unavailable(f"the MACs of {', '.join(map(str, unknown))} are not known")
    return ProfiledModel(subject.name, int(model.count_params()), number, subject.recipe)
