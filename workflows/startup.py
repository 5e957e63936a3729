"""What a script does before anything else: it calls `start` before its other imports, which take a second.

Ctrl-C is answered from here on. Standard input, output and error can be used even where they are closed, where the disk
behind them is full, and where their reader goes away (`| head -1`): what nobody reads must not end a run.

Only what Python imports in no time is imported here, and in `storage/streams.py`: pathlib and typing would double the
time until Ctrl-C is answered.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys

from storage.streams import drop_from_now_on

REPOSITORY = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120


def start() -> None:
    """Makes the standard streams last, and answers Ctrl-C in a line until `run_command` takes over."""
    signal.signal(signal.SIGINT, end_at_once)
    sys.unraisablehook = interrupt_again
    sys.excepthook = end_in_a_line
    # A large corpus is in thousands of files, each open for as long as the run; what is usual is a limit of 1,024.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if sys.platform == "linux":  # macOS has no limit here, and refuses to take that
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        stream, failure = getattr(sys, name), None
        if stream is None:
            _occupy(number)
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123
            failure = OSError(errno.EBADF, "it is closed")
        setattr(sys, name, stream if name == "stdin" else LastingStream(stream, failure))


def run_main(main: object) -> int:
    """Runs the `main` of a small script that has called `start`; returns the exit code, 130 after Ctrl-C.

    From here on Ctrl-C is an exception again, so that what is half-written is removed.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return main() or 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C changes nothing now
        print(f"\n{os.path.basename(sys.argv[0])}: interrupted", file=sys.stderr)  # noqa: PTH119
        return 130


def end_at_once(number: int, frame: object) -> None:
    """Answers Ctrl-C while the script is being imported, when there is nothing yet to go on with."""
    print(f"\n{os.path.basename(sys.argv[0])}: interrupted", file=sys.stderr, flush=True)  # noqa: PTH119
    os._exit(130)


def end_in_a_line(kind: type, error: BaseException, traceback: object) -> None:
    """Answers in a line where `run_command` cannot yet, while the script is being imported.

    The environment may not be active, memory may have run out, or Python refuses a task or a metric as it is written in
    `processors/`.
    """
    from training.memory import is_about_memory

    if issubclass(kind, ModuleNotFoundError) and _is_package(error.name):
        message = (
            f"the package {error.name} is not installed for {sys.executable}: activate the environment with "
            "source .venv/bin/activate (bash scripts/setup.sh makes it)"
        )
    elif is_about_memory(error):
        message = f"memory has run out ({kind.__name__}) before the run began: end other programs"
    elif issubclass(kind, TypeError | ValueError | NameError | SyntaxError) and (place := _place_of_fact(error)):
        message = f"{place}: {error.msg if isinstance(error, SyntaxError) else error}"
    else:
        sys.__excepthook__(kind, error, traceback)
        return
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)  # noqa: PTH119
    os._exit(2)


def _is_package(name: str | None) -> bool:
    """Whether an import asked for a package of its own, and not for a file of this repository."""
    return bool(name) and not os.path.exists(os.path.join(REPOSITORY, name.split(".")[0]))  # noqa: PTH110, PTH118


def _place_of_fact(error: BaseException) -> str:
    """File and line of what is being imported from `processors/`; "" where the error comes from elsewhere."""
    folder = os.path.join(REPOSITORY, "processors", "")  # noqa: PTH118
    file, line = getattr(error, "filename", None) or "", getattr(error, "lineno", None)
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_name == "<module>" and not isinstance(error, SyntaxError):
            file, line = step.tb_frame.f_code.co_filename, step.tb_lineno
        step = step.tb_next
    return f"{os.path.relpath(file)}:{line}" if file.startswith(folder) else ""


def interrupt_again(unraisable: object) -> None:
    """Interrupts once more where Ctrl-C fell into a destructor: Python would show a traceback there and go on."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    import threading

    # When the destructor has ended; to the main thread, as what it waits for would otherwise not be broken off.
    threading.Timer(0.1, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()


class LastingStream:
    """A text stream that drops what is written once it can no longer be written. All else is the stream's own.

    failure: why it can no longer be written; None as long as it can.
    """

    def __init__(self, stream: object, failure: OSError | None = None):
        self._stream, self.failure = stream, failure

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes or drops a text, and returns its length."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Writes or drops what is held back."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: object) -> None:
        try:
            action()
        except OSError as error:
            self.failure = error
            drop_from_now_on(self._stream)
            self._stream.flush()  # otherwise what it holds back would fail again when Python ends
            if not isinstance(error, BrokenPipeError) and self is not sys.stderr:
                print(f"standard output cannot be written: {error.strerror}", file=sys.stderr)


def _occupy(number: int) -> None:
    """Opens a closed descriptor: else the next file that is opened gets its number, and what is printed to it."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
