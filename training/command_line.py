"""From a command to its settings: defaults < task < JSON file < command line.

Flags, JSON keys, `--help` and checks all come from the fields of `training/config.py`. Everything that is wrong with a
command is reported at once, each with its place and what would be right.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from training.config import LoopConfig, Section, UsageError, is_typed

Config = typing.TypeVar("Config", bound=LoopConfig)
# What argparse takes for a value and not for a flag; its own pattern does not know -1e-05.
NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")


def resolve(
    config_class: type[Config],
    argv: list[str],
    tasks: Mapping[str, Mapping[str, Any]],
    config_root: Path,
    about: str,
    script_of_task: Mapping[str, str] = types.MappingProxyType({}),
) -> tuple[Config, dict[str, str]]:
    """The settings of a run, and for each key that was set the place that set it.

    tasks: task name -> what the task sets. config_root: holds `<task>/<config_file>`. about: head of `--help`.
    script_of_task: the scripts of other tasks.

    Raises UsageError with everything that is wrong, a line each.
    """
    problems: list[str] = []
    flags, broken = _read_flags(config_class, argv, about, tasks, problems)
    values: dict[str, Any] = {}
    given: dict[str, str] = {}
    config_file = flags.pop("config_file", None)
    task = flags.get("task", _own_task(config_class))
    from_file: dict[str, tuple[Any, str]] = {}
    if config_file is not None:
        try:
            path = _find_config_file(config_file, task, config_root)
            from_file = _read_json(path, problems)
        except FileNotFoundError as error:
            problems += [str(error)] if task is None or task in tasks else []  # a mistyped task has no folder
            broken |= {"config_file", "task"}
        except UsageError as error:
            problems.append(str(error))
            broken |= {"config_file", "task"}
        if task is not None and "task" in from_file and from_file["task"][0] != task:
            value, place = from_file["task"]
            wanted = f"the command says --task {task}" if "task" in flags else f"this script's is {task}"
            problems.append(f"{place}: the file is for task {value!r}, {wanted}")
        task = task or from_file.get("task", (None, ""))[0]
    if isinstance(task, str) and task in tasks:
        values |= tasks[task]
        given |= dict.fromkeys(tasks[task], f"task {task}")
    elif isinstance(task, str):
        place = "" if "task" in flags else f"{from_file['task'][1]}: "
        if task in script_of_task:
            problems.append(
                f"{place}{task} is a task of {script_of_task[task]}; those of this script: {', '.join(tasks)}"
            )
        else:
            problems.append(f"{place}unknown task {task!r}{nearest(task, tasks)}; known: {', '.join(tasks)}")
        broken |= {key for settings in tasks.values() for key in settings} - set(from_file) - set(flags)
    for key, (value, place) in from_file.items():
        values[key], given[key] = value, place
    for key, value in flags.items():
        values[key], given[key] = value, f"--{key}"
    _only_the_stages_that_are_typed(values, given)
    config = _validate(config_class, values, given, broken, problems)
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    return config, given


def _own_task(config_class: type[Section]) -> str | None:
    """The task of a script that has one only, so that it need not be typed."""
    field = config_class.model_fields["task"]
    return None if field.is_required() else field.default


def _only_the_stages_that_are_typed(values: dict[str, Any], given: dict[str, str]) -> None:
    """`--do_predict` on a trained run should predict, not train again because its JSON file says `do_train: true`."""
    stages = ("do_train", "do_eval", "do_predict")
    chosen = [stage for stage in stages if is_typed(stage, given) and values[stage] is True]
    if chosen:
        for stage in stages:
            if not is_typed(stage, given):
                values[stage] = False
                given[stage] = f"{chosen[0]} on the command line"


def _validate(
    config_class: type[Config], values: dict[str, Any], given: dict[str, str], broken: set[str], problems: list[str]
) -> Config:
    """The checked settings; what is wrong with single keys does not hide what is wrong with the others.

    broken: keys that were given in a way that could not be read, so that what they say is not known.
    """
    try:
        config = config_class(**values)
    except ValidationError as error:
        details = [d for d in error.errors() if not (d["type"] == "missing" and d["loc"][0] in broken)]
        problems += [_in_plain_words(config_class, detail, values, given) for detail in details]
        broken = broken | {str(detail["loc"][0]) for detail in error.errors()}
        required = {key: field.annotation for key, field in config_class.model_fields.items() if field.is_required()}
        stand_ins = {key: "" if annotation is str else [] for key, annotation in required.items()}
        config = config_class(**(stand_ins | {key: value for key, value in values.items() if key not in broken}))
    if "config_file" in broken:
        return config
    for section in config_class.__mro__:
        if "contradictions" in vars(section):
            found = section.contradictions(config, given)
            problems += [problem for problem in found if broken.isdisjoint(re.findall(r"\w+", problem))]
    return config


def _in_plain_words(
    config_class: type[Section], detail: Any, values: Mapping[str, Any], given: Mapping[str, str]
) -> str:
    key = str(detail["loc"][0])
    place = given.get(key, "")
    place = "" if place.startswith("--") else f"{place}: " if place else ""
    name = f"--{key}" if is_typed(key, given) else key
    if detail["type"] == "extra_forbidden":
        return f"{place}unknown key {key!r}{nearest(key, config_class.model_fields)}"
    if detail["type"] == "missing":
        return f"{key} is missing: give --{key} or set it in the configuration file"
    value = values[key]
    shown = _shorten(json.dumps(value, ensure_ascii=False, default=str))
    if detail["type"] == "value_error":  # of a field's own check
        return f"{place}{name} {detail['msg'].removeprefix('Value error, ')}, not {shown}"
    field = config_class.model_fields[key]
    is_limit = "than" in detail["type"] or detail["type"] == "finite_number"
    limit = detail["msg"].removeprefix("Input should be ") if is_limit else describe(field.annotation)
    hint = ""
    if isinstance(value, str) and describe(field.annotation) in ("a number", "a whole number", "true or false"):
        hint = " (written without quotes)" if place else ""
    return f"{place}{name} must be {limit}{hint}, not {shown}"


def describe(annotation: Any) -> str:
    """A type in the words of `--help` and of error messages: `int | Literal["epoch"]` is `a whole number or epoch`."""
    if typing.get_origin(annotation) is Literal:
        return " or ".join(json.dumps(value) if value is False else str(value) for value in typing.get_args(annotation))
    if len(_kinds(annotation)) > 1:
        return " or ".join(describe(part) for part in _kinds(annotation) if part is not type(None))
    if typing.get_origin(annotation) is list:
        kinds = {int: "whole numbers", float: "numbers", str: "texts"}
        of = _kinds(*typing.get_args(annotation))
        return "a list of " + " or ".join(kinds[kind] if kind in kinds else describe(kind) for kind in of)
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[annotation]


def _shorten(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[:most] + "..."


def nearest(word: str, known: Any) -> str:
    """`; did you mean "x"?`, or nothing where no known word is near."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {match[0]!r}?" if match else ""


def _find_config_file(config_file: str, task: str | None, config_root: Path) -> Path:
    """Raises FileNotFoundError that says where it was looked for, and what there is."""
    beside_task = config_root / (task or "") / config_file
    for path in (beside_task, Path(config_file)):
        if path.is_file():
            return path
    files = sorted(path.name for path in (config_root / task).glob("*.json")) if task else []
    known = f"; there are {', '.join(files)}" if files else "" if task else "; --task says in which folder of config"
    close = nearest(config_file, files)
    raise FileNotFoundError(f"no configuration file {config_file!r}: neither {beside_task} nor a path{close}{known}")


def _read_json(path: Path, problems: list[str]) -> dict[str, tuple[Any, str]]:
    """Key -> value and place (`file:line`) of a flat JSON file. Raises UsageError where it is none."""
    try:
        text = path.read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    lines: dict[str, list[int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        for key in re.findall(r'"([^"]*)"\s*:', line):
            lines.setdefault(key, []).append(number)

    def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            problems.append(f"{path}:{lines.get(key, [1])[-1]}: {key} stands there twice")
        return dict(pairs)

    try:
        values = json.loads(text, object_pairs_hook=without_doubles)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):  # what Python itself bounds
        raise UsageError(f"{path}: a number has thousands of digits, or brackets are nested too deep") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a JSON object of settings is expected, not {type(values).__name__}")
    return {key: (value, f"{path}:{lines.get(key, [1])[0]}") for key, value in values.items()}


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """One value a flag, in columns wide enough for the names: `--seeds N ...`, `--learning_rate X`."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=40, width=116)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return action.metavar or default_metavar


def _read_flags(
    config_class: type[Section],
    argv: list[str],
    about: str,
    tasks: Mapping[str, Mapping[str, Any]],
    problems: list[str],
) -> tuple[dict[str, Any], set[str]]:
    """Flag -> value, and the flags that have none that could be read.

    Values that do not fit stay text, so that the check of types reports them with all the others.
    """
    parser = argparse.ArgumentParser(
        description=about,
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
        usage=f"%(prog)s {'' if _own_task(config_class) else '--task TASK '}--config_file FILE [--KEY VALUE ...]",
    )
    parser._optionals.title = "This command"
    parser._negative_number_matcher = NEGATIVE_NUMBER
    parser.add_argument(
        "--config_file",
        nargs="*",
        action="append",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="JSON file of settings, by its name in config/<task>/ or by its path",
    )
    listed: set[str] = set()
    of_own_task = tasks.get(_own_task(config_class), {})
    for section in _sections(config_class):
        group = parser.add_argument_group(section.__doc__.split("\n")[0])
        for key in [key for key in _fields_of(section) if key not in listed]:
            listed.add(key)
            field = config_class.model_fields[key]  # a script may say more of a setting than the section that has it
            group.add_argument(
                f"--{key}",
                nargs="*",
                action="append",
                default=argparse.SUPPRESS,
                metavar=_metavar(field.annotation),
                help=_help_of(field, of_own_task.get(key, field.get_default()), list(tasks) if key == "task" else []),
            )
    known, unknown = parser.parse_known_args(argv)
    flags = [*config_class.model_fields, "config_file"]
    strange = [word.split("=")[0] for word in unknown if word.startswith("-") and not re.fullmatch(r"-\d.*|-", word)]
    problems += [f"unknown flag {word}{nearest(word, [f'--{flag}' for flag in flags])}" for word in strange]
    if unknown and not strange:
        problems += [f"unexpected word {word!r}: settings are given as --key value" for word in unknown]
    values: dict[str, Any] = {}
    for key, groups in vars(known).items():
        annotation = str if key == "config_file" else config_class.model_fields[key].annotation
        if len(groups) > 1:
            problems.append(f"--{key} is given {len(groups)} times")
        else:
            values |= _value_of_words(key, groups[0], annotation, problems)
    return values, set(vars(known)) - set(values)


def _value_of_words(key: str, words: list[str], annotation: Any, problems: list[str]) -> dict[str, Any]:
    kinds = _kinds(annotation)
    lists = [kind for kind in kinds if typing.get_origin(kind) is list]
    if bool in kinds or annotation == Literal[False]:
        words = words or ["true"]
    if not words:
        problems.append(f"--{key} needs a value: {describe(annotation)}")
        return {}
    if lists and (len(words) > 1 or str not in kinds):
        return {key: [_convert(word, _kinds(*typing.get_args(lists[0]))) for word in words]}
    if len(words) > 1:
        problems.append(f"--{key} takes one value, not {len(words)}: {' '.join(words)}")
        return {}
    return {key: _convert(words[0], kinds)}


def _convert(word: str, kinds: tuple) -> Any:
    if bool in kinds or Literal[False] in kinds:
        return {"true": True, "false": False}.get(word.lower(), word)
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(word)
            except ValueError:
                pass
    return word


def _sections(config_class: type[Section]) -> list[type[Section]]:
    """The classes that declare fields, in the order they were listed, the script's own last."""
    sections = [c for c in config_class.__mro__ if issubclass(c, Section) and _fields_of(c)]
    shared = [c for c in sections if c.__bases__ == (Section,)]
    return shared + [c for c in reversed(sections) if c not in shared]


def _fields_of(section: type[Section]) -> list[str]:
    """The settings that this very class declares."""
    return [key for key in inspect.get_annotations(section) if key in section.model_fields]


def _metavar(annotation: Any) -> str:
    kinds = [kind for kind in _kinds(annotation) if kind is not type(None)]
    lists = [kind for kind in kinds if typing.get_origin(kind) is list]
    if lists:
        return "|".join(_metavar(kind) for kind in _kinds(*typing.get_args(lists[0]))) + " ..."
    if typing.get_origin(kinds[0]) is Literal:
        return "|".join(json.dumps(value) if value is False else value for value in typing.get_args(kinds[0]))
    return {int: "N", float: "X", bool: "true|false"}.get(kinds[0], "TEXT")


def _kinds(annotation: Any) -> tuple:
    """The types that a setting may have: those of a union, else the one."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _help_of(field: Any, default: Any, choices: list[str]) -> str:
    text = field.description
    if choices:
        text += ": " + ", ".join(choices)
    if default is not None and not field.is_required():
        shown = str(default).lower() if isinstance(default, bool) else default
        text += f" (default {shown})" if shown != "" else ""
    return text.replace("%", "%%")
