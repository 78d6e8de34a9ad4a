"""A comparison's files: JSON to go on with, CSV to compute with, HTML to read."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.comparison import Comparison
from edgekit.errors import ReportError
from edgekit.report.serialise import comparison_from_json, comparison_to_json
from edgekit.report.spreadsheet import comparison_to_csv


@dataclass(frozen=True)
class Report:
    """Where the files of a report are."""

    json: Path
    csv: Path
    html: Path


def write_report(comparison: Comparison, folder: str | Path) -> Report:
    """Write comparison.json, comparison.csv and report.html; an old file is replaced whole.

    All three are rendered before the first is written: an error leaves the folder as it was.
    """
    # Here, since matplotlib and jinja2 take longer to import than `edgekit --help` may take.
    from edgekit.report.html import comparison_to_html

    folder = Path(folder)
    report = Report(folder / "comparison.json", folder / "comparison.csv", folder / "report.html")
    texts = {
        report.json: comparison_to_json(comparison),
        report.csv: comparison_to_csv(comparison),
        report.html: comparison_to_html(comparison),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        _replace(path, text)
    return report


def read_comparison(path: str | Path) -> Comparison:
    """Read a comparison.json, or the one in a report's folder.

    Raises:
        ReportError: no readable file, or no comparison of this schema.
    """
    path = Path(path)
    file = path / "comparison.json" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ReportError(
            f"{file} is not a finished comparison ({reason}); give the run folder of an `edgekit "
            "compare` that came to its end."
        ) from error
    return comparison_from_json(text)


def _replace(path: Path, text: str) -> None:
    """Write beside the file, then put it in its place: a reader sees the old or the new text."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        # newline="": CSV brings its own line ends.
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        # mkstemp makes files private; a report is as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
