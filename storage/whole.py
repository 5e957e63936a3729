"""Files and folders that are there whole or not at all.

Content is written under a temporary name until it is complete and on the disk. A kill at any moment leaves either the
old content or all of the new; what may be left besides is a hidden file or folder whose name ends with `.tmp`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Writes a file. Raises OSError, and then leaves what was there before."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields an empty file that becomes `path` at the end of the block, for writers that need a path.

    The file is deleted if the block raises. Raises OSError.
    """
    temporary = _temporary_name(path)
    # Exclusively: nobody else writes there, and a symbolic link that somebody has put there is not followed.
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` at the end of the block, and replaces a folder of that name.

    The folder is deleted if the block raises. Raises OSError.
    """
    temporary = _temporary_name(path)
    temporary.mkdir(parents=True)
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


def remove_whole(folder: Path) -> None:
    """Deletes a folder. It is renamed first, so that a kill leaves no half of it under its name."""
    doomed = _temporary_name(folder)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def flush(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk: a power failure may otherwise keep the new
    name and lose the content.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_name(path: Path) -> Path:
    # At random: in containers, each process may be number 1.
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
