"""From a command to its settings: defaults < task < JSON file < command line.

Flags, JSON keys, `--help` and checks all come from the fields of the configuration classes (`training/config.py`).
Everything that is wrong with a command is reported at once, each problem with its place and what would be right.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from storage.names import on_disk
from storage.spelling import did_you_mean, nearest_of
from training.config import Given, LoopConfig, Place, Section, UsageError
from training.flags import FILE_FLAGS, describe, own_task_of, parser_of, value_of_words
from training.original_flags import answer_to_config_file, answer_to_flag, answer_to_task, flags_meant

Config = typing.TypeVar("Config", bound=LoopConfig)


@dataclass
class RawSettings:
    """Settings as they were read, before their types are checked.

    values, places: by key. broken: keys whose value cannot be known, such as those of a flag that was given twice.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def set(self, key: str, value: Any, place: Place) -> None:
        """Sets a key, and says which place set it."""
        self.values[key], self.places[key] = value, place

    def take(self, key: str) -> tuple[Any, Place | None]:
        """Removes a key; returns its value and its place."""
        return self.values.pop(key, None), self.places.pop(key, None)

    def overridden_by(self, other: RawSettings) -> RawSettings:
        """Both together; where both set a key, the other's value counts."""
        broken = (self.broken - other.values.keys()) | other.broken
        return RawSettings(self.values | other.values, self.places | other.places, broken)


def resolve(
    config_class: type[Config],
    argv: list[str],
    tasks: Mapping[str, Mapping[str, Any]],
    config_root: Path,
    about: str,
    script_of_task: Mapping[str, str] = types.MappingProxyType({}),
    script: str = "",
) -> tuple[Config, Given]:
    """The settings of a run, and for each key that was set the place that set it.

    tasks: task name -> settings of the task. config_root: folder that holds `<task>/<config_file>`, unless --config_dir
    names another. about: the text at the top of `--help`. script_of_task: task name -> script, for the tasks of all
    scripts. script: name of the script that runs.

    Raises UsageError with everything that is wrong, one problem per line.
    """
    problems: list[str] = []
    typed = _read_flags(config_class, argv, about, tasks, script, problems)
    config_file, _ = typed.take("config_file")
    config_dir, _ = typed.take("config_dir")
    if config_dir is not None and config_file is None and "config_file" not in typed.broken:
        problems.append("--config_dir has no effect without --config_file, the name of a file in it")
    task = typed.values.get("task", own_task_of(config_class))
    in_file = RawSettings()
    if config_file is not None and "config_file" not in typed.broken:
        folder = config_root if config_dir is None else Path(config_dir)
        in_file = _read_config_file(config_class, config_file, task, tasks, folder, problems)
        _take_out_unknown_keys(in_file, config_class, script, problems)
        if task is not None and in_file.values.get("task", task) != task:
            wanted = f"the command says --task {task}" if "task" in typed.values else f"this script's is {task}"
            problems.append(f"{in_file.places['task']}: the file is for task {in_file.values['task']!r}, {wanted}")
    settings = in_file.overridden_by(typed)
    _fill_in_settings_of_task(settings, task or in_file.values.get("task"), tasks, script_of_task, problems)
    _leave_out_other_stages(settings, config_class.STAGES)
    config = _validate(config_class, settings, problems)
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    return config.as_given(settings.places), settings.places


def _fill_in_settings_of_task(
    settings: RawSettings,
    task: Any,
    tasks: Mapping[str, Mapping[str, Any]],
    script_of_task: Mapping[str, str],
    problems: list[str],
) -> None:
    """Adds what the task sets and neither the file nor the command line does. Reports an unknown task.

    task: None where it is missing; a JSON file may hold any other value, which the check of types reports.
    """
    is_text = isinstance(task, str)
    if is_text and task in tasks:
        for key, value in tasks[task].items():
            if key not in settings.values:
                settings.set(key, value, Place("task", task))
        return
    settings.broken |= {key for of_task in tasks.values() for key in of_task} - settings.values.keys()
    if not is_text:
        return
    settings.broken.add("task")
    place = settings.places["task"]
    prefix = f"{place}: " if place.kind == "file" else ""
    known = ", ".join(tasks)
    if task in script_of_task:
        problems.append(f"{prefix}{task} is a task of {script_of_task[task]}; those of this script: {known}")
    else:
        answer = answer_to_task(task, tasks, script_of_task)
        hint = f": {answer}" if answer else did_you_mean(task, tasks)
        problems.append(f"{prefix}unknown task {task!r}{hint}; known: {known}")


def _leave_out_other_stages(settings: RawSettings, stages: Sequence[str]) -> None:
    """`--do_predict` on a trained run should predict, not train again because its JSON file says `do_train: true`."""
    typed = [stage for stage in stages if stage in settings.places and settings.places[stage].kind == "flag"]
    chosen = [stage for stage in typed if settings.values[stage] is True]
    if chosen:
        for stage in stages:
            if stage not in typed:
                settings.set(stage, False, Place("other stage", chosen[0]))


def _resolve_aliases(settings: RawSettings, config_class: type[Section]) -> None:
    """Renames every alias to the key that it stands for.

    Where both are set, the one that is not at its default counts: a stored configuration of an earlier run holds both.
    """
    for alias, key in config_class.ALIASES.items():
        if alias in settings.broken:
            settings.broken.add(key)
        if alias in settings.values:
            default = config_class.model_fields[key].get_default()
            value, place = settings.take(alias)
            if settings.values.get(key, default) == default:
                settings.set(key, value, place)


def _validate(config_class: type[Config], settings: RawSettings, problems: list[str]) -> Config:
    """The checked settings; a problem with one key does not hide the problems with others."""
    values, broken = settings.values, settings.broken
    try:
        config = config_class(**values)
    except ValidationError as error:
        details = [d for d in error.errors() if not (d["type"] == "missing" and d["loc"][0] in broken)]
        problems += [_in_plain_words(config_class, detail, settings) for detail in details]
        broken = broken | {str(detail["loc"][0]) for detail in error.errors()}
        # Stand-ins replace what is missing, so that contradictions between the other settings are found as well.
        required = {key: info.annotation for key, info in config_class.model_fields.items() if info.is_required()}
        stand_ins = {key: "" if annotation is str else [] for key, annotation in required.items()}
        config = config_class(**(stand_ins | {key: value for key, value in values.items() if key not in broken}))
    if "config_file" in broken:  # what the file says is not known, so nothing can contradict it
        return config
    for section in config_class.__mro__:
        if "contradictions" in vars(section):
            found = section.contradictions(config, settings.places)
            problems += [contradiction.message for contradiction in found if broken.isdisjoint(contradiction.keys)]
    return config


def _in_plain_words(config_class: type[Section], detail: Any, settings: RawSettings) -> str:
    """The message for one error of pydantic: place, key, what would be right, and what is there instead."""
    key = str(detail["loc"][0])
    if detail["type"] == "missing":
        return f"{key} is missing: give --{key} or set it in the configuration file"
    place = settings.places[key]
    prefix = "" if place.kind == "flag" else f"{place}: "
    name = {"flag": f"--{place.name}", "file": place.name}.get(place.kind, key)
    value = settings.values[key]
    shown = _shorten(json.dumps(value, ensure_ascii=False, default=str))
    if detail["type"] == "value_error":  # raised by the field's own check
        return f"{prefix}{name} {detail['msg'].removeprefix('Value error, ')}, not {shown}"
    wanted = describe(config_class.model_fields[key].annotation)
    is_limit = "than" in detail["type"] or detail["type"] == "finite_number"
    limit = detail["msg"].removeprefix("Input should be ") if is_limit else wanted
    hint = ""
    if isinstance(value, str) and place.kind == "file" and wanted in ("a number", "a whole number", "true or false"):
        hint = " (written without quotes)"
    return f"{prefix}{name} must be {limit}{hint}, not {shown}"


def _shorten(text: str, most: int = 80) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _read_config_file(
    config_class: type[Section],
    config_file: str,
    task: str | None,
    tasks: Mapping[str, Any],
    config_root: Path,
    problems: list[str],
) -> RawSettings:
    """The settings of the JSON file that `--config_file` names. Reports a file that is missing or cannot be read."""
    try:
        settings = _read_json(_find_config_file(config_file, task, config_root), problems)
    except FileNotFoundError as error:
        if task is None or task in tasks:  # a mistyped task has no folder
            problems.append(str(error))
        return RawSettings(broken={"config_file", "task"})
    except UsageError as error:
        problems.append(str(error))
        return RawSettings(broken={"config_file", "task"})
    _resolve_aliases(settings, config_class)
    return settings


def _find_config_file(config_file: str, task: str | None, config_root: Path) -> Path:
    """Raises FileNotFoundError that says where the file was looked for, and which files there are."""
    beside_task = config_root / (task or "") / config_file
    for path in (on_disk(beside_task), on_disk(Path(config_file))):
        if path.is_file():
            return path
    files = sorted(path.name for path in (config_root / task).glob("*.json")) if task else []
    known = f"; there are {', '.join(files)}" if files else "" if task else "; --task says in which folder of config"
    if not config_root.is_dir():
        known = f"; there is no folder {config_root}"
    answer = answer_to_config_file(config_file, task)
    close = f"; {answer}" if answer else did_you_mean(config_file, files)
    raise FileNotFoundError(f"no configuration file {config_file!r}: neither {beside_task} nor a path{close}{known}")


def _read_json(path: Path, problems: list[str]) -> RawSettings:
    """The settings of a flat JSON file, each with its line. Reports keys that the file sets twice.

    Raises UsageError where the file cannot be read or holds anything else.
    """
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
    doubled: set[str] = set()

    def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(key for key, _ in pairs)
        doubled.update(key for key, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        values = json.loads(text, object_pairs_hook=without_doubles)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError):  # what Python itself bounds
        raise UsageError(f"{path}: a number has thousands of digits, or brackets are nested too deep") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a JSON object of settings is expected, not {type(values).__name__}")
    problems += [f"{path}:{lines.get(key, [1])[-1]}: {key} stands there twice" for key in sorted(doubled)]
    places = {key: Place("file", key, path, lines.get(key, [1])[0]) for key in values}
    return RawSettings(values, places, doubled)


def _read_flags(
    config_class: type[Section],
    argv: list[str],
    about: str,
    tasks: Mapping[str, Mapping[str, Any]],
    script: str,
    problems: list[str],
) -> RawSettings:
    """The settings on the command line. Reports unknown flags, and flags without a value that can be read.

    A value of the wrong type stays text: the check of types reports it together with all others.
    """
    known, unknown = parser_of(config_class, about, tasks).parse_known_args(argv)
    names = [*_names(config_class), *FILE_FLAGS]
    strange = [word.split("=")[0] for word in unknown if word.startswith("-") and not re.fullmatch(r"-\d.*|-", word)]
    problems += [f"unknown flag {word}{_hint_about(word, names, script)}" for word in strange]
    if unknown and not strange:
        problems += [f"unexpected word {word!r}: settings are given as --key value" for word in unknown]
    settings = RawSettings(broken={key for word in strange for key in _keys_meant(word, names, script)})
    for name, groups in vars(known).items():
        key = config_class.ALIASES.get(name, name)
        annotation = str if key in FILE_FLAGS else config_class.model_fields[key].annotation
        try:
            settings.set(name, value_of_words(name, groups, annotation), Place("flag", name))
        except UsageError as error:
            problems.append(str(error))
            settings.broken |= {"config_file", "task"} if name in FILE_FLAGS else {name}
    _resolve_aliases(settings, config_class)
    return settings


def _take_out_unknown_keys(
    settings: RawSettings, config_class: type[Section], script: str, problems: list[str]
) -> None:
    """Removes what a JSON file sets and the script does not know, and reports it."""
    names = _names(config_class)
    for key in settings.values.keys() - set(names):
        _, place = settings.take(key)
        problems.append(f"{place}: unknown key {key!r}{_hint_about(key, names, script)}")


def _hint_about(word: str, names: Sequence[str], script: str) -> str:
    """The end of a message about an unknown flag (`--x`) or key (`x`): its name here if an original had it, or the
    nearest name. names: of all settings of the script.
    """
    name = word.lstrip("-")
    dashes = word.removesuffix(name)
    answer, is_for_this_script = answer_to_flag(name, script, names, dashes)
    if is_for_this_script:
        return f": {answer}"
    return did_you_mean(word, [f"{dashes}{name}" for name in names]) + (f"; {answer}" if answer else "")


def _keys_meant(word: str, names: Sequence[str], script: str) -> set[str]:
    """The keys that an unknown flag may have been meant to set. Nothing is said about them, as it would be no news."""
    name = word.lstrip("-")
    found = set(flags_meant(name, script, names)) or {nearest_of(word, [f"--{name}" for name in names])}
    keys = {str(flag).lstrip("-") for flag in found if flag}
    return keys | {"config_file", "task"} if keys & {"task", *FILE_FLAGS} else keys


def _names(config_class: type[Section]) -> list[str]:
    """Every name that a JSON file may use for a setting."""
    return [*config_class.model_fields, *config_class.ALIASES]
