"""The Korean SpanBERT's study: does pretraining help on NSMC, and which pooling is best?

    bash scripts/run_spanbert_nsmc.sh --scale sample                                  # the sample data, minutes
    bash scripts/run_spanbert_nsmc.sh --scale half --corpus kowiki.txt                # 12 layers of 384
    bash scripts/run_spanbert_nsmc.sh --scale half --corpus kowiki.txt --as_published # as the original ran it
    bash scripts/run_spanbert_nsmc.sh --scale base --corpus kowiki/ --seeds 42 43 44

Pretrains (config/spanbert/<scale>.json), fine-tunes on NSMC after 0, 5 and 10 epochs of it with the poolings of the
published table (config/nsmc/spanbert-<scale>.json), prints that table, and draws both of its figures. Everything is
written to ckpt/spanbert-nsmc-<scale>/. The same command continues an interrupted study: finished runs are not repeated,
and stopped ones are resumed.

Without --as_published, pretraining follows the SpanBERT paper, in one run of 10 epochs: the rows with 5 epochs take its
checkpoint of that epoch. With --as_published, everything is written to ckpt/spanbert-nsmc-<scale>-as-published/, and
pretraining does what the Korean original's code does: a run of 5 and a run of 10 epochs, in each of which the learning
rate falls to 0, with these settings:
{as_published}

All flags that are not listed here go to pretrain_spanbert.py (its --help lists them), such as --learning_rate 1e-4 or
--vocab_size 16000, except those that the study itself sets.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import json
import sys
from pathlib import Path

from pretrain_spanbert import SpanBertConfig
from reporting.results_reading import PUBLISHED, stop
from reporting.spanbert_recipes import AS_PUBLISHED, words_of
from reporting.study import (
    REPOSITORY,
    add_common_arguments,
    flag_names,
    flags,
    print_table,
    refuse_another_study,
    refuse_missing_data,
    refuse_older_fine_tunings,
    refuse_wrong_seeds,
    run,
    run_unless_finished,
)
from training.command_line import resolve
from training.config import UsageError

PRETRAINING_EPOCHS = 10
SAME = ("corpus", "data_dir", "seeds", "precision")  # arguments that must stay the same in a study
PASSED_ON = "flags for pretraining"  # the name in study.json of those that pretrain_spanbert.py is given
# Flags of pretrain_spanbert.py that decide where its runs are, and which epochs they leave checkpoints of.
SET_BY_THE_STUDY = frozenset(
    "config_file task output_dir resume overwrite_output_dir dry_run num_train_epochs max_steps min_steps "
    "early_stopping_patience save_steps save_total_limit".split()
)


def parse_arguments() -> argparse.Namespace:
    words = words_of(AS_PUBLISHED)
    settings = [f"    {flag} {value}" for flag, value in zip(words[::2], words[1::2], strict=True)]
    about = __doc__.format(as_published="\n".join(settings))
    parser = argparse.ArgumentParser(prog="run_spanbert_nsmc.sh", description=about, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--scale", choices=["sample", "half", "base"], required=True, help="size of model and data")
    pretraining = parser.add_argument_group("for pretrain_spanbert.py")
    pretraining.add_argument("--corpus", nargs="+", help="files and folders of raw text; default: the configuration's")
    pretraining.add_argument("--processes", help="how many processes tokenize")
    pretraining.add_argument(
        "--as_published", action="store_true", help="pretrain as the Korean original did; default: as the paper did"
    )
    fine_tuning = parser.add_argument_group("for run_seq_cls.py")
    fine_tuning.add_argument("--data_dir", help="folder that holds nsmc/; default: the configuration's, else data")
    fine_tuning.add_argument(
        "--seeds", nargs="+", type=int, help="fine-tune each row with these seeds; shows mean and standard deviation"
    )
    both = parser.add_argument_group("for both")
    add_common_arguments(both)
    arguments, arguments.passed_on = parser.parse_known_args()
    if problem := problem_of(arguments):
        parser.error(problem)
    refuse_wrong_seeds(parser, arguments.seeds or [])
    return arguments


def problem_of(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the settings of pretraining, or None: a mistyped flag is better refused now than later."""
    if arguments.passed_on and not arguments.passed_on[0].startswith("--"):
        return f"unexpected word {arguments.passed_on[0]!r}: settings are given as --key value"
    for name in flag_names(arguments.passed_on):
        if name in SET_BY_THE_STUDY:
            return f"--{name} is set by the study itself: leave it out"
        if arguments.as_published and name in AS_PUBLISHED:
            return f"--as_published sets --{name} too: leave one of them out"
    try:
        words = settings_of_pretraining(arguments)
        script = "pretrain_spanbert.py"
        resolve(SpanBertConfig, words, {"spanbert": {}}, REPOSITORY / "config", "", script=script)
    except UsageError as error:
        return str(error)
    return None


def settings_of_pretraining(arguments: argparse.Namespace) -> list[str]:
    """The words for pretrain_spanbert.py that all of the study's pretrainings share."""
    recipe = words_of(AS_PUBLISHED) if arguments.as_published else []
    shared = flags(arguments, "corpus", "processes", "cache_dir", "precision", "no_cuda")
    return ["--config_file", f"{arguments.scale}.json", *recipe, *shared, *arguments.passed_on]


def published_rows() -> list[tuple[int, str]]:
    """Epochs of pretraining, and pooling, of each published row."""
    rows = json.loads(PUBLISHED.read_text(encoding="utf-8"))["spanbert_nsmc"]["rows"]
    return [(row["pretrain_epochs"], row["pooling"]) for row in rows]


def pretraining_of(epochs: int, as_published: bool) -> tuple[str, int]:
    """The folder of the pretraining that a row with so many epochs begins with, and for how many epochs that runs.

    Rows without pretraining take only architecture and tokenizer from it.
    """
    if not as_published:
        return "pretraining", PRETRAINING_EPOCHS
    epochs = epochs or PRETRAINING_EPOCHS
    return f"pretraining-{epochs}", epochs


def pretrain(study: Path, arguments: argparse.Namespace) -> None:
    """Runs each pretraining that the published rows need."""
    runs = {pretraining_of(epochs, arguments.as_published) for epochs, _ in published_rows()}
    for folder, epochs in sorted(runs, key=lambda one: one[1]):
        most = "1" if arguments.as_published else str(epochs)
        checkpoints = ["--num_train_epochs", str(epochs), "--save_steps", "epoch", "--save_total_limit", most]
        run_unless_finished(study / folder, "pretrain_spanbert.py", *settings_of_pretraining(arguments), *checkpoints)


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


def fine_tune(study: Path, arguments: argparse.Namespace) -> list[Path]:
    """Fine-tunes a model for each published row, and returns the runs' folders."""
    folders = []
    for epochs, pooling in published_rows():
        folders.append(study / f"pre-{epochs}-{pooling}")
        folder, trained = pretraining_of(epochs, arguments.as_published)
        model = checkpoint_after(epochs or trained, study / folder)
        words = ["--task", "nsmc", "--config_file", f"spanbert-{arguments.scale}.json"]
        words += ["--model_name_or_path", model, "--pooling", pooling, *([] if epochs else ["--from_scratch"])]
        shared = flags(arguments, "data_dir", "seeds", "cache_dir", "precision", "no_cuda")
        run_unless_finished(folders[-1], "run_seq_cls.py", *words, *shared)
    return folders


def main() -> None:
    arguments = parse_arguments()
    name = f"spanbert-nsmc-{arguments.scale}" + ("-as-published" if arguments.as_published else "")
    study = Path(arguments.ckpt_dir) / name
    if arguments.scale == "sample" and not Path("sample_data").is_dir():
        run("scripts/make_sample_data.py")
    config = REPOSITORY / "config" / "nsmc" / f"spanbert-{arguments.scale}.json"
    refuse_missing_data(config, arguments.data_dir, "nsmc")
    asked = {name: getattr(arguments, name) for name in SAME} | {PASSED_ON: arguments.passed_on or None}
    refuse_another_study(study, asked)
    starts = {f"pre-{epochs}-*": pretraining_of(epochs, arguments.as_published)[0] for epochs, _ in published_rows()}
    refuse_older_fine_tunings(study, starts)
    pretrain(study, arguments)
    folders = fine_tune(study, arguments)
    for panel, name in (("loss", "loss"), ("score", "accuracy")):
        drawing = ["--output", study / name, "--panels", panel, "--x", "epoch", "--name_by", "folder"]
        run("scripts/plot_runs.py", *folders, *drawing)
    run("scripts/spanbert_table.py", *folders, "--output", study / "table.md")
    print_table(study / "table.md")


if __name__ == "__main__":
    sys.exit(run_main(main))
