"""BERT's special tokens and inputs, which the tokenizers that are built here share."""

from __future__ import annotations

from pathlib import Path

SPECIAL_TOKENS = {
    "unk_token": "[UNK]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
MAX_LENGTH = 512  # tokens: the number of position embeddings of KoBERT and HanBERT
INPUT_NAMES = ["input_ids", "token_type_ids", "attention_mask"]


def read_vocabulary(path: Path) -> list[str]:
    """The tokens in a vocabulary file, one a line; an empty line, or one repeated later, becomes a placeholder."""
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    tokens = [line.strip() for line in lines]
    last = {token: index for index, token in enumerate(tokens)}
    return [token if token and last[token] == index else f"[unused{index}]" for index, token in enumerate(tokens)]
