"""Pretrains a SpanBERT: spans of whole words are masked, and predicted from their places and their boundaries.

python3 pretrain_spanbert.py --config_file half.json --corpus kowiki.txt
python3 pretrain_spanbert.py --config_file half.json --corpus kowiki.txt news.jsonl.gz --corpus_weights 2 1
python3 pretrain_spanbert.py --config_file base.json --corpus kowiki/ --model_name_or_path klue/bert-base
python3 run_seq_cls.py --task nsmc --model_name_or_path ckpt/spanbert-half/checkpoint-<step> --pooling max
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

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
from processors.pretraining.span_masking import SpanMasking, Vocabulary, mask_spans
from processors.task import DataError
from training.config import Contradiction, Given, without_effect
from training.pretraining import run_pretraining
from training.row_random import RowDraws

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.


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
    sbo: Literal["paper", "original"] | None = Field(
        None,
        description="form of the span boundary head: the paper's or the Korean original's; default: that of "
        "model_name_or_path, else paper",
    )

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        if self.span_law != "geometric":
            yield from without_effect(["span_p"], given, ("span_law",), f"on span_law {self.span_law}")

    @property
    def masking(self) -> SpanMasking:
        return SpanMasking(
            self.span_law, self.span_p, self.longest_span, self.masked_share, self.span_overrun, self.mask_decision
        )


class SpanBertObjective:
    """The model and its tokenizer; masks blocks and scores what is predicted for them."""

    def __init__(self, config: SpanBertConfig, runtime, model, tokenizer):
        from models.collator import Collator

        self.tokenizer, self.masking = tokenizer, config.masking
        self.collator = Collator.of(model, config, runtime, "max_seq_length")
        self.model, self.unpads = runtime.prepare(self.collator.model), self.collator.unpads
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        self.vocabulary = Vocabulary.of_tokens(
            tokens, tokenizer.all_special_ids, tokenizer.mask_token_id, tokenizer.unk_token_id
        )

    def collate(self, blocks: Blocks, row_ids: np.ndarray, draws: RowDraws, size: int | None = None) -> dict[str, Any]:
        """A batch with its masked tokens: `[M]` rows, columns, labels, boundaries, positions.

        Where shapes are rounded, M is the most that may be masked of so many tokens, or a multiple of it, and places
        that are left over have no label.
        """
        import torch

        width = self.collator.width(blocks.lengths[row_ids])
        arrays = blocks.padded(row_ids, self.tokenizer.pad_token_id, width)
        masked = mask_spans(arrays["input_ids"], arrays["attention_mask"], self.vocabulary, self.masking, draws)
        spans = {name: array for name, array in vars(masked).items() if name != "input_ids"}
        if self.collator.shapes != "exact":
            tokens = self.collator.tokens(arrays["attention_mask"], size)
            spans = filled_up(spans, math.ceil(self.masking.budget * tokens) + (size or len(row_ids)))
        terms = max(1, len(masked.labels))
        batch = self.collator.batch(arrays | {"input_ids": masked.input_ids}, size, terms)
        return batch | {"spans": {name: torch.from_numpy(array) for name, array in spans.items()}}

    def loss_of(self, model, batch: dict[str, Any]) -> Any:
        """Sum over the masked tokens of the losses of both heads."""
        outputs = model(**batch["inputs"], **batch["spans"])
        return outputs.mlm_loss + outputs.sbo_loss

    def sums_of(self, model, batch: dict[str, Any]):
        """`[5]`: masked tokens; losses of both heads; how many of the tokens each predicts."""
        import torch

        outputs = model(**batch["inputs"], **batch["spans"])
        masked = (batch["spans"]["labels"] != NO_LABEL).sum()
        sums = [masked, outputs.mlm_loss, outputs.sbo_loss, outputs.mlm_correct, outputs.sbo_correct]
        return torch.stack([one.float() for one in sums])

    def metrics_of(self, sums: np.ndarray) -> dict[str, float]:
        """Means over the masked tokens."""
        mlm_loss, sbo_loss, mlm_accuracy, sbo_accuracy = (sums[1:] / max(1.0, sums[0])).tolist()
        return {
            "loss": mlm_loss + sbo_loss,
            "mlm_loss": mlm_loss,
            "sbo_loss": sbo_loss,
            "mlm_accuracy": mlm_accuracy,
            "sbo_accuracy": sbo_accuracy,
        }


def filled_up(spans: dict[str, np.ndarray], least: int) -> dict[str, np.ndarray]:
    """`[M]` arrays of masked tokens with others behind them that have no label, so that M is a multiple of `least`."""
    masked = len(spans["labels"])
    missing = max(1, math.ceil(masked / least)) * least - masked
    fill = {"labels": NO_LABEL, "positions": 1}
    return {name: np.pad(array, (0, missing), constant_values=fill.get(name, 0)) for name, array in spans.items()}


def pretrain(config: SpanBertConfig, runtime, overwrite: bool) -> None:
    """From the corpora to checkpoints and results."""
    import torch

    corpora, data = open_corpora(config)
    folder = config.folder
    tokenizer = tokenizer_of(config, runtime, folder, corpora, data)
    torch.manual_seed(config.seed)
    model = build_spanbert_for(config, folder, tokenizer)
    objective = SpanBertObjective(config, runtime, model, tokenizer)
    pairs = zip(config.corpus, corpora, strict=True)
    parts = [blocks_of(config, runtime, path, corpus, tokenizer) for path, corpus in pairs]
    parts, held_out = divide(config, runtime, parts)
    train_on(config, runtime, objective, parts, held_out, data, overwrite)


def build_spanbert_for(config: SpanBertConfig, folder: Path | None, tokenizer):
    """The model in `folder`, or a fresh one of the settings' sizes for this tokenizer."""
    from models.spanbert import build_spanbert
    from models.vocabulary import check_for_masking

    if folder is not None:
        model = build_spanbert(folder, config.sbo)
        check_for_masking(tokenizer, model.config.vocab_size)
        return model
    check_for_masking(tokenizer)
    return fresh_model(config, tokenizer, lambda bert: build_spanbert(bert, config.sbo))


if __name__ == "__main__":
    sys.exit(run_pretraining(__file__, __doc__, sys.argv[1:], SpanBertConfig, (DataError, ModelError), pretrain))
