"""python3 -m pytest tests/scripts/test_tensorboard.py

`--report_to tensorboard` as users type it; TensorBoard's own reader says what they see.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import BRIEFLY, ONE_STEP, REPOSITORY, User, nsmc, sample, wait_for_steps
from tensorboard_curves import files_of, logged, shown

pytest.importorskip("tensorboard")
TO_TENSORBOARD = ["--report_to", "tensorboard"]


def expect_curves_of_the_log(folder: Path, metric: str | None) -> None:
    curves = shown(folder)
    assert len(files_of(folder)) == 1 and curves == logged(folder)
    assert {"train/loss", "train/learning_rate", *([f"eval/{metric}"] if metric else [])} <= curves.keys()


def test_each_seed_has_curves_of_its_own(user: User) -> None:
    user.types(*nsmc("tb-seeds", *BRIEFLY, *TO_TENSORBOARD, "--seeds", 1, 2))
    for seed in (1, 2):
        expect_curves_of_the_log(user.run_dir(f"tb-seeds/seed-{seed}"), "accuracy")
    assert files_of(user.run_dir("tb-seeds")) == []
    first, second = (shown(user.run_dir(f"tb-seeds/seed-{seed}"))["train/loss"] for seed in (1, 2))
    assert [step for step, _ in first] == [step for step, _ in second] and first != second


def test_it_is_a_key_of_a_json_file_too_and_of_no_effect_on_a_score(user: User) -> None:
    own = user.folder / "own-config" / "nsmc"
    own.mkdir(parents=True)
    settings = json.loads((REPOSITORY / "config/nsmc/sample.json").read_text(encoding="utf-8"))
    (own / "tb.json").write_text(json.dumps(settings | {"report_to": "tensorboard"}), encoding="utf-8")
    words = ["--task", "nsmc", "--config_file", "tb.json", "--config_dir", "own-config", *BRIEFLY]
    user.types(*words, "--output_dir", "tb-json")
    user.types(*words, "--output_dir", "tb-none", "--report_to", "none")
    assert files_of(user.run_dir("tb-none")) == []
    expect_curves_of_the_log(user.run_dir("tb-json"), "accuracy")
    assert user.losses("tb-json") == user.losses("tb-none")


def test_pretraining_has_curves(user: User) -> None:
    words = ["--config_file", "sample.json", *BRIEFLY, *TO_TENSORBOARD, "--output_dir", "tb-spanbert"]
    user.types(*words, script="pretrain_spanbert.py")
    expect_curves_of_the_log(user.run_dir("tb-spanbert"), "mlm_loss")


def test_each_sample_of_a_few_shot_study_has_curves(user: User) -> None:
    model = ["--model_name_or_path", "sample_data/tiny-electra", "--from_scratch", "--head", "linear"]
    few = ["--few_shot", 8, 16, "--samples", 1, "--max_steps", 2, "--logging_steps", 1, "--no_cuda"]
    user.types(*sample("korquad-few-shot", "tb-few", *model, *few, *TO_TENSORBOARD), script="run_splinter_qa.py")
    for size in (8, 16):
        expect_curves_of_the_log(user.run_dir(f"tb-few/{size}/seed-42"), None)


def test_a_killed_run_can_be_read_and_goes_on_in_the_same_curves(user: User) -> None:
    words = nsmc("tb-killed", "--max_steps", 40, "--logging_steps", 1, "--eval_steps", 20, "--save_steps", 5,
                 "--no_cuda", *TO_TENSORBOARD)  # fmt: skip
    folder = user.run_dir("tb-killed")
    process = user.starts(*words)
    try:
        wait_for_steps(process, folder, 8)
    finally:
        process.kill()
        process.communicate()
    (left,) = files_of(folder)
    points, told = (curves(folder)["train/loss"] for curves in (shown, logged))
    assert len(points) >= 7 and points == told[: len(points)] and len(told) - len(points) <= 1  # killed between both
    user.types(*words, "--resume")
    expect_curves_of_the_log(folder, "accuracy")
    assert [step for step, _ in shown(folder)["train/loss"]] == list(range(1, 41))
    assert files_of(folder) != [left]
    user.types(*nsmc("tb-killed", *ONE_STEP), "--overwrite_output_dir")
    assert files_of(folder) == []  # it belonged to the run


@pytest.mark.slow
def test_where_the_library_is_missing_a_line_says_what_to_type(user: User, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tensorboard'] = None\n", encoding="utf-8")
    environment = user.environment | {"PYTHONPATH": str(tmp_path)}
    said = user.types(*nsmc("tb-missing", *ONE_STEP, *TO_TENSORBOARD), code=2, env=environment).error
    assert said == "report_to tensorboard needs a library that is not installed: python3 -m pip install tensorboard"
    assert not user.run_dir("tb-missing").exists()
    user.types(*nsmc("tb-missing", *ONE_STEP), env=environment)  # nobody needs it otherwise


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--report_to", "wandb"], '--report_to must be none or tensorboard, not "wandb"'),
        (["--report_to", "tensorboard", "--dry_run"], "--report_to has no effect on a dry run"),
        (["--report_to", "tensorboard", "--do_eval"], "--report_to has no effect without training"),
    ],
)
def test_other_values_and_uses_are_refused_in_a_line(user: User, words: list[str], message: str) -> None:
    error = user.is_refused(*nsmc("tb-refused", *words))
    assert message in error and "\n" not in error.strip()
