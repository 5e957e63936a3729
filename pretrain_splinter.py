"""Pretrains a Splinter: in each group of identical spans one is kept as the answer; [QUESTION] replaces the others.

What is hidden behind a [QUESTION] takes no position, so that no gap tells how long the answer is.

python3 pretrain_splinter.py --config_file base.json --corpus kowiki.txt
python3 pretrain_splinter.py --config_file base.json --corpus kowiki/ --tokenizer kosplinter/ --processes 8
python3 pretrain_splinter.py --config_file base.json --corpus kowiki/ --model_name_or_path klue/bert-base
python3 pretrain_splinter.py --config_file base.json --corpus kowiki.txt --ngrams_out kowiki.tsv
python3 pretrain_splinter.py --config_file base.json --corpus news.txt --ngrams_in kowiki.tsv --output_dir news \\
    --model_name_or_path ckpt/splinter-base/checkpoint-<step>
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from workflows.startup import start

    start()

import functools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from processors.features import NO_LABEL
from processors.pretraining.blocks import Blocks
from processors.pretraining.recurring_spans import RecurringSpans, select_spans
from processors.pretraining.target_filling import fill_masked_tokens, fill_questions
from processors.pretraining.token_masking import TokenMasking, mask_tokens
from training.config import Contradiction, Given, without_effect
from training.row_random import RowDraws
from workflows.pretraining import (
    find_start,
    fresh_model,
    held_out_scorer,
    hold_out_documents,
    open_corpora,
    open_tokenizer,
    pretraining_job,
    run_pretraining,
    tokenize_corpora,
    train,
)
from workflows.pretraining_settings import EncoderConfig
from workflows.recurring_questions import (
    QuestionRules,
    check_ngrams_out,
    read_earlier_ngrams,
    rows_with_questions,
    splinter_vocabulary,
    write_ngrams_of,
)
from workflows.script import open_device
from workflows.splinter_positions import SHOWN, warn_of_other_positions

# torch takes seconds to import: the functions that need it import it, so that --help and mistyped flags answer at once.

# Metric -> the least and the most tokens of the answers that it is about: long ones are harder to find.
ANSWER_LENGTHS = {"span_em_1": (1, 1), "span_em_2_to_3": (2, 3), "span_em_4_or_more": (4, math.inf)}


class SplinterConfig(EncoderConfig):
    """Splinter"""

    # The content of the files is compared when a run is resumed, not where they are.
    MAY_CHANGE_ON_RESUME: ClassVar[frozenset[str]] = EncoderConfig.MAY_CHANGE_ON_RESUME | {
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
    mlm: bool = Field(
        False,
        description="joint objective: also mask single tokens and predict them; a row's questions and masked tokens "
        "together are question_budget of its tokens",
    )
    most_predictions: int = Field(
        80, ge=1, description="with mlm: most questions and masked tokens together in a row, whatever its length"
    )
    add_question_token: bool = Field(False, description="add [QUESTION] to a vocabulary that lacks it")
    qass_from_mlm: bool = Field(
        False,
        description="begin with the transform of model_name_or_path's MLM head in each of the span selection head's "
        "four, and with a multiple of the identity in its two matrices; false: at random, as in the original",
    )
    ngrams_in: list[str] | None = Field(
        None,
        description="n-gram files that ngrams_out or Splinter's own code wrote for earlier corpora; these n-grams "
        "are not asked for again",
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
        if self.qass_from_mlm and not self.model_name_or_path:
            message = "qass_from_mlm begins with the MLM head of model_name_or_path, and none is given"
            yield Contradiction(("qass_from_mlm", "model_name_or_path"), message)
        if not self.mlm:
            yield from without_effect(["most_predictions"], given, ("mlm",), "without mlm")

    @property
    def recurring_spans(self) -> RecurringSpans:
        most = min(self.most_questions, self.most_predictions) if self.mlm else self.most_questions
        return RecurringSpans(self.longest_span, self.first_member_only, self.question_budget, most)


def main(config: SplinterConfig, overwrite: bool) -> None:
    """The whole run, from the corpora to checkpoints and results.

    overwrite: whether the results of an earlier run in the output folder are deleted.
    """
    from models.collator import Collator

    runtime = open_device(config)
    check_ngrams_out(config.ngrams_out)

    corpora, hashes = open_corpora(config)
    start = find_start(config)
    tokenizer = open_tokenizer(config, runtime, start, corpora, hashes)
    runtime.seed(config.seed)
    if start is not None:
        warn_of_other_positions(runtime, start)
    model = open_model(config, start, tokenizer)
    vocabulary = splinter_vocabulary(tokenizer, model.config.question_token_id)
    collator = Collator.of(model, config, runtime, "max_seq_length")
    model = runtime.prepare(collator.model)

    left_out, ngram_hashes = read_earlier_ngrams(config.ngrams_in or (), vocabulary, runtime.say)
    rules = QuestionRules(vocabulary, config.recurring_spans, left_out)
    parts = tokenize_corpora(config, runtime, corpora, tokenizer)
    parts = rows_with_questions(runtime, config.corpus, parts, rules)
    rows = hold_out_documents(config, runtime, parts)
    if config.ngrams_out and runtime.is_main and not config.dry_run:
        write_ngrams_of(config.ngrams_out, runtime, rows.training, rules)
    masking = token_masking(config, tokenizer, model.config) if config.mlm else None
    make_batch = functools.partial(question_batch, collator, rules, masking)
    score = held_out_scorer(config, runtime, model, make_batch, sums_of, metrics_of, rows.held_out)

    hashes |= ngram_hashes
    loss = joint_loss_of if config.mlm else loss_of
    job = pretraining_job(
        config, runtime, model, tokenizer, rows, hashes, make_batch, loss, score, SHOWN, SHOWN, config.mlm
    )
    train(job, rows, collator.unpads, overwrite)


def open_model(config: SplinterConfig, start: Path | None, tokenizer):
    """The model in the folder `start`, or a fresh one of the sizes in the settings. The tokenizer gets [QUESTION] too.

    Raises ModelError where the vocabulary has no [QUESTION] and none is to be added.
    """
    from models.splinter import build_splinter
    from models.splinter_tokens import add_question_token, set_token_ids

    build = functools.partial(build_splinter, mlm=config.mlm, qass_from_mlm=config.qass_from_mlm)
    if config.add_question_token:
        add_question_token(tokenizer)
    model = fresh_model(config, tokenizer, build) if start is None else build(start)
    if config.add_question_token:
        add_question_token(tokenizer, model)
    # Pretraining asks with [QUESTION], even if the model was fine-tuned the way KoSplinter's code does it.
    set_token_ids(model, tokenizer, kosplinter_compat=False)
    return model


def token_masking(config: SplinterConfig, tokenizer, model_config) -> TokenMasking:
    """What masking needs to know for the joint objective. model_config: configuration of the model.

    Raises ModelError where the tokenizer has no [MASK].
    """
    from models.vocabulary import check_for_masking

    check_for_masking(tokenizer, model_config.vocab_size)
    return TokenMasking.of_tokens(
        len(tokenizer),
        tokenizer.all_special_ids,
        model_config.question_token_id,
        tokenizer.mask_token_id,
        config.question_budget,
        config.most_predictions,
    )


def question_batch(
    collator,
    rules: QuestionRules,
    masking: TokenMasking | None,
    blocks: Blocks,
    row_ids: np.ndarray,
    draws: RowDraws,
    size: int | None,
) -> dict[str, Any]:
    """A batch of the blocks numbered `row_ids`, `[B]`, with the questions that `draws` selects, for `training/plan.py`.

    Its "questions", each `[Q]`, are rows, columns, and starts and ends of the answers. Where shapes are rounded, each
    row has places for as many questions as a full row may have; the places left over have no label. The same holds for
    its "masked", each `[M]`, which is there with `masking`: rows, columns and labels of the masked tokens.
    size: rows of the batch where shapes are fixed.
    """
    import torch

    from models.positions import positions_among_visible

    width = collator.width(blocks.lengths[row_ids])
    ids, mask = blocks.padded(row_ids, rules.vocabulary.pad_id, width).values()
    selected = select_spans(ids, mask, rules.vocabulary, rules.spans, draws, rules.left_out)
    visible = selected.attention_mask
    asked = {name: getattr(selected, name) for name in ("rows", "columns", "starts", "ends")}
    most = int(np.bincount(selected.rows).max(initial=0))  # on the CPU, so that no device has to wait
    if collator.shapes != "exact":
        most = int(rules.spans.questions_in(width))
        asked = fill_questions(asked, size or len(row_ids), most)
    questions: dict[str, Any] = {name: torch.from_numpy(array) for name, array in asked.items()}
    arrays = {"input_ids": selected.input_ids, "attention_mask": visible}
    arrays["position_ids"] = positions_among_visible(visible)
    targets = {"questions": questions | {"most_questions": most}}
    if masking is not None:
        masks = masking.predictions_in(blocks.lengths[row_ids]) - np.bincount(selected.rows, minlength=len(row_ids))
        masked = mask_tokens(selected.input_ids, visible, masks, masking, draws)
        arrays["input_ids"] = masked.input_ids
        places = {name: getattr(masked, name) for name in ("rows", "columns", "labels")}
        if collator.shapes != "exact":
            places = fill_masked_tokens(places, (size or len(row_ids)) * int(masking.predictions_in(width)))
        targets["masked"] = {f"masked_{name}": torch.from_numpy(array) for name, array in places.items()}
        targets["second_terms"] = len(masked.labels)
    return collator.batch(arrays, size, terms=2 * len(selected.rows)) | targets


def loss_of(model, batch: dict[str, Any]) -> Any:
    """Sum over the questions of the losses of start and end."""
    outputs = model(**batch["inputs"], **batch["questions"])
    return outputs.start_loss + outputs.end_loss


def joint_loss_of(model, batch: dict[str, Any]) -> Any:
    """`loss_of`, and the sum over the masked tokens, weighted so that the means of both are added up in a step.

    The original adds these two means, of 32 rows each, and takes the mean of that over the rows of a step.
    """
    outputs = model(**batch["inputs"], **batch["questions"], **batch["masked"])
    return outputs.start_loss + outputs.end_loss + batch["second_weight"] * outputs.mlm_loss


def sums_of(model, batch: dict[str, Any]):
    """`[11]`: number of questions; loss of starts and ends; how many starts, ends, and pairs of both are right; then,
    for each class of `ANSWER_LENGTHS`, the number of questions and how many pairs are right.

    With masked tokens, `[14]`: also their number, their loss, and how many of them are predicted.
    """
    import torch

    masked, starts, ends = batch.get("masked", {}), batch["questions"]["starts"], batch["questions"]["ends"]
    outputs = model(**batch["inputs"], **batch["questions"], **masked)
    asked, right = starts != NO_LABEL, outputs.right_starts & outputs.right_ends
    sums = [asked.sum(), outputs.start_loss + outputs.end_loss]
    sums += [outputs.right_starts.sum(), outputs.right_ends.sum(), right.sum()]
    lengths = ends - starts + 1
    for shortest, longest in ANSWER_LENGTHS.values():
        of_class = asked & (lengths >= shortest) & (lengths <= longest)
        sums += [of_class.sum(), (of_class & right).sum()]
    if masked:
        sums += [(masked["masked_labels"] != NO_LABEL).sum(), outputs.mlm_loss, outputs.mlm_correct]
    return torch.stack([one.float() for one in sums])


def metrics_of(sums: np.ndarray) -> dict[str, float]:
    """Means over the questions, and over the masked tokens if there are any; the loss is that of training.

    A class of `ANSWER_LENGTHS` without a question has no metric.
    sums: `sums_of`, added up over all batches.
    """
    of_all, of_classes, of_masked = np.split(sums, [5, 5 + 2 * len(ANSWER_LENGTHS)])
    loss, start_accuracy, end_accuracy, span_em = (of_all[1:] / of_all[0]).tolist()
    metrics = {"loss": loss / 2, "start_accuracy": start_accuracy, "end_accuracy": end_accuracy, "span_em": span_em}
    for name, (asked, right) in zip(ANSWER_LENGTHS, of_classes.reshape(-1, 2).tolist(), strict=True):
        metrics |= {name: right / asked} if asked else {}
    if len(of_masked):
        mlm_loss, mlm_accuracy = (of_masked[1:] / max(1.0, of_masked[0])).tolist()
        metrics |= {"loss": loss / 2 + mlm_loss, "span_loss": loss / 2}
        metrics |= {"mlm_loss": mlm_loss, "mlm_accuracy": mlm_accuracy}
    return metrics


if __name__ == "__main__":
    sys.exit(run_pretraining(__file__, __doc__, sys.argv[1:], SplinterConfig, main))
