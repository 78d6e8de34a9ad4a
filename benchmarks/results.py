"""Where the benchmarks' results go, and what machine they are from."""

from __future__ import annotations

import json
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "results"


def write(name: str, facts: dict[str, Any], table: list[list[str]]) -> None:
    """Writes NAME.json and NAME.md and prints the table."""
    header, *rows = table
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    machine = f"{platform.machine()}, {_processor()}, Python {platform.python_version()}"
    created = datetime.now(timezone.utc).date().isoformat()
    _FOLDER.mkdir(exist_ok=True)
    facts = {"machine": machine, "created": created, **facts}
    (_FOLDER / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    (_FOLDER / f"{name}.md").write_text(f"{machine}, {created}\n\n{text}\n")
    print(f"{machine}\n\n{text}")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
