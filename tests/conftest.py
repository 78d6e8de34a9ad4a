"""What holds for all tests."""

import os
from collections.abc import Generator
from importlib.metadata import distributions
from typing import Any

import pytest

# The agent's second environment holds the device distribution alone and may leave tests out.
COMPLETE = any(found.name == "edgekit" for found in distributions())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With EDGEKIT_NO_SKIP, where everything is installed, a skipped test has failed."""
    report: Any = yield
    if report.skipped and COMPLETE and os.environ.get("EDGEKIT_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"EDGEKIT_NO_SKIP is set, but the test skips: {report.longrepr}"
    return report
