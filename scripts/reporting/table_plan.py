"""Which runs make up a table: their commands, with settings that are checked before anything begins.

A table is one of scripts/reporting/published_scores.json: its columns are the tasks, in their order.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import MODELS, unknown_model
from processors import SCRIPT_OF_TASK, TASKS, TASKS_OF_SCRIPT
from processors.data_sources import HUB, OFFICIAL, DataSource
from processors.splits import how_to_get
from processors.task import DataError, Task
from reporting.results_reading import PUBLISHED
from reporting.study import REPOSITORY, flag_names, settings_as_flags
from training.command_line import resolve
from training.config import UsageError

CONFIGS = REPOSITORY / "config"
SETTINGS_OF_OTHERS = "koelectra-base-v3"  # for a model that no configuration names
# Flags that the table itself sets, and those that name files of one task, which the other tasks cannot read.
SET_BY_THE_TABLE = frozenset(
    "task config_file config_dir model_type output_dir ckpt_dir seed resume overwrite_output_dir do_train do_eval "
    "do_predict input_file output_file train_file dev_file test_file predict_file".split()
)


@dataclass(frozen=True)
class PlannedTask:
    """The runs of one task, which differ in the seed alone.

    words: the command's, without seed and folders. config: the settings that they resolve to. missing: which of its
    data are not there, and how to get them; "" for none.
    """

    task: str
    script: str
    words: list[str]
    config: Any
    missing: str


def published_table(name: str) -> dict[str, Any]:
    """The published table of that name: title, columns, groups of rows."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))["tables"][name]


def tasks_of(name: str) -> list[str]:
    """The tasks of a table, in the order of its columns."""
    return [column["task"] for column in published_table(name)["columns"]]


def plan_tasks(arguments: argparse.Namespace) -> tuple[list[PlannedTask], list[str]]:
    """The tasks that are asked for, and those without a configuration of the model.

    Raises UsageError with everything that is wrong with the model, or with the flags that are passed on.
    """
    if problem := problem_of_model(arguments):
        raise UsageError(problem)
    if problem := problem_of_flags(arguments.passed_on):
        raise UsageError(problem)
    planned, unconfigured = [], []
    refused: dict[str, str] = {}
    for task in arguments.tasks:
        words = words_of_task(arguments, task)
        if words is None:
            unconfigured.append(task)
            continue
        try:
            planned.append(plan_task(task, [*words, *arguments.passed_on]))
        except UsageError as error:
            refused[task] = str(error)
    if refused:
        raise UsageError(_of_all_tasks(refused, len(arguments.tasks) - len(unconfigured)))
    return planned, unconfigured


def _of_all_tasks(refused: Mapping[str, str], count: int) -> str:
    """What is wrong with the flags of several tasks, each problem once.

    A problem that not all of the `count` tasks have begins with the names of those that have it. Behind a semicolon may
    stand a hint, which differs between the scripts: the first one is kept.
    """
    tasks: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, str] = {}
    for task, message in refused.items():
        for line in message.splitlines():
            problem = line.partition("; ")[0]
            lines.setdefault(problem, line)
            tasks[problem].append(task)
    return "\n".join(
        line if len(tasks[problem]) == count else f"{', '.join(tasks[problem])}: {line}"
        for problem, line in lines.items()
    )


def plan_task(task: str, words: list[str]) -> PlannedTask:
    """The runs of a task with these words. Raises UsageError where the script would refuse them."""
    script = SCRIPT_OF_TASK[task]
    config_class = _config_class(script)
    settings = {one.name: one.settings(config_class.TEST_FILE_KEY) for one in TASKS_OF_SCRIPT[script]}
    words = ["--task", task, *words]
    config, _ = resolve(config_class, words, settings, CONFIGS, "", SCRIPT_OF_TASK, script)
    return PlannedTask(task, script, words, config, missing_data(TASKS[task], config))


def missing_data(task: Task, config: Any) -> str:
    """`paws needs data/paws/train.tsv; fetch it with: bash ...`, or "" where nothing is missing.

    Whether the hub can be reached is asked by the runs. Raises UsageError where `data_source` can be none for any task.
    """
    if config.data_source == OFFICIAL:
        files = [file for of_split in config.files(task.folder).values() for file in of_split if not file.exists()]
        how = how_to_get(task, Path(config.data_dir)) if files else ""
        needs = f"{task.name} needs {', '.join(map(str, files))}" if files else ""
        return f"{needs}; {how}" if how else needs
    try:
        DataSource.of(config.data_source, task)
    except DataError as error:
        if config.data_source == HUB:
            return str(error)
        raise UsageError(str(error)) from None
    return ""


def _config_class(script: str) -> type:
    """The settings of a script. Importing them takes no torch, but a second."""
    from run_long_qa import LongQuestionAnsweringConfig
    from run_ner import NerConfig
    from run_seq_cls import SequenceClassificationConfig
    from workflows.question_answering import QuestionAnsweringConfig

    return {
        "run_seq_cls.py": SequenceClassificationConfig,
        "run_ner.py": NerConfig,
        "run_squad.py": QuestionAnsweringConfig,
        "run_long_qa.py": LongQuestionAnsweringConfig,
    }[script]


def problem_of_model(arguments: argparse.Namespace) -> str | None:
    """What is wrong with MODEL or --settings_of, or None. Whether the hub has a model is asked later."""
    model, others = arguments.model, arguments.settings_of
    if model not in MODELS and "/" not in model and not Path(model).is_dir():
        return f"{unknown_model(model)}".replace("model_type", "model").partition("; any other model:")[0] + (
            "; any other model is a hub id (owner/name) or a local folder"
        )
    names = sorted({path.stem for task in arguments.tasks for path in (CONFIGS / task).glob("*.json")} - {"sample"})
    if others is not None and others not in names:
        return f"--settings_of {others}: no task has a configuration of that name; there are {', '.join(names)}"
    if others is not None and arguments.scale == "sample":
        return "--settings_of has no effect with --scale sample, which has settings of its own"
    return None


def problem_of_flags(words: list[str]) -> str | None:
    """What is wrong with the words that are passed on to every run, or None."""
    if words and not words[0].startswith("--"):
        return f"unexpected word {words[0]!r}: first the model, then flags as --key value"
    for name in flag_names(words):
        if name in SET_BY_THE_TABLE:
            return f"--{name} is set by the table itself: leave it out"
    return None


def settings_from(arguments: argparse.Namespace) -> str:
    """The name of the configurations that the runs have their settings from."""
    if arguments.scale == "sample":
        return "sample"
    return arguments.settings_of or (arguments.model if arguments.model in MODELS else SETTINGS_OF_OTHERS)


def words_of_task(arguments: argparse.Namespace, task: str) -> list[str] | None:
    """The words that name settings and model of a task's runs; None where there is no such configuration.

    Settings of another model are given as flags, because a configuration names its model.
    """
    name = settings_from(arguments)
    path = CONFIGS / task / f"{name}.json"
    if not path.is_file():
        return None
    if arguments.scale == "sample" or name == arguments.model:
        return ["--config_file", path.name]
    which = "--model_type" if arguments.model in MODELS else "--model_name_or_path"
    return [*settings_as_flags(path), which, arguments.model]
