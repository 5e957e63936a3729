"""KLUE-NER: the task, whose files have a label for each character (`B-PS I-PS O`), and its readers and writer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from processors.klue import HUB, HUB_SPLITS, LICENCE, SOURCE, settings_of
from processors.metrics import CHARACTER_METRICS
from processors.sentence_files import UNLABELLED, WRITERS, Sentences, finished, unknown_label, words_of
from processors.task import BadRows, DataError, HubData, Task, number_of, read_text

TYPES = ("PS", "LC", "OG", "DT", "TI", "QT")


def labels_characters(task: Task) -> bool:
    """Whether the labels of a task are those of characters, and not of words."""
    return task.read is read_klue_ner


def read_klue_ner(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Sentences:
    """Sentences of a file with one character and its label on each line, `character<TAB>label`.

    A blank line ends a sentence, and lines that begin with `##` are comments. A space is a character too; its label
    does not count. The sentences' `words` are what stands between spaces; their `labels` are those of all characters of
    all words, one after the other. Raises DataError naming file and line; skipping such a row skips its sentence.
    """
    bad = BadRows(path, skip_bad_rows)
    words: list[list[str]] = []
    labels: list[list[int]] = []
    characters: list[str] = []
    ids: list[int] = []
    is_whole = True  # no line of the sentence was malformed
    known = {label: id for id, label in enumerate(task.labels)}
    for number, line in enumerate([*read_text(path, encoding).split("\n"), ""], 1):
        line = line.rstrip("\r")
        character, tab, label = line.partition("\t")
        if line.startswith("##"):
            continue
        if not line.strip("\t"):
            if ids and is_whole:
                words.append(words_of("".join(characters)))
                labels.append(ids)
            characters, ids, is_whole = [], [], True
        elif not tab or len(character) != 1 or label not in known:
            bad.add(number, _wrong_with(line, character, label, task))
            is_whole = False
        else:
            characters.append(character)
            ids += [known[label]] if character != " " else []
    return finished(path, words, labels, bad, Counter())


def _wrong_with(line: str, character: str, label: str, task: Task) -> str:
    columns = line.split("\t")
    if len(columns) != 2:
        return f"{number_of(len(columns), 'column')} instead of 2 (a character, its label; a tab between them)"
    if len(character) != 1:
        return f"{character[:20]!r} is not one character: each has a line of its own"
    return unknown_label(task, [label])


def character_lines(words: list[list[str]], labels: list[list[str]]) -> str:
    """Sentences in the format that `read_klue_ner` reads. labels: of the characters of each sentence but spaces."""
    lines = []
    for sentence, its in zip(words, labels, strict=True):
        remaining = iter(its)
        parts = ("".join(f"{character}\t{next(remaining)}\n" for character in word) for word in sentence)
        lines.append(" \tO\n".join(parts) + "\n")
    return "".join(lines)


def _unlabelled_characters(task: Task, text: str, place: str) -> list[list[str]] | None:
    """The words of a file with a character on each line, whose labels may be missing; None where lines are sentences.

    It is recognised by a single character before the first tab of each line, and by tabs or blank lines.
    """
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    rows = [line.split("\t") for line in lines if not line.startswith("##") and line.strip("\t")]
    has_marks = any(len(row) > 1 for row in rows) or any(not line for line in lines)
    if not rows or not has_marks or any(len(row[0]) != 1 for row in rows):
        return None
    sentences: list[str] = [""]
    for number, line in enumerate(lines, 1):
        columns = line.split("\t")
        if line.startswith("##"):
            continue
        if len(columns) > 2:
            wanted = "at most 2 (a character, its label; a tab between them)"
            raise DataError(f"{place}:{number}: {number_of(len(columns), 'column')} instead of {wanted}")
        if line.strip("\t"):
            sentences[-1] += columns[0]
        else:
            sentences.append("")
    words = map(words_of, sentences)
    return [sentence for sentence in words if sentence]


# Sentences to be labelled may be in this form too, and predictions are written in it.
UNLABELLED[read_klue_ner] = _unlabelled_characters
WRITERS[read_klue_ner] = character_lines

KLUE_NER_TASKS = (
    Task(
        name="klue-ner",
        folder="klue/klue-ner-v1.1",
        train_file="klue-ner-v1.1_train.tsv",
        dev_file=None,
        test_file="klue-ner-v1.1_dev.tsv",
        read=read_klue_ner,
        labels=(*(f"{part}-{name}" for name in TYPES for part in "BI"), "O"),
        metrics=CHARACTER_METRICS,
        main_metric="character_macro_f1",
        source=SOURCE,
        licence=LICENCE,
        fetch="bash scripts/download_data.sh klue-ner",
        hub=HubData(HUB, "ner", splits=HUB_SPLITS),
        defaults=settings_of(21_008)
        | {"num_train_epochs": 3, "warmup_proportion": 0.0, "max_seq_len": 510, "early_stopping_patience": 5},
    ),
)
