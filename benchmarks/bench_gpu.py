"""Training steps and evaluations on a GPU, with and without captured steps, against what transformers' Trainer does.

    python3 benchmarks/bench_gpu.py nsmc_base --json out.json
    python3 benchmarks/bench_gpu.py bigbird_4096 --repeats 3
    python3 benchmarks/bench_gpu.py splinter --rehearse      # on a CPU, with tiny models: the figures mean nothing

No data and no weights are needed: models of the published shapes, with fresh weights, are trained on random tokens, in
rows as long as real ones (benchmarks/random_rows.py). benchmarks/gpu_arms.py explains the arms and the columns.

nsmc_base, nsmc_small: run_seq_cls.py, KoELECTRA's shapes, 32 reviews a step
bigbird_4096: run_long_qa.py, KoBigBird's shape, 2 rows of 4,096 tokens a step, or one of them of 3,000
korquad_base: run_squad.py, KoELECTRA-Base's shape, 8 windows of up to 512 tokens a step
spanbert, splinter: the pretraining scripts, 12 layers of 384, a vocabulary of 8,000, 32 rows of up to 512 tokens a step
evaluation: scoring NSMC, KoELECTRA-Base's shape, 64 rows a batch
first_step: seconds from the imports to the end of a first step, in a fresh Python
end_to_end: NSMC with batches that a thread makes while captured steps run, as in a real run
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks import gpu_cells
from benchmarks.gpu_arms import Bench, Part
from benchmarks.measure import report
from training.results import write_json
from training.runtime import quiet_libraries, why_no_gpu

# The most important cells first.
CELLS: dict[str, Callable[[Bench], Iterator[Part]]] = {
    "nsmc_base": functools.partial(gpu_cells.measure_sentences, shape="base"),
    "bigbird_4096": gpu_cells.measure_bigbird,
    "nsmc_small": functools.partial(gpu_cells.measure_sentences, shape="small"),
    "korquad_base": gpu_cells.measure_questions,
    "spanbert": gpu_cells.measure_spanbert,
    "splinter": gpu_cells.measure_splinter,
    "evaluation": gpu_cells.measure_evaluations,
    "first_step": gpu_cells.measure_first_step,
    "end_to_end": gpu_cells.measure_end_to_end,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("cell", choices=CELLS, help="what to measure")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny models: the figures mean nothing")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args(argv)
    if arguments.repeats < 1:
        parser.error("repeats must be at least 1")
    if not arguments.rehearse and not torch.cuda.is_available():
        print(f"bench_gpu.py: there is no GPU: {why_no_gpu()}; --rehearse tries it out on a CPU", file=sys.stderr)
        return 2
    if arguments.rehearse:
        os.environ["REHEARSE_CAPTURE"] = "1"
        torch.set_num_threads(1)  # more are no faster with models this small, and slower on a busy machine

    quiet_libraries()
    device, rows, ratios = "", [], {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.repeats, arguments.rehearse)
        for part in CELLS[arguments.cell](bench):
            device, rows, ratios = part.device, rows + part.rows, ratios | part.ratios
            if arguments.json:  # now, in case the next part crashes
                write_json(arguments.json, {"device": device, "rows": rows, "ratios": ratios})
    report(device, rows, ratios, None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
