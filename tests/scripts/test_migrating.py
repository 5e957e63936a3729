"""docs/migrating.md: its tables are those of the originals' flags, and its commands run, on the sample data.

The commands are typed as they stand there. Each gets further words that make its model small and its training short,
and files under the names that it expects.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_documented_commands import with_python

import migrating_page
from conftest import REPOSITORY, User
from documentation_pages import ROOT, Command, blocks
from processors.pretraining.corpus_readers import open_corpus
from reporting import made_parts

PAGE = ROOT / "docs" / "migrating.md"
SCRIPT = "scripts/migrating_page.py"
COMMANDS = [
    command
    for block in blocks(PAGE)
    if block.language == "bash" and block.mark == ("run", "in tests/scripts/test_migrating.py")
    for command in block.commands()
]
SMALL = "--hidden_size 32 --num_hidden_layers 1 --num_attention_heads 2 --intermediate_size 32".split()
QUESTIONS = "--max_seq_length 192 --doc_stride 96".split()
FROM_SCRATCH = "--model_name_or_path sample_data/tiny-electra --from_scratch --max_steps 2".split()
# What each script's commands get in addition, so that they take seconds.
IN_ADDITION = {
    "run_seq_cls.py": [*FROM_SCRATCH, "--max_seq_len", "64"],
    "run_ner.py": [*FROM_SCRATCH, "--max_seq_len", "64"],
    "run_squad.py": [*FROM_SCRATCH, *QUESTIONS, "--eval_batch_size", "64"],
    "run_splinter_qa.py": ["--min_steps", "0", "--num_train_epochs", "1", *QUESTIONS],
    "pretrain_splinter.py": [*SMALL, "--tokenizer", "sample_data/tiny-electra", "--max_seq_length", "128",
                             "--max_steps", "2", "--gradient_accumulation_steps", "1"],
    "pretrain_spanbert.py": [*SMALL, "--vocab_size", "400", "--max_seq_length", "64"],
}  # fmt: skip


@pytest.fixture(scope="module")
def at_home(user: User, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user whose folder holds what the commands name: data/, wiki/, data/kowiki.csv."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "sample_data").symlink_to(user.folder / "sample_data")
    shutil.copytree(user.folder / "sample_data", folder / "data")
    (folder / "wiki").mkdir()
    shutil.copy(folder / "data" / "splinter_corpus.jsonl", folder / "wiki" / "wiki_00")
    lines = list(open_corpus([folder / "data" / "corpus.jsonl"]).lines())[:120]
    records = (f'{number}␝https://ko.wikipedia.org␝제목␝"{line.replace(chr(34), chr(34) * 2)}"'
               for number, line in enumerate(lines))  # fmt: skip
    (folder / "data" / "kowiki.csv").write_text("\n".join(["id␝url␝title␝text", *records, ""]), encoding="utf-8")
    return User(folder, user.environment, user.fork_server)


def run(user: User, command: Command, step: int) -> None:
    """The command with what it gets in addition, and `step` for <step>. The model that it names itself stays."""
    program, script, *words = command.words
    words = [word.replace("<step>", str(step)) for word in words]
    if program == "python3":
        more = list(IN_ADDITION[script])
        if "--model_name_or_path" in words and "--model_name_or_path" in more:
            more = [*more[more.index("--from_scratch") + 1 :]]
        user.types(*words, *more, "--no_cuda", script=script, timeout=600)
        return
    # A shell script goes to the repository first, where no output may be left.
    sample = user.folder / "data"
    more = ["--data_dir", sample, "--model_name_or_path", sample / "tiny-electra", "--from_scratch", "--no_cuda"]
    more += ["--cache_dir", user.folder / "cache", "--ckpt_dir", user.folder / "ckpt", "--dry_run"]
    more += ["--max_seq_len", "64"] if "fake_news" in script or "modu" in script else QUESTIONS
    finished = subprocess.run(
        ["bash", REPOSITORY / script, *words, *map(str, more)], cwd=user.folder, check=False, text=True,
        env=with_python(user.environment), capture_output=True, timeout=600,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.slow
def test_the_commands_of_the_originals_run(at_home: User):
    """In their order, as one of them may need what another has written."""
    step = 0
    for command in COMMANDS:
        if "kosplinter/" in command.words:  # stands for KoSplinter's own weights
            (at_home.folder / "kosplinter").symlink_to(at_home.folder / "ckpt" / "splinter-base" / "checkpoint-2")
        if "spanbert-half.json" in command.words:
            found = (at_home.folder / "ckpt" / "spanbert-half").glob("checkpoint-*")
            step = max(int(path.name.removeprefix("checkpoint-")) for path in found)
        run(at_home, command, step)
    results = sorted(str(path.parent.relative_to(at_home.folder / "ckpt"))
                     for path in at_home.folder.glob("ckpt/**/results.json"))  # fmt: skip
    assert results == sorted([
        "koelectra-base-nsmc-ckpt", "koelectra-base-kornli-ckpt", "koelectra-base-paws-ckpt",
        "koelectra-small-naver-ner-ckpt", "xlm-roberta-korquad-ckpt", "splinter-base",
        "kosplinter-korquad-few-shot-ckpt/16/seed-42", "spanbert-half", f"spanbert-half-checkpoint-{step}-nsmc-ckpt",
    ])  # fmt: skip
    assert (at_home.folder / "ngrams.tsv").is_file()


def test_a_flag_of_an_original_is_answered_for_the_script_that_runs(user: User):
    """SpanBERT's --vocab is a setting of pretraining, and nothing to set in fine-tuning."""
    words = ("--task", "nsmc", "--config_file", "sample.json", "--vocab", "kowiki.model")
    assert user.is_refused(*words) == (
        "unknown flag --vocab: the Korean SpanBERT's --vocab has no counterpart here; the tokenizer is the one in the "
        "folder of model_name_or_path"
    )


def test_every_command_of_the_page_is_run_or_needs_data():
    assert {command.words[1] for command in COMMANDS} > {"run_seq_cls.py", "run_ner.py", "run_squad.py"}
    assert len([command for command in COMMANDS if command.words[0] == "bash"]) == 8
    assert {command.words[1] for command in COMMANDS if command.words[0] == "python3"} == set(IN_ADDITION)


@pytest.mark.parametrize("words", migrating_page.LANGUAGES, ids=lambda words: words.language)
def test_the_tables_of_the_page_are_those_of_the_flags(words: migrating_page.Words):
    page = (ROOT / "docs" / words.page).read_text(encoding="utf-8")
    assert f"-->\n\n{migrating_page.tables(words)}\n\n<!--" in page, f"python3 {SCRIPT}"
    assert "| `--dataset` | `--task` |" in page and "| `--n_seq` | `--max_seq_length` |" in page
    assert "| `n_layer` | `num_hidden_layers` |" in page


def test_a_page_that_is_older_than_the_table_is_named(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    for words in migrating_page.LANGUAGES:
        text = (ROOT / "docs" / words.page).read_text(encoding="utf-8")
        (tmp_path / "docs" / words.page).write_text(text, encoding="utf-8")
    monkeypatch.setattr(made_parts, "REPOSITORY", tmp_path)
    monkeypatch.setattr(sys, "argv", ["migrating_page.py", "--check"])
    migrating_page.main()
    older = tmp_path / "docs" / "migrating_ko.md"
    right = older.read_text(encoding="utf-8")
    older.write_text(right.replace("| `--dataset` | `--task` |", "| `--dataset` | `--tusk` |"), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        migrating_page.main()
    assert (
        ended.value.code == 2
        and "docs/migrating_ko.md is not as scripts/migrating_page.py would write it" in capsys.readouterr().err
    )
    monkeypatch.setattr(sys, "argv", ["migrating_page.py"])
    migrating_page.main()
    assert older.read_text(encoding="utf-8") == right
