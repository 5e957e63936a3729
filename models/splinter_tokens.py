"""The tokens that a Splinter knows by their ids: `[QUESTION]`, which asks for an answer, and the one that it hides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.errors import ModelError

if TYPE_CHECKING:
    from models.splinter import BertForSpanSelection

QUESTION = "[QUESTION]"
# KoSplinter's released fine-tuning code takes this id, English BERT's, for [SEP]. In its own vocabulary it is "®".
KOSPLINTER_SEP_ID = 102


def set_token_ids(model: BertForSpanSelection, tokenizer, kosplinter_compat: bool | None = None) -> None:
    """Writes the ids of two tokens into the model's configuration, in place; rows are built with these ids.

    question_token_id: the token that stands in place of the answer. hidden_token_id: the token that attention ignores.
    These are [QUESTION] and [SEP]. With kosplinter_compat they are what KoSplinter's released fine-tuning code uses:
    [MASK], and whatever token has the id 102. kosplinter_compat None: as the model was trained (its configuration).
    Afterwards the tokenizer recognizes [QUESTION] in texts.

    Raises ModelError where the vocabulary has no such token, or the model no embedding for it.
    """
    config = model.config
    compat = getattr(config, "kosplinter_compat", False) if kosplinter_compat is None else kosplinter_compat
    name = "[MASK]" if compat else QUESTION
    question = tokenizer.mask_token_id if compat else tokenizer.get_vocab().get(QUESTION)
    if question is None:
        remedy = "" if compat else ": --add_question_token adds it"
        raise ModelError(f"the vocabulary has no {name}, which stands where the answer is asked for{remedy}")
    if question >= config.vocab_size:
        remedy = "the tokenizer is another model's" if compat else "--add_question_token adds an embedding for it"
        raise ModelError(
            f"{name} has the id {question}, and the model {config.vocab_size} tokens (vocab_size): {remedy}"
        )
    if not compat and tokenizer.sep_token_id is None:
        raise ModelError("the tokenizer has no [SEP], which Splinter hides from attention")
    if not compat:
        _find_in_texts(tokenizer)
    config.kosplinter_compat, config.question_token_id = compat, question
    config.hidden_token_id = KOSPLINTER_SEP_ID if compat else tokenizer.sep_token_id
    # The padding token's embedding gets no gradient. BERT's default id for padding, 0, is [QUESTION] in KoSplinter's
    # vocabulary, which would then never be trained.
    config.pad_token_id = model.bert.embeddings.word_embeddings.padding_idx = tokenizer.pad_token_id


def add_question_token(tokenizer, model: BertForSpanSelection | None = None) -> bool:
    """Adds [QUESTION] to the vocabulary, and an embedding for it to the model, in place, where they are missing.

    The embedding starts as a copy of [MASK]'s: both tokens ask for something that the context tells, and KoSplinter was
    fine-tuned with [MASK] for [QUESTION]. Without a [MASK] it starts as the mean of all embeddings.
    Returns whether anything was added.
    """
    is_new = QUESTION not in tokenizer.get_vocab()
    _find_in_texts(tokenizer)
    if model is None:
        return is_new
    question, size = tokenizer.get_vocab()[QUESTION], model.config.vocab_size
    if question >= size:
        model.resize_token_embeddings(question + 1, mean_resizing=False)
    elif not is_new:
        return False
    with torch.no_grad():
        embeddings = model.bert.embeddings.word_embeddings.weight
        known = embeddings[: min(size, question)]
        mask = tokenizer.mask_token_id
        embeddings[question] = embeddings[mask] if mask is not None and mask < size else known.mean(dim=0)
    return True


def _find_in_texts(tokenizer) -> None:
    """Has the tokenizer keep `[QUESTION]` whole, which BERT's rules would split; its id in the vocabulary stays."""
    tokenizer.add_special_tokens({"extra_special_tokens": [QUESTION]}, replace_extra_special_tokens=False)
