"""python3 -m pytest tests/scripts/test_bad_input.py

What goes wrong in practice, as the person at the keyboard meets it: one clear message and exit code 2, no traceback,
nothing left behind that stands in the way of the corrected command; or a counted warning.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import BRIEFLY, User, nsmc, sample, snapshot

TRAIN_FILES = {
    "nsmc": "nsmc/ratings_train.txt",
    "kornli": "kornli/multinli.train.ko.tsv",
    "paws": "paws/translated_train.tsv",
    "korsts": "korsts/sts-train.tsv",
    "fake-news": "fake_news/mission2_train.csv",
    "modu-sentiment": "modu_sentiment/EXSA2002108040.json",
}


def line_4(text: str) -> Callable[[bytes], bytes]:
    """Puts a line before the fourth."""

    def edit(content: bytes) -> bytes:
        lines = content.split(b"\n")
        return b"\n".join([*lines[:3], text.encode("utf-8", "surrogateescape"), *lines[3:]])

    return edit


def header(text: str) -> Callable[[bytes], bytes]:
    return lambda content: b"\n".join([text.encode(), *content.split(b"\n")[1:]])


def first_document(**changes: object) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        corpus = json.loads(content)
        corpus["document"][0] |= changes
        return json.dumps(corpus, ensure_ascii=True).encode()

    return edit


@pytest.fixture
def spoil(user: User, request: pytest.FixtureRequest):
    """Copies a task's sample folder and edits one file of it (edit: None deletes it); returns the data folder."""

    def spoil(file: str, edit: Callable[[bytes], bytes] | None) -> Path:
        data = Path(re.sub(r"\W+", "-", request.node.name))
        target = user.folder / data / file
        if not target.parent.exists():
            shutil.copytree(user.folder / "sample_data" / target.parent.name, target.parent)
        if edit is None:
            target.unlink()
        else:
            target.write_bytes(edit(target.read_bytes()))
        return data

    return spoil


def words(task: str, *more: object) -> list[object]:
    return sample(task, f"bad {task}", *more)


# What is done to the training file, and what the message must say: {file} is its path.
REFUSED_DATA = {
    "no file": ("nsmc", None, ["{file}: no such file", "ratings_test.txt"]),
    "empty file": ("nsmc", lambda content: b"", ["{file}: there is nothing in it"]),
    "only a header": ("nsmc", lambda content: content.split(b"\n")[0], ["{file}: no rows"]),
    "no header": ("nsmc", lambda content: content.partition(b"\n")[2], ["{file}:1:", "header", "id document label"]),
    "columns swapped": ("nsmc", header("id\tlabel\tdocument"), ["{file}:1:", "a different order", "id document label"]),
    "too few columns": ("nsmc", line_4("7\t좋아요"), ["{file}:4: 2 columns instead of 3"]),
    "too many columns": ("nsmc", line_4('7\t"좋\t아요"\t1'), ["{file}:4: 4 columns instead of 3", "quote"]),
    "blank line": ("nsmc", line_4(""), ["{file}:4:", "blank"]),
    "unknown label": ("nsmc", line_4("7\t좋아요\t긍정"), ["{file}:4: unknown label '긍정'", "0, 1"]),
    "other labels": ("kornli", line_4("가\t나\tnot_entailment"), ["{file}:4:", "contradiction, entailment, neutral"]),
    "score in words": ("korsts", line_4("a\tb\tc\t1\t높음\t가\t나"), ["{file}:4:", "'높음' is not a number"]),
    "score not finite": ("korsts", line_4("a\tb\tc\t1\tnan\t가\t나"), ["{file}:4:", "nan"]),
    "score out of range": ("korsts", line_4("a\tb\tc\t1\t7.5\t가\t나"), ["{file}:4:", "7.5 is not between 0 and 5"]),
    "no UTF-8": ("nsmc", line_4("7\t\udcff좋아요\t1"), ["{file}:4: not UTF-8 at byte {byte}"]),
    "CP949": ("nsmc", lambda content: content.decode().encode("cp949", "ignore"), ["{file}:2:", "--encoding cp949"]),
    "UTF-16": ("nsmc", lambda content: content.decode().encode("utf-16"), ["{file}: is UTF-16"]),
    "no such column": ("fake-news", header("headline,content,Label"), ["{file}:1:", "title"]),
    "open quote": ("fake-news", lambda content: content + b'1,"open', ["{file}:", "not valid CSV"]),
    "cut off JSON": ("modu-sentiment", lambda content: content[:5000], ["{file}:", "not valid JSON"]),
    "no documents": ("modu-sentiment", lambda content: b'{"document": []}', ["{file}: no documents"]),
    "no paragraph": ("modu-sentiment", first_document(paragraph=None), ["{file}: document[0]", "paragraph"]),
    "score 3": ("modu-sentiment", first_document(document_score=3), ["{file}: document", "unknown label '3'"]),
}


@pytest.mark.parametrize("case", REFUSED_DATA)
def test_data_that_cannot_be_used_is_refused_naming_file_and_line(user, spoil, case):
    task, edit, expected = REFUSED_DATA[case]
    file = TRAIN_FILES[task]
    data = spoil(file, edit)
    content = (user.folder / data / file).read_bytes() if edit else b""
    message = user.is_refused(*words(task, "--data_dir", data))
    for part in expected:
        assert part.format(file=data / file, byte=content.find(b"\xff")) in message
    assert "\n" not in message and len(message) < 400
    assert snapshot(user.run_dir(f"bad {task}")) == {}  # the corrected command is not refused


def test_many_bad_rows_are_reported_together_and_can_be_left_out(user, spoil):
    data = spoil(TRAIN_FILES["nsmc"], lambda content: content.replace(b"\t1\n", b"\t5\n"))
    message = user.is_refused(*words("nsmc", "--data_dir", data))
    lines = message.splitlines()
    assert len(lines) == 6 and all("unknown label '5'" in line for line in lines[:5])
    assert "more malformed rows" in lines[-1] and "--skip_bad_rows" in lines[-1]


@pytest.mark.parametrize("missing", ["xnli.dev.ko.tsv", "xnli.test.ko.tsv"])
def test_a_file_that_is_needed_later_is_missed_before_training(user, spoil, missing):
    data = spoil(f"kornli/{missing}", None)
    assert f"{missing}: no such file" in user.is_refused(*words("kornli", "--data_dir", data))


def test_a_missing_folder_is_named(user):
    message = user.is_refused(*words("nsmc", "--data_dir", "nowhere"))
    assert "nowhere/nsmc/ratings_train.txt" in message and "no such folder" in message


def test_awkward_texts_are_texts(user, spoil):
    rows = [
        "null\t0",
        "NA\t1",
        "007\t0",
        "\"인용 '문'\t1",
        "👨‍👩‍👧‍👦 👍🏻\t1",
        "\t0",
        " \t1",
        "줄\u2028바꿈\x85\t0",
        "영화 " * 50_000 + "\t1",
    ]
    lines = ["id\tdocument\tlabel", *(f"{i}\t{row}" for i, row in enumerate(rows * 8))]
    content = b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode()
    spoil("nsmc/ratings_train.txt", lambda _: content)
    data = spoil("nsmc/ratings_test.txt", lambda _: content)
    finished = user.types(*nsmc("awkward", "--max_steps", 1, "--data_dir", data))
    for split in ("train", "test"):
        (said,) = (line for line in finished.err.splitlines() if line.startswith(f"{split}: "))
        # 2 of 9 rows are empty or blank, one is 150,000 characters or 100,000 tokens long.
        assert "72 rows" in said and "empty text kept: 16" in said and "cut to 128 tokens: 8 (" in said
    table = (user.run_dir("awkward") / "predictions.tsv").read_bytes().decode().split("\n")
    texts = [line.split("\t")[-1] for line in table[1:-1]]
    assert texts == [row.rpartition("\t")[0] for row in rows * 8]


@pytest.mark.slow
def test_other_encodings_dropped_rows_and_broken_characters_are_counted(user, spoil):
    both = ("nsmc/ratings_train.txt", "nsmc/ratings_test.txt")
    for file in both:
        data = spoil(file, lambda content: content.decode().encode("cp949", "ignore"))
    finished = user.types(*nsmc("cp949", "--max_steps", 1, "--data_dir", data, "--encoding", "cp949"))
    assert "train: 2000 rows" in finished.err and "[UNK]" not in finished.err

    data = spoil(TRAIN_FILES["paws"], line_4("1\t\t나\t1"))
    finished = user.types(*words("paws", "--max_steps", 1, "--data_dir", data, "--overwrite_output_dir"))
    rows = (user.folder / "sample_data" / TRAIN_FILES["paws"]).read_text(encoding="utf-8").split("\n")[1:-1]
    empty = sum(not all(side.strip() for side in row.split("\t")[1:3]) for row in rows)
    assert f"train: {len(rows) - empty} rows" in finished.err
    assert f"empty text dropped: {empty + 1}" in finished.err

    data = spoil(TRAIN_FILES["modu-sentiment"], first_document(paragraph=[{"paragraph_form": "\ud83d 좋아요"}]))
    finished = user.types(*words("modu-sentiment", "--max_steps", 1, "--data_dir", data, "--overwrite_output_dir"))
    assert "lone surrogate" in finished.err


def test_tabs_commas_and_line_ends_inside_quotes_are_text_in_a_csv_file(user, spoil):
    def edit(content: bytes) -> bytes:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        for row in rows[1:]:
            row[rows[0].index("title")] = '제목,\t"둘"\n셋'
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        return out.getvalue().encode()

    data = spoil(TRAIN_FILES["fake-news"], edit)
    user.types(*words("fake-news", "--max_steps", 1, "--data_dir", data, "--max_seq_len", 64, "--overwrite_output_dir"))
    table = (user.run_dir("bad fake-news") / "predictions.tsv").read_text(encoding="utf-8").splitlines()
    assert all(line.split("\t")[-1].startswith('제목,\\t"둘"\\n셋 ') for line in table[1:])


WRONG_COMMANDS = {
    "no task": ([], ["task is missing"]),
    "unknown task": (["--task", "nscm", "--model_type", "kobert"], ["unknown task 'nscm'", "'nsmc'"]),
    "unknown task with a file": (["--task", "nscm", "--config_file", "sample.json"], ["unknown task 'nscm'", "'nsmc'"]),
    "unknown model": (["--task", "nsmc", "--model_type", "koelectra-bas"], ["'koelectra-bas'", "'koelectra-base'"]),
    "no model": (["--task", "nsmc"], ["model_type", "model_name_or_path"]),
    "unknown flag": (words("nsmc", "--lerning_rate", "1"), ["--lerning_rate", "--learning_rate"]),
    "abbreviated flag": (words("nsmc", "--learning_rat", "1"), ["--learning_rat", "--learning_rate"]),
    "no configuration": (["--task", "nsmc", "--config_file", "smaple.json"], ["smaple.json", "'sample.json'"]),
    "wrong type": (words("nsmc", "--train_batch_size", "many"), ["--train_batch_size", "whole number", "many"]),
    "wrong choice": (words("nsmc", "--pooling", "sum"), ["--pooling", "cls", "mean", "max"]),
    "nothing to label": (words("nsmc", "--do_predict"), ["input_file"]),
    "no room for text": (words("nsmc", "--max_seq_len", "0"), ["--max_seq_len"]),
}


@pytest.fixture(scope="module")
def nothing_slow(user: User) -> dict[str, str]:
    """An environment in which importing what takes seconds to import ends in a traceback."""
    folder = user.folder / "nothing slow"
    folder.mkdir()
    for name in ("scipy", "sklearn", "torch", "transformers"):
        (folder / f"{name}.py").write_text("raise RuntimeError('not yet')")
    return user.environment | {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("case", WRONG_COMMANDS)
def test_a_wrong_command_is_refused_at_once(user, nothing_slow, case):
    command, expected = WRONG_COMMANDS[case]
    message = user.is_refused(*command, env=nothing_slow)
    for part in expected:
        assert part in message


def test_all_that_is_wrong_with_a_json_file_is_said_at_once_with_its_lines(user):
    settings = (
        '{\n"task": "nsmc",\n"learning_rate": "3e-5",\n"max_seq_length": 128,\n"do_train": 1,\n"model_type": "bert"\n}'
    )
    (user.folder / "wrong.json").write_text(settings, encoding="utf-8")
    lines = user.is_refused("--config_file", "wrong.json", "--seeds", "1", "1").splitlines()
    for number, parts in {3: ["learning_rate", "without quotes"], 4: ["is max_seq_len here"], 5: ["do_train"]}.items():
        (line,) = (line for line in lines if line.startswith(f"wrong.json:{number}:"))
        assert all(part in line for part in parts)
    assert any("'bert'" in line for line in lines) and any("twice" in line for line in lines)


REFUSED_MODELS = {
    "too long rows": (["--max_seq_len", "513"], ["513", "512"]),
    "no weights": (["--from_scratch", "false"], ["sample_data/tiny-electra", "no weights", "--from_scratch"]),
    "no model": (["--model_name_or_path", "sample_data/nsmc"], ["sample_data/nsmc", "config.json"]),
    "no cache folder": (["--cache_dir", "sample_data/texts.txt"], ["sample_data/texts.txt", "--cache_dir"]),
}


@pytest.mark.parametrize("case", REFUSED_MODELS)
def test_a_model_that_cannot_be_used_is_refused(user, case):
    more, expected = REFUSED_MODELS[case]
    message = user.is_refused(*words("nsmc", *more))
    assert all(part in message for part in expected) and "\n" not in message
    assert snapshot(user.run_dir("bad nsmc")) == {}


def sent_to(server: socket.socket) -> list[bytes]:
    """The beginning of what each client sent which has hung up since."""
    server.setblocking(False)
    sent = []
    with contextlib.suppress(BlockingIOError):
        while True:
            with server.accept()[0] as connection:
                sent.append(connection.recv(4096))
    return sent


@pytest.mark.parametrize("hub", ["refuses", pytest.param("is silent", marks=pytest.mark.slow)])
def test_a_model_that_is_neither_here_nor_on_the_hub_is_refused_without_waiting_long(user, hub):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if hub == "is silent":
            server.listen()
        endpoint = {"HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}"}
        command = ["--task", "nsmc", "--config_file", "koelectra-small-v3.json", "--data_dir", "sample_data"]
        message = user.is_refused(*command, env=user.environment | endpoint)
        if hub == "is silent":  # asked a second time, it would be waited for as long again
            assert sum(b"koelectra-small-v3" in question for question in sent_to(server)) == 1
    assert "monologg/koelectra-small-v3-discriminator" in message and "--model_name_or_path" in message
    assert "neither a local folder" in message and "hub" in message


def vocabulary(user: User, name: str, characters: str) -> Path:
    """A model folder whose tokenizer knows `characters` and their continuations."""
    folder = user.folder / name
    folder.mkdir()
    for file in ("config.json", "tokenizer_config.json"):
        shutil.copy(user.folder / "sample_data" / "tiny-electra" / file, folder)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *("##" + c for c in characters)]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in dict.fromkeys(pieces)), encoding="utf-8")
    return folder


def test_a_vocabulary_of_another_language_stops_the_run(user):
    model = vocabulary(user, "english", "abcdefghijklmnopqrstuvwxyz0123456789.,!?")
    message = user.is_refused(*words("nsmc", "--model_name_or_path", model))
    assert "[UNK]" in message and "%" in message and "vocabulary" in message
    assert snapshot(user.run_dir("bad nsmc")) == {}


def test_a_vocabulary_with_gaps_is_warned_of(user):
    text = (user.folder / "sample_data/nsmc/ratings_train.txt").read_text(encoding="utf-8")
    rare = sorted(set(text), key=text.count)[: len(set(text)) // 2]
    model = vocabulary(user, "gaps", "".join(sorted(set(text) - set(rare) - set(" \t\n영"))))
    finished = user.types(*nsmc("gaps-run", "--max_steps", 1, "--model_name_or_path", model))
    assert finished.err.count("warning: train: ") == 1 and "[UNK]" in finished.err


def test_texts_with_the_wrong_number_of_tabs_are_refused_by_line(user, brief_run):
    command = ["--task", "kornli", "--config_file", "sample.json", "--do_predict", "--input_file", "-"]
    message = user.is_refused(*command, stdin="가\t나\n다\n")
    assert message.startswith("standard input:2:") and "a tab between them" in message
    message = user.is_refused(*nsmc(brief_run, "--do_predict", "--input_file", "-"), stdin="가\n나\t다\n")
    assert message.startswith("standard input:2:") and "without tabs" in message
    assert "nothing in it" in user.is_refused(*nsmc(brief_run, "--do_predict", "--input_file", "-"))


def test_what_is_asked_of_a_run_that_is_not_there_is_refused(user, brief_run):
    texts = ["--do_predict", "--input_file", "sample_data/texts.txt"]
    before = snapshot(user.run_dir(brief_run))
    assert "ckpt/nothing holds no checkpoint" in user.is_refused(*nsmc("nothing", *texts))
    assert "ckpt/nothing holds no checkpoint" in user.is_refused(*nsmc("nothing", "--do_eval"))
    assert not user.run_dir("nothing").exists()
    message = user.is_refused(*nsmc(brief_run, "--do_predict", "--input_file", "nothing.txt"))
    assert "nothing.txt: no such file" in message
    message = user.is_refused(*nsmc(brief_run, *texts, "--output_file", "nowhere/labels.tsv"))
    assert "nowhere/labels.tsv" in message and "no folder nowhere" in message
    assert snapshot(user.run_dir(brief_run)) == before


def test_an_output_folder_that_cannot_be_is_refused_at_once(user):
    user.run_dir("file").parent.mkdir(exist_ok=True)
    user.run_dir("file").touch()
    assert "ckpt/file is a file" in user.is_refused(*nsmc("file"))
    assert "ckpt/file/inside" in user.is_refused(*nsmc("file/inside"))
    message = user.is_refused(*nsmc("run", "--ckpt_dir", "/proc/nothing"))
    assert "/proc/nothing/run cannot be made" in message


def test_a_run_is_only_resumed_as_it_was(user, copied_run, spoil):
    before = snapshot(user.run_dir(copied_run))
    command = nsmc(copied_run, *BRIEFLY, "--resume")
    data = spoil(TRAIN_FILES["nsmc"], lambda content: content.replace(b"\t0\n", b"\t1\n", 1))
    message = user.is_refused(*command, "--learning_rate", "1e-5", "--data_dir", data)
    assert "learning_rate was 0.0005, is now 1e-05" in message and "training rows" in message
    assert snapshot(user.run_dir(copied_run)) == before


DAMAGED = {
    "training state": ("checkpoint-6/training_state.pt", ["--resume"], "training_state.pt cannot be read"),
    "weights": ("checkpoint-6/model.safetensors", ["--resume"], "model.safetensors cannot be read"),
    "scored weights": ("checkpoint-4/model.safetensors", ["--do_eval"], "checkpoint-4"),
    "results": ("results.json", ["--do_eval"], "results.json cannot be read"),
    "settings": ("run_config.json", ["--do_eval"], "run_config.json cannot be read"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_of_a_run_is_named_and_nothing_else_is_lost(user, copied_run, case):
    file, more, expected = DAMAGED[case]
    path = user.run_dir(copied_run) / file
    path.write_bytes(path.read_bytes()[:100])
    before = snapshot(user.run_dir(copied_run))
    settings = BRIEFLY if "--resume" in more else []
    message = user.is_refused(*nsmc(copied_run, *settings, *more))
    assert expected in message and "\n" not in message
    assert snapshot(user.run_dir(copied_run)) == before


def test_a_run_without_its_training_state_is_not_started_anew_by_resume(user, copied_run):
    (user.run_dir(copied_run) / "checkpoint-6" / "training_state.pt").unlink()
    before = snapshot(user.run_dir(copied_run))
    message = user.is_refused(*nsmc(copied_run, *BRIEFLY, "--resume"))
    assert "training_state.pt" in message and "--overwrite_output_dir" in message
    assert snapshot(user.run_dir(copied_run)) == before


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_the_checkpoint_before(user):
    every = ["--logging_steps", "5", "--save_steps", "5", "--eval_steps", "0", "--precision", "fp32"]
    finished = user.types(*nsmc("nan", *every, "--learning_rate", "1e6", "--max_grad_norm", "0"), code=2)
    assert "the loss is nan" in finished.error or "the loss is inf" in finished.error
    assert "ckpt/nan/checkpoint-5" in finished.error and "learning_rate" in finished.error
    assert (user.run_dir("nan") / "checkpoint-5" / "training_state.pt").is_file()
    assert not (user.run_dir("nan") / "results.json").exists()


def loads(checkpoint: Path) -> bool:
    code = "import sys, transformers as t; t.AutoModelForSequenceClassification.from_pretrained(sys.argv[1])"
    return subprocess.run([sys.executable, "-c", code, checkpoint], capture_output=True).returncode == 0


STEADILY = ["--max_steps", 40, "--save_steps", 10, "--eval_steps", 0, "--logging_steps", 5]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the limit is set on a running process, as Linux can")
def test_a_disk_that_is_full_while_saving_leaves_the_checkpoint_before(user):
    process = user.starts(*nsmc("full", *STEADILY))
    first = user.run_dir("full") / "checkpoint-10"
    while not first.exists() and process.poll() is None:
        time.sleep(0.01)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))  # less than the weights take
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 2 and "Traceback" not in err
    kept = max(user.run_dir("full").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert "could not be saved" in err and f"ckpt/full/{kept.name} is whole" in err and "--resume" in err
    assert list(user.run_dir("full").glob(".*")) == []
    assert f"resumed from ckpt/full/{kept.name}" in user.types(*nsmc("full", *STEADILY, "--resume")).err
    assert [line["step"] for line in user.log("full", "train")] == list(range(5, 41, 5))


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [10, 12, 16])
def test_a_disk_that_is_really_full(user, megabytes):
    """Of a checkpoint's 10.2 MB, 3.5 are the weights: there is no room for a first, its successor, its last file."""
    disk = user.folder / f"disk-{megabytes}"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", disk], capture_output=True)
    if mount.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        message = user.types(*nsmc("run", *STEADILY, "--ckpt_dir", disk), code=2).error
        kept = [disk / "run" / "checkpoint-10"] if megabytes > 10 else []
        assert "could not be saved" in message and "No space left" in message
        assert (f"{kept[0]} is whole" if kept else "there is no earlier one") in message
        assert list((disk / "run").glob("*checkpoint*")) == kept and all(map(loads, kept))
        subprocess.run(["mount", "-o", "remount,size=99m", disk], check=True)
        user.types(*nsmc("run", *STEADILY, "--ckpt_dir", disk, "--resume"))
    finally:
        subprocess.run(["umount", disk], check=True)
