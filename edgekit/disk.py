"""Writing where the disk may be full or closed: whole files, and an error that says what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import DiskError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_LARGE = (errno.EFBIG,)
_CLOSED = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.EEXIST,
    errno.ENOTDIR,
)
_MARGIN = 1 << 20
_MARK = ".edgekit-"


@contextmanager
def storing(
    run: Path, what: str, *, kept: str = "finished stages are kept", option: str = "--out"
) -> Iterator[None]:
    """Whatever the disk refuses inside becomes one error that names the folder and the way out.

    `kept` says what is not lost, "" where that is nothing; `option` names another place.

    Raises:
        DiskError: the disk is full or fails, a file is too large, or writing is not allowed.
    """
    try:
        yield
    except DiskError:
        raise
    except Exception as error:  # zipfile, h5py and TensorFlow wrap it in errors of many kinds
        trouble = _trouble(error)
        if trouble is None:
            raise
        raise DiskError(_sentence(run, what, kept, option, *trouble)) from error


def check_temporary(size: int) -> None:
    """Raises OSError where a temporary file of about this size cannot be written."""
    with tempfile.TemporaryFile() as file:
        for _ in range(size // _MARGIN + 1):
            file.write(bytes(_MARGIN))
            file.flush()


def try_folder(folder: Path) -> None:
    """Makes the folder, and writes and removes a file in it, so that long work is not for nothing.

    Raises:
        OSError: what it is that fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tried = hidden(folder / "tried")
    try:
        tried.write_bytes(b"tried")
    finally:
        tried.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes beside the file, then puts it in its place: a reader sees the old or the new text."""
    partial = hidden(path)
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def publish(source: Path, target: Path) -> None:
    """Gives a stored file a second name, or copies it where the file system has no hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    partial = hidden(target)
    partial.unlink(missing_ok=True)
    try:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file or a whole folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def hidden(path: Path) -> Path:
    """Where this process writes what is to become `path`, under a name that users do not give."""
    return path.with_name(f"{_MARK}{path.name}.{os.getpid()}")


def leftovers(folder: Path) -> list[Path]:
    """What processes that were killed have left behind in `folder` under `hidden` names."""
    found = folder.glob(f"{_MARK}*")
    return [path for path in found if re.fullmatch(r".+\.\d+", path.name)]


def _trouble(error: BaseException | None) -> tuple[int, str | None] | None:
    """The number of the disk's error behind an exception, and the file if it is known."""
    while error is not None:
        known = (*_FULL, *_TOO_LARGE, *_CLOSED)
        if isinstance(error, OSError) and error.errno in known:
            return error.errno, error.filename if isinstance(error.filename, str) else None
        # So HDF5 tells of it, and TensorFlow.
        told = re.search(r"\berrno = (\d+)", str(error))
        if told and int(told[1]) in known:
            return int(told[1]), None
        for number in (*_FULL, *_TOO_LARGE):
            if os.strerror(number) in str(error):
                return number, None
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _sentence(run: Path, what: str, kept: str, option: str, number: int, file: str | None) -> str:
    where = run
    if number in _FULL and tempfile.tempdir:
        # Conversion works in the folder for temporary files, which may be on a disk of its own.
        where = min(run, Path(tempfile.tempdir), key=_free)
    elif file is not None and not Path(file).absolute().is_relative_to(run.absolute()):
        where = Path(file).parent
    reason, when = os.strerror(number), f"while storing {what}{'; ' if kept else ''}{kept}"
    if number in (errno.EEXIST, errno.ENOTDIR) and file:
        reason = f"{file} is in the way"
    if number in _FULL:
        return (
            f"The disk of {where} is full ({reason}) {when}: free some space and run the same "
            "command again."
        )
    if number in _TOO_LARGE:
        return (
            f"{where} takes no file of this size ({reason}) {when}: raise the limit (ulimit -f) "
            f"and run the same command again, or name another folder with {option}."
        )
    return (
        f"{where} cannot be written ({reason}) {when}: make it writable and run the same command "
        f"again, or name another folder with {option}."
    )


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
