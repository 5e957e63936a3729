"""The stages of a run that a user waits for, each as a function of the size of an input. Used by `bench_scale.py`.

A stage prepares what comes before it and returns the work that is measured. The work is what the scripts do: their
`main` up to the call of `train`, that call itself, or the scoring that training calls.
"""

from __future__ import annotations

import importlib
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.measure import CPU, PeakMemory
from benchmarks.scale_inputs import Inputs
from processors import SCRIPT_OF_TASK, TASKS_OF_SCRIPT
from training.command_line import resolve
from training.processes import process_number
from training.runtime import quiet_libraries
from workflows.pretraining import open_corpora, train_tokenizer
from workflows.script import open_device

CONFIG = Path(__file__).resolve().parents[1] / "config"
CONFIG_CLASSES = {
    "run_seq_cls": "SequenceClassificationConfig",
    "run_long_qa": "LongQuestionAnsweringConfig",
    "pretrain_spanbert": "SpanBertConfig",
    "pretrain_splinter": "SplinterConfig",
}
STEPS = 20
LONG_STEPS = 4  # of long rows
UNSCORED = ("--eval_steps", "0")

Work = Callable[[], Any]


@dataclass(frozen=True)
class Place:
    """Where a stage works. cache: the tokenized data of its series and size. runs: where runs go, new every time."""

    inputs: Inputs
    cache: Path
    runs: Path

    def words(self, *words: object) -> list[str]:
        """A command's words, with those that every command has: nothing is logged or saved on the way."""
        brief = "--save_steps 0 --logging_steps 0 --save_optimizer false --no_cuda".split()
        folders = ["--cache_dir", self.cache, "--ckpt_dir", self.runs, "--output_dir", "run"]
        return [str(word) for word in (*words, *brief, *folders)]


class Reached(Exception):
    """Raised in place of a call that a script was about to make. arguments: of that call."""

    def __init__(self, arguments: tuple):
        self.arguments = arguments


def settings_of(script: str, words: Sequence[str]) -> Any:
    """The settings of the command `script words`."""
    config_class = getattr(importlib.import_module(script), CONFIG_CLASSES[script])
    if script.startswith("pretrain"):
        tasks: dict[str, Any] = {config_class.model_fields["task"].default: {}}
        return resolve(config_class, words, tasks, CONFIG, "")[0]
    tasks = {task.name: task.settings(config_class.TEST_FILE_KEY) for task in TASKS_OF_SCRIPT[f"{script}.py"]}
    return resolve(config_class, words, tasks, CONFIG, "", SCRIPT_OF_TASK)[0]


def up_to_training(script: str, words: Sequence[str]) -> tuple[Callable, tuple]:
    """Runs a script until it would train; returns its `train` and the arguments of the call."""
    module = importlib.import_module(script)
    train = module.train

    def stop(*arguments: Any) -> None:
        raise Reached(arguments)

    module.train = stop
    try:
        config = settings_of(script, words)
        config.run_dir.mkdir(parents=True, exist_ok=True)
        module.main(config, False)
    except Reached as reached:
        return train, reached.arguments
    finally:
        module.train = train
    raise AssertionError(f"{script} did not train")


def preparing(script: str, words: Sequence[str]) -> Work:
    """From the start of a script to its first step: files are read, and tokenized or taken from the cache."""
    # Worker processes import the main module, as those of a user's run do.
    sys.modules["__main__"] = importlib.import_module(script)
    return lambda: up_to_training(script, words)


def training(script: str, words: Sequence[str]) -> Work:
    """The training steps, the checkpoint at their end included."""
    train, arguments = up_to_training(script, words)
    return lambda: train(*arguments)


def scoring(script: str, words: Sequence[str], split: str) -> Work:
    """The scoring of a split, with the weights as they are before training."""
    _, (_, _, _, model, splits, _, score, *_) = up_to_training(script, words)
    return lambda: score(model, splits[split])


# --------------------------------------------------------------------------------------------------------------------
# The commands
# --------------------------------------------------------------------------------------------------------------------


def of_steps(place: Place, steps: int, precision: str) -> list[str]:
    """Fine-tuning on 10,000 NSMC rows for so many steps."""
    words = of_rows(place, 10_000)
    words[words.index("--max_steps") + 1] = str(steps)
    return [*words, "--precision", precision]


def of_rows(place: Place, rows: int, scored: bool = False) -> list[str]:
    """Fine-tuning on so many NSMC rows, or on few, with so many to score."""
    names = [place.inputs.rows(count).resolve() for count in ((1000, rows) if scored else (rows, 1000))]
    words = place.words("--task", "nsmc", "--train_file", names[0], "--test_file", names[1])
    model = ["--model_name_or_path", place.inputs.model("short"), "--from_scratch", "--max_steps", STEPS]
    model += ["--eval_steps", int(scored)]
    return [*words, *map(str, model)]


def of_long_rows(place: Place, tokens: int, attention: str, batch_size: int = 2) -> list[str]:
    """Fine-tuning of a BigBird on rows that are all cut to so many tokens."""
    rows = place.inputs.long_rows().resolve()
    words = place.words("--task", "nsmc", "--train_file", rows, "--test_file", rows, "--max_seq_len", tokens)
    model = ["--model_name_or_path", place.inputs.model("long"), "--from_scratch", "--attention", attention]
    return [*words, *map(str, model), *UNSCORED, "--train_batch_size", str(batch_size), "--max_steps", str(LONG_STEPS)]


def of_corpus(place: Place, corpus: Path, steps: int, batch_size: int, *more: object) -> list[str]:
    """Pretraining on a corpus, of a small model."""
    sizes = "--hidden_size 128 --num_hidden_layers 2 --num_attention_heads 2 --intermediate_size 512".split()
    words = ["--corpus", corpus, "--max_steps", steps, "--train_batch_size", batch_size, *sizes, *more]
    return place.words(*words)


def of_megabytes(place: Place, megabytes: float, processes: int = 1) -> list[str]:
    """Pretraining a SpanBERT on so many megabytes of text."""
    more = ["--tokenizer", place.inputs.tokenizer, "--processes", processes, *UNSCORED]
    return of_corpus(place, place.inputs.text(megabytes), STEPS, 8, *more)


def of_long_blocks(place: Place, tokens: int) -> list[str]:
    """Pretraining on blocks of so many tokens, two a step."""
    more = ["--tokenizer", place.inputs.tokenizer, "--max_seq_length", tokens, "--documents", "blank_lines"]
    return of_corpus(place, place.inputs.joined_text(), LONG_STEPS, 2, *more, "--held_out_share", 0)


def of_document(place: Place, tokens: int) -> list[str]:
    """Long question answering, with KoBigBird's windows and batches, on one document of so many tokens."""
    name = place.inputs.document(tokens).resolve()
    words = place.words("--task", "tydiqa", "--train_file", name, "--max_seq_length", 4096, "--doc_stride", 3072)
    model = ["--model_name_or_path", place.inputs.model("long"), "--from_scratch", "--do_eval", "false"]
    return [*words, *map(str, model), *UNSCORED, "--eval_batch_size", "8", "--max_steps", "1"]


def decoding(place: Place, tokens: int) -> Work:
    """The n best answers from logits, which are random, of all windows of a document."""
    import numpy as np

    from processors.qa.decoding import Decoder

    _, (_, _, _, _, splits, *_) = up_to_training("run_long_qa", of_document(place, tokens))
    features = splits["train"].features
    windows = np.arange(len(features))
    random = np.random.default_rng(0)
    logits = random.normal(size=(len(windows), 2, int(features.lengths.max()))).astype(np.float32)

    def work() -> None:
        decoder = Decoder(features, max_answer_length=30, n_best=20, with_null=True)
        for at in range(0, len(windows), 8):
            decoder.add(windows[at : at + 8], logits[at : at + 8])
        list(decoder.answers())

    return work


def training_a_vocabulary(place: Place, megabytes: float) -> Work:
    """SentencePiece's vocabulary of 4,000 pieces from a corpus."""
    corpus = place.inputs.text(megabytes)
    words = of_corpus(place, corpus, STEPS, 8, "--train_vocab", "sentencepiece", "--vocab_size", 4000, *UNSCORED)
    config = settings_of("pretrain_spanbert", words)
    runtime = open_device(config)
    return lambda: train_tokenizer(config, runtime, *open_corpora(config))


# series -> stage -> (place, size) -> work, in the order in which they run: `open` finds what `prepare` leaves behind.
STAGES: dict[str, dict[str, Callable[[Place, Any], Work]]] = {
    "rows": {
        "prepare": lambda place, size: preparing("run_seq_cls", of_rows(place, size)),
        "open": lambda place, size: preparing("run_seq_cls", of_rows(place, size)),
        "train": lambda place, size: training("run_seq_cls", of_rows(place, size)),
        "evaluate": lambda place, size: scoring("run_seq_cls", of_rows(place, size, scored=True), "test"),
    },
    "tokens": {
        "full": lambda place, size: training("run_seq_cls", of_long_rows(place, size, "full")),
        "sparse": lambda place, size: training("run_seq_cls", of_long_rows(place, size, "sparse")),
        "spanbert": lambda place, size: training("pretrain_spanbert", of_long_blocks(place, size)),
        "splinter": lambda place, size: training(
            "pretrain_splinter", [*of_long_blocks(place, size), "--add_question_token"]
        ),
    },
    "steps": {
        name: lambda place, size, precision=name: training("run_seq_cls", of_steps(place, size, precision))
        for name in ("bf16", "fp32")
    },
    "corpus": {
        "prepare": lambda place, size: preparing("pretrain_spanbert", of_megabytes(place, size)),
        "open": lambda place, size: preparing("pretrain_spanbert", of_megabytes(place, size)),
        "train": lambda place, size: training("pretrain_spanbert", of_megabytes(place, size)),
        "vocabulary": training_a_vocabulary,
    },
    "document": {
        "prepare": lambda place, size: preparing("run_long_qa", of_document(place, size)),
        "open": lambda place, size: preparing("run_long_qa", of_document(place, size)),
        "decode": decoding,
        "evaluate": lambda place, size: scoring("run_long_qa", of_document(place, size), "train"),
    },
    # The size is the number of processes; the work is the same for any.
    "processes": {
        "prepare": lambda place, size: preparing("pretrain_spanbert", of_megabytes(place, 10, size)),
        "train": lambda place, size: training("run_seq_cls", of_long_rows(place, 512, "full", 8 // size)),
        "evaluate": lambda place, size: scoring("run_seq_cls", of_rows(place, 10_000, scored=True), "test"),
    },
}
# Their caches begin empty: what an earlier repeat left there is deleted.
FROM_NOTHING = ("prepare", "vocabulary")
# These are started by torchrun where there are several processes; the other stages start processes of their own.
BY_TORCHRUN = {("processes", "train"), ("processes", "evaluate")}
# Every process imports these before it measures: imports are no part of a stage.
IMPORTED = ["benchmarks.scale_stages", "run_seq_cls", "run_long_qa", "pretrain_spanbert", "pretrain_splinter",
            "training.loop", "models.collator", "models.splinter", "models.spanbert", "models.unpadding",
            "processors.metrics", "transformers.models.electra.modeling_electra", "sentencepiece",
            "transformers.models.big_bird.modeling_big_bird", "sklearn.metrics", "scipy.ndimage"]  # fmt: skip


def measure(inputs: Inputs, series: str, stage: str, size: float, output: Path) -> None:
    """Measures a stage once in this process, and writes its figures to `output`.

    seconds: by the clock. cpu_seconds: what this process and those that it started have computed. peak_mib: the most
    resident memory of this process during the stage, or of the largest process that it started. added_mib: how much
    that is above what this process had at the stage's beginning.
    """
    quiet_libraries()
    # A cache for the stages of one size; those that begin with nothing empty it.
    cache = inputs.folder / f"cache-{series}-{size:g}"
    if stage in FROM_NOTHING and process_number() == 0:
        shutil.rmtree(cache, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=inputs.folder) as runs:
        work = STAGES[series][stage](Place(inputs, cache, Path(runs)), size)
        children_before = largest_child()
        with PeakMemory(CPU) as memory:  # it collects garbage first
            begun, computed_before = time.perf_counter(), computed()
            work()
            times = {"seconds": time.perf_counter() - begun, "cpu_seconds": computed() - computed_before}
    # The largest of all children so far is one of the stage's where it is larger than before the stage.
    child = largest_child()
    peak = max(memory.peak, child) if child > children_before else memory.peak
    mebibytes = {"peak_mib": peak / 2**20, "added_mib": (memory.bytes + peak - memory.peak) / 2**20}
    output.with_suffix(f".{process_number()}").write_text(json.dumps(times | mebibytes))


def computed() -> float:
    """Seconds that this process and its children that have ended have spent on the CPU."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def largest_child() -> int:
    """The most resident memory, in bytes, that any child of this process has had, of those that have ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # Linux tells it in KiB


if __name__ == "__main__":  # a process of torchrun's
    for module in IMPORTED:
        importlib.import_module(module)
    order = json.loads(sys.argv[1])
    inputs = Inputs.of(order["inputs"])
    measure(inputs, order["series"], order["stage"], order["size"], Path(order["output"]))
    torch.distributed.destroy_process_group()
