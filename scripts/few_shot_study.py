"""KoSplinter's study: how well a model answers KorQuAD's questions after learning from few of them.

    bash scripts/run_korquad_few_shot.sh --splinter kosplinter/        # against KoELECTRA-Base-v3, eight sizes
    bash scripts/run_korquad_few_shot.sh --splinter kosplinter/ --few_shot 16 64 --samples 3 --data_dir data
    bash scripts/run_korquad_few_shot.sh --splinter kosplinter/ --baseline klue/roberta-base
    bash scripts/run_korquad_few_shot.sh --scale sample                # the sample data, minutes

Fine-tunes Splinter and another encoder on samples of KorQuAD's questions, scores each on its whole development file,
prints the table beside the published one (table.md), and draws it (few_shot.png, few_shot.svg). With --scale sample a
small Splinter is pretrained first, and compared with the same model from scratch. Everything is written to
ckpt/korquad-few-shot[-sample]/. The same command continues an interrupted study: finished runs are not repeated, and
stopped ones are resumed. Sizes and samples may be added, but the other arguments must stay the same.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import json
import sys
from pathlib import Path

from reporting.few_shot_cells import TASK, published_scores
from reporting.results_reading import stop
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
    settings_as_flags,
)

# Arguments that must stay the same in a study.
SAME = ("splinter", "kosplinter_compat", "baseline", "data_dir", "precision", "seed")
CONFIGS = REPOSITORY / "config" / TASK
SAMPLE_DATA = "sample_data/few_shot"
WHERE_KOSPLINTER_IS = (
    "KoSplinter's is on Google Drive, to be fetched by hand: the README of https://github.com/YunSoungKim/KoSplinter "
    "has the link"
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run_korquad_few_shot.sh", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--splinter", metavar="FOLDER", help="checkpoint of a Splinter; that of KoSplinter in a folder "
                       "kosplinter, so that its published scores stand beside the measured ones")  # fmt: skip
    which.add_argument("--scale", choices=["sample"], help="pretrain a small Splinter on the sample data instead")
    theirs = "read questions as KoSplinter's released code did, with which its published scores were made"
    parser.add_argument("--kosplinter_compat", action="store_true", default=None, help=theirs)
    parser.add_argument(
        "--baseline", metavar="MODEL", help="hub id or folder; default: KoELECTRA-Base-v3, from the hub"
    )
    sizes = "numbers of training questions; default: 16 to 1024 and full; 16 and 64 with --scale sample"
    parser.add_argument("--few_shot", nargs="+", metavar="SIZE", help=sizes)
    parser.add_argument("--samples", type=int, default=3, help="how many samples of each size (default: 3)")
    parser.add_argument("--seed", type=int, help="seed of the first sample; further samples use the following seeds")
    parser.add_argument("--data_dir", help=f"folder that holds korquad/; default: data, or {SAMPLE_DATA}")
    add_common_arguments(parser)
    arguments = parser.parse_args()
    if arguments.scale and arguments.baseline:
        parser.error("--scale sample compares its Splinter with the same from scratch: leave --baseline out")
    if arguments.scale and arguments.kosplinter_compat:
        parser.error("--kosplinter_compat is for --splinter: the sample's Splinter is of this suite")
    for name in ("splinter", "baseline", "data_dir"):  # kosplinter/ is kosplinter
        value = getattr(arguments, name)
        setattr(arguments, name, value and str(Path(value)))
    return arguments


def refuse_missing_models(arguments: argparse.Namespace) -> None:
    """Ends the study if a model is missing. A model on the hub is downloaded now, so that it is there when needed."""
    from models import ModelError, find_model

    if not (Path(arguments.splinter) / "config.json").is_file():
        stop(f"there is no model in {arguments.splinter} (no config.json); {WHERE_KOSPLINTER_IS}")
    try:
        find_model(None if arguments.baseline else "koelectra-base-v3", arguments.baseline)
    except ModelError as error:
        stop(f"the baseline: {error}".replace("--model_name_or_path", "--baseline"))


def published_pair(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Name of a model's folder in the study -> its words for run_splinter_qa.py."""
    config = json.loads((Path(arguments.splinter) / "config.json").read_text(encoding="utf-8"))
    is_named = Path(arguments.splinter).name.lower() == "kosplinter"
    is_kosplinter = is_named and not config.get("pretraining")  # checkpoints of this suite have this key
    splinter = ["--config_file", "kosplinter.json"] if is_kosplinter else settings_as_flags(CONFIGS / "kosplinter.json")
    splinter += flags(arguments, "kosplinter_compat")
    baseline = ["--config_file", "koelectra-base-v3.json"]
    if arguments.baseline:
        baseline = [*settings_as_flags(CONFIGS / "koelectra-base-v3.json"), "--model_name_or_path", arguments.baseline]
    return {"splinter": [*splinter, "--model_name_or_path", arguments.splinter], "baseline": baseline}


def sample_pair(folder: Path, common: list[str]) -> dict[str, list[str]]:
    """The words for the sample's Splinter, pretrained first if it is not yet, and for the same model from scratch."""
    refuse_older_fine_tunings(folder, {"*/*/seed-*": "pretraining"})
    pretraining = folder / "pretraining"
    run_unless_finished(pretraining, "pretrain_splinter.py", "--config_file", "sample.json", *common)
    checkpoints = sorted(pretraining.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    if not checkpoints:
        stop(f"{pretraining} holds no checkpoint; delete it to pretrain again")
    words = ["--config_file", "sample.json", "--model_name_or_path", str(checkpoints[-1])]
    return {"splinter": words, "from-scratch": [*words, "--from_scratch"]}


def main() -> None:
    arguments = parse_arguments()
    is_sample = arguments.scale == "sample"
    folder = Path(arguments.ckpt_dir) / (f"{TASK}-sample" if is_sample else TASK)
    config_file = "sample.json" if is_sample else "kosplinter.json"
    if is_sample and not arguments.data_dir and not Path(SAMPLE_DATA).is_dir():
        run("scripts/make_sample_data.py")
    refuse_missing_data(CONFIGS / config_file, arguments.data_dir, "korquad")
    if not is_sample:
        refuse_missing_models(arguments)
    refuse_another_study(folder, {name: getattr(arguments, name) for name in SAME})

    common = flags(arguments, "cache_dir", "precision", "no_cuda")
    models = sample_pair(folder, common) if is_sample else published_pair(arguments)
    sizes = arguments.few_shot or ([16, 64] if is_sample else published_scores()["sizes"])
    words = ["--few_shot", *map(str, sizes), *flags(arguments, "samples", "seed", "data_dir"), *common]
    for name, its_own in models.items():  # the script itself skips finished samples and resumes
        run("run_splinter_qa.py", "--task", TASK, *its_own, *words, "--ckpt_dir", folder, "--output_dir", name)
    folders = [folder / name for name in models]
    run("scripts/plot_runs.py", *folders, "--x", "questions", "--output", folder / "few_shot")
    run("scripts/results_table.py", *folders, "--shape", "kosplinter", "--output", folder / "table.md")
    print_table(folder / "table.md")


if __name__ == "__main__":
    sys.exit(run_main(main))
