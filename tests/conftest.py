"""What holds for all tests."""

import os
from collections.abc import Generator
from importlib.metadata import distributions
from pathlib import Path
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


@pytest.fixture(scope="session", autouse=True)
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path, None, None]:
    """Agents keep their files where no other test run waits for them, and no user finds them."""
    store = tmp_path_factory.mktemp("agent") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_AGENT_STORE", str(store))
        yield store
