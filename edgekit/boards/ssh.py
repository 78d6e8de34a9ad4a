"""A board behind ssh: the system's ssh with the user's own configuration, keys and agent."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import ClassVar

from edgekit.boards.channel import Channel, Ended, ProcessChannel, UnreachableError
from edgekit.errors import BoardError
from edgekit.progress import Listener

AGENT_FOLDER = "$HOME/.local/share/edgekit/agent"
"""Where `edgekit boards add` puts the agent's environment on a board, as its shell reads it."""

AGENT_PYTHON = f"{AGENT_FOLDER}/bin/python"

_FORM = re.compile(
    r"ssh://(?P<login>(?:[A-Za-z0-9_][\w.+-]*@)?(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.%\w]+\]))"
    r"(?::(?P<port>\d{1,5}))?/?"
)

# No question is asked, no answer awaited for ever; all else is the user's configuration.
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "20",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
}
# ssh's messages are recognised by their words; strerror's are in the language of the user.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}

_OF_SSH = 255


@dataclass(frozen=True)
class SshBoard:
    """A board at `login` (user@host), under the `name` that the user gave it.

    `python` is the interpreter of the agent's environment there, as a shell reads it, `profile` the
    board profile that is used where the user names none: a name or a TOML file here.
    """

    login: str
    port: int | None = None
    name: str | None = None
    python: str = AGENT_PYTHON
    profile: str | None = None

    # A Pi that starts anew is back within a minute.
    pauses_s: ClassVar[tuple[float, ...]] = (1, 2, 5, 10, 20, 30, 30)
    keep_s: ClassVar[float] = 3600.0

    def __str__(self) -> str:
        return self.name or self.url

    @property
    def url(self) -> str:
        """The board without its name: ssh://user@host:port."""
        return f"ssh://{self.login}" + ("" if self.port is None else f":{self.port}")

    def command(self, remote: str) -> list[str]:
        """The local command that runs a command of the board's POSIX shell there."""
        options = [part for key, value in _OPTIONS.items() for part in ("-o", f"{key}={value}")]
        port = [] if self.port is None else ["-p", str(self.port)]
        # The login shell may be any: single quotes mean the same to all.
        return ["ssh", "-T", *options, *port, "--", self._host(), f"sh -c {shlex.quote(remote)}"]

    def open(self, progress: Listener) -> Channel:
        """Starts ssh, which starts the agent.

        Raises:
            BoardError: there is no ssh on this machine.
        """
        command = self.command(f'exec "{self.python}" -m edgekit_device serve')
        try:
            return ProcessChannel(command, _ENVIRONMENT, own_session=True)
        except OSError as error:
            raise _no_ssh(error) from error

    def run(self, remote: str, given: bytes = b"", timeout_s: float = 120.0) -> str:
        """What a command of the board's shell prints, `given` on its standard input.

        Raises:
            UnreachableError: the board cannot be reached; another try may help.
            BoardError: the command fails there, or there is no way to the board.
        """
        try:
            done = subprocess.run(
                self.command(remote),
                input=given,
                capture_output=True,
                check=False,
                timeout=timeout_s,
                env=_environment(),
                start_new_session=True,
            )
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(f"{self} does not answer within {timeout_s:.0f} s.") from error
        except OSError as error:
            raise _no_ssh(error) from error
        words = done.stderr.decode("utf-8", errors="replace").splitlines()
        said = tuple(word.strip() for word in words if word.strip())
        if done.returncode == _OF_SSH:
            raise self._explain_ssh(said)
        if done.returncode:
            raise CommandError(done.returncode, said)
        return done.stdout.decode("utf-8", errors="replace")

    def explain(self, ended: Ended, *, greeted: bool) -> BoardError:
        """Why the connection ended before its time."""
        text = "\n".join(ended.words)
        if ended.code == _OF_SSH or ended.code is None or ended.code < 0:
            return self._explain_ssh(ended.words)
        if greeted:
            return UnreachableError(f"The agent on {self} ended{_last(ended.words)}.")
        if "No module named" in text or ended.code in (126, 127):
            return BoardError(f"There is no agent on {self}: {self._install()}")
        if "invalid choice" in text:
            return BoardError(f"The agent on {self} is of an older version: {self._install()}")
        return BoardError(
            f"The agent on {self} cannot be started (code {ended.code}){_last(ended.words)}. "
            f"Install it anew: {self._install()}"
        )

    def _install(self) -> str:
        return f"edgekit boards add {self.name or 'NAME'} {self.url}"

    def _host(self) -> str:
        return self.login.replace("[", "").replace("]", "")

    def _explain_ssh(self, words: tuple[str, ...]) -> BoardError:
        text = "\n".join(words).lower()
        for signs, lasting, sentence in _CAUSES:
            if any(sign in text for sign in signs):
                kind = BoardError if lasting else UnreachableError
                host = self._host()
                port = "" if self.port is None else f"-p {self.port} "
                name = host.rpartition("@")[2]
                known = name if self.port is None else f"'[{name}]:{self.port}'"
                return kind(
                    sentence.format(
                        board=self, host=host, port=port, known=known, number=self.port or 22
                    )
                )
        return UnreachableError(f"The connection to {self} is lost{_last(words)}.")


class CommandError(BoardError):
    """A command that failed on a board."""

    def __init__(self, code: int, words: tuple[str, ...]) -> None:
        super().__init__(words[-1] if words else f"it ended with code {code}")
        self.code, self.words = code, words


def ssh_board(text: str, name: str | None = None, python: str = AGENT_PYTHON) -> SshBoard:
    """Reads `ssh://user@host[:port]`.

    Raises:
        BoardError: it has another form.
    """
    found = _FORM.fullmatch(text)
    if found is None or not 0 < int(found["port"] or 22) < 65536:
        raise BoardError(
            f"{text!r} is no board: give ssh://user@host or ssh://user@host:port, without a "
            "password (ssh's keys are used)."
        )
    if not re.fullmatch(r"[A-Za-z0-9_$./+-]+", python):
        raise BoardError(
            f"{python!r} cannot be an interpreter's path on a board: give letters, digits and "
            "_ . / + - $."
        )
    return SshBoard(found["login"], int(found["port"]) if found["port"] else None, name, python)


def _environment() -> dict[str, str]:
    return {**os.environ, **_ENVIRONMENT}


def _no_ssh(error: OSError) -> BoardError:
    return BoardError(
        f"ssh cannot be started here ({error.strerror}): install it, on Debian with sudo apt-get "
        "install openssh-client."
    )


def _last(words: tuple[str, ...]) -> str:
    return f": {words[-1].rstrip('.')}" if words else ""


_CAUSES: tuple[tuple[tuple[str, ...], bool, str], ...] = (
    (
        ("remote host identification has changed",),
        True,
        "The host key of {board} has changed. If the board was set up anew, forget the old key "
        "with ssh-keygen -R {known} and connect once by hand: ssh {port}{host}. If not, another "
        "machine may be answering in its place.",
    ),
    (
        ("host key verification failed", "host key is known"),
        True,
        "The host key of {board} is not known yet: connect once by hand and confirm it: "
        "ssh {port}{host}",
    ),
    (
        ("permission denied", "too many authentication failures"),
        True,
        "{board} refuses your key (permission denied): give it your public key with ssh-copy-id "
        "{port}{host}, or load the right key with ssh-add.",
    ),
    (
        ("could not resolve hostname",),
        False,
        "{board} cannot be reached: its host name is not known here. Is it on, and on this "
        "network?",
    ),
    (
        ("connection refused",),
        False,
        "{board} cannot be reached: no ssh server answers on port {number}. Switch ssh on there "
        "(sudo systemctl enable --now ssh), or name its port.",
    ),
    (
        ("timed out", "no route to host", "unreachable", "not responding"),
        False,
        "{board} cannot be reached: it does not answer. Is it on, and on this network?",
    ),
    (
        ("bad configuration option", "bad owner or permissions"),
        True,
        "ssh cannot be used as it is configured here: try by hand ssh {port}{host}",
    ),
)
