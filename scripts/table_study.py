"""{title} by one command: task after task, the row of the table, and a chart, published scores beside them.

    bash scripts/{command} {model}                                        # every task, seed 42
    bash scripts/{command} {model} --seeds 42 43 44 --skip_missing
    bash scripts/{command} {model} --dry_run                              # the plan, missing data, an estimate
    bash scripts/{command} my-encoder/ --settings_of {model}              # a folder, or a hub id
    bash scripts/{command} {model} --scale sample                         # the sample's tiny model and data, minutes

The tasks, in the order of the table: {tasks}.

Each task is run with its own script and configuration (config/<task>/MODEL.json). A MODEL that is a hub id or a local
folder has the settings of koelectra-base-v3, unless --settings_of names another model. A known MODEL that has no
configuration for a task is refused: name tasks that it has, or a model with --settings_of, or give --skip_missing.
A local copy of a known model is named with --model_name_or_path FOLDER.

Everything is written to ckpt/{table}-table/<model>/<task>/seed-<seed>/, and table.md, scores.png and scores.svg above.
The same command continues where it was stopped: finished runs are not repeated, and stopped ones are resumed. Tasks and
seeds may be added, but the other arguments must stay the same.

All flags that are not listed here, such as --no_cuda, --precision fp32, --data_dir FOLDER or --save_total_limit 1, go
to every run (the scripts' --help lists them); they come behind MODEL.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the other imports, which take a second
    from reporting.start import run_main, start

    start()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models import MODELS, ModelError, find_model
from processors import TASKS
from processors.splits import SAMPLE_DATA
from processors.task import number_of
from reporting.figures import write_figure
from reporting.results_reading import stop, write_out
from reporting.run_progress import PlannedRun, make_all
from reporting.study import print_table, refuse_another_study, refuse_wrong_seeds, run, say
from reporting.table_cost import cost_of, cost_table
from reporting.table_plan import PlannedTask, plan_tasks, published_table, settings_from, tasks_of
from reporting.table_rows import TableRow, draw
from training.config import UsageError

TABLES = {
    "koelectra": ("KoELECTRA's eight tasks", "koelectra-base-v3"),
    "klue": ("KLUE's six tasks", "klue-roberta-base"),
}
SEED = 42
SAMPLE_MODEL = "tiny-electra"
SAME = ("model", "scale", "settings_of")  # arguments that must stay the same in a study
PASSED_ON = "flags for the runs"  # the name in study.json of those that are passed on


def parse_arguments() -> argparse.Namespace:
    table = sys.argv[1] if sys.argv[1:] and sys.argv[1] in TABLES else "koelectra"
    title, model = TABLES[table]
    command, tasks = f"run_{table}.sh", tasks_of(table)
    about = __doc__.format(title=title, command=command, model=model, table=table, tasks=", ".join(tasks))
    parser = argparse.ArgumentParser(prog=command, description=about, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("table", choices=TABLES, help=argparse.SUPPRESS)
    parser.add_argument("model", metavar="MODEL", help="name of a known model, hub id, or local folder")
    parser.add_argument("--tasks", nargs="+", choices=tasks, metavar="TASK", help="only these (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[SEED], help=f"one run each (default: {SEED})")
    parser.add_argument("--settings_of", metavar="MODEL", help="whose configurations to take (default: see above)")
    parser.add_argument("--scale", choices=["sample"], help="the sample data and their tiny model")
    parser.add_argument("--skip_missing", action="store_true", help="leave out tasks without data or configuration")
    parser.add_argument("--dry_run", action="store_true", help="show the plan, what is missing, and an estimate")
    parser.add_argument("--ckpt_dir", default="ckpt", help="folder for the table's own folder (default: ckpt)")
    parser.usage = f"{command} MODEL [--tasks TASK ...] [--seeds SEED ...] [flags for the runs]"
    arguments, arguments.passed_on = parser.parse_known_args()
    refuse_wrong_seeds(parser, arguments.seeds)
    arguments.tasks = [task for task in tasks if task in (arguments.tasks or tasks)]
    arguments.model = arguments.model.rstrip("/") or arguments.model
    sys.argv[0] = command  # messages begin with what was typed
    return arguments


def study_folder(arguments: argparse.Namespace) -> Path:
    """The folder that all runs of the model go into."""
    name = arguments.model if arguments.model in MODELS else Path(arguments.model).absolute().name
    return Path(arguments.ckpt_dir) / f"{arguments.table}-table" / f"{name}{'-sample' if arguments.scale else ''}"


def runs_of(planned: Sequence[PlannedTask], seeds: Sequence[int], study: Path) -> list[PlannedRun]:
    """Every run: task after task, in each of them seed after seed."""
    return [
        PlannedRun(
            name=f"{one.task}, seed {seed}",
            kind=one.task,
            folder=study / one.task / f"seed-{seed}",
            script=one.script,
            words=[*one.words, "--seed", str(seed)],
            weight=weight_of(one),
        )
        for one in planned
        for seed in seeds
    ]


def weight_of(planned: PlannedTask) -> float:
    """The time of a run in relation to others: the estimate for official files, else what is read times the epochs."""
    config = planned.config
    if config.data_dir != SAMPLE_DATA:
        return cost_of(planned.task, config).seconds
    if config.max_steps > 0:
        return config.max_steps
    files = config.files(TASKS[planned.task].folder)["train"]
    return config.num_train_epochs * sum(file.stat().st_size for file in files if isinstance(file, Path))


def say_plan(arguments: argparse.Namespace, planned: Sequence[PlannedTask], study: Path) -> None:
    """Prints what will be run, with which settings, and the estimate."""
    name = settings_from(arguments)
    model = f"the sample's {SAMPLE_MODEL}, in place of {arguments.model}" if arguments.scale else arguments.model
    seeds = f"seed{'s' * (len(arguments.seeds) > 1)} {', '.join(map(str, arguments.seeds))}"
    tasks = ", ".join(one.task for one in planned) or "no task"
    runs = number_of(len(planned) * len(arguments.seeds), "run")
    say(f"{TABLES[arguments.table][0]}: {model}; {tasks}; {seeds}; {runs}")
    say(f"settings: config/<task>/{name}.json {' '.join(arguments.passed_on)}".rstrip())
    say(f"results: {study}")
    if planned and not arguments.scale:
        titles = {column["task"]: column["title"] for column in published_table(arguments.table)["columns"]}
        costs = {one.task: cost_of(one.task, one.config) for one in planned}
        say(f"\n{cost_table(costs, titles, len(arguments.seeds))}")


def missing_of(arguments: argparse.Namespace, planned: Sequence[PlannedTask], unconfigured: Sequence[str]) -> list[str]:
    """What the table lacks, a line for each: files of tasks, with the way to get them, and configurations."""
    missing = [one.missing for one in planned if one.missing]
    if unconfigured:
        missing.append(
            f"{settings_from(arguments)} has no configuration for {', '.join(unconfigured)}; "
            "--settings_of koelectra-base-v3 takes that model's settings for all tasks"
        )
    return missing


def fetch_model(arguments: argparse.Namespace, planned: Sequence[PlannedTask]) -> None:
    """Ends the program where the model is not there. One on the hub is downloaded now."""
    config = planned[0].config
    try:
        find_model(config.model_type, config.model_name_or_path)
    except ModelError as error:
        is_known = arguments.model in MODELS
        stop(str(error) if is_known else str(error).replace("with --model_name_or_path", "as MODEL"))


def main() -> None:
    arguments = parse_arguments()
    try:
        planned, unconfigured = plan_tasks(arguments)
        if arguments.scale and any(one.missing for one in planned) and not arguments.dry_run:
            run("scripts/make_sample_data.py")
            planned, unconfigured = plan_tasks(arguments)
    except UsageError as error:
        stop(str(error))
    study = study_folder(arguments)
    missing = missing_of(arguments, planned, unconfigured)
    if missing and not arguments.skip_missing and not arguments.dry_run:
        stop("\n".join([*missing, "to leave these tasks out: --skip_missing, or --tasks"]))
    ready = [one for one in planned if not one.missing]
    say_plan(arguments, planned if arguments.dry_run else ready, study)
    for line in missing:
        say(f"{'missing' if arguments.dry_run else 'skipped'}: {line}")
    if arguments.dry_run:
        return
    if not ready:
        stop("there is no task left to run")
    if not arguments.scale:
        fetch_model(arguments, ready)
    asked = {name: getattr(arguments, name) for name in SAME} | {PASSED_ON: arguments.passed_on or None}
    refuse_another_study(study, asked)
    make_all(runs_of(ready, arguments.seeds, study), study)
    finish(arguments, study)


def finish(arguments: argparse.Namespace, study: Path) -> None:
    """Writes and prints the row, and draws the chart, of all runs that are there: earlier commands' too."""
    name = f"{SAMPLE_MODEL} (sample data)" if arguments.scale else study.name
    folders = {task: study / task for task in tasks_of(arguments.table)}
    row = TableRow.of(published_table(arguments.table), arguments.model, name, folders)
    write_out(row.markdown(), study / "table.md")
    seeds = {run.seed for runs in row.cells.values() for run in runs}
    spread = f", mean and standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else ""
    title = f"{TABLES[arguments.table][0]}: {row.name}{spread}"
    try:
        for path in write_figure(lambda: draw(row, title), study / "scores"):
            say(f"wrote {path}")
    except OSError as error:
        stop(f"cannot draw the chart in {study}: {error.strerror}")
    say("")
    print_table(study / "table.md")


if __name__ == "__main__":
    sys.exit(run_main(main))
