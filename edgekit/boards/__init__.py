"""Boards: where a .tflite file runs, how its agent is reached, and what is asked of it."""

from edgekit.boards.channel import Board
from edgekit.boards.checking import check_board
from edgekit.boards.local import LocalBoard
from edgekit.boards.named import parse_board
from edgekit.boards.profiling import ProfileSettings, profile_on
from edgekit.boards.qemu import QemuBoard
from edgekit.boards.ssh import SshBoard

__all__ = [
    "Board",
    "LocalBoard",
    "ProfileSettings",
    "QemuBoard",
    "SshBoard",
    "check_board",
    "parse_board",
    "profile_on",
]
