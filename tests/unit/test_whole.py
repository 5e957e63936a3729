"""Files and folders are whole or not there, and what killed writers leave behind is removed, but nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage import whole
from storage.whole import remove_abandoned, remove_whole, whole_file, whole_folder, write_whole

ROOT = Path(__file__).parents[2]
BEGINNING = """
import sys
from pathlib import Path
from storage import whole
folder = Path(sys.argv[1])
def begun(*_):
    print(flush=True)
    input()
"""
WRITERS = {
    "file": "with whole.whole_file(folder / 'table.arrow') as at: at.write_text('half'); begun()",
    "folder": "with whole.whole_folder(folder / 'checkpoint-5') as at: (at / 'w').write_text('half'); begun()",
    "deletion": "whole.shutil.rmtree = begun; whole.remove_whole(folder / 'old')",
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", WRITERS)
def test_what_a_living_writer_owns_stays_and_what_a_killed_one_left_goes(tmp_path, kind):
    (tmp_path / "old").mkdir()
    command = [sys.executable, "-c", BEGINNING + WRITERS[kind], str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writer = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes)
    try:
        writer.stdout.readline()
        begun = names(tmp_path)
        assert len([name for name in begun if name.endswith(".tmp")]) == 1
        remove_abandoned(tmp_path)
        assert names(tmp_path) == begun
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert names(tmp_path) == begun
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [name for name in begun if not name.endswith(".tmp")]


def test_only_temporary_files_are_removed(tmp_path):
    kept = [".hidden.tmp", "a.0123456789abcdef.tmp", ".a.0123456789ABCDEF.tmp", ".a.0123456789abcdef.tmp.txt"]
    for name in [*kept, ".results.json.0123456789abcdef.tmp"]:
        (tmp_path / name).write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("")
    (tmp_path / ".link.0123456789abcdef.tmp").symlink_to(elsewhere)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == sorted([*kept, "elsewhere", ".link.0123456789abcdef.tmp"])
    assert names(elsewhere) == ["precious"]
    remove_abandoned(tmp_path / "missing")


def test_a_pipe_that_somebody_has_put_there_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".results.json.0123456789abcdef.tmp")
    code = "import sys; from pathlib import Path; from storage.whole import *; remove_abandoned(Path(sys.argv[1]))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=True, timeout=30)
    assert names(tmp_path) == []


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="a device or a pipe has that name"):
            write_whole(tmp_path / name, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


def test_a_folder_that_was_moved_to_another_disk(tmp_path):
    """And has a symbolic link in its place: the link goes, and what it leads to is the user's."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "weights").write_text("")
    (tmp_path / "checkpoint-5").symlink_to(tmp_path / "disk")
    with whole_folder(tmp_path / "checkpoint-5") as folder:
        (folder / "weights").write_text("new")
    assert names(tmp_path) == ["checkpoint-5", "disk"] and not (tmp_path / "checkpoint-5").is_symlink()
    (tmp_path / "checkpoint-6").symlink_to(tmp_path / "disk")
    remove_whole(tmp_path / "checkpoint-6")
    assert names(tmp_path) == ["checkpoint-5", "disk"] and names(tmp_path / "disk") == ["weights"]


def test_without_locks_only_what_is_older_than_a_day_is_removed(tmp_path, monkeypatch):
    def without_locks(descriptor: int, kind: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(whole.fcntl, "flock", without_locks)
    old, new = (tmp_path / f".{name}.0123456789abcdef.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.mkdir()
    os.utime(old, (time.time() - 100_000,) * 2)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [new.name]
    write_whole(tmp_path / "text", "whole")
    with whole_folder(tmp_path / "folder") as folder:
        (folder / "text").write_text("whole")
    remove_whole(tmp_path / "folder")
    assert names(tmp_path) == [new.name, "text"]


def test_a_temporary_file_that_is_removed_before_its_lock_is_taken_is_made_again(tmp_path, monkeypatch):
    flock, taken = whole.fcntl.flock, []

    def overtaken(descriptor: int, kind: int) -> None:
        if not taken:
            taken.append(descriptor)
            for path in tmp_path.iterdir():
                path.unlink()
        flock(descriptor, kind)

    monkeypatch.setattr(whole.fcntl, "flock", overtaken)
    with whole_file(tmp_path / "text") as temporary:
        temporary.write_text("whole")
    assert taken and names(tmp_path) == ["text"]
