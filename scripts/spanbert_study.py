"""The Korean SpanBERT's study: does pretraining help on NSMC, and which pooling is best?

    bash scripts/run_spanbert_nsmc.sh --scale sample                                  # the sample data, minutes
    bash scripts/run_spanbert_nsmc.sh --scale half --corpus kowiki.txt                # 12 layers of 384
    bash scripts/run_spanbert_nsmc.sh --scale base --corpus kowiki/ --seeds 42 43 44

Pretrains for ten epochs (config/spanbert/<scale>.json), fine-tunes on NSMC after 0, 5 and 10 of them with the poolings
of the published table (config/nsmc/spanbert-<scale>.json), prints that table, and draws both of its figures. Everything
is written to ckpt/spanbert-nsmc-<scale>/. The same command continues an interrupted study: finished runs are not
repeated, and stopped ones are resumed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the repository, for storage/

from reporting.results_reading import PUBLISHED, stop
from reporting.study import (
    REPOSITORY,
    add_common_arguments,
    flags,
    print_table,
    refuse_another_study,
    refuse_missing_data,
    refuse_older_fine_tunings,
    run,
    run_unless_finished,
)

PRETRAINING_EPOCHS = 10
SAME = ("corpus", "data_dir", "seeds", "precision")  # arguments that must stay the same in a study


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run_spanbert_nsmc.sh", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--scale", choices=["sample", "half", "base"], required=True, help="size of model and data")
    pretraining = parser.add_argument_group("for pretrain_spanbert.py")
    pretraining.add_argument("--corpus", nargs="+", help="files and folders of raw text; default: the configuration's")
    pretraining.add_argument("--processes", help="how many processes tokenize")
    fine_tuning = parser.add_argument_group("for run_seq_cls.py")
    fine_tuning.add_argument("--data_dir", help="folder that holds nsmc/; default: the configuration's, else data")
    fine_tuning.add_argument(
        "--seeds", nargs="+", type=int, help="fine-tune each row with these seeds; shows mean and standard deviation"
    )
    both = parser.add_argument_group("for both")
    add_common_arguments(both)
    arguments = parser.parse_args()
    seeds = arguments.seeds or []
    if len(set(seeds)) < len(seeds) or min(seeds, default=0) < 0:
        parser.error("--seeds must be whole numbers from 0 on, each of them once")
    return arguments


def checkpoint_after(epochs: int, pretraining: Path) -> Path:
    """The checkpoint that was written at the end of that epoch."""
    for path in pretraining.glob("checkpoint-*/config.json"):
        try:
            known = json.loads(path.read_text(encoding="utf-8")).get("pretraining") or {}
        except ValueError:  # a damaged checkpoint; the one that is needed may be intact
            continue
        if known.get("epochs") == epochs:
            return path.parent
    stop(f"{pretraining} holds no checkpoint of epoch {epochs}; delete it to pretrain again")


def fine_tune(study: Path, arguments: argparse.Namespace, common: Sequence[str]) -> list[Path]:
    """Fine-tunes a model for each published row, and returns the runs' folders."""
    folders = []
    for row in json.loads(PUBLISHED.read_text(encoding="utf-8"))["spanbert_nsmc"]["rows"]:
        epochs, pooling = row["pretrain_epochs"], row["pooling"]
        folders.append(study / f"pre-{epochs}-{pooling}")
        model = checkpoint_after(epochs or PRETRAINING_EPOCHS, study / "pretraining")
        words = ["--task", "nsmc", "--config_file", f"spanbert-{arguments.scale}.json"]
        words += ["--model_name_or_path", model, "--pooling", pooling, *([] if epochs else ["--from_scratch"])]
        run_unless_finished(folders[-1], "run_seq_cls.py", *words, *flags(arguments, "data_dir", "seeds"), *common)
    return folders


def main() -> None:
    arguments = parse_arguments()
    study = Path(arguments.ckpt_dir) / f"spanbert-nsmc-{arguments.scale}"
    common = flags(arguments, "cache_dir", "precision", "no_cuda")
    if arguments.scale == "sample" and not Path("sample_data").is_dir():
        run("scripts/make_sample_data.py")
    config = REPOSITORY / "config" / "nsmc" / f"spanbert-{arguments.scale}.json"
    refuse_missing_data(config, arguments.data_dir, "nsmc")
    refuse_another_study(study, arguments, SAME)
    refuse_older_fine_tunings(study, "pre-*")
    every_epoch = ["--num_train_epochs", str(PRETRAINING_EPOCHS), "--save_steps", "epoch"]
    every_epoch += ["--save_total_limit", str(PRETRAINING_EPOCHS)]
    run_unless_finished(
        study / "pretraining",
        "pretrain_spanbert.py",
        *["--config_file", f"{arguments.scale}.json", *every_epoch],
        *flags(arguments, "corpus", "processes"),
        *common,
    )
    folders = fine_tune(study, arguments, common)
    for panel, name in (("loss", "loss"), ("score", "accuracy")):
        drawing = ["--output", study / name, "--panels", panel, "--x", "epoch", "--name_by", "folder"]
        run("scripts/plot_runs.py", *folders, *drawing)
    run("scripts/spanbert_table.py", *folders, "--output", study / "table.md")
    print_table(study / "table.md")


if __name__ == "__main__":
    main()
