"""The tasks on long documents: what they are, where their files are found, and KLUE-MRC's format."""

import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from processors import TASKS
from processors.qa.long_qa import LONG_QA_TASKS
from processors.qa.questions import UNANSWERABLE
from processors.splits import read_splits
from processors.task import BadRows, DataError, read_text
from workflows.settings import as_stored

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
TYDIQA, KORQUAD_2, KLUE_MRC = ORIGINALS = [TASKS[name] for name in ("tydiqa", "korquad-2", "klue-mrc")]


def test_tasks():
    assert all(task in LONG_QA_TASKS for task in ORIGINALS)
    files = {task.name: (task.folder, task.train_file, task.dev_file, task.test_file) for task in ORIGINALS}
    assert files == {
        "tydiqa": ("tydiqa", "tydiqa-v1.0-train.jsonl", None, "tydiqa-v1.0-dev.jsonl"),
        "korquad-2": ("korquad_2", "train", None, "dev"),
        "klue-mrc": ("klue/klue-mrc-v1.1", "klue-mrc-v1.1_train.json", None, "klue-mrc-v1.1_dev.json"),
    }
    for task in ORIGINALS:
        settings = task.settings("predict_file")
        assert (settings["num_train_epochs"], settings["learning_rate"]) == (5, 3e-5)
        schedule = None if task is KLUE_MRC else "auto"  # KLUE-baseline's, which is the default
        assert (settings.get("lr_scheduler"), settings["predict_file"]) == (schedule, task.test_file)
        assert settings.get("version_2_with_negative", False) == (task is not KORQUAD_2)
    assert [task.defaults.get("max_answer_length") for task in ORIGINALS] == [32, 4096, None]
    assert [bool(task.read_unanswered) for task in ORIGINALS] == [True, True, False]  # a SQuAD file


# --------------------------------------------------------------------------------------------------------------------
# Files that are there in compressed form only
# --------------------------------------------------------------------------------------------------------------------


def line(id: int, text: str) -> bytes:
    minimal = {"plaintext_start_byte": 0, "plaintext_end_byte": len(text.encode())}
    sample = {
        "annotations": [{"minimal_answer": minimal, "yes_no_answer": "NONE"}],
        "document_plaintext": text,
        "example_id": id,
        "language": "korean",
        "question_text": "무엇?",
    }
    return json.dumps(sample).encode() + b"\n"


def test_a_compressed_file_is_taken_where_the_plain_one_is_missing(tmp_path: Path):
    train, dev = tmp_path / "tydiqa-v1.0-train.jsonl", tmp_path / "tydiqa-v1.0-dev.jsonl"
    (tmp_path / f"{train.name}.gz").write_bytes(gzip.compress(line(1, "가")))
    dev.write_bytes(line(2, "나"))
    (tmp_path / f"{dev.name}.gz").write_bytes(gzip.compress(line(3, "다")))  # not looked at
    splits = read_splits(TYDIQA, ("train", "test"), {"train": [as_stored(train)], "test": [as_stored(dev)]})
    assert (splits["train"].ids, splits["test"].ids) == (["1"], ["2"])
    (tmp_path / f"{train.name}.gz").unlink()
    with pytest.raises(DataError, match=r"/tydiqa-v1\.0-train\.jsonl: no such file; the folder holds "):
        read_splits(TYDIQA, ("train",), {"train": [as_stored(train)]})


def test_as_stored(tmp_path: Path):
    (tmp_path / "train").mkdir()
    (tmp_path / "dev.gz").mkdir()
    (tmp_path / "a.json.gz").touch()
    assert as_stored(tmp_path / "train") == tmp_path / "train"
    assert as_stored(tmp_path / "dev") == tmp_path / "dev"  # a folder is no compressed file
    assert as_stored(tmp_path / "nowhere" / ".." / "a.json") == tmp_path / "a.json.gz"  # needs no folder `nowhere`
    assert as_stored(tmp_path / "a.json") == as_stored(tmp_path / "a.json.gz") == tmp_path / "a.json.gz"


def test_every_reader_of_texts_takes_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a compressed file may now come to any task."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(gzip.compress("가\n".encode()))))
    assert read_text(None) == "가\n"
    (tmp_path / "ratings_test.txt.gz").write_bytes(gzip.compress("id\tdocument\tlabel\n1\t좋다\t1\n".encode()))
    splits = read_splits(TASKS["nsmc"], ("test",), {"test": [as_stored(tmp_path / "ratings_test.txt")]})
    assert (splits["test"].first, splits["test"].labels) == (["좋다"], [1])
    broken = tmp_path / "broken.json.gz"
    broken.write_bytes(gzip.compress("가나다".encode() * 50)[:-4])
    with pytest.raises(
        DataError, match=r"/broken\.json\.gz: the gzip archive is broken or was not downloaded whole \("
    ):
        read_text(broken)


def test_bad_rows_name_the_flag_of_their_script():
    for flag in ((), ("--skip_bad_documents",)):
        bad = BadRows(Path("a.json"), False, *flag)
        bad.messages += ["x"] * 6
        with pytest.raises(DataError, match=rf"\({flag[0] if flag else '--skip_bad_rows'} leaves them out\)$"):
            bad.finish({})


# --------------------------------------------------------------------------------------------------------------------
# KLUE-MRC
# --------------------------------------------------------------------------------------------------------------------

FIRST = "KBS는 1927년 서울에서 시작했다. 부산에도 방송국이 있다."
SECOND = "장마전선이 북상하면서 제주도에 비가 내린다."


def qa(guid: str, *answers: tuple[str, int], **other: object) -> dict:
    return {
        "question": f"질문 {guid}?",
        "answers": [{"text": text, "answer_start": start} for text, start in answers],
        "question_type": 1,
        "is_impossible": False,
        "guid": guid,
    } | other


def article(*paragraphs: tuple[str, list[dict]]) -> dict:
    parts = [{"context": context, "qas": qas} for context, qas in paragraphs]
    return {"title": "글", "news_category": "종합", "source": "hankyung", "paragraphs": parts}


def klue(*articles: dict) -> str:
    return json.dumps({"version": "v1.1", "data": list(articles)}, ensure_ascii=False)


def test_klue_mrc(tmp_path: Path):
    impossible = qa("klue-mrc-v1_dev_3", is_impossible=True, plausible_answers=[{"text": "서울", "answer_start": 11}])
    content = klue(
        article(
            (FIRST, [qa("klue-mrc-v1_dev_1", ("1927년", 5)), qa("klue-mrc-v1_dev_2", ("부산", 22), ("부산에도", 22))]),
            (SECOND, [impossible, qa("klue-mrc-v1_dev_4", ("장마전선", 0))]),
        ),
        article((SECOND + FIRST, [qa("klue-mrc-v1_dev_5", ("서울", len(SECOND) + 11))])),
    )
    (tmp_path / "klue-mrc-v1.1_dev.json").write_text(content, encoding="utf-8")
    questions = read_splits(KLUE_MRC, ("test",), {"test": [tmp_path / "klue-mrc-v1.1_dev.json"]})["test"]
    assert questions.ids == [f"klue-mrc-v1_dev_{n}" for n in range(1, 6)]
    assert questions.contexts == [FIRST, SECOND, SECOND + FIRST] and questions.context_of == [0, 0, 1, 1, 2]
    assert questions.answers == [("1927년",), ("부산", "부산에도"), (), ("장마전선",), ("서울",)]
    assert questions.spans[2] == UNANSWERABLE and questions.has_unanswerable and questions.counts == {}
    for context, span, answers in zip(questions.context_of, questions.spans, questions.answers, strict=True):
        assert not answers or questions.contexts[context][slice(*span)] == answers[0]


def test_malformed_questions_of_klue_mrc(tmp_path: Path):
    file = tmp_path / "klue-mrc-v1.1_train.json"
    file.write_text(klue(article((FIRST, [qa("same", ("서울", 11)) for _ in range(8)]))), encoding="utf-8")
    with pytest.raises(DataError) as error:
        KLUE_MRC.read(KLUE_MRC, file)
    *first, last = str(error.value).split("\n")
    assert first == [f"{file}: data[0].paragraphs[0].qas[{n}]: another question has the same id" for n in range(1, 6)]
    assert last == f"... and 2 more malformed rows in {file} (--skip_bad_documents leaves them out)"
    assert KLUE_MRC.read(KLUE_MRC, file, skip_bad_rows=True).ids == ["same"]


# --------------------------------------------------------------------------------------------------------------------
# Real files
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [TYDIQA, KORQUAD_2], ids=lambda task: task.name)
def test_real_files_are_found_by_the_names_of_the_task(task):
    folder = DATA / task.folder
    if not folder.is_dir():
        pytest.skip("the real data is not here")
    splits = read_splits(
        task, ("train", "test"), {"train": [folder / task.train_file], "test": [folder / task.test_file]}
    )
    assert len(splits["train"]) > len(splits["test"]) > 100
    assert not set(splits["train"].ids) & set(splits["test"].ids)
    assert all(rows.has_unanswerable == (task is TYDIQA) for rows in splits.values())
