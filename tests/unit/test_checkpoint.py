"""Checkpoints are whole or not there, and the limits keep what they should."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from storage.whole import remove_abandoned
from training.checkpoint import STATE_FILE, CheckpointFolder
from training.config import UsageError

ROOT = Path(__file__).parents[2]


def write_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_training_state_comes_back(tmp_path):
    folder = CheckpointFolder(tmp_path)
    state = {"numbers": torch.arange(3), "step": 5, "nested": {"rate": 0.1, "none": None}}
    path = folder.save(5, write_model, state, best_step=None)
    assert path == tmp_path / "checkpoint-5" and names(path) == ["model.safetensors", STATE_FILE]
    loaded = folder.load_state(path)
    assert torch.equal(loaded["numbers"], torch.arange(3)) and loaded["nested"] == {"rate": 0.1, "none": None}


def test_others_may_read_a_checkpoint_as_the_umask_says(tmp_path):
    def write_private(folder: Path) -> None:
        write_model(folder)
        (folder / "model.safetensors").chmod(0o600)  # as safetensors leaves it

    before = os.umask(0o022)
    try:
        path = CheckpointFolder(tmp_path).save(5, write_private, {}, None)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o644}


def test_checkpoints_are_listed_by_number_not_by_name(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for step in (5, 100, 20):
        folder.save(step, write_model, {}, None)
    (tmp_path / "checkpoint-best").mkdir()
    assert [path.name for path in folder.all()] == ["checkpoint-5", "checkpoint-20", "checkpoint-100"]


@pytest.mark.parametrize(("save_optimizer", "with_state"), [(False, [30]), (True, [10, 20, 30])])
def test_the_training_state_stays_in_the_newest_alone_unless_asked_for(tmp_path, save_optimizer, with_state):
    folder = CheckpointFolder(tmp_path, save_optimizer=save_optimizer)
    for step in (10, 20, 30):
        folder.save(step, write_model, {}, None)
    assert [int(p.name.split("-")[1]) for p in folder.all() if (p / STATE_FILE).is_file()] == with_state
    assert folder.newest_with_state() == tmp_path / "checkpoint-30"


@pytest.mark.parametrize(
    ("limit", "best", "kept"),
    [(1, 10, [10, 50]), (2, 10, [10, 50]), (3, 20, [20, 40, 50]), (2, None, [40, 50]), (2, 50, [40, 50])],
)
def test_the_limit_keeps_the_newest_and_the_best(tmp_path, limit, best, kept):
    folder = CheckpointFolder(tmp_path, save_total_limit=limit)
    for step in (10, 20, 30, 40, 50):
        folder.save(step, write_model, {}, best if best is None or best <= step else None)
    assert [int(p.name.split("-")[1]) for p in folder.all()] == kept


@pytest.mark.parametrize("limit", [3, 4, 5, 6, 9])
def test_a_limit_deletes_nothing_before_it_is_reached(tmp_path, limit):
    folder = CheckpointFolder(tmp_path, save_total_limit=limit)
    for number in range(1, 6):
        folder.save(number, write_model, {}, best_step=number)  # every one is the best so far
        assert len(folder.all()) == min(number, limit)


def test_a_failing_write_leaves_the_earlier_checkpoint_and_nothing_half_done(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(10, write_model, {"step": 10}, None)

    def fail(target: Path) -> None:
        write_model(target)
        raise OSError(28, "No space left on device")

    with pytest.raises(
        UsageError, match=r"checkpoint-20 could not be saved .*No space.*checkpoint-10 is whole.*--resume"
    ):
        folder.save(20, fail, {}, None)
    assert names(tmp_path) == ["checkpoint-10"] and folder.load_state(tmp_path / "checkpoint-10") == {"step": 10}


def test_a_file_that_outgrows_the_disk_leaves_the_earlier_checkpoint(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(10, write_model, {"step": 10}, None)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(UsageError, match="checkpoint-20 could not be saved"):
            folder.save(20, write_model, {"large": torch.zeros(1_000_000)}, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == ["checkpoint-10"] and folder.load_state(tmp_path / "checkpoint-10") == {"step": 10}


def test_saving_the_same_step_again_replaces_it(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save(10, write_model, {"try": 1}, None)
    folder.save(10, write_model, {"try": 2}, None)
    assert names(tmp_path) == ["checkpoint-10"] and folder.load_state(folder.path(10)) == {"try": 2}


def test_an_unreadable_state_is_named(tmp_path):
    folder = CheckpointFolder(tmp_path)
    path = folder.save(10, write_model, {}, None)
    (path / STATE_FILE).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UsageError, match=r"training_state\.pt cannot be read"):
        folder.load_state(path)


# One process that has torch imported; each save that is killed is one in a copy of it.
KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
import torch
from training.checkpoint import CheckpointFolder

calls = 0

def write_model(folder):
    (folder / "model.safetensors").write_bytes(b"weights" * 1000)

def save_until(fatal):
    target = Path(sys.argv[1], str(fatal))

    def count(event, arguments):
        global calls
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
            if any(str(a).startswith(str(target)) for a in arguments):
                calls += 1
                if calls == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)

    folder = CheckpointFolder(target, save_total_limit=2)
    folder.save(10, write_model, {"step": 10}, None)
    folder.save(20, write_model, {"step": 20}, None)
    sys.addaudithook(count)
    folder.save(30, write_model, {"step": 30}, None)
    os._exit(0)

fatal, killed = 0, True
while killed:
    fatal += 1
    child = os.fork()
    if not child:
        save_until(fatal)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    killed = status != 0
print(fatal)
"""


@pytest.mark.seconds
def test_killed_at_every_file_operation_of_a_save_a_whole_checkpoint_is_left(tmp_path):
    """Whatever call the kill hits, the newest checkpoint with a state loads, and every listed one has its weights."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    whole = int(done.stdout)  # the first save that nothing stops
    assert whole > 8
    for call in range(1, whole):
        folder = CheckpointFolder(tmp_path / str(call))
        newest = folder.newest_with_state()
        assert folder.load_state(newest)["step"] == int(newest.name.split("-")[1]) in (20, 30)
        assert all((path / "model.safetensors").read_bytes() == b"weights" * 1000 for path in folder.all())
        remove_abandoned(folder.output_dir)
        assert all(name.startswith("checkpoint-") for name in names(folder.output_dir))
