"""Standard output that may be closed, on a full disk, or read by somebody who goes away (`| head -1`).

And whether standard error is a terminal that shows bars.
"""

from __future__ import annotations

import errno
import os
import sys


def drop_from_now_on(stream: object) -> None:
    """Has a stream that can no longer be written drop everything: what it holds back would fail again at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def to_standard_output(text: str) -> OSError | None:
    """Writes UTF-8 to standard output, whatever the locale says; returns why that failed.

    A reader that goes away has read enough: that is no failure.
    """
    stream, failure = sys.stdout, None
    if stream is None:
        return OSError(errno.EBADF, "it is closed")
    try:
        stream.flush()
        stream.buffer.write(text.encode())
        stream.buffer.flush()
    except OSError as error:
        failure = error
        drop_from_now_on(stream)
    failure = failure or getattr(stream, "failure", None)  # of a LastingStream (`workflows/startup.py`)
    return None if isinstance(failure, BrokenPipeError) else failure


def shows_bars() -> bool:
    """Whether standard error is a terminal with a known width: without one, as in some containers, no bar is drawn."""
    return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
