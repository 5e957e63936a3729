"""python3 -m pytest tests/scripts/test_compiling.py

`--compile`: the same losses, for batches of any size.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from closeness import assert_close_in_size
from conftest import User
from exact_runs import command, make_models
from models import ModelError, build_model
from models.collator import Collator
from models.compiling import compile_layers


@pytest.mark.slow
def test_losses_are_the_same(user: User):
    """Of batches of many sizes, trained on and scored."""
    make_models(user.folder)
    arms = {"uncompiled": [], "compiled": ["--compile"], "compiled-captured": ["--compile", "--capture", "true"]}
    for name, words in arms.items():
        done = user.types(*command("run_seq_cls.py", name, 8, *words), "--no_cuda", timeout=1200)
        assert "recompile" not in done.err and "unpadded" in done.err
    expected, *others = [user.losses(name) for name in arms]
    assert len(expected) == 5
    for found in others:
        assert_close_in_size(found, expected)
    metrics, *others = [user.results(name)["metrics"] for name in arms]
    assert all(found == pytest.approx(metrics, abs=1e-4) for found in others)


def test_no_compiler():
    from torch._inductor import config

    with config.patch({"cpp.cxx": (None, "/nowhere/g++")}), pytest.raises(ModelError, match=r"^compile needs a C\+\+"):
        compile_layers(torch.nn.Linear(1, 1))


@pytest.mark.slow
def test_a_compiled_bigbird(user: User):
    """Its attention, which is left out, is sparse in one batch and full in another."""
    make_models(user.folder)
    models = [build_model(user.folder / "still-big_bird", "token", ("a", "b")).eval() for _ in range(2)]
    with torch.no_grad():
        for model in models:
            torch.manual_seed(0)
            model.classifier.reset_parameters()
    collators = [Collator(model, no_unpad=False, length=1024) for model in models]
    compile_layers(collators[1].model)
    generator = np.random.default_rng(0)
    for rows, length in ((2, 100), (3, 800), (2, 1000)):
        arrays = {
            "input_ids": generator.integers(10, 500, (rows, length)),
            "attention_mask": np.ones((rows, length), dtype=np.int64),
            "token_type_ids": np.zeros((rows, length), dtype=np.int64),
        }
        with torch.no_grad():
            plain, compiled = (c.model(**c.batch(arrays)["inputs"]).logits for c in collators)
        assert_close_in_size(compiled, plain)
