"""Names in Hangul are found in either form of Unicode: whole syllables (NFC), or letters (NFD), as macOS writes."""

import unicodedata
from pathlib import Path

import pytest

from models import find_model
from run_seq_cls import SequenceClassificationConfig
from storage.names import on_disk
from training.command_line import resolve


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`자료/감성/말뭉치.tsv`, as a copy from macOS has it."""
    path = tmp_path / nfd("자료") / nfd("감성")
    path.mkdir(parents=True)
    (path / nfd("말뭉치.tsv")).write_text("가\t1\n", encoding="utf-8")
    return tmp_path


def test_a_file_and_its_folders_are_found_in_the_other_form(folder: Path):
    typed = folder / "자료" / "감성" / "말뭉치.tsv"
    assert not typed.exists() and on_disk(typed).read_text(encoding="utf-8") == "가\t1\n"
    assert on_disk(Path(nfd(str(typed)))) == Path(nfd(str(typed)))


def test_what_exists_as_typed_is_taken_as_typed(folder: Path):
    typed = folder / "자료"
    typed.mkdir()
    assert on_disk(typed) == typed and on_disk(folder / nfd("자료")) == folder / nfd("자료")


def test_what_does_not_exist_keeps_its_name_in_the_folder_that_does(folder: Path):
    assert on_disk(folder / "자료" / "새것") == folder / nfd("자료") / "새것"
    assert on_disk(folder / "없음" / "새것") == folder / "없음" / "새것"
    assert on_disk(folder / "missing" / "file") == folder / "missing" / "file"
    assert on_disk(folder / "자료" / "감성" / "말뭉치.tsv" / "x").name == "x"  # a file in the place of a folder


def test_settings_find_them(folder: Path, monkeypatch):
    monkeypatch.chdir(folder)
    config = SequenceClassificationConfig(
        task="t", model_type="m", data_dir="자료", train_file="말뭉치.tsv", output_dir="감성"
    )
    (train,) = config.files("감성")["train"]
    assert train.is_file()
    (folder / "ckpt" / nfd("감성")).mkdir(parents=True)
    assert config.run_dir.is_dir()
    model = folder / nfd("모형")
    model.mkdir()
    (model / "config.json").touch()
    assert find_model(None, "모형").samefile(model)
    (folder / nfd("설정.json")).write_text('{"model_type": "koelectra-base", "seed": 7}', encoding="utf-8")
    words = ["--task", "t", "--config_file", "설정.json"]
    assert resolve(SequenceClassificationConfig, words, {"t": {}}, folder, "")[0].seed == 7
