"""Files of sentences whose words have labels: a sentence a line, a word a line (CoNLL), JSON lines.

Also sentences that are to be labelled, and the forms that predictions are written in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processors.delimited import COMMENTS, Record, check_header, number_of_column, split_columns
from processors.task import (
    BadRows,
    DataError,
    Task,
    message_of_unknown_label,
    number_of,
    place_of,
    read_text,
    without_lone_surrogates,
)
from processors.text_readers import BEGINS_AS_JSON, json_objects

CONLL_COMMENTS = ("# ", "## ")


@dataclass
class Sentences:
    """The sentences of one or more files.

    words: the words of each sentence. labels: their label ids; None for sentences without labels. counts: things the
    reader noticed, described in words, and how often each occurred.
    """

    words: list[list[str]]
    labels: list[list[int]] | None
    counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.words)

    def __add__(self, other: Sentences) -> Sentences:
        return Sentences(self.words + other.words, self.labels + other.labels, self.counts + other.counts)

    def take(self, indices: Iterable[int]) -> Sentences:
        """The sentences at `indices`, in that order."""
        indices = list(indices)
        labels = None if self.labels is None else [self.labels[i] for i in indices]
        return Sentences([self.words[i] for i in indices], labels, Counter(self.counts))


def read_sentence_lines(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Sentences:
    """Reads one sentence from each line: `words<TAB>labels`, both separated by spaces, the format of naver-ner.

    Only plain spaces separate words: a word may contain a no-break or an ideographic space.
    Raises DataError naming file and line of malformed rows.
    """
    bad = BadRows(path, skip_bad_rows)
    words: list[list[str]] = []
    labels: list[list[int]] = []
    lines = read_text(path, encoding).rstrip("\r\n").split("\n")
    for number, line in enumerate(lines, 1):
        fields = line.rstrip("\r").split("\t")
        sides = [words_of(field) for field in fields]
        if not any(sides):
            bad.add(number, "the sentence is empty: the line is blank")
        elif len(fields) != 2:
            bad.add(number, f"{number_of(len(fields), 'column')} instead of 2 (words, labels; a tab between them)")
        elif len(sides[0]) != len(sides[1]):
            bad.add(number, f"{number_of(len(sides[0]), 'word')}, but {number_of(len(sides[1]), 'label')}")
        elif wrong := unknown_label(task, sides[1]):
            bad.add(number, wrong)
        else:
            words.append(sides[0])
            labels.append([task.labels.index(label) for label in sides[1]])
    return finished(path, words, labels, bad, Counter())


@dataclass(frozen=True)
class WordColumns:
    """Where word and label are in the lines of a file with a word on each line.

    width: how many columns a line has; None: any number that has both. names: what messages call the columns.
    """

    word: int
    label: int
    width: int | None
    names: tuple[str, ...]
    separator: str

    @classmethod
    def of(cls, task: Task) -> WordColumns:
        """As the task says; without a word about it, `word<TAB>label`."""
        separator = task.separator or "\t"
        if not task.text_columns:
            return cls(0, 1, 2, ("word", "label"), separator)
        places = (number_of_column(task, task.text_columns[0]), number_of_column(task, task.label_column))
        return cls(*places, len(task.columns) or None, task.columns, separator)

    def wrong(self, fields: list[str]) -> str:
        """Why a line is malformed; an empty text where it is not."""
        least = max(self.word, self.label) + 1
        if len(fields) == self.width or (self.width is None and len(fields) >= least):
            return "" if fields[self.word] else "the word is empty"
        between = "a tab" if self.separator == "\t" else "spaces" if self.separator == " " else repr(self.separator)
        names = f"{', '.join(self.names)}; " if self.names else ""
        wanted = str(self.width) if self.width else f"at least {least}"
        return f"{number_of(len(fields), 'column')} instead of {wanted} ({names}{between} between them)"


def _blocks(task: Task, text: str, counts: Counter[str]) -> list[list[Record]]:
    """The lines of each sentence, as columns; sentences are separated by blank lines. The header is left out.

    Lines before a sentence's first word that begin with a comment mark are left out.
    """
    separator = task.separator or "\t"
    comments = _comments_of(task)
    is_header = bool(task.header)
    blocks: list[list[Record]] = [[]]
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if not line.strip():
            if blocks[-1]:
                blocks.append([])
        elif not blocks[-1] and comments and line.startswith(comments):
            counts[COMMENTS] += 1
        else:
            record = Record(number, split_columns(line, separator))
            if not (is_header and _is_header(task, record.values)):
                blocks[-1].append(record)
            is_header = False
    return blocks if blocks[-1] else blocks[:-1]


def _is_header(task: Task, fields: list[str]) -> bool:
    """Whether a first line is the header that the task's files have; those to be labelled may come without it."""
    return not task.columns or task.columns[WordColumns.of(task).word] in fields


def read_token_lines(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Sentences:
    """Reads one word from each line, with a blank line after each sentence, as in CoNLL.

    A line is `word<TAB>label`, or has the task's columns. Lines that begin with `# ` or `## `, or with one of
    `task.comments`, are left out where they stand before a sentence's first word.
    Raises DataError naming file and line of malformed rows; skipping such a row skips its whole sentence.
    """
    bad = BadRows(path, skip_bad_rows)
    counts: Counter[str] = Counter()
    words: list[list[str]] = []
    labels: list[list[int]] = []
    text = read_text(path, encoding)
    if task.header and task.columns:
        _check_first_line(task, text, str(path))
    columns = WordColumns.of(task)
    ids = {label: id for id, label in enumerate(task.labels)}
    for block in _blocks(task, text, counts):
        before = len(bad.messages)
        for record in block:
            if wrong := columns.wrong(record.values) or unknown_label(task, [record.values[columns.label].strip()]):
                bad.add(record.line, wrong)
        if len(bad.messages) == before:
            words.append([record.values[columns.word] for record in block])
            labels.append([ids[record.values[columns.label].strip()] for record in block])
    return finished(path, words, labels, bad, counts)


def _comments_of(task: Task) -> tuple[str, ...]:
    """What lines begin with that are comments."""
    return CONLL_COMMENTS if task.comments is None else task.comments


def _check_first_line(task: Task, text: str, place: str) -> None:
    """Raises DataError where the first line that is no comment is not the task's header."""
    comments = _comments_of(task)
    lines = enumerate(text.split("\n"), 1)
    number, line = next(((n, li) for n, li in lines if li.strip() and not li.startswith(comments or "\n")), (1, ""))
    separator = task.separator or "\t"
    check_header(place, Record(number, split_columns(line.rstrip("\r"), separator)), task.columns, separator)


def read_json_sentences(task: Task, path: Path, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Sentences:
    """Reads one sentence from each line, a JSON object: a list of words, and a list with the label of each.

    The key of the words is the task's only text column, that of the labels its label column. A label that is a number
    is the text of that number. Raises DataError naming file and line of malformed rows.
    """
    bad = BadRows(path, skip_bad_rows)
    counts: Counter[str] = Counter()
    words: list[list[str]] = []
    labels: list[list[int]] = []
    keys = [task.text_columns[0], task.label_column]
    for line, row in json_objects(read_text(path, encoding), str(path), keys, bad):
        sentence, names = row[keys[0]], row[keys[1]]
        if wrong := wrong_words(keys[0], sentence) or wrong_labels(task, keys[1], names, len(sentence)):
            bad.add(line, wrong)
        else:
            words.append([without_lone_surrogates(word, counts) for word in sentence])
            labels.append([task.labels.index(str(name)) for name in names])
    return finished(path, words, labels, bad, counts)


def wrong_words(key: str, words: Any) -> str:
    """The message about what stands under `key` if it is no list of words; "" if it is one."""
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        return f"{key} is no list of words"
    return ""


def wrong_labels(task: Task, key: str, labels: Any, words: int) -> str:
    """The message about what stands under `key` if it is no list of labels of so many words; "" if it is one."""
    if not isinstance(labels, list):
        return f"{key} is no list of labels"
    if len(labels) != words:
        return f"{number_of(words, 'word')}, but {number_of(len(labels), 'label')}"
    return unknown_label(task, list(map(str, labels)))


def unknown_label(task: Task, labels: list[str]) -> str:
    """The message about the first label that is none of the task's; "" where all are."""
    unknown = next((label for label in labels if label not in task.labels), None)
    return "" if unknown is None else message_of_unknown_label(task, unknown)


def finished(
    path: Path | str, words: list[list[str]], labels: list[list[int]], bad: BadRows, counts: Counter[str]
) -> Sentences:
    """The sentences of a file. Raises DataError where there are none, or malformed ones that must not be skipped."""
    bad.finish(counts)
    if not words:
        why = "; ".join(f"{what}: {count}" for what, count in counts.items())
        raise DataError(f"{path}: no sentence is left ({why})" if why else f"{path}: there are no sentences in it")
    return Sentences(words, labels, counts)


# --------------------------------------------------------------------------------------------------------------------
# Sentences to be labelled
# --------------------------------------------------------------------------------------------------------------------


def read_unlabelled(task: Task, path: Path | None, encoding: str = "utf-8") -> Sentences:
    """Sentences that are to be labelled, in the task's own form, with labels or without, or one on each line.

    A file in the task's own form is recognised (`UNLABELLED`); labels in it are not looked at. In sentences on lines,
    words are separated by plain spaces, as in training; blank lines are kept.
    path: the file, or None for standard input. Raises DataError naming malformed lines, such as one with a tab.
    """
    place, text = place_of(path), read_text(path, encoding)
    own_form = UNLABELLED.get(task.read)
    words = own_form(task, text, place) if own_form else None
    if words is not None:
        said = f"read in the form of {task.name}'s files, their labels left out"
        return Sentences(words, None, Counter({said: len(words)}))
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            raise DataError(f"{place}:{number}: {task.name} expects one sentence without tabs on each line")
    words = [words_of(line.rstrip("\r")) for line in lines]
    empty = sum(not sentence for sentence in words)
    return Sentences(words, None, Counter({"blank lines": empty} if empty else {}))


def words_of(text: str) -> list[str]:
    """Only plain spaces separate words: a word may contain a no-break or an ideographic space."""
    return [word for word in text.split(" ") if word]


def _unlabelled_sentence_lines(task: Task, text: str, place: str) -> list[list[str]] | None:
    """The words of `words<TAB>labels` lines, whose labels may be missing; None where the first line has no tab."""
    lines = text.rstrip("\r\n").split("\n")
    if "\t" not in lines[0]:
        return None
    words = []
    for number, line in enumerate(lines, 1):
        fields = line.rstrip("\r").split("\t")
        if len(fields) > 2:
            wanted = "at most 2 (words, labels; a tab between them)"
            raise DataError(f"{place}:{number}: {number_of(len(fields), 'column')} instead of {wanted}")
        words.append(words_of(fields[0]))
    return words


def _unlabelled_token_lines(task: Task, text: str, place: str) -> list[list[str]] | None:
    """The words of a file with a word on each line; None where its lines are sentences.

    It is recognised by a label of the task on each line, by tabs (or what else separates columns), or, where there are
    neither, by blank lines between lines of a single word. Spaces separate the words of sentences too: then all lines
    must have the task's columns, perhaps without the label's, and blank lines must stand between groups of them.
    """
    columns = WordColumns.of(task)
    blocks = _blocks(task, text, Counter())
    records = [record for block in blocks for record in block]
    if not records:
        return None
    word = columns.word
    if all(not columns.wrong(r.values) and r.values[columns.label].strip() in task.labels for r in records):
        return [[record.values[word] for record in block] for block in blocks]
    has_blank_lines = len(blocks) > 1 or text.replace("\r", "").endswith("\n\n")
    if len(records[0].values) == 1:
        is_word = all(len(r.values) == 1 and " " not in r.values[0].strip(" ") for r in records)
        return [[record.values[0] for record in block] for block in blocks] if is_word and has_blank_lines else None
    full = columns.width or max(columns.word, columns.label) + 1
    if columns.separator == " ":
        widths = {len(r.values) for r in records}
        are_groups = has_blank_lines and any(len(block) > 1 for block in blocks)
        if not are_groups or widths not in ({full}, {full - 1}):
            return None
    if len(records[0].values) == full - 1:
        word -= columns.label < word
        columns = WordColumns(word, word, full - 1, (), columns.separator)
    bad = BadRows(Path(place), skip=False, flag="")
    for record in records:
        if wrong := columns.wrong(record.values):
            bad.add(record.line, wrong)
    bad.finish(Counter())
    return [[record.values[word] for record in block] for block in blocks]


def _unlabelled_json_sentences(task: Task, text: str, place: str) -> list[list[str]] | None:
    """The words of JSON lines; None where the text does not begin as JSON."""
    if not BEGINS_AS_JSON.match(text):
        return None
    bad = BadRows(Path(place), skip=False, flag="")
    words = []
    key = task.text_columns[0]
    for line, row in json_objects(text, place, [key], bad):
        if wrong := wrong_words(key, row[key]):
            bad.add(line, wrong)
        else:
            words.append([without_lone_surrogates(word, Counter()) for word in row[key]])
    bad.finish(Counter())
    return words


# For each reader, what reads its form without labels: (task, text, place) -> words, or None for a different form.
UNLABELLED: dict[Callable[..., Sentences], Callable[[Task, str, str], list[list[str]] | None]] = {
    read_sentence_lines: _unlabelled_sentence_lines,
    read_token_lines: _unlabelled_token_lines,
    read_json_sentences: _unlabelled_json_sentences,
}


# --------------------------------------------------------------------------------------------------------------------
# Predictions
# --------------------------------------------------------------------------------------------------------------------


def sentence_lines(words: list[list[str]], labels: list[list[str]]) -> str:
    """Sentences in the format that `read_sentence_lines` reads."""
    return "".join(f"{' '.join(w)}\t{' '.join(la)}\n" for w, la in zip(words, labels, strict=True))


def token_lines(words: list[list[str]], labels: list[list[str]]) -> str:
    """Sentences in the format that `read_token_lines` reads.

    Tabs and line ends, which only words from JSON hold, are written as `\\t` and `\\n`.
    """
    sentences = (
        "".join(f"{_in_one_field(word)}\t{label}\n" for word, label in zip(*pair, strict=True))
        for pair in zip(words, labels, strict=True)
    )
    return "".join(f"{sentence}\n" for sentence in sentences)


def _in_one_field(word: str) -> str:
    return word.replace("\t", "\\t").replace("\n", "\\n")


# Predictions are written in the form of the task's files, so that diff can compare the two. Those of other readers are
# written one word a line, and so are those of CoNLL files with further columns, which are not kept.
WRITERS = {read_sentence_lines: sentence_lines, read_token_lines: token_lines}
