"""Named entities: readers and writers, words and tokens, windows against plain references; features of each tokenizer.

The task's own form is a sentence a line (naver-ner); the other one is CoNLL's and KLUE's, a word a line.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.hanbert import HanBertTokenizer, build_hanbert_tokenizer
from models.kobert import build_kobert_tokenizer
from processors import TASKS, ner
from processors.ner import (
    NO_LABEL,
    NOT_PREDICTED,
    Alignment,
    WindowFeatures,
    build_window_features,
    has_suffix_labels,
    windows_of,
)
from processors.sentence_files import WRITERS, Sentences, read_sentence_lines, read_token_lines, read_unlabelled
from processors.task import DataError
from small_tokenizers import REAL, VOCABULARY, compile_stand_in, needs_moran, sentences, wordpiece, write_kobert

pytestmark = pytest.mark.filterwarnings("ignore:Moran's dictionary")

NAVER = TASKS["naver-ner"]
TYPES = "PER FLD AFW ORG LOC CVL DAT TIM NUM EVT ANM PLT MAT TRM".split()
KLUE = dataclasses.replace(NAVER, read=read_token_lines, labels=("B-PS", "I-PS", "B-LC", "I-LC", "O"))
ZERO_WIDTH, FAMILY = "\u200b", "👨‍👩‍👧"


def read(task, path: Path, content: str | bytes, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Sentences:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return task.read(task, path, encoding, skip_bad_rows)


def problem(task, path: Path, content: str | bytes, **options) -> str:
    """What is said of the file, its folder left out."""
    with pytest.raises(DataError) as error:
        read(task, path, content, **options)
    return str(error.value).replace(str(path), path.name)


def named(task, rows: Sentences) -> list[list[str]]:
    """The labels by their names."""
    return [[task.labels[label] for label in labels] for labels in rows.labels]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.tsv"


def test_the_labels_of_the_task():
    assert NAVER.labels == ("O", *(f"{name}-{part}" for name in TYPES for part in "BI"))
    assert len(NAVER.labels) == 29 and has_suffix_labels(NAVER) and not has_suffix_labels(KLUE)


# --------------------------------------------------------------------------------------------------------------------
# A sentence a line
# --------------------------------------------------------------------------------------------------------------------

TWO = "한바람 감독은 3월 2일 왔다.\tPER-B CVL-B DAT-B DAT-I O\n서라울시에서\tLOC-B\n"
TWO_WORDS = [["한바람", "감독은", "3월", "2일", "왔다."], ["서라울시에서"]]
# CVL is the sixth type: 2 * 5 + 1; DAT the seventh, LOC the fifth.
TWO_LABELS = [[1, 11, 13, 14, 0], [9]]


@pytest.mark.parametrize(
    "content",
    [
        TWO,
        TWO[:-1],
        TWO.replace("\n", "\r\n"),
        "\ufeff" + TWO,
        TWO + "\n\r\n\n",
        TWO.replace(" ", "   "),
        "".join(f"  {line.replace(chr(9), '  ' + chr(9) + ' ')} \n" for line in TWO.splitlines()),
    ],
    ids=["", "no line end", "CRLF", "BOM", "blank lines at the end", "wide gaps", "spaces around"],
)
def test_a_sentence_a_line(content: str, file: Path):
    rows = read(NAVER, file, content)
    assert (rows.words, rows.labels, len(rows), dict(rows.counts)) == (TWO_WORDS, TWO_LABELS, 2, {})


def test_cp949(file: Path):
    rows = read(NAVER, file, TWO.encode("cp949"), encoding="cp949")
    assert (rows.words, rows.labels) == (TWO_WORDS, TWO_LABELS)
    assert problem(NAVER, file, TWO.encode("cp949")) == (
        "data.tsv:1: not UTF-8 at byte 0; the whole file reads as CP949: --encoding cp949, or convert it with iconv"
    )


AWKWARD = [
    "null", "NA", "007", '"따옴표', "'", "#", "##은", "[UNK]", "\\t", FAMILY, ZERO_WIDTH, "10\u00a0km",
    "ＡＢＣ　방송이", "줄\u2028구분자", "\x85", "\x1c", "\x0b", "\x00", "\r가", "한", "?", "O", "PER-B", "가" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("task", [NAVER, KLUE], ids=["naver", "klue"])
def test_words_stay_as_they_are(task, file: Path):
    labels = [["O"] * len(AWKWARD), ["O"]]
    content = WRITERS[task.read]([AWKWARD, ["끝"]], labels)
    for text in (content, content.replace("\n", "\r\n"), "\ufeff" + content):
        rows = read(task, file, text)
        assert (rows.words, named(task, rows)) == ([AWKWARD, ["끝"]], labels)


@pytest.mark.parametrize(
    "line, what",
    [
        ("가 나 다\tO O", "3 words, but 2 labels"),
        ("가\tO O", "1 word, but 2 labels"),
        ("가 나\t", "2 words, but 0 labels"),
        ("\tO", "0 words, but 1 label"),
        ("가\u00a0나\tO O", "1 word, but 2 labels"),
        ("가 나", "1 column instead of 2 (words, labels; a tab between them)"),
        ("1\t가 나\tO O", "3 columns instead of 2 (words, labels; a tab between them)"),
        ("가 나\tO O\t", "3 columns instead of 2 (words, labels; a tab between them)"),
        ("가\tPER-X", "unknown label 'PER-X': known are O, PER-B, PER-I, FLD-B"),
        ("가 나\tO B-PER", "unknown label 'B-PER': known are O, PER-B"),
        ("가\tper-b", "unknown label 'per-b': known are"),
        ("가\t?", "unknown label '?': known are"),
        ("가\t" + "X" * 99, "unknown label '" + "X" * 40 + "': known are"),
        ("", "the sentence is empty: the line is blank"),
        ("  \r", "the sentence is empty: the line is blank"),
        ("\t", "the sentence is empty: the line is blank"),
    ],
)
def test_malformed_lines(line: str, what: str, file: Path):
    content = f"하나\tO\n{line}\n둘 셋\tO O\n"
    message = problem(NAVER, file, content)
    assert message.startswith(f"data.tsv:2: {what}") and "\n" not in message and len(message) < 400
    rows = read(NAVER, file, content, skip_bad_rows=True)
    assert (rows.words, rows.labels) == ([["하나"], ["둘", "셋"]], [[0], [0, 0]])
    ((said, count),) = rows.counts.items()
    assert count == 1 and said.startswith(f"malformed rows left out (first {file}:2: {what}")


def test_a_blank_line_at_the_beginning_is_a_line(file: Path):
    assert problem(NAVER, file, "\n" + TWO).startswith("data.tsv:1: the sentence is empty")
    assert problem(NAVER, file, "\r\n\r\n가 나\tO\r\n").split("\n")[2] == "data.tsv:3: 2 words, but 1 label"


def test_all_malformed_lines_are_reported_together_and_counted(file: Path):
    bad = ["가\tX", "나", "다\tO O", "", "라\tO\tO", "마 바\tO", "사\tY"]
    lines = problem(NAVER, file, TWO + "".join(f"{line}\n" for line in bad)).split("\n")
    assert [line.split(": ")[0] for line in lines[:5]] == [f"data.tsv:{number}" for number in range(3, 8)]
    assert lines[5:] == ["... and 2 more malformed rows in data.tsv (--skip_bad_rows leaves them out)"]
    rows = read(NAVER, file, TWO + "".join(f"{line}\n" for line in bad), skip_bad_rows=True)
    assert (rows.words, list(rows.counts.values())) == (TWO_WORDS, [7])


@pytest.mark.parametrize("task", [NAVER, KLUE], ids=["naver", "klue"])
def test_files_without_sentences(task, file: Path):
    assert problem(task, file, "") == "data.tsv: there is nothing in it"
    assert problem(task, file, b"\xef\xbb\xbf\r\n \n") == "data.tsv: there is nothing in it"
    nothing = problem(task, file, "가\t나\t다\n", skip_bad_rows=True)
    assert nothing.startswith("data.tsv: no sentence is left (malformed rows left out (first data.tsv:1: 3 columns")
    assert nothing.endswith(": 1)")
    with pytest.raises(DataError, match=r"none\.tsv: no such file; the folder holds data\.tsv$"):
        task.read(task, file.with_name("none.tsv"), "utf-8", False)


def test_sentences_of_several_files_are_joined(file: Path):
    one = read(NAVER, file, "가 나\tO PER-B\n망\n", skip_bad_rows=True)
    two = read(NAVER, file, "망\n다\tO\n망\n", skip_bad_rows=True)
    both = one + two
    assert (both.words, both.labels) == ([["가", "나"], ["다"]], [[0, 1], [0]])
    assert sum(both.counts.values()) == 3
    assert (len(one), len(two), len(both)) == (1, 1, 2)  # the parts are as they were


# --------------------------------------------------------------------------------------------------------------------
# A word a line
# --------------------------------------------------------------------------------------------------------------------

WORDS_A_LINE = "## klue-ner-v1_dev_00000\t<한:PS> 왔다\n한\tB-PS\n바람\tI-PS\n \tO\n왔다\tO\n\n## 둘째\n서울\tB-LC\n\n"


@pytest.mark.parametrize(
    "content",
    [
        WORDS_A_LINE,
        WORDS_A_LINE[:-1],
        WORDS_A_LINE[:-2],
        WORDS_A_LINE.replace("\n", "\r\n"),
        "\ufeff" + WORDS_A_LINE,
        "\n\n" + WORDS_A_LINE.replace("\n\n", "\n \n\n\n"),
        WORDS_A_LINE.replace("PS\n", "PS \n"),
    ],
    ids=["", "one line end", "no line end", "CRLF", "BOM", "more blank lines", "spaces behind labels"],
)
def test_a_word_a_line(content: str, file: Path):
    rows = read(KLUE, file, content)
    assert rows.words == [["한", "바람", " ", "왔다"], ["서울"]]
    assert rows.labels == [[0, 1, 4, 4], [2]]
    assert dict(rows.counts) == {"comment lines left out": 2}


def test_a_word_a_line_in_cp949(file: Path):
    assert read(KLUE, file, WORDS_A_LINE.encode("cp949"), encoding="cp949").words[1] == ["서울"]
    assert "--encoding cp949" in problem(KLUE, file, WORDS_A_LINE.encode("cp949"))


def test_only_what_stands_before_a_sentence_is_a_comment(file: Path):
    rows = read(KLUE, file, "# 말\n#\tO\n##\tO\n#가\tO\n")
    assert rows.words == [["#", "##", "#가"]]
    assert problem(KLUE, file, "가\tO\n# 말\n나\tO\n") == (
        "data.tsv:2: 1 column instead of 2 (word, label; a tab between them)"
    )


@pytest.mark.parametrize(
    "line, what",
    [
        ("가", "1 column instead of 2 (word, label; a tab between them)"),
        ("가 O", "1 column instead of 2 (word, label; a tab between them)"),
        ("가\tO\tO", "3 columns instead of 2 (word, label; a tab between them)"),
        ("\tO", "the word is empty"),
        ("가\tPS-B", "unknown label 'PS-B': known are B-PS, I-PS, B-LC, I-LC, O"),
        ("가\t", "unknown label '': known are B-PS, I-PS, B-LC, I-LC, O"),
    ],
)
def test_malformed_words(line: str, what: str, file: Path):
    """The whole sentence is left out with a word."""
    content = f"하나\tO\n\n둘\tO\n{line}\n셋\tO\n\n넷\tO\n"
    message = problem(KLUE, file, content)
    assert message.startswith(f"data.tsv:4: {what}") and "\n" not in message
    rows = read(KLUE, file, content, skip_bad_rows=True)
    assert (rows.words, rows.labels) == ([["하나"], ["넷"]], [[4], [4]])
    assert list(rows.counts.values()) == [1]


def test_all_malformed_words_are_reported_together(file: Path):
    content = "가\tO\n\n" + "나\tX\n" * 4 + "\n" + "다\n" * 3
    lines = problem(KLUE, file, content).split("\n")
    assert [line.split(": ")[0] for line in lines[:5]] == [f"data.tsv:{n}" for n in (3, 4, 5, 6, 8)]
    assert lines[5:] == ["... and 2 more malformed rows in data.tsv (--skip_bad_rows leaves them out)"]


# --------------------------------------------------------------------------------------------------------------------
# Writers, and sentences to be labelled
# --------------------------------------------------------------------------------------------------------------------


def test_writers_by_hand():
    words, labels = [["가", "나"], ["다"]], [["PER-B", "O"], [NOT_PREDICTED]]
    assert WRITERS[read_sentence_lines](words, labels) == "가 나\tPER-B O\n다\t?\n"
    assert WRITERS[read_token_lines](words, labels) == "가\tPER-B\n나\tO\n\n다\t?\n\n"
    assert WRITERS[read_sentence_lines]([["가"], [], ["나"]], [["O"], [], ["O"]]) == "가\tO\n\t\n나\tO\n"


# No separator of either form, nothing that UTF-8 has no bytes for, no byte order mark; other white space is letters.
letters = st.characters(exclude_characters=" \t\n\ufeff", exclude_categories=["Cs"])
sentence = st.lists(st.text(letters, min_size=1, max_size=6), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(words=st.lists(sentence, min_size=1, max_size=5), data=st.data())
@pytest.mark.parametrize("task", [NAVER, KLUE], ids=["naver", "klue"])
def test_what_is_written_is_read(tmp_path_factory, task, words: list[list[str]], data):
    labels = [[data.draw(st.sampled_from(task.labels)) for _ in one] for one in words]
    path = tmp_path_factory.getbasetemp() / f"written-{has_suffix_labels(task)}.tsv"
    rows = read(task, path, WRITERS[task.read](words, labels))
    assert (rows.words, named(task, rows), dict(rows.counts)) == (words, labels, {})


@pytest.mark.parametrize("source", ["a file", "standard input"])
def test_sentences_to_be_labelled(source: str, file: Path, monkeypatch):
    def unlabelled(content: bytes, encoding: str = "utf-8") -> Sentences:
        file.write_bytes(content)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        return read_unlabelled(NAVER, file if source == "a file" else None, encoding)

    place = str(file) if source == "a file" else "standard input"
    rows = unlabelled("한바람은  왔다.\n\n 서라울시에서 \u3000\n".encode())
    assert (rows.words, rows.labels) == ([["한바람은", "왔다."], [], ["서라울시에서", "\u3000"]], None)
    assert (len(rows), dict(rows.counts)) == (3, {"blank lines": 1})
    assert unlabelled("가\r\n나 다\r\n".encode()).words == [["가"], ["나", "다"]]
    assert unlabelled("\ufeff가\n나".encode()).words == [["가"], ["나"]]
    assert unlabelled("가\n\n".encode()).words == [["가"], []]
    assert unlabelled("똠방각하".encode("cp949"), "cp949").words == [["똠방각하"]]
    assert dict(unlabelled("가\n".encode()).counts) == {}
    with pytest.raises(DataError) as error:
        unlabelled("가\n나\tO\n".encode())
    assert str(error.value) == f"{place}:2: naver-ner expects one sentence without tabs on each line"
    with pytest.raises(DataError) as error:
        unlabelled("가\n나".encode("cp949"))
    assert str(error.value).startswith(f"{place}:1: not UTF-8 at byte 0; the whole file reads as CP949")
    with pytest.raises(DataError) as error:
        unlabelled(b" \n\n")
    assert str(error.value) == f"{place}: there is nothing in it"


# --------------------------------------------------------------------------------------------------------------------
# Words and tokens, windows
# --------------------------------------------------------------------------------------------------------------------


def test_alignment_by_hand():
    alignment = Alignment.of_counts([2, 1, 3])
    assert (alignment.words, alignment.tokens, alignment.first_tokens.tolist()) == (3, 6, [0, 2, 3, 6])
    assert [alignment.word_of(token) for token in range(6)] == [0, 0, 1, 2, 2, 2]
    empty = Alignment.of_counts([])
    assert (empty.words, empty.tokens) == (0, 0)


@given(counts=st.lists(st.integers(1, 9), max_size=30))
def test_alignment_in_both_directions(counts: list[int]):
    alignment = Alignment.of_counts(counts)
    words = [word for word, count in enumerate(counts) for _ in range(count)]
    assert (alignment.words, alignment.tokens) == (len(counts), len(words))
    assert [alignment.word_of(token) for token in range(len(words))] == words
    assert alignment.first_tokens[:-1].tolist() == [words.index(word) for word in range(len(counts))]


def windows_by_hand(counts: list[int], room: int, stride: int) -> list[tuple[int, int, int, int]]:
    """(start, end, first word, last word + 1), by trying everything out."""
    firsts = [sum(counts[:word]) for word in range(len(counts))]
    tokens = sum(counts)
    if not counts:
        return []
    if stride == 0 or tokens <= room:
        return [(0, min(room, tokens), 0, sum(first < room for first in firsts))]
    starts = [0]
    while starts[-1] + room < tokens:
        later = [first for first in firsts if first > starts[-1]]
        if not later:
            break
        near = [first for first in later if first <= starts[-1] + stride]
        starts.append(max(near) if near else min(later))
    spans = [(start, min(start + room, tokens)) for start in starts]
    words_of: dict[int, list[int]] = {}
    for word, first in enumerate(firsts):
        scarcer_side = {i: min(first - a, b - 1 - first) for i, (a, b) in enumerate(spans) if a <= first < b}
        words_of.setdefault(max(scarcer_side, key=lambda i: (scarcer_side[i], -i)), []).append(word)
    return [(*spans[i], words[0], words[-1] + 1) for i, words in sorted(words_of.items())]


def windows(counts: list[int], room: int, stride: int) -> list[tuple[int, int, int, int]]:
    found = windows_of(Alignment.of_counts(counts), room, stride)
    return [(window.start, window.end, window.first, window.last) for window in found]


def test_windows_by_hand():
    # Ten words of a token, four a window, two apart. Word 2 has one token beside it on its scarcer side in either.
    assert windows([1] * 10, 4, 2) == [(0, 4, 0, 3), (2, 6, 3, 5), (4, 8, 5, 7), (6, 10, 7, 10)]
    # Words at 0 2 5 6 10, of 11 tokens; six a window, from 0, 2 (the word at 5 is more than four away) and 6. The word
    # at 6 has one token behind it in the second window, and none before it in the third.
    assert windows([2, 3, 1, 4, 1], 6, 4) == [(0, 6, 0, 2), (2, 8, 2, 4), (6, 11, 4, 5)]
    assert windows([1] * 4, 4, 2) == [(0, 4, 0, 4)]
    assert windows([1] * 6, 4, 4) == [(0, 4, 0, 4), (4, 6, 4, 6)]  # without overlap
    assert windows([], 4, 2) == windows([], 4, 0) == []


def test_words_longer_than_a_window():
    assert windows([9], 4, 2) == [(0, 4, 0, 1)]  # what is cut off carries no label
    assert windows([9], 4, 0) == [(0, 4, 0, 1)]
    # The word at 1 has 9 tokens: windows from 0, 1 and 10; in the first one, it is not at the edge.
    assert windows([1, 9, 1], 4, 2) == [(0, 4, 0, 2), (10, 11, 2, 3)]
    assert windows([5, 5, 5], 4, 4) == [(0, 4, 0, 1), (5, 9, 1, 2), (10, 14, 2, 3)]


def test_without_windows_a_sentence_is_cut():
    assert windows([1] * 10, 4, 0) == [(0, 4, 0, 4)]
    assert windows([3, 1, 2], 4, 0) == [(0, 4, 0, 2)]
    assert windows([3, 2, 2], 4, 0) == [(0, 4, 0, 2)]  # of the second word, the first token is there
    assert windows([4, 1], 4, 0) == [(0, 4, 0, 1)]
    assert windows([1, 1], 4, 0) == [(0, 2, 0, 2)]


counts_and_room = st.integers(1, 12).flatmap(
    lambda room: st.tuples(
        st.lists(st.one_of(st.integers(1, 3), st.integers(1, 2 * room + 3)), max_size=40),
        st.just(room),
        st.integers(0, room),
    )
)


@pytest.mark.seconds
@settings(max_examples=500, deadline=None)
@given(case=counts_and_room)
def test_windows_are_those_of_the_reference(case: tuple[list[int], int, int]):
    counts, room, stride = case
    assert windows(counts, room, stride) == windows_by_hand(counts, room, stride)


@pytest.mark.seconds
@settings(max_examples=500, deadline=None)
@given(case=counts_and_room)
def test_what_windows_promise(case: tuple[list[int], int, int]):
    counts, room, stride = case
    firsts = [sum(counts[:word]) for word in range(len(counts))]
    found = windows_of(Alignment.of_counts(counts), room, stride)
    labelled = [word for window in found for word in range(window.first, window.last)]
    if stride:
        assert labelled == list(range(len(counts)))
    else:
        assert len(found) == (1 if counts else 0) and labelled == [w for w, first in enumerate(firsts) if first < room]
    for window in found:
        assert window.first < window.last and window.start in firsts
        assert 0 < window.end - window.start <= room
        assert all(window.start <= firsts[word] < window.end for word in range(window.first, window.last))
        assert all(type(value) is int for value in dataclasses.astuple(window)[2:])
    for one, other in itertools.pairwise(found):
        assert one.start < other.start and one.end < other.end
        if max(counts) <= stride:  # one between the two may have been left out, as it labels no word
            assert other.start - one.start <= 2 * stride


def test_every_small_case():
    """All sentences of up to five words of up to three tokens, all rooms and strides."""
    for words in range(6):
        for counts in itertools.product((1, 2, 3), repeat=words):
            for room in range(1, 7):
                for stride in range(room + 1):
                    assert windows(list(counts), room, stride) == windows_by_hand(list(counts), room, stride)


def test_a_sentence_of_a_million_words():
    found = windows_of(Alignment.of_counts([2] * 1_000_000), 126, 64)
    assert sum(window.last - window.first for window in found) == 1_000_000
    assert all(b.start - a.start == 64 for a, b in itertools.pairwise(found))


# --------------------------------------------------------------------------------------------------------------------
# Features
# --------------------------------------------------------------------------------------------------------------------


def of_words(*sentences: str, labels: list[list[int]] | None = None) -> Sentences:
    return Sentences([sentence.split(" ") if sentence else [] for sentence in sentences], labels)


def rows_of(features: WindowFeatures) -> list[tuple]:
    """(token ids, sentence, first word, positions) of each window."""
    rows = []
    for window in range(len(features)):
        sentence, words, positions = features.places(window)
        assert words.stop - words.start == len(positions)
        rows.append((features.row(window)[0].tolist(), sentence, words.start, positions.tolist()))
    return rows


def test_features_by_hand(tmp_path: Path):
    """[CLS] is 2, [SEP] 3, [UNK] 1, 가 to 차 are 5 to 14 and ##가 to ##차 15 to 24."""
    rows = of_words(f"가 나가 ? {ZERO_WIDTH} 다라마", "", "바", labels=[[1, 0, 2, 3, 4], [], [5]])
    cut = build_window_features(rows, wordpiece(), 7, 0, tmp_path)
    assert rows_of(cut) == [([2, 5, 6, 15, 1, 1, 3], 0, 0, [1, 2, 4, 5]), ([2, 10, 3], 2, 0, [1])]
    assert (cut.cut_words, cut.cut_sentences) == (1, 1)
    assert cut.unknown_share == 2 / 10 and cut.lengths.tolist() == [7, 3]
    ids = cut.label_ids(np.array([1, 0]), rows.labels, 7)
    assert ids.tolist() == [[-100, 5, *[-100] * 5], [-100, 1, 0, -100, 2, 3, -100]]
    assert ids.dtype == np.int64 and NO_LABEL == -100

    # Words at 0 1 3 4 5, of 8 tokens; five a window, from 0, 1 and 3. The word at 4 has one token beside it on its
    # scarcer side in the second window (behind it) and in the third (before it): it is the earlier one's.
    whole = build_window_features(rows, wordpiece(), 7, 2, tmp_path)
    assert rows_of(whole) == [
        ([2, 5, 6, 15, 1, 1, 3], 0, 0, [1, 2]),
        ([2, 6, 15, 1, 1, 7, 3], 0, 2, [3, 4]),
        ([2, 1, 1, 7, 18, 19, 3], 0, 4, [3]),
        ([2, 10, 3], 2, 0, [1]),
    ]
    assert (whole.cut_words, whole.cut_sentences) == (0, 0)
    assert whole.label_ids(np.arange(4), rows.labels, 7).tolist() == [
        [-100, 1, 0, -100, -100, -100, -100],
        [-100, -100, -100, 2, 3, -100, -100],
        [-100, -100, -100, 4, -100, -100, -100],
        [-100, 5, -100, -100, -100, -100, -100],
    ]


def test_words_and_sentences_that_are_cut_are_counted(tmp_path: Path):
    rows = of_words("가 나 다 라", "가 나", "가 나 다", "")
    features = build_window_features(rows, wordpiece(), 4, 0, tmp_path)  # two tokens a row
    assert (features.cut_words, features.cut_sentences) == (2 + 1, 2)
    assert build_window_features(rows, wordpiece(), 4, 1, tmp_path).cut_words == 0
    nothing = build_window_features(of_words("", ""), wordpiece(), 4, 0, tmp_path)
    assert (len(nothing), nothing.cut_words, nothing.cut_sentences) == (0, 0, 0)


@pytest.fixture(scope="module", params=["wordpiece", "kobert", "stand-in", pytest.param("moran", marks=needs_moran)])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HANBERT_MORAN", raising=False)
        if request.param == "wordpiece":
            return wordpiece()
        if request.param == "moran":
            return build_hanbert_tokenizer(REAL, REAL)
        folder = tmp_path_factory.mktemp(request.param)
        if request.param == "kobert":
            write_kobert(folder, sentences(2000), 400)
            return build_kobert_tokenizer(folder)
        compile_stand_in(folder)
        (folder / "vocab_54k.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
        return build_hanbert_tokenizer(folder, folder)


WORDS = [
    "나는", "친구를", "했다", "2가", "가나다", "가나다라마바사아자차", "영화를", "봤다.", "3,000원을", "“사랑”",
    "ＡＢＣ", "中國", "[MASK]", "[SEP]", "10\u00a0km", "한별시에", "ㅋㅋ", "ost", FAMILY, "😀",
    ZERO_WIDTH, "\x00", "\u3000", "\x85",
]  # fmt: skip


def plain_ids(tokenizer, word: str) -> list[int]:
    return tokenizer(word, add_special_tokens=False)["input_ids"]


def test_some_words_leave_no_token(tokenizer):
    """So that what is expected of them below is expected of something."""
    swallowed = [word for word in WORDS if not plain_ids(tokenizer, word)]
    assert ZERO_WIDTH in swallowed
    assert isinstance(tokenizer, HanBertTokenizer) == ("😀" in swallowed)


@pytest.mark.parametrize("length, stride", [(512, 0), (16, 0), (16, 7), (12, 10), (9, 1)])
def test_features_are_words_tokenized_one_by_one(tokenizer, length: int, stride: int, tmp_path: Path):
    rng = random.Random(f"{length} {stride}")
    drawn = [rng.choices(WORDS, k=rng.choice([0, 1, 2, 5, 10, 40])) for _ in range(60)]
    rows = Sentences([[], *drawn, WORDS], None)
    features = build_window_features(rows, tokenizer, length, stride, tmp_path)
    cls, sep, unknown = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id
    expected, cut_words, cut_sentences = [], 0, 0
    for number, words in enumerate(rows.words):
        tokens = [plain_ids(tokenizer, word) or [unknown] for word in words]
        flat, counts = list(itertools.chain(*tokens)), list(map(len, tokens))
        labelled = 0
        for start, end, first, last in windows_by_hand(counts, length - 2, stride):
            positions = [1 + sum(counts[:word]) - start for word in range(first, last)]
            ids = [cls, *flat[start:end], sep]
            assert [ids[at] for at in positions] == [tokens[word][0] for word in range(first, last)]
            expected.append((ids, number, first, positions))
            labelled += last - first
        cut_words += len(words) - labelled
        cut_sentences += labelled < len(words)
    assert rows_of(features) == expected
    assert (features.cut_words, features.cut_sentences) == (cut_words, cut_sentences)
    assert all(not features.row(window)[1].any() for window in range(len(features)))  # token types
    ids = [one for row, *_ in expected for one in row]
    assert features.unknown_share == pytest.approx(ids.count(unknown) / len(ids))
    if stride:
        assert cut_words == 0


@pytest.mark.parametrize("stride", [0, 7])
def test_every_word_that_is_labelled_is_labelled_once_with_its_own_label(tokenizer, stride: int, tmp_path: Path):
    rng = random.Random(stride)
    words = [rng.choices(WORDS, k=rng.choice([1, 3, 30])) for _ in range(40)]
    labels = [[1000 * number + word for word in range(len(one))] for number, one in enumerate(words)]
    features = build_window_features(Sentences(words, labels), tokenizer, 16, stride, tmp_path)
    order = rng.sample(range(len(features)), len(features))
    batch = features.padded(np.array(order), tokenizer.pad_token_id)
    ids = features.label_ids(np.array(order), labels, batch["input_ids"].shape[1])
    assert ids.shape == batch["input_ids"].shape
    assert (ids[batch["attention_mask"] == 0] == NO_LABEL).all()
    assert (ids[:, 0] == NO_LABEL).all()
    found = sorted(ids[ids != NO_LABEL].tolist())
    assert len(found) == sum(map(len, words)) - features.cut_words
    if stride:
        assert found == sorted(itertools.chain(*labels))
    unknown = tokenizer.unk_token_id
    for row, label in zip(*np.nonzero(ids != NO_LABEL), strict=True):
        number, word = divmod(int(ids[row, label]), 1000)
        assert batch["input_ids"][row, label] == (plain_ids(tokenizer, words[number][word]) or [unknown])[0]


def test_two_processes_write_the_same_file(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ner, "ROWS_IN_BATCH", 7)  # so that sentences are numbered across slices
    rng = random.Random(5)
    rows = Sentences(
        [rng.choices(["가", "나가", "다라마", ZERO_WIDTH, "?"], k=rng.randrange(9)) for _ in range(40)], None
    )
    built = [build_window_features(rows, wordpiece(), 7, 3, tmp_path / str(n), threads=n) for n in (1, 2)]
    assert built[0].table.path.name == built[1].table.path.name
    assert built[0].table.path.read_bytes() == built[1].table.path.read_bytes()
    assert sorted(set(built[1].sentence.tolist())) == [n for n, words in enumerate(rows.words) if words]
    monkeypatch.undo()
    whole = build_window_features(rows, wordpiece(), 7, 3, tmp_path / "whole")
    assert rows_of(whole) == rows_of(built[1])


def test_the_same_content_is_found_again_and_other_content_is_not(tmp_path: Path):
    def build(*sentences: str, length: int = 8, stride: int = 0, tokenizer=None, labels=None) -> WindowFeatures:
        rows = of_words(*sentences, labels=labels)
        return build_window_features(rows, tokenizer or wordpiece(), length, stride, tmp_path)

    other = wordpiece()
    other.add_tokens(["하"])
    first = build("가 나", "다", labels=[[0, 0], [0]])
    again = build("가 나", "다", labels=[[1, 2], [3]])  # labels are not in it
    assert again.table.was_cached and again.table.path == first.table.path and rows_of(again) == rows_of(first)
    others = [
        build("가 나", "라"),
        build("가", "나 다"),
        build("가나", "다"),
        build("다", "가 나"),
        build("가 나", "다", ""),
        build("가 나", "다", length=9),
        build("가 나", "다", stride=1),
        build("가 나", "다", stride=2),
        build("가 나", "다", tokenizer=other),
    ]
    assert not any(one.table.was_cached for one in others)
    assert len({one.table.path for one in (first, *others)}) == 1 + len(others)


def test_lengths_and_strides_that_cannot_be(tmp_path: Path):
    rows, tokenizer = of_words("가 나 다 라 마"), wordpiece()
    with pytest.raises(DataError, match=r"^max_seq_len 2 leaves no room for text beside 2 special tokens$"):
        build_window_features(rows, tokenizer, 2, 0, tmp_path)
    with pytest.raises(DataError) as error:
        build_window_features(rows, tokenizer, 8, 7, tmp_path)
    assert str(error.value) == (
        "ner_stride 7 is more than the 6 tokens that max_seq_len 8 has room for: "
        "words between two windows would be lost"
    )
    assert build_window_features(rows, tokenizer, 8, 6, tmp_path).cut_words == 0
    assert rows_of(build_window_features(rows, tokenizer, 3, 1, tmp_path))[4] == ([2, 9, 3], 0, 4, [1])
