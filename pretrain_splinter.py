"""Pretrains a Splinter: in each group of identical spans one is kept as the answer; [QUESTION] replaces the others.

python3 pretrain_splinter.py --config_file base.json --corpus kowiki.txt
python3 pretrain_splinter.py --config_file base.json --corpus kowiki/ --tokenizer kosplinter/ --processes 8
python3 pretrain_splinter.py --config_file base.json --corpus kowiki/ --model_name_or_path klue/bert-base
python3 pretrain_splinter.py --config_file base.json --corpus kowiki.txt --ngrams_out kowiki.tsv
python3 pretrain_splinter.py --config_file base.json --corpus news.txt --ngrams_in kowiki.tsv --output_dir news \\
    --model_name_or_path ckpt/splinter-base/checkpoint-<step>
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from learners.pretraining import (
    EncoderConfig,
    blocks_of,
    divide,
    fresh_model,
    open_corpora,
    tokenizer_of,
    train_on,
)
from models import ModelError
from processors.features import NO_LABEL
from processors.pretraining.blocks import Blocks
from processors.pretraining.ngrams import count_ngrams, keys_of, read_ngrams, write_ngrams
from processors.pretraining.recurring_spans import (
    RecurringSpans,
    SplinterVocabulary,
    find_clusters,
    recurs_in,
    select_spans,
)
from processors.task import DataError
from training.config import Contradiction, Given
from training.pretraining import PretrainingConfig, run_pretraining
from training.row_random import RowDraws

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.

ROWS_AT_ONCE = 64  # when the whole corpus is looked through; more at once are no faster


class SplinterConfig(EncoderConfig):
    """Splinter"""

    # The content of the files is compared when a run is resumed, not where they are.
    MAY_CHANGE_ON_RESUME: ClassVar[frozenset[str]] = PretrainingConfig.MAY_CHANGE_ON_RESUME | {
        "ngrams_in",
        "ngrams_out",
    }

    task: Literal["splinter"] = Field("splinter", description="pretraining objective")
    longest_span: int = Field(10, ge=1, description="most tokens in a span")
    question_budget: float = Field(0.15, gt=0, lt=1, description="questions per row, as a share of its tokens")
    most_questions: int = Field(30, ge=1, description="most questions per row, whatever its length")
    first_member_only: bool = Field(
        False,
        description="check only the first of several identical spans for ending with a word, as in the original; "
        "false: check each",
    )
    add_question_token: bool = Field(False, description="add [QUESTION] to a vocabulary that lacks it")
    ngrams_in: list[str] | None = Field(
        None,
        description="n-gram files that ngrams_out wrote for earlier corpora; these n-grams are not asked for again",
    )
    ngrams_out: str | None = Field(
        None,
        description="file to write: n-grams of this corpus that can be asked for, each with the number of rows that "
        "hold it",
    )

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.ngrams_out and Path(self.ngrams_out).resolve() in [Path(p).resolve() for p in self.ngrams_in or ()]:
            message = f"ngrams_out would overwrite what ngrams_in reads: {self.ngrams_out}"
            yield Contradiction(("ngrams_out", "ngrams_in"), message)

    @property
    def recurring_spans(self) -> RecurringSpans:
        return RecurringSpans(self.longest_span, self.first_member_only, self.question_budget, self.most_questions)


class SplinterObjective:
    """The model and its tokenizer; asks for recurring spans, and scores the answers.

    left_out: n-grams that are not asked for, as `select_spans` takes them.
    """

    def __init__(self, config: SplinterConfig, runtime, model, tokenizer):
        from models.collator import Collator

        self.tokenizer, self.spans = tokenizer, config.recurring_spans
        self.left_out: frozenset[bytes] = frozenset()
        self.hidden_token_id = model.config.hidden_token_id
        self.vocabulary = vocabulary_of(tokenizer, model.config.question_token_id)
        self.collator = Collator.of(model, config, runtime, "max_seq_length")
        self.model, self.unpads = runtime.prepare(self.collator.model), self.collator.unpads

    def collate(self, blocks: Blocks, row_ids: np.ndarray, draws: RowDraws, size: int | None = None) -> dict[str, Any]:
        """A batch with its questions: `[Q]` rows, columns, starts, ends of the answers. Where shapes are rounded,
        each row has places for as many as a full one may have, and those that are left over have no label.
        """
        import torch

        from models.splinter import visible_tokens

        width = self.collator.width(blocks.lengths[row_ids])
        arrays = blocks.padded(row_ids, self.tokenizer.pad_token_id, width)
        ids, mask = arrays["input_ids"], arrays["attention_mask"]
        selected = select_spans(ids, mask, self.vocabulary, self.spans, draws, self.left_out)
        visible = visible_tokens(selected.input_ids, selected.attention_mask, self.hidden_token_id)
        asked = {name: getattr(selected, name) for name in ("rows", "columns", "starts", "ends")}
        most = int(np.bincount(selected.rows).max(initial=0))  # here, where no device has to wait
        if self.collator.shapes != "exact":
            most = int(self.spans.questions_in(width))
            asked = filled_up(asked, size or len(row_ids), most)
        questions: dict[str, Any] = {name: torch.from_numpy(array) for name, array in asked.items()}
        starts_and_ends = 2 * len(selected.rows)
        arrays = {"input_ids": selected.input_ids, "attention_mask": visible}
        batch = self.collator.batch(arrays, size, starts_and_ends)
        return batch | {"questions": questions | {"most_questions": most}}

    def loss_of(self, model, batch: dict[str, Any]) -> Any:
        """Sum over the questions of the losses of start and end."""
        outputs = model(**batch["inputs"], **batch["questions"])
        return outputs.start_loss + outputs.end_loss

    def sums_of(self, model, batch: dict[str, Any]):
        """`[5]`: questions; losses of start and end; right starts, right ends, and both right."""
        import torch

        outputs = model(**batch["inputs"], **batch["questions"])
        loss = outputs.start_loss + outputs.end_loss
        right = (outputs.start_correct, outputs.end_correct, outputs.both_correct)
        asked = (batch["questions"]["starts"] != NO_LABEL).sum()
        return torch.stack([asked.float(), loss, *(count.float() for count in right)])

    def metrics_of(self, sums: np.ndarray) -> dict[str, float]:
        """Means over the questions; of the loss, over starts and ends, as in training."""
        loss, start_accuracy, end_accuracy, span_em = (sums[1:] / sums[0]).tolist()
        return {
            "loss": loss / 2,
            "start_accuracy": start_accuracy,
            "end_accuracy": end_accuracy,
            "span_em": span_em,
        }


def filled_up(asked: dict[str, np.ndarray], size: int, most: int) -> dict[str, np.ndarray]:
    """`[Q]` arrays of questions as `[size * most]`, so many in each row; those that are too many have no label."""
    counts = np.bincount(asked["rows"], minlength=size)
    number = np.arange(len(asked["rows"])) - np.repeat(np.cumsum(counts) - counts, counts)  # in its row
    filled = {"rows": np.repeat(np.arange(size), most)}
    for name, fill in (("columns", 0), ("starts", NO_LABEL), ("ends", NO_LABEL)):
        filled[name] = np.full(size * most, fill)
        filled[name][asked["rows"] * most + number] = asked[name]
    return filled


def pretrain(config: SplinterConfig, runtime, overwrite: bool) -> None:
    """From the corpora to checkpoints and results."""
    import torch

    check_for_overwriting(config)
    corpora, data = open_corpora(config)
    folder = config.folder
    tokenizer = tokenizer_of(config, runtime, folder, corpora, data)
    torch.manual_seed(config.seed)
    model = build_splinter_for(config, folder, tokenizer)
    objective = SplinterObjective(config, runtime, model, tokenizer)
    objective.left_out = ngrams_of_earlier_corpora(config, runtime, objective.vocabulary, data)

    pairs = zip(config.corpus, corpora, strict=True)
    blocks = {path: blocks_of(config, runtime, path, corpus, tokenizer) for path, corpus in pairs}
    parts = [with_questions(runtime, objective, path, rows) for path, rows in blocks.items()]
    parts, held_out = divide(config, runtime, parts)
    if config.ngrams_out and runtime.is_main and not config.dry_run:
        write_ngrams_of(config.ngrams_out, runtime, objective, Blocks.joined(parts))
    train_on(config, runtime, objective, parts, held_out, data, overwrite)


def build_splinter_for(config: SplinterConfig, folder: Path | None, tokenizer):
    """The model in `folder`, or a fresh one of the settings' sizes; with its tokenizer, it knows [QUESTION]."""
    from models.splinter import add_question_token, build_splinter, set_token_ids

    if config.add_question_token:
        add_question_token(tokenizer)
    model = fresh_model(config, tokenizer, build_splinter) if folder is None else build_splinter(folder)
    if config.add_question_token:
        add_question_token(tokenizer, model)
    # A model that was fine-tuned as KoSplinter's code does is asked by [QUESTION] all the same.
    set_token_ids(model, tokenizer, kosplinter_compat=False)
    return model


def vocabulary_of(tokenizer, question_id: int) -> SplinterVocabulary:
    """What finding spans has to know of the tokenizer. Raises ModelError where spans cannot be found in its tokens."""
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = tokenizer.all_special_ids
    try:
        return SplinterVocabulary.of_tokens(
            tokens, special, question_id, tokenizer.pad_token_id, tokenizer.unk_token_id
        )
    except ValueError as error:
        raise ModelError(f"{error}: take one of WordPiece or SentencePiece, or make one (train_vocab)") from error


# --------------------------------------------------------------------------------------------------------------------
# Which rows have questions, and which n-grams are asked for
# --------------------------------------------------------------------------------------------------------------------


def with_questions(runtime, objective: SplinterObjective, path: str, blocks: Blocks) -> Blocks:
    """The rows in which a span recurs, so that every row of an epoch teaches something; says how many others there are.

    Looked for once, before training: whether there is a cluster does not depend on what is drawn. Raises DataError
    where there is no such row.
    """
    share = range(runtime.process, math.ceil(len(blocks) / ROWS_AT_ONCE), runtime.processes)
    recurs = np.zeros(len(blocks), dtype=bool)
    for rows, ids, mask in looked_through(runtime, f"find recurring spans in {path}", objective, blocks, share):
        recurs[rows] = recurs_in(ids, mask, objective.vocabulary, objective.spans, objective.left_out)
    recurs = np.any(runtime.gather(recurs), axis=0)
    if not recurs.any():
        but = ", but for n-grams of earlier corpora (ngrams_in)" if objective.left_out else ""
        raise DataError(
            f"{path}: no span recurs in any of its {len(blocks):,} rows{but}, so there is nothing to ask for: give "
            "text of longer documents, or rows of more tokens (max_seq_length)"
        )
    if count := int(np.count_nonzero(~recurs)):
        runtime.say(f"{path}: rows skipped because no span recurs in them: {count:,}")
    # What is left out decides about questions in the other rows too, and so must be the same when a run is resumed.
    return blocks.where(recurs, hashlib.sha256(b"\n".join(sorted(objective.left_out))).hexdigest())


def looked_through(
    runtime, name: str, objective: SplinterObjective, blocks: Blocks, parts: range | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All rows, some at a time: their numbers `[B]`, token ids and attention mask `[B, L]`. Shows how far it is.

    parts: which times ROWS_AT_ONCE rows; by default all.
    """
    from training.progress import Progress

    parts = range(math.ceil(len(blocks) / ROWS_AT_ONCE)) if parts is None else parts
    progress = Progress(runtime, name, min(len(parts) * ROWS_AT_ONCE, len(blocks)), "row")
    for part in parts:
        rows = np.arange(part * ROWS_AT_ONCE, min((part + 1) * ROWS_AT_ONCE, len(blocks)))
        yield rows, *blocks.padded(rows, objective.tokenizer.pad_token_id).values()
        progress.advance(len(rows))
        progress.show_now_and_then()
    progress.close()


def ngrams_of_earlier_corpora(
    config: SplinterConfig, runtime, vocabulary: SplinterVocabulary, data: dict[str, str]
) -> frozenset[bytes]:
    """The n-grams of all files, as `select_spans` leaves them out; `data` gets the files' hashes.

    Raises DataError where a file cannot be read, and where it was written with another vocabulary.
    """
    left_out: frozenset[bytes] = frozenset()
    for path in config.ngrams_in or ():
        ngrams = read_ngrams(Path(path))
        keys = keys_of(ngrams, vocabulary)
        if ngrams and not keys:
            raise DataError(f"{path}: none of its {len(ngrams):,} n-grams is of this vocabulary's tokens")
        unknown = f"; of tokens that this vocabulary has not: {len(ngrams) - len(keys):,}" * (len(keys) < len(ngrams))
        runtime.say(f"{path}: n-grams that are not asked for again: {len(keys):,}{unknown}")
        data[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        left_out |= keys
    return left_out


def write_ngrams_of(path: str, runtime, objective: SplinterObjective, blocks: Blocks) -> None:
    """Writes the n-grams of the rows that are learned from, all that can be asked for in any epoch."""
    counts: Counter[str] = Counter()
    for _, ids, mask in looked_through(runtime, "count n-grams", objective, blocks):
        clusters = find_clusters(ids, mask, objective.vocabulary, objective.spans, objective.left_out)
        counts += count_ngrams(clusters, ids, objective.vocabulary)
    write_ngrams(Path(path), counts)
    runtime.say(f"{path}: n-grams that can be asked for, written with the number of their rows: {len(counts):,}")


def check_for_overwriting(config: SplinterConfig) -> None:
    """Raises DataError where `ngrams_out` names a file of something else."""
    if config.ngrams_out and Path(config.ngrams_out).exists():
        try:
            read_ngrams(Path(config.ngrams_out))
        except DataError as error:
            raise DataError(f"ngrams_out would overwrite a file that holds no n-grams: {error}") from error


if __name__ == "__main__":
    sys.exit(run_pretraining(__file__, __doc__, sys.argv[1:], SplinterConfig, (DataError, ModelError), pretrain))
