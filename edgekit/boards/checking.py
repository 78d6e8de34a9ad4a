"""Whether a board's agent could profile, before time is spent on training."""

from __future__ import annotations

from typing import Any

from edgekit.boards.channel import Board
from edgekit.boards.connection import Connection
from edgekit.boards.profiling import ProfileSettings, with_own_profile
from edgekit.boards.qemu import QemuBoard
from edgekit.boards.ssh import SshBoard
from edgekit.errors import BoardError
from edgekit.progress import Listener, silent
from edgekit_device import __version__
from edgekit_device.codec import encode
from edgekit_device.emulated import emulated_settings
from edgekit_device.messages import Welcome
from edgekit_device.profiles import load_profile

_UNKNOWN = "0+unknown"


def check_board(
    board: Board, settings: ProfileSettings, progress: Listener = silent
) -> dict[str, Any]:
    """Asks the board's agent whether it could profile with these settings.

    Gives the versions of the agent, its Python and its runtimes, and which machine it is.

    Raises:
        BoardError: no way to the board, no agent, one of another version, or no runtime such as
            the settings name.
        UsageError: an emulated board cannot obey the settings.
        BoardProfileError: the settings name an unknown board profile.
    """
    profile = with_own_profile(board, settings).profile
    if profile is not None:
        load_profile(profile)
    with Connection(board, progress=progress) as connection:
        told = connection.welcome
    if told.machine.emulator is not None:
        emulated_settings(settings)
    check_agent(board, told, settings.runtime)
    return {
        "agent": encode(told.agent),
        "runtimes": [encode(item.runtime) for item in told.runtimes if not item.problem],
        "machine": {
            "host": told.host,
            "model": told.machine.model,
            "architecture": told.machine.architecture,
            "memory_bytes": told.machine.memory_bytes,
            "emulator": told.machine.emulator,
        },
    }


def check_agent(board: Board, told: Welcome, runtime: str) -> None:
    """Raises BoardError for an agent of another version, or without such a runtime."""
    version = told.agent.version
    if version != __version__ and _UNKNOWN not in (version, __version__):
        raise BoardError(
            f"The agent on {board} has version {version}, this edgekit {__version__}; install the "
            f"same there: {_install(board, f'edgekit-device[litert]=={__version__}')}"
        )
    usable = [item.runtime.name for item in told.runtimes if not item.problem]
    if not usable or runtime not in ("auto", *usable):
        wanted = "a TFLite runtime" if runtime == "auto" else runtime
        extra = "litert" if runtime == "auto" else runtime
        problems = "".join(f" ({item.problem})" for item in told.runtimes if item.problem)
        raise BoardError(
            f"The agent on {board} lacks {wanted} (it has {', '.join(usable) or 'none'}){problems};"
            f" install it there: {_install(board, f'edgekit-device[{extra}]')}, or name another "
            "with --runtime."
        )


def _install(board: Board, what: str) -> str:
    if isinstance(board, SshBoard):
        return f"edgekit boards add {board.name or 'NAME'} {board.url}"
    if isinstance(board, QemuBoard):
        return f"edgekit boards down {board}, and up again"
    python = getattr(board, "python", "python")
    return f"{python} -m pip install '{what}'"
