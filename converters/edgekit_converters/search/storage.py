"""A study in an SQLite file: opened by one search at a time, and only for what it was made for."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from edgekit_converters.errors import SearchError

IDENTITY, FACTS, REASON = "edgekit", "facts", "reason"
"""Names under which a study keeps what it was made for, and a trial what it came to."""
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def load_optuna() -> Any:
    """Optuna, with its log off the terminal.

    Raises:
        SearchError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SearchError(
            "A search needs Optuna, which is not installed: pip install 'edgekit[search]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@contextmanager
def open_study(path: Path, name: str, identity: dict[str, Any]) -> Iterator[Any]:
    """The study of that name, made where needed; trials that a killed search left are failed.

    Such a trial has no reason, and what it tried counts as not tried.

    Raises:
        SearchError: the file is no such storage, is in use, cannot be written, or the study was
            made for something else, which is named.
    """
    optuna = load_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    unusable = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
    if not _NAME.fullmatch(name):
        raise SearchError(f"--study {name!r}: a name has letters, digits, '.', '_' and '-' only.")
    with _alone(path):
        _check_file(path)
        try:
            storage = _open(optuna, path)
            try:
                study = optuna.create_study(
                    storage=storage, study_name=name, direction="maximize", load_if_exists=True
                )
                _check_identity(study, path, name, identity)
                _mend(optuna, study, storage.engine)
                yield study
            finally:
                storage.engine.dispose()
        except unusable as error:
            raise _unusable(path, error.__cause__ or error) from error


def _open(optuna: Any, path: Path) -> Any:
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
    except RuntimeError as error:
        # So Optuna tells of a storage that another of its versions has made.
        if "version" not in str(error):
            raise
        raise _unusable(path, error) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = path.with_name(f".{path.name}.lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise SearchError(
            f"The storage {path} cannot be written ({error.strerror}); name another with --storage."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SearchError(
                f"{path} is in use by another search ({error.strerror}); wait for its end, or name "
                "another file with --storage."
            ) from error
        yield
    finally:
        os.close(handle)


def _check_file(path: Path) -> None:
    """Refuses a file that is there and was not made by Optuna, before anything is added to it."""
    if path.is_dir():
        raise SearchError(f"The storage {path} is a folder; name a file with --storage.")
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with closing(sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)) as found:
            tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    # What a search that was killed at its start leaves has no table yet.
    if tables and not {"studies", "trials"} <= tables:
        raise SearchError(
            f"{path} is a database of something else (its tables: {', '.join(sorted(tables)[:5])});"
            " name another file with --storage."
        )


def _check_identity(study: Any, path: Path, name: str, identity: dict[str, Any]) -> None:
    known = study.user_attrs.get(IDENTITY)
    if known is None:
        if study.get_trials(deepcopy=False):
            raise SearchError(
                f"The study {name!r} in {path} was not made by edgekit search; give --study "
                "another name."
            )
        study.set_user_attr(IDENTITY, identity)
        return
    for key in dict.fromkeys((*known, *identity)):
        if known.get(key) != identity.get(key):
            raise SearchError(
                f"The study {name!r} in {path} was made with another {key} ({_short(known, key)}, "
                f"now {_short(identity, key)}), so its trials would not compare; give --study "
                "another name, or another --storage."
            )


def _short(identity: dict[str, Any], key: str) -> str:
    value = identity.get(key)
    if isinstance(value, str) and len(value) == 64:
        return value[:8]
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _mend(optuna: Any, study: Any, engine: Any) -> None:
    """Nobody else is at work here, so a trial that is under way belongs to a search that ended."""
    from sqlalchemy import text

    # Successive halving compares with every trial that has such a value, the lost ones too, and
    # Optuna removes no attribute.
    forget = text(
        "DELETE FROM trial_system_attributes WHERE trial_id = :lost AND key LIKE 'completed_rung_%'"
    )
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        with engine.begin() as connection:
            connection.execute(forget, {"lost": trial._trial_id})
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _unusable(path: Path, error: BaseException) -> SearchError:
    told = str(error).splitlines()[0] if str(error) else type(error).__name__
    return SearchError(
        f"{path} cannot be used as a study's storage ({told[:200]}); free or repair it, or name "
        "another file with --storage."
    )
