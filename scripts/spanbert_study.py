"""The Korean SpanBERT's study: does pretraining help on NSMC, and which pooling is best?

    bash scripts/run_spanbert_nsmc.sh --scale sample                                  # the sample data, minutes
    bash scripts/run_spanbert_nsmc.sh --scale half --corpus kowiki.txt                # 12 layers of 384
    bash scripts/run_spanbert_nsmc.sh --scale base --corpus kowiki/ --seeds 42 43 44

Pretrains for ten epochs (config/spanbert/<scale>.json), fine-tunes on NSMC after 0, 5 and 10 of them with the poolings
of the published table (config/nsmc/spanbert-<scale>.json), prints that table, and draws both of its figures. Everything
goes into ckpt/spanbert-nsmc-<scale>/. What is finished there is not run again, and what was stopped goes on, with the
same arguments.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from results_reading import PUBLISHED, stop

REPOSITORY = Path(__file__).resolve().parents[1]
PRETRAINING_EPOCHS = 10
FINISHED = ("results.json", "seeds.json")  # a run has one of them when it is done
ARGUMENTS_FILE = "study.json"
SAME = ("corpus", "data_dir", "seeds", "precision")  # what a study that goes on must be given again


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run_spanbert_nsmc.sh", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--scale", choices=["sample", "half", "base"], required=True, help="size of model and data")
    pretraining = parser.add_argument_group("for pretrain_spanbert.py")
    pretraining.add_argument("--corpus", nargs="+", help="files and folders of raw text; default: the configuration's")
    pretraining.add_argument("--processes", help="that tokenize")
    fine_tuning = parser.add_argument_group("for run_seq_cls.py")
    fine_tuning.add_argument("--data_dir", help="folder that holds nsmc/; default: the configuration's, else data")
    fine_tuning.add_argument("--seeds", nargs="+", type=int, help="several fine-tunings a row; then mean and deviation")
    both = parser.add_argument_group("for both")
    both.add_argument("--ckpt_dir", default="ckpt", help="folder that holds the study's (default: ckpt)")
    both.add_argument("--cache_dir", help="folder for tokenized data")
    both.add_argument("--precision", help="auto, fp32, bf16 or fp16")
    both.add_argument("--no_cuda", action="store_true", help="use the CPU even where there is a GPU")
    arguments = parser.parse_args()
    seeds = arguments.seeds or []
    if len(set(seeds)) < len(seeds) or min(seeds, default=0) < 0:
        parser.error("--seeds must be whole numbers from 0 on, each of them once")
    return arguments


def flags(arguments: argparse.Namespace, *names: str) -> list[str]:
    """`--name value` of those that were given, for another command."""
    words: list[str] = []
    for name in names:
        value = getattr(arguments, name)
        if value is True:
            words += [f"--{name}"]
        elif isinstance(value, list):
            words += [f"--{name}", *map(str, value)]
        elif value:
            words += [f"--{name}", value]
    return words


def run(script: str, *words: str | Path) -> None:
    """A command of this repository, shown before it runs; ends the study with its exit code where it fails."""
    print(f"\n$ python3 {shlex.join([script, *map(str, words)])}", flush=True)
    code = subprocess.run([sys.executable, REPOSITORY / script, *map(str, words)], check=False).returncode
    if code:
        raise SystemExit(code)


def is_finished(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FINISHED)


def refuse_another_study(study: Path, arguments: argparse.Namespace) -> None:
    """Keeps the arguments of a study; ends one that would go on with others, and call finished what they never ran."""
    path, asked = study / ARGUMENTS_FILE, {name: getattr(arguments, name) for name in SAME}
    if not path.is_file():
        study.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asked, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    begun = json.loads(path.read_text(encoding="utf-8"))
    if others := [name for name in SAME if begun.get(name) != asked[name]]:
        told = ", ".join(f"--{name} {begun.get(name) or '(none)'}, not {asked[name] or '(none)'}" for name in others)
        stop(f"{study} was begun with {told}: delete it, or take another --ckpt_dir")
    stale = [folder.name for folder in sorted(study.glob("pre-*")) if is_finished(folder)]
    if stale and not is_finished(study / "pretraining"):
        stop(f"{study} holds fine-tunings of an earlier pretraining ({', '.join(stale)}): delete them too")


def run_unless_finished(folder: Path, script: str, *words: str | Path) -> None:
    """The command whose results lie in `folder`, or in a folder for each seed."""
    if is_finished(folder):
        print(f"{folder} is finished; delete it to run it again", flush=True)
    else:
        resume = ["--resume"] if folder.is_dir() else []
        run(script, *words, "--ckpt_dir", folder.parent, "--output_dir", folder.name, *resume)


def checkpoint_after(epochs: int, pretraining: Path) -> Path:
    """The checkpoint that was written at the end of that epoch."""
    for path in pretraining.glob("checkpoint-*/config.json"):
        try:
            known = json.loads(path.read_text(encoding="utf-8")).get("pretraining") or {}
        except ValueError:  # of a damaged checkpoint, which may be another than the one that is needed
            continue
        if known.get("epochs") == epochs:
            return path.parent
    stop(f"{pretraining} holds no checkpoint of epoch {epochs}; delete it to pretrain again")


def refuse_missing_data(arguments: argparse.Namespace) -> None:
    """Ends the study where there is no folder to fine-tune on: after days of pretraining that would come too late."""
    config = REPOSITORY / "config" / "nsmc" / f"spanbert-{arguments.scale}.json"
    data_dir = arguments.data_dir or json.loads(config.read_text(encoding="utf-8")).get("data_dir", "data")
    folder = Path(data_dir) / "nsmc"
    if not folder.is_dir():
        stop(f"there is no {folder} to fine-tune on: bash scripts/download_data.sh nsmc, or --data_dir")


def fine_tune(study: Path, arguments: argparse.Namespace, common: Sequence[str]) -> list[Path]:
    """A run for each published row; returns their folders."""
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
    refuse_missing_data(arguments)
    refuse_another_study(study, arguments)
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
    print((study / "table.md").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
