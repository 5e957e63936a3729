"""The commands of the README and of `docs/`: each can be typed as it stands, and those for the sample data are run.

What a command needs is not there in a test: data, a GPU, the network. So a flag is added that no script knows. As a
script reports everything that is wrong at once, a message about this flag alone says that the script, the task, the
configuration file, all other flags and their values are right.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY, User
from documentation_pages import Block, Command, shell_blocks

UNKNOWN = "--not_a_flag_of_any_script"
SCRIPTS = sorted(
    str(path.relative_to(REPOSITORY)) for pattern in ("*.py", "scripts/*.py") for path in REPOSITORY.glob(pattern)
)
# These take other words, or begin an installation whatever the words are.
OTHER_SHELL_SCRIPTS = ("quickstart.sh", "test.sh", "test_tpu.sh", "setup.sh", "pin_requirements.sh")
BLOCKS = shell_blocks()
COMMANDS = sorted({command for block in BLOCKS for command in block.commands()}, key=str)
# A block that stands on two pages is run once: the comments behind its commands differ, and the commands do not.
RUN_HERE = {tuple(block.commands()): block for block in reversed(BLOCKS) if block.mark == ("run", "sample")}


def with_python(environment: dict[str, str], *variables: str) -> dict[str, str]:
    """An environment in which `python3` is this one, for shell scripts."""
    settings = environment | dict(variable.split("=", 1) for variable in variables)
    return settings | {"PATH": f"{Path(sys.executable).parent}:{settings['PATH']}"}


def complaint(user: User, command: Command) -> str:
    """What a command says when it is also given the unknown flag."""
    program, *words = command.words
    if program == "torchrun":
        from torch.distributed.run import get_args_parser

        arguments = get_args_parser().parse_args(words)
        program, words = "python3", [arguments.training_script, *arguments.training_script_args]
    if program == "python3":
        return user.types(*words[1:], UNKNOWN, script=words[0], code=2).err
    assert program == "bash"
    environment = with_python(user.environment, *command.variables)
    finished = subprocess.run(
        ["bash", REPOSITORY / words[0], *words[1:], UNKNOWN],
        cwd=user.folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 2
    return finished.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_command_can_be_typed(user: User, command: Command):
    if Path(command.words[1]).name in OTHER_SHELL_SCRIPTS:
        script, *words = command.words[1:]
        assert (REPOSITORY / script).is_file()
        assert all((REPOSITORY / word).is_file() for word in words if re.fullmatch(r"[\w/.-]+\.(txt|py)", word))
        return
    *usage, message = complaint(user, command).strip().split("\n")
    assert all(line.startswith(("usage: ", "  ")) for line in usage), usage
    assert re.search(rf": (error: unrecognized arguments:|unknown flag) {UNKNOWN}", message)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_imports_all_that_it_needs(user: User, script: str):
    """In a Python of its own: the one of the other tests has imported the repository's modules already."""
    said = user.types(UNKNOWN, script=script, code=2, fresh=True).err
    # argparse looks first for what is required.
    assert UNKNOWN in said or re.search(r": error: .* (are|is) required", said)


def test_a_command_with_a_mistake_cannot():
    """What the test above rests on."""
    ner = ("run_ner.py", "--task", "naver-ner", "--config_file", "hanbert.json")
    for words, wrong in (
        (("run_seq_cls.py", "--task", "nsmcc", "--config_file", "koelectra-base.json"), "unknown task 'nsmcc'"),
        (("run_seq_cls.py", "--task", "nsmc", "--config_file", "koelectra.json"), "no configuration file"),
        ((*ner, "--ner_stride", "x"), "--ner_stride must be"),
        (("scripts/plot_runs.py", "ckpt", "--output", "x", "--x", "days"), "invalid choice: 'days'"),
    ):
        command = [sys.executable, REPOSITORY / words[0], *words[1:], UNKNOWN]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert finished.returncode == 2 and wrong in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN_HERE.values(), ids=lambda block: block.place)
def test_the_commands_on_the_sample_run(user: User, block: Block):
    """From the first to the last; a training is cut to two steps. What comes out is looked at in other tests."""
    for command in block.commands():
        program, script, *words = command.words
        assert program == "python3" and not command.variables
        if not {"--do_predict", "--do_eval", "--dry_run"} & set(words):
            words += ["--max_steps", "2", "--overwrite_output_dir"]
        user.types(*words, script=script, timeout=600)
