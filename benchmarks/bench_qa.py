"""Question answering: features, decoding and training against how others do it, side by side in one process.

    python3 benchmarks/bench_qa.py                                          # sample data
    python3 benchmarks/bench_qa.py --data_file data/korquad/KorQuAD_v1.0_train.json --tokenizer koelectra/ \\
        --json out.json
    python3 benchmarks/bench_qa.py --parts features decoding --questions 1000
    pip install --no-deps --target old transformers==2.11.0 && python3 benchmarks/bench_qa.py --transformers2 old

The same questions for all arms of a part, on one core; reading the file is not counted. Ratios are medians over
interleaved repeats.

features, from texts to windows with the positions of their answers:
- transformers_2: with --transformers2, the code that KoELECTRA ran
- original: a plain reference for it, faster than it, see benchmarks/squad_reference.py; the windows of both are checked
  to be ours, token by token
- rust_per_question: as the examples of transformers 4 and 5 do: the Rust tokenizer cuts windows, once per question, and
  answers are found by a scan over offsets. Its windows overlap by the same number of tokens for all questions, so
  that there are no more of them than ours.
- ours: into an empty cache folder, its writing counted
- ours_as_rows: ours, and all windows padded to full rows, which we otherwise do batch by batch in training

decoding, from logits to the n best answers: random logits with a peak at the answer.
- transformers_2: with --transformers2, the code that KoELECTRA ran
- python: a plain reference for it, faster than it
- ours: in batches of 64, the longest windows first, as an evaluation gives them

training: the arms are explained in benchmarks/measure.py.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

# One core: read when the libraries are loaded.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import ElectraForQuestionAnswering

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Training, device_name, interleaved, measure_training, median_ratio, report, timed
from benchmarks.squad_reference import Featurizer, Window, WordPiece, check_answers, check_rows, decode
from benchmarks.transformers_2 import Transformers2
from models import build_tokenizer
from processors import TASKS
from processors.qa.decoding import Decoded, Decoder
from processors.qa.questions import UNANSWERABLE, Questions
from processors.qa.windows import GoldSpans, Lengths, QuestionFeatures, build_question_features
from training.runtime import quiet_libraries

PARTS = ("features", "decoding", "training")
N_BEST, MAX_ANSWER_LENGTH = 20, 30
EVAL_BATCH_SIZE = 64
QUESTIONS_A_CALL = 1000  # what `datasets.map(batched=True)` gives


@dataclass(frozen=True)
class Setting:
    """What all parts work on."""

    questions: Questions
    tokenizer: Any
    lengths: Lengths
    transformers2: Transformers2 | None

    def transformers_2(self) -> tuple[list, list[list]]:
        """Its examples, and the windows of each."""
        examples = self.transformers2.examples(self.questions)
        return examples, self.transformers2.windows(examples)

    def original(self) -> list[list[Window]]:
        """The windows of each question."""
        lengths = self.lengths
        tokenizer = WordPiece(self.tokenizer.get_vocab())
        featurizer = Featurizer(tokenizer, lengths.max_seq_length, lengths.doc_stride, lengths.max_query_length)
        rows = self.questions
        return [
            featurizer.windows(text, rows.contexts[context], answers[0], start)
            for text, context, answers, (start, _) in zip(
                rows.texts, rows.context_of, rows.answers, rows.spans, strict=True
            )
        ]

    def rust_per_question(self) -> dict[str, list]:
        """Columns of windows, as the question-answering example of transformers makes them."""
        rows, lengths = self.questions, self.lengths
        overlap = lengths.max_seq_length - lengths.doc_stride - lengths.max_query_length - 3
        columns: dict[str, list] = {}
        for at in range(0, len(rows), QUESTIONS_A_CALL):
            part = slice(at, at + QUESTIONS_A_CALL)
            encoded = self.tokenizer(
                rows.texts[part],
                [rows.contexts[context] for context in rows.context_of[part]],
                truncation="only_second",
                max_length=lengths.max_seq_length,
                stride=overlap,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                padding="max_length",
            )
            spans = rows.spans[part]
            answers = [
                self._scan(encoded.sequence_ids(window), offsets, *spans[question])
                for window, (question, offsets) in enumerate(
                    zip(encoded["overflow_to_sample_mapping"], encoded["offset_mapping"], strict=True)
                )
            ]
            for name in ("input_ids", "attention_mask", "token_type_ids"):
                columns.setdefault(name, []).extend(encoded[name])
            columns.setdefault("positions", []).extend(answers)
        return columns

    @staticmethod
    def _scan(part_of: list[int | None], offsets: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
        """Positions of the tokens that hold the characters [start, end), or 0, 0 where the window does not."""
        first, last = 0, len(part_of) - 1
        while part_of[first] != 1:
            first += 1
        while part_of[last] != 1:
            last -= 1
        if offsets[first][0] > start or offsets[last][1] < end:
            return 0, 0
        while first < len(offsets) and offsets[first][0] <= start:
            first += 1
        while offsets[last][1] >= end:
            last -= 1
        return first - 1, last + 1

    def ours(self) -> tuple[QuestionFeatures, np.ndarray]:
        """The features, and the positions of the answers, `[W, 2]`."""
        with tempfile.TemporaryDirectory() as folder:
            features = build_question_features(self.questions, self.tokenizer, self.lengths, Path(folder))
            return features, GoldSpans.of(features).positions(features, np.arange(len(features)))

    def ours_as_rows(self) -> None:
        features, _ = self.ours()
        windows = np.arange(len(features))
        for at in range(0, len(features), EVAL_BATCH_SIZE):
            features.padded(
                windows[at : at + EVAL_BATCH_SIZE], self.tokenizer.pad_token_id, self.lengths.max_seq_length
            )


def rates(part: str, seconds: dict[str, list[float]], questions: int) -> list[dict[str, Any]]:
    return [
        {"arm": f"{part}: {arm}", "questions_per_second": questions / statistics.median(taken)}
        for arm, taken in seconds.items()
    ]


def measure_features(setting: Setting, repeats: int) -> tuple[list[dict], dict[str, float]]:
    check_windows(setting)
    names = ["original", "rust_per_question", "ours", "ours_as_rows"]
    names += ["transformers_2"] if setting.transformers2 else []
    seconds = interleaved({name: timed(getattr(setting, name)) for name in names}, repeats)
    return rates("features", seconds, len(setting.questions)), ratios_of("features", seconds)


def ratios_of(part: str, seconds: dict[str, list[float]]) -> dict[str, float]:
    return {
        f"{part}_vs_{arm}": median_ratio(taken, seconds["ours"])
        for arm, taken in seconds.items()
        if not arm.startswith("ours")
    }


def check_windows(setting: Setting) -> None:
    """Prints what the arms make of the questions. Exits if the original's rows differ from ours."""
    features, positions = setting.ours()
    contexts = len(set(setting.questions.context_of))
    rust = len(setting.rust_per_question()["input_ids"])
    print(
        f"features: {len(setting.questions)} questions about {contexts} contexts; {len(features)} windows, "
        f"{rust} by rust_per_question"
    )
    others = {"original": setting.original()}
    if setting.transformers2:
        others["transformers_2"] = setting.transformers_2()[1]
    for name, windows in others.items():
        check_answers(name, check_rows(name, windows, features, positions, setting.tokenizer.pad_token_id))


class Decoding:
    """Logits of all windows, in either arm's form.

    Tokens outside the context are unlikely, as a model learns in its first steps; the rest is noise around 0 with a
    peak at the answer, which is as high as those of a fine-tuned model.
    """

    def __init__(self, setting: Setting):
        self.setting = setting
        self.features, positions = setting.ours()
        features, rng = self.features, np.random.default_rng(42)
        logits = rng.normal(-8, 1, (len(features), 2, setting.lengths.max_seq_length)).astype(np.float32)
        at = features.context_positions(np.arange(len(features)))
        for window, (start, answer) in enumerate(zip(at, positions, strict=True)):
            length = int(features.length[window])
            logits[window, :, start : start + length] = rng.normal(0, 2, (2, length))
            if answer.any():
                logits[window, [0, 1], answer] += 10
        order = np.argsort(-features.lengths, kind="stable")
        parts = [order[at : at + EVAL_BATCH_SIZE] for at in range(0, len(order), EVAL_BATCH_SIZE)]
        self.batches = [
            (part, np.ascontiguousarray(logits[part, :, : int(features.lengths[part].max())])) for part in parts
        ]
        self.windows = setting.original()
        if setting.transformers2:
            self.examples, self.old_windows = setting.transformers_2()
        ends = np.cumsum([0, *map(len, self.windows)])
        self.logits = [logits[first:last] for first, last in pairwise(ends)]

    def python(self) -> list[list[tuple[str, float, float]]]:
        rows = self.setting.questions
        return [
            decode(windows, logits.tolist(), rows.contexts[context], N_BEST, MAX_ANSWER_LENGTH)
            for windows, logits, context in zip(self.windows, self.logits, rows.context_of, strict=True)
        ]

    def transformers_2(self) -> dict[str, str]:
        return self.setting.transformers2.decode(
            self.examples, self.old_windows, self.logits, N_BEST, MAX_ANSWER_LENGTH
        )

    def ours(self) -> list[Decoded]:
        decoder = Decoder(self.features, MAX_ANSWER_LENGTH, N_BEST, with_null=False)
        for windows, logits in self.batches:
            decoder.add(windows, logits)
        return list(decoder.answers())


def measure_decoding(setting: Setting, repeats: int) -> tuple[list[dict], dict[str, float]]:
    decoding = Decoding(setting)
    ours = decoding.ours()
    pairs = list(zip(decoding.python(), ours, strict=True))
    spans = np.mean([abs(python[0][1] - one.best[0].score) < 1e-3 for python, one in pairs if python and one.best])
    if spans < 0.99:
        sys.exit(f"only {spans:.1%} of the best answers score the same")
    print(f"decoding: {len(decoding.features)} windows; {spans:.2%} of python's best answers score what ours do")
    texts = {"python": [python[0][0] if python else "" for python, _ in pairs]}
    if setting.transformers2:
        texts["transformers_2"] = list(decoding.transformers_2().values())
    for name, answers in texts.items():
        same = np.mean([text == one.answer_if_any for text, one in zip(answers, ours, strict=True)])
        print(f"{name}: {same:.2%} of the best answers, put together from tokens, read as ours do")
    names = ["python", "ours"] + (["transformers_2"] if setting.transformers2 else [])
    seconds = interleaved({name: timed(getattr(decoding, name)) for name in names}, repeats)
    return rates("decoding", seconds, len(setting.questions)), ratios_of("decoding", seconds)


def loss_of(model, batch: dict[str, Any]) -> torch.Tensor:
    outputs = model(**batch["inputs"])
    pairs = zip((outputs.start_logits, outputs.end_logits), batch["positions"].unbind(dim=1), strict=True)
    return sum(cross_entropy(logits.float(), at, reduction="sum") for logits, at in pairs) / 2


def measure_question_answering(setting: Setting, arguments) -> tuple[str, list[dict], dict[str, float]]:
    """Training."""
    features, positions = setting.ours()
    training = Training(
        model_class=ElectraForQuestionAnswering,
        tokenizer=setting.tokenizer,
        rows=len(features),
        padded=features.padded,
        targets=lambda windows: {"positions": torch.from_numpy(positions[windows])},
        loss_of=loss_of,
        max_length=setting.lengths.max_seq_length,
        batch_size=arguments.batch_size,
        steps=arguments.steps,
        no_cuda=arguments.no_cuda,
    )
    with tempfile.TemporaryDirectory() as folder:
        device, rows, ratios = measure_training(training, Path(folder), arguments.repeats)
    rows = [row | {"arm": f"training: {row['arm']}"} for row in rows]
    names = {
        "training_vs_original": "vs_original_padding_fp32",
        "training_vs_longest": "vs_longest_padding_same_precision",
        "training_matmul_fraction": "matmul_fraction",
    }
    return device, rows, {name: ratios[theirs] for name, theirs in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_file", default="sample_data/korquad/KorQuAD_v1.0_train.json", help="SQuAD format")
    parser.add_argument("--tokenizer", default="sample_data/tiny-electra", help="folder with a WordPiece tokenizer")
    parser.add_argument("--transformers2", type=Path, help="folder with transformers 2.11.0; default: without its arms")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--questions", type=int, default=4000, help="how many, the first ones of the file")
    parser.add_argument("--max_seq_length", type=int, default=512)
    parser.add_argument("--doc_stride", type=int, default=128)
    parser.add_argument("--max_query_length", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=8, help="of training")
    parser.add_argument("--steps", type=int, default=3, help="optimizer steps a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no_cuda", action="store_true")
    parser.add_argument("--json", help="file for the figures")
    arguments = parser.parse_args()

    if min(arguments.questions, arguments.repeats, arguments.steps) < 1:
        parser.error("questions, repeats and steps must be at least 1")
    if not Path(arguments.data_file).is_file():
        parser.error(f"{arguments.data_file}: no such file; scripts/make_sample_data.py makes the default one")

    quiet_libraries()
    torch.set_num_threads(1)
    task = TASKS["korquad"]
    questions = task.read(task, Path(arguments.data_file))
    usable = np.array([span != UNANSWERABLE for span in questions.spans])
    questions = questions.where(usable & (np.cumsum(usable) <= arguments.questions))
    del questions.contexts[max(questions.context_of) + 1 :]  # where() keeps them all
    lengths = Lengths(arguments.max_seq_length, arguments.doc_stride, arguments.max_query_length)
    tokenizer = build_tokenizer(None, Path(arguments.tokenizer))
    old = Transformers2(arguments.transformers2, tokenizer.get_vocab(), lengths) if arguments.transformers2 else None
    setting = Setting(questions, tokenizer, lengths, old)

    device, rows, ratios = device_name(torch.device("cpu")), [], {}
    if "features" in arguments.parts:
        more_rows, more_ratios = measure_features(setting, arguments.repeats)
        rows, ratios = rows + more_rows, ratios | more_ratios
    if "decoding" in arguments.parts:
        more_rows, more_ratios = measure_decoding(setting, arguments.repeats)
        rows, ratios = rows + more_rows, ratios | more_ratios
    if "training" in arguments.parts:
        device, more_rows, more_ratios = measure_question_answering(setting, arguments)
        rows, ratios = rows + more_rows, ratios | more_ratios
    report(device, rows, ratios, arguments.json)


if __name__ == "__main__":
    main()
