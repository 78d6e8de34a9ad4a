"""A job brought to a board and its end brought back, through lost connections and killed agents."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NoReturn

from edgekit.boards.channel import Board, Stop, UnreachableError
from edgekit.boards.connection import AgentError, Connection
from edgekit.boards.sending import Shipment, send
from edgekit.errors import BoardError
from edgekit.progress import Listener, Step
from edgekit_device.emulation import Emulation
from edgekit_device.errors import RecordError
from edgekit_device.messages import Done, Error, Forget, Forgotten, Profile, Result, Running, Told
from edgekit_device.progress import Event
from edgekit_device.record import Record

_MOST_STARTS = 3
_MOST_CONNECTIONS = 30
# What ends a job though it could be carried out.
_ACCIDENTS = ("cancelled", "job-died")


class Errand:
    """One job on its way through as many connections as it takes.

    A lost connection is made again; the job's end is fetched if it came meanwhile, else the job is
    begun again, three times at most.
    """

    def __init__(self, board: Board, shipment: Shipment, progress: Listener, stop: Stop) -> None:
        """Know the job; nothing is reached before `run`."""
        self._board, self._shipment, self._progress, self._stop = board, shipment, progress, stop
        self._job = shipment.request.job
        self._starts = 0

    def run(self, *, resumed: bool = False) -> list[dict[str, Any]]:
        """Gives one document per file; `resumed`: an earlier process may have begun the job.

        Raises:
            BoardError: the board cannot be reached, or its agent cannot be started or carry it out.
        """
        tries, connections = 0, 0
        while True:
            try:
                with Connection(self._board, self._stop, self._progress) as connection:
                    tries, connections = 0, connections + 1
                    return self._through(connection, resumed=resumed or self._starts > 0)
            except UnreachableError as error:
                if tries == len(self._board.pauses_s) or connections == _MOST_CONNECTIONS:
                    raise
                pause_s = self._board.pauses_s[tries]
                tries += 1
                self._progress(Step("reconnect", None, f"{error} Next try in {pause_s:g} s"))
                self._stop.wait(pause_s)

    def _through(self, connection: Connection, *, resumed: bool) -> list[dict[str, Any]]:
        try:
            end = self._await(connection, Result(self._job)) if resumed else None
            while not isinstance(end, Done):
                self._count(end)
                end = self._start(connection)
            records = self._checked(end)
            # The board keeps it until it is known to have come. Here it is, whatever comes of this.
            with suppress(BoardError):
                connection.ask(Forget(self._job), Forgotten)
            return records
        except (BoardError, RecordError):
            raise
        except BaseException:
            connection.give_up(self._job)
            raise

    def _count(self, end: Error | None) -> None:
        if end is not None and end.kind not in (*_ACCIDENTS, "unknown-job", "missing-file"):
            self._refuse(end.message)
        if self._starts == _MOST_STARTS:
            last = "" if end is None else f": {end.message}"
            self._refuse(f"the job was begun {self._starts} times and never came to its end{last}")
        self._starts += 1

    def _start(self, connection: Connection) -> Done | Error:
        try:
            connection.ask(Forget(self._job), Forgotten)
            send(connection, self._shipment, self._progress)
        except AgentError as error:
            self._refuse(str(error))
        return self._await(connection, self._shipment.request)

    def _await(self, connection: Connection, request: Any) -> Done | Error:
        """The end of the job: what came of it, or why there is none."""
        connection.send(request)
        while True:
            got = connection.receive(None)
            if isinstance(got, Told):
                self._progress(_step(got.event))
            elif isinstance(got, Done | Error):
                return got
            elif not isinstance(got, Running):
                self._refuse(f"it answers {type(got).__name__} to a job")

    def _checked(self, end: Done) -> list[dict[str, Any]]:
        models = self._shipment.request.models
        if len(end.records) != len(models):
            raise BoardError(
                f"The agent on {self._board} answered for {len(end.records)} of {len(models)} "
                "files."
            )
        kind = Record if isinstance(self._shipment.request, Profile) else Emulation
        try:
            for record in end.records:
                kind.from_json(record)
        except RecordError as error:
            self._refuse(str(error))
        return list(end.records)

    def _refuse(self, why: str) -> NoReturn:
        doing = "profile" if isinstance(self._shipment.request, Profile) else "emulate"
        raise BoardError(f"The agent on {self._board} cannot {doing}: {why}")


def _step(event: Event) -> Step:
    current, rounds = event.round, event.rounds
    fraction = (current - 1) / rounds if current and rounds else None
    parts = (event.model, event.event, event.message)
    return Step("profile", fraction, " ".join(str(part) for part in parts if part))
