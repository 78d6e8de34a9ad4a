"""Boards that QEMU emulates, instruction by instruction: docs/emulated-boards.md."""

from edgekit.boards.qemu.board import QemuBoard, qemu_board
from edgekit.boards.qemu.machine import KIND, machines
from edgekit.boards.qemu.standing import boards_up, is_up, take_down

__all__ = ["KIND", "QemuBoard", "boards_up", "is_up", "machines", "qemu_board", "take_down"]
