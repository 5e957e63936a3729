"""Whatever the machine does, a run goes on, or ends with a line: streams that fail, Ctrl-C at once, few descriptors."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import ArrowException

from conftest import ONE_STEP, REPOSITORY, User, nsmc
from processors.arrow_files import DamagedFileError
from training.memory import is_about_memory
from training.results import delete_earlier_run
from workflows import script
from workflows.settings import FineTuningConfig

SCRIPTS = sorted([*REPOSITORY.glob("run_*.py"), *REPOSITORY.glob("pretrain_*.py")])


def by_shell(user: User, redirection: str, *words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it with this redirection."""
    command = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, str(REPOSITORY / "run_seq_cls.py")]
    options = {"cwd": user.folder, "env": user.environment, "encoding": "utf-8", "input": stdin}
    done = subprocess.run([*command, *map(str, words)], capture_output=True, timeout=300, check=False, **options)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done


# --------------------------------------------------------------------------------------------------------------------
# Standard input, output and error
# --------------------------------------------------------------------------------------------------------------------


def test_a_reader_that_goes_away_ends_nothing(user: User):
    words = nsmc("unread", *ONE_STEP, "--seeds", 1, 2)
    done = by_shell(user, "2>&1 | head -1; exit ${PIPESTATUS[0]}", *words)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1 and done.stderr == ""
    assert json.loads((user.run_dir("unread") / "seeds.json").read_text())["seeds"] == [1, 2]


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">/dev/full", "standard output cannot be written: No space left on device"),
        (">&-", None),
        ("2>/dev/full", None),
        ("<&- >&- 2>&-", None),
    ],
)
def test_streams_that_cannot_be_written_end_no_run(user: User, redirection: str, said: str | None):
    done = by_shell(user, redirection, *nsmc("unwritten", *ONE_STEP, "--overwrite_output_dir"))
    assert done.returncode == 0
    assert user.results("unwritten")["step"] == 1
    assert said is None or done.stderr.splitlines().count(said) == 1
    (user.run_dir("unwritten") / "results.json").unlink()


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 2, "results_table.py: standard output cannot be written: No space left on device\n"),
        (">&-", 2, "results_table.py: standard output cannot be written: it is closed\n"),
        ("| true; exit ${PIPESTATUS[0]}", 0, ""),
    ],
)
def test_a_table_that_cannot_be_shown(user: User, brief_run: str, redirection: str, code: int, said: str):
    command = ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, REPOSITORY / "scripts" / "results_table.py"]
    done = subprocess.run([*command, user.run_dir(brief_run)], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (code, said)


def test_a_study_goes_on_where_nothing_can_be_shown():
    code = "from reporting.study import say; say('one'); say('two'); raise SystemExit(7)"
    command = ["bash", "-c", '"$@" >/dev/full', "bash", sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'scripts'}"}
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (7, "")


@pytest.mark.slow
def test_predictions_that_cannot_be_shown_are_an_error(user: User, brief_run: str):
    words = nsmc(brief_run, "--do_predict", "--input_file", "-", "--no_cuda")
    for redirection, why in ((">/dev/full", "No space left on device"), (">&-", "it is closed")):
        done = by_shell(user, redirection, *words, stdin="좋다\n")
        assert done.returncode == 2
        assert done.stderr.endswith(f"run_seq_cls.py: standard output could not be written: {why}\n")
    done = by_shell(user, "<&-", *words)
    assert done.returncode == 2 and done.stderr == "run_seq_cls.py: standard input: there is nothing in it\n"


@pytest.mark.parametrize("script", ["run_seq_cls.py", "scripts/results_table.py"])
def test_an_environment_that_is_not_active_is_told(script: str):
    """-S: Python without its packages."""
    command = [sys.executable, "-S", REPOSITORY / script, "--help"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 2 and done.stdout == ""
    said = f"is not installed for {sys.executable}: activate the environment with source .venv/bin/activate"
    assert len(done.stderr.splitlines()) == 1 and said in done.stderr


# --------------------------------------------------------------------------------------------------------------------
# Ctrl-C at once
# --------------------------------------------------------------------------------------------------------------------


def test_every_script_begins_with_what_answers_ctrl_c():
    assert len(SCRIPTS) == 7
    for path in SCRIPTS:
        _, future, guard, *_ = ast.parse(path.read_text(encoding="utf-8")).body
        assert ast.unparse(future) == "from __future__ import annotations"
        assert ast.unparse(guard).split() == (
            "if __name__ == '__main__': from workflows.startup import start start()".split()
        )


def test_small_scripts_do_too():
    paths = [path for path in (REPOSITORY / "scripts").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(paths) >= 9
    for path in paths:
        _, future, guard, *_, end = ast.parse(path.read_text(encoding="utf-8")).body
        assert ast.unparse(future) == "from __future__ import annotations", path
        assert ast.unparse(guard).split() == (
            "if __name__ == '__main__': from reporting.start import run_main, start start()".split()
        ), path
        assert ast.unparse(end).split() == "if __name__ == '__main__': sys.exit(run_main(main))".split(), path


@pytest.mark.parametrize("name", ["make_sample_data", "plot_runs", "results_table", "few_shot_study"])
def test_small_scripts_whose_output_cannot_be_written(name: str, tmp_path: Path):
    command = ["bash", "-c", '"$@" >/dev/full', "bash", sys.executable, REPOSITORY / "scripts" / f"{name}.py", "--help"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, check=False)
    assert done.stderr == "standard output cannot be written: No space left on device\n"


def test_the_sample_is_made_where_nothing_can_be_shown(tmp_path: Path):
    command = ["bash", "-c", '"$@" >/dev/full', "bash", sys.executable, REPOSITORY / "scripts" / "make_sample_data.py"]
    command += ["--output_dir", tmp_path / "sample", "--rows", "40", "--tasks", "nsmc"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "standard output cannot be written: No space left on device\n")
    assert (tmp_path / "sample" / "nsmc").is_dir()


def test_ctrl_c_in_a_small_script():
    code = (
        "import signal\n"
        "from workflows.startup import run_main\n"
        "def main():\n"
        "    try: signal.raise_signal(signal.SIGINT)\n"
        "    finally: print('tidied up')\n"
        "raise SystemExit(run_main(main))"
    )
    done = python(code)
    assert (done.returncode, done.stdout) == (130, "tidied up\n")
    assert done.stderr.endswith(": interrupted\n") and "Traceback" not in done.stderr


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", f"from workflows.startup import start\nstart()\n{code}"]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False)


def test_ctrl_c_while_the_script_is_imported():
    done = python("import signal; signal.raise_signal(signal.SIGINT); print('gone on')")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.endswith(": interrupted\n") and "Traceback" not in done.stderr


def test_ctrl_c_in_a_destructor_is_not_lost():
    done = python(
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Library:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "try:\n"
        "    Library()\n"
        "    time.sleep(500)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


# --------------------------------------------------------------------------------------------------------------------
# Errors of the machine
# --------------------------------------------------------------------------------------------------------------------


class TorchsOutOfMemoryError(RuntimeError):
    pass


TorchsOutOfMemoryError.__name__ = "OutOfMemoryError"


def chained() -> Exception:
    error = ImportError("cannot import name 'nn'")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "memory has run out (MemoryError:)"),
        (RuntimeError("could not create a primitive"), "memory has run out (could not create a primitive)"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory has run out ("),
        (OSError(12, "Cannot allocate memory"), "memory has run out ("),
        (TorchsOutOfMemoryError("CUDA out of memory"), "memory has run out (CUDA out of memory)"),
        (chained(), "memory has run out (cannot import name 'nn')"),
        (OSError(24, "Too many open files", "cache/x.arrow"), "cache/x.arrow: Too many open files"),
        (ArrowException("Failed to launch worker thread: Resource temporarily unavailable"), "memory has run out ("),
        (DamagedFileError("cache/x.arrow: the checksum is wrong"), "cache/x.arrow: the checksum is wrong"),
        (OSError(30, "Read-only file system"), "Read-only file system"),
    ],
)
def test_an_error_of_the_machine_is_a_line(error: Exception, said: str, tmp_path: Path, capsys, monkeypatch):
    def run(config: FineTuningConfig, overwrite: bool) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    words = ["--task", "t", "--model_type", "koelectra-base"]
    assert script.run_command("run.py", "", words, FineTuningConfig, {"t": {}}, run) == 2
    assert capsys.readouterr().err.startswith(f"run.py: {said}")


def test_memory_that_runs_out_while_the_script_is_imported():
    done = python("raise ImportError('libarrow.so: failed to map segment from shared object')")
    assert done.returncode == 2
    assert done.stderr == "-c: memory has run out (ImportError) before the run began: end other programs\n"
    done = python("raise ImportError('no such module')")
    assert done.returncode == 1 and done.stderr.startswith("Traceback")


def test_an_earlier_checkpoint_that_was_moved_to_another_disk(tmp_path: Path):
    """It has a symbolic link in its place; what that leads to is the user's."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint-5").symlink_to(tmp_path / "disk")
    delete_earlier_run(tmp_path / "run")
    assert not any((tmp_path / "run").iterdir()) and (tmp_path / "disk").is_dir()


def test_a_defect_of_the_program_is_shown_as_one(tmp_path: Path, monkeypatch):
    def run(config: FineTuningConfig, overwrite: bool) -> None:
        raise RuntimeError("the shapes do not fit")

    assert not is_about_memory(RuntimeError("the shapes do not fit"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="the shapes"):
        script.run_command("run.py", "", ["--task", "t", "--model_type", "koelectra-base"], FineTuningConfig,
                           {"t": {}}, run)  # fmt: skip


def test_seventy_seeds_at_sixty_four_descriptors(tmp_path: Path):
    """No run is trained: what takes the descriptors is done before."""
    code = """
import resource, sys
from pathlib import Path
from training.results import locked, prepare_output_dir
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
folders = [Path(sys.argv[1]) / f"seed-{seed}" for seed in range(70)]
for folder in folders:
    prepare_output_dir(folder, may_hold_a_run=False)
with locked(Path(sys.argv[1])):
    for folder in folders:
        with locked(folder):
            pass
"""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == 70


@pytest.mark.slow
def test_processes_whose_launcher_was_killed_end_and_can_be_gone_on_with(user: User):
    from started_by_torchrun import by_two

    steps = ["--max_steps", 4000, "--logging_steps", 1, "--eval_steps", 0, "--save_steps", 10, "--no_cuda"]
    process = by_two(user, "run_seq_cls.py", *nsmc("orphans", "--train_batch_size", 4, *steps))
    log = user.run_dir("orphans") / "metrics.jsonl"
    while not log.is_file() or len(log.read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=120)  # their standard error closes when they have ended
    assert not [child for child in children if Path(f"/proc/{child}/cmdline").is_file()
                and "run_seq_cls" in Path(f"/proc/{child}/cmdline").read_text()]  # fmt: skip
    assert "Traceback" not in err and "stopped; saved as ckpt/orphans/checkpoint-" in err
    assert list(user.run_dir("orphans").glob("checkpoint-*"))
