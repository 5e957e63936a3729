"""Killed again and again, at random and where it changes files, a run leaves what one that was not killed leaves.

All files of the output folder and of the cache are compared, no more and no less, and what is in them.
"""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from killed_runs import ROOT, differences, left_in, start

BRIEF = (
    "--max_steps 9 --train_batch_size 4 --logging_steps 1 --eval_steps 4 --save_steps 3 --save_total_limit 2 --no_cuda"
).split()
UNSCORED = "--max_steps 5 --logging_steps 1 --eval_steps 0 --save_steps 2 --save_total_limit 2 --no_cuda".split()
LENGTHS = "--max_seq_length 64 --doc_stride 16 --max_query_length 24".split()
SMALL = "--hidden_size 32 --num_attention_heads 2 --intermediate_size 32 --num_hidden_layers 1".split()
PRETRAINING = [
    *"--max_steps 9 --train_batch_size 4 --logging_steps 1 --eval_steps 4 --save_steps 3 --no_cuda".split(),
    *"--max_seq_length 48 --cache_dir cache".split(),
]


def sample(script: str, task: str, *words: str) -> list[str]:
    return [script, "--task", task, "--config_file", "sample.json", *words]


SPLINTER = ["run_splinter_qa.py", "--model_name_or_path", "splinter", "--initialize_new_qass", "false", "--data_dir",
            "sample_data/few_shot", *LENGTHS]  # fmt: skip
COMMANDS = {
    "pretrain_splinter": ["pretrain_splinter.py", "--config_file", "sample.json", *PRETRAINING, *SMALL],
    "pretrain_spanbert": [
        *("pretrain_spanbert.py", "--config_file", "sample.json", *PRETRAINING, *SMALL),
        *("--train_vocab", "wordpiece", "--vocab_size", "1600", "--tokenizer", ""),
    ],
    "seq_cls": sample("run_seq_cls.py", "nsmc", "--max_seq_len", "48", *BRIEF),
    "ner": sample("run_ner.py", "naver-ner", "--max_seq_len", "48", *BRIEF),
    "squad": sample("run_squad.py", "korquad", *LENGTHS, *BRIEF),
    "long_qa": sample("run_long_qa.py", "tydiqa", *LENGTHS, *BRIEF),
    "splinter_qa": [*SPLINTER, *BRIEF, "--full_train_epochs", "1"],
    "seeds": sample("run_seq_cls.py", "nsmc", "--max_seq_len", "48", *UNSCORED, "--seeds", "1", "2"),
    "few_shot": [*SPLINTER, *UNSCORED, "--few_shot", "4", "8", "--samples", "2"],
}
# Seven kills of each command, in chains: killed, gone on with, killed again.
CHAINS = (3, 2, 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sample data, and with a pretrained Splinter in `splinter`."""
    home = tmp_path_factory.mktemp("killed")
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_sample_data.py"), "--rows", "60"],
        cwd=home,
        check=True,
        capture_output=True,
    )
    begin(home, "model")
    assert start(home / "model", [*COMMANDS["pretrain_splinter"], "--output_dir", "run"]) == 0
    (home / "splinter").symlink_to(home / "model" / "ckpt" / "run" / "checkpoint-9")
    return home


def begin(home: Path, name: str) -> Path:
    """A folder in which a run has its own outputs and its own cache."""
    folder = home / name
    folder.mkdir()
    for shared in ("sample_data", "splinter"):
        (folder / shared).symlink_to(home / shared)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_again_and_again_it_leaves_what_the_run_that_was_not_killed_leaves(home: Path, name: str):
    command = [*COMMANDS[name], "--output_dir", "run"]
    resume = [] if name == "few_shot" else ["--resume"]
    whole = begin(home, f"{name}-whole")
    assert start(whole, command, counted="counts.json") == 0, (whole / "said.txt").read_text()
    counts = json.loads((whole / "counts.json").read_text())
    assert counts["micro-batch"] >= 9 and counts["file"] > 20
    expected = left_in(whole)
    generator = random.Random(f"20261127 {name}")
    for number, kills in enumerate(CHAINS):
        folder = begin(home, f"{name}-{number}")
        history = []
        for _ in range(kills):
            kind = generator.choice(["micro-batch", "file", "file"])
            moment = 1 + int(generator.random() * counts[kind])
            how = generator.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            again = resume if history else []
            code = start(folder, [*command, *again], kind, moment, how)
            history.append((kind, moment, how.name, code))
            assert code in (0, 130, -how), (history, (folder / "said.txt").read_text())
        assert start(folder, [*command, *resume]) == 0, (history, (folder / "said.txt").read_text())
        assert "Traceback" not in (folder / "said.txt").read_text(), history
        assert differences(expected, left_in(folder)) == [], history
