"""Flags and `--help`, made from the fields of a configuration class; words of the command line, made into values."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from training.config import Section, UsageError

# What argparse takes for a value and not for a flag; its own pattern does not know -1e-05.
NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\Z")

# The flags that say where the JSON file is, and that are no settings.
FILE_FLAGS = {
    "config_file": ("FILE", "JSON file with settings: its name in <config_dir>/<task>/, or its path"),
    "config_dir": ("FOLDER", "folder that holds the tasks' folders (default: config, beside this script)"),
}


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """One value a flag, in columns wide enough for the names: `--seeds N ...`, `--learning_rate X`."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=40, width=116)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        return action.metavar or default_metavar


def parser_of(
    config_class: type[Section], about: str, tasks: Mapping[str, Mapping[str, Any]]
) -> argparse.ArgumentParser:
    """A parser that collects the words after each flag, and prints `--help`."""
    own_task = own_task_of(config_class)
    parser = argparse.ArgumentParser(
        description=about,
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
        usage=f"%(prog)s {'' if own_task else '--task TASK '}[--config_file FILE] [--KEY VALUE ...]",
    )
    parser._optionals.title = "This command"
    parser._negative_number_matcher = NEGATIVE_NUMBER
    words = {"nargs": "*", "action": "append", "default": argparse.SUPPRESS}
    for name, (metavar, text) in FILE_FLAGS.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=text, **words)
    listed: set[str] = set()
    for section in _sections(config_class):
        group = parser.add_argument_group(section.__doc__.split("\n")[0])
        for key in [key for key in _fields_of(section) if key not in listed]:
            listed.add(key)
            info = config_class.model_fields[key]  # a script may say more about a setting than the section that has it
            default = None if info.is_required() else tasks.get(own_task, {}).get(key, info.default)
            choices = list(tasks) if key == "task" and own_task is None else []
            text = _help_of(info.description, default, choices)
            group.add_argument(f"--{key}", metavar=_metavar(info.annotation), help=text, **words)
        for alias, key in vars(section).get("ALIASES", {}).items():
            metavar = _metavar(config_class.model_fields[key].annotation)
            group.add_argument(f"--{alias}", metavar=metavar, help=f"another name for {key}", **words)
    return parser


def _help_of(description: str, default: Any, choices: list[str]) -> str:
    """The help of one flag. default: its value where nothing sets it; None or "": the description says what happens."""
    text = description
    if choices:
        text += ": " + ", ".join(choices)
    if default not in (None, ""):
        shown = str(default).lower() if isinstance(default, bool) else default
        text = f"{text.split('; default: ')[0]} (default {shown})"
    return text.replace("%", "%%")


def _metavar(annotation: Any) -> str:
    kinds = [kind for kind in _kinds(annotation) if kind is not type(None)]
    lists = [kind for kind in kinds if typing.get_origin(kind) is list]
    if lists:
        return "|".join(_metavar(kind) for kind in _kinds(*typing.get_args(lists[0]))) + " ..."
    if len(kinds) > 1:
        return "|".join(map(_metavar, kinds))
    if typing.get_origin(kinds[0]) is Literal:
        return "|".join(json.dumps(value) if value is False else value for value in typing.get_args(kinds[0]))
    return {int: "N", float: "X", bool: "true|false"}.get(kinds[0], "TEXT")


def value_of_words(name: str, groups: list[list[str]], annotation: Any) -> Any:
    """The value of a flag. groups: the words after it, each time that it is given.

    Raises UsageError where the flag is given twice, or has too few or too many words.
    """
    if len(groups) > 1:
        raise UsageError(f"--{name} is given {len(groups)} times")
    words = groups[0]
    kinds = _kinds(annotation)
    lists = [kind for kind in kinds if typing.get_origin(kind) is list]
    if bool in kinds or annotation == Literal[False]:
        words = words or ["true"]
    if not words:
        raise UsageError(f"--{name} needs a value: {describe(annotation)}")
    if lists and (len(words) > 1 or str not in kinds):
        return [_convert(word, _kinds(*typing.get_args(lists[0]))) for word in words]
    if len(words) > 1:
        raise UsageError(f"--{name} takes one value, not {len(words)}: {' '.join(words)}")
    return _convert(words[0], kinds)


def _convert(word: str, kinds: tuple) -> Any:
    """The word as the first of the types that it can be read as; else the word itself."""
    if bool in kinds or Literal[False] in kinds:
        return {"true": True, "false": False}.get(word.lower(), word)
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(word)
            except ValueError:
                pass
    return word


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


def _kinds(annotation: Any) -> tuple:
    """The types that a setting may have: those of a union, else the one."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _sections(config_class: type[Section]) -> list[type[Section]]:
    """The classes that declare fields, in the order they were listed, the script's own last."""
    sections = [c for c in config_class.__mro__ if issubclass(c, Section) and _fields_of(c)]
    shared = [c for c in sections if c.__bases__ == (Section,)]
    return shared + [c for c in reversed(sections) if c not in shared]


def _fields_of(section: type[Section]) -> list[str]:
    """The settings that this very class declares."""
    return [key for key in inspect.get_annotations(section) if key in section.model_fields]


def own_task_of(config_class: type[Section]) -> str | None:
    """The task of a script that has only one, so that nobody needs to type it."""
    task = config_class.model_fields["task"]
    return None if task.is_required() else task.default
