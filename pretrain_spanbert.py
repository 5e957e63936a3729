"""Pretrains a SpanBERT: spans of whole words are masked, and predicted from their places and their boundaries.

python3 pretrain_spanbert.py --config_file half.json --corpus kowiki.txt
python3 pretrain_spanbert.py --config_file half.json --corpus kowiki.txt news.jsonl.gz --corpus_weights 2 1
python3 pretrain_spanbert.py --config_file base.json --corpus kowiki/ --model_name_or_path klue/bert-base
python3 run_seq_cls.py --task nsmc --model_name_or_path ckpt/spanbert-half/checkpoint-<step> --pooling max
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from models import MODELS, ModelError, build_tokenizer, find_model
from processors.blocks import Blocks, hold_out
from processors.corpus import build_blocks
from processors.corpus_readers import Corpus, open_corpus
from processors.features import warn_of_unknown
from processors.span_masking import SpanMasking, Vocabulary, mask_spans
from processors.task import DataError
from training.config import is_typed
from training.pretraining import Passes, PretrainingConfig, run_pretraining, train

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.

SILENT = ("characters", "unknown_tokens")  # counts that the screen need not show
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


class SpanBertConfig(PretrainingConfig):
    """SpanBERT"""

    task: Literal["spanbert"] = Field("spanbert", description="the objective")
    model_name_or_path: str | None = Field(None, description="hub id or local folder of a BERT to go on from")
    hidden_size: int = Field(768, ge=1, description="width of a fresh model")
    num_hidden_layers: int = Field(12, ge=1, description="layers of a fresh model")
    num_attention_heads: int = Field(12, ge=1, description="heads of a fresh model")
    intermediate_size: int = Field(3072, ge=1, description="width of a fresh model's feed-forward layers")
    no_unpad: bool = Field(False, description="run the encoder on padded rows")
    masked_share: float = Field(0.15, gt=0, lt=0.5, description="share of the tokens that are masked")
    span_law: Literal["geometric", "inverse"] = Field(
        "geometric", description="of a span's length n: (1 - p)^(n - 1), or 1/n as the Korean original"
    )
    span_p: float = Field(0.2, gt=0, lt=1, description="p of the geometric law")
    longest_span: int = Field(10, ge=1, description="words of the longest span")
    span_overrun: Literal["cut", "skip"] = Field(
        "cut", description="what becomes of a span beyond masked_share; skip: as the Korean original"
    )
    mask_decision: Literal["span", "token"] = Field(
        "span", description="[MASK], another token or the same (80/10/10) is drawn for a span, or for each token"
    )
    sbo: Literal["paper", "original"] | None = Field(
        None, description="form of the span boundary head; default: that of the model gone on from, else the paper's"
    )

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        if not (self.model_name_or_path or self.tokenizer or self.train_vocab):
            yield "no vocabulary: set train_vocab (one is made), tokenizer (one that there is) or model_name_or_path"
        if self.model_name_or_path:
            idle = [key for key in (*SIZES, "tokenizer", "train_vocab") if is_typed(key, given)]
            yield from (f"--{key} has no effect on the model that model_name_or_path names" for key in idle)
            if is_typed("lower_case", given) and self.lower_case:
                yield "--lower_case has no effect: the tokenizer of the model treats capital letters in its own way"
        elif self.hidden_size % self.num_attention_heads:
            yield f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
        if is_typed("span_p", given) and self.span_law != "geometric":
            yield f"--span_p has no effect on span_law {self.span_law}"

    @property
    def lower_cases_texts(self) -> bool:
        """Whether texts are lower-cased: not for a tokenizer that is there already, and would not do so afterwards."""
        is_there = self.model_name_or_path or (self.tokenizer and not Path(self.tokenizer).is_file())
        return self.lower_case and not is_there

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
        self.collator = Collator(model, config.no_unpad, config.max_seq_length, "max_seq_length")
        self.model, self.unpads = runtime.prepare(self.collator.model), self.collator.unpads
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        self.vocabulary = Vocabulary.of_tokens(
            tokens, tokenizer.all_special_ids, tokenizer.mask_token_id, tokenizer.unk_token_id
        )

    def collate(self, blocks: Blocks, row_ids: np.ndarray, draws: np.random.Generator) -> dict[str, Any]:
        """A batch with its masked tokens: `[M]` rows, columns, labels, boundaries, positions."""
        import torch

        arrays = blocks.padded(row_ids, self.tokenizer.pad_token_id)
        masked = mask_spans(arrays["input_ids"], arrays["attention_mask"], self.vocabulary, self.masking, draws)
        spans = {name: torch.from_numpy(array) for name, array in vars(masked).items() if name != "input_ids"}
        return self.collator.batch(arrays | {"input_ids": masked.input_ids}) | {"spans": spans}

    def loss_of(self, model, batch: dict[str, Any]) -> tuple[Any, int]:
        """Sum over the masked tokens of the losses of both heads, and the number of these tokens."""
        outputs = model(**batch["inputs"], **batch["spans"])
        return outputs.mlm_loss + outputs.sbo_loss, max(1, outputs.masked)

    def sums_of(self, model, batch: dict[str, Any]):
        """`[5]`: masked tokens; losses of both heads; how many of the tokens each predicts."""
        import torch

        outputs = model(**batch["inputs"], **batch["spans"])
        masked = torch.full_like(outputs.mlm_loss, outputs.masked)
        return torch.stack(
            [masked, outputs.mlm_loss, outputs.sbo_loss, outputs.mlm_correct.float(), outputs.sbo_correct.float()]
        )

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


def pretrain(config: SpanBertConfig, runtime, overwrite: bool) -> None:
    """From the corpora to checkpoints and results."""
    import torch

    how = config.text_field, config.documents, config.encoding, config.skip_bad_rows, config.lower_cases_texts
    corpora = [open_corpus([Path(path)], *how) for path in config.corpus]
    data = {str(file): sha256 for corpus in corpora for file, sha256 in corpus.hashes.items()}
    folder = find_model(None, config.model_name_or_path) if config.model_name_or_path else None
    tokenizer = tokenizer_of(config, runtime, folder, corpora, data)
    torch.manual_seed(config.seed)
    model = build_spanbert_for(config, folder, tokenizer)
    objective = SpanBertObjective(config, runtime, model, tokenizer)

    parts = [
        blocks_of(config, runtime, path, corpus, tokenizer) for path, corpus in zip(config.corpus, corpora, strict=True)
    ]
    held_out = None
    if config.held_out_share:
        parts, held_out = hold_out(parts, config.held_out_share)
        runtime.say(f"held out: {len(held_out)} rows")
    passes = Passes([len(part) for part in parts], config.corpus_weights or [1.0] * len(parts))
    train(config, runtime, objective, Blocks.joined(parts), passes, held_out, data, overwrite)


def tokenizer_of(
    config: SpanBertConfig, runtime, folder: Path | None, corpora: Sequence[Corpus], data: Mapping[str, str]
):
    """The tokenizer of the model to go on from, the one that is named, or one that is made and kept in the cache."""
    from models.vocabulary import sentencepiece_tokenizer, train_sentencepiece, train_wordpiece

    if folder is not None or config.tokenizer:
        if folder is None and Path(config.tokenizer).is_file():
            return sentencepiece_tokenizer(Path(config.tokenizer).read_bytes(), config.lower_case)
        known = config.tokenizer if folder is None and config.tokenizer in MODELS else None
        return build_tokenizer(known, folder or (find_model(known, None) if known else Path(config.tokenizer)))
    settings = [config.train_vocab, config.vocab_size, config.lower_case, config.seed, config.documents]
    content = repr([*settings, config.text_field, config.encoding, config.skip_bad_rows, sorted(data.values())])
    target = Path(config.cache_dir) / f"vocabulary-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
    if not target.is_dir():
        runtime.say(f"making a {config.train_vocab} vocabulary of {config.vocab_size} tokens")
        lines = itertools.chain.from_iterable(corpus.lines() for corpus in corpora)
        make = {"sentencepiece": train_sentencepiece, "wordpiece": train_wordpiece}[config.train_vocab]
        make(lines, target, config.vocab_size, config.lower_case, seed=config.seed)
    try:
        return build_tokenizer(None, target)
    except ModelError as error:
        raise ModelError(f"{error}; without {target} it is made again") from error


def build_spanbert_for(config: SpanBertConfig, folder: Path | None, tokenizer):
    """The model in `folder`, or a fresh one of the settings' sizes for this tokenizer."""
    from transformers import BertConfig

    from models.spanbert import build_spanbert
    from models.vocabulary import check_for_masking

    if folder is not None:
        model = build_spanbert(folder, config.sbo)
        check_for_masking(tokenizer, model.config.vocab_size)
        return model
    check_for_masking(tokenizer)
    sizes = {key: getattr(config, key) for key in SIZES}
    sizes |= {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    return build_spanbert(BertConfig(max_position_embeddings=max(512, config.max_seq_length), **sizes), config.sbo)


def blocks_of(config: SpanBertConfig, runtime, path: str, corpus: Corpus, tokenizer) -> Blocks:
    """The token blocks of a corpus, and what there is to know about them on the screen."""
    from training.progress import Progress

    progress: Progress | None = None

    def show(done: int, characters: int) -> None:
        nonlocal progress
        progress = progress or Progress(runtime, f"tokenize {path}", characters, "character")
        progress.advance(done - progress.done)
        progress.show_now_and_then()

    blocks = build_blocks(corpus, tokenizer, Path(config.cache_dir), config.max_seq_length, config.processes, show)
    if progress is not None:
        progress.close()
    counts = dict(blocks.counts)
    documents, tokens = counts.pop("documents"), counts.pop("tokens")
    notes = [f"{what.replace('_', ' ')}: {count:,}" for what, count in counts.items() if count and what not in SILENT]
    runtime.say(
        f"{path}: {corpus.describe()}; {documents:,} documents, {tokens:,} tokens, {len(blocks):,} rows of "
        f"{blocks.lengths.mean():.1f}" + "".join(f"; {note}" for note in notes)
    )
    warn_of_unknown(path, blocks.unknown_share, tokenizer.unk_token, True, runtime.say)
    return blocks


if __name__ == "__main__":
    sys.exit(run_pretraining(__file__, __doc__, sys.argv[1:], SpanBertConfig, (DataError, ModelError), pretrain))
