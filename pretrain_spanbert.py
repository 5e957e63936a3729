"""Pretrains a SpanBERT: spans of whole words are masked, then predicted in place and from the span's boundaries.

python3 pretrain_spanbert.py --config_file half.json --corpus kowiki.txt
python3 pretrain_spanbert.py --config_file half.json --corpus kowiki.txt news.jsonl.gz --corpus_weights 2 1
python3 pretrain_spanbert.py --config_file base.json --corpus kowiki/ --model_name_or_path klue/bert-base
python3 run_seq_cls.py --task nsmc --model_name_or_path ckpt/spanbert-half/checkpoint-<step> --pooling max
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
from typing import Any, Literal

import numpy as np
from pydantic import Field

from processors.features import NO_LABEL
from processors.pretraining.blocks import Blocks
from processors.pretraining.span_masking import SpanMasking, Vocabulary, mask_spans
from processors.pretraining.target_filling import fill_masked_tokens
from training.config import Contradiction, Given, without_effect
from training.row_random import RowDraws
from workflows.pretraining import (
    MakeBatch,
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
from workflows.script import open_device

# torch takes seconds to import: the functions that need it import it, so that --help and mistyped flags answer at once.

# The settings, besides the heads' forms, in which the paper and the Korean original differ; each checkpoint has them.
RECIPE = (
    *("span_law", "span_overrun", "mask_decision", "mask_once"),
    *("max_grad_norm", "lr_scheduler", "lower_case", "held_out_share"),
)


class SpanBertConfig(EncoderConfig):
    """SpanBERT"""

    task: Literal["spanbert"] = Field("spanbert", description="pretraining objective")
    masked_share: float = Field(0.15, gt=0, lt=0.5, description="share of the tokens to mask")
    span_law: Literal["geometric", "inverse"] = Field(
        "geometric",
        description="the probability of a span of n words is proportional to (1-p)^(n-1) (geometric), or to 1/n "
        "(inverse, as in the Korean original)",
    )
    span_p: float = Field(0.2, gt=0, lt=1, description="p of span_law geometric")
    longest_span: int = Field(10, ge=1, description="most words in a span")
    span_overrun: Literal["cut", "skip"] = Field(
        "cut",
        description="what happens to a span that exceeds masked_share: it is shortened, or skipped, as in the Korean "
        "original",
    )
    mask_decision: Literal["span", "token"] = Field(
        "span",
        description="whether [MASK], a random token or no change (80/10/10 %) is drawn once per span, or per token",
    )
    mask_once: bool = Field(
        False,
        description="mask each row in the same way in every epoch, as in the Korean original, instead of anew",
    )
    sbo: Literal["paper", "original"] | None = Field(
        None,
        description="form of the span boundary head: the paper's or the Korean original's; default: that of "
        "model_name_or_path, else paper",
    )
    mlm_head: Literal["bert", "tied"] | None = Field(
        None,
        description="what makes logits of the states: BERT's transform, the embeddings' matrix and a bias (bert), or "
        "the matrix alone, as in the Korean original (tied); default: that of model_name_or_path, else bert",
    )

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.span_law != "geometric":
            yield from without_effect(["span_p"], given, ("span_law",), f"on span_law {self.span_law}")

    @property
    def masking(self) -> SpanMasking:
        return SpanMasking(
            self.span_law, self.span_p, self.longest_span, self.masked_share, self.span_overrun, self.mask_decision
        )


def main(config: SpanBertConfig, overwrite: bool) -> None:
    """The whole run, from the corpora to checkpoints and results.

    overwrite: whether the results of an earlier run in the output folder are deleted.
    """
    from models.collator import Collator

    runtime = open_device(config)

    corpora, hashes = open_corpora(config)
    start = find_start(config)
    tokenizer = open_tokenizer(config, runtime, start, corpora, hashes)
    runtime.seed(config.seed)
    model = open_model(config, start, tokenizer)
    collator = Collator.of(model, config, runtime, "max_seq_length")
    model = runtime.prepare(collator.model)

    parts = tokenize_corpora(config, runtime, corpora, tokenizer)
    rows = hold_out_documents(config, runtime, parts)
    vocabulary = masking_vocabulary(tokenizer)
    make_batch = functools.partial(masked_batch, collator, tokenizer.pad_token_id, vocabulary, config.masking)
    if config.mask_once:
        make_batch = functools.partial(with_fixed_masks, make_batch, config.seed)
    score = held_out_scorer(config, runtime, model, make_batch, sums_of, metrics_of, rows.held_out)

    recorded = {"recipe": recipe_of(config, model)}
    job = pretraining_job(config, runtime, model, tokenizer, rows, hashes, make_batch, loss_of, score, recorded)
    train(job, rows, collator.unpads, overwrite)


def open_model(config: SpanBertConfig, start: Path | None, tokenizer):
    """The model in the folder `start`, or a fresh one of the sizes in the settings.

    Raises ModelError where the tokenizer has no [MASK], or more tokens than the model.
    """
    from models.spanbert import build_spanbert
    from models.vocabulary import check_for_masking

    if start is not None:
        model = build_spanbert(start, config.sbo, mlm_head=config.mlm_head)
        check_for_masking(tokenizer, model.config.vocab_size)
        return model
    check_for_masking(tokenizer)
    return fresh_model(config, tokenizer, lambda bert: build_spanbert(bert, config.sbo, mlm_head=config.mlm_head))


def masking_vocabulary(tokenizer) -> Vocabulary:
    """What masking needs to know about the tokenizer."""
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return Vocabulary.of_tokens(tokens, tokenizer.all_special_ids, tokenizer.mask_token_id, tokenizer.unk_token_id)


def masked_batch(
    collator,
    pad_id: int,
    vocabulary: Vocabulary,
    masking: SpanMasking,
    blocks: Blocks,
    row_ids: np.ndarray,
    draws: RowDraws,
    size: int | None,
) -> dict[str, Any]:
    """A batch of the blocks numbered `row_ids`, `[B]`, masked as `draws` say, for `training/plan.py`.

    Its "spans", each `[M]`, tell what is predicted: rows, columns, labels, boundaries, positions. Where shapes are
    rounded, M is a multiple of the most tokens that may be masked; the places left over have no label.
    size: rows of the batch where shapes are fixed.
    """
    import torch

    width = collator.width(blocks.lengths[row_ids])
    arrays = blocks.padded(row_ids, pad_id, width)
    masked = mask_spans(arrays["input_ids"], arrays["attention_mask"], vocabulary, masking, draws)
    spans = {name: array for name, array in vars(masked).items() if name != "input_ids"}
    if collator.shapes != "exact":
        tokens = collator.tokens(arrays["attention_mask"], size)
        spans = fill_masked_tokens(spans, math.ceil(masking.budget * tokens) + (size or len(row_ids)))
    terms = max(1, len(masked.labels))
    batch = collator.batch(arrays | {"input_ids": masked.input_ids}, size, terms)
    return batch | {"spans": {name: torch.from_numpy(array) for name, array in spans.items()}}


def with_fixed_masks(
    make_batch: MakeBatch, seed: int, blocks: Blocks, row_ids: np.ndarray, draws: RowDraws, size: int | None
) -> dict[str, Any]:
    """A batch of `make_batch` whose masks depend on `seed` and the rows alone, and not on the epoch's `draws`."""
    return make_batch(blocks, row_ids, RowDraws([seed], row_ids), size)


def recipe_of(config: SpanBertConfig, model) -> dict[str, Any]:
    """The settings in which recipes differ, for the checkpoints. The heads' forms are those that `model` has."""
    heads = {name: getattr(model.config, name) for name in ("sbo", "mlm_head")}
    return {key: getattr(config, key) for key in RECIPE} | heads


def loss_of(model, batch: dict[str, Any]) -> Any:
    """Sum over the masked tokens of the losses of both heads: masked language model and span boundary objective."""
    outputs = model(**batch["inputs"], **batch["spans"])
    return outputs.mlm_loss + outputs.sbo_loss


def sums_of(model, batch: dict[str, Any]):
    """`[5]`: number of masked tokens; the loss of each head; how many of the tokens each head predicts."""
    import torch

    outputs = model(**batch["inputs"], **batch["spans"])
    masked = (batch["spans"]["labels"] != NO_LABEL).sum()
    sums = [masked, outputs.mlm_loss, outputs.sbo_loss, outputs.mlm_correct, outputs.sbo_correct]
    return torch.stack([one.float() for one in sums])


def metrics_of(sums: np.ndarray) -> dict[str, float]:
    """Means over the masked tokens. sums: `sums_of`, added up over all batches."""
    mlm_loss, sbo_loss, mlm_accuracy, sbo_accuracy = (sums[1:] / max(1.0, sums[0])).tolist()
    return {
        "loss": mlm_loss + sbo_loss,
        "mlm_loss": mlm_loss,
        "sbo_loss": sbo_loss,
        "mlm_accuracy": mlm_accuracy,
        "sbo_accuracy": sbo_accuracy,
    }


if __name__ == "__main__":
    sys.exit(run_pretraining(__file__, __doc__, sys.argv[1:], SpanBertConfig, main))
