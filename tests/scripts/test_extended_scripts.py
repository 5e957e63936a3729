"""The commands of docs/extending.md, typed in a copy of the repository to which its blocks were applied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import User
from extended_copy import commands, extended_copy

TEXTS = {"positive": "정말 좋은 영화였다", "negative": "아주 지루한 영화였다"}
# The tagged files have other columns and comment marks.
TAGGED = "; 한바람이 갔다\n$ 말\n1 한바람 NNP B_PS\n2 이 JKS O\n3 갔다 VV O\n\n1 가람시 NNP B_LC\n\n"
SENTENCE = "한바람은\tB-PER\n어제\tO\n가람시에\tB-LOC\n갔다\tO\n\n"
# What stands in for KoELECTRA's weights, and two steps in place of a training.
TINY = "--model_name_or_path sample_data/tiny-electra --from_scratch --max_steps 2 --no_cuda --data_dir data".split()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, user: User) -> Path:
    """The copy. The files of its tasks are in the user's folder."""
    rows = [f"{i}\t{TEXTS[label]} {i}\t{label}\n" for i in range(20) for label in TEXTS]
    my_task, my_ner, my_tags = (user.folder / "data" / name for name in ("my_task", "my_ner", "my_tags"))
    for folder in (my_task, my_ner, my_tags):
        folder.mkdir(parents=True)
    for name in ("train", "dev", "test"):
        (my_task / f"{name}.tsv").write_text("id\ttext\tlabel\n" + "".join(rows), encoding="utf-8")
        (my_ner / f"{name}.tsv").write_text(SENTENCE * 8, encoding="utf-8")
        (my_tags / f"{name}.txt").write_text(TAGGED * 8, encoding="utf-8")
    (my_task / "wrong.tsv").write_text("id\ttext\tlabel\n1\t그저 그렇다\tneutral\n2\tpositive\n", encoding="utf-8")
    return extended_copy(tmp_path_factory.mktemp("extended"))


def types(user: User, copy: Path, words: list[str], *more: str, code: int = 0):
    script, *rest = words
    return user.types(*rest, *TINY, *more, script=str(copy / script), code=code)


def test_the_commands_do_what_the_page_says(user: User, copy: Path):
    (my_task, _), (my_ner, _), _, (wrong, shown) = commands()
    finished = types(user, copy, my_task, "--output_dir", "my-task")
    results = user.results("my-task")
    assert set(results["metrics"]) == {"accuracy", "macro_f1", "balanced_accuracy"}
    assert results["main_metric"] == "balanced_accuracy" and results["selection"] == "dev"
    # There are as many rows of each label.
    assert results["metrics"]["balanced_accuracy"] == pytest.approx(results["metrics"]["accuracy"])
    assert "my-task, koelectra-base-v3: 2 steps" in finished.err and "unpadded" in finished.err
    # Its three files are the same.
    assert "dev: 40 rows" in finished.err and "rows that are also training rows: 40" in finished.err
    assert (user.run_dir("my-task") / "predictions.tsv").read_text(encoding="utf-8").count("\n") == 41

    # The head that was saved is the new one, and another day reads it again.
    from safetensors import safe_open

    (checkpoint,) = user.run_dir("my-task").glob("checkpoint-2")
    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        assert {"classifier.0.weight", "classifier.2.weight"} <= set(file.keys())
    script, *words = my_task
    words += "--output_dir my-task --do_eval --no_cuda --data_dir data".split()
    again = user.types(*words, script=str(copy / script))
    assert "balanced_accuracy" in again.out and user.results("my-task")["metrics"] == results["metrics"]

    types(user, copy, my_ner, "--output_dir", "my-ner")
    assert set(user.results("my-ner")["metrics"]) == {"f1", "precision", "recall"}
    predictions = (user.run_dir("my-ner") / "predictions.tsv").read_text(encoding="utf-8")
    assert [line.split("\t")[0] for line in predictions.split("\n")[:5]] == ["한바람은", "어제", "가람시에", "갔다", ""]

    assert types(user, copy, wrong, code=2).err == shown


def test_tags_are_scored_by_words(user: User, copy: Path):
    words = commands()[2][0]
    types(user, copy, words, "--output_dir", "my-tags")
    results = user.results("my-tags")
    assert set(results["metrics"]) == {"accuracy", "macro_f1"} and "per_type" not in results
    predictions = (user.run_dir("my-tags") / "predictions.tsv").read_text(encoding="utf-8").split("\n")
    tags = [line.split("\t")[1] for line in predictions if line]
    right = sum(tag == gold for tag, gold in zip(tags, ["NNP", "JKS", "VV", "NNP"] * 8, strict=True))
    assert results["metrics"]["accuracy"] == pytest.approx(right / 32)

    # The test file as input: its words are put together to sentences again, and its tags are not looked at.
    script, *rest = words
    rest += "--output_dir my-tags --do_predict --input_file data/my_tags/test.txt --no_cuda --data_dir data".split()
    finished = user.types(*rest, script=str(copy / script))
    assert "predict: 16 sentences" in finished.err and "read in the form of my-tags's files" in finished.err
    assert (user.run_dir("my-tags") / "predictions-test.tsv").read_text(encoding="utf-8").split("\n") == predictions


def test_rows_with_a_long_word_are_counted_and_the_limit_is_kept(user: User, copy: Path):
    """The word is one [UNK] at first, and taken apart when the limit is raised, also on a later day."""
    folder = user.folder / "data" / "my_task"
    rows = "".join(f"{i}\t{'정말좋은' * 30}\t{label}\n" for i, label in enumerate(TEXTS))
    test = (folder / "test.tsv").read_text(encoding="utf-8")
    (folder / "long.tsv").write_text(test + rows, encoding="utf-8")
    words = [*commands()[0][0], "--train_file", "long.tsv", "--test_file", "long.tsv", "--dev_file", ""]
    said = (
        "rows with a word of more than 100 characters, which becomes [UNK]: 2 (--max_word_characters raises the limit)"
    )
    assert said in types(user, copy, words, "--output_dir", "short").err
    finished = types(user, copy, words, "--output_dir", "raised", "--max_word_characters", "120")
    assert "rows with a word" not in finished.err
    script, *rest = words
    rest += "--output_dir raised --do_eval --no_cuda --data_dir data".split()
    assert "rows with a word" not in user.types(*rest, script=str(copy / script)).err
    message = user.types(*rest, "--max_word_characters", "90", script=str(copy / script), code=2).err
    assert "--max_word_characters has no effect without training" in message


def test_a_loss_is_the_one_that_was_handed_over(user: User, copy: Path):
    """Label smoothing of untrained, nearly even logits changes the loss, but not by much; without it, it is the old."""
    losses = {}
    source = (copy / "run_seq_cls.py").read_text(encoding="utf-8")
    unsmoothed = source.replace("label_smoothing=0.1", "label_smoothing=0.0")
    assert unsmoothed != source
    plain = copy / "unsmoothed.py"
    plain.write_text(unsmoothed, encoding="utf-8")
    for script in ("run_seq_cls.py", plain.name):
        words = [script, "--task", "my-task", "--config_file", "koelectra-base-v3.json", "--output_dir", script]
        types(user, copy, words, "--logging_steps", "1", "--eval_steps", "0", "--learning_rate", "1e-2")
        losses[script] = user.losses(script)
    smoothed, unsmoothed = losses.values()
    assert len(smoothed) == len(unsmoothed) == 2 and smoothed != unsmoothed
    assert smoothed[0] == pytest.approx(unsmoothed[0], abs=0.1)


def test_a_named_model_is_called_by_its_name(user: User, copy: Path):
    words = ["run_seq_cls.py", "--task", "my-task", "--model_type", "my-bert", "--output_dir", "my-bert"]
    types(user, copy, words)
    assert user.results("my-bert")["model"] == "my-bert"


def test_a_reader_of_its_own_writes_word_lines(user: User, copy: Path):
    """A task of entities needs no writer."""
    source = (copy / "processors" / "ner.py").read_text(encoding="utf-8")
    own = "read=lambda *words: read_token_lines(*words),"
    start = source.index('name="my-ner"')
    changed = source[:start] + source[start:].replace("read=read_token_lines,", own, 1)
    (copy / "processors" / "ner.py").write_text(changed, encoding="utf-8")
    words = ["run_ner.py", "--task", "my-ner", "--config_file", "koelectra-base-v3.json", "--output_dir", "own-reader"]
    types(user, copy, words)
    assert (user.run_dir("own-reader") / "predictions.tsv").read_text(encoding="utf-8").startswith("한바람은\t")
    config = json.loads((copy / "config" / "my-ner" / "koelectra-base-v3.json").read_text(encoding="utf-8"))
    assert config == {"model_type": "koelectra-base-v3"}
