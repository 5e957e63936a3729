"""Files of one's own: separators, columns, comments and headers; texts to be labelled in a task's own form."""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from pathlib import Path

import pytest

from processors import TASKS
from processors.ner import read_json_sentences, read_token_lines
from processors.sentence_files import WRITERS, read_sentence_lines, token_lines
from processors.sentence_files import read_unlabelled as read_unlabelled_sentences
from processors.seq_cls import read_csv, read_json_lines, read_tsv
from processors.splits import stratified_split
from processors.task import DataError, Rows, Task
from processors.text_readers import read_unlabelled

PLACE = {"folder": "t", "train_file": "a", "dev_file": None, "test_file": "b", "source": "", "licence": ""}
TEXTS = Task(
    "t",
    **PLACE,
    read=read_tsv,
    columns=("id", "text", "label"),
    text_columns=("text",),
    label_column="label",
    labels=("no", "yes"),
    metrics=("accuracy",),
    main_metric="accuracy",
)
WORDS = Task("w", **PLACE, read=read_token_lines, labels=("O", "B-PER", "I-PER"), metrics=("f1",), main_metric="f1")
NUMBERED = {"columns": (), "header": False, "text_columns": (2,), "label_column": 0}


def own(task: Task, **changes) -> Task:
    return dataclasses.replace(task, **changes)


def read(task: Task, folder: Path, content: str, **options):
    path = folder / "own.txt"
    path.write_text(content, encoding="utf-8", newline="")
    return task.read(task, path, **options)


def unlabelled(task: Task, folder: Path, content: str):
    """The texts, or the words, of a file that is to be labelled, and what was noticed."""
    path = folder / "input.txt"
    path.write_text(content, encoding="utf-8", newline="")
    rows = (read_unlabelled_sentences if task.read in WORD_READERS else read_unlabelled)(task, path)
    assert rows.labels is None
    return rows


WORD_READERS = (read_token_lines, read_json_sentences, read_sentence_lines)


def problem(function, task: Task, folder: Path, content: str) -> str:
    """What is said of the file, its folder left out."""
    with pytest.raises(DataError) as error:
        function(task, folder, content)
    return str(error.value).replace(f"{folder}/", "")


# --------------------------------------------------------------------------------------------------------------------
# Texts
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, content",
    [
        ({}, "id\ttext\tlabel\n1\t좋다\tyes\n2\t나쁘다\tno\n"),
        ({"separator": "|"}, "id|text|label\n1|좋다|yes\r\n2|나쁘다|no\n"),
        ({"columns": ()}, "label\tx\ttext\nyes\t-\t좋다\nno\t-\t나쁘다\n"),
        ({"header": False}, "1\t좋다\tyes\n2\t나쁘다\tno\n"),
        (NUMBERED, "yes\tx\t좋다\nno\tx\t나쁘다\n"),
        (NUMBERED | {"header": True}, "any\thead\tline\nyes\tx\t좋다\nno\tx\t나쁘다\n"),
        ({"comments": ("//", ";")}, "// 말\nid\ttext\tlabel\n1\t좋다\tyes\n;말\n2\t나쁘다\tno\n"),
        ({"read": read_csv}, "id,text,label\n1,좋다,yes\n2,나쁘다,no\n"),
        ({"read": read_csv, "separator": ";", "columns": ()}, 'label;text\nyes;"좋다"\n# x\nno;나쁘다\n'),
        ({"read": read_csv, "header": False, "comments": ("#",)}, "# 말\n1,좋다,yes\n2,나쁘다,no\n"),
        ({"read": read_json_lines}, '{"text": "좋다", "label": "yes"}\n\n{"label": "no", "text": "나쁘다", "x": 1}\n'),
    ],
)
def test_the_same_rows_in_each_form(changes: dict, content: str, tmp_path: Path):
    if "# x" in content:
        changes = changes | {"comments": ("#",)}
    rows = read(own(TEXTS, **changes), tmp_path, content)
    assert (rows.first, rows.second, rows.labels) == (["좋다", "나쁘다"], None, [1, 0])
    assert sum(rows.counts.values()) == len([mark for mark in ("//", ";말", "# ") if mark in content])


def test_quotes_in_csv_hold_separators_and_line_ends(tmp_path: Path):
    rows = read(own(TEXTS, read=read_csv), tmp_path, 'id,text,label\n1,"가, ""나""\n다",yes\n')
    assert rows.first == ['가, "나"\n다']


def test_comments_in_csv_are_told_from_quoted_fields(tmp_path: Path):
    task = own(TEXTS, read=read_csv, columns=(), comments=("#",))
    content = '# it, is "open\ntext,label\n"#tag\n# more",yes\n# a, b\n나,no\n다,?\n'
    assert problem(read, task, tmp_path, content) == "own.txt:7: unknown label '?': known are no, yes"
    rows = read(task, tmp_path, content.removesuffix("다,?\n"))
    assert (rows.first, rows.labels, dict(rows.counts)) == (
        ["#tag\n# more", "나"],
        [1, 0],
        {"comment lines left out": 2},
    )


def test_several_text_columns_are_joined_unless_they_are_a_pair(tmp_path: Path):
    task = own(TEXTS, columns=(), text_columns=("title", "body"))
    content = "title\tbody\tlabel\n제목\t글\tyes\n"
    assert read(task, tmp_path, content).first == ["제목 글"]
    pair = read(own(task, is_pair=True), tmp_path, content)
    assert (pair.first, pair.second) == (["제목"], ["글"])


def test_labels_of_json_lines_may_be_numbers(tmp_path: Path):
    task = own(TEXTS, read=read_json_lines, columns=(), labels=("0", "true"))
    assert read(task, tmp_path, '{"text": "가", "label": 0}\n{"text": "나", "label": true}\n').labels == [0, 1]
    scores = own(task, labels=(), score_range=(0, 100))
    assert read(scores, tmp_path, '{"text": "가", "label": 72}\n{"text": "나", "label": "1.5"}\n').labels == [72, 1.5]


@pytest.mark.parametrize(
    "changes, content, message",
    [
        (
            {"separator": "|"},
            "id\ttext\n",
            "own.txt:1: the header line is missing: expected id text label (separated by '|')",
        ),
        (
            {"columns": ()},
            "id\tdocument\tlabel\n",
            "own.txt:1: the header has no column text: it is 'id document label'",
        ),
        ({"columns": ()}, "text\ttext\tlabel\n", "own.txt:1: the header names twice the column text: it is 'text text"),
        (NUMBERED, "yes\t좋다\n", "own.txt:1: there is no column 2: this line has 2, counted from 0"),
        (NUMBERED, "yes\tx\t가\nno\t나\n", "own.txt:2: 2 columns instead of 3, which the first line has"),
        ({"comments": ("#",)}, "# 말\n#\n", "own.txt: there is nothing in it but comments"),
        (
            {"read": read_json_lines},
            '[{"text": "가"}]',
            "own.txt: is one JSON list; JSON lines have an object on each line",
        ),
        ({"read": read_json_lines}, '{"text": "가"}\n', "own.txt:1: no key 'label': it has text"),
        ({"read": read_json_lines}, '{"text": 1, "label": "no"}\n', "own.txt:1: text is no text: 1"),
        ({"read": read_json_lines}, "\n3\n", "own.txt:2: is no JSON object"),
        ({"read": read_json_lines}, '{"text": "가"\n', "own.txt:1: not valid JSON"),
        (
            {"read": read_json_lines},
            '{"text": "가", "label": null}\n',
            "own.txt:1: unknown label 'null': known are no, yes",
        ),
    ],
)
def test_files_that_do_not_fit_the_task(changes: dict, content: str, message: str, tmp_path: Path):
    assert problem(read, own(TEXTS, **changes), tmp_path, content).startswith(message)


def test_a_label_in_parts_is_told_from_the_one_it_looks_like(tmp_path: Path):
    """macOS writes Hangul syllables as single letters where it can."""
    label = unicodedata.normalize("NFD", "긍정")
    message = "unknown label '긍정': known are 긍정, O; this one looks the same, but its syllables are written in parts"
    message = message.replace("긍정", label, 1)
    texts, words = (own(task, columns=(), labels=("긍정", "O")) for task in (TEXTS, WORDS))
    assert problem(read, texts, tmp_path, f"text\tlabel\n가\t{label}\n").startswith(f"own.txt:2: {message}")
    assert problem(read, words, tmp_path, f"가\t{label}\n").startswith(f"own.txt:1: {message}")
    assert problem(read, words, tmp_path, "가\tX\n") == "own.txt:1: unknown label 'X': known are 긍정, O"


# --------------------------------------------------------------------------------------------------------------------
# Sentences of words
# --------------------------------------------------------------------------------------------------------------------

# The file of a user of kmounlp/NER, with the tags in the last column.
NUMBERED_WORDS = """\
; 한석규가 왔다.
$<한석규:PS>가 왔다.
1\t한석규\tNNP\tB_PS
2\t가\tJKS\tO
3\t왔다\tVV\tO

1\t$\tSW\tO
2\t부산\tNNP\tB_LC

"""
KMOU = own(
    WORDS,
    text_columns=(1,),
    label_column=3,
    comments=(";", "$"),
    labels=("O", "B_PS", "I_PS", "B_LC", "I_LC"),
    label_map={"B_PS": "B-PS", "I_PS": "I-PS", "B_LC": "B-LC", "I_LC": "I-LC"},
)


@pytest.mark.parametrize("separator", ["", "\t", " "])
def test_conll_with_other_columns_and_comments(separator: str, tmp_path: Path):
    content = NUMBERED_WORDS.replace("\t", "   ") if separator == " " else NUMBERED_WORDS
    rows = read(own(KMOU, separator=separator), tmp_path, content)
    assert (rows.words, rows.labels) == ([["한석규", "가", "왔다"], ["$", "부산"]], [[1, 0, 0], [0, 3]])
    assert dict(rows.counts) == {"comment lines left out": 2}


def test_conll_with_a_header(tmp_path: Path):
    task = own(WORDS, columns=("word", "tag"), text_columns=("word",), label_column="tag", header=True)
    assert read(task, tmp_path, "word\ttag\n\n가\tO\n").words == [["가"]]
    assert problem(read, task, tmp_path, "가\tO\n").startswith(
        "own.txt:1: the header line is missing: expected word tag"
    )
    assert problem(read, task, tmp_path, "word\ttag\n") == "own.txt: there are no sentences in it"


@pytest.mark.parametrize(
    "line, message",
    [
        ("1\t가", "own.txt:1: 2 columns instead of at least 4 (a tab between them)"),
        ("1\t\tNNP\tO", "own.txt:1: the word is empty"),
        ("1\t가\tNNP\tB-PS", "own.txt:1: unknown label 'B-PS': known are O, B_PS"),
    ],
)
def test_words_that_do_not_fit_the_task(line: str, message: str, tmp_path: Path):
    assert problem(read, KMOU, tmp_path, f"{line}\n").startswith(message)


JSON_WORDS = own(WORDS, read=read_json_sentences, text_columns=("tokens",), label_column="tags")


def test_sentences_in_json_lines(tmp_path: Path):
    row = {"tokens": ["한 석규", "가"], "tags": ["B-PER", "O"]}
    rows = read(JSON_WORDS, tmp_path, json.dumps(row, ensure_ascii=False) + "\n")
    assert (rows.words, rows.labels) == ([["한 석규", "가"]], [[1, 0]])
    for key, value, message in (
        ("tokens", "가 나", "tokens is no list of words"),
        ("tokens", ["가", ""], "tokens is no list of words"),
        ("tags", "O O", "tags is no list of labels"),
        ("tags", ["O"], "2 words, but 1 label"),
        ("tags", ["O", 1], "unknown label '1': known are O, B-PER, I-PER"),
    ):
        assert problem(read, JSON_WORDS, tmp_path, json.dumps(row | {key: value})) == f"own.txt:1: {message}"


# --------------------------------------------------------------------------------------------------------------------
# To be labelled
# --------------------------------------------------------------------------------------------------------------------

PAIR = own(TEXTS, columns=("a", "b", "label"), text_columns=("a", "b"), is_pair=True)


@pytest.mark.parametrize(
    "changes, content",
    [
        ({}, "id\ttext\tlabel\n1\t좋다\tyes\n2\t\tno\n3\t그래 나\t\n"),
        ({}, "id\ttext\tlabel\n1\t좋다\t무엇\n2\t\t?\n3\t그래 나\t-\n"),  # labels are not looked at
        ({}, "id\ttext\n1\t좋다\n2\t\n3\t그래 나\n"),  # an official test file without labels
        ({}, "text\n좋다\n \n그래 나\n"),
        ({}, "text\tid\n좋다\t1\n\t2\n그래 나\t3\n"),
        ({"header": False}, "1\t좋다\tyes\n2\t\tno\n3\t그래 나\tno\n"),
        ({"header": False}, "1\t좋다\n2\t\n3\t그래 나\n"),
        (NUMBERED, "yes\tx\t좋다\nno\tx\t\nno\tx\t그래 나\n"),
        (NUMBERED, "x\t좋다\nx\t\nx\t그래 나\n"),  # the label stood before the text
        ({"read": read_csv}, "id,text\n1,좋다\n2,\n3,그래 나\n"),
        ({"read": read_csv}, 'id,text,label\n1,"좋다",\n2,,\n3,그래 나,\n'),
        ({"read": read_json_lines}, '{"text": "좋다"}\n{"text": "", "label": 7}\n{"text": "그래 나"}\n'),
    ],
)
def test_texts_in_the_tasks_own_form(changes: dict, content: str, tmp_path: Path):
    rows = unlabelled(own(TEXTS, **changes), tmp_path, content)
    assert [text.strip() for text in rows.first] == ["좋다", "", "그래 나"]
    said = "read in the form of t's files, their labels left out"
    assert dict(rows.counts) == {"empty texts, labelled like the others": 1, said: 3}


@pytest.mark.parametrize("changes", [{}, {"header": False}, NUMBERED, {"read": read_csv}, {"read": read_json_lines}])
def test_plain_texts_are_read_line_by_line(changes: dict, tmp_path: Path):
    content = '그는 "좋다, 정말\n\n나쁘다, 정말, 아주\n'
    rows = unlabelled(own(TEXTS, **changes), tmp_path, content)
    assert (rows.first, dict(rows.counts)) == (content.split("\n")[:-1], {"empty texts, labelled like the others": 1})


@pytest.mark.parametrize(
    "content", ['"좋다, 정말\n둘\n', '"좋다"는 말\n둘\n', "가, 나, 다\n가, 나\n", '가, 나, 다\n"나\n']
)
@pytest.mark.parametrize("header", [None, False])
def test_texts_with_quotes_and_commas_are_no_csv(header: bool | None, content: str, tmp_path: Path):
    rows = unlabelled(own(TEXTS, read=read_csv, header=header), tmp_path, content)
    assert rows.first == content.split("\n")[:-1]


def test_pairs_in_either_form(tmp_path: Path):
    for content in ("가\t나\n다\t라\n", "a\tb\n가\t나\n다\t라\n", "label\tb\ta\n-\t나\t가\n-\t라\t다\n"):
        rows = unlabelled(PAIR, tmp_path, content)
        assert (rows.first, rows.second) == (["가", "다"], ["나", "라"])
    content = "1\t가\t나\n"
    assert problem(unlabelled, PAIR, tmp_path, content).startswith("input.txt:1: t expects two sentences with a tab")


def test_lines_that_break_the_form(tmp_path: Path):
    message = problem(unlabelled, TEXTS, tmp_path, "id\ttext\tlabel\n1\t좋다\tyes\n2\t나쁘다\n")
    assert message == "input.txt:3: 2 columns instead of 3 (id, text, label)"
    assert problem(unlabelled, TEXTS, tmp_path, "id\ttext\tlabel\n") == "input.txt: no rows, only a header"
    json_lines = own(TEXTS, read=read_json_lines)
    assert problem(unlabelled, json_lines, tmp_path, '{"document": "가"}').startswith("input.txt:1: no key 'text'")


def test_published_forms(tmp_path: Path):
    assert unlabelled(TASKS["nsmc"], tmp_path, "id\tdocument\tlabel\n1\t좋다\t1\n").first == ["좋다"]
    news = unlabelled(TASKS["fake-news"], tmp_path, 'seqid,title,content\n1,제목,"글\n둘"\n')
    assert news.first == ["제목 글\n둘"]
    document = {"paragraph": [{"paragraph_form": "하나"}, {"paragraph_form": "둘"}]}
    content = json.dumps({"document": [document, document | {"id": 1, "document_score": 9}]})
    assert unlabelled(TASKS["modu-sentiment"], tmp_path, content).first == ["하나 둘"] * 2
    message = problem(unlabelled, TASKS["modu-sentiment"], tmp_path, '{"document": [{}]}')
    assert message == "input.txt: document[0]: no key 'paragraph'"
    assert unlabelled(TASKS["modu-sentiment"], tmp_path, "한 줄\n두 줄\n").first == ["한 줄", "두 줄"]


@pytest.mark.parametrize(
    "task, content",
    [
        (WORDS, "한석규\tB-PER\n가 나\tO\n\n왔다\tO\n"),
        (WORDS, "한석규\t?\n가 나\t?\n\n왔다\t?\n"),
        (WORDS, "## 말\n한석규\tB-PER\n가 나\tO\n\n\n왔다\tO\n\n"),
        (own(WORDS, separator=" ", read=read_token_lines), None),
        (own(WORDS, text_columns=(1,), label_column=2), "1\t한석규\n2\t가 나\n\n1\t왔다\n"),
        (own(WORDS, text_columns=(2,), label_column=0), "1\t한석규\n2\t가 나\n\n1\t왔다\n"),
        (JSON_WORDS, '{"tokens": ["한석규", "가 나"]}\n{"tokens": ["왔다"], "tags": 3}\n'),
        (own(WORDS, read=read_sentence_lines), None),
    ],
)
def test_words_in_the_tasks_own_form(task: Task, content: str | None, tmp_path: Path):
    words = [["한석규", "가 나"], ["왔다"]]
    if content is None:  # forms in which a word cannot hold a space
        words = [["한석규", "가\u00a0나"], ["왔다"]]
        labels = [["B-PER", "O"], ["O"]]
        content = WRITERS[task.read](words, labels)
        content = content.replace("\t", " ") if task.separator == " " else content
    rows = unlabelled(task, tmp_path, content)
    assert rows.words == words
    assert dict(rows.counts) == {"read in the form of w's files, their labels left out": 2}


def test_a_word_a_line_without_labels(tmp_path: Path):
    """Each word would otherwise be a sentence."""
    for content in ("한석규\n가\n\n왔다\n", "한석규\r\n가\r\n\r\n왔다\r\n\r\n"):
        assert unlabelled(WORDS, tmp_path, content).words == [["한석규", "가"], ["왔다"]]
    assert unlabelled(WORDS, tmp_path, "한석규\n가\n\n").words == [["한석규", "가"]]


def test_sentences_are_sentences_still(tmp_path: Path):
    for task in (WORDS, own(WORDS, separator=" "), JSON_WORDS, own(WORDS, read=read_sentence_lines)):
        rows = unlabelled(task, tmp_path, "한석규가 왔다\n\n가\n")
        assert (rows.words, dict(rows.counts)) == ([["한석규가", "왔다"], [], ["가"]], {"blank lines": 1})
    assert unlabelled(WORDS, tmp_path, "왔다\n갔다\n").words == [["왔다"], ["갔다"]]  # no blank line: two sentences


def test_white_space_is_cut_as_in_training(tmp_path: Path):
    task = own(WORDS, read=read_sentence_lines)
    sentence = "10\u00a0km  뛰었\u3000다\x1c \u2028"
    trained = read(task, tmp_path, f"{sentence}\tO O O\r\n").words
    assert trained == [["10\u00a0km", "뛰었\u3000다\x1c", "\u2028"]]
    assert unlabelled(task, tmp_path, f"{sentence}\r\n").words == trained
    assert unlabelled(task, tmp_path, f"{sentence}\tO O O\r\n").words == trained


def test_columns_between_spaces_without_labels(tmp_path: Path):
    """They are told from sentences by their number and by blank lines between groups of lines."""
    task = own(KMOU, separator=" ")
    lines = ["; 원문", "1 한석규 NNP", "2 가  JKS", "", "1 왔다 VV", ""]
    for label in ("", " ?", " O"):
        content = "\n".join(line + label if line[:1].isdigit() else line for line in lines)
        assert unlabelled(task, tmp_path, content).words == [["한석규", "가"], ["왔다"]]
    for content in ("하나 둘 셋\n넷 다섯 여섯\n", "하나 둘 셋\n\n넷 다섯 여섯\n", "하나 둘 셋\n넷\n\n다섯\n"):
        sentences = [line.split(" ") if line else [] for line in content.split("\n")[:-1]]
        assert unlabelled(task, tmp_path, content).words == sentences


def test_a_header_may_be_missing_above_words_without_labels(tmp_path: Path):
    task = own(WORDS, columns=("word", "tag"), text_columns=("word",), label_column="tag", header=True)
    for header in ("word\ttag\n", "word\n", ""):
        tag = "" if header == "word\n" else "\t-"
        assert unlabelled(task, tmp_path, f"{header}가{tag}\n나{tag}\n\n다{tag}\n").words == [["가", "나"], ["다"]]


@pytest.mark.parametrize("task", [JSON_WORDS, own(TEXTS, read=read_json_lines)])
def test_a_json_list_is_no_text(task: Task, tmp_path: Path):
    for content in ('[{"text": "가"}]', ' [\n  {"tokens": ["가"]}\n]\n'):
        assert problem(unlabelled, task, tmp_path, content).startswith(
            "input.txt: is one JSON list; JSON lines have an"
        )
    assert len(unlabelled(task, tmp_path, "[단독] 하나\n[1] 둘\n")) == 2


def test_words_of_json_that_other_files_cannot_hold(tmp_path: Path):
    content = '{"tokens": ["\\ud83d가", "나\\t\\n다"], "tags": ["B-PER", "O"]}\n'
    rows = read(JSON_WORDS, tmp_path, content)
    assert (rows.words, dict(rows.counts)) == (
        [["\ufffd가", "나\t\n다"]],
        {"texts with a lone surrogate, replaced by U+FFFD": 1},
    )
    assert unlabelled(JSON_WORDS, tmp_path, content).words == rows.words
    assert token_lines(rows.words, [["O", "O"]]) == "\ufffd가\tO\n나\\t\\n다\tO\n\n"


def test_words_that_break_the_form(tmp_path: Path):
    sentences = own(WORDS, read=read_sentence_lines)
    message = problem(unlabelled, sentences, tmp_path, "가\tO\n나\tO\tO\n")
    assert message == "input.txt:2: 3 columns instead of at most 2 (words, labels; a tab between them)"
    message = problem(unlabelled, WORDS, tmp_path, "가\t?\n나\n")
    assert message == "input.txt:2: 1 column instead of 2 (word, label; a tab between them)"


# --------------------------------------------------------------------------------------------------------------------
# Parts of the training file
# --------------------------------------------------------------------------------------------------------------------


def test_scores_and_sentences_are_held_out_too(tmp_path: Path):
    scores = own(TEXTS, labels=(), held_out_share=0.2, score_range=(0, 10))
    train, test = stratified_split(scores, Rows([str(i) for i in range(10)], None, [i / 10 for i in range(10)]), 42)
    assert (len(train), len(test)) == (8, 2) and set(train.first) | set(test.first) == set(map(str, range(10)))
    sentences = read(WORDS, tmp_path, "".join(f"{i}\tO\n\n" for i in range(10)))
    train, test = stratified_split(own(WORDS, held_out_share=0.2), sentences, 42)
    assert (len(train), len(test)) == (8, 2) and len({*map(tuple, train.words + test.words)}) == 10
    assert train.labels == [[0]] * 8
