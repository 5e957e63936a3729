"""How the work of something grows with its input, which no clock of one machine says of another."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


def expect_linear(work: Callable[[int], object], size: int, times: int = 20) -> None:
    """What is `times` as large as `size` costs about `times` as much, and not the square of it.

    The border is in the middle, on a scale of factors. Costs are the CPU time of this process, which other processes
    make longer, never shorter: the least of several counts, and there are more of them while the border is crossed.
    """
    border = times**1.5
    small, large = math.inf, math.inf
    for _ in range(4):
        small = min(small, *(_cost(work, size) for _ in range(3)))
        large = min(large, _cost(work, size * times))
        if large < border * small:
            return
        if large > 3 * border * small:  # far beyond noise: what takes minutes is not measured again
            break
    raise AssertionError(f"{large / small:.0f} times the work for {times} times the size")


def _cost(work: Callable[[int], object], size: int) -> float:
    begun = time.process_time()
    work(size)
    return time.process_time() - begun
