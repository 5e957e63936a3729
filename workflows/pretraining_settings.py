"""The settings that both pretraining scripts share; each script adds those of its own objective."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from training.config import LoopConfig, OutputConfig, RuntimeConfig, Section, is_typed

SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


class CorpusConfig(Section):
    """Corpus"""

    corpus: list[str] = Field(
        description="files or folders of files: plain text, wikiextractor output or JSON lines, plain or as .gz"
    )
    corpus_weights: list[float] | None = Field(
        None, description="passes over each corpus in an epoch, one number per corpus; default: 1 each"
    )
    documents: Literal["auto", "blank_lines", "lines"] = Field(
        "auto", description="where a document of plain text ends; auto: at blank lines if there are any, else each line"
    )
    text_field: str = Field("text", description="field of JSON lines that holds the text")
    encoding: Literal["utf-8", "cp949"] = Field("utf-8", description="encoding of the files")
    lower_case: bool = Field(False, description="lower-case the texts, and make a tokenizer that lower-cases too")
    skip_bad_rows: bool = Field(False, description="skip and count malformed lines instead of stopping")
    held_out_share: float = Field(0.01, ge=0, lt=1, description="share of the documents held out for scoring; 0: none")
    max_seq_length: int = Field(512, ge=8, description="tokens in a row, special tokens included")
    processes: int = Field(1, ge=1, description="number of processes that tokenize")
    cache_dir: str = Field("cache", description="folder for tokenized data and vocabularies, named by their content")

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        weights = self.corpus_weights
        if weights is not None and len(weights) != len(self.corpus):
            yield f"corpus_weights has {len(weights)} numbers for {len(self.corpus)} corpora: one each"
        elif weights is not None and min(weights) <= 0:
            yield "corpus_weights must be above 0"
        if self.held_out_share == 0 and is_typed("eval_steps", given):
            yield "--eval_steps has no effect: held_out_share is 0, so there is nothing to score"


class VocabularyConfig(Section):
    """Vocabulary"""

    tokenizer: str | None = Field(
        None, description="name of a known model, folder, or SentencePiece BPE .model file; default: the model's"
    )
    train_vocab: Literal["sentencepiece", "wordpiece"] | None = Field(
        None, description="train a vocabulary of this kind on the corpus"
    )
    vocab_size: int = Field(8000, ge=1, description="tokens in the trained vocabulary, without the special ones")

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        # A typed tokenizer is taken instead of the vocabulary that a file would have made.
        if self.train_vocab and self.tokenizer and is_typed("tokenizer", given) <= is_typed("train_vocab", given):
            yield "train_vocab makes a vocabulary and tokenizer names one: give one of them"
        if self.tokenizer and is_typed("lower_case", given) and self.lower_case and Path(self.tokenizer).is_dir():
            yield f"--lower_case has no effect: the tokenizer in {self.tokenizer} treats capital letters in its own way"
        if is_typed("vocab_size", given) and not self.train_vocab:
            yield "--vocab_size has no effect without train_vocab"


class PretrainingConfig(CorpusConfig, VocabularyConfig, LoopConfig):
    """Pretraining"""

    # Settings that may change on resume, besides paths: the content of the rows is compared.
    MAY_CHANGE_ON_RESUME: ClassVar[frozenset[str]] = frozenset(
        "corpus cache_dir processes skip_bad_rows early_stopping_patience eval_batch_size".split()
    )

    eval_batch_size: int = Field(64, ge=1, description="rows in a batch when held-out documents are scored")

    @property
    def run_dir(self) -> Path:
        """The folder that everything of this run goes into."""
        return Path(self.ckpt_dir) / (self.output_dir or f"{self.task}-ckpt")

    def identity(self, precision: str) -> dict[str, Any]:
        """The settings that must be the same when a run is resumed.

        precision: the one that the run computes in, never "auto".
        """
        free = self.MAY_CHANGE_ON_RESUME | OutputConfig.model_fields.keys() | RuntimeConfig.model_fields.keys()
        return self.model_dump(exclude=set(free)) | {"precision": precision}


class EncoderConfig(PretrainingConfig):
    """Encoder"""

    model_name_or_path: str | None = Field(None, description="hub id or local folder of a BERT to continue from")
    hidden_size: int = Field(768, ge=1, description="width of a new model")
    num_hidden_layers: int = Field(12, ge=1, description="layers of a new model")
    num_attention_heads: int = Field(12, ge=1, description="heads of a new model")
    intermediate_size: int = Field(3072, ge=1, description="width of a new model's feed-forward layers")
    sinusoidal_positions: bool = Field(
        False,
        description="initialize a new model's position embeddings as sines, not at random; then train them",
    )
    no_unpad: bool = Field(False, description="run the encoder on padded rows")

    def contradictions(self, given: Mapping[str, str]) -> Iterator[str]:
        if not (self.model_name_or_path or self.tokenizer or self.train_vocab):
            yield "no vocabulary: set train_vocab (one is made), tokenizer (one that there is) or model_name_or_path"
        if self.model_name_or_path:
            idle = [key for key in (*SIZES, "sinusoidal_positions", "tokenizer", "train_vocab") if is_typed(key, given)]
            yield from (f"--{key} has no effect on the model that model_name_or_path names" for key in idle)
            if is_typed("lower_case", given) and self.lower_case:
                yield "--lower_case has no effect: the tokenizer of the model treats capital letters in its own way"
        elif self.hidden_size % self.num_attention_heads:
            yield f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"

    @property
    def lower_cases_texts(self) -> bool:
        """Whether texts are lower-cased.

        They are not if the tokenizer exists already: fine-tuning with that tokenizer would not lower-case them either.
        """
        exists = self.model_name_or_path or (self.tokenizer and not Path(self.tokenizer).is_file())
        return self.lower_case and not exists
