"""The first process on an emulated board: an agent for each client that comes to its serial port.

A client begins with a mark, the byte 0x1e and a word of its own on one line. The agent of an
earlier client, and all that it left, is ended; the same line comes back, and from then on the port
is the new agent's input and output. A port can be closed and opened again before its other end
notices: the mark is what keeps two clients apart.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

PORT = "edgekit"
MARK = b"\x1e"
SITE, STORE = Path("/opt/edgekit"), Path("/var/lib/edgekit")
DESCRIPTION = Path("/etc/edgekit-board.json")

_PIECE = 1 << 16
_RESTART = 0x01234567


def main() -> None:
    """Describe the board to the agent, then serve clients until the machine ends."""
    describe(Path("/proc/cmdline").read_text())
    reader, writer = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGIO, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    Supervisor(open_port(Path("/sys/class/virtio-ports")), reader).run()


def describe(command_line: str) -> None:
    """Write down what the kernel's command line says of the board, where the agent reads it."""
    told = dict(word.partition("=")[::2] for word in shlex.split(command_line))
    keys = ("profile", "model", "emulator")
    DESCRIPTION.write_text(json.dumps({key: told[f"edgekit.{key}"] for key in keys}))
    socket.sethostname(f"{told['edgekit.profile'].replace('+', 'plus')}-emulated")


def open_port(ports: Path) -> int:
    """Open the serial port that the client is behind; a signal tells of its comings and goings."""
    (name,) = [port.name for port in ports.iterdir() if (port / "name").read_text().strip() == PORT]
    port = os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(port, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(port, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    return port


class Supervisor:
    """Carries bytes between the port and the agent of the client that is there."""

    def __init__(self, port: int, wakeups: int) -> None:
        """Serve the port; `wakeups` becomes readable with each signal."""
        self._port, self._wakeups = port, wakeups
        self._agent: subprocess.Popen[bytes] | None = None
        self._received, self._to_agent, self._to_client = bytearray(), bytearray(), bytearray()

    def run(self) -> None:
        """Serve until an agent ends of itself, which only an accident does."""
        while True:
            here = not self._poll({self._port: 0}, 0)
            if not here:
                self._end_agent()
            wanted = {self._wakeups: select.POLLIN}
            if here:
                wanted[self._port] = select.POLLOUT if self._to_client else 0
                if len(self._to_agent) < _PIECE:
                    wanted[self._port] |= select.POLLIN
            if self._agent and self._agent.stdin and self._agent.stdout:
                if len(self._to_client) < _PIECE:
                    wanted[self._agent.stdout.fileno()] = select.POLLIN
                if self._to_agent:
                    wanted[self._agent.stdin.fileno()] = select.POLLOUT
            self._serve(self._poll(wanted, None))

    def _serve(self, ready: dict[int, int]) -> None:
        if self._wakeups in ready:
            _read(self._wakeups)
        if ready.get(self._port, 0) & select.POLLIN:
            self._take(_read(self._port) or b"")
        if self._agent and self._agent.stdin and self._agent.stdout:
            if self._agent.stdin.fileno() in ready:
                _write(self._agent.stdin.fileno(), self._to_agent)
            if self._agent.stdout.fileno() in ready:
                piece = _read(self._agent.stdout.fileno())
                if piece == b"":
                    code = self._agent.wait()
                    print(f"edgekit: the agent ended with code {code}", file=sys.stderr)
                    restart()
                self._to_client += piece or b""
        if ready.get(self._port, 0) & select.POLLOUT:
            _write(self._port, self._to_client)

    def _take(self, piece: bytes) -> None:
        self._received += piece
        _, mark, after = self._received.rpartition(MARK)
        if not mark:
            if self._agent:
                self._to_agent += self._received
            self._received.clear()
        elif b"\n" in after:
            word, _, rest = bytes(after).partition(b"\n")
            self._end_agent()
            self._start_agent()
            self._to_client += MARK + word + b"\n"
            self._to_agent += rest

    def _start_agent(self) -> None:
        environment = {
            "EDGEKIT_AGENT_STORE": str(STORE),
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{SITE}:/usr/lib/edgekit",
        }
        self._agent = subprocess.Popen(
            [sys.executable, "-m", "edgekit_device.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment,
        )
        for stream in (self._agent.stdin, self._agent.stdout):
            if stream:
                os.set_blocking(stream.fileno(), False)

    def _end_agent(self) -> None:
        for buffer in (self._received, self._to_agent, self._to_client):
            buffer.clear()
        if self._agent is None:
            return
        self._agent.kill()
        with self._agent:
            self._agent = None
        # Its job and its workers end with it, and become ours to bury.
        try:
            while True:
                os.wait()
        except ChildProcessError:
            shutil.rmtree(STORE, ignore_errors=True)

    def _poll(self, wanted: dict[int, int], timeout_ms: int | None) -> dict[int, int]:
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        return dict(poll.poll(timeout_ms))


def restart() -> None:
    """End the machine, whose emulator is told not to start it again."""
    os.sync()
    ctypes.CDLL(None).reboot(_RESTART)


def _read(descriptor: int) -> bytes | None:
    """What there is to read: nothing at the end, None if it comes later."""
    try:
        return os.read(descriptor, _PIECE)
    except BlockingIOError:
        return None


def _write(descriptor: int, buffer: bytearray) -> None:
    try:
        del buffer[: os.write(descriptor, buffer[:_PIECE])]
    except BlockingIOError:
        return
    except BrokenPipeError:
        buffer.clear()


if __name__ == "__main__":
    main()
