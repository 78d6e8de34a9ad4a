"""Tables 5 to 7 and Figure 5: training and inference over batch sizes, on a GPU.

They read results/gpu.json, or without it results/training_profile.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lcrm_paper.rows import (
    Cell,
    Part,
    Picture,
    Row,
    cell,
    load,
    missing,
    paper,
    unavailable,
)

FILES = ("gpu", "training_profile")
COMMAND = "benchmarks/training_profile.py"
ON_A_GPU = missing("benchmarks/gpu.py", " on a machine with an NVIDIA GPU")
_MUCH = 0.1
"""Of the CPU, for others: from here on times say little."""
_GPU = "NVIDIA Tesla K80 and GeForce GTX 1650"
_RANGES = " In brackets: the range of the four turns."


def results(folder: Path) -> Any:
    """The training profile of a GPU, or else of this machine; None where there is none."""
    return next((told for name in FILES if (told := load(folder, name))), None)


def profiled(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of the results file by (parent or lcrm, batch size); empty where there is no file."""
    told = results(folder)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in told["rows"] if told else []:
        version = "lcrm" if row["model"].endswith(" lcrm") else "parent"
        found.setdefault((version, int(row["batch_size"])), row)
    return found


def _on(folder: Path) -> str:
    told = results(folder)
    if not told:
        return "not measured here"
    models = ", ".join(dict.fromkeys(str(row["model"]) for row in told["rows"]))
    where = told.get("gpu") or (told.get("machine") or {}).get("model") or told["device"]
    return f"{models}; {told['data']}; {told['backend']} on {where}"


def _cells(folder: Path, batch: int, names: tuple[str, ...], forms: Any) -> tuple[Cell, ...]:
    rows = profiled(folder)
    cells = []
    for version in ("parent", "lcrm"):
        row = rows.get((version, batch))
        for name, form in zip(names, forms, strict=True):
            if row is None:
                cells.append(unavailable(missing(COMMAND)))
            else:
                cells.append(cell(row.get(name), form, ranged=True))
    return tuple(cells)


def _remark(folder: Path, batch: int) -> str:
    """What other programs took of the CPU beside each of the two models."""
    found = [profiled(folder).get((version, batch), {}) for version in ("parent", "lcrm")]
    shares = [_value(row.get("other_cpu_share")) for row in found]
    if all(share is None for share in shares):
        return ""
    told = " and ".join("?" if share is None else f"{100 * share:.0f}" for share in shares)
    return f"others: {told} % of the CPU"


def _disturbed(folder: Path) -> str:
    """What to make of the figures, where other programs were at work too; else empty."""
    rows = profiled(folder).values()
    shares = [share for row in rows if (share := _value(row.get("other_cpu_share"))) is not None]
    if not shares:
        return ""
    text = (
        f" While ours trained, other programs took {100 * min(shares):.0f} to "
        f"{100 * max(shares):.0f} % of the CPU (the remark has it for the parent and for LCRM)"
    )
    return text + ("; such times say little." if max(shares) > _MUCH else ".")


def _value(number: Any) -> float | None:
    return number.get("value") if isinstance(number, dict) else None


def tables(folder: Path) -> tuple[Part, ...]:
    """Tables 5, 6 and 7, and Figure 5."""
    return (table5(folder), table6(folder), table7(folder), figure5(folder))


def _needs(folder: Path) -> tuple[str, ...]:
    return () if load(folder, "gpu") else (ON_A_GPU,)


def table5(folder: Path) -> Part:
    """Training throughput."""
    rows = [
        Row(
            f"batch {batch}",
            tuple(f"{value:g}" for value in printed),
            _cells(
                folder,
                int(batch),
                ("step_ms", "throughput_images_per_s"),
                (lambda v: f"{v:.1f}", lambda v: f"{v:.1f}"),
            ),
            _remark(folder, int(batch)),
        )
        for batch, printed in paper()["table5"].items()
    ]
    head = ("parent step ms", "images/s", "LCRM step ms", "images/s")
    return Part(
        "Table 5. Training throughput over batch sizes",
        _on(folder),
        head,
        head,
        tuple(rows),
        why=f"The paper's are of an {_GPU} at 224x224.{_RANGES}{_disturbed(folder)}",
        faults=(
            'The text\'s "131-124" images/s are 113 to 124 in the table; images/s and step times '
            "agree with each other, and the speedup is 4.9 to 6.4 times.",
        ),
        needs=_needs(folder),
    )


def table6(folder: Path) -> Part:
    """Inference latency over batch sizes."""
    rows = tuple(
        Row(
            f"batch {batch}",
            tuple(f"{value:g}" for value in printed),
            _cells(folder, int(batch), ("inference_ms",), (lambda v: f"{v / 1e3:.5f}",)),
            _remark(folder, int(batch)),
        )
        for batch, printed in paper()["table6"].items()
    )
    return Part(
        "Table 6. Inference latency over batch sizes, GTX 1650",
        _on(folder),
        ("parent, s for 10000 images", "s each", "LCRM, s for 10000 images", "s each"),
        ("parent s each", "LCRM s each"),
        rows,
        why="Keras in batches. TFLite files, one image at a time, stand with Table 12."
        f"{_RANGES}{_disturbed(folder)}",
        needs=_needs(folder),
    )


def table7(folder: Path) -> Part:
    """GPU utilisation and peak memory in training."""
    rows = []
    for batch, printed in paper()["table7"].items():
        *figures, less = printed
        rows.append(
            Row(
                f"batch {batch}",
                (*(f"{value:g}" for value in figures), f"-{less}"),
                _cells(
                    folder,
                    int(batch),
                    ("gpu_share", "device_memory_bytes", "cpu_share", "peak_rss_bytes"),
                    (_idle, _mib, lambda v: f"{100 * v:.0f}", _mib),
                ),
                _remark(folder, int(batch)),
            )
        )
    return Part(
        "Table 7. GPU utilisation and peak memory in training",
        _on(folder),
        ("parent GPU idle %", "peak MiB", "LCRM GPU idle %", "peak MiB", "peak %"),
        (
            *("parent GPU idle %", "GPU memory MiB", "CPU %", "process MiB"),
            *("LCRM GPU idle %", "GPU memory MiB", "CPU %", "process MiB"),
        ),
        tuple(rows),
        why="The paper's peak is TensorBoard's of the GPU's memory; without a GPU there is that of "
        f"the whole process, libraries included.{_disturbed(folder)}",
        faults=(
            'The text says that the peak falls by "25% to 34%"; the table has 21.5 to 41.2 %.',
        ),
        needs=_needs(folder),
    )


def _mib(count: float) -> str:
    return f"{count / 2**20:.0f}"


def _idle(share: float) -> str:
    return f"{100 * (1 - share):.1f}"


def figure5(folder: Path) -> Part:
    """Energy in training and inference."""
    rows, printed = [], paper()["figure5"]
    for batch in paper()["table5"]:
        rows.append(
            Row(
                f"training, batch {batch}",
                ("a bar", "a bar"),
                _cells(folder, int(batch), ("energy_per_epoch_j",), (lambda v: f"{v:.0f} J",)),
            )
        )
    for batch in paper()["table6"]:
        rows.append(
            Row(
                f"inference, batch {batch}",
                ("a bar", "a bar"),
                _cells(
                    folder,
                    int(batch),
                    ("energy_per_inference_j",),
                    (lambda v: f"{1e3 * v:.2f} mJ",),
                ),
            )
        )
    known = bool(profiled(folder))
    return Part(
        "Figure 5. Energy of an epoch and of an inference over batch sizes",
        _on(folder),
        ("parent", "LCRM"),
        ("parent", "LCRM"),
        tuple(rows),
        why=f"The paper's bars are a picture; its text says {printed['training']} in training and "
        f"{printed['inference']} in inference.",
        faults=(
            "The text calls Figure 5 (b) the energy of an epoch, its caption that of an inference.",
        ),
        needs=_needs(folder),
        pictures=(Picture("figure5.svg", "Energy and throughput over batch sizes"),)
        if known
        else (),
    )
