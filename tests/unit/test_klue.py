"""KLUE's JSON files, and the markers of KLUE-RE, by hand-made rows."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from processors import TASKS
from processors.entity_markers import MARKERS, add_markers, continuation_of, mark_entities, rejoined
from processors.features import build_features, token_ids
from processors.task import DataError, Malformed
from processors.text_readers import read_unlabelled
from small_tokenizers import wordpiece

TC, STS, NLI, RE = (TASKS[f"klue-{name}"] for name in ("tc", "sts", "nli", "re"))


def entity(start: int, end: int, word: str = "") -> dict:
    return {"word": word, "start_idx": start, "end_idx": end, "type": "PER"}


def relation(sentence: str, subject: tuple[int, int], object: tuple[int, int], **changes) -> dict:
    entities = {
        f"{name}_entity": entity(*place, sentence[place[0] : place[1] + 1])
        for name, place in (("subject", subject), ("object", object))
    }
    return {"guid": "klue-re-v1_dev_00007", "sentence": sentence, **entities, "label": "per:title", **changes}


TITLE = {"guid": "ynat-v1_dev_00001", "title": '"포스코" 가격', "label": "경제", "url": "http://x", "annotations": {}}
PAIR = {
    "guid": "klue-sts-v1_dev_00001", "sentence1": "가", "sentence2": "나",
    "labels": {"label": 3.7, "real-label": 3.714285714285714, "binary-label": 1},
}  # fmt: skip
INFERENCE = {"guid": "klue-nli-v1_dev_00001", "premise": "가", "hypothesis": "나", "gold_label": "neutral"}
RELATION = relation("비틀즈가 조지 해리슨의 밴드다.", (0, 2), (5, 10))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.json"


def write(file: Path, *rows: object) -> Path:
    file.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def problem(task, file: Path, *rows: object) -> str:
    write(file, *rows)
    with pytest.raises(DataError) as caught:
        task.read(task, file)
    return str(caught.value)


def test_rows_of_each_task(file: Path):
    rows = TC.read(TC, write(file, TITLE))
    assert (rows.first, rows.second, rows.labels) == (['"포스코" 가격'], None, [1])
    rows = STS.read(STS, write(file, PAIR, PAIR | {"labels": {"real-label": 5}}))
    assert (rows.first, rows.second, rows.labels) == (["가", "가"], ["나", "나"], [3.714285714285714, 5])
    rows = NLI.read(NLI, write(file, INFERENCE))
    assert (rows.first, rows.second, rows.labels) == (["가"], ["나"], [2])
    rows = RE.read(RE, write(file, RELATION))
    assert rows.first == ["<subj>비틀즈</subj>가 <obj>조지 해리슨</obj>의 밴드다."]
    assert (rows.second, rows.labels, rows.counts) == (None, [29], Counter())


def test_the_relations_are_those_of_the_official_list():
    official = Path(__file__).parents[3] / "shared" / "data" / "klue" / "relation_list.json"
    assert len(RE.labels) == 30 and RE.labels[0] == "no_relation"
    if official.is_file():
        assert list(RE.labels) == json.loads(official.read_text(encoding="utf-8"))["relations"]


@pytest.mark.parametrize(
    "task, row, message",
    [
        (TC, TITLE | {"label": "연예"}, "row 'ynat-v1_dev_00001': unknown label '연예': known are 정치, 경제"),
        (TC, {"title": "가", "label": "경제", "guid": 3} | {"title": None}, '[0]: no text "title"'),
        (TC, {"title": "가"}, '[0]: no "label"'),
        (TC, ["가"], "[0]: is no object"),
        (STS, PAIR | {"labels": {"label": 3.7}}, 'no "labels.real-label"'),
        (STS, PAIR | {"labels": 3}, 'no "labels.real-label"'),
        (STS, PAIR | {"labels": {"real-label": 5.1}}, "the score 5.1 is not between 0 and 5"),
        (STS, PAIR | {"labels": {"real-label": [3]}}, "the score '[3]' is not a number"),
        (NLI, INFERENCE | {"hypothesis": 7}, 'no text "hypothesis"'),
        (RE, RELATION | {"label": "per:cat"}, "row 'klue-re-v1_dev_00007': unknown label 'per:cat'"),
        (RE, RELATION | {"sentence": None}, 'no text "sentence"'),
        (RE, RELATION | {"object_entity": None}, 'no object "object_entity"'),
        (RE, RELATION | {"object_entity": {"word": "가"}}, "object_entity has no start_idx and end_idx"),
        (RE, RELATION | {"object_entity": entity(5, 17)}, "object_entity is at 5-17, outside the sentence of 17"),
        (RE, RELATION | {"object_entity": entity(6, 5)}, "object_entity is at 6-5, outside"),
        (RE, RELATION | {"object_entity": entity(0, 2)}, "are at the same place"),
    ],
)
def test_malformed_rows(file: Path, task, row: object, message: str):
    good = {TC.name: TITLE, STS.name: PAIR, NLI.name: INFERENCE, RE.name: RELATION}[task.name]
    found = problem(task, file, row, good)
    assert found.startswith(f"{file}: ") and message in found and "\n" not in found
    rows = task.read(task, file, skip_bad_rows=True)
    assert len(rows) == 1 and any("malformed rows left out" in what for what in rows.counts)


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"data": []}', "a JSON list of rows is expected"),
        ("[]", "a JSON list of rows is expected"),
        ('[{"title": }]', "not valid JSON"),
        ("", "there is nothing in it"),
    ],
)
def test_files_of_a_different_form(file: Path, content: str, message: str):
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        TC.read(TC, file)


def test_all_rows_malformed(file: Path):
    write(file, TITLE | {"label": "연예"})
    with pytest.raises(DataError, match="no rows are left"):
        TC.read(TC, file, skip_bad_rows=True)


def test_empty_texts_and_halves_of_surrogate_pairs_are_kept_and_counted(file: Path):
    file.write_text('[{"title": " ", "label": "경제"}, {"title": "\\ud83d 가", "label": "경제"}]', encoding="utf-8")
    rows = TC.read(TC, file)
    assert rows.first == [" ", "\ufffd 가"] and len(rows.counts) == 2
    rows = read_unlabelled(TC, file)
    assert rows.first == [" ", "\ufffd 가"] and sorted(rows.counts.values()) == [1, 1, 2]  # 2: rows in this form


def test_texts_without_labels(file: Path):
    unlabelled = {key: value for key, value in TITLE.items() if key != "label"}
    rows = read_unlabelled(TC, write(file, unlabelled))
    assert (rows.first, rows.labels) == (['"포스코" 가격'], None)
    rows = read_unlabelled(NLI, write(file, INFERENCE))
    assert (rows.first, rows.second, rows.labels) == (["가"], ["나"], None)
    assert read_unlabelled(RE, write(file, RELATION)).first == RE.read(RE, file).first
    lines = file.with_suffix(".txt")
    lines.write_text("가\t나\n다\t라\n", encoding="utf-8")
    assert read_unlabelled(NLI, lines).second == ["나", "라"]
    lines.write_text("[단독] 가격\n", encoding="utf-8")
    assert read_unlabelled(TC, lines).first == ["[단독] 가격"]
    marked = RE.read(RE, write(file, RELATION)).first[0]
    lines.write_text(f"{marked}\n", encoding="utf-8")
    assert read_unlabelled(RE, lines).first == [marked]
    lines.write_text(f"{marked}\n비틀즈가\n", encoding="utf-8")
    with pytest.raises(DataError, match=r":2: klue-re expects <subj> .* here <subj> occurs 0 times"):
        read_unlabelled(RE, lines)
    write(file, INFERENCE, {"guid": "x"})
    with pytest.raises(DataError, match="row 'x': no text \"premise\""):
        read_unlabelled(NLI, file)
    file.write_text("[]", encoding="utf-8")  # by its name no text, though it begins like one
    with pytest.raises(DataError, match="a JSON list of rows is expected"):
        read_unlabelled(NLI, file)


# Markers


@pytest.mark.parametrize(
    "subject, object, marked",
    [
        ((0, 1), (3, 3), "<subj>가나</subj> <obj>다</obj>라."),
        ((3, 3), (0, 1), "<obj>가나</obj> <subj>다</subj>라."),
        ((0, 0), (1, 1), "<subj>가</subj><obj>나</obj> 다라."),
        ((4, 5), (3, 3), "가나 <obj>다</obj><subj>라.</subj>"),
        ((0, 3), (1, 1), "<subj>가나 다</subj><obj>나</obj> 다라."),  # overlapping, as in KLUE-baseline
    ],
)
def test_markers(subject: tuple[int, int], object: tuple[int, int], marked: str):
    counts: Counter[str] = Counter()
    assert mark_entities(relation("가나 다라.", subject, object), counts) == marked
    assert sum(counts.values()) == (object == (1, 1) and subject == (0, 3))


def test_a_word_that_stands_elsewhere_is_counted():
    counts: Counter[str] = Counter()
    mark_entities(relation("가나 다라.", (0, 1), (3, 3), subject_entity=entity(0, 1, "다라")), counts)
    assert sum(counts.values()) == 1
    with pytest.raises(Malformed):
        mark_entities(relation("가", (0, 0), (0, 0)), counts)


def tokens_of(tokenizer, text: str) -> list[str]:
    ids = rejoined(tokenizer, text, token_ids(tokenizer, [text])[0], continuation_of(tokenizer))
    return tokenizer.convert_ids_to_tokens(ids)


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("<subj>가</subj>나 <obj>다</obj>라", "<subj> 가 </subj> ##나 <obj> 다 </obj> ##라"),
        ("<subj>가</subj> 나 <obj>다</obj>", "<subj> 가 </subj> 나 <obj> 다 </obj>"),
        ("<subj>가</subj><obj>다</obj>가나", "<subj> 가 </subj> <obj> 다 </obj> [UNK]"),  # there is no ##가나
        ("<subj>가</subj>? 나", "<subj> 가 </subj> [UNK] 나"),
        ("가 나", "가 나"),
    ],
)
def test_what_follows_a_marker_goes_on_with_its_word(text: str, tokens: str):
    tokenizer = wordpiece()
    add_markers(tokenizer, MARKERS)
    size = len(tokenizer)
    add_markers(tokenizer, MARKERS)
    assert len(tokenizer) == size
    assert "가나" in tokenizer.get_vocab() or "가가" in tokenizer.get_vocab()
    assert tokens_of(tokenizer, text.replace("가나", "가가")) == tokens.split(" ")


def test_sentencepiece_loses_the_mark_of_a_new_word():
    pieces = ["<unk>", "▁", "▁가", "▁나", "나", "다"]
    backend = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    add_markers(tokenizer, MARKERS)
    assert continuation_of(tokenizer) == "▁"
    assert tokens_of(tokenizer, "<subj>가</subj>나") == ["<subj>", "▁가", "</subj>", "나"]
    assert tokens_of(tokenizer, "<subj>가</subj>다") == ["<subj>", "▁가", "</subj>", "다"]
    assert tokens_of(tokenizer, "<subj>가</subj> 나")[-1] == "▁나"


def test_features_of_marked_texts_are_cut_and_have_a_cache_of_their_own(file: Path, tmp_path: Path):
    tokenizer = wordpiece()
    add_markers(tokenizer, MARKERS)
    rows = RE.read(RE, write(file, relation("가나 다라", (0, 0), (3, 3))))
    marked = build_features(rows, tokenizer, 10, tmp_path / "cache", has_markers=True)
    plain = build_features(rows, tokenizer, 10, tmp_path / "cache")
    assert marked.table.path != plain.table.path
    assert tokenizer.convert_ids_to_tokens(marked.row(0)[0].tolist()) == (
        "[CLS] <subj> 가 </subj> ##나 <obj> 다 </obj> ##라 [SEP]".split(" ")
    )
    short = build_features(rows, tokenizer, 6, tmp_path / "cache", has_markers=True)
    assert short.lengths.tolist() == [6] and short.cut_tokens == 4
