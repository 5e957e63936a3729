"""python3 -m pytest tests/unit/test_positions.py

Position embeddings that begin as sines.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.positions import begin_as_sines


@pytest.mark.parametrize("width", [64, 33])
def test_one_linear_map_leads_from_any_position_to_the_one_before(width: int):
    embeddings = nn.Embedding(512, width)
    begin_as_sines(embeddings, 0.02)
    assert embeddings.weight.requires_grad
    weight = embeddings.weight.detach().double()[:, : width // 2 * 2] / (0.02 * 2**0.5)
    sines, cosines = weight[:, 0::2], weight[:, 1::2]
    assert torch.allclose(sines**2 + cosines**2, torch.ones(1).double(), atol=1e-5)
    # sin(a - f) = sin a cos f - cos a sin f; position 1 says what f is.
    before = sines[1:] * cosines[1] - cosines[1:] * sines[1]
    assert torch.allclose(before, sines[:-1], atol=1e-4)
