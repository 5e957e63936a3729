"""python3 -m pytest tests/unit/test_broken_data_sources.py

Folders and files that are no data set, or a broken one, are refused in a line that names them.
"""

import logging
from io import StringIO
from pathlib import Path

import pytest
from datasets import Dataset

from data_source_rows import NSMC, read, refused, table
from processors import data_sources
from processors.data_sources import DataSource
from processors.task import DataError


def test_folders_that_are_no_data_set(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    error = refused(tmp_path / "empty")
    assert error.startswith(f"{tmp_path / 'empty'} is no data set that can be read: it holds nothing")
    Dataset.from_list([{"document": "가", "label": "1"}]).save_to_disk(tmp_path / "single")
    assert "it holds a single split, written by save_to_disk" in refused(tmp_path / "single")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "train.txt").write_text("가\n", encoding="utf-8")
    assert "there is no column document, label: it has text" in refused(tmp_path / "text")
    script = tmp_path / "script"
    script.mkdir()
    (script / "script.py").write_text("raise SystemExit(7)\n", encoding="utf-8")
    assert "Dataset scripts are no longer supported" in refused(script)


def test_the_libraries_log_nothing(tmp_path: Path):
    """A README.md without metadata, for example, is worth a warning to them."""
    (table(tmp_path, [{"document": "가", "label": "1"}]) / "README.md").write_text("My data\n", encoding="utf-8")
    said = StringIO()
    handler = logging.StreamHandler(said)
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
        logger.addHandler(handler)
    try:
        assert read(tmp_path).first == ["가"]
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert said.getvalue() == ""


def test_broken_parquet_files(tmp_path: Path):
    file = table(tmp_path, [{"document": "가" * 50, "label": "1"}] * 500) / "train.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path).startswith(f"{file}: the Parquet file is broken or was not copied whole (")
    data_sources._from_folder.cache_clear()  # as in the next command
    file.write_bytes(bytes(b ^ 0x55 if 4 <= at < 300 else b for at, b in enumerate(whole)))
    error = refused(tmp_path)
    assert error.startswith(f"{tmp_path}, split train: row 0 (from 0) or one soon after it cannot be read: ")
    assert "\n" not in error


@pytest.mark.parametrize("extension", ["parquet", "jsonl"])
def test_splits_with_other_columns(extension: str, tmp_path: Path):
    for split, column in (("train", "document"), ("test", "text")):
        rows = Dataset.from_list([{column: "가", "label": 1}])
        file = str(tmp_path / f"{split}.{extension}")
        rows.to_parquet(file) if extension == "parquet" else rows.to_json(file, force_ascii=False)
    assert read(tmp_path).first == ["가"]
    assert refused(tmp_path, role="test") == (
        f"{tmp_path}, split test: row 0 (from 0) or one soon after it cannot be read: column text is not in an earlier "
        "file, perhaps of another split: all need the same"
    )


def test_empty_files_are_named(tmp_path: Path):
    (tmp_path / "train.jsonl").touch()
    (tmp_path / "test.jsonl").write_text('{"document": "가", "label": 1}\n', encoding="utf-8")
    assert refused(tmp_path) == f"{tmp_path} is no data set that can be read: nothing is in train.jsonl"


@pytest.mark.parametrize("name", ["train.parquet", "train.jsonl", "deep/train.csv"])
def test_a_clone_without_the_files_that_git_lfs_keeps(name: str, tmp_path: Path):
    (tmp_path / "deep").mkdir()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1234\n"
    (tmp_path / name).write_text(pointer, encoding="utf-8")
    assert refused(tmp_path) == (
        f"{tmp_path / name} is only a Git LFS pointer: `git lfs pull` in its folder fetches the file itself"
    )


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl"])
def test_files_that_are_not_utf_8(name: str, tmp_path: Path):
    text = "document,label\n가나다,1\n" if name.endswith("csv") else '{"document": "가", "label": 1}\n'
    (tmp_path / name).write_bytes(text.encode("cp949"))
    error = refused(tmp_path)
    assert error.startswith(f"{tmp_path}, split train: ") and error.endswith("; its files must be UTF-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("./nowhere", "data_source ./nowhere: no such folder: a folder is expected, or a hub id such as owner/name"),
        ("nsmc", "data_source nsmc: no such folder: a folder is expected, or a hub id such as owner/name"),
        ("a/b/c", "data_source a/b/c: no such folder: a folder is expected, or a hub id such as owner/name"),
        (__file__, f"data_source {__file__}: is a file: a folder is expected, or a hub id such as owner/name"),
        ("", "data_source '': no such folder: a folder is expected, or a hub id such as owner/name"),
        (":x", "data_source :x: no such folder: a folder is expected, or a hub id such as owner/name"),
        (".@v1", "data_source .@v1: only a data set on the hub has revisions, and . is a folder"),
        ("csv", "data_source csv: no such folder: a folder is expected, or a hub id such as owner/name"),
    ],
)
def test_what_can_be_no_source(text: str, message: str):
    with pytest.raises(DataError) as error:
        DataSource.of(text, NSMC)
    assert str(error.value) == message
