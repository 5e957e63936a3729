"""python3 -m pytest tests/unit/test_runtime.py

What a run sets for its whole process.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from conftest import REPOSITORY

# In a process of its own, as threads that have computed already would not take the setting over.
COMPUTES = """
import torch
from training.runtime import Runtime
torch.set_num_threads(2)
Runtime(no_cuda=True, precision="fp32")
subnormal = torch.full((512, 512), 1e-39)
print((subnormal @ torch.ones(512, 512)).count_nonzero().item(), (subnormal * 2).count_nonzero().item())
"""


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this CPU has no such setting")
def test_subnormal_numbers_count_as_zero_in_all_threads():
    command = [sys.executable, "-c", COMPUTES]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=REPOSITORY)
    assert done.stdout.split() == ["0", "0"]
