"""How time and memory grow with the size of the data: the stages of a run that a user waits for.

    python3 benchmarks/bench_scale.py --quick                               # sample data, small sizes: under a minute
    python3 benchmarks/bench_scale.py --data_dir data --corpus data/corpus_large --tokenizer koelectra \\
        --json benchmarks/results/scale.json
    python3 scripts/scale_page.py                                           # tables and figure from that file

Series and their stages, each measured in a process of its own, `--repeats` times (a stage that took more than
`--once_above` seconds is not measured again):

- rows (NSMC's, repeated): prepare (from the start of run_seq_cls.py to the first step: read, tokenize, write the
  cache), open (the same with the cache there), train (20 steps of 32 rows), evaluate (score so many rows)
- tokens (in a row; two rows a step, four steps): full and sparse (fine-tuning a small BigBird with that attention),
  spanbert and splinter (pretraining)
- steps (of 32 NSMC rows): bf16 and fp32 (fine-tuning at that precision)
- corpus (megabytes of text): prepare and open (from the start of pretrain_spanbert.py to the first step), train (20
  steps of 8 blocks), vocabulary (training SentencePiece)
- document (tokens of one): prepare and open (run_long_qa.py, windows of 4,096 tokens every 3,072), decode (the n best
  answers from random logits), evaluate (a small BigBird answers a question about it)
- processes (the same work whatever their number; cpu_seconds are those of all): prepare (tokenizing 10 MB), train
  (steps of 8 rows of 512 tokens), evaluate (10,000 rows)

Everything runs on one core (on Linux), so that seconds do not depend on how many cores tokenizers find. Models are
tiny, so that what is around them is seen. Each process has imported everything beforehand; imports count neither as
time nor as memory. The JSON file has `seconds` (by the clock), `cpu_seconds` (computed, which other programs on the
machine hardly change), `peak_mib` (the most resident memory of the process, or of one that it started) and `added_mib`
(above what it had when the stage began) of every repeat, and the `date` and `commit` of each measurement.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":  # before the other imports, which take seconds; hours may be cut short by Ctrl-C
    from workflows.startup import run_main, start

    start()
    if hasattr(os, "sched_setaffinity"):  # before torch is imported, which counts the cores
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

from benchmarks import scale_stages
from benchmarks.measure import CPU, device_name, origin, write_figures
from benchmarks.scale_inputs import Inputs
from benchmarks.scale_stages import BY_TORCHRUN, IMPORTED, STAGES, measure
from models import ModelError, build_tokenizer
from processors import TASKS
from processors.pretraining.corpus_readers import open_corpus
from processors.task import DataError

SIZES: dict[str, list[float]] = {
    "rows": [1_000, 10_000, 100_000, 1_000_000],
    "tokens": [128, 256, 512, 1024, 2048, 4096],
    "steps": [100, 400, 1600],
    "corpus": [10, 50, 200],
    "document": [1_000, 10_000, 100_000, 500_000],
    "processes": [1, 2],
}
FIGURES = ("seconds", "cpu_seconds", "peak_mib", "added_mib")
QUICK_SIZES: dict[str, list[float]] = {
    "rows": [100, 300, 1_000],
    "tokens": [128, 256, 512],
    "steps": [10, 20, 40],
    "corpus": [0.1, 0.3, 1],
    "document": [1_000, 4_000, 12_000],
    "processes": [1, 2],
}
server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(IMPORTED)


def measured_once(inputs: Inputs, series: str, stage: str, size: float) -> dict[str, float]:
    """The figures of a stage, from a process of its own. Of several, those of the slowest and the largest; cpu_seconds
    are those of all.

    Raises RuntimeError, with what it said, where it failed.
    """
    with tempfile.TemporaryDirectory(dir=inputs.folder) as name:
        output, log = Path(name, "measured"), Path(name, "said.txt")
        order = {"series": series, "stage": stage, "size": size}
        if (series, stage) in BY_TORCHRUN and size > 1:
            content = json.dumps(order | {"inputs": inputs.content, "output": str(output)})
            torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={size}"]
            with log.open("w") as said:
                command = [sys.executable, *torchrun, scale_stages.__file__, content]
                code = subprocess.run(command, stdout=said, stderr=said).returncode
        else:
            process = server.Process(target=in_this_process, args=(inputs, order, output, log))
            process.start()
            try:
                process.join()
            finally:  # after Ctrl-C nothing may write to the folder that is deleted next
                process.kill()
                process.join()
            code = process.exitcode
        found = [json.loads(path.read_text()) for path in Path(name).glob("measured.*")]
        if code or not found:
            raise RuntimeError(f"{series}, {stage}, {size:g}: exit code {code}\n{log.read_text()[-3000:]}")
    return {key: (sum if key == "cpu_seconds" else max)(one[key] for one in found) for key in found[0]}


def in_this_process(inputs: Inputs, order: dict[str, Any], output: Path, log: Path) -> None:
    """Measures a stage once; what it says on standard output and error goes to `log`. order: series, stage, size."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(said, 1)
    os.dup2(said, 2)
    measure(inputs, order["series"], order["stage"], order["size"], output)


def measured(inputs: Inputs, series: str, stage: str, size: float, repeats: int, once_above: float) -> dict[str, Any]:
    """The figures of all repeats, rounded, for a cell of the JSON file."""
    figures: list[dict[str, float]] = []
    while len(figures) < repeats and (not figures or figures[-1]["cpu_seconds"] < once_above):
        figures.append(measured_once(inputs, series, stage, size))
    lists = {
        key: [float(f"{one[key]:.4g}" if key.endswith("seconds") else f"{one[key]:.1f}") for one in figures]
        for key in figures[0]
    }
    return {"series": series, "stage": stage, "size": size, **lists}


def parsed() -> argparse.Namespace:
    """The arguments; ends the program where they name what is not there or cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small sizes, once each: to see that everything works")
    parser.add_argument("--data_dir", type=Path, default=Path("sample_data"), help="folder that holds nsmc/")
    parser.add_argument("--corpus", type=Path, nargs="+", default=[Path("sample_data/corpus.jsonl")],
                        help="files or folders of running text")  # fmt: skip
    parser.add_argument("--tokenizer", type=Path, default=Path("sample_data/tiny-electra"), help="folder")
    parser.add_argument("--series", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=3, help="how often a stage is measured (default: 3)")
    parser.add_argument("--once_above", type=float, default=20,
                        help="seconds on the CPU above which a stage is not measured again (default: 20)")  # fmt: skip
    parser.add_argument("--work_dir", type=Path, help="existing folder for inputs and caches (gigabytes); default: a "
                        "temporary one")  # fmt: skip
    parser.add_argument("--json", type=Path, help="file for the figures, written after each size; what is in it "
                        "already and is not measured now stays")  # fmt: skip
    parser.add_argument("--missing", action="store_true", help="measure only the sizes that the file lacks")
    arguments = parser.parse_args()
    arguments.rows_file = arguments.data_dir / "nsmc" / "ratings_train.txt"
    for path in (arguments.rows_file, *arguments.corpus, arguments.tokenizer):
        if not path.exists():
            parser.error(f"{path}: no such file; scripts/make_sample_data.py makes the default ones")
    if arguments.repeats < 1:
        parser.error("repeats must be at least 1")
    if arguments.work_dir and not arguments.work_dir.is_dir():
        parser.error(f"{arguments.work_dir}: no such folder")
    try:
        arguments.header = origin(device_name(CPU)) | {"inputs": inputs_of(arguments)}
        arguments.earlier = read_earlier(arguments.json)
        refuse_other_measurements(arguments.earlier, arguments.header, arguments.json)
        TASKS["nsmc"].read(TASKS["nsmc"], arguments.rows_file)
        open_corpus(arguments.corpus)
        build_tokenizer(None, arguments.tokenizer)
    except (ValueError, DataError, ModelError) as error:
        parser.error(str(error))
    return arguments


def main() -> None:
    arguments = parsed()
    sizes, repeats = (QUICK_SIZES, 1) if arguments.quick else (SIZES, arguments.repeats)
    there = arguments.earlier.get("cells", [])
    earlier = [(cell["series"], cell["size"]) for cell in there] if arguments.missing else []
    with tempfile.TemporaryDirectory(dir=arguments.work_dir) as name:
        # Once the folder is there: who answers the first line with Ctrl-C would otherwise interrupt the making of the
        # folder, which then stays behind.
        print(f"{'series':<10} {'stage':<10} {'size':>9} {'seconds':>9} {'on CPU':>9} {'peak MiB':>9} {'added MiB':>9}")
        corpus = tuple(path.resolve() for path in arguments.corpus)
        inputs = Inputs(Path(name), arguments.rows_file.resolve(), corpus, arguments.tokenizer.resolve())
        for series, size in smallest_first({series: sizes[series] for series in arguments.series}):
            if (series, size) in earlier:
                continue
            cells = []
            for stage in STAGES[series]:
                try:
                    cells.append(measured(inputs, series, stage, size, repeats, arguments.once_above))
                except (DataError, RuntimeError) as error:
                    sys.exit(f"{Path(__file__).name}: {error}")
                figures = " ".join(f"{statistics.median(cells[-1][key]):>9.2f}" for key in FIGURES)
                print(f"{series:<10} {stage:<10} {size:>9,g} {figures}", flush=True)
            if arguments.json:
                write(arguments.json, arguments.header, cells)


def smallest_first(sizes: dict[str, list[float]]) -> list[tuple[str, float]]:
    """Series and sizes: the smallest of all series, then the next ones, so that hours can be cut short."""
    pairs = [(rank, series, size) for series, own in sizes.items() for rank, size in enumerate(own)]
    return [(series, size) for _, series, size in sorted(pairs, key=lambda pair: pair[0])]


def inputs_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was measured, as it was typed."""
    return {
        "quick": arguments.quick,
        "data_dir": str(arguments.data_dir),
        "corpus": list(map(str, arguments.corpus)),
        "tokenizer": str(arguments.tokenizer),
    }


def read_earlier(path: Path | None) -> dict[str, Any]:
    """The content of an earlier file; empty without one. Raises ValueError where it is not as `write` writes it."""
    if path is None or not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        unknown = [cell for cell in content["cells"] if cell["stage"] not in STAGES[cell["series"]]]
        lacking = [cell for cell in content["cells"] if not {"size", "date", "commit"} <= cell.keys()]
        is_whole = not (unknown or lacking) and bool(in_common(content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_whole = False
    if not is_whole:
        raise ValueError(f"{path} is not a file of {Path(__file__).name}: delete it, or take another --json")
    return content


def refuse_other_measurements(earlier: dict[str, Any], header: dict[str, Any], path: Path | None) -> None:
    """Raises ValueError where the earlier file was measured on something else: its figures cannot be compared with
    those of this call.
    """
    if not earlier:
        return
    before = in_common(earlier)
    for name, now in in_common(header).items():
        if before.get(name) != now:
            raise ValueError(
                f"{path} was measured with {name} {json.dumps(before.get(name))}, and this would be with "
                f"{json.dumps(now)}: delete it to measure everything anew, or take another --json"
            )


def in_common(content: dict[str, Any]) -> dict[str, Any]:
    """What all figures of a file must have in common, so that they can be compared: machine, versions and inputs."""
    return {"device": content["device"], "threads": content["threads"]} | content["versions"] | content["inputs"]


def write(path: Path, header: dict[str, Any], cells: list[dict[str, Any]]) -> None:
    """Writes the figures below the header. Earlier cells of other sizes and stages stay."""
    new = [cell | {key: header[key] for key in ("date", "commit")} for cell in cells]
    everything = [*read_earlier(path).get("cells", []), *new]
    kept = {(cell["series"], cell["stage"], cell["size"]): cell for cell in everything}
    order = [(series, stage) for series in SIZES for stage in STAGES[series]]
    ordered = sorted(kept.values(), key=lambda cell: (order.index((cell["series"], cell["stage"])), cell["size"]))
    lines = ",\n".join(f"  {json.dumps(cell)}" for cell in ordered)
    write_figures(path, f'{json.dumps(header, indent=1)[:-2]},\n "cells": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    sys.exit(run_main(main))
