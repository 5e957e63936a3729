"""The sample data: the same bytes every time, the official formats, the awkward rows, and Korean that is put together
as Korean is."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from processors import TASKS
from sample_data.sample_grammar import RULES, SLOT, render, scene
from sample_data.sample_morphology import PARTICLES, conjugate, with_particle

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_sample_data.py"
TSV_FILES = {  # file: (header, columns of the texts, column of the label)
    "nsmc/ratings_train.txt": ("id document label", (1,), 2),
    "nsmc/ratings_test.txt": ("id document label", (1,), 2),
    "kornli/multinli.train.ko.tsv": ("sentence1 sentence2 gold_label", (0, 1), 2),
    "kornli/snli_1.0_train.ko.tsv": ("sentence1 sentence2 gold_label", (0, 1), 2),
    "kornli/xnli.dev.ko.tsv": ("sentence1 sentence2 gold_label", (0, 1), 2),
    "kornli/xnli.test.ko.tsv": ("sentence1 sentence2 gold_label", (0, 1), 2),
    "paws/translated_train.tsv": ("id sentence1 sentence2 label", (1, 2), 3),
    "paws/dev_2k.tsv": ("id sentence1 sentence2 label", (1, 2), 3),
    "paws/test_2k.tsv": ("id sentence1 sentence2 label", (1, 2), 3),
    "korsts/sts-train.tsv": ("genre filename year id score sentence1 sentence2", (5, 6), 4),
    "korsts/sts-dev.tsv": ("genre filename year id score sentence1 sentence2", (5, 6), 4),
    "korsts/sts-test.tsv": ("genre filename year id score sentence1 sentence2", (5, 6), 4),
    "question-pair/train.tsv": ("question1 question2 is_duplicate", (0, 1), 2),
    "question-pair/dev.tsv": ("question1 question2 is_duplicate", (0, 1), 2),
    "question-pair/test.tsv": ("question1 question2 is_duplicate", (0, 1), 2),
    "hate-speech/train.tsv": ("title comment bias hate", (1,), 3),
    "hate-speech/val.tsv": ("title comment bias hate", (1,), 3),
}
KLUE_JSON = ("ynat", "klue-sts", "klue-nli", "klue-re", "klue-mrc")
OTHER_FILES = {
    "fake_news/mission1_train.csv", "fake_news/mission2_train.csv", "modu_sentiment/EXSA2002108040.json", "texts.txt",
    "corpus.jsonl",
    "tiny-electra/config.json", "tiny-electra/tokenizer.json", "tiny-electra/tokenizer_config.json",
    "tiny-electra/vocab.txt", "sentences.txt", "questions.json", "naver-ner/train.tsv", "naver-ner/test.tsv",
    *(f"korquad/KorQuAD_{name}_{part}.json" for name in ("v1.0", "v2.0_sample") for part in ("train", "dev")),
    "tydiqa/tydiqa-v1.0-train.jsonl", "tydiqa/tydiqa-v1.0-dev.jsonl", "tydiqa/tydiqa-v1.0-dev.jsonl.gz",
    "korquad_2/train/korquad2.1_train_00.json", "korquad_2/train/korquad2.1_train_01.json",
    "korquad_2/dev/korquad2.1_dev_00.json",
    *(f"klue/{name}-v1.1/{name}-v1.1_{part}.json" for name in KLUE_JSON for part in ("train", "dev")),
    "klue/klue-ner-v1.1/klue-ner-v1.1_train.tsv", "klue/klue-ner-v1.1/klue-ner-v1.1_dev.tsv",
    "splinter_corpus.jsonl", *(f"few_shot/korquad/KorQuAD_v1.0_{part}.json" for part in ("train", "dev")),
}  # fmt: skip
ENTITY_TYPES = "PER FLD AFW ORG LOC CVL DAT TIM NUM EVT ANM PLT MAT TRM".split()
LABELS = {
    "nsmc": {"0", "1"}, "kornli": {"contradiction", "entailment", "neutral"}, "paws": {"0", "1"},
    "question-pair": {"0", "1"}, "hate-speech": {"none", "offensive", "hate"},
}  # fmt: skip


def run(*arguments: object, cwd: Path | None = None, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    """The script in a process of its own."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(content: bytes) -> list[list[str]]:
    """Rows of a TSV file, split on line feeds and tabs alone."""
    return [line.split("\t") for line in content.decode().removesuffix("\n").split("\n")]


def csv_rows(content: bytes, encoding: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(encoding), newline=""), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "sample_data"
    done = run(cwd=folder.parent)  # the default output_dir
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def files(folder: Path) -> dict[str, bytes]:
    return contents(folder)


@pytest.fixture(scope="module")
def texts(files: dict[str, bytes]) -> dict[str, list[str]]:
    """The texts of every file but the tokenizer's."""
    found = {name: [row[column] for row in table(files[name])[1:] for column in spec[1]]
             for name, spec in TSV_FILES.items()}  # fmt: skip
    for name, encoding in (("mission1_train", "cp949"), ("mission2_train", "utf-8-sig")):
        rows = csv_rows(files[f"fake_news/{name}.csv"], encoding)[1:]
        found[f"fake_news/{name}.csv"] = [text for row in rows for text in row[1:3]]
    documents = json.loads(files["modu_sentiment/EXSA2002108040.json"])["document"]
    found["modu_sentiment"] = [part["paragraph_form"] for document in documents for part in document["paragraph"]]
    for name in ("texts.txt", "sentences.txt"):
        found[name] = files[name].decode().splitlines()
    for part in ("train", "test"):
        found[f"naver-ner/{part}.tsv"] = [row[0] for row in table(files[f"naver-ner/{part}.tsv"])]
    for name in sorted(files):
        if name.startswith("korquad/"):
            parts = paragraphs(files[name])
            found[name] = [
                text for part in parts for text in (part["context"], *(qa["question"] for qa in part["qas"]))
            ]
    return found


def paragraphs(content: bytes) -> list[dict]:
    return [paragraph for article in json.loads(content)["data"] for paragraph in article["paragraphs"]]


def answered(content: bytes) -> list[tuple[str, dict]]:
    """Context and question of every question that has an answer."""
    return [(part["context"], qa) for part in paragraphs(content) for qa in part["qas"] if qa["answers"]]


def sentences(content: bytes) -> list[tuple[list[str], list[str]]]:
    """Words and labels of every sentence, split on single spaces alone."""
    return [(words.split(" "), labels.split(" ")) for words, labels in table(content)]


def entities(content: bytes) -> set[tuple[str, str]]:
    """Type and words of every entity: a B, and the I of the same type that follow."""
    found = set()
    for words, labels in sentences(content):
        for i, label in enumerate(labels):
            if label.endswith("-B"):
                end = i + 1
                while end < len(labels) and labels[end] == label[:-1] + "I":
                    end += 1
                found.add((label[:-2], " ".join(words[i:end])))
    return found


def test_every_file_is_there_and_nothing_else(files: dict[str, bytes]) -> None:
    assert set(files) == set(TSV_FILES) | OTHER_FILES


@pytest.mark.parametrize("name", ["tc", "sts", "nli", "re", "ner", "mrc"])
def test_klue_is_read_without_a_bad_row_and_no_text_is_in_both_files(folder: Path, name: str) -> None:
    task = TASKS[f"klue-{name}"]
    train, dev = (task.read(task, folder / task.folder / file) for file in (task.train_file, task.test_file))
    texts = [{"klue-ner": "words", "klue-mrc": "ids"}.get(task.name, "first")] + ["second"] * task.is_pair
    rows = [list(map(str, zip(*(getattr(part, text) for text in texts), strict=True))) for part in (train, dev)]
    assert not set(rows[0]) & set(rows[1]) and min(map(len, rows)) >= 200
    assert not any("malformed" in what or "is not what stands" in what for what in train.counts + dev.counts)
    if task.labels and name != "ner":
        expected = 6 if name == "re" else len(task.labels)
        assert len(set(dev.labels)) == len(set(train.labels)) == expected
    if name == "mrc":
        assert dev.has_unanswerable and any(dev.answers)


def test_two_runs_give_the_same_bytes(files: dict[str, bytes], tmp_path: Path) -> None:
    assert run("--output_dir", tmp_path / "again", hash_seed="4242").returncode == 0
    assert contents(tmp_path / "again") == files


def test_another_seed_gives_other_texts(files: dict[str, bytes], tmp_path: Path) -> None:
    assert run("--output_dir", tmp_path, "--seed", 7).returncode == 0
    other = contents(tmp_path)
    assert {name for name in files if files[name] == other[name]} == {
        "texts.txt", "sentences.txt", "questions.json", "tiny-electra/config.json",
        "tiny-electra/tokenizer_config.json",
    }  # fmt: skip


def test_rows_and_tasks_change_only_what_they_name(files: dict[str, bytes], tmp_path: Path) -> None:
    assert run("--output_dir", tmp_path, "--rows", 60, "--tasks", "nsmc", "fake-news").returncode == 0
    small = contents(tmp_path)
    always = {"tiny-electra", "corpus.jsonl", "texts.txt", "sentences.txt", "questions.json"}
    assert {name.split("/")[0] for name in small} == {"nsmc", "fake_news"} | always
    changed = {"nsmc/ratings_train.txt", "fake_news/mission1_train.csv", "fake_news/mission2_train.csv"}
    assert {name for name in small if small[name] != files[name]} == changed
    assert len(table(small["nsmc/ratings_train.txt"])) == 61
    assert len(csv_rows(small["fake_news/mission2_train.csv"], "utf-8-sig")) == 61


@pytest.mark.parametrize("rows", [40, 100])
def test_few_rows_of_entities_and_questions(files: dict[str, bytes], tmp_path: Path, rows: int) -> None:
    assert run("--output_dir", tmp_path, "--rows", rows, "--tasks", "naver-ner", "korquad").returncode == 0
    small = contents(tmp_path)
    assert {name for name in small if small[name] != files[name]} == {
        "naver-ner/train.tsv", "korquad/KorQuAD_v1.0_train.json", "korquad/KorQuAD_v2.0_sample_train.json"
    }  # fmt: skip
    assert len(sentences(small["naver-ner/train.tsv"])) == rows
    for name in ("v1.0", "v2.0_sample"):
        parts = paragraphs(small[f"korquad/KorQuAD_{name}_train.json"])
        assert sum(len(part["qas"]) for part in parts) == rows
        assert max(len(part["context"]) for part in parts) > 1000


@pytest.mark.parametrize("name", TSV_FILES)
def test_tsv_format(files: dict[str, bytes], name: str) -> None:
    content, (header, _, label) = files[name], TSV_FILES[name]
    rows = table(content)
    assert content.endswith(b"\n") and b"\r" not in content
    assert rows[0] == header.split()
    assert {len(row) for row in rows} == {len(rows[0])}
    task, training = name.split("/")[0], "train" in name
    assert len(rows) - 1 == {"nsmc": (400, 2000)}.get(task, (300, 1500))[training]
    if task == "korsts":
        scores = [row[label] for row in rows[1:]]
        assert all(0 <= float(score) <= 5 for score in scores)
        assert sum(bool(re.fullmatch(r"\d\.\d{3}", score)) for score in scores) >= len(scores) - 7
        assert set(Counter(round(float(score)) for score in scores)) == set(range(6))
    else:
        counts = Counter(row[label] for row in rows[1:])
        assert set(counts) == LABELS[task]
        assert max(counts.values()) < 1.2 * min(counts.values())
    if task == "hate-speech":
        assert {row[2] for row in rows[1:]} == {"none", "gender", "others"}


def test_no_row_is_in_two_files(files: dict[str, bytes]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for name, (_, columns, _) in TSV_FILES.items():
        task = name.split("/")[0]
        keys = {(task, *(row[column] for column in columns)) for row in table(files[name])[1:]}
        assert not [key for key in keys if seen.get(key, name) != name]
        seen |= dict.fromkeys(keys, name)
        assert len(keys) == len(table(files[name])) - 1, f"{name} repeats a row"
    assert not [text for text in files["texts.txt"].decode().splitlines() if ("nsmc", text) in seen]


def test_nsmc_quotes_as_csv_does(files: dict[str, bytes]) -> None:
    for name in ("ratings_train", "ratings_test"):
        content = files[f"nsmc/{name}.txt"].decode()
        read = list(csv.reader(io.StringIO(content, newline=""), delimiter="\t", strict=True))
        assert len(read) == len(table(content.encode()))  # with and without quotes the same number of rows
    assert '\t"주인공이 ""다녀올게""라고 할 때 눈물이 났다"\t1\n' in files["nsmc/ratings_train.txt"].decode()


def test_fake_news_csv(files: dict[str, bytes]) -> None:
    assert files["fake_news/mission2_train.csv"].startswith(b"\xef\xbb\xbfseqid,title,content,label\n")
    for name, encoding, count in (("mission2_train", "utf-8-sig", 300), ("mission1_train", "cp949", 100)):
        rows = csv_rows(files[f"fake_news/{name}.csv"], encoding)
        assert rows[0] == ["seqid", "title", "content", "label"]
        assert [row[0] for row in rows[1:]] == [str(i) for i in range(1, count + 1)]
        assert {len(row) for row in rows} == {4}
        counts = Counter(row[3] for row in rows[1:])
        assert set(counts) == {"0", "1"} and max(counts.values()) < 1.2 * min(counts.values())
        assert max(len(row[2]) for row in rows) > 3000
    with pytest.raises(UnicodeDecodeError):
        files["fake_news/mission1_train.csv"].decode()
    rows = csv_rows(files["fake_news/mission2_train.csv"], "utf-8-sig")
    content = '첫 줄, 쉼표.\r\n\r\n둘째 ""겹따옴표"".\n\n  들여 쓴 줄\t탭 '
    assert ['"쉼표, 따옴표" 그리고\n줄', content, "0"] in [row[1:] for row in rows]
    assert any("&quot;" in row[2] and "&nbsp;" in row[2] and "<br/>" in row[2] for row in rows)


def test_modu_sentiment_json(files: dict[str, bytes]) -> None:
    content = files["modu_sentiment/EXSA2002108040.json"]
    assert b"\\ud83d " in content  # a lone surrogate, escaped
    corpus = json.loads(content)
    assert set(corpus) == {"id", "metadata", "document"} and len(corpus["document"]) == 600
    counts = Counter(document["document_score"] for document in corpus["document"])
    assert set(counts) == {-2, -1, 0, 1, 2} and max(counts.values()) < 1.2 * min(counts.values())
    for i, document in enumerate(corpus["document"], 1):
        assert set(document) == {"id", "metadata", "document_score", "paragraph"}
        assert document["id"] == f"EXSA2002108040.{i}" and document["paragraph"]
        for j, part in enumerate(document["paragraph"], 1):
            assert part["paragraph_id"] == f"{document['id']}.{j}"
            assert isinstance(part["paragraph_form"], str) and part["paragraph_score"] in range(-2, 3)
    assert any(part["paragraph_form"] == "" for document in corpus["document"] for part in document["paragraph"])


@pytest.mark.parametrize("part, count", [("train", 1500), ("test", 300)])
def test_naver_ner_format(files: dict[str, bytes], part: str, count: int) -> None:
    content = files[f"naver-ner/{part}.tsv"]
    rows = sentences(content)
    assert content.endswith(b"\n") and b"\r" not in content and len(rows) == count
    assert all(len(words) == len(labels) and all(words) for words, labels in rows)
    counts = Counter(label for _, labels in rows for label in labels)
    known = {"O", *(f"{name}-{place}" for name in ENTITY_TYPES for place in "BI")}
    assert set(counts) == known if part == "train" else set(counts) <= known
    assert all(counts[f"{name}-B"] > count / 100 for name in ENTITY_TYPES)
    common = min(counts[f"{name}-B"] for name in ("PER", "LOC", "ORG", "DAT", "NUM", "CVL"))
    assert common > max(counts[f"{name}-B"] for name in ("FLD", "ANM", "PLT", "MAT", "TRM"))
    assert sum(set(labels) == {"O"} for _, labels in rows) > 0.02 * count
    assert sum(len(words) > 300 for words, _ in rows) == 1 and any(len(words) == 1 for words, _ in rows)


def test_naver_ner_asks_for_more_than_memory(files: dict[str, bytes]) -> None:
    train, test = files["naver-ner/train.tsv"], files["naver-ner/test.tsv"]
    stems = {name for _, name in entities(train)}
    unseen = {name for _, name in entities(test) if not any(name in stem or stem in name for stem in stems)}
    assert len(unseen) > 15
    labels: dict[str, set[str]] = {}
    for words, found in sentences(train):
        for word, label in zip(words, found, strict=True):
            labels.setdefault(word, set()).add(label)
    ambiguous = {word for word, found in labels.items() if "O" in found and len(found) > 1}
    assert {"말이", "배가"} & ambiguous and len(ambiguous) > 5
    assert not {" ".join(words) for words, _ in sentences(train)} & {" ".join(words) for words, _ in sentences(test)}


def test_naver_ner_awkward_rows(files: dict[str, bytes]) -> None:
    for part in ("train", "test"):
        rows = sentences(files[f"naver-ner/{part}.tsv"])
        words = {word for row, _ in rows for word in row}
        pairs = {pair for _, labels in rows for pair in pairwise(labels)}
        assert {"\u200b", "[UNK]", "null", "NA"} <= words and {"😂", "🦕"} & words and {"007", "008"} & words
        joined = " ".join(words)
        assert (
            all(piece in joined for piece in ["\u200d", "\U0001f3fb", "首爾", '"', "'", "##", "\u1106"])
            or part == "train"
        )
        assert re.search("[\u1100-\u1112]", joined) and re.search("[Ａ-Ｚ]", joined)
        assert any(b == a and a.endswith("-B") for a, b in pairs)  # neighbours of one type
        assert any(b.endswith("-I") and a != "O" and a[:3] != b[:3] for a, b in pairs)  # an I of another type
    assert "10\u00a0km" in {word for row, _ in sentences(files["naver-ner/train.tsv"]) for word in row}


@pytest.mark.parametrize("name, dev", [("v1.0", False), ("v1.0", True), ("v2.0_sample", False), ("v2.0_sample", True)])
def test_korquad_format(files: dict[str, bytes], name: str, dev: bool) -> None:
    content = files[f"korquad/KorQuAD_{name}_{'dev' if dev else 'train'}.json"]
    squad, impossible = json.loads(content), Counter()
    assert set(squad) == {"version", "data"} and len(squad["data"]) > 10
    assert all(set(article) == {"title", "paragraphs"} for article in squad["data"])
    assert {len(article["paragraphs"]) > 1 for article in squad["data"]} == {True, False}
    parts = paragraphs(content)
    questions = [qa for part in parts for qa in part["qas"]]
    assert len(questions) == (200 if dev else 1200) and len({qa["id"] for qa in questions}) == len(questions)
    assert len({part["context"] for part in parts}) == len(parts) > (35 if dev else 200)
    for part in parts:
        assert set(part) == {"context", "qas"} and part["qas"]
        for qa in part["qas"]:
            lacking = qa.get("is_impossible", False)
            impossible[lacking] += 1
            keys = {"id", "question", "answers"} | ({"is_impossible"} if name == "v2.0_sample" else set())
            assert set(qa) - ({"plausible_answers"} if lacking else set()) == keys
            assert bool(qa["answers"]) != lacking
            for answer in qa["answers"] + qa.get("plausible_answers", []):
                start = answer["answer_start"]
                assert answer["text"] and part["context"][start : start + len(answer["text"])] == answer["text"]
    assert (0.25 < impossible[True] / len(questions) < 0.4) == (name == "v2.0_sample")
    assert any("plausible_answers" in qa for qa in questions) == (name == "v2.0_sample")
    several = [qa for qa in questions if len(qa["answers"]) > 1]
    assert (len(several) > 20) == dev and not (several and not dev)


def test_korquad_awkward_questions(folder: Path, files: dict[str, bytes]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tiny-electra")
    for part in ("train", "dev"):
        first = last = again = emoji = inside = wide = 0
        content = files[f"korquad/KorQuAD_v1.0_{part}.json"]
        contexts = [paragraph["context"] for paragraph in paragraphs(content)]
        for context, qa in answered(content):
            start, text = qa["answers"][0]["answer_start"], qa["answers"][0]["text"]
            end = start + len(text)
            first, last = first + (start == 0), last + (end == len(context))
            again += context.index(text) < start
            emoji += "\u200d" in context[:start]
            inside += context[end : end + 1].isalpha()
            wide += bool(re.search("[Ａ-Ｚ０-９]", text))
        assert min(first, last, again, emoji, wide) > 0 and inside > 0.5 * len(answered(content))
        joined = "".join(contexts)
        assert all(piece in joined for piece in ["  ", "\n", "《", "\u1161"])
        assert any(context.count(".") == 1 and len(context) < 20 for context in contexts)
        lengths = [len(ids) for ids in tokenizer(contexts, add_special_tokens=False)["input_ids"]]
        assert max(lengths) > 600 and sum(60 <= length <= 150 for length in lengths) > 0.6 * len(lengths)
    train = answered(files["korquad/KorQuAD_v1.0_train.json"])
    for texts, least in ([qa["question"] for _, qa in train], 64), ([qa["answers"][0]["text"] for _, qa in train], 30):
        assert max(len(tokenizer.tokenize(text)) for text in texts) > least


def test_answers_end_where_tokens_do(folder: Path, files: dict[str, bytes]) -> None:
    from transformers import AutoTokenizer

    tokenizer, whole = AutoTokenizer.from_pretrained(folder / "tiny-electra"), Counter()
    for context, qa in answered(files["korquad/KorQuAD_v1.0_dev.json"]):
        offsets = tokenizer(context, return_offsets_mapping=True)["offset_mapping"]
        answer = qa["answers"][0]
        end = answer["answer_start"] + len(answer["text"])
        whole[any(a == answer["answer_start"] for a, _ in offsets) and any(b == end for _, b in offsets)] += 1
    assert whole[True] > 0.8 * whole.total() and whole[False]  # some are cut amid a token, as in any data


def test_inputs_for_predictions(files: dict[str, bytes]) -> None:
    assert len(files["sentences.txt"].decode().splitlines()) == 6
    parts = paragraphs(files["questions.json"])
    assert len(parts) == 2 and [set(qa) for part in parts for qa in part["qas"]] == [{"id", "question"}] * 3


def test_awkward_rows_are_there(files: dict[str, bytes], texts: dict[str, list[str]]) -> None:
    train, test = texts["nsmc/ratings_train.txt"], texts["nsmc/ratings_test.txt"]
    for text in ("null", "NA", "007", "1e5", "", "재밌다..진짜...\\", "  앞뒤에 공백이 있어도 정말 훌륭했다  "):
        assert train.count(text) == 1
    assert "   " in test and "nan" in test
    assert len([text for text in train if len(text) > 3000]) == 1
    joined = "\n".join(train)
    pieces = "\u200d \U0001f3fb ﾻ 名作 OST ＯＳＴ \u1106 &lt; ㅋㅋ".split(" ")
    for piece in [*pieces, "\u3000", "\u2028", "\x85", "\u00a0"]:
        assert piece in joined, f"{piece!r} is in no review"
    for name in ("kornli/multinli.train.ko.tsv", "paws/translated_train.tsv", "korsts/sts-train.tsv"):
        assert any(text.startswith('"') for text in texts[name]) and "null" in texts[name]
    for name in TSV_FILES:  # empty sides are there where the reader drops them
        task, empty = name.split("/")[0], sum(text == "" for text in texts[name])
        assert (empty > 0) == (task in ("paws", "question-pair") or name == "nsmc/ratings_train.txt"), name
    assert b'""\xec\x82\xac\xeb\x9e\x91\xed\x95\xb4\xec\x9a\x94""' in files["question-pair/train.tsv"]


def test_tokenizer_loads_offline(folder: Path, texts: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from transformers import AutoConfig, AutoTokenizer

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))
    config, tokenizer = (
        AutoConfig.from_pretrained(folder / "tiny-electra"),
        AutoTokenizer.from_pretrained(folder / "tiny-electra"),
    )
    assert config.model_type == "electra" and config.vocab_size == len(tokenizer)
    vocab = (folder / "tiny-electra/vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert vocab[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == vocab and 3000 <= len(vocab) <= 4000
    assert tokenizer("가", "나")["token_type_ids"] == [0, 0, 0, 1, 1]
    assert tokenizer.is_fast and tokenizer.model_max_length == 512
    for name, found in texts.items():
        clean = [text.encode("utf-8", "replace").decode() for text in found if len(text) < 1000]
        ids = [i for row in tokenizer(clean, add_special_tokens=False)["input_ids"] for i in row]
        assert ids.count(1) < 0.01 * len(ids), name


def test_hangul_stays_whole(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tiny-electra")
    text = "연기도 연출도 정말 훌륭했다. OST도 좋아요ㅋㅋ"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert 1 not in ids and len(ids) < len(text)
    assert "".join(token.removeprefix("##") for token in tokens) == text.replace(" ", "")  # no jamo, case kept
    assert not re.search("[\u1100-\u11ff]", "".join(tokenizer.get_vocab()))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--rows", "3"], "--rows must be at least 40, got 3"),
        (["--row", "40"], "unrecognized arguments: --row 40"),
        (["--tasks", "nmsc"], "invalid choice: 'nmsc'"),
        (["--seed", "x"], "invalid int value: 'x'"),
        (["--output_dir", "file/sample"], "cannot write to file/sample: Not a directory"),
        (["--output_dir", "sample"], "cannot write to sample: Is a directory"),
    ],
)
def test_mistakes_are_told_in_a_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "sample/tiny-electra/config.json").mkdir(parents=True)  # where a file should go
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert "Traceback" not in done.stderr
    assert message in done.stderr.splitlines()[-1] and "error:" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    "stem, ending, written",
    [
        ("지루하", "었다", "지루했다"), ("보", "었다", "봤다"), ("느리", "었네요", "느렸네요"),
        ("배우", "었어", "배웠어"),         ("나쁘", "었다", "나빴다"), ("예쁘", "었다", "예뻤다"),
        ("쓰", "었다", "썼다"), ("자르", "었다", "잘랐다"),         ("좋", "었다", "좋았다"), ("먹", "어요", "먹어요"),
        ("뛰어나", "어서", "뛰어나서"), ("되", "었다", "됐다"),         ("아쉽*", "었다", "아쉬웠다"),
        ("아름답*", "은", "아름다운"), ("아름답*", "네요", "아름답네요"),
        ("듣*", "었다", "들었다"),         ("듣*", "은", "들은"), ("듣*", "는다", "듣는다"), ("굽*", "어", "구워"),
        ("놀랍*", "음", "놀라움"),         ("만들", "는", "만드는"), ("만들", "는다", "만든다"),
        ("만들", "은", "만든"), ("만들", "습니다", "만듭니다"),         ("줄이", "을", "줄일"),
        ("살 빼", "으려면", "살 빼려면"), ("끊", "으려면", "끊으려면"),
        ("재미있", "은", "재미있는"),         ("지루하", "음", "지루함"), ("지루하", "습니다", "지루합니다"),
        ("좋", "습니다", "좋습니다"), ("읽", "지만", "읽지만"),         ("감동적=", "었다", "감동적이었다"),
        ("감동적=", "어요", "감동적이에요"),
        ("감동적=", "다고", "감동적이라고"),         ("최고=", "었다", "최고였다"), ("최고=", "어요", "최고예요"),
        ("최고=", "네요", "최고네요"), ("엉망=", "은", "엉망인"),
    ],
)  # fmt: skip
def test_conjugation(stem: str, ending: str, written: str) -> None:
    assert conjugate(stem, ending) == written


@pytest.mark.parametrize(
    "word, particle, written",
    [
        ("겨울", "은", "겨울은"), ("우체부", "은", "우체부는"), ("서울", "으로", "서울로"),
        ("부산", "으로", "부산으로"), ("사과", "과", "사과와"), ("OST", "이", "OST가"), ("007", "이", "007이"),
        ("꼬마", "이다", "꼬마다"), ("'소금꽃'", "을", "'소금꽃'을"),
    ],
)  # fmt: skip
def test_particles_follow_the_last_sound(word: str, particle: str, written: str) -> None:
    assert with_particle(word, particle) == written


def test_every_pattern_of_the_grammar_renders() -> None:
    rng = random.Random(0)
    words = scene(rng) | {"x": "한별", "y": "가람", "t": "살 빼", "adj": "{p1}", "other": "{n1}"}
    words |= {"react": "{pos_react}", "verdict": "{neg_verdict}"}
    for name, entries in RULES.items():
        for entry in entries:
            for match in SLOT.finditer(entry):
                assert match[1] in words or match[1] in RULES, f"{name}: {match[0]}"
                assert match[2] != "/" or match[3] in PARTICLES, f"{name}: {match[0]}"
            for _ in range(5):
                text = render(entry, rng, words)
                assert not re.search("[{}]|  ", text), text


@pytest.mark.parametrize(
    "module, name", [("sample_data.sample_entities", "NER_RULES"), ("sample_data.sample_facts", "QUESTION_RULES")]
)
def test_every_slot_of_the_other_rules_exists(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    loaded = importlib.import_module(module)
    rules = RULES | getattr(loaded, name)
    patterns = [entry for slot, entries in getattr(loaded, name).items() if slot not in RULES for entry in entries]
    for kind in getattr(loaded, "FACTS", {}).values():
        patterns += [text for fact in kind.values() for text in (fact.value, fact.sentences, fact.questions)]
    for pattern in patterns:
        for match in SLOT.finditer(pattern):
            assert match[1] in rules or match[1] in ("x", "v"), pattern
            assert match[2] != "/" or match[3] in PARTICLES, pattern


def test_no_text_shows_the_grammar(texts: dict[str, list[str]]) -> None:
    for found in texts.values():
        assert not [text for text in found if re.search(r"[{}*|]|[가-힣]=", text)]
