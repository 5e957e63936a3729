"""The settings that both pretraining scripts share; each script adds those of its own objective."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from storage.names import on_disk
from training.config import (
    Contradiction,
    Given,
    LoopConfig,
    OutputConfig,
    RuntimeConfig,
    Section,
    is_typed,
    without_effect,
)
from workflows.settings import HANBERT_LIBRARY

SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


class CorpusConfig(Section):
    """Corpus"""

    corpus: list[str] = Field(
        description="files or folders of files: plain text, wikiextractor output, JSON lines or the Korean SpanBERT's "
        "kowiki.csv; each may be compressed (.gz)"
    )
    corpus_weights: list[float] | None = Field(
        None, description="passes over each corpus in an epoch, one number per corpus; default: 1 each"
    )
    documents: Literal["auto", "blank_lines", "lines"] = Field(
        "auto",
        description="what ends a document in plain text; auto: blank lines, or every line if there are no blank lines",
    )
    text_field: str = Field("text", description="field of a JSON line, or column of kowiki.csv, that holds the text")
    encoding: Literal["utf-8", "cp949"] = Field("utf-8", description="encoding of the files")
    lower_case: bool | Literal["corpus"] = Field(
        False,
        description="lower-case the texts, and have a new tokenizer do so; corpus: lower-case the texts of the corpus "
        "alone, as the Korean SpanBERT did, so that capital letters in later texts are unknown to a new vocabulary",
    )
    skip_bad_rows: bool = Field(False, description="skip malformed lines and count them, instead of stopping")
    held_out_share: float = Field(
        0.01, ge=0, lt=1, description="share of the documents that is not trained on but scored; 0: none"
    )
    max_seq_length: int = Field(512, ge=8, description="tokens per row, special tokens included")
    processes: int = Field(1, ge=1, description="number of processes that tokenize")
    cache_dir: str = Field(
        "cache",
        description="folder where tokenized data and vocabularies are kept; they are reused only for the same content",
    )

    @property
    def tokenizer_lower_cases(self) -> bool:
        """Whether a new tokenizer lower-cases every text that it gets."""
        return self.lower_case is True

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        weights = self.corpus_weights
        if weights is not None and len(weights) != len(self.corpus):
            message = f"corpus_weights has {len(weights)} numbers for {len(self.corpus)} corpora: give one for each"
            yield Contradiction(("corpus_weights", "corpus"), message)
        elif weights is not None and min(weights) <= 0:
            yield Contradiction(("corpus_weights",), "corpus_weights must be above 0")
        if self.held_out_share == 0:
            why = "without held-out documents to score (held_out_share is 0)"
            yield from without_effect(["eval_steps"], given, ("held_out_share",), why)


class VocabularyConfig(Section):
    """Vocabulary"""

    tokenizer: str | None = Field(
        None,
        description="known model, folder, or SentencePiece BPE model (.model); default: the tokenizer of "
        "model_name_or_path",
    )
    train_vocab: Literal["sentencepiece", "wordpiece"] | None = Field(
        None, description="make a new vocabulary from the corpus"
    )
    vocab_size: int = Field(8000, ge=1, description="tokens of a new vocabulary, special tokens not counted")
    hanbert_library: str | None = Field(None, description=HANBERT_LIBRARY)

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        # A typed tokenizer is taken instead of the vocabulary that a file would have made.
        if self.train_vocab and self.tokenizer and is_typed("tokenizer", given) <= is_typed("train_vocab", given):
            message = "train_vocab makes a new vocabulary and tokenizer names an existing one: give one of them"
            yield Contradiction(("train_vocab", "tokenizer"), message)
        if (
            self.tokenizer
            and is_typed("lower_case", given)
            and self.tokenizer_lower_cases
            and Path(self.tokenizer).is_dir()
        ):
            why = f"the tokenizer in {self.tokenizer} treats capital letters in its own way"
            yield Contradiction(("lower_case", "tokenizer"), f"--lower_case has no effect: {why}")
        if not self.train_vocab:
            yield from without_effect(["vocab_size"], given, ("train_vocab",), "without train_vocab")


class PretrainingConfig(CorpusConfig, VocabularyConfig, LoopConfig):
    """Pretraining"""

    # Settings that may change on resume, besides paths: the content of the rows is compared.
    MAY_CHANGE_ON_RESUME: ClassVar[frozenset[str]] = frozenset(
        "corpus cache_dir processes skip_bad_rows early_stopping_patience eval_batch_size hanbert_library".split()
    )

    eval_batch_size: int = Field(64, ge=1, description="rows per batch when held-out documents are scored")

    @property
    def run_dir(self) -> Path:
        """The folder that everything of this run goes into."""
        return on_disk(Path(self.ckpt_dir) / (self.output_dir or f"{self.task}-ckpt"))

    def identity(self, precision: str) -> dict[str, Any]:
        """The settings that must be the same when a run is resumed.

        precision: the one that the run computes in, never "auto".
        """
        free = self.MAY_CHANGE_ON_RESUME | OutputConfig.model_fields.keys() | RuntimeConfig.model_fields.keys()
        return self.model_dump(exclude=set(free)) | {"precision": precision}


class EncoderConfig(PretrainingConfig):
    """Encoder"""

    model_name_or_path: str | None = Field(
        None, description="BERT to start from: hub id or local folder; default: a fresh model"
    )
    hidden_size: int = Field(768, ge=1, description="width of a fresh model")
    num_hidden_layers: int = Field(12, ge=1, description="number of layers of a fresh model")
    num_attention_heads: int = Field(12, ge=1, description="attention heads per layer of a fresh model")
    intermediate_size: int = Field(3072, ge=1, description="width of a fresh model's feed-forward layers")
    sinusoidal_positions: bool = Field(
        False,
        description="start the position embeddings of a fresh model as sinusoids instead of at random; either way "
        "they are trained",
    )
    no_unpad: bool = Field(False, description="run the encoder on padded rows instead of leaving the padding out")

    def contradictions(self, given: Given) -> Iterator[Contradiction]:
        model = "model_name_or_path"
        if not (self.model_name_or_path or self.tokenizer or self.train_vocab):
            message = (
                "no vocabulary: set train_vocab (makes a new one), tokenizer (names an existing one) or "
                "model_name_or_path"
            )
            yield Contradiction(("train_vocab", "tokenizer", model), message)
        if not (self.model_name_or_path or self.tokenizer):
            yield from without_effect(["hanbert_library"], given, ("tokenizer", model), "on a new vocabulary")
        if self.model_name_or_path:
            idle = (*SIZES, "sinusoidal_positions", "tokenizer", "train_vocab")
            yield from without_effect(idle, given, (model,), "on the model that model_name_or_path names")
            if is_typed("lower_case", given) and self.tokenizer_lower_cases:
                why = "the tokenizer of the model treats capital letters in its own way"
                yield Contradiction(("lower_case", model), f"--lower_case has no effect: {why}")
        elif self.hidden_size % self.num_attention_heads:
            heads = f"num_attention_heads {self.num_attention_heads}"
            message = f"hidden_size {self.hidden_size} is not a multiple of {heads}"
            yield Contradiction(("hidden_size", "num_attention_heads", model), message)

    @property
    def lower_cases_texts(self) -> bool:
        """Whether texts are lower-cased before a tokenizer gets them.

        Unless lower_case is "corpus", they are not if the tokenizer exists already: fine-tuning with that tokenizer
        would not lower-case them either.
        """
        exists = self.model_name_or_path or (self.tokenizer and not Path(self.tokenizer).is_file())
        return self.lower_case == "corpus" or (self.lower_case and not exists)
