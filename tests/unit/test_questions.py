"""The reader of SQuAD's format: answers where they stand, and an error with its place for what is none."""

import io
import json
import random
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from growth import expect_linear
from processors import TASKS
from processors.qa.nearly_right import SQUAD
from processors.qa.questions import UNANSWERABLE, OffsetReport, Questions, read_squad, read_unanswered
from processors.task import DataError

KORQUAD = Path(__file__).parents[3] / "shared" / "data" / "korquad"
MOVED = "answers found beside their answer_start and moved"
LOST = "answers not at their answer_start, of no use in training"
CONTEXT = "임진왜란은 1592년에 일본이 조선을 침략하면서 시작되었다."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "korquad.json"


def answer(text: object, start: object) -> dict:
    return {"text": text, "answer_start": start}


def qa(id: object, *answers: object, **other: object) -> dict:
    return {"id": id, "question": f"질문 {id}?", "answers": list(answers)} | other


def paragraph(context: object, *qas: object) -> dict:
    return {"context": context, "qas": list(qas)}


def squad(*paragraphs: object) -> str:
    """The content of a file: every paragraph an article of its own. `ensure_ascii`, as KorQuAD is not but may be."""
    return json.dumps({"version": "KorQuAD_v1.0", "data": [{"title": "글", "paragraphs": [p]} for p in paragraphs]})


def read(path: Path, content: str | bytes, encoding: str = "utf-8", skip_bad_rows: bool = False) -> Questions:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_squad(TASKS["korquad"], path, encoding, skip_bad_rows)


def problem(path: Path, content: str | bytes, *arguments: object) -> str:
    """What is said of the file, its folder left out."""
    with pytest.raises(DataError) as error:
        read(path, content, *arguments)
    return str(error.value).replace(str(path), path.name)


def counts(questions: Questions, path: Path) -> dict[str, int]:
    return {what.replace(str(path), path.name): count for what, count in questions.counts.items()}


def only(path: Path, context: str, *answers: object) -> Questions:
    """What is read of a file of one question."""
    return read(path, squad(paragraph(context, qa("q", *answers))))


def without(part: dict, key: str) -> dict:
    return {name: value for name, value in part.items() if name != key}


# --------------------------------------------------------------------------------------------------------------------
# Questions and their answers
# --------------------------------------------------------------------------------------------------------------------


def test_questions_of_several_paragraphs(file: Path):
    content = squad(
        paragraph(CONTEXT, qa("6548850-0-0", answer("1592년", 6)), qa("6548850-0-1", answer("일본", 13))),
        paragraph("아무도 묻지 않았다."),
        paragraph("서울은 수도이다.", qa("6548851-0-0", answer("서울", 0), answer("서울은", 0), answer("서울", 0))),
    )
    questions = read(file, content)
    assert questions.contexts == [CONTEXT, "서울은 수도이다."]
    assert questions.ids == ["6548850-0-0", "6548850-0-1", "6548851-0-0"]
    assert questions.texts == ["질문 6548850-0-0?", "질문 6548850-0-1?", "질문 6548851-0-0?"]
    assert questions.context_of == [0, 0, 1]
    assert questions.answers == [("1592년",), ("일본",), ("서울", "서울은", "서울")]
    assert questions.spans == [(6, 11), (13, 15), (0, 2)]
    assert CONTEXT[6:11] == "1592년" and CONTEXT[13:15] == "일본"
    assert (len(questions), questions.is_labelled, questions.has_unanswerable) == (3, True, False)
    assert questions.counts == {}


def test_a_context_that_stands_in_the_file_twice_is_kept_once(file: Path):
    content = squad(paragraph("가 나", qa("a")), paragraph("다", qa("b")), paragraph("가 나", qa("c")))
    questions = read(file, content)
    assert (questions.contexts, questions.context_of) == (["가 나", "다"], [0, 1, 0])


def test_the_span_is_that_of_the_first_answer(file: Path):
    questions = only(file, "가 나 다", answer("다", 4), answer("가", 0))
    assert (questions.answers, questions.spans) == ([("다", "가")], [(4, 5)])


@pytest.mark.parametrize(
    "part",
    [
        qa("q", is_impossible=True),
        qa("q"),
        without(qa("q", is_impossible=True), "answers"),
        qa("q", is_impossible=True, plausible_answers=[answer("가", 0)]),
        qa("q", answer("", -1), is_impossible=True),  # a line of some converters
    ],
)
def test_unanswerable_questions(part: dict, file: Path):
    questions = read(file, squad(paragraph("가 나", part, qa("r", answer("나", 2), is_impossible=False))))
    assert (questions.answers, questions.spans) == ([(), ("나",)], [UNANSWERABLE, (2, 3)])
    assert questions.has_unanswerable and questions.is_labelled and questions.counts == {}


@pytest.mark.parametrize(
    "part, message",
    [
        (qa("q", answer("나", 2), is_impossible=True), "is_impossible is true, but there are answers"),
        (qa("q", is_impossible=False), "is_impossible is false, but there are no answers"),
        (qa("q", answer("나", 2), is_impossible="false"), "\"is_impossible\" is 'false', not true or false"),
    ],
)
def test_answers_to_what_is_said_to_have_none(part: dict, message: str, file: Path):
    assert problem(file, squad(paragraph("가 나", part))) == f"korquad.json: question 'q': {message}"


def test_questions_of_a_context_that_is_left_out_are_counted(file: Path):
    content = squad(
        paragraph(" ", qa("q", answer("나", 2)), qa("r", answer("나", 2))), paragraph("나", qa("s", answer("나", 0)))
    )
    questions = read(file, content, skip_bad_rows=True)
    assert questions.ids == ["s"]
    assert questions.counts["questions left out with a malformed context"] == 2


def test_klue_says_guid_and_other_files_have_numbers_for_ids(file: Path):
    klue = without(qa("klue-mrc-v1_train_12759", answer("나", 2)), "id") | {"guid": "klue-mrc-v1_train_12759"}
    questions = read(file, squad(paragraph("가 나", klue, qa(17, answer("가", 0)), qa("018", answer("가", 0)))))
    assert questions.ids == ["klue-mrc-v1_train_12759", "17", "018"]


# --------------------------------------------------------------------------------------------------------------------
# Where an answer stands
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        "",
        "😀",  # one character, two UTF-16 units, four bytes
        "👨‍👩‍👧 ❤️ ",  # 5 + 1 + 2 + 1
        "각",  # decomposed: three
        unicodedata.normalize("NFD", "한국의 "),
        "中國\u3000é e\u0301\t\n",
        "\u200b\ufeff",
    ],
)
@pytest.mark.parametrize("after", ["", "은", " 😀"])
@pytest.mark.parametrize("text", ["서울", unicodedata.normalize("NFD", "서울"), "울"])
def test_offsets_are_characters(before: str, after: str, text: str, file: Path):
    context = before + text + after
    questions = only(file, context, answer(text, len(before)))
    ((start, end),) = questions.spans
    assert (start, end, context[start:end]) == (len(before), len(before) + len(text), text)
    assert questions.contexts == [context] and questions.counts == {}


def test_a_repeated_answer_is_the_one_at_its_offset(file: Path):
    context = "서울 서울 서울"
    for start in (0, 3, 6):
        questions = only(file, context, answer("서울", start))
        assert questions.spans == [(start, start + 2)] and questions.counts == {}


@pytest.mark.parametrize(
    "context, text, said, found, there",
    [
        ("나는 서울에 산다", "서울", 4, 3, "울에"),
        ("나는 서울에 산다", "서울", 2, 3, " 서"),  # the space before it
        ("나는 물 한 잔", "물", 4, 3, " "),  # the space after it: of the word before, as in the original
        ("나는 물  한 잔", "물", 5, 3, " "),
        ("나는\u202f서울에 산다", "서울", 5, 3, "에 "),
        ("수도는 서울특별시 이다", "서울특별시 이다", 5, 4, "울특별시 이다"),
        ("서울", "서울", 1, 0, "울"),
        ("가나가나가나", "가나", 3, 2, "나가"),  # of two equally near the first
        ("나나가가가나나나", "나", 3, 1, "가"),  # the nearest, not the word's first
        ("나나가가가나나나", "나", 4, 5, "가"),
        ("《서울》은", "서울", 0, 1, "《서"),
        ("값은 3.5%이다", "%", 4, 6, "."),  # symbols: both are nothing when normalised, and still not the same
    ],
)
def test_an_answer_in_the_same_words_is_moved(context: str, text: str, said: int, found: int, there: str, file: Path):
    questions = only(file, context, answer(text, said))
    assert questions.spans == [(found, found + len(text))] and questions.answers == [(text,)]
    what = f"'q' says {said}, where {there!r} stands; {text!r} is at {found}"
    assert counts(questions, file) == {f"{MOVED} (korquad.json: {what})": 1}


@pytest.mark.parametrize(
    "context, text, said, there, where",
    [
        ("나는 서울에 산다", "서울", 0, "나는", "is at 3"),
        ("나는 서울에 산다", "서울", 7, "산다", "is at 3"),
        ("물 서울 에", "서울", 0, "물 ", "is at 2"),  # the space after 물 does not make the next word one of them
        ("서울 가나다 서울", "서울", 4, "나다", "is at 7"),  # the nearer of both, but in another word
        ("서울 가나다 서울", "서울", 3, "가나", "is at 0"),
        ("나는 서울에 산다", "부산", 3, "서울", "is not in the context"),
        ("나는 서울에 산다", "서울  에", 3, "서울에 산", "is not in the context"),
        ("나는 서울에 산다", "서 울", 3, "서울에", "is not in the context"),
        ("가\n나", "가 다", 0, "가\n나", "is not in the context"),
        (unicodedata.normalize("NFD", "서울"), "서울", 0, unicodedata.normalize("NFD", "서"), "is not in the context"),
        ("한" * 40, "국" * 31, 1, "한" * 31, "is not in the context"),
    ],
)
def test_an_answer_in_other_words_is_of_no_use(context: str, text: str, said: int, there: str, where: str, file: Path):
    questions = only(file, context, answer(text, said))
    assert questions.spans == [UNANSWERABLE] and questions.answers == [(text,)]
    assert not questions.has_unanswerable  # it has an answer to be scored by
    shown = [repr(part if len(part) <= 30 else part[:30] + "...") for part in (there[:31], text)]
    what = f"'q' says {said}, where {shown[0]} stands; {shown[1]} {where}"
    assert counts(questions, file) == {f"{LOST} (korquad.json: {what})": 1}


@pytest.mark.parametrize(
    "context, text, said, span",
    [
        ("나는 Seoul에 산다", "SEOUL", 3, (3, 8)),
        ("<서울> 은", "'서울'", 0, (0, 4)),
        ("3,000 원", "3 000", 0, None),  # 3000 and 3 000 are different answers
        ("그는 서울 에", "서울.", 3, (3, 5)),
        ("그는 서울", "서울...", 3, (3, 5)),  # beyond the end
        ("가\n나", "가 나", 0, (0, 3)),
        # White space around an answer is no part of it: a token of the next word may begin with it.
        ("나는 서울 산다", " 서울 ", 2, (3, 5)),
        ("나는 서울 산다", "서울 ", 3, (3, 5)),
        ("나는 서울 산다", "서울 ", 2, (3, 5)),
    ],
)
def test_what_is_equal_for_the_score_is_not_moved(
    context: str, text: str, said: int, span: tuple[int, int] | None, file: Path
):
    questions = only(file, context, answer(text, said))
    assert questions.spans == [span or UNANSWERABLE] and questions.answers == [(text,)]
    assert bool(questions.counts) == (span is None)


def original(context: str, text: str, start: int) -> str:
    """The words in which transformers 2 (SquadExample, squad_convert_example_to_features) looks for an answer."""
    words: list[str] = []
    word_of = []
    after_space = True
    for character in context:
        if character in " \t\r\n\u202f":
            after_space = True
        else:
            if after_space:
                words.append(character)
            else:
                words[-1] += character
            after_space = False
        word_of.append(len(words) - 1)
    first, last = word_of[start], word_of[min(start + len(text) - 1, len(word_of) - 1)]
    return " ".join(words[first : last + 1])


@given(
    words=st.lists(st.text("가나", min_size=1, max_size=4), min_size=1, max_size=6),
    cut=st.tuples(st.integers(0, 30), st.integers(1, 6)),
    start=st.integers(0, 30),
)
def test_answers_are_found_where_the_original_finds_them(words: list[str], cut: tuple[int, int], start: int):
    context = " ".join(words)
    start %= len(context)
    text = context[cut[0] % len(context) :][: cut[1]]
    if not text.strip():
        return
    report = OffsetReport()
    a, b = report.locate("q", context, text, start)
    assert ((a, b) == UNANSWERABLE) == (text.strip() not in original(context, text, start))
    if (a, b) == UNANSWERABLE:
        assert (len(report.moved), len(report.lost)) == (0, 1)
    else:
        assert context[a:b] == text.strip() and not report.lost
        assert len(report.moved) == (context[start : start + len(text)].split() != text.split())


def test_the_first_ids_of_many_are_shown(file: Path):
    questions = read(
        file,
        squad(
            paragraph("나는 서울에 산다", *(qa(f"m{i}", answer("서울", 4)) for i in range(7))),
            paragraph("나는 서울에 산다", *(qa(f"l{i}", answer("서울", 0)) for i in range(5))),
        ),
    )
    (moved, count), (lost, lost_count) = questions.counts.items()
    assert (count, lost_count) == (7, 5)
    assert moved.startswith(f"{MOVED} ({file}: 'm0' says 4, where '울에' stands; '서울' is at 3; 'm1' says 4")
    assert "'m4'" in moved and "'m5'" not in moved and moved.endswith("; '서울' is at 3, ...)")
    assert "'l4'" in lost and lost.endswith("; '서울' is at 3)")


# --------------------------------------------------------------------------------------------------------------------
# What is refused
# --------------------------------------------------------------------------------------------------------------------

HERE = "data[0].paragraphs[0]"
GOOD = qa("r", answer("나", 2))


RIGHT_ANSWERS = '[{"text": "...", "answer_start": 0}]'


@pytest.mark.parametrize(
    "part, what",
    [
        (qa("q", answer("나", 3)), "question 'q': answer_start 3 is outside the context of 3 characters"),
        (qa("q", answer("나", -1)), "question 'q': answer_start -1 is outside the context of 3 characters"),
        (
            qa("q", answer("가", 0), answer("나", 9)),
            "question 'q': answer_start 9 is outside the context of 3 characters",
        ),
        *(
            (qa("q", answer("나", start)), "question 'q': an answer without \"answer_start\", a whole number")
            for start in (2.5, None, True)
        ),
        (
            qa("q", answer("나", "2")),
            'question \'q\': an answer without "answer_start", a whole number; it is the text "2": write it without '
            "quotes",
        ),
        (
            qa("q", answer("나", [2])),
            "question 'q': an answer without \"answer_start\", a whole number; it is a list: one number is expected "
            "for each answer",
        ),
        (
            qa("q", answer("나", 2.0)),
            "question 'q': an answer without \"answer_start\", a whole number; it is 2.0: write it without a decimal "
            "point",
        ),
        (
            qa("q", {"text": "나", "start": 2}),
            'question \'q\': an answer without "answer_start", a whole number; it has "start", which is called '
            '"answer_start" here',
        ),
        (
            qa("q", {"answer": "나", "answer_start": 2}),
            'question \'q\': an answer without "text"; it has "answer", which is called "text" here',
        ),
        (
            qa("q", {"text": ["나"], "answer_start": [2]}),
            "question 'q': an answer without \"text\"; it is a list: one text is expected for each answer",
        ),
        (qa("q", ["나", 2]), f"question 'q': an answer without \"text\"; right is {RIGHT_ANSWERS}"),
        (qa("q", {"text": "나"}), "question 'q': an answer without \"answer_start\", a whole number"),
        (qa("q", {"answer_start": 2}), "question 'q': an answer without \"text\""),
        *((qa("q", answer(text, 2)), "question 'q': an answer without \"text\"") for text in ("", " \n", None, 2)),
        (
            qa("q", "나"),
            "question 'q': an answer without \"text\"; they are texts, and where each stands in the context is needed, "
            f"too: {RIGHT_ANSWERS}",
        ),
        (
            qa("q") | {"answers": "나"},
            "question 'q': \"answers\" is no list; it is a text, and where it stands in the context is needed, too: "
            f"{RIGHT_ANSWERS}",
        ),
        (
            qa("q") | {"answers": answer("나", 2)},
            f"question 'q': \"answers\" is no list; it is one answer, and belongs into a list: {RIGHT_ANSWERS}",
        ),
        (
            qa("q") | {"answers": {"text": ["나"], "answer_start": [2]}},
            "question 'q': \"answers\" is no list; they are an object of lists, as the library datasets writes them; "
            f"right is {RIGHT_ANSWERS}",
        ),
        (
            without(qa("q"), "answers") | {"answer": answer("나", 2)},
            'question \'q\': no list "answers"; it has "answer", which is called "answers" here',
        ),
        (
            without(qa("q"), "question") | {"query": "무엇?"},
            'question \'q\': no text "question"; it has "query", which is called "question" here',
        ),
        (
            without(qa("q"), "id") | {"question_id": "q"},
            f'{HERE}.qas[1]: no "id"; it has "question_id", which is called "id" here',
        ),
        (qa("q") | {"answers": None}, "question 'q': \"answers\" is no list"),
        (without(qa("q"), "answers"), "question 'q': no list \"answers\""),
        (without(qa("q", answer("나", 2)), "question"), "question 'q': no text \"question\""),
        (qa("q", question=["무엇?"]), "question 'q': no text \"question\""),
        (qa("q", question="\u3000\n"), "question 'q': the question is empty"),
        (without(qa("q"), "id"), f'{HERE}.qas[1]: no "id"'),
        (qa(None), f'{HERE}.qas[1]: no "id"'),
        (qa(True), f'{HERE}.qas[1]: no "id"'),
        (qa(1.5), f'{HERE}.qas[1]: no "id"'),
        ("q", f"{HERE}.qas[1]: is no object"),
        (None, f"{HERE}.qas[1]: is no object"),
        (qa("r"), "question 'r': another question has the same id"),
        (
            qa("\ud83d"),
            "question '\\ud83d': its id contains half a surrogate pair, which no file of predictions can hold",
        ),
    ],
)
def test_malformed_questions(part: object, what: str, file: Path):
    content = squad(paragraph("가 나", GOOD, part, qa("s", answer("가", 0))))
    assert problem(file, content) == f"korquad.json: {what}"
    questions = read(file, content, skip_bad_rows=True)
    assert (questions.ids, questions.spans, questions.context_of) == (["r", "s"], [(2, 3), (0, 1)], [0, 0])
    assert counts(questions, file) == {f"malformed rows left out (first korquad.json: {what})": 1}


@pytest.mark.parametrize(
    "part, what",
    [
        (without(paragraph("", GOOD), "context"), 'no text "context"'),
        (paragraph(["가 나"], GOOD), 'no text "context"'),
        (paragraph("", GOOD), "the context is empty"),
        (paragraph("\n \u3000", GOOD), "the context is empty"),
        ({"context": "가 나"}, 'no list "qas"'),
        ({"context": "가 나", "qas": {}}, 'no list "qas"'),
        ("가 나", 'no text "context"'),
        (None, 'no text "context"'),
    ],
)
def test_malformed_paragraphs(part: object, what: str, file: Path):
    content = squad(paragraph("가 다", qa("q", answer("다", 2))), part, paragraph("라", qa("s", answer("라", 0))))
    assert problem(file, content) == f"korquad.json: data[1].paragraphs[0]: {what}"
    questions = read(file, content, skip_bad_rows=True)
    assert (questions.contexts, questions.ids, questions.context_of) == (["가 다", "라"], ["q", "s"], [0, 1])
    with_a_question = isinstance(part, dict) and bool(part.get("qas"))
    assert list(questions.counts.values()) == [1] + [1] * with_a_question


@pytest.mark.parametrize("article", [{}, {"paragraphs": {}}, [], None, "글"])
def test_malformed_articles(article: object, file: Path):
    content = json.dumps({"data": [article, {"paragraphs": [paragraph("가", qa("q", answer("가", 0)))]}]})
    assert problem(file, content) == 'korquad.json: data[0]: no list "paragraphs"'
    questions = read(file, content, skip_bad_rows=True)
    assert (questions.ids, list(questions.counts.values())) == (["q"], [1])


def test_all_that_is_malformed_is_reported_at_once(file: Path):
    bad = [qa(f"q{i}", answer("나", 9)) for i in range(3)]
    content = squad(paragraph("가 나", GOOD, *bad), paragraph("", GOOD), paragraph("다", qa(None), {}, "x"))
    lines = problem(file, content).split("\n")
    outside = "answer_start 9 is outside the context of 3 characters"
    assert lines[:3] == [f"korquad.json: question 'q{i}': {outside}" for i in range(3)]
    assert lines[3:5] == [
        "korquad.json: data[1].paragraphs[0]: the context is empty",
        'korquad.json: data[2].paragraphs[0].qas[0]: no "id"',
    ]
    assert lines[5:] == ["... and 2 more malformed rows in korquad.json (--skip_bad_rows leaves them out)"]
    questions = read(file, content, skip_bad_rows=True)
    assert counts(questions, file) == {
        f"malformed rows left out (first {lines[0]})": 7,
        "questions left out with a malformed context": 1,
    }
    assert questions.ids == ["r"]


def test_a_malformed_question_does_not_take_its_id_from_another(file: Path):
    content = squad(paragraph("가 나", qa("q", answer("나", 9)), qa("q", answer("나", 2))))
    questions = read(file, content, skip_bad_rows=True)
    assert (questions.ids, questions.spans) == (["q"], [(2, 3)])


def test_a_number_and_a_text_are_the_same_id(file: Path):
    content = squad(paragraph("가", qa(7, answer("가", 0)), qa("7", answer("가", 0))))
    assert problem(file, content) == "korquad.json: question '7': another question has the same id"


NO_SQUAD = ': not in the SQuAD format: an object with a list "data" is expected'


@pytest.mark.parametrize(
    "content, what",
    [
        ("", ": there is nothing in it"),
        ("[]", NO_SQUAD),
        ("{}", NO_SQUAD),
        ('{"data": {}}', NO_SQUAD),
        ('"data"', NO_SQUAD),
        ('{"data": []}', ": there are no questions in it"),
        ('{"data": [{"paragraphs": []}]}', ": there are no questions in it"),
        (squad(paragraph("가")), ": there are no questions in it"),
        ('{"data":\n\n [}', ":3: not valid JSON: Expecting value (column 3)"),
        (squad(paragraph("가", GOOD))[:-2], ":1: not valid JSON: Expecting ',' delimiter (column "),
        ('{"data": [' + "9" * 5000 + "]}", ": a number has thousands of digits, or brackets are nested too deep"),
        (squad(paragraph("가", GOOD)).encode("utf-16"), ": is UTF-16; save it as UTF-8"),
    ],
)
def test_other_files(content: str | bytes, what: str, file: Path):
    assert problem(file, content).startswith(f"korquad.json{what}")


ROW = {"id": "q", "context": "가 나", "question": "?", "answers": {"text": ["나"], "answer_start": [2]}}
PAGE = {"context": "<p>가", "qas": [{"id": "q", "question": "?", "answer": {"text": "가", "answer_start": 3}}]}
TYDI = {"example_id": 1, "document_plaintext": "가", "question_text": "?", "language": "korean", "annotations": []}
MRQA = {"context": "가", "qas": [{"qid": "q", "question": "?", "answers": ["가"], "detected_answers": []}]}
IS_ROW = "; it is one question, as the library datasets writes them"
IS_PAGE = "; this is the form of KorQuAD 2: run_long_qa.py --task korquad-2 reads it"
IS_TYDI = "; this is the form of TyDi QA: run_long_qa.py --task tydiqa reads it"
IS_MRQA = "; this is the form of MRQA, which is not read: convert it to SQuAD's"
LINES = ": each line is JSON by itself, and the whole file must be one object"


def json_lines(*objects: object) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)


@pytest.mark.parametrize(
    "content, what",
    [
        (json_lines(ROW, ROW), f"{LINES}{IS_ROW}; right is {SQUAD}"),
        (json_lines(TYDI, TYDI), f"{LINES}{IS_TYDI}"),
        (json_lines({"header": {"dataset": "x"}}, MRQA), f"{LINES}{IS_MRQA}"),
        (json_lines(ROW), f"{NO_SQUAD}{IS_ROW}; right is {SQUAD}"),
        (json.dumps([ROW]), f"{NO_SQUAD}{IS_ROW}; right is {SQUAD}"),
        (json.dumps(TYDI), f"{NO_SQUAD}{IS_TYDI}"),
        (json.dumps([]), f"{NO_SQUAD}; right is {SQUAD}"),
        (
            json.dumps(json.loads(squad(paragraph("가")))["data"]),
            f'{NO_SQUAD}; this is the list alone: put it into {{"data": ...}}; right is {SQUAD}',
        ),
        (json.dumps({"data": [ROW]}), f': data[0]: no list "paragraphs"{IS_ROW}'),
        (json.dumps({"data": [PAGE]}), f': data[0]: no list "paragraphs"{IS_PAGE}'),
        (json.dumps({"data": [MRQA]}), f': data[0]: no list "paragraphs"{IS_MRQA}'),
        (
            json.dumps({"data": [{"passages": []}]}),
            ': data[0]: no list "paragraphs"; it has "passages", which is called "paragraphs" here',
        ),
        (
            json.dumps({"data": [{"paragraphs": [{"passage": "가", "qas": []}]}]}),
            ': data[0].paragraphs[0]: no text "context"; it has "passage", which is called "context" here',
        ),
        (
            json.dumps({"data": [{"paragraphs": [{"context": "가", "questions": []}]}]}),
            ': data[0].paragraphs[0]: no list "qas"; it has "questions", which is called "qas" here',
        ),
    ],
)
def test_files_of_nearly_the_right_form(content: str, what: str, file: Path):
    assert problem(file, content) == f"korquad.json{what}"


def test_nothing_is_left(file: Path):
    found = problem(file, squad(paragraph("가", qa("q", answer("가", 1)))), "utf-8", True)
    what = "korquad.json: question 'q': answer_start 1 is outside the context of 1 characters"
    assert found == f"korquad.json: no questions are left (malformed rows left out (first {what}): 1)"


# --------------------------------------------------------------------------------------------------------------------
# Encodings and sizes
# --------------------------------------------------------------------------------------------------------------------


def test_encodings(file: Path):
    content = json.dumps(json.loads(squad(paragraph(CONTEXT, qa("q", answer("일본", 13))))), ensure_ascii=False)
    for data, encoding in ((content.encode("cp949"), "cp949"), (b"\xef\xbb\xbf" + content.encode(), "utf-8")):
        questions = read(file, data, encoding)
        assert (questions.contexts, questions.texts, questions.spans) == ([CONTEXT], ["질문 q?"], [(13, 15)])
    found = problem(file, content.encode("cp949"))
    assert found.startswith("korquad.json:1: not UTF-8 at byte ")
    assert found.endswith("the whole file reads as CP949: --encoding cp949, or convert it with iconv")


def test_lone_surrogates_leave_offsets_as_they_are(file: Path):
    context = "가\ud83d 나\ude00다 😀 라"
    content = squad(
        paragraph(context, qa("q", answer("나\ude00다", 3), question="\ud83d무엇?"), qa("r", answer("라", 9)))
    )
    assert "\\ud83d" in content  # as JSON spells them
    questions = read(file, content)
    assert questions.contexts == ["가\ufffd 나\ufffd다 😀 라"]
    assert questions.texts == ["\ufffd무엇?", "질문 r?"]
    assert (questions.answers, questions.spans) == ([("나\ufffd다",), ("라",)], [(3, 6), (9, 10)])
    assert dict(questions.counts) == {"texts with a lone surrogate, replaced by U+FFFD": 3}


def test_a_context_of_one_character(file: Path):
    questions = only(file, "😀", answer("😀", 0))
    assert questions.spans == [(0, 1)] and questions.counts == {}


def test_a_context_of_a_million_characters(file: Path):
    def written(size: int) -> tuple[str, list[dict], str]:
        """The context, questions of which the answers are where they are said to be, and a file with more of them."""
        context = "".join(random.Random(0).choices("가나다라마 ", k=size)) + "끝"
        places = [at for at in range(3, size - 1_000, 9_990) if context[at : at + 5].strip()]
        exact = [qa(at, answer(context[at : at + 5], at)) for at in places]
        off = [qa(f"off {i}", answer("끝", size // 2)) for i in range(size // 50_000)]
        moved = paragraph("바" * size, qa("moved", answer("바" * 10, size - 5)))
        return context, exact, squad(paragraph(context, *exact, *off, qa("last", answer("끝", size))), moved)

    of_size = {size: written(size) for size in (50_000, 1_000_000)}
    expect_linear(lambda size: read(file, of_size[size][-1]), 50_000)
    context, exact, content = of_size[1_000_000]
    questions = read(file, content)
    for (a, b), texts in zip(questions.spans[: len(exact)], questions.answers, strict=False):
        assert context[a:b] == texts[0].strip()
    assert questions.spans[-2:] == [(1_000_000, 1_000_001), (999_990, 1_000_000)]
    assert questions.spans[len(exact) : -2] == [UNANSWERABLE] * 20


# --------------------------------------------------------------------------------------------------------------------
# Questions to be answered; several files; parts
# --------------------------------------------------------------------------------------------------------------------

TO_ANSWER = squad(
    paragraph("가 나", without(qa("q"), "answers"), qa("r", answer("없다", -5)), qa("s", is_impossible=True)),
    paragraph("다", {"guid": "t", "question": "무엇?"}),
)


def from_file(path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> Questions:
    path.write_text(content, encoding="utf-8")
    return read_unanswered(TASKS["korquad"], path)


def from_stdin(path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> Questions:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    return read_unanswered(TASKS["korquad"], None)


@pytest.mark.parametrize("take", [from_file, from_stdin])
def test_questions_to_be_answered(take: Callable, file: Path, monkeypatch):
    questions = take(file, TO_ANSWER, monkeypatch)
    assert (questions.ids, questions.texts[3], questions.context_of) == (["q", "r", "s", "t"], "무엇?", [0, 0, 0, 1])
    assert (questions.answers, questions.spans) == ([()] * 4, [UNANSWERABLE] * 4)
    assert not questions.is_labelled and not questions.has_unanswerable and questions.counts == {}
    place = str(file) if take is from_file else "standard input"
    for content, what in (
        ("", ": there is nothing in it"),
        ("[]", f"{NO_SQUAD}; right is {SQUAD}"),
        (squad(paragraph("가", {"id": "q"})), ": question 'q': no text \"question\""),
    ):
        with pytest.raises(DataError) as error:
            take(file, content, monkeypatch)
        assert str(error.value) == place + what


def test_two_files(file: Path):
    first = read(file, squad(paragraph("가 나", qa("a", answer("나", 2))), paragraph("다", qa("b", answer("다", 0)))))
    second = read(file, squad(paragraph("가 나"), paragraph("라 마", qa("c", answer("마", 1)), qa("d"))))
    both = first + second
    assert both.contexts == ["가 나", "다", "라 마"]
    assert (both.ids, both.context_of) == (["a", "b", "c", "d"], [0, 1, 2, 2])
    assert both.texts == [f"질문 {id}?" for id in "abcd"]
    assert both.answers == [("나",), ("다",), ("마",), ()]
    assert both.spans == [(2, 3), (0, 1), UNANSWERABLE, UNANSWERABLE]
    assert sum(both.counts.values()) == 1 and both.counts == second.counts
    assert (first.ids, second.context_of) == (["a", "b"], [0, 0])  # as they were
    third = read(file, squad(paragraph("바", qa("a", answer("바", 0)), qa("c", answer("바", 0)))))
    with pytest.raises(DataError, match=r"^two files have a question with the id 'a', 2 ids in all$"):
        both + third


def test_some_of_the_questions(file: Path):
    content = squad(paragraph("가 나", qa("a", answer("나", 2)), qa("b"), qa("c", answer("나", 0))))
    questions = read(file, content)
    kept = questions.where(np.array([True, False, True]))
    assert (kept.ids, kept.texts, kept.context_of) == (["a", "c"], ["질문 a?", "질문 c?"], [0, 0])
    assert (kept.answers, kept.spans) == ([("나",), ("나",)], [(2, 3), UNANSWERABLE])
    assert kept.contexts == questions.contexts and kept.counts == questions.counts
    assert questions.has_unanswerable and not kept.has_unanswerable
    kept.counts["more"] += 1
    assert "more" not in questions.counts and len(questions) == 3
    assert len(questions.where(np.zeros(3, bool))) == 0
    with pytest.raises(ValueError):
        questions.where(np.array([True]))


@pytest.mark.parametrize("name, count", [("KorQuAD_v1.0_train.json", 4_153), ("KorQuAD_v1.0_dev.json", 856)])
def test_a_part_of_korquad_itself(name: str, count: int):
    if not (KORQUAD / name).is_file():
        pytest.skip("the real data is not here")
    questions = read_squad(TASKS["korquad"], KORQUAD / name)
    assert len(questions) == count and not questions.has_unanswerable and questions.counts == {}
    places = zip(questions.context_of, questions.spans, questions.answers, strict=True)
    assert sum(questions.contexts[context][a:b] != answers[0] for context, (a, b), answers in places) <= 1
