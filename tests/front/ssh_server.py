"""A real ssh server on loopback for one test: keys, port, home and configuration of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

import edgekit_device

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
SSH = shutil.which("ssh")
KEYGEN = shutil.which("ssh-keygen")


@dataclass
class Server:
    """An ssh server whose users find themselves in `home`; `client` is ssh's folder here."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def client(self) -> Path:
        return self.folder / "client"

    @property
    def url(self) -> str:
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}"

    def make(self) -> None:
        for folder in (self.home, self.client, self.folder / "bin"):
            folder.mkdir(parents=True)
        self.new_key(self.folder / "host_key")
        self.new_key(self.client / "id")
        self.admit(self.client / "id.pub")
        self.know_host()
        (self.client / "config").write_text(
            f"IdentityFile {self.client}/id\n"
            "IdentitiesOnly yes\n"
            f"UserKnownHostsFile {self.client}/known_hosts\n"
            "GlobalKnownHostsFile /dev/null\n"
            "StrictHostKeyChecking yes\n"
        )
        # ssh looks for its folder in the user's entry, not in HOME.
        wrapper = self.folder / "bin" / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {SSH} -F {self.client}/config "$@"\n')
        wrapper.chmod(0o755)

    def new_key(self, file: Path) -> None:
        for old in (file, file.with_name(f"{file.name}.pub")):
            old.unlink(missing_ok=True)
        command = [str(KEYGEN), "-q", "-t", "ed25519", "-N", "", "-f", str(file)]
        subprocess.run(command, check=True)

    def admit(self, public_key: Path) -> None:
        shutil.copy(public_key, self.folder / "authorized_keys")
        (self.folder / "authorized_keys").chmod(0o600)

    def know_host(self) -> None:
        key = (self.folder / "host_key.pub").read_text().rsplit(" ", 1)[0]
        (self.client / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}\n")

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\n"
            "ListenAddress 127.0.0.1\n"
            f"HostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\n"
            f"PidFile {self.folder}/pid\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "UsePAM no\n"
            "StrictModes no\n"
            "PermitRootLogin yes\n"
            f"SetEnv HOME={self.home} PATH={self.board_path}\n"
        )
        command = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        log = (self.folder / "log").open("ab")
        with log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(f"sshd does not start: {(self.folder / 'log').read_text()}")

    @property
    def board_path(self) -> str:
        """The programs of the board: those of `tools`, where a test has made them."""
        tools = self.folder / "tools"
        return str(tools) if tools.exists() else f"{Path(sys.executable).parent}:/usr/bin:/bin"

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def put_agent(self) -> None:
        """An environment as `edgekit boards add` makes it, whose agent is the one under test."""
        python = self.home / ".local/share/edgekit/agent/bin/python"
        python.parent.mkdir(parents=True, exist_ok=True)
        source = Path(edgekit_device.__file__).parents[1]
        python.write_text(
            f'#!/bin/sh\nPYTHONPATH={source} exec {sys.executable} "$@"\n', encoding="utf-8"
        )
        python.chmod(0o755)

    def processes(self) -> list[int]:
        """The agents that run on the board."""
        import psutil

        found = []
        for process in psutil.process_iter(["pid", "environ", "cmdline"]):
            environment = process.info["environ"] or {}
            if environment.get("HOME") == str(self.home) and "edgekit_device" in " ".join(
                process.info["cmdline"] or []
            ):
                found.append(process.info["pid"])
        return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
