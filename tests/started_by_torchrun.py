"""Scripts started by torchrun, as several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY, User


def torchrun(processes: int, script: Path, *words: object, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    settings = {"env": environment, "encoding": "utf-8", "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([*command, str(script), *map(str, words)], **settings)


def ended(process: subprocess.Popen[str], code: int = 0, timeout: float = 300) -> tuple[str, str]:
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == code, err
    return out, err


def by_two(user: User, script: str, *words: object, **options) -> subprocess.Popen[str]:
    return torchrun(2, REPOSITORY / script, *words, cwd=user.folder, env=user.environment, **options)
