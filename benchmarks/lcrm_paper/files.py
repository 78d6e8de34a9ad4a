"""Table 8 and the file sizes of Tables 9 to 11: full-size parents and their LCRM versions as files.

Random weights; sizes of .h5 and .tflite do not depend on them, that of a compressed file does.

    python -m benchmarks.lcrm_paper.files
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import edgekit_converters as ec
from benchmarks import results
from edgekit_converters.quiet import quiet

NAMES = ("alexnet", "vgg9", "unet", "decom_net")
VERSIONS = ("parent", "equations", "table4", "notebook")


def main() -> None:
    rows, table = [], [["model", "version", "H5 with Adam", "H5", "H5, zipped", "float32 TFLite"]]
    for name in NAMES:
        for version in VERSIONS:
            row = {"model": name, "version": version, **sizes(version_of(name, version))}
            rows.append(row)
            table.append([name, version, *(f"{row[key]:,}" for key in list(row)[2:])])
            print(row, flush=True)
    results.write("lcrm_paper_files", {"rows": rows}, table)


def version_of(name: str, version: str) -> Any:
    """The parent, or its LCRM version in the style of that name; fresh weights."""
    ec.set_seed(0)
    parent = ec.PARENTS[name]()
    if version == "parent":
        return parent
    style: Any = version
    return ec.apply_lcrm(parent, style=style, weights="fresh")[0]


def sizes(model: Any) -> dict[str, int]:
    """Bytes of the model's files: .h5 with and without Adam's moments, zipped, and .tflite."""
    with tempfile.TemporaryDirectory() as folder:
        whole, plain = Path(folder) / "whole.h5", Path(folder) / "plain.h5"
        model.compile(optimizer="adam", loss="mse")
        model.optimizer.build(model.trainable_variables)
        with quiet():  # Keras would rather write its own format
            model.save(whole)
            model.save(plain, include_optimizer=False)
        packed = Path(folder) / "plain.zip"
        with zipfile.ZipFile(packed, "w", compression=zipfile.ZIP_DEFLATED) as archive:
            archive.write(plain, plain.name)
        file = Path(folder) / "model.tflite"
        ec.export_tflite(model, ec.Quantize("float32"), file)
        return {
            "h5_adam_bytes": whole.stat().st_size,
            "h5_bytes": plain.stat().st_size,
            "h5_zip_bytes": packed.stat().st_size,
            "tflite_bytes": file.stat().st_size,
        }


if __name__ == "__main__":
    main()
