"""Boards that QEMU emulates, instruction by instruction: docs/emulated-boards.md."""

from edgekit.boards.qemu.board import QemuBoard, qemu_board
from edgekit.boards.qemu.machine import machines
from edgekit.boards.qemu.standing import is_up, standing, take_down

__all__ = ["QemuBoard", "is_up", "machines", "qemu_board", "standing", "take_down"]
