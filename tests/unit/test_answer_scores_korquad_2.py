"""KorQuAD 2.0's normalisation and scores, and the published style of KoBigBird, against values computed by hand."""

import json
import string
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from growth import expect_linear
from processors.qa.answer_scores import (
    UNFINISHED_TAG,
    best_or_none,
    normalize,
    normalize_korquad_2,
    published_style,
    score_korquad_2,
    score_with_unanswerable,
    text_of_html,
)

REAL = Path(__file__).parents[3] / "shared" / "data" / "korquad_2"
TEXTS = st.text(alphabet="가나A <>/!-[]&;ab\"'()\n\u3000《》", max_size=20)


@pytest.mark.parametrize(
    "html, text",
    [
        ("서울 특별시", "서울 특별시"),
        ("<b>서울</b> <a href='x'>특별시</a>", "서울 특별시"),
        ('<table>\n<tr><td r2">가</td><TD>나</TD></tr></table>', "\n가나"),
        ("<br/>가<br>나", "가나"),
        ("가<!-- 나 -->다<!DOCTYPE html>라", "가다라"),
        ("<![CDATA[가]]>나<![if 다]>라<![ 마>바", "나라바"),
        ("AT&amp;T &lt;b&gt;가&lt;/b&gt; &#44032;&#xac00;&nbsp;", "AT&T <b>가</b> 가가\xa0"),
        ("a < b <서울> 3 <", "a < b <서울> 3 <"),
        ("<script>가 <b>나</b></script>", "가 나"),
        ("<title>가 <textarea>나", "가 나"),
        # Cut by the ends of a predicted span: what is left of a tag at the end goes, at the start it is text.
        ("가</td", "가"),
        ("가</", "가"),
        ('가<td colspan="2', "가"),
        ("td>가</td>", "td>가"),
        ("", ""),
        ("<td></td>", ""),
    ],
)
def test_text_of_html(html: str, text: str):
    assert text_of_html(html) == text


class Parsed(HTMLParser):
    """The texts between tags as Python's own parser finds them, in a time that is the square of the length where many
    tags are never closed.
    """

    CDATA_CONTENT_ELEMENTS = ()

    def __init__(self, html: str):
        super().__init__()
        self.texts: list[str] = []
        self.feed(UNFINISHED_TAG.sub("", html))
        self.close()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        return self.parse_bogus_comment(i)


needs_that_parser = pytest.mark.skipif(sys.version_info >= (3, 11, 14), reason="newer parsers have other rules")
SOUP = st.lists(
    st.sampled_from(
        "가|a| |\n|\u3000|<|>|</|<!|<!--|-->|--|-- >|<![CDATA[|]]>|<?|<!DOCTYPE|=|==|'|\"|='|=\"|/|/>|<a|<td |<b>|</b>|"
        '</td |<td r2">|<a href="x>y">|<a x=\'>\' |&|&amp;|&am|p;|&lt|&#44032;|<script>|<title>|<서울>|<3'.split("|")
    ),
    max_size=30,
).map("".join)


@pytest.mark.seconds
@needs_that_parser
@settings(max_examples=2000, deadline=None)
@given(SOUP)
def test_tag_soup_as_the_parser_has_it(html: str):
    assert text_of_html(html) == "".join(Parsed(html).texts)


@needs_that_parser
def test_real_answers_as_the_parser_has_them():
    files = sorted(REAL.glob("*/*.json"))
    if not files:
        pytest.skip("the real data is not here")
    articles = [article for file in files for article in json.loads(file.read_text(encoding="utf-8"))["data"]]
    texts = {qa["answer"][key] for article in articles for qa in article["qas"] for key in ("text", "html_answer_text")}
    pages = [article["context"] for article in articles]
    texts |= {page[at : at + 500] for page in pages for at in range(0, len(page), 499)}
    assert len(texts) > 5_000
    for text in texts:
        assert text_of_html(text) == "".join(Parsed(text).texts)


@pytest.mark.parametrize("end", ["", ">", "-->", "'>"])
@pytest.mark.parametrize("part", ["<", "<div>", "<div", "<!--", "<!-- >", "</", "<a x='", '<a x=">', "<?", "&", "--"])
def test_time_grows_with_length_only(part: str, end: str):
    # Of 500,000 characters the parser takes minutes for some.
    expect_linear(lambda size: normalize_korquad_2(part * (size // len(part)) + end), 10_000)


@given(st.one_of(TEXTS, st.text()))
def test_any_text_is_parsed(text: str):
    """Whatever a model predicts: no exception, and nothing comes of it that was not there."""
    if "&" not in text:
        rest = iter(text)
        assert all(character in rest for character in text_of_html(text))
    if "<" not in text and "&" not in text:
        assert text_of_html(text) == text


@pytest.mark.parametrize(
    "text, expected",
    [
        ("서울  특별시\n", "서울특별시"),
        ("<td>서울 <b>특별시</b></td>", "서울특별시"),
        ("《훈민정음》(訓民正音)", "훈민정음訓民正音"),
        ("'가'나 “다”", "가나“다”"),  # curly double quotes are not among the symbols
        ("KBS 1TV", "kbs1tv"),
        ("1,000.5 %", "10005"),
        ("<서울>", "서울"),  # not a tag; its brackets are symbols
        ("&lt;서울&gt; &amp; 부산", "서울부산"),
        ("가\u00a0나\u3000다\t라&nbsp;마", "가나다라마"),
        ("<td>'()'</td>", ""),
        ("&quot;", ""),
        ("", ""),
    ],
)
def test_normalize(text: str, expected: str):
    assert normalize_korquad_2(text) == expected


@given(st.text(alphabet="가나A a1\t\n\u3000'\"《》()‘’“”.,-%·"))
def test_without_tags_it_is_korquad_1_without_white_space(text: str):
    assert normalize_korquad_2(text) == "".join(normalize(text).split())
    assert not set(normalize_korquad_2(text)) & set(string.punctuation + string.whitespace + "《》‘’")


GOLDS = {
    "a": ["<td>1989년 2월</td>"],
    "b": ["서울특별시", "서울"],
    "c": [],
    "d": ["부산"],
    "e": [],
    "f": ["<ul><li>가</li>\n<li>나</li></ul>"],
}
PREDICTIONS = {"a": "1989년2월", "b": "서울시", "c": "", "d": "대구", "e": "대전", "f": "가 나다"}
# EM, F1: a 1, 1 (white space and tags are none of it); b 0, 6/8 (3 of 서울시 are in 서울특별시: 2 * 3 / (3 + 5)) rather
# than 4/5 with 서울 (2 * 2 / (3 + 2)), so 4/5; c 1, 1; d 0, 0; e 0, 0; f 0, 4/5 (가나다 and 가나: 2 * 2 / (3 + 2)).


def test_scores():
    scores = score_korquad_2(PREDICTIONS, GOLDS)
    assert scores.pop("published_style_em") and scores.pop("published_style_f1")  # below
    assert scores == pytest.approx(
        {
            "em": 2 / 6,
            "f1": (1 + 0.8 + 1 + 0.8) / 6,
            "has_ans_em": 1 / 4,
            "has_ans_f1": (1 + 0.8 + 0.8) / 4,
            "no_ans_em": 1 / 2,
            "no_ans_f1": 1 / 2,
        }
    )
    assert set(score_korquad_2({"a": "1989"}, {"a": ["1989년"]})) == {
        "em", "f1", "has_ans_em", "has_ans_f1", "published_style_em", "published_style_f1",
    }  # fmt: skip


def test_thresholds_are_passed_on():
    golds = {"a": ["<b>가</b> 나"], "b": []}
    null_odds, answers = {"a": -1.0, "b": -2.0}, {"a": "가나", "b": "다"}
    scores = score_korquad_2(answers, golds, null_odds, answers)
    expected = score_with_unanswerable(answers, golds, null_odds, answers, normalize_korquad_2)
    assert {name: scores[name] for name in expected} == expected and "best_em_threshold" in expected
    with pytest.raises(ValueError, match="null_odds and answers_if_any"):
        score_korquad_2(answers, golds, null_odds)
    with pytest.raises(ValueError, match="no questions"):
        score_korquad_2({}, {})


def test_published_style():
    # Unanswerable c and e start at 2. Answering in order: a +1 (3), b +0 or +4/5, c stays, d +0, e -1, f +0 or +4/5.
    # EM: 3 after a. F1: 3, 3.8 after b, 3.8, 3.8, 2.8, 3.6 after f.
    expected = {"published_style_em": 3 / 6, "published_style_f1": 3.8 / 6}
    assert published_style(PREDICTIONS, GOLDS, normalize_korquad_2) == pytest.approx(expected)
    scores = score_korquad_2(PREDICTIONS, GOLDS)
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


def test_published_style_depends_on_the_order_of_the_questions():
    later = {id: GOLDS[id] for id in "cedbfa"}  # 2, then e -1: 1, b 1.8, f 2.6, a 3.6; EM 1 ... 2
    assert published_style(PREDICTIONS, later, normalize_korquad_2) == pytest.approx(
        {"published_style_em": 2 / 6, "published_style_f1": 3.6 / 6}
    )


@pytest.mark.parametrize(
    "predictions, golds, em, f1",
    [
        ({"a": "가", "b": "나"}, {"a": ["가"], "b": ["다"]}, 1 / 2, 1 / 2),  # without unanswerable ones: the mean
        ({"a": "가"}, {"a": [], "b": []}, 1, 1),  # best of all: answer none
        ({"b": "가"}, {"a": ["가"], "b": ["가"]}, 1 / 2, 1 / 2),
        ({}, {"a": ["가"]}, 0, 0),
        ({"a": "()"}, {"a": []}, 1, 1),  # something was answered, but before it comes the best prefix
        ({"a": "()", "b": "가"}, {"a": [], "b": ["가"]}, 1 / 2, 1 / 2),  # 1, then 0, then 1
        ({"a": "", "b": "가"}, {"a": [], "b": ["가"]}, 1, 1),
        ({"a": ""}, {"a": ["<img>"]}, 1, 0),  # as in the official script: both are empty
    ],
)
def test_published_style_by_hand(predictions: dict, golds: dict, em: float, f1: float):
    expected = {"published_style_em": em, "published_style_f1": f1}
    assert published_style(predictions, golds, normalize_korquad_2) == pytest.approx(expected)


ANSWERS = st.sampled_from(["", "가", "나", "가나", "<b>가</b>"])


@given(st.lists(st.tuples(ANSWERS, st.lists(ANSWERS.filter(bool), max_size=2)), min_size=1, max_size=8))
def test_published_style_is_the_best_of_all_prefixes(questions: list[tuple[str, list[str]]]):
    golds = {str(n): answers for n, (_, answers) in enumerate(questions)}
    predictions = {str(n): answer for n, (answer, _) in enumerate(questions)}
    totals = []
    for answered in range(len(questions) + 1):
        pairs = [
            best_or_none(answer if n < answered else "", answers, normalize_korquad_2)
            for n, (answer, answers) in enumerate(questions)
        ]
        totals.append([sum(pair[i] for pair in pairs) / len(pairs) for i in (0, 1)])
    found = published_style(predictions, golds, normalize_korquad_2)
    assert found["published_style_em"] == pytest.approx(max(em for em, _ in totals))
    assert found["published_style_f1"] == pytest.approx(max(f1 for _, f1 in totals))
    assert found["published_style_f1"] >= totals[-1][1] - 1e-12


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match="no questions"):
        published_style({}, {})
    with pytest.raises(TypeError, match="give a list of answers"):
        published_style({"a": "가"}, {"a": "가"})
