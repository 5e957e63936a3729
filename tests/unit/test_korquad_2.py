"""The reader of KorQuAD 2.1: pages without their layout, and answers that stand where they are said to."""

import contextlib
import gzip
import io
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from growth import expect_linear
from processors.qa.korquad_2 import (
    BROKEN_FILES,
    KEPT_TAGS,
    LAYOUT_TAGS,
    NEVER_CLOSES,
    NOT_FIRST,
    UNREAD,
    UNVERIFIED,
    VANISHED,
    cleaned_html,
    first_of_each_context,
    read_korquad_2,
    read_unanswered_korquad_2,
)
from processors.qa.long_qa import LONG_QA_TASKS
from processors.qa.questions import UNANSWERABLE, Questions
from processors.task import DataError

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "korquad_2"
(KORQUAD_2,) = (task for task in LONG_QA_TASKS if task.name == "korquad-2")
MOVED = "answers found beside their answer_start and moved"
LOST = "answers not at their answer_start, of no use in training"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train.json"


def qa(id: object, text: object, start: object, **other: object) -> dict:
    answer = {"text": text, "answer_start": start, "html_answer_text": text, "html_answer_start": 0}
    return {"question": f"질문 {id}?", "id": id, "answer": answer} | other


def at(id: object, text: str, context: str, nth: int = 0) -> dict:
    """A question whose answer is the n-th of that text in the context."""
    return qa(id, text, [match.start() for match in re.finditer(re.escape(text), context)][nth])


def document(context: object, *qas: object, title: object = "글") -> dict:
    return {"title": title, "url": "https://", "context": context, "raw_html": "<a href='x'>", "qas": list(qas)}


def content(*documents: object) -> str:
    return json.dumps({"version": "KorQuAD_2.1_train", "data": list(documents)}, ensure_ascii=False)


def read(path: Path, text: str | bytes, skip_bad_rows: bool = False) -> Questions:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_korquad_2(KORQUAD_2, path, "utf-8", skip_bad_rows)


def problem(path: Path, text: str | bytes, skip_bad_rows: bool = False) -> str:
    """What is said of the file, its folder left out."""
    with pytest.raises(DataError) as error:
        read(path, text, skip_bad_rows)
    return str(error.value).replace(str(path), path.name)


def only(path: Path, context: str, part: dict) -> Questions:
    return read(path, content(document(context, part)))


def verified(questions: Questions) -> int:
    """How many answers stand at their spans."""
    places = zip(questions.context_of, questions.spans, questions.answers, strict=True)
    return sum(questions.contexts[context][slice(*span)] == text != "" for context, span, (text,) in places)


# --------------------------------------------------------------------------------------------------------------------
# What is left of a page
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "html, expected",
    [
        ("<p>서울은 <a>수도</a>이다.</p>", "서울은 수도이다."),
        ("<!DOCTYPE html>\n<html>\n<head>\n<meta>\n<title>서울 - 위키백과</title>\n<link></head>서울", "\n서울"),
        ("<title>서울\n백과</title>가", "가"),
        ("<title>서울 가", "서울 가"),  # never closed: a tag like others
        (
            '<table>\n<tbody><tr>\n<th colspan="2">값</th></tr><tr><td rowspan="3" colspan="2">1</td></tr></tbody>'
            "</table>",
            '<table>\n<tr>\n<th c2">값</th></tr><tr><td r3" c2">1</td></tr></table>',
        ),
        (
            "<div><ul><li><b>가</b></li></ul><ol><li>나</ol><dl><dt>다<dd>라</dl></div>",
            "<ul><li>가</li></ul><ol><li>나</ol><dl><dt>다<dd>라</dl>",
        ),
        ("<caption>표</caption><thead><tr></thead><col><TD>가</TD>", "<caption>표</caption><tr><TD>가</TD>"),
        ("역사<span>[</span><a>편집</a><span>]</span>\n가[편집]나 [1] 편집", "역사\n가나 [1] 편집"),
        ("가   나\n\n\n다 \n \n라\t\t마", "가 나\n다 \n \n라\t\t마"),
        ("가 <b> </b> 나\n<p>\n</p>\n다", "가 나\n다"),
        ("가<br/>나<br>다</br>라<img>마<input>", "가나다라마"),
        ("가<!-- <td> 나 > -->다<!-- -->라", "가다라"),
        ("가<!-->나<!--->다<!-- 라 <!-->마", "가나다마"),  # as HTML has it, which ends there
        ("<title>가 <b>나</b></title>다", "가 나다"),  # no page of Wikipedia has tags there: they go, the text stays
        ('<p title="a>b">가</p>', 'b">가'),  # contexts have no attributes but those of cells
        ("<![CDATA[가]]>나", "<![CDATA[가]]>나"),
        ("<style>가{}</style><script>나 < 다</script>라", "가{}나 < 다라"),
        ("<math><mrow><mi>x</mi><mo>=</mo><mn>1</mn></mrow></math>", "x=1"),
        ("<서울> <Help!> <unknown> 1 < 2 > 0, a<b", "<서울> <Help!> <unknown> 1 < 2 > 0, a<b"),
        ("<bb>가</theader><thx><ab>", "<bb>가</theader><thx><ab>"),  # begin like tags
        ('<a href="x">가</a><td class="b">나</td>', '가<td class="b">나</td>'),
        ("&lt;b&gt; &amp; &nbsp;", "&lt;b&gt; &amp; &nbsp;"),
        ("crowspan=\"2\" 'rowspan='", "crowspan=\"2\" 'rowspan='"),
        ("", ""),
        ("<p></p>", ""),
        (" ", " "),
    ],
)
def test_cleaned_html(html: str, expected: str):
    assert cleaned_html(html).text == expected


def test_each_tag_is_kept_or_goes():
    assert not set(KEPT_TAGS) & set(LAYOUT_TAGS)
    for tag in KEPT_TAGS:
        assert cleaned_html(f"<{tag}>가</{tag}>").text == f"<{tag}>가</{tag}>"
    for tag in LAYOUT_TAGS:
        assert cleaned_html(f"<{tag}>가</{tag}><{tag.upper()} />").text == ("" if tag == "title" else "가")


COMMENT = re.compile("<!--(?:-?>|.*?-->)", re.DOTALL)  # <!--> is a whole one


def one_after_the_other(text: str) -> str:
    """The same as a chain of replacements, without positions."""
    text = COMMENT.sub("", text)
    text = re.sub("<title>[^<]*</title>", "", text)
    for tag in ("a", "b", "p", "span", "tbody", "title"):
        text = text.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    text = re.sub(r"\b(r)owspan=\"|\b(c)olspan=\"|\[편집\]", lambda match: match[1] or match[2] or "", text)
    return re.sub("\n+", "\n", re.sub(" +", " ", text))


PIECES = st.lists(
    st.sampled_from(
        "가 나 1 < > & / 😀 \n \u3000 <a> </a> <b> </b> <p> </p> <tbody> </tbody> <span>[</span> 편집 ] [편집] [ <td> "
        '</td> <table> </table> <li> <title> </title> <td_rowspan="2"> <th_colspan="3"> rowspan=" <!-- --> '.split(" ")
    ).map(lambda piece: piece.replace("_", " ") or " "),
    max_size=30,
)


@settings(max_examples=500)
@given(PIECES)
@example(["<!--", ">", "-->"])
def test_cleaning_is_a_chain_of_replacements_that_knows_where_it_was(pieces: list[str]):
    html = "".join(pieces)
    if "<!--" in COMMENT.sub("", html):
        return  # refused in contexts
    cleaned = cleaned_html(html)
    if "<" not in re.sub("<[^<>]*>", "", html):  # whole tags only, so that a removed one makes no other
        assert cleaned.text == one_after_the_other(html)
    assert cleaned.origin.dtype == np.int32 and (np.diff(cleaned.origin) > 0).all()
    assert "".join(html[i] for i in cleaned.origin) == cleaned.text


@given(PIECES, st.integers(0, 200), st.integers(0, 200))
def test_spans_are_what_is_left_of_them(pieces: list[str], a: int, b: int):
    html = "".join(pieces)
    a, b = sorted((a % (len(html) + 1), b % (len(html) + 1)))
    cleaned = cleaned_html(html)
    start, end = cleaned.span(a, b)
    left = "".join(html[i] for i in cleaned.origin if a <= i < b)
    assert cleaned.text[start:end] == left.strip()
    assert start <= end and (left.strip() or start == end)
    if left.strip():
        first = next(i for i in cleaned.origin if i >= a and html[i].strip())
        assert cleaned.origin[start] == first


@pytest.mark.parametrize(
    "part",
    [
        *("<", "<div>", "<!--", "<!-- >", "<a ", "</", "<title>", "<![a", "<!", "<![CDATA[", "<table>", "--", " "),
        *('<td rowspan="', '<p title="a>b">'),
    ],
)
def test_time_grows_with_length_only(part: str, file: Path):
    def work(size: int) -> None:
        html = part * (size // len(part))
        cleaned_html(html)
        file.write_text(content(document(f"가{html}", qa("q", "가", 0))), encoding="utf-8")
        with contextlib.suppress(DataError):  # of some the page breaks off
            read_korquad_2(KORQUAD_2, file)

    expect_linear(work, 10_000)


# --------------------------------------------------------------------------------------------------------------------
# Questions and answers
# --------------------------------------------------------------------------------------------------------------------

PAGE = (
    "<p>임종석은 <a>1989년</a> 2월에\n\n <b>서울</b>에서 "
    '<table><tbody><tr><td colspan="2">학생</td></tr></tbody></table></p>'
)
LEFT = '임종석은 1989년 2월에\n 서울에서 <table><tr><td c2">학생</td></tr></table>'


def test_questions(file: Path):
    second = "<li>부산은 항구</li>이다."
    questions = read(
        file,
        content(
            document(PAGE, at("10000", "1989년</a> 2월", PAGE), at("10001", "임종석", PAGE)),
            document(second, at(10002, "<li>부산은 항구</li>", second)),
        ),
    )
    assert questions.contexts == [LEFT, second]
    assert questions.ids == ["10000", "10001", "10002"]
    assert questions.texts == ["질문 10000?", "질문 10001?", "질문 10002?"]
    assert questions.context_of == [0, 0, 1]
    assert questions.answers == [("1989년 2월",), ("임종석",), ("<li>부산은 항구</li>",)]
    assert questions.spans == [(5, 13), (0, 3), (0, 15)]
    assert questions.counts == {} and questions.is_labelled and not questions.has_unanswerable


@pytest.mark.parametrize(
    "answer, found, span",
    [
        ("임종석", "임종석", (0, 3)),  # the first characters
        ("<p>임종석", "임종석", (0, 3)),
        ("1989년", "1989년", (5, 10)),
        (">1989년<", None, None),
        ("<a>1989년</a>", "1989년", (5, 10)),
        ("석은 <a>19", "석은 19", (2, 7)),
        ("2월에\n\n <b>서울", "2월에\n 서울", (11, 18)),
        ("에\n", "에", (13, 14)),
        ("\n <b>서울</b>", "서울", (16, 18)),
        (
            '<table><tbody><tr><td colspan="2">학생</td></tr></tbody></table>',
            '<table><tr><td c2">학생</td></tr></table>',
            (21, len(LEFT)),
        ),
        ('<td colspan="2">학생</td>', '<td c2">학생</td>', (32, 32 + len('<td c2">학생</td>'))),
        ("학생", "학생", (40, 42)),
        ("</table></p>", "</table>", (len(LEFT) - 8, len(LEFT))),  # the last ones
    ],
)
def test_answers_are_carried_along(answer: str, found: str | None, span: tuple[int, int] | None, file: Path):
    questions = only(file, PAGE, at("q", answer, PAGE))
    assert questions.contexts == [LEFT]
    if found is None:  # its tags are cut, so that without them it is another text
        assert questions.spans == [UNANSWERABLE]
        assert sum(questions.counts.values()) == 1
        return
    assert (questions.answers, questions.spans) == ([(found,)], [span])
    assert LEFT[slice(*span)] == found and questions.counts == {}


@pytest.mark.parametrize(
    "markup",
    [
        "<title>글",
        "<title>글 <b>백과</b></title>",
        '<p title="a>b">',
        "<!-- 서울 <b> > -->",
        "<!-->",
        "<![CDATA[ 서울 ]]>",
        "<script>if (a < b && c > d) { '서울' }</script>",
        "<style>td > a { color: red }</style>",
        "</",
        "<td",
    ],
)
def test_answers_beside_odd_markup(markup: str, file: Path):
    page = f"서울<p>가</p>{markup}서울 나 {markup}<b>서울</b>>"
    places = [match.start() for match in re.finditer("서울", page)]
    outside = [at for at in places if not any(m.start() <= at < m.end() for m in re.finditer(re.escape(markup), page))]
    questions = read(file, content(document(page, *(qa(f"q{at}", "서울", at) for at in outside))))
    assert verified(questions) == len(questions) == 3 and questions.answers == [("서울",)] * 3
    assert questions.spans == sorted(set(questions.spans)) and questions.counts == {}


def test_a_repeated_answer_is_the_one_at_its_offset(file: Path):
    page = "<b>서울</b> <i>서울</i>\n\n\n<td>서울</td>"
    questions = read(file, content(document(page, *(at(n, "서울", page, n) for n in range(3)))))
    assert questions.contexts == ["서울 서울\n<td>서울</td>"]
    assert questions.spans == [(0, 2), (3, 5), (10, 12)]


def test_an_answer_whose_prefix_ends_in_a_tag_is_where_it_should_be(file: Path):
    """The original cleans the text before the answer by itself: here `<p` would be left of it, two characters."""
    page = "<p>가 <p>나</p>"
    questions = only(file, page, qa("q", ">나", page.index(">나")))
    assert questions.spans == [UNANSWERABLE]  # and not one that is off by two
    (what,) = questions.counts
    assert what == f"{UNVERIFIED} ({file}: 'q': '>나' should be at 2, where '나' stands)"
    assert questions.answers == [(">나",)]  # for the score


@pytest.mark.parametrize(
    "page, answer, gold",
    [
        ("<p>가</p> <img> 나", "<img>", "<img>"),
        ("<title>서울 - 백과</title>가", "서울 - 백과", "서울 - 백과"),
        ("역사<span>[</span><a>편집</a><span>]</span> 가", "편집", "편집"),
        ("가<!-- 주석 -->나", "주석", "주석"),
        ("가 <b> </b> 나", "<b> </b>", "<b> </b>"),
    ],
)
def test_an_answer_that_vanishes_with_the_tags(page: str, answer: str, gold: str, file: Path):
    questions = read(file, content(document(page, at("q", answer, page), at("r", "가", page))))
    assert (questions.answers, questions.spans[0]) == ([(gold,), ("가",)], UNANSWERABLE)
    assert not questions.has_unanswerable  # it counts in the evaluation
    assert dict(questions.counts) == {f"{VANISHED} ({file}: 'q': {answer!r})": 1}


def test_answers_that_are_not_where_they_are_said_to_be(file: Path):
    page = "<p>임종석은 서울에 <b>살았다</b>.</p>"
    parts = [qa("moved", "서울", page.index("서울") + 1), qa("lost", "서울", 0), qa("none", "<b>부산</b>", 3)]
    questions = read(file, content(document(page, *parts)))
    assert questions.spans == [(5, 7), UNANSWERABLE, UNANSWERABLE]
    assert questions.answers == [("서울",), ("서울",), ("부산",)]
    assert {what.split(" (")[0]: count for what, count in questions.counts.items()} == {MOVED: 1, LOST: 2}
    assert "'moved' says 9, where '울에' stands; '서울' is at 8" in next(iter(questions.counts))


def test_the_first_of_many_are_shown(file: Path):
    page = "<img>" * 7 + "가"
    questions = read(file, content(document(page, *(qa(f"q{n}", "<img>", 5 * n) for n in range(7)))))
    shown = "; ".join(f"'q{n}': '<img>'" for n in range(5))
    assert dict(questions.counts) == {f"{VANISHED} ({file}: {shown}, ...)": 7}


@settings(max_examples=300, deadline=None)
@given(PIECES, st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30)), min_size=1, max_size=5))
def test_every_answer_is_verified_or_counted(tmp_path_factory, pieces: list[str], cuts: list[tuple[int, int]]):
    page = "서울 " + "".join(pieces).replace("<!--", "") + "> 부산"
    parts = [qa(f"q{n}", page[a % len(page) :][:length], a % len(page)) for n, (a, length) in enumerate(cuts)]
    parts = [part for part in parts if part["answer"]["text"].strip()]
    file = tmp_path_factory.mktemp("page") / "page.json"
    questions = read(file, content(document(page, qa("first", "서울", 0), *parts)))
    assert len(questions) == len(parts) + 1
    unusable = sum(span == UNANSWERABLE for span in questions.spans)
    assert verified(questions) == len(questions) - unusable
    counted = Counter({what.split(" (")[0]: count for what, count in questions.counts.items()})
    assert counted[VANISHED] + counted[UNVERIFIED] + counted[LOST] == unusable
    for (text,), part in zip(questions.answers[1:], parts, strict=True):
        assert text in (cleaned_html(part["answer"]["text"]).text.strip(), part["answer"]["text"])


# --------------------------------------------------------------------------------------------------------------------
# Folders, and the questions that are trained on
# --------------------------------------------------------------------------------------------------------------------


def pages(*ids: str) -> str:
    return content(*(document(f"<p>{id} 서울</p>", at(id, "서울", f"<p>{id} 서울</p>")) for id in ids))


def test_a_folder_is_read_by_name(tmp_path: Path):
    for name, ids in (("b_01.json", "라마"), ("b_00.json", "다"), ("a.json", "가나")):
        (tmp_path / name).write_text(pages(*ids), encoding="utf-8")
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(pages("사").encode()))
    (tmp_path / "._a.json").write_bytes(b"\0\0macOS")
    (tmp_path / "README.md").write_text("글", encoding="utf-8")
    questions = read_korquad_2(KORQUAD_2, tmp_path)
    assert questions.ids == list("가나다라마사") and questions.context_of == [0, 1, 2, 3, 4, 5]
    assert questions.contexts == [f"{id} 서울" for id in "가나다라마사"] and verified(questions) == 6
    assert read_korquad_2(KORQUAD_2, tmp_path / "b_01.json").ids == ["라", "마"]


def test_a_download_that_is_not_finished_is_noticed(tmp_path: Path):
    (tmp_path / "a.json").write_text(pages("가"), encoding="utf-8")
    assert read_korquad_2(KORQUAD_2, tmp_path).counts == {}
    (tmp_path / "b.zip").touch()  # somebody may have unpacked it by hand
    unpacked = f"archives that are not unpacked: not all may be there ({tmp_path}: b.zip)"
    assert read_korquad_2(KORQUAD_2, tmp_path).counts == {unpacked: 1}
    (tmp_path / "c.zip.part").touch()
    with pytest.raises(DataError) as error:
        read_korquad_2(KORQUAD_2, tmp_path)
    what = f"{tmp_path}/c.zip.part: not downloaded whole: download_qa_dataset.sh goes on with it"
    assert str(error.value) == what
    questions = read_korquad_2(KORQUAD_2, tmp_path, skip_bad_rows=True)
    assert questions.ids == ["가"] and questions.counts == {unpacked: 1, f"{BROKEN_FILES} (first {what})": 1}


def test_folders_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "train_00.zip").touch()
    with pytest.raises(DataError, match=r"/train: no \*\.json files in this folder; it holds train_00\.zip$"):
        read_korquad_2(KORQUAD_2, tmp_path / "train")
    with pytest.raises(DataError, match=r"/dev: no such file; the folder holds train$"):
        read_korquad_2(KORQUAD_2, tmp_path / "dev")


def test_a_broken_file_among_others(tmp_path: Path):
    for name, text in (
        ("a.json", pages("가")),
        ("b.json", pages("나")[:-20]),
        ("c.json", "[]"),
        ("d.json", pages("라")),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_korquad_2(KORQUAD_2, tmp_path)
    first, second = str(error.value).split("\n")
    assert first.startswith(f"{tmp_path}/b.json:1: not valid JSON: ")
    assert second.startswith(
        f'{tmp_path}/c.json: not in the KorQuAD 2.1 format: an object with a list "data" is expected; right is {{"data"'
    )
    questions = read_korquad_2(KORQUAD_2, tmp_path, skip_bad_rows=True)
    assert questions.ids == ["가", "라"] and questions.counts == {f"{BROKEN_FILES} (first {first})": 2}


def test_an_id_in_two_files(tmp_path: Path):
    (tmp_path / "a.json").write_text(pages("가", "나"), encoding="utf-8")
    (tmp_path / "b.json").write_text(pages("나", "다"), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_korquad_2(KORQUAD_2, tmp_path)
    assert str(error.value) == f"{tmp_path}/b.json: data[0] ('글'): question '나': another question has the same id"
    assert read_korquad_2(KORQUAD_2, tmp_path, skip_bad_rows=True).ids == ["가", "나", "다"]


def test_the_first_question_of_each_document(file: Path):
    page = "<p>가 나</p>"
    parts = [
        document(page, *(at(f"{d}-{q}", "나", page) for q in range(count))) for d, count in enumerate((3, 0, 1, 2))
    ]
    questions = read(file, content(*parts))
    first = first_of_each_context(questions)
    assert first.ids == ["0-0", "2-0", "3-0"] and first.context_of == [0, 1, 2]
    assert first.contexts == questions.contexts == ["가 나"] * 3
    assert first.counts == {NOT_FIRST: 3} and questions.counts == {} and len(questions) == 6
    assert first_of_each_context(first).ids == first.ids and first_of_each_context(first).counts == {NOT_FIRST: 3}
    assert len(first_of_each_context(questions.where(np.zeros(6, bool)))) == 0
    # Of two files the contexts are counted on.
    assert first_of_each_context(questions.where(np.arange(6) > 3) + read(file, pages("가"))).ids == ["3-0", "가"]


# --------------------------------------------------------------------------------------------------------------------
# Questions to be answered
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["a folder", "a file", "standard input"])
def test_questions_to_be_answered(source: str, file: Path, monkeypatch: pytest.MonkeyPatch):
    """The page is cleaned as in training; answers may be absent, or wrong: nobody looks."""
    asked = [qa("a", "임종석", 0), {"id": "b", "question": "언제?"}, qa("c", "", 10**6, answer={"text": 1})]
    text = content(document(PAGE, *asked), document("<b>부산</b>", {"id": 4, "question": "어디?"}))
    if source == "standard input":
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    else:
        file.write_text(text, encoding="utf-8")
    path = {"a folder": file.parent, "a file": file, "standard input": None}[source]
    questions = read_unanswered_korquad_2(KORQUAD_2, path)
    assert questions.contexts == [LEFT, "부산"] and questions.context_of == [0, 0, 0, 1]
    assert (questions.ids, questions.texts[1:]) == (["a", "b", "c", "4"], ["언제?", "질문 c?", "어디?"])
    assert questions.answers == [()] * 4 and questions.spans == [UNANSWERABLE] * 4
    assert not questions.is_labelled and not questions.has_unanswerable and questions.counts == {}


def test_what_cannot_be_answered(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content(document("<b>")).encode())))
    with pytest.raises(DataError, match=r"^standard input: data\[0\] \('글'\): nothing is left of the context"):
        read_unanswered_korquad_2(KORQUAD_2, None)
    file.write_text(content(*(document("가", {"question": "?"}) for _ in range(7))), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_unanswered_korquad_2(KORQUAD_2, file)
    last = str(error.value).split("\n")[-1]
    assert last == f"... and 2 more malformed rows in {file}"  # there is no flag that leaves them out


def test_a_file_in_the_format_of_squad(file: Path):
    text = content({"title": "글", "paragraphs": [{"context": "가", "qas": []}]})
    assert problem(file, text) == (
        'train.json: in the SQuAD format, with "paragraphs"; in the KorQuAD 2.1 format each entry of "data" has a '
        '"context" and "qas"'
    )


# --------------------------------------------------------------------------------------------------------------------
# What is refused, and what is only said
# --------------------------------------------------------------------------------------------------------------------

GOOD = document("<p>다</p>", qa("good", "다", 3))


@pytest.mark.parametrize(
    "part, what",
    [
        (document("", qa("q", "가", 0)), "data[1] ('글'): the context is empty"),
        (document(" \n", qa("q", "가", 0)), "data[1] ('글'): the context is empty"),
        (document(None, qa("q", "가", 0)), "data[1] ('글'): no text \"context\""),
        (
            document("<p> <b></b>\n</p>", qa("q", "<b>", 4)),
            "data[1] ('글'): nothing is left of the context without its tags",
        ),
        (document("<p>가</p>") | {"qas": {}}, "data[1] ('글'): no list \"qas\""),
        (document("가", title=None) | {"qas": None}, 'data[1]: no list "qas"'),
        ([], 'data[1]: no text "context"'),
        (
            document('<table><tr><td colspan="2', qa("q", "<tr>", 7)),
            "data[1] ('글'): the context breaks off inside the tag or comment '<td colspan=\"2' at character 11",
        ),
        (
            document("가 나</", qa("q", "가", 0)),
            "data[1] ('글'): the context breaks off inside the tag or comment '</' at character 3",
        ),
        (
            document("<p>가</p><!-- <b>나</b> <i>", qa("q", "가", 3)),
            "data[1] ('글'): the context breaks off inside the tag or comment '<!-- <b>나</b> <i>' at character 8",
        ),
    ],
)
def test_malformed_documents(part: object, what: str, file: Path):
    text = content(GOOD, part, document("<p>라</p>", qa("s", "라", 3)))
    assert problem(file, text) == f"train.json: {what}"
    questions = read(file, text, skip_bad_rows=True)
    assert (questions.ids, questions.contexts, questions.context_of) == (["good", "s"], ["다", "라"], [0, 1])
    unread = {UNREAD: 1} if isinstance(part, dict) and part["qas"] else {}
    assert dict(questions.counts) == {f"malformed rows left out (first {file}: {what})": 1} | unread


@pytest.mark.parametrize("page", ["가 < 나", "가 3 <", "가 <3", "가 <나", "<b>가</b> <서울", "<!-- 가 --> 나"])
def test_what_is_no_tag_does_not_break_off(page: str, file: Path):
    assert only(file, page, at("q", "가", page)).contexts == [cleaned_html(page).text]


@pytest.mark.parametrize(
    "part, what",
    [
        (qa("q", "가", 9), "question 'q': answer_start 9 is outside the context of 8 characters"),
        (qa("q", "가", -1), "question 'q': answer_start -1 is outside the context of 8 characters"),
        (qa("q", "가", None), "question 'q': an answer without \"answer_start\", a whole number"),
        (
            qa("q", "가", "3"),
            'question \'q\': an answer without "answer_start", a whole number; it is the text "3": write it without '
            "quotes",
        ),
        (qa("q", "가", True), "question 'q': an answer without \"answer_start\", a whole number"),
        (qa("q", " ", 3), "question 'q': the text is empty"),
        (qa("q", None, 3), "question 'q': no text \"text\""),
        (
            qa("q", "가", 3, answer=None),
            'question \'q\': no object "answer"; right is {"text": "...", "answer_start": 0}',
        ),
        (
            {"id": "q", "question": "?", "answers": [{"text": "가", "answer_start": 3}]},
            'question \'q\': no object "answer"; it has a list "answers", as SQuAD has; here each question has one '
            '"answer": {"text": "...", "answer_start": 0}',
        ),
        (qa("q", "가", 3, question=""), "question 'q': the question is empty"),
        (qa(None, "가", 3), 'qas[1]: no "id"'),
        (qa("r", "가", 3), "question 'r': another question has the same id"),
        ("q", "qas[1]: is no object"),
    ],
)
def test_malformed_questions(part: object, what: str, file: Path):
    text = content(document("<p>가</p>", qa("r", "가", 3), part, qa("s", "<p>가", 0), title="서울"))
    assert problem(file, text) == f"train.json: data[0] ('서울'): {what}"
    questions = read(file, text, skip_bad_rows=True)
    assert (questions.ids, questions.spans, questions.context_of) == (["r", "s"], [(0, 1)] * 2, [0, 0])
    assert sum(questions.counts.values()) == 1


def test_html_that_never_closes_is_read_and_counted(file: Path):
    page = "<ul><li>가</ul><table><tbody><tr><td>나<table><tr><td>다</table><ol><li>라<p>"
    other = "<table><tr><td>마"
    questions = read(file, content(document(page, at("q", "라", page)), GOOD, document(other, at("r", "마", other))))
    assert questions.contexts[0] == "<ul><li>가</ul><table><tr><td>나<table><tr><td>다</table><ol><li>라"
    assert verified(questions) == 3
    what = "<table> 2 times, </table> 1 times, <ol> 1 times, </ol> 0 times"
    assert dict(questions.counts) == {f"{NEVER_CLOSES} (first {file}: data[0] ('글'): {what})": 2}


def test_the_name_of_the_flag(file: Path):
    text = content(*(document("") for _ in range(7)))
    assert problem(file, text).endswith(
        "\n... and 2 more malformed rows in train.json (--skip_bad_rows leaves them out)"
    )
    with pytest.raises(DataError) as error:
        KORQUAD_2.read(KORQUAD_2, file)
    assert str(error.value).endswith("(--skip_bad_documents leaves them out)")


def test_other_files(file: Path):
    assert problem(file, "") == "train.json: there is nothing in it"
    assert problem(file, content()) == "train.json: there are no questions in it"
    assert problem(file, content(document("가"))) == "train.json: there are no questions in it"
    found = problem(file, content(document("")), skip_bad_rows=True)
    assert found.startswith("train.json: no questions are left (malformed rows left out (first ")
    broken = content(GOOD).replace(', "qas"', ',\n\n"qas"')[:-3]
    assert problem(file, broken).startswith("train.json:3: not valid JSON: ")


def test_lone_surrogates_leave_offsets_as_they_are(file: Path):
    page = "<b>가\ud83d</b> 나\ude00"
    questions = read(file, json.dumps({"data": [document(page, qa("q", "나\ude00", 10))]}))
    assert questions.contexts == ["가\ufffd 나\ufffd"] and questions.spans == [(3, 5)] and verified(questions) == 1


# --------------------------------------------------------------------------------------------------------------------
# Real files
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, questions, contexts", [("train", 2015 + 2199, 98), ("dev", 867, 21)])
def test_real_files(name: str, questions: int, contexts: int):
    """Their links and headings are of whole tags: every answer is found, and none has moved."""
    if not (REAL / name).is_dir():
        pytest.skip("the real data is not here")
    found = read_korquad_2(KORQUAD_2, REAL / name)
    assert (len(found), len(found.contexts), len(first_of_each_context(found))) == (questions, contexts, contexts)
    assert verified(found) == questions and found.counts == {}
    tags = Counter(re.findall(r"</?([a-z0-9]+)[^<>]*>", " ".join(found.contexts)))
    assert set(tags) == {"table", "tr", "th", "td", "ul", "ol", "li"}
    assert not any("[편집]" in context or "  " in context or "\n\n" in context for context in found.contexts)
    raw = [
        (qa["id"], qa["answer"]["text"])
        for file in sorted((REAL / name).glob("*.json"))
        for document in json.loads(file.read_text(encoding="utf-8"))["data"]
        for qa in document["qas"]
    ]
    assert found.ids == [id for id, _ in raw]
    for (answer,), (_, text) in zip(found.answers, raw, strict=True):
        assert "".join(re.sub("<[^>]*>", "", answer).split()) == "".join(re.sub("<[^>]*>", "", text).split())
