"""What each script in the folder above does first and last: `start` before its other imports, and `run_main`."""

from workflows.startup import run_main, start

__all__ = ["run_main", "start"]
