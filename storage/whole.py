"""Files and folders that are there whole or not at all.

Content is written under a temporary name until it is complete and on the disk. A kill at any moment leaves either the
old content or all of the new, and perhaps a hidden file or folder whose name ends with `.tmp`. Whoever writes one holds
a lock on it, which ends with the process, so that `remove_abandoned` knows which of them nobody will finish.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
SECONDS_OF_A_DAY = 86_400


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Writes a file. Raises OSError, and then leaves what was there before."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields an empty file that becomes `path` at the end of the block, for writers that need a path.

    The file is deleted if the block raises. Raises OSError, also where a device or a pipe has that name: the file would
    take its place, for all programs.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "a device or a pipe has that name", str(path))
    temporary, owned = _own_temporary(path, is_folder=False)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        os.close(owned)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` at the end of the block, and replaces a folder of that name.

    The folder is deleted if the block raises. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, owned = _own_temporary(path, is_folder=True)
    try:
        yield temporary
        for written in temporary.rglob("*"):
            flush(written)
        flush(temporary)
        if path.exists():
            remove_whole(path)
        temporary.rename(path)
        flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(owned)


def remove_whole(folder: Path) -> None:
    """Deletes a folder. It is renamed first, so that a kill leaves no half of it under its name.

    Of a symbolic link to a folder, the link is deleted. Raises OSError.
    """
    if folder.is_symlink():
        folder.unlink()
        return
    owned = os.open(folder, os.O_RDONLY)
    try:
        _lock(owned)  # stays with the folder under its new name
        doomed = _temporary_name(folder)
        folder.rename(doomed)
        shutil.rmtree(doomed)
    finally:
        os.close(owned)


def remove_abandoned(folder: Path) -> None:
    """Deletes the temporary files and folders in `folder` that killed processes have left behind.

    Those that a living process is writing stay, in whichever container it runs. Where the file system has no locks,
    those of the last day stay.
    """
    with contextlib.suppress(OSError):  # there is no such folder, or it cannot be read
        for path in [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name)]:
            with contextlib.suppress(OSError):
                _remove_unless_owned(path)


def flush(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk: a power failure may otherwise keep the new
    name and lose the content.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _own_temporary(path: Path, is_folder: bool) -> tuple[Path, int]:
    """A new empty file or folder beside `path`, and the descriptor that holds its lock."""
    while True:
        temporary = _temporary_name(path)
        if is_folder:
            temporary.mkdir()
        else:
            # Exclusively: nobody else writes there, and a symbolic link that somebody has put there is not followed.
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        with contextlib.suppress(FileNotFoundError):  # another process took it for abandoned: it was not locked yet
            owned = os.open(temporary, os.O_RDONLY)
            _lock(owned)
            if temporary.exists():
                return temporary, owned
            os.close(owned)


def _lock(descriptor: int) -> None:
    """Waits for the lock, which ends when the descriptor is closed or the process ends."""
    with contextlib.suppress(OSError):  # the file system has no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _remove_unless_owned(temporary: Path) -> None:
    """Raises OSError where a living process owns it, or where it cannot be deleted."""
    # Neither a link nor a pipe that somebody has put there is followed or waited for.
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # the file system has no locks
            if time.time() - temporary.stat().st_mtime < SECONDS_OF_A_DAY:
                raise
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
    finally:
        os.close(descriptor)


def _temporary_name(path: Path) -> Path:
    # At random: in containers, each process may be number 1.
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
