"""What the pretraining scripts share: the encoder's settings, the tokenizer, and the rows of the corpora."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from models import MODELS, ModelError, build_tokenizer, find_model
from processors.features import warn_of_unknown
from processors.pretraining.blocks import Blocks, hold_out
from processors.pretraining.corpus import build_blocks
from processors.pretraining.corpus_readers import Corpus, open_corpus
from training.config import Contradiction, Given, is_typed, without_effect
from training.pretraining import Objective, Passes, PretrainingConfig, train

# torch takes seconds to import: the functions that use it do, so that --help and mistyped flags answer at once.

SILENT = ("characters", "unknown_tokens")  # counts that the screen need not show
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


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
        if self.model_name_or_path:
            idle = (*SIZES, "sinusoidal_positions", "tokenizer", "train_vocab")
            yield from without_effect(idle, given, (model,), "on the model that model_name_or_path names")
            if is_typed("lower_case", given) and self.lower_case:
                why = "the tokenizer of the model treats capital letters in its own way"
                yield Contradiction(("lower_case", model), f"--lower_case has no effect: {why}")
        elif self.hidden_size % self.num_attention_heads:
            heads = f"num_attention_heads {self.num_attention_heads}"
            message = f"hidden_size {self.hidden_size} is not a multiple of {heads}"
            yield Contradiction(("hidden_size", "num_attention_heads", model), message)

    @property
    def lower_cases_texts(self) -> bool:
        """Whether texts are lower-cased: not for a tokenizer that is there already, and would not do so afterwards."""
        is_there = self.model_name_or_path or (self.tokenizer and not Path(self.tokenizer).is_file())
        return self.lower_case and not is_there

    @property
    def folder(self) -> Path | None:
        """The folder of the model to go on from; None for a fresh one. Raises ModelError where it is not found."""
        return find_model(None, self.model_name_or_path) if self.model_name_or_path else None


def open_corpora(config: EncoderConfig) -> tuple[list[Corpus], dict[str, str]]:
    """The corpora as named, and the sha256 of each file in them. Raises DataError where there is none."""
    how = config.text_field, config.documents, config.encoding, config.skip_bad_rows, config.lower_cases_texts
    corpora = [open_corpus([Path(path)], *how) for path in config.corpus]
    return corpora, {str(file): sha256 for corpus in corpora for file, sha256 in corpus.hashes.items()}


def tokenizer_of(
    config: EncoderConfig, runtime, folder: Path | None, corpora: Sequence[Corpus], data: Mapping[str, str]
):
    """The tokenizer of the model to go on from, the one that is named, or one that is made and kept in the cache."""
    from models.vocabulary import sentencepiece_tokenizer, train_sentencepiece, train_wordpiece

    if folder is not None or config.tokenizer:
        if folder is None and Path(config.tokenizer).is_file():
            return sentencepiece_tokenizer(Path(config.tokenizer).read_bytes(), config.lower_case)
        is_known = folder is None and config.tokenizer in MODELS and not Path(config.tokenizer).is_dir()
        known = config.tokenizer if is_known else None
        return build_tokenizer(known, folder or (find_model(known, None) if known else Path(config.tokenizer)))
    settings = [config.train_vocab, config.vocab_size, config.lower_case, config.seed, config.documents]
    content = repr([*settings, config.text_field, config.encoding, config.skip_bad_rows, sorted(data.values())])
    target = Path(config.cache_dir) / f"vocabulary-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
    with runtime.first_alone():
        if not target.is_dir():
            runtime.say(f"making a {config.train_vocab} vocabulary of {config.vocab_size} tokens")
            lines = itertools.chain.from_iterable(corpus.lines() for corpus in corpora)
            make = {"sentencepiece": train_sentencepiece, "wordpiece": train_wordpiece}[config.train_vocab]
            make(lines, target, config.vocab_size, config.lower_case, seed=config.seed)
    try:
        return build_tokenizer(None, target)
    except ModelError as error:
        raise ModelError(f"{error}; without {target} it is made again") from error


def fresh_model(config: EncoderConfig, tokenizer, build: Callable[[Any], Any]):
    """A model of the settings' sizes for this tokenizer. build: makes it of a BertConfig."""
    from transformers import BertConfig

    from models.positions import begin_as_sines

    bert = BertConfig(
        max_position_embeddings=max(512, config.max_seq_length),
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **{key: getattr(config, key) for key in SIZES},
    )
    model = build(bert)
    if config.sinusoidal_positions:
        begin_as_sines(model.bert.embeddings.position_embeddings, bert.initializer_range)
    return model


def blocks_of(config: EncoderConfig, runtime, path: str, corpus: Corpus, tokenizer) -> Blocks:
    """The token blocks of a corpus, and what there is to know about them on the screen."""
    from training.progress import Progress

    progress: Progress | None = None

    def show(done: int, characters: int) -> None:
        nonlocal progress
        progress = progress or Progress(runtime, f"tokenize {path}", characters, "character")
        progress.advance(done - progress.done)
        progress.show_now_and_then()

    with runtime.first_alone():
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


def divide(config: EncoderConfig, runtime, parts: list[Blocks]) -> tuple[list[Blocks], Blocks | None]:
    """The rows of each corpus that are learned from, and those of all that are held out; None where none are."""
    if not config.held_out_share:
        return parts, None
    parts, held_out = hold_out(parts, config.held_out_share)
    runtime.say(f"held out: {len(held_out)} rows")
    return parts, held_out


def train_on(
    config: EncoderConfig,
    runtime,
    objective: Objective,
    parts: Sequence[Blocks],
    held_out: Blocks | None,
    data: dict[str, str],
    overwrite: bool,
) -> None:
    """Trains on the rows of the corpora, each gone through as often as its weight says. data: file -> sha256."""
    passes = Passes([len(part) for part in parts], config.corpus_weights or [1.0] * len(parts))
    train(config, runtime, objective, Blocks.joined(parts), passes, held_out, data, overwrite)
