"""Tasks that are written wrongly: everything is said at once, with the task's name and the field."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from processors import TASKS
from processors.klue import read_klue
from processors.metrics import METRIC_FACTS, METRICS, metric
from processors.qa.questions import read_squad
from processors.sentence_files import Sentences, read_json_sentences, read_sentence_lines, read_token_lines
from processors.seq_cls import read_tsv
from processors.task import HubData, Task
from processors.task_checks import problems_of, problems_of_defaults, problems_of_tasks
from processors.text_readers import read_csv, read_json_lines
from run_ner import LabelledWords, score_labels

PLACE = {"folder": "t", "train_file": "a", "dev_file": None, "test_file": "b", "source": "", "licence": ""}
TEXTS = Task(
    "t",
    **PLACE,
    read=read_tsv,
    columns=("text", "label"),
    text_columns=("text",),
    label_column="label",
    labels=("no", "yes"),
    metrics=("accuracy",),
    main_metric="accuracy",
)
SCORES = dataclasses.replace(TEXTS, labels=(), metrics=("pearson",), main_metric="pearson")
WORDS = Task(
    "w",
    **PLACE,
    read=read_token_lines,
    labels=("O", "B-PER", "I-PER"),
    metrics=("f1", "precision", "recall"),
    main_metric="f1",
)
TAGS = dataclasses.replace(WORDS, labels=("NNP", "JKS", "-"), metrics=("accuracy", "macro_f1"), main_metric="accuracy")
CHARACTERS = TASKS["klue-ner"]
QUESTIONS = Task("q", **PLACE, read=read_squad, metrics=("em", "f1"), main_metric="f1")


def problems(task: Task, kind: str, **changes) -> list[str]:
    """What is said, without the task's name, which stands before all of it."""
    found = problems_of(dataclasses.replace(task, **changes), kind)
    assert all(problem.startswith(f"task {changes.get('name', task.name)}: ") for problem in found)
    return [problem.split(": ", 1)[1] for problem in found]


def test_nothing_is_wrong_with_these():
    for task, kind in (
        (TEXTS, "texts"),
        (SCORES, "texts"),
        (WORDS, "words"),
        (TAGS, "words"),
        (QUESTIONS, "questions"),
    ):
        assert problems(task, kind) == []
    assert problems(SCORES, "texts", score_range=(0, 100), metrics=("spearman", "pearson")) == []
    assert problems(TEXTS, "texts", columns=(), header=False, text_columns=(1,), label_column=0) == []
    assert problems(TEXTS, "texts", columns=()) == []  # whatever columns the header names
    assert problems(WORDS, "words", labels=("O", "PER-B", "PER-I")) == []
    assert problems(WORDS, "words", labels=("-", "PER_B"), label_map={"-": "O", "PER_B": "PER-B"}) == []
    assert problems(WORDS, "words", metrics=("f1", "accuracy")) == []  # of entities and of words
    assert problems(WORDS, "words", text_columns=(1,), label_column=3, separator=" ", comments=(";", "$")) == []
    assert problems(QUESTIONS, "questions", metrics=("rouge",), main_metric="rouge", score=lambda: {}) == []


def test_everything_is_said_at_once():
    found = problems(TEXTS, "texts", labels=("yes",), text_columns=("texts",), metrics=("f1", "bleu"), test_file=None)
    assert [problem.split(": ")[0] for problem in found] == [
        "test_file", "main_metric", "metrics", "metrics", "labels", "text_columns",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"labels": ("a", "b", "a")}, "labels: names something twice: a, b, a"),
        ({"labels": ("a", " b")}, "labels: ' b' can stand in no file"),
        ({"labels": (0, 1)}, "labels: a tuple of texts is expected, not (0, 1)"),
        (
            {"metrics": ("accuracy", "roc_auc"), "labels": ("a", "b", "c")},
            "metrics: roc_auc is for two labels, and this",
        ),
        (
            {"metrics": ("accuracy", "acuracy")},
            "metrics: no metric is called 'acuracy'; did you mean 'accuracy'?; known",
        ),
        ({"metrics": (), "main_metric": "accuracy"}, "metrics: there are none"),
        (
            {"metrics": ("accuracy", "spearman")},
            "metrics: spearman is for the scores of a regression, and this task has",
        ),
        ({"labels": ()}, "metrics: accuracy is for classes, and this task has no labels, so it is a regression"),
        ({"columns": ("text", "label", "text")}, "columns: names something twice"),
        ({"text_columns": ()}, "text_columns: there are none: which columns hold the text?"),
        ({"text_columns": (2,)}, "text_columns: there is no column 2: a number below 2 is expected, counted from 0"),
        ({"columns": (), "text_columns": (-1,)}, "text_columns: there is no column -1: a number is expected"),
        ({"columns": (), "header": False}, "text_columns: 'text' is a name: columns must say which column has it"),
        ({"label_column": ""}, "label_column: is missing"),
        ({"label_column": 1.0}, "label_column: a name or a number is expected, not 1.0"),
        ({"read": read_klue, "label_column": 1}, "label_column: 1 is a number, and JSON objects have keys"),
        ({"markers": "<subj>"}, "markers: is a text; a tuple is expected: ('<subj>',)"),
        (
            {"read": read_json_lines, "columns": (), "text_columns": (0,)},
            "text_columns: 0 is a number, and JSON objects",
        ),
        ({"label_map": {"a": "O"}}, "label_map: is for the labels of entities"),
        ({"held_out_share": 20}, "held_out_share: a number between 0 and 1 is expected, not 20"),
        ({"folder": "/data/t"}, "folder: a path inside data_dir is expected, not '/data/t'"),
        ({"dev_file": "x/../../y"}, "dev_file: a path inside the folder 't' is expected"),
        ({"train_file": ""}, "train_file: a path inside the folder 't' is expected, not ''"),
        ({"train_file": ("a", "b")}, "train_file: a text is expected, not ('a', 'b')"),
        ({"name": "my task"}, "name: letters, digits"),
        ({"read": "tsv"}, "read: a function is expected, not 'tsv'"),
        ({"defaults": ("seed", 1)}, "defaults: a dictionary is expected"),
        ({"read": read_csv, "separator": "||"}, "separator: one character is expected in CSV, not '||'"),
        ({"comments": ("#", "")}, "comments: '' begins every line"),
        ({"comments": "#"}, "comments: is a text; a tuple is expected: ('#',)"),
        ({"comments": ("#\n",)}, "comments: line ends stand between lines, not in them"),
        ({"separator": "\n"}, "separator: line ends stand between lines, not in them"),
        ({"read": read_csv, "separator": " "}, "separator: a comma, a semicolon or a tab is expected in CSV, not ' '"),
        ({"separator": ",", "labels": ("a,b", "c")}, "labels: 'a,b' can stand in no file: ',' separates columns"),
        ({"read": read_json_lines, "comments": ("#",)}, "comments: has no effect with read_json_lines"),
        ({"read": read_klue, "header": False}, "header: has no effect with read_klue"),
        ({"read": read_token_lines}, "read: read_token_lines reads words, and tasks of this kind have texts"),
        ({"columns": ["text", "label"]}, "columns: is a list; a tuple is expected: ('text', 'label')"),
        ({"header": "no"}, "header: True, False or None is expected, not 'no'"),
        ({"drop_empty": "false"}, "drop_empty: True or False is expected, not 'false'"),
        ({"source": None}, "source: a text is expected, not None"),
        ({"score": 1}, "score: a function is expected, not 1"),
        ({"score": max}, "score: is for questions"),
        (
            {"metrics": ("accuracy", "micro_f1")},
            "metrics: micro_f1 leaves out the first label, which must be 'no_relation', not 'no'",
        ),
        ({"hub": "a/b"}, "hub: HubData or None is expected, not 'a/b'"),
        ({"hub": HubData("b")}, "hub: an id such as owner/name is expected, not 'b'"),
        ({"hub": HubData("a/b", splits={"dev": "x"})}, "hub: splits: the task has no split 'dev': it has train, test"),
        ({"hub": HubData("a/b", columns={"texts": "x"})}, "hub: columns: no column is called 'texts'; did you mean"),
        ({"hub": HubData("a/b", labels={"true": "1"})}, "hub: labels: '1' is none of the labels: no, yes"),
    ],
)
def test_tasks_of_texts(changes: dict, problem: str):
    found = problems(TEXTS, "texts", **changes)
    assert any(one.startswith(problem) for one in found), found


def test_a_threshold_lies_in_the_range_of_scores():
    changes = {"metrics": ("pearson", "f1_at_3"), "score_range": (0, 1)}
    assert problems(SCORES, "texts", **changes) == [
        "metrics: f1_at_3 is for scores below and above 3, and score_range is (0, 1)"
    ]


@pytest.mark.parametrize(
    "score_range, problem",
    [
        ((5, 0), "score_range: the lowest score comes first: (0, 5)"),
        ((1, 1), "score_range: has no width"),
        ((0, float("inf")), "score_range: the lowest and the highest score are expected, such as (0, 5)"),
        (5, "score_range: the lowest and the highest score are expected, such as (0, 5), not 5"),
    ],
)
def test_ranges_of_scores(score_range, problem: str):
    (found,) = problems(SCORES, "texts", score_range=score_range)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"labels": ("-", "PER_B", "PER_I")}, "labels: '-' is not BIO ('B-PER', 'PER-B' or 'O')"),
        ({"labels": ("O", "B-PER", "LOC-B")}, "labels: 'B-PER' and 'PER-B' do not mix: B-PER, LOC-B"),
        ({"labels": ("O", "B-PER", "S-PER")}, "labels: 'S-PER' is not BIO"),
        ({"labels": ()}, "labels: there are none, and each word needs one"),
        ({"label_map": {"PER": "B-PER"}}, "label_map: 'PER' is none of the labels: O, B-PER, I-PER"),
        ({"label_map": {"O": "-"}}, "label_map: '-' is not BIO: 'B-PER', 'PER-B' or 'O' is expected"),
        ({"metrics": ("f1", "roc_auc")}, "metrics: roc_auc is for two labels, and this task has 3"),
        ({"metrics": ("f1", "pearson")}, "metrics: pearson is for the scores of a regression"),
        ({"greater_is_better": False}, "greater_is_better: is False, but more f1 is better"),
        ({"is_pair": True}, "is_pair: sentences of words are no pairs"),
        ({"text_columns": ("word",), "label_column": 1}, "text_columns: 'word' is a name: columns must say"),
        ({"text_columns": (0,)}, "label_column: text_columns and label_column are given together or not at all"),
        ({"read": read_json_sentences}, "text_columns: there are none: under which key are the words?"),
        ({"read": read_json_sentences, "text_columns": (0,), "label_column": "x"}, "text_columns: 0 is a number"),
        ({"label_map": {"O": 5}}, "label_map: texts are expected, not 'O': 5"),
        ({"label_map": {"B-PER": "O", "I-PER": "O"}}, "labels: there are no entities: all of them mean 'O'"),
        ({"columns": ("a", "b")}, "text_columns: there are none: which of a, b holds the word?"),
        ({"read": read_sentence_lines, "comments": ("#",)}, "comments: has no effect with read_sentence_lines"),
        (
            {"read": read_sentence_lines, "labels": ("O", "B-A B")},
            "labels: 'B-A B' can stand in no file: ' ' separates",
        ),
        ({"read": read_tsv}, "read: read_tsv reads texts, and tasks of this kind have words"),
        ({"score_range": (0, 9)}, "score_range: is for texts, not for words"),
        ({"drop_empty": True}, "drop_empty: is for texts, not for words"),
        ({"read_unanswered": max}, "read_unanswered: is for questions"),
        ({"metrics": ("f1", "auprc")}, "metrics: auprc is computed from logits, and those of words are not kept"),
    ],
)
def test_tasks_of_words(changes: dict, problem: str):
    found = problems(WORDS, "words", **changes)
    assert any(one.startswith(problem) for one in found), found


def test_tags_have_no_meaning_in_bio():
    assert problems(TAGS, "words", label_map={"-": "O"}) == [
        "label_map: has no effect without scores of entities (f1, precision, recall)"
    ]


def test_questions():
    assert problems(QUESTIONS, "questions", metrics=("f1", "bleu")) == [
        "metrics: no metric is called 'bleu'; known are em, f1"
    ]
    assert problems(QUESTIONS, "questions", labels=("a", "b"), held_out_share=0.2) == [
        "labels: is not for questions",
        "held_out_share: is not for questions: name a test_file",
    ]
    assert problems(QUESTIONS, "questions", read=read_tsv, separator=",") == [
        "read: read_tsv reads texts, and tasks of this kind have questions",
        "separator: is not for questions",
    ]


def test_the_direction_of_a_metric_is_known():
    @metric(labels="scores", greater_is_better=False)
    def mean_distance(labels, outputs):
        return 0.0

    try:
        changes = {"metrics": ("mean_distance",), "main_metric": "mean_distance"}
        assert problems(SCORES, "texts", **changes, greater_is_better=False) == []
        assert problems(SCORES, "texts", **changes) == ["greater_is_better: is True, but less mean_distance is better"]
        assert problems(TEXTS, "texts", metrics=("accuracy", "mean_distance")) == [
            "metrics: mean_distance is for the scores of a regression, and this task has labels"
        ]
    finally:
        del METRICS["mean_distance"], METRIC_FACTS["mean_distance"]


def test_the_labels_of_a_metric_are_known():
    with pytest.raises(ValueError, match=r"^mean: labels: one of 'classes', .* is expected, not 'score'"):

        @metric(labels="score")
        def mean(labels, outputs):
            return 0.0


def test_names_are_taken_once():
    other = dataclasses.replace(TEXTS, folder="u")
    assert problems_of_tasks([("texts", (TEXTS,)), ("texts", (TEXTS,))]) == []
    assert problems_of_tasks([("texts", (TEXTS, other))]) == ["task t: name: two tasks are named t"]


def test_defaults_are_keys_of_the_script():
    task = dataclasses.replace(TEXTS, defaults={"seed": 1, "sead": 2})
    assert problems_of_defaults([task], {"seed": 0, "task": 0}) == [
        "task t: defaults: this script has no key 'sead'; did you mean 'seed'?"
    ]


def scored(task: Task, gold: list[list[str]], predicted: list[list[str]]) -> dict[str, float]:
    """The metrics of these labels, as `run_ner.py` computes them."""
    ids = [[task.labels.index(label) for label in labels] for labels in gold]
    split = SimpleNamespace(
        rows=Sentences([[""] * len(labels) for labels in gold], ids), features=SimpleNamespace(cut_words=0)
    )
    words = LabelledWords(predicted, np.zeros(len(gold)))
    return score_labels(SimpleNamespace(eval_batch_size=8), task, split, words).metrics


def test_labels_are_scored_by_their_meaning():
    """Without it, seqeval sees entities in `-`: this sentence, whose only entity is wrong, would score 0.8."""
    task = dataclasses.replace(
        WORDS,
        labels=("-", "PER_B", "PER_I"),
        label_map={"-": "O", "PER_B": "PER-B", "PER_I": "PER-I"},
        metrics=("f1", "accuracy"),
    )
    gold = [["-", "PER_B", "PER_I", "-", "-"]]
    assert scored(task, gold, [["-", "PER_B", "-", "-", "-"]]) == {"f1": 0, "accuracy": 0.8}
    assert scored(task, gold, gold) == {"f1": 1, "accuracy": 1}
    both = [["PER_B", "PER_B", "PER_I", "-", "?"]]  # the last word lies beyond max_seq_len, and is left out
    assert scored(task, gold, both) == {"f1": pytest.approx(2 / 3), "accuracy": 0.75}


def test_every_metric_that_a_task_of_words_may_name_can_be_computed():
    for name in METRICS:
        task = dataclasses.replace(TAGS, labels=("no_relation", "-"), metrics=(name,), main_metric=name)
        if not problems_of(task, "words"):
            gold = [["-", "no_relation", "-"]]
            assert scored(task, gold, gold) == {name: 1}


def test_tags_are_scored_by_words():
    gold, found = [["NNP", "JKS"], ["-", "-"]], [["NNP", "NNP"], ["-", "-"]]
    # F1 of NNP is 2/3, of JKS 0, of - 1.
    assert scored(TAGS, gold, found) == {"accuracy": 0.75, "macro_f1": pytest.approx(5 / 9)}


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"metrics": ("f1",), "main_metric": "f1"}, "metrics: no metric is called 'f1'; known are character_macro_f1"),
        ({"metrics": ("accuracy",), "main_metric": "accuracy"}, "metrics: no metric is called 'accuracy'"),
        ({"labels": ("B-PS", "I-PS")}, "labels: characters have labels such as 'B-PS', 'I-PS' and 'O'"),
        ({"labels": ("PS-B", "PS-I", "O")}, "labels: characters have labels such as 'B-PS', 'I-PS' and 'O'"),
        ({"labels": ("B-PS", "O")}, "labels: 'B-PS' needs 'I-PS', which its further characters have"),
        ({"label_map": {"O": "O"}}, "label_map: is for the labels of words"),
        ({"greater_is_better": False}, "greater_is_better: is False, but more character_macro_f1 is better"),
        ({"markers": ("<subj>",)}, "markers: are for texts, not for words"),
    ],
)
def test_tasks_whose_characters_are_labelled(changes: dict, problem: str):
    assert problems(CHARACTERS, "words") == []
    found = problems(CHARACTERS, "words", **changes)
    assert any(one.startswith(problem) for one in found), found


def test_scores_of_characters_are_not_for_words():
    found = problems(WORDS, "words", metrics=("f1", "entity_macro_f1"))
    assert len(found) == 1 and found[0].startswith("metrics: no metric is called 'entity_macro_f1'")
