"""Rows of data sets (`processors/data_sources.py`) as those of the official files: texts, and sentences of words.

The same rows are kept, dropped, counted and refused as by the task's own reader.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from processors.data_sources import SourceTable
from processors.klue import collect_rows, marked_text_of, read_klue, read_klue_relations
from processors.klue_ner import read_klue_ner
from processors.ner import read_json_sentences, read_sentence_lines, read_token_lines
from processors.sentence_files import Sentences, finished, words_of, wrong_labels, wrong_words
from processors.seq_cls import read_fake_news, read_modu_sentiment, text_of_document, wrong_in_document
from processors.task import BadRows, DataError, Rows, Task
from processors.text_readers import RowCollector, read_csv, read_json_lines, read_tsv

NO_ROWS = "there are no rows in it"
# What the columns of words and of their labels are called where the task has no names for them.
WORDS, WORD_LABELS = ("tokens", "words"), ("ner_tags", "tags", "labels")


def text_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Rows:
    """Texts or pairs of texts, each with a label or a score. Raises DataError naming malformed rows."""
    *text_columns, label_column = [_name_of(task, table, c) for c in (*task.text_columns, task.label_column)]
    if task.read is read_fake_news:
        label_column = table.first_of(("label", "Label"))
    found = RowCollector(task, table.place, skip_bad_rows, NO_ROWS)
    for name, row in table.records([*text_columns, label_column]):
        texts, label = [row[column] for column in text_columns], row[label_column]
        no_text = next((column for column in text_columns if not isinstance(row[column], str)), None)
        if no_text is not None:
            found.bad.add_at(f"{name}, column {no_text}", f"a text is expected, not {row[no_text]!r}"[:100])
        elif label is None:
            found.bad.add_at(f"{name}, column {label_column}", "there is no label")
        else:
            found.add(texts, _as_written(table, label), place=f"{name}, column {label_column}")
    return found.rows()


def _name_of(task: Task, table: SourceTable, column: str | int) -> str:
    """The name of a column that a task may give by its number."""
    if isinstance(column, str):
        return column
    names = task.columns or list(table.features)
    if column >= len(names):
        raise DataError(f"{table.place}: there is no column {column}: it has {len(names)}, counted from 0")
    return names[column]


def _as_written(table: SourceTable, label: Any) -> str:
    """A label as it is written in the official file."""
    text = label if isinstance(label, str) else json.dumps(label, ensure_ascii=False, default=str)
    return table.entry.labels.get(text, text)


def modu_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Rows:
    """Documents of the Modu sentiment corpus; `paragraph` is as in the official file, or one text."""
    found = RowCollector(task, table.place, skip_bad_rows, NO_ROWS)
    for name, row in table.records(("paragraph", "document_score")):
        if isinstance(row["paragraph"], str):
            row["paragraph"] = [{"paragraph_form": row["paragraph"]}]
        if wrong := wrong_in_document(row, ("document_score", "paragraph")):
            found.bad.add_at(name, wrong)
        else:
            found.add([text_of_document(row, found.counts)], str(row["document_score"]), place=name)
    return found.rows()


def klue_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Rows:
    """Rows of KLUE's topics, similarities and inferences."""
    label_column = task.label_column.split(".")[0]
    columns = (*task.text_columns, label_column)
    return collect_rows(task, table.place, table.records(columns), skip_bad_rows)


def klue_relation_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Rows:
    """Rows of KLUE's relations, whose two entities are marked."""
    columns = ("sentence", "subject_entity", "object_entity", "label")
    return collect_rows(task, table.place, table.records(columns), skip_bad_rows, marked_text_of)


def word_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Sentences:
    """Sentences, each a list of words and a list of their labels. Raises DataError naming malformed rows."""
    bad = BadRows(table.place, skip_bad_rows)
    words: list[list[str]] = []
    labels: list[list[int]] = []
    for _, sentence, ids in _labelled_lists(task, table, _columns_of_words(task, table), bad):
        words.append(sentence)
        labels.append(ids)
    return finished(table.place, words, labels, bad, Counter())


def character_rows(task: Task, table: SourceTable, skip_bad_rows: bool = False) -> Sentences:
    """Sentences of KLUE-NER, each a list of characters and a list of their labels; that of a space does not count."""
    columns = _columns_of_words(task, table)
    bad = BadRows(table.place, skip_bad_rows)
    words: list[list[str]] = []
    labels: list[list[int]] = []
    for name, characters, ids in _labelled_lists(task, table, columns, bad):
        if long := next((character for character in characters if len(character) != 1), ""):
            bad.add_at(name, f"{columns[0]}: {long[:20]!r} is not one character")
            continue
        if counted := [id for character, id in zip(characters, ids, strict=True) if character != " "]:
            words.append(words_of("".join(characters)))
            labels.append(counted)
    return finished(table.place, words, labels, bad, Counter())


def _labelled_lists(
    task: Task, table: SourceTable, columns: tuple[str, str], bad: BadRows
) -> Iterator[tuple[str, list[str], list[int]]]:
    """Each row's name in messages, its list of words and the ids of their labels; other rows are noted in `bad`."""
    ids = {label: id for id, label in enumerate(task.labels)}
    word_column, label_column = columns
    for name, row in table.records(columns):
        words, labels = row[word_column], row[label_column]
        if wrong := wrong_words(word_column, words) or wrong_labels(task, label_column, labels, len(words)):
            bad.add_at(name, wrong)
        else:
            yield name, words, [ids[str(label)] for label in labels]


def _columns_of_words(task: Task, table: SourceTable) -> tuple[str, str]:
    """The task's columns of words and labels if they are there, else the usual ones."""
    own = [column for column in (*task.text_columns, task.label_column) if isinstance(column, str) and column]
    if len(own) == 2 and all(map(table.name_of, own)):
        return own[0], own[1]
    return table.first_of(WORDS), table.first_of(WORD_LABELS)


# For each reader of files, what reads the same rows from a data set: (task, table, skip_bad_rows) -> rows.
ROW_READERS: dict[Callable[..., Any], Callable[[Task, SourceTable, bool], Any]] = {
    read_tsv: text_rows,
    read_csv: text_rows,
    read_json_lines: text_rows,
    read_fake_news: text_rows,
    read_modu_sentiment: modu_rows,
    read_klue: klue_rows,
    read_klue_relations: klue_relation_rows,
    read_sentence_lines: word_rows,
    read_token_lines: word_rows,
    read_json_sentences: word_rows,
    read_klue_ner: character_rows,
}
