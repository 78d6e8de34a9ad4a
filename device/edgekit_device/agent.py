"""Which agent this is."""

from __future__ import annotations

import platform

from edgekit_device.record import Agent
from edgekit_device.version import __version__


def agent() -> Agent:
    """Describe this agent."""
    return Agent(__version__, platform.python_version())
