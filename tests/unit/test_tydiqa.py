"""The reader of TyDi QA: bytes become characters, annotations answers, and what is left out is counted."""

import gzip
import io
import json
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.qa import tydiqa
from processors.qa.long_qa import LONG_QA_TASKS
from processors.qa.questions import UNANSWERABLE, Questions
from processors.qa.tydiqa import (
    BLANK,
    BROKEN_OFF,
    OTHER_LANGUAGE,
    YES_NO,
    character_offsets,
    read_tydiqa,
    read_unanswered_tydiqa,
)
from processors.task import DataError

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "tydiqa"
(TYDIQA,) = (task for task in LONG_QA_TASKS if task.name == "tydiqa")
# In UTF-8: 서울 is bytes 0 to 6, 은 6 to 9, a space, 😀 10 to 14, a space, é 15 to 17, a, a space, 한국 19 to 25.
DOCUMENT = "서울은 😀 éa 한국"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dev.jsonl"


def annotation(start: object = -1, end: object = -1, yes_no: object = "NONE") -> dict:
    minimal = {"plaintext_start_byte": start, "plaintext_end_byte": end}
    return {"yes_no_answer": yes_no, "minimal_answer": minimal, "passage_answer": {"candidate_index": 0}}


def sample(id: object, *annotations: object, text: object = DOCUMENT, **other: object) -> dict:
    """A line, its keys in the order of the release."""
    return {
        "annotations": list(annotations),
        "document_plaintext": text,
        "document_title": "서울",
        "example_id": id,
        "language": "korean",
        "passage_answer_candidates": [],
        "question_text": f"질문 {id}?",
    } | other


def without(part: dict, key: str) -> dict:
    return {name: value for name, value in part.items() if name != key}


def lines(*parts: object) -> str:
    return "".join(f"{part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)}\n" for part in parts)


def read(path: Path, content: str | bytes, *arguments: object) -> Questions:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_tydiqa(TYDIQA, path, *arguments)


def problem(path: Path, content: str | bytes, *arguments: object) -> str:
    """What is said of the file, its folder left out."""
    with pytest.raises(DataError) as error:
        read(path, content, *arguments)
    return str(error.value).replace(str(path), path.name)


# --------------------------------------------------------------------------------------------------------------------
# Bytes and characters
# --------------------------------------------------------------------------------------------------------------------


def characters_one_by_one(text: str) -> dict[int, int]:
    """Byte to character, as the original does it: every byte an entry, but here only those that begin a character."""
    found, byte = {}, 0
    for index, character in enumerate(text):
        found[byte] = index
        byte += len(character.encode())
    return found | {byte: len(text)}


@given(st.text(alphabet="가a é😀\n\u1100\u0301\ufeff한"))
def test_offsets_are_those_counted_one_by_one(text: str):
    expected = characters_one_by_one(text)
    assert character_offsets(text, list(expected)).tolist() == list(expected.values())
    for byte in set(range(len(text.encode()))) - set(expected):
        with pytest.raises(ValueError, match=f"^{byte} is inside the character "):
            character_offsets(text, [0, byte])


def test_offsets_by_hand():
    assert character_offsets(DOCUMENT, [0, 6, 9, 10, 14, 15, 17, 19, 25]).tolist() == [0, 2, 3, 4, 5, 6, 7, 9, 11]
    assert character_offsets(DOCUMENT, [25, 3, 3]).tolist() == [11, 1, 1]
    assert character_offsets(DOCUMENT, []).tolist() == character_offsets("", []).tolist() == []
    assert character_offsets("", [0]).tolist() == [0]


@pytest.mark.parametrize(
    "byte, what",
    [
        (1, "1 is inside the character '서', which is bytes 0 to 3"),
        (5, "5 is inside the character '울', which is bytes 3 to 6"),
        (13, "13 is inside the character '😀', which is bytes 10 to 14"),
        (16, "16 is inside the character 'é', which is bytes 15 to 17"),
        (24, "24 is inside the character '국', which is bytes 22 to 25"),
        (26, "26 is outside the text of 25 bytes"),
        (-1, "-1 is outside the text of 25 bytes"),
        (10**30, f"{10**30} is outside the text of 25 bytes"),
    ],
)
def test_offsets_that_are_none(byte: int, what: str):
    with pytest.raises(ValueError) as error:
        character_offsets(DOCUMENT, [0, byte])
    assert str(error.value) == what


# --------------------------------------------------------------------------------------------------------------------
# Questions and answers
# --------------------------------------------------------------------------------------------------------------------


def test_questions(file: Path):
    other = "\n\n부산은 항구이다."
    content = lines(
        sample(5334977744535514013, annotation(0, 6)),
        sample(-4075105610222749573, annotation(19, 25), annotation(), annotation(0, 6)),
        sample(3, annotation(), annotation(), annotation(), text=other),
        sample(4, annotation(10, 17)),
        sample(5, annotation(2, 8), text=other),
    )
    questions = read(file, content)
    assert questions.ids == ["5334977744535514013", "-4075105610222749573", "3", "4", "5"]
    assert questions.texts == [f"질문 {id}?" for id in questions.ids]
    assert questions.contexts == [DOCUMENT, other]
    assert questions.context_of == [0, 0, 1, 0, 1]
    assert questions.answers == [("서울",), ("한국", "서울"), (), ("😀 é",), ("부산",)]
    assert questions.spans == [(0, 2), (9, 11), UNANSWERABLE, (4, 7), (2, 4)]
    assert questions.counts == {} and questions.is_labelled and questions.has_unanswerable


def test_a_document_is_kept_once(file: Path):
    """Not only in the list: the text of every line but the first is let go."""
    text = "가" * 100_000  # 200 kB in memory
    content = lines(*(sample(id, annotation(0, 3), text=text) for id in range(60)))
    file.write_text(content, encoding="utf-8")
    tracemalloc.start()
    questions = read_tydiqa(TYDIQA, file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert questions.contexts == [text] and questions.context_of == [0] * 60
    assert peak < 4_000_000 < len(content.encode())  # of 18 MB


def test_distinct_answers_in_their_order_and_the_first_ones_span(file: Path):
    text = "서울 부산 서울"  # bytes 0-6, 7-13, 14-20
    content = lines(
        sample(1, annotation(14, 20), annotation(0, 6), annotation(7, 13), text=text),
        sample(2, annotation(), annotation(7, 13), annotation(7, 13), text=text),
        sample(3, annotation(6, 14), annotation(7, 13), text=text),  # white space around an answer is none of it
    )
    questions = read(file, content)
    assert questions.answers == [("서울", "부산"), ("부산",), ("부산",)]
    assert questions.spans == [(6, 8), (3, 5), (3, 5)]


def test_other_languages_and_yes_and_no_are_left_out_and_counted(file: Path):
    content = lines(
        sample(1, annotation(0, 6), language="english"),
        sample(2, annotation(0, 6), language=" Korean\t"),  # as the original compares
        sample(3, annotation(yes_no="YES")),
        sample(4, annotation(0, 6), annotation(yes_no="NO"), annotation()),
        sample(5, annotation(0, 6), language="japanese"),
        "",
        without(sample(6), "annotations") | {"language": "thai"},  # nobody looks
    )
    questions = read(file, content)
    assert questions.ids == ["2"]
    assert questions.counts == {OTHER_LANGUAGE: 3, YES_NO: 2, BLANK: 1}


@pytest.mark.parametrize(
    "text",
    [
        '{"language": "english"}',
        'he said "language": "english" twice',
        '"language":"japanese"',
        '\\"language\\": \\"thai\\"',
        '", "language": "finnish',
    ],
)
def test_a_document_that_speaks_of_languages_is_still_korean(text: str, file: Path):
    korean = sample(1, annotation(0, 1), text=text, question_text=text)
    questions = read(file, lines(korean, dict(reversed(korean.items())) | {"example_id": 2}))
    assert questions.contexts == [text] and questions.ids == ["1", "2"] and questions.counts == {}


def test_lines_of_other_languages_are_not_parsed(file: Path, monkeypatch: pytest.MonkeyPatch):
    parsed = []
    parse = tydiqa.parse_json
    monkeypatch.setattr(tydiqa, "parse_json", lambda *arguments: parsed.append(arguments[2]) or parse(*arguments))
    other = [sample(id, annotation(), language="russian") for id in range(3)]
    odd = json.dumps(other[0]).replace("russian", "russi\\u0061n")  # nothing certain is known of it before
    questions = read(file, lines(other[0], sample(9, annotation(0, 6)), other[1], odd, other[2]))
    assert questions.ids == ["9"] and questions.counts == {OTHER_LANGUAGE: 4}
    assert parsed == [2, 4]


def test_line_ends_are_those_of_json_lines(file: Path):
    text = "첫 줄\u2028둘째\x85셋째\x0b\x1c넷째\r\n다섯째"
    content = lines(sample(1, annotation(0, 3), text=text), sample(2, annotation(0, 6)))
    for data in (content, content.replace("\n", "\r\n"), "\ufeff" + content, content.rstrip("\n")):
        questions = read(file, data)
        assert questions.contexts == [text, DOCUMENT] and questions.counts == {}


def test_lone_surrogates_leave_offsets_as_they_are(file: Path):
    questions = read(file, json.dumps(sample(1, annotation(3, 6), text="\ud83d가 나")))
    assert (questions.contexts, questions.answers, questions.spans) == (["\ufffd가 나"], [("가",)], [(1, 2)])
    assert dict(questions.counts) == {"texts with a lone surrogate, replaced by U+FFFD": 1}


def test_cp949(file: Path):
    """Whatever the file's encoding: offsets count bytes of UTF-8."""
    content = lines(sample(1, annotation(7, 13), text="서울 부산")).encode("cp949")
    assert read(file, content, "cp949").answers == [("부산",)]
    what = f"not UTF-8 at byte {content.index('서'.encode('cp949'))} of the line"
    hint = "the line reads as CP949: --encoding cp949, or convert it with iconv"
    assert problem(file, content * 3) == f"dev.jsonl:1: {what}; {hint}"  # of the others the same could be said
    english = lines(sample(1, annotation(), language="english", text="Seoul", question_text="?")).encode()
    assert problem(file, english + content) == f"dev.jsonl:2: {what}; {hint}"
    one_of_many = lines(GOOD).encode() + content + lines(sample(3, annotation())).encode()
    assert problem(file, one_of_many) == f"dev.jsonl:2: {what}; {hint}"
    assert read(file, one_of_many, "utf-8", True).ids == ["1", "3"]
    assert hint in problem(file, content, "utf-8", True)


def test_utf_16_and_what_is_no_text(file: Path):
    content = lines(GOOD, sample(2, annotation(0, 6)))
    for data in (content.encode("utf-16"), gzip.compress(content.encode("utf-16"))):
        assert problem(file, data) == problem(file, data, "utf-8", True) == "dev.jsonl: is UTF-16; save it as UTF-8"
    good, bad = lines(GOOD).encode(), lines(sample(2, annotation(0, 6))).encode().replace("서".encode(), b"\xff", 1)
    assert problem(file, good + bad) == f"dev.jsonl:2: not UTF-8 at byte {bad.index(255)} of the line"


# --------------------------------------------------------------------------------------------------------------------
# gzip
# --------------------------------------------------------------------------------------------------------------------

MANY = lines(*(sample(id, annotation(0, 6), text=f"{DOCUMENT} {id * 7919 % 997}") for id in range(500)))


@pytest.mark.parametrize("name", ["dev.jsonl.gz", "dev.jsonl"])
def test_gzip_is_recognised_by_its_content(name: str, tmp_path: Path):
    questions = read(tmp_path / name, gzip.compress(MANY.encode()))
    assert len(questions) == 500 and questions.ids[-1] == "499"
    assert questions.contexts == read(tmp_path / "plain", MANY).contexts


def test_a_truncated_archive(tmp_path: Path):
    data = gzip.compress(MANY.encode())[:-3000]
    file = tmp_path / "dev.jsonl.gz"
    found = problem(file, data)
    line = int(found.split(":")[1])
    assert found == (
        f"dev.jsonl.gz:{line}: the gzip archive is broken or was not downloaded whole (Compressed file ended before "
        "the end-of-stream marker was reached): download it again"
    )
    questions = read(file, data, "utf-8", True)
    assert questions.ids == [str(id) for id in range(line - 1)] and 50 < line < 490
    assert dict(questions.counts) == {f"{BROKEN_OFF} (first {found.replace(file.name, str(file))})": 1}


def test_a_truncated_archive_with_malformed_rows(tmp_path: Path):
    """It is what is said first, and what is counted apart: nobody knows how many rows are lost with its end."""
    data = gzip.compress((lines(sample("x", annotation(1, 6))) + MANY).encode())[:-3000]
    found = problem(tmp_path / "dev.jsonl.gz", data).split("\n")
    assert [line.split(": ")[1] for line in found] == [
        "the gzip archive is broken or was not downloaded whole (Compressed file ended before the end-of-stream marker "
        "was reached)",
        "question 'x'",
    ]
    counts = read(tmp_path / "dev.jsonl.gz", data, "utf-8", True).counts
    assert [what.split(" (first")[0] for what in counts] == [BROKEN_OFF, "malformed rows left out"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:500] + bytes(100) + data[600:],  # inside
        lambda data: data[:-8] + bytes(8),  # its checksum
        lambda data: data[:1000],
        lambda data: data[:5],
    ],
)
def test_a_damaged_archive(damage, tmp_path: Path):
    data = damage(gzip.compress(MANY.encode()))
    found = problem(tmp_path / "dev.jsonl.gz", data)
    assert "the gzip archive is broken or was not downloaded whole (" in found.split("\n")[0]


# --------------------------------------------------------------------------------------------------------------------
# Questions to be answered
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["a file", "gzip", "standard input", "gzip from standard input"])
def test_questions_to_be_answered(source: str, file: Path, monkeypatch: pytest.MonkeyPatch):
    """Annotations may be absent, of any kind, or wrong: nobody looks."""
    content = lines(
        without(sample("a"), "annotations"),
        sample("b", annotation(yes_no="YES")),
        sample("c", annotation(1, 10**6), text="부산"),
        sample("d", language="thai"),
    )
    data = gzip.compress(content.encode()) if source.startswith("gzip") else content.encode()
    if source.endswith("standard input"):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    else:
        file.write_bytes(data)
    questions = read_unanswered_tydiqa(TYDIQA, None if source.endswith("standard input") else file)
    assert (questions.ids, questions.context_of) == (["a", "b", "c"], [0, 0, 1])
    assert questions.texts == ["질문 a?", "질문 b?", "질문 c?"] and questions.contexts == [DOCUMENT, "부산"]
    assert questions.answers == [(), (), ()] and questions.spans == [UNANSWERABLE] * 3
    assert not questions.is_labelled and not questions.has_unanswerable
    assert questions.counts == {OTHER_LANGUAGE: 1}


def test_what_cannot_be_answered(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines(GOOD, "{").encode())))
    with pytest.raises(DataError, match=r"^standard input:2: not valid JSON: "):
        read_unanswered_tydiqa(TYDIQA, None)
    content = lines(GOOD, *(sample(id, text="") for id in range(2, 9)))
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_unanswered_tydiqa(TYDIQA, file)
    last = str(error.value).split("\n")[-1]
    assert last == f"... and 2 more malformed rows in {file}"  # there is no flag that leaves them out


# --------------------------------------------------------------------------------------------------------------------
# What is refused
# --------------------------------------------------------------------------------------------------------------------

GOOD = sample(1, annotation(0, 6))
NO_MINIMAL = (
    "question '2': annotations[0]: no \"minimal_answer\" with whole numbers plaintext_start_byte and plaintext_end_byte"
)
WHITE = "question '2': minimal_answer: there is only white space at characters 3 to 4"
ORDER = "question '2': minimal_answer from byte {} to {}: -1 to -1 for none, or 0 <= start < end"


@pytest.mark.parametrize(
    "part, what",
    [
        (
            sample(2, annotation(1, 6)),
            "question '2': minimal_answer: byte 1 is inside the character '서', which is bytes 0 to 3 of "
            "document_plaintext",
        ),
        (
            sample(2, annotation(0, 6), annotation(10, 12)),
            "question '2': minimal_answer: byte 12 is inside the character '😀', which is bytes 10 to 14 of "
            "document_plaintext",
        ),
        (
            sample(2, annotation(0, 26)),
            "question '2': minimal_answer: byte 26 is outside the text of 25 bytes of document_plaintext",
        ),
        (sample(2, annotation(6, 0)), ORDER.format(6, 0)),
        (sample(2, annotation(6, 6)), ORDER.format(6, 6)),
        (sample(2, annotation(-1, 6)), ORDER.format(-1, 6)),
        (sample(2, annotation(0, -1)), ORDER.format(0, -1)),
        (sample(2, annotation(-3, 3)), ORDER.format(-3, 3)),
        (sample(2, annotation(9, 10)), WHITE),
        (sample(2, annotation(0, 6), text=""), "question '2': the document_plaintext is empty"),
        (sample(2, annotation(0, 6), text=" \n"), "question '2': the document_plaintext is empty"),
        (sample(2, annotation(0, 6), text=None), "question '2': no text \"document_plaintext\""),
        (without(GOOD | {"example_id": 2}, "document_plaintext"), "question '2': no text \"document_plaintext\""),
        (without(GOOD | {"example_id": 2}, "question_text"), "question '2': no text \"question_text\""),
        (sample(2, annotation(), question_text=""), "question '2': the question_text is empty"),
        (without(GOOD, "example_id"), 'no "example_id"'),
        (sample(None, annotation()), "question 'None': \"example_id\" must be a text or a whole number"),
        (sample(1, annotation()), "question '1': line 1 has the same example_id: each must be there once"),
        (sample("1", annotation(yes_no="NO")), "question '1': line 1 has the same example_id: each must be there once"),
        (without(GOOD | {"example_id": 2}, "language"), "question '2': no text \"language\""),
        (without(GOOD | {"example_id": 2}, "annotations"), "question '2': no list \"annotations\""),
        (sample(2), "question '2': there is no annotation: whether the question has an answer is not known"),
        (sample(2, "NONE"), "question '2': annotations[0] is no object"),
        (
            sample(2, annotation(), annotation(yes_no="yes")),
            'question \'2\': annotations[1]: "yes_no_answer" must be "YES", "NO" or "NONE", not \'yes\'',
        ),
        (
            sample(2, without(annotation(), "yes_no_answer")),
            'question \'2\': annotations[0]: "yes_no_answer" must be "YES", "NO" or "NONE", not \'None\'',
        ),
        (sample(2, without(annotation(), "minimal_answer")), NO_MINIMAL),
        (sample(2, annotation(0, None)), NO_MINIMAL),
        (sample(2, annotation(0.0, 6)), NO_MINIMAL),
        (sample(2, annotation(False, 6)), NO_MINIMAL),
        ("[]", "is no object: a line of TyDi QA v1.0 is expected"),
        ("null", "is no object: a line of TyDi QA v1.0 is expected"),
        ("[" + "9" * 5000, "a number has thousands of digits, or brackets are nested too deep"),
        (json.dumps(GOOD)[:25], "not valid JSON: Unterminated string starting at (column 19)"),
        (json.dumps(GOOD)[:-1], f"not valid JSON: Expecting ',' delimiter (column {len(json.dumps(GOOD))})"),
    ],
)
def test_malformed_lines(part: object, what: str, file: Path):
    content = lines(GOOD, sample(0, annotation(), language="thai"), part, sample(3, annotation(19, 25)))
    assert problem(file, content) == f"dev.jsonl:3: {what}"
    questions = read(file, content, "utf-8", True)
    assert (questions.ids, questions.answers) == (["1", "3"], [("서울",), ("한국",)])
    assert dict(questions.counts) == {OTHER_LANGUAGE: 1, f"malformed rows left out (first {file}:3: {what})": 1}


def test_a_line_broken_in_two(file: Path):
    text = json.dumps(sample(2, annotation(0, 6)), ensure_ascii=False)
    found = problem(file, lines(GOOD, text[:250], text[250:], sample(3, annotation()))).split("\n")
    assert [line.split(" not valid JSON")[0] for line in found] == ["dev.jsonl:2:", "dev.jsonl:3:"]


def test_a_line_that_breaks_off_is_not_of_another_language(file: Path):
    """Its `language` may be that of a line whose beginning is lost, or what a Korean one is lost behind."""
    for line in ('{"language": "thai", "document_plaintext": "', '_text": "?", "language": "thai"}'):
        assert problem(file, lines(GOOD, line)).startswith("dev.jsonl:2: not valid JSON: ")
        assert read(file, lines(GOOD, line), "utf-8", True).counts[OTHER_LANGUAGE] == 0


def test_two_lines_glued_together_are_not_passed_over(file: Path):
    other = json.dumps(sample(2, annotation(), language="thai"))
    for glued in (other + json.dumps(sample(3, annotation())), other[:200] + json.dumps(sample(3, annotation()))):
        assert problem(file, lines(GOOD, glued)).startswith("dev.jsonl:2: not valid JSON: ")


def test_a_malformed_question_does_not_take_its_id_from_another(file: Path):
    questions = read(file, lines(sample(1, annotation(0, 7)), sample(1, annotation(0, 6))), "utf-8", True)
    assert (questions.ids, questions.answers) == (["1"], [("서울",)])


def test_many_malformed_lines_and_the_name_of_the_flag(file: Path):
    content = lines(GOOD, *(sample(id, annotation(0, 99)) for id in range(2, 9)))
    last = "... and 2 more malformed rows in dev.jsonl ({} leaves them out)"
    assert problem(file, content).split("\n")[5:] == [last.format("--skip_bad_rows")]
    with pytest.raises(DataError) as error:
        TYDIQA.read(TYDIQA, file)
    assert str(error.value).endswith("(--skip_bad_documents leaves them out)")


ONE_DOCUMENT = "; this is one JSON document, as SQuAD and KorQuAD have it: run_squad.py reads these"


@pytest.mark.parametrize(
    "content, first",
    [
        (json.dumps({"data": [{"paragraphs": []}]}), ONE_DOCUMENT),
        (json.dumps({"data": [{"paragraphs": []}]}, indent=1), ONE_DOCUMENT),
        (json.dumps([{"id": 1}]), ONE_DOCUMENT),
        (
            json.dumps({"id": 1, "question": "?"}),
            '\ndev.jsonl:1: a question without "example_id"; it has "id", which is called "example_id" here: no text '
            '"language"',
        ),
        ("서울은 어디인가?\n부산은?\n", "\ndev.jsonl:1: not valid JSON: Expecting value (column 1)"),
    ],
)
def test_files_of_another_format(content: str, first: str, file: Path):
    """One line about the format, instead of one about each line."""
    keys = '"example_id", "language", "question_text" and "document_plaintext"'
    found = f"dev.jsonl: no line is a question of TyDi QA v1.0, an object with {keys}{first}"
    assert problem(file, content) == found
    with pytest.raises(DataError) as error:
        read_unanswered_tydiqa(TYDIQA, file)
    assert str(error.value).replace(str(file), file.name) == found


def test_files_without_questions(file: Path):
    assert problem(file, "") == "dev.jsonl: there is nothing in it"
    assert problem(file, "\n") == f"dev.jsonl: no questions are left ({BLANK}: 1)"
    content = lines(sample(1, annotation(), language="thai"), sample(2, annotation(yes_no="YES")))
    assert problem(file, content) == f"dev.jsonl: no questions are left ({OTHER_LANGUAGE}: 1; {YES_NO}: 1)"
    with pytest.raises(DataError, match=r"/none\.jsonl: no such file; the folder holds dev\.jsonl$"):
        read_tydiqa(TYDIQA, file.with_name("none.jsonl"))
    with pytest.raises(DataError, match=r": is a folder, a file is expected$"):
        read_tydiqa(TYDIQA, file.parent)


# --------------------------------------------------------------------------------------------------------------------
# Real files
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, questions, contexts, unanswerable, yes_no, other",
    [
        # ../shared/data/README.md has the numbers, but for those of the first, which has one Korean line of 11.
        ("tiny_dev.jsonl.gz", 1, 1, 1, 0, 10),
        ("tydiqa-v1.0-dev.jsonl", 153 + 27, 21, 27, 6, 3),
        ("tydiqa-v1.0-train.jsonl", 711 + 125, 98, 125, 16, 4),
    ],
)
def test_real_files(name: str, questions: int, contexts: int, unanswerable: int, yes_no: int, other: int):
    if not (REAL / name).is_file():
        pytest.skip("the real data is not here")
    found = read_tydiqa(TYDIQA, REAL / name)
    assert (len(found), len(found.contexts), sum(not answers for answers in found.answers)) == (
        questions,
        contexts,
        unanswerable,
    )
    assert (found.counts[YES_NO], found.counts[OTHER_LANGUAGE]) == (yes_no, other)
    # Every answer against the bytes of the file.
    with (gzip.open if name.endswith(".gz") else open)(REAL / name, "rb") as file:
        lines = {str(line["example_id"]): line for line in map(json.loads, file)}
    for id, context, answers, span in zip(found.ids, found.context_of, found.answers, found.spans, strict=True):
        data = lines[id]["document_plaintext"].encode()
        places = [annotation["minimal_answer"] for annotation in lines[id]["annotations"]]
        golds = [
            data[place["plaintext_start_byte"] : place["plaintext_end_byte"]].decode().strip()
            for place in places
            if place["plaintext_start_byte"] >= 0
        ]
        assert list(answers) == list(dict.fromkeys(golds))
        assert found.contexts[context] == data.decode()
        assert found.contexts[context][slice(*span)] == answers[0] if answers else span == UNANSWERABLE
