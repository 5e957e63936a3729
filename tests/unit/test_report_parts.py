"""python3 -m pytest tests/unit/test_report_parts.py

The pieces of `scripts/report.py`'s page on cases worked out by hand.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from plot_runs import PlottedRun
from processors import TASKS
from processors.qa.questions import UNANSWERABLE
from processors.sentence_files import read_token_lines, sentence_lines, token_lines
from processors.seq_cls import prediction_table
from processors.task import Rows
from reporting import reported_runs
from reporting.markup import Html, element, escape, join, table
from reporting.mistakes_in_answers import Answered, in_context, nearest, visible
from reporting.mistakes_in_entities import (
    BOUNDS,
    INVENTED,
    MISSED,
    RIGHT,
    TYPE,
    both_lines,
    kinds_of,
    marked,
    read_predictions,
    shown,
    strict_entities,
    table_of_kinds,
    tagged,
)
from reporting.mistakes_in_texts import Prediction, classes, confusion_matrix, scores
from reporting.mistakes_in_texts import read_predictions as read_texts
from reporting.report_curves import MOST_GROUPS, curves, points_of_loss, points_of_score
from reporting.reported_runs import NotThere, ReportedRun, rows_scored_on
from reporting.svg_charts import Line, axes_around, line_chart, scatter_chart


def rows_of(html: str) -> list[list[str]]:
    """The texts of the cells of each row."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub("<[^>]*>", "", cell) for cell in row] for row in cells]


# --------------------------------------------------------------------------------------------------------------------
# HTML
# --------------------------------------------------------------------------------------------------------------------


def test_texts_are_escaped_and_html_is_not_escaped_twice() -> None:
    assert element("td", "<b>&\"'") == "<td>&lt;b&gt;&amp;&quot;&#x27;</td>"
    assert element("p", element("b", "<"), "&") == "<p><b>&lt;</b>&amp;</p>"
    assert element("a", "x", href='"><script>') == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert join(["<", Html("<br>")], " & ") == "&lt; &amp; <br>"


def test_attributes_that_are_true_are_written_by_their_name_and_others_left_out() -> None:
    assert element("tr", "x", hidden=True, id=None, cls="a", aria_label="b") == (
        '<tr hidden class="a" aria-label="b">x</tr>'
    )
    assert element("details", open=False) == "<details></details>"
    assert element("line", x1=1) == '<line x1="1"></line>'  # in SVG nothing closes itself


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\ud83d", "\uffff", "\x85"])
def test_characters_that_html_cannot_hold_are_replaced(character: str) -> None:
    assert escape(f"a{character}b") == "a\ufffdb"
    assert escape("a\tb\n한\u2028") == "a\tb\n한\u2028"


def test_a_table_names_its_columns_and_rows() -> None:
    html = table(["", "수"], [["가", "1"]], "Title", numbers=[1], has_row_names=True)
    assert '<th scope="row">가</th><td class="number">1</td>' in html
    assert '<th scope="col" class="number">수</th>' in html and "<caption>Title</caption>" in html
    assert "<thead>" not in table(["", ""], [["a", "b"]])
    assert 'data-label="수"' in table(["a", "수"], [["1", "2"]], layout="stacks")


# --------------------------------------------------------------------------------------------------------------------
# Charts
# --------------------------------------------------------------------------------------------------------------------


def test_axes_hold_all_points() -> None:
    axes = axes_around([(10, 0.3), (100, 0.7)], x_from_zero=True)
    assert axes.x == (0, 100) and axes.y[0] <= 0.3 and axes.y[1] >= 0.7
    left, right = axes.at(0, axes.y[0]), axes.at(100, axes.y[1])
    assert left[0] < right[0] and left[1] > right[1]  # SVG counts downwards


def test_a_gap_divides_a_curve_and_a_single_point_is_a_dot() -> None:
    html = line_chart("loss", "step", [Line("a", [(1, 1.0), (2, 2.0), (3, math.nan), (4, 3.0)], 0)])
    assert html.count("<polyline") == 1 and html.count("<circle") == 1
    (places,) = re.findall(r'points="([^"]*)"', html)
    assert len(places.split()) == 2


def test_equal_values_and_no_values_are_drawn() -> None:
    assert "<polyline" in line_chart("loss", "step", [Line("a", [(1, 0.5), (2, 0.5)], 0)])
    assert "<circle" in line_chart("loss", "step", [Line("a", [(0, 0.0)], 0)])
    assert "nothing was recorded" in line_chart("loss", "step", [Line("a", [(1, math.nan)], 0)])
    assert "<circle" in scatter_chart("scores", "right", [(2.0, 2.0)])


def plotted(model: str, steps: int, metric: str = "accuracy") -> PlottedRun:
    events = [{"step": step, "loss": float(step)} for step in range(1, steps + 1)]
    scored = [{"step": 2, "split": "dev", "metrics": {metric: 0.25}}]
    return PlottedRun(Path(model), "nsmc", model, "1", metric, ("nsmc", model), events, scored)


@pytest.mark.parametrize("predicted", ["nan", "inf", ""])
def test_a_regression_that_has_diverged_is_shown(predicted: str) -> None:
    rows = [Prediction("1.0", predicted, 0.0, ["하나"]), Prediction("1.0", "2.0", 0.0, ["둘"])] if predicted else []
    page = scores(rows, 10)
    assert page.count("<circle") == len(rows[1:]) and 'cx="nan"' not in page and 'cx="inf"' not in page
    assert page.find("하나") <= page.find("둘")
    assert ("nothing to draw" in page) == (not rows)


def test_curves_of_more_groups_than_colours_can_tell_apart_are_left_out_and_it_is_said() -> None:
    html = curves([plotted(f"m{at}", 2) for at in range(MOST_GROUPS + 3)])
    assert html.count("<polyline") == MOST_GROUPS and f"m{MOST_GROUPS - 1} · seed 1" in html
    assert f"{MOST_GROUPS} of {MOST_GROUPS + 3} groups of runs are drawn" in html and f"m{MOST_GROUPS} " not in html
    assert "groups of runs" not in curves([plotted("m", 2)])


def test_long_curves_are_thinned_out_and_end_where_they_ended() -> None:
    points = points_of_loss(plotted("m", 5000))
    assert 200 < len(points) <= 400 and points[-1][0] == 5000
    assert points_of_loss(plotted("m", 3)) == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert points_of_score(plotted("m", 3), "dev") == [(2, 25.0)] and points_of_score(plotted("m", 3), "test") == []
    assert points_of_score(plotted("m", 3, "loss"), "dev") == [(2, 0.25)]


# --------------------------------------------------------------------------------------------------------------------
# Texts
# --------------------------------------------------------------------------------------------------------------------

NSMC, KORSTS, NER = (TASKS[name] for name in ("nsmc", "korsts", "naver-ner"))


def predicted_texts(labels: list[int], probabilities: list[float]) -> str:
    """A file of predictions on texts `t0`, `t1` ... probabilities: of label 1."""
    rows = Rows([f"t{at}" for at in range(len(labels))], None, labels)
    outputs = np.log([[1 - p, p] for p in probabilities])
    return prediction_table(NSMC, rows, outputs, ".9g")


def test_wrong_rows_are_ordered_by_how_sure_the_model_was() -> None:
    text = predicted_texts([0, 1, 1, 0, 1], [0.6, 0.9, 0.2, 0.95, 0.4])
    predictions, labels = read_texts(text, "f")
    assert labels == ["0", "1"]
    html = classes(predictions, labels, most=2)
    *matrix, _, first, second = rows_of(html)
    assert [first[3], second[3]] == ["t3", "t2"] and first[:3] == ["0.950", "0", "1"]
    assert "4 of 5 rows are wrong. Shown are 2, the surest" in html
    assert matrix[1:] == [["0", "0", "2", "2", "0.0%"], ["1", "2", "1", "3", "33.3%"]]


def test_labels_that_occur_nowhere_are_left_out_of_the_confusion_matrix() -> None:
    predictions, _ = read_texts(predicted_texts([1, 1], [0.9, 0.8]), "f")
    html = confusion_matrix(predictions, ["0", "1"])
    assert rows_of(html)[1:] == [["1", "2", "2", "100.0%"]]
    assert "Labels that are neither in the file nor predicted are left out: 1." in html


def test_a_regression_has_its_largest_errors_first() -> None:
    rows = Rows(["a", "b", "c"], ["d", "e", "f"], [1.0, 2.0, 5.0])
    text = prediction_table(KORSTS, rows, np.array([[1.5], [2.0], [2.0]]), ".9g")
    predictions, labels = read_texts(text, "f")
    html = scores(predictions, most=1)
    assert labels == [] and html.count("<circle") == 3
    assert rows_of(html)[1] == ["3.00", "5.00", "2.00", "cf"]
    assert "off by 1.167" in html


@pytest.mark.parametrize("line", ["0\t2\t0.5\t0.5\tt", "0\t1\t0.5\tt", "7\t1\t0.5\t0.5\tt", "0\t1\t0.5\tx\tt"])
def test_a_line_that_no_run_writes_is_named(line: str) -> None:
    with pytest.raises(NotThere, match="f:3 is not what a run writes there"):
        read_texts(f"label\tprediction\tp(0)\tp(1)\ttext1\n0\t1\t0.4\t0.6\tt\n{line}\n", "f")
    with pytest.raises(NotThere, match="f:1 does not begin with label"):
        read_texts("prediction\tp(0)\ttext1\n", "f")


# --------------------------------------------------------------------------------------------------------------------
# Entities
# --------------------------------------------------------------------------------------------------------------------


def test_what_happened_to_each_entity() -> None:
    words = "김 철수 가 서울 시 에 3 일 왔다".split()
    gold = "PER-B PER-I O LOC-B LOC-I O DAT-B O EVT-B".split()
    found = "PER-B PER-I ORG-B LOC-B O O NUM-B O O".split()
    sentence = tagged(NER, words, gold, found)
    assert sentence.gold == [(0, 2, "PER"), (3, 5, "LOC"), (6, 7, "DAT"), (8, 9, "EVT")]
    assert Counter(kinds_of(sentence)) == Counter(
        [("PER", RIGHT), ("LOC", BOUNDS), ("DAT", TYPE), ("EVT", MISSED), ("ORG", INVENTED)]
    )
    assert sentence.mistakes == 6
    header, *rows = rows_of(table_of_kinds([sentence], {"LOC": {"precision": 0.5, "recall": 0.25, "f1": 1 / 3}}))
    assert header == ["type", "in the file", RIGHT, TYPE, BOUNDS, MISSED, INVENTED, "precision", "recall", "f1"]
    assert ["LOC", "1", "0", "0", "1", "0", "0", "50.0%", "25.0%", "33.3%"] in rows
    assert ["ORG", "0", "0", "0", "0", "0", "1", "–", "–", "–"] in rows


def test_entities_are_marked_in_the_sentence() -> None:
    sentence = tagged(NER, ["<b>", "서울", "시"], ["O", "LOC-B", "LOC-I"], ["O", "LOC-B", "O"])
    html = marked(sentence, sentence.gold, set(sentence.predicted))
    assert html == '&lt;b&gt; <mark class="wrong">서울 시<small>LOC</small></mark> '
    assert '<mark class="right">서울 시' in marked(sentence, sentence.gold, set(sentence.gold))


def test_sentences_about_the_list_of_mistakes_have_a_space_between_them() -> None:
    wrong = tagged(TASKS["naver-ner"], ["서울", "좋다"], ["LOC-B", "O"], ["O", "O"])
    page = shown([wrong, wrong], True, {}, most=1)
    assert "--rows shows more. In each sentence" in page


def test_words_beyond_the_longest_row_are_not_counted() -> None:
    sentence = tagged(NER, ["가", "나", "다"], ["PER-B", "O", "LOC-B"], ["PER-B", "O", "?"])
    assert sentence.gold == sentence.predicted == [(0, 1, "PER")]


def test_tags_without_entities_are_compared_by_words_and_only_wrong_ones_marked() -> None:
    task = replace(NER, labels=("N", "V"), metrics=("accuracy",), main_metric="accuracy")
    sentence = tagged(task, ["개", "뛴다"], ["N", "V"], ["N", "N"])
    assert sentence.mistakes == 2
    assert both_lines(sentence, has_entities=False).count("<mark") == 2


def test_characters_have_entities_strictly_and_spaces_where_words_end() -> None:
    task = TASKS["klue-ner"]
    sentence = tagged(task, ["가나", "다"], ["B-PS", "I-PS", "I-LC"], ["B-PS", "?", "O"])
    assert sentence.gold == [(0, 2, "PS")] and sentence.predicted == [(0, 1, "PS")]
    assert marked(sentence, sentence.predicted, set()) == '<mark class="wrong">가<small>PS</small></mark>나 다 '
    labels = "I-PS B-PS I-PS I-LC B-LC B-LC O I-LC".split()
    assert strict_entities(labels) == [(1, 3, "PS"), (4, 5, "LC"), (5, 6, "LC")]


@pytest.mark.parametrize("form", ["lines", "tokens"])
def test_predictions_are_read_as_they_are_written(tmp_path, form: str) -> None:
    words, labels = [["#", "가"], ["## 나".replace(" ", ""), "다"]], [["O", "?"], ["PER-B", "PER-I"]]
    task = NER if form == "lines" else replace(
        NER, read=read_token_lines, columns=("x", "label", "word"), text_columns=("word",), label_column="label"
    )  # fmt: skip
    path = tmp_path / "predictions.tsv"
    path.write_text((sentence_lines if form == "lines" else token_lines)(words, labels), encoding="utf-8")
    read = read_predictions(task, path)
    names = (*task.labels, "?")
    assert read.words == words and [[names[id] for id in ids] for ids in read.labels] == labels
    path.write_text("가\tXYZ\n", encoding="utf-8")
    with pytest.raises(NotThere, match=r"predictions\.tsv:1: .*--do_eval writes it anew"):
        read_predictions(task, path)


# --------------------------------------------------------------------------------------------------------------------
# Answers
# --------------------------------------------------------------------------------------------------------------------


def asked(context: str, gold: str, predicted: str) -> Answered:
    span = (context.index(gold), context.index(gold) + len(gold)) if gold else UNANSWERABLE
    return Answered("?", context, [gold] if gold else [], predicted, 0.0, False, 0.5, span)


def test_both_answers_are_marked_and_what_they_share() -> None:
    html = in_context(asked("왕은 세종 대왕이다 <i>", "세종 대왕", "대왕이다"))
    assert html == (
        '왕은 <mark class="right">세종 </mark><mark class="both">대왕</mark><mark class="wrong">이다</mark> &lt;i&gt;'
    )


def test_the_predicted_answer_is_looked_for_near_the_right_one() -> None:
    assert nearest("나 가 다 가 라", "가", 9) == 6
    assert nearest("나 가 다 가 라", "가", 0) == 2
    assert nearest("나", "가", 0) == -1


def test_of_a_long_context_only_the_surroundings_are_shown() -> None:
    context = "가" * 5000 + "답" + "나" * 5000 + "틀" + "다" * 9
    html = in_context(asked(context, "답", "틀"))
    assert re.fullmatch(
        r'… 가{160}<mark class="right">답</mark>나{160} … 나{160}<mark class="wrong">틀</mark>다{9}', html
    )
    assert visible(10_000, [(100, 200), (300, 400)]) == [(0, 560)]
    assert visible(10_000, [(1000, 5000)]) == [(840, 1160), (4840, 5160)]
    assert visible(10_000, []) == [(0, 350)] and visible(700, [(3, 4)]) == [(0, 700)]


def test_a_question_without_an_answer_has_no_mark() -> None:
    assert in_context(asked("왕은", "", "")) == "왕은"


# --------------------------------------------------------------------------------------------------------------------
# The rows that a run was scored on
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.seconds
@pytest.mark.parametrize("data_source", ["official", "rows"])
def test_rows_are_read_once_for_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_source: str) -> None:
    words = ["김철수는", "서울에", "갔다"]
    for folder in ("naver-ner", "rows"):
        (tmp_path / folder).mkdir()
    (tmp_path / "naver-ner" / "test.tsv").write_text(f"{' '.join(words)}\tPER-B LOC-B O\n", encoding="utf-8")
    table_of_rows = pyarrow.table({"words": [words], "tags": [["PER-B", "LOC-B", "O"]]})
    pyarrow.parquet.write_table(table_of_rows, tmp_path / "rows" / "test.parquet")
    config = {"data_dir": str(tmp_path), "train_file": "train.tsv", "test_file": "test.tsv"}
    config["data_source"] = data_source if data_source == "official" else str(tmp_path / data_source)
    read, read_splits = [], reported_runs.read_splits
    monkeypatch.setattr(reported_runs, "read_splits", lambda *given: read.append(given) or read_splits(*given))
    for seed in (42, 43):
        results = {"task": "naver-ner", "seed": seed, "config": config | {"seed": seed}}
        assert rows_scored_on(ReportedRun(tmp_path, tmp_path, results, {}, None), None).words == [words]
    assert len(read) == 1
