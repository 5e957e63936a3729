"""KLUE-RoBERTa, small and from scratch: RoBERTa's weights with BERT's tokenizer, as klue/roberta-base has them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
)

from closeness import assert_close_in_size
from models import MODELS, build_model, build_tokenizer
from models.collator import Collator
from models.encoders import longest_input
from processors.features import build_features
from processors.task import Rows

# The first ids of klue/roberta-base's vocabulary, so that RoBERTa's padding_idx 1 is [PAD].
SPECIALS = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
WORDS = ["영화", "##가", "재미", "##있", "##다", "정말", "별로"]
LONGEST = 12
ROWS = Rows(["영화가 재미있다", "별로", "정말 정말 영화가"], ["정말", "정말 별로", "별로"], [0, 1, 1])
HEADS = {"sequence": AutoModelForSequenceClassification, "question answering": AutoModelForQuestionAnswering}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("klue-roberta")
    vocabulary = {token: id for id, token in enumerate([*SPECIALS, *WORDS])}
    BertTokenizer(vocab=vocabulary, do_lower_case=False).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    tokens = dict(vocab_size=len(vocabulary), bos_token_id=0, pad_token_id=1, eos_token_id=2)
    # As klue/roberta-base has 514 positions for rows of 512 tokens, and one token type.
    config = RobertaConfig(**sizes, **tokens, max_position_embeddings=LONGEST + 2, type_vocab_size=1)
    RobertaForMaskedLM(config).save_pretrained(folder)
    return folder


def test_the_entry():
    known = MODELS["klue-roberta-base"]
    assert (known.hub_id, known.architecture, known.tokenizer) == ("klue/roberta-base", "roberta", "auto")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("no_unpad", [True, False])
def test_rows_of_a_batch_are_what_each_is_alone(head: str, no_unpad: bool, folder: Path, tmp_path: Path):
    """The reference is transformers' own model on rows without padding, with positions from 2 and no token types."""
    tokenizer = build_tokenizer("klue-roberta-base", folder)
    torch.manual_seed(1)
    built = build_model(folder, head, ("0", "1") if head == "sequence" else (), fresh_head=True).eval()
    built.save_pretrained(tmp_path)
    assert longest_input(built.config) == LONGEST
    collator = Collator(built, no_unpad=no_unpad, length=LONGEST)
    assert collator.unpads is not no_unpad

    features = build_features(ROWS, tokenizer, LONGEST, tmp_path / "cache")
    arrays = features.padded(np.arange(3), tokenizer.pad_token_id)
    assert arrays["token_type_ids"].max() == 1  # the tokenizer emits types; an embedding of type 1 does not exist
    batch = collator.batch(arrays)["inputs"]
    assert "token_type_ids" not in batch
    positions = []
    embedding = built.roberta.embeddings.position_embeddings
    embedding.register_forward_pre_hook(lambda module, args: positions.append(args[0]))
    with torch.no_grad():
        outputs = collator.model(**batch)
    reference = HEADS[head].from_pretrained(tmp_path).eval()
    (used,) = positions
    for row, length in enumerate(features.lengths):
        assert used[row, :length].tolist() == list(range(2, 2 + length))  # and [PAD] keeps padding_idx
        assert set(used[row, length:].tolist()) <= {1}
        ids = torch.from_numpy(arrays["input_ids"][row, :length])[None]
        own_positions = torch.arange(2, 2 + length)[None]
        with torch.no_grad():
            alone = reference(input_ids=ids, attention_mask=torch.ones_like(ids), position_ids=own_positions)
        if head == "sequence":
            assert_close_in_size(outputs.logits[row], alone.logits[0])
        else:
            assert_close_in_size(outputs.start_logits[row, :length], alone.start_logits[0])
            assert_close_in_size(outputs.end_logits[row, :length], alone.end_logits[0])
