"""python3 -m pytest tests/scripts/test_dry_run.py

`--dry_run`: what a run would take, without a trace of it.
"""

from __future__ import annotations

import re

import pytest

from conftest import User, nsmc, sample, snapshot

SAID = re.compile(
    r"dry run: (?P<steps>[\d,]+) steps of (?P<rows>\d+) rows, (?P<an_epoch>[\d,]+) an epoch; [\d.]+ s a step, so "
    r"[\d:]+ an epoch, [\d:]+ in all, beside evaluations\n"
    r"memory: [\d.]+ [GM]iB on .+, with the \d+ longest rows? \((?P<longest>\d+) tokens\); disk: "
    r"[\d.]+ [GM]iB a checkpoint, and [\d.]+ [GM]iB more for the newest\n"
    r"nothing was written to ckpt/(?P<folder>\S+)\n"
)
TINY = (
    "--hidden_size 32 --num_hidden_layers 1 --num_attention_heads 2 --intermediate_size 64 --max_seq_length 64".split()
)
PRETRAINING = ["--corpus", "sample_data/corpus.jsonl", "--tokenizer", "sample_data/tiny-electra", *TINY]


@pytest.mark.parametrize(
    ("script", "words", "steps", "rows"),
    [
        ("run_seq_cls.py", nsmc("dry", "--max_seq_len", 40), "189", "32"),
        ("run_ner.py", sample("naver-ner", "dry", "--max_steps", 3), "3", "16"),
        ("run_splinter_qa.py", [
            *("--task", "korquad-few-shot", "--data_dir", "sample_data", "--output_dir", "dry", "--max_steps", 10_000),
            *("--model_name_or_path", "sample_data/tiny-electra", "--from_scratch", "--head", "linear"),
        ], "10,000", "12"),
        ("pretrain_spanbert.py", ["--output_dir", "dry", "--max_steps", 20, *PRETRAINING], "20", "32"),
        ("pretrain_splinter.py", [
            "--output_dir", "dry", "--max_steps", 20, "--add_question_token", "--ngrams_out", "dry.tsv", *PRETRAINING
        ], "20", "32"),
    ],
)  # fmt: skip
def test_what_it_says(user: User, script: str, words: list, steps: str, rows: str):
    done = user.types(*words, "--dry_run", "--no_cuda", script=script)
    said = SAID.search(done.err)
    assert said, done.err
    assert (said["steps"], said["rows"], said["folder"], done.out) == (steps, rows, "dry", "")
    assert not user.run_dir("dry").exists() and not (user.folder / "dry.tsv").exists()
    if script == "run_seq_cls.py":
        assert (said["longest"], said["an_epoch"]) == ("40", "63")


def test_an_earlier_run_stays_as_it_is(user: User, copied_run: str):
    before = snapshot(user.run_dir(copied_run))
    assert SAID.search(user.types(*nsmc(copied_run), "--dry_run", "--no_cuda").err)
    assert snapshot(user.run_dir(copied_run)) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--resume has no effect on a dry run"),
        (["--overwrite_output_dir"], "--overwrite_output_dir has no effect on a dry run"),
        (["--seeds", 1, 2], "--dry_run takes one run: leave seeds out"),
        (["--do_train", "false"], "--dry_run needs training, but do_train is false"),
    ],
)
def test_settings_that_do_not_go_together(user: User, words: list, message: str):
    assert message in user.is_refused(*nsmc("dry"), "--dry_run", *words)
