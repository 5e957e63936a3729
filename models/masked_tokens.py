"""The losses of masked tokens over a whole vocabulary, computed for some tokens at a time to save memory."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.attention import recompute_in_backward

# The most logits in memory at a time: 32 MiB in fp32. Such small pieces would leave a GPU idle, so that it gets 1 GiB.
LOGITS_AT_ONCE, LOGITS_AT_ONCE_ON_A_GPU = 2**23, 2**28


def score_masked_tokens(decoder: nn.Linear, hidden_states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the losses, fp32, and number of right predictions for the states `[M, H]` of masked tokens.

    decoder: from states to logits over the vocabulary. labels: int64 `[M]`, the tokens' ids before masking.
    """
    at_once = LOGITS_AT_ONCE_ON_A_GPU if labels.device.type == "cuda" else LOGITS_AT_ONCE
    size = max(1, at_once // decoder.out_features)
    score = functools.partial(_score_at_once, decoder)
    if len(labels) > size:  # the backward pass recomputes the logits instead of keeping them
        score = functools.partial(recompute_in_backward, score, preserve_rng_state=False)
    parts = [score(*part) for part in zip(hidden_states.split(size), labels.split(size), strict=True)]
    losses, correct = zip(*parts, strict=True)
    return torch.stack(losses).sum(), torch.stack(correct).sum()


def _score_at_once(decoder: nn.Linear, hidden_states: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = decoder(hidden_states)
    loss = cross_entropy(logits.float(), labels, reduction="sum")
    return loss, (logits.detach().argmax(dim=-1) == labels).sum()
