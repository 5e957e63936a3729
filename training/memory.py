"""How libraries say that memory has run out: each in its own words, and few with Python's MemoryError."""

from __future__ import annotations

import errno

# Parts of messages: of torch on a CPU, XLA, oneDNN, C++ and the operating system.
PHRASES = (
    "DefaultCPUAllocator",
    "RESOURCE_EXHAUSTED",
    "could not create a primitive",
    "could not create a memory",
    "bad_alloc",
    "allocate memory",
    "not enough memory",
    "failed to map segment from shared object",
    "can't start new thread",
    "Resource temporarily unavailable",
)
CLASSES = ("MemoryError", "OutOfMemoryError")


def is_about_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that memory has run out."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names.intersection(CLASSES) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    says_so = isinstance(error, RuntimeError | ImportError | OSError) or "ArrowException" in names
    if says_so and any(phrase in str(error) for phrase in PHRASES):
        return True
    return error.__cause__ is not None and is_about_memory(error.__cause__)
