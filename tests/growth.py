"""How CPU time grows with the size of an input: a ratio, as a limit in seconds would depend on the machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


def expect_linear(work: Callable[[int], object], size: int, times: int = 20) -> None:
    """An input `times` as large as `size` must cost about `times` as much CPU time, not `times` squared.

    The limit is `times` to the power of 1.5, halfway between the two. Other programs on the machine lengthen the CPU
    time of this process and never shorten it, so the smallest of several measurements counts; while it is above the
    limit, up to four rounds are measured.
    """
    border = times**1.5
    small, large = math.inf, math.inf
    for _ in range(4):
        small = min(small, *(_cost(work, size) for _ in range(3)))
        large = min(large, _cost(work, size * times))
        if large < border * small:
            return
        if large > 3 * border * small:  # far beyond noise, and measuring it again could take minutes
            break
    raise AssertionError(f"{large / small:.0f} times the work for {times} times the size")


def _cost(work: Callable[[int], object], size: int) -> float:
    begun = time.process_time()
    work(size)
    return time.process_time() - begun
