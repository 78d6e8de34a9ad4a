"""Table 8: what the models take up as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.lcrm_paper.rows import Cell, Part, Row, counted, load, missing, paper, unavailable

COMMAND = "-m benchmarks.lcrm_paper.files"
PAPERS_MB = 1_024_000
"""Bytes in what the paper calls MB: then its TFLite sizes are four bytes a parameter."""

_FORMATS = {
    "Keras H5 (with Adam's two moments)": "h5_adam_bytes",
    "compressed (H5 without them, zip)": "h5_zip_bytes",
    "TFLite (float32)": "tflite_bytes",
}


def sizes(folder: Path, name: str, version: str) -> dict[str, Any] | None:
    """The sizes of a model's files, where they were counted."""
    told = load(folder, "lcrm_paper_files")
    rows = told["rows"] if told else []
    return next((r for r in rows if (r["model"], r["version"]) == (name, version)), None)


def megabytes(count: float) -> str:
    """MB of a million bytes."""
    return f"{count / 1e6:.2f} MB"


def file_cell(folder: Path, name: str, version: str, form: str = "tflite_bytes") -> Cell:
    """The size of one file of a full-size model."""
    found = sizes(folder, name, version)
    return unavailable(missing(COMMAND)) if found is None else counted(megabytes(found[form]))


def table8(folder: Path) -> Part:
    """Sizes of AlexNet's files."""
    rows = []
    for place, (what, form) in enumerate(_FORMATS.items()):
        printed = tuple(paper()["table8"][version][place] for version in ("parent", "lcrm"))
        cells = tuple(_cell(folder, version, form) for version in ("parent", "notebook"))
        rows.append(
            Row(what, (*map(str, printed), f"{100 * (printed[1] / printed[0] - 1):+.1f}"),
                (*cells, _change(folder, form)))
        )  # fmt: skip
    return Part(
        "Table 8. Files",
        "AlexNet, 224x224x3, 10 classes; LCRM in style `notebook`; MB of 1 024 000 bytes, as the "
        "paper's are",
        ("parent", "LCRM", "change %"),
        ("parent", "LCRM", "change %"),
        tuple(rows),
        why="Ours are counted on fresh weights. A TFLite file is four bytes a parameter, an H5 "
        "file with Adam's moments twelve. The paper does not say what its compressed file holds; "
        "weights that have been trained pack a little differently from fresh ones.",
        faults=(
            "The paper's MB are neither 10⁶ nor 2²⁰ bytes but 1 024 000: only then are its TFLite "
            "files four bytes for each parameter of Table 4.",
        ),
    )


def _cell(folder: Path, version: str, form: str) -> Cell:
    found = sizes(folder, "alexnet", version)
    if found is None:
        return unavailable(missing(COMMAND))
    return counted(f"{found[form] / PAPERS_MB:.2f}")


def _change(folder: Path, form: str) -> Cell:
    before, after = (sizes(folder, "alexnet", version) for version in ("parent", "notebook"))
    if before is None or after is None:
        return unavailable(missing(COMMAND))
    return counted(f"{100 * (after[form] / before[form] - 1):+.1f}")
