"""Which training rows are held back to choose a learning rate: none shares a text with those that are trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from processors import TASKS
from processors.task import DataError
from reporting.held_back import divided, groups_of


def halves(folder: Path, task: str, name: str, content: str) -> tuple[str, str]:
    """The rest of a task's training file, and what is held back."""
    (folder / name).write_bytes(content.encode())
    return divided(TASKS[task], folder / name)


def rows(count: int, text: str = "글 {}", end: str = "\n") -> list[str]:
    return [f"{number}\t{text.format(number)}\t{number % 2}{end}" for number in range(count)]


HEADER = "id\tdocument\tlabel\n"


def test_each_tenth_row_is_held_back_and_both_files_have_the_header(tmp_path: Path) -> None:
    lines = rows(25)
    rest, held_back = halves(tmp_path, "nsmc", "train.txt", HEADER + "".join(lines))
    assert held_back == HEADER + lines[9] + lines[19]
    assert rest == HEADER + "".join(line for at, line in enumerate(lines) if at not in (9, 19))


def test_of_a_long_file_about_two_thousand_rows_are_held_back(tmp_path: Path) -> None:
    _, held_back = halves(tmp_path, "nsmc", "train.txt", HEADER + "".join(rows(39_999)))
    assert held_back.count("\n") == 1 + 1999


def test_rows_end_at_line_feeds_alone(tmp_path: Path) -> None:
    r"""Texts hold other characters at which str.splitlines would cut, and \r before the end stays where it is."""
    for text, end in (("글\u2028{}\x85\x0b", "\n"), ("글 {}\r글", "\n"), ("글 {}", "\r\n")):
        lines = rows(10, text, end)
        rest, held_back = halves(tmp_path, "nsmc", "train.txt", HEADER + "".join(lines))
        assert (rest, held_back) == (HEADER + "".join(lines[:9]), HEADER + lines[9]), (text, end)


def test_a_file_that_does_not_end_with_a_line_feed_loses_nothing(tmp_path: Path) -> None:
    rest, held_back = halves(tmp_path, "naver-ner", "train.tsv", "\n".join(f"말 {at}\tO O" for at in range(10)))
    assert held_back == "말 9\tO O\n" and rest.count("O O\n") == 9


def test_rows_of_the_same_premise_stay_together(tmp_path: Path) -> None:
    header = "sentence1\tsentence2\tgold_label\n"
    lines = [f"전제 {at // 3}\t가설 {at}\tneutral\n" for at in range(60)]
    rest, held_back = halves(tmp_path, "kornli", "train.tsv", header + "".join(lines))
    assert held_back == header + "".join(lines[27:30] + lines[57:60])
    assert rest.count("\n") == 1 + 54


def test_questions_about_the_same_document_stay_together(tmp_path: Path) -> None:
    lines = [json.dumps({"example_id": at, "document_plaintext": f"문서 {at % 10}"}) + "\n" for at in range(30)]
    _, held_back = halves(tmp_path, "tydiqa", "train.jsonl", "".join(lines))
    assert held_back == lines[9] + lines[19] + lines[29]


def article(*contexts: str) -> dict[str, Any]:
    return {"title": contexts[0], "paragraphs": [{"context": context, "qas": []} for context in contexts]}


def test_articles_are_held_back_whole_with_those_that_share_a_paragraph(tmp_path: Path) -> None:
    articles = [article(f"문단 {at}") for at in range(10)] + [article("문단 10", "문단 9")]
    parts = halves(tmp_path, "korquad", "train.json", json.dumps({"data": articles}))
    rest, held_back = (json.loads(part)["data"] for part in parts)
    assert held_back == articles[9:] and rest == articles[:9]


def test_parts_are_in_one_group_if_others_connect_them() -> None:
    assert groups_of([("a", "b"), ("c",), ("d", "b"), ("d", "e")]) == [0, 1, 0, 0]


def test_white_space_connects_no_parts() -> None:
    assert groups_of([("", "f"), ("", "g"), ("",)]) == [0, 1, 2]
    assert groups_of([("",), (" ",)]) == [0, 1]


@pytest.mark.parametrize(
    "task, name, content, count",
    [
        ("nsmc", "train.txt", HEADER + "".join(rows(9)), 9),
        ("nsmc", "train.txt", HEADER + "".join(rows(30, "같은 글")), 1),
        ("korquad", "train.json", json.dumps({"data": [article("하나")]}), 1),
    ],
)
def test_too_few_parts_are_refused(tmp_path: Path, task: str, name: str, content: str, count: int) -> None:
    with pytest.raises(DataError, match=rf"{name}: one part in 10 is held back .* there are only {count} that share"):
        halves(tmp_path, task, name, content)
