"""The commands of scripts/quickstart.sh on the sample data: what they say, and how long they take.

    python3 benchmarks/bench_quickstart.py --json benchmarks/results/quickstart.json

They run in an empty folder, one after the other, as a user types them; making the environment is not counted. The JSON
file has `commands`: each with its `seconds` and the lines that it `said`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as quickstart.sh sets it; read when the libraries are loaded

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import CPU, ROOT, device_name, origin, write_figures


def quickstart_commands() -> list[str]:
    """What scripts/quickstart.sh runs once the environment is there."""
    return re.findall(r"^run (.+)$", (ROOT / "scripts" / "quickstart.sh").read_text(encoding="utf-8"), re.MULTILINE)


def timed_command(command: str, folder: Path) -> dict[str, Any]:
    """Runs a command of a shell in the folder. Ends the program where it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    finished = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=os.environ | {"PATH": path}, check=False, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    print(f"$ {command}\n{finished.stdout}", flush=True)
    if finished.returncode:
        sys.exit(f"{Path(sys.argv[0]).name}: exit code {finished.returncode} from {command}")
    return {"command": command, "seconds": round(seconds, 2), "said": finished.stdout.splitlines()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (*ROOT.glob("*.py"), ROOT / "scripts"):
            (folder / path.name).symlink_to(path)
        commands = [timed_command(command, folder) for command in quickstart_commands()]
    print(f"{sum(one['seconds'] for one in commands):.1f} seconds")
    if arguments.json:
        content = origin(device_name(CPU)) | {"commands": commands}
        write_figures(arguments.json, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
