"""The files of the original projects: read as they read them, or refused in one line that says what to do."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from models import ModelError, find_model
from models.vocabulary import train_sentencepiece
from processors import TASKS
from processors.pretraining import corpus_readers
from processors.pretraining.corpus_readers import clean, open_corpus
from processors.pretraining.ngrams import read_ngrams, write_ngrams
from processors.splits import read_splits
from processors.task import DataError
from workflows.recurring_questions import check_ngrams_out

# Four articles as the original's crawler writes them: `DataFrame.to_csv(path, sep="\u241D", index=False)` of pandas.
KOWIKI = """id␝url␝title␝text
5␝https://ko.wikipedia.org/wiki?curid=5␝지미 카터␝"지미 카터
그는 말했다."
9␝https://ko.wikipedia.org/wiki?curid=9␝수학␝"수학은 ""수""를 다룬다,
둘째 줄"
10␝␝기호␝"기호 ␝ 하나"
11␝␝\"""인용\"""␝끝
"""
# Its columns as the original's vocab.py reads them: `read_csv(path, sep="\u241D", engine="python")`.
TEXTS = [["지미 카터", "그는 말했다."], ['수학은 "수"를 다룬다,', "둘째 줄"], ["기호 ␝ 하나"], ["끝"]]
TITLES = [["지미 카터"], ["수학"], ["기호"], ['"인용"']]


def documents(path: Path, **options) -> list[list[str]]:
    found: list[list[str]] = []
    for part in open_corpus([path], **options).parts(Counter()):
        if part.is_first:
            found.append([])
        found[-1] += clean(part.text)
    return found


def test_kowiki_is_read_as_the_original_reads_it(tmp_path: Path, monkeypatch):
    path = tmp_path / "kowiki.csv"
    path.write_text(KOWIKI, encoding="utf-8")
    assert documents(path) == TEXTS
    assert documents(path, text_field="title") == TITLES
    assert open_corpus([path]).describe() == "1 file: 1 of columns that U+241D separates"
    compressed = tmp_path / "kowiki.csv.gz"  # as in the original's notebooks
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    assert documents(compressed) == TEXTS
    with_line_ends = tmp_path / "windows.csv"
    with_line_ends.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert documents(with_line_ends) == TEXTS
    monkeypatch.setattr(corpus_readers, "PART_CHARACTERS", 5)
    assert [" ".join(lines) for lines in documents(path)] == [" ".join(lines) for lines in TEXTS]


def test_a_vocabulary_of_kowiki_is_one_of_its_texts(tmp_path: Path):
    """Its ids, addresses and titles are no words."""
    path = tmp_path / "kowiki.csv"
    record = '7␝https://zzz␝힣␝"가나다라 마바사\n아자차 가나 다라"\n'
    path.write_text("id␝url␝title␝text\n" + record * 50, encoding="utf-8")
    vocabulary = train_sentencepiece(open_corpus([path]).lines(), tmp_path / "vocabulary", vocab_size=16)
    tokens = vocabulary.get_vocab().keys() - set(vocabulary.all_special_tokens) - {"[BOS]", "[EOS]"}
    assert set("".join(tokens)) == set("▁가나다라마바사아자차")


@pytest.mark.parametrize(
    "content, message",
    [
        ("id␝title\n5␝a\n", r"kowiki\.csv:1: no column 'text'; there are: id, title \(--text_field names the one\)$"),
        (
            "id␝text\n5␝a\n6␝b␝c\n",
            r"kowiki\.csv:3: 3 columns; the first line names 2: id, text\n\(--skip_bad_rows leaves",
        ),
        ('id␝text\n5␝"a\nb\n', r"kowiki\.csv:2: the record that starts here is not valid CSV: unexpected end of data"),
        ('id␝text\n5␝"a"b\n', r"kowiki\.csv:2: the record that starts here is not valid CSV: '␝' expected after '\"'"),
        (b"id\xe2\x90\x9dtext\n5\xe2\x90\x9d\xff\n", r"kowiki\.csv:2: not UTF-8 at byte 4"),
    ],
)
def test_kowiki_that_cannot_be_read(tmp_path: Path, content: str | bytes, message: str):
    path = tmp_path / "kowiki.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        documents(path)


def test_bad_records_of_kowiki_are_left_out_where_that_is_asked_for(tmp_path: Path):
    path = tmp_path / "kowiki.csv"
    path.write_text('id␝text\n5␝하나\n6␝"둘"␝셋\n\n7␝"넷"다섯\n8␝"여섯\n일곱"\n', encoding="utf-8")
    assert documents(path, skip_bad_rows=True) == [["하나"], ["여섯", "일곱"]]
    counts: Counter[str] = Counter()
    list(open_corpus([path], skip_bad_rows=True).parts(counts))
    assert list(counts.values()) == [2] and "kowiki.csv:3: 3 columns" in next(iter(counts))


@pytest.fixture
def field_limit():
    """Sets the limit that the csv module has for a field; the old one is put back, as it belongs to the process."""
    before = csv.field_size_limit()
    yield csv.field_size_limit
    csv.field_size_limit(before)


def test_a_long_article_is_read(tmp_path: Path, field_limit):
    field_limit(131_072)  # Python's default
    path = tmp_path / "kowiki.csv"
    path.write_text('id␝text\n5␝"' + "긴 줄\n" * 50_000 + '"\n', encoding="utf-8")
    assert documents(path) == [["긴 줄"] * 50_000]


def test_a_record_that_is_never_closed_does_not_fill_the_memory(tmp_path: Path, monkeypatch, field_limit):
    field_limit(10)
    monkeypatch.setattr(corpus_readers, "JSON_LINE_BYTES", 100)
    path = tmp_path / "kowiki.csv"
    path.write_text('id␝text\n5␝"' + "한 줄\n" * 100, encoding="utf-8")
    with pytest.raises(DataError, match=r"kowiki\.csv:2: .* not valid CSV: field larger than field limit"):
        documents(path)


def pieces(text: str) -> list[str]:
    return [f"\u2581{word}" for word in text.split()]


@pytest.mark.parametrize(
    "name, row",
    [
        ("kowiki.json", {"doc": [pieces("지미 카터는"), pieces("미국의")]}),
        ("ratings_train.json", {"id": 9976970, "doc": pieces("아 더빙"), "label": 0}),
        ("kowiki_span.json", {"tokens": ["[CLS]", *pieces("지미 카터"), "[SEP]"], "segment": [0] * 4, "mask_idx": [1]}),
    ],
)
def test_files_of_tokens_are_refused_in_one_line(tmp_path: Path, name: str, row: dict):
    path = tmp_path / name
    path.write_text(f"{json.dumps(row)}\n" * 9, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        documents(path, skip_bad_rows=True)
    assert str(caught.value) == (
        f"{path}: holds tokens that the Korean SpanBERT's scripts made (kowiki.json and the like), not texts; give the "
        "kowiki.csv or kowiki.txt that they were made of"
    )


def test_a_field_called_doc_may_hold_texts(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"doc": "하나"}\n{"doc": "둘"}\n', encoding="utf-8")
    assert documents(path, text_field="doc") == [["하나"], ["둘"]]


@pytest.mark.parametrize("name", ["save_pretrain.pth", "save_best.pth"])
def test_a_spanbert_of_theirs_is_refused_in_one_line(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError) as caught:
        find_model(None, str(path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path} is a file, and a model is a folder; if the Korean SpanBERT's scripts")
    assert str(caught.value).endswith("pretrain again with pretrain_spanbert.py")


def test_ngrams_of_splinters_own_code_are_read(tmp_path: Path):
    """`f"{ngram}\\t{num}\\n"`, the most frequent first, and no header line."""
    counts = Counter({"서울 ##에": 3, "독립 ##운동": 12})
    path = tmp_path / "ngrams.txt"
    path.write_text("".join(f"{ngram}\t{num}\n" for ngram, num in counts.most_common()), encoding="utf-8")
    assert read_ngrams(path) == counts
    write_ngrams(tmp_path / "ours.tsv", counts)
    assert read_ngrams(tmp_path / "ours.tsv") == counts
    # Which table of words and numbers they are is not certain enough to write over them.
    with pytest.raises(DataError, match=r"would overwrite a file that holds no n-grams: .*ngrams\.txt:1: the header"):
        check_ngrams_out(str(path))
    check_ngrams_out(str(tmp_path / "ours.tsv"))


def test_kobigbirds_data_dir_is_answered_with_the_one_here(tmp_path: Path):
    """Theirs is the task's own folder: `--data_dir cache/tydiqa --train_file tydiqa-v1.0-train.jsonl`."""
    folder = tmp_path / "cache" / "tydiqa"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").touch()

    def problem(name: str) -> str:
        with pytest.raises(DataError) as caught:
            read_splits(TASKS["tydiqa"], ["train"], {"train": [folder / "tydiqa" / name]})
        return str(caught.value)

    place = (
        f"{folder}/tydiqa/train.jsonl: no such file; {folder} holds one, but data_dir is the folder above the task's"
    )
    assert problem("train.jsonl") == f"{place} own, which is called tydiqa"
    assert problem("dev.jsonl").endswith("dev.jsonl: no such file; there is no such folder")
