"""Evaluating, predicting and resuming on another day, with other data or settings: nothing wrong goes unnoticed."""

import json
import shutil

import pytest

from conftest import BRIEFLY, User, nsmc, sample

SHORT = ["--max_seq_len", "32", "--train_batch_size", "4", *BRIEFLY]


@pytest.fixture
def news(user: User) -> User:
    """The sample's news in a folder of its own, to be changed."""
    shutil.copytree(user.folder / "sample_data" / "fake_news", user.folder / "other" / "fake_news", dirs_exist_ok=True)
    return user


def fake_news(*words: object) -> list[object]:
    return sample("fake-news", "news", "--data_dir", "other", *words)


def test_rows_of_the_training_are_never_scored_as_held_out_rows(news):
    """The test rows are drawn from the training file: another file or other settings make another draw."""
    news.types(*fake_news(*SHORT, "--overwrite_output_dir"))
    trained = news.results("news")
    news.types(*fake_news("--max_seq_len", "32", "--do_eval"))
    again = news.results("news")
    assert again["training"] == trained["training"] and again["data"] == trained["data"]
    assert again["config"]["learning_rate"] == trained["config"]["learning_rate"]

    assert "test_file" in news.is_refused(
        *fake_news("--do_eval", "--max_seq_len", "32", "--test_file", "mission2_train.csv")
    )
    assert "max_seq_len 32" in news.is_refused(*fake_news("--do_eval", "--max_seq_len", "64"))
    file = news.folder / "other" / "fake_news" / "mission2_train.csv"
    file.write_bytes(file.read_bytes() + '999,"한 줄 더","덧붙인 기사",0\n'.encode())
    error = news.is_refused(*fake_news("--do_eval", "--max_seq_len", "32"))
    assert "mission2_train.csv is not what the checkpoints" in error


def test_a_development_file_is_used_where_the_task_has_none_of_its_own(user):
    shutil.copy(user.folder / "sample_data" / "nsmc" / "ratings_test.txt", user.folder / "dev.txt")
    user.types(*nsmc("with-dev", *BRIEFLY, "--dev_file", user.folder / "dev.txt"))
    assert user.results("with-dev")["selection"] == "dev"
    assert {line["split"] for line in user.log("with-dev", "evaluation")} == {"dev"}

    rows = (user.folder / "dev.txt").read_text(encoding="utf-8").split("\n")
    (user.folder / "dev.txt").write_text("\n".join(rows[:100]) + "\n", encoding="utf-8")
    resumed = nsmc("with-dev", *BRIEFLY, "--dev_file", user.folder / "dev.txt", "--resume")
    assert "there were 400 dev rows, are now 99" in user.is_refused(
        *resumed
    )  # its best score so far is one on other rows


def test_training_and_evaluating_apart_leave_the_same_results(user):
    user.types(*nsmc("apart", *BRIEFLY, "--do_train"))
    assert not (user.run_dir("apart") / "results.json").exists()
    user.types(*nsmc("apart", "--do_eval"))
    training = user.results("apart")["training"]
    assert training["steps"] == 6 and training["rows_per_second"] > 0 and training["precision"] in ("fp32", "bf16")


def test_a_checkpoint_other_than_the_reported_one_can_be_asked_for(user, brief_run):
    results = user.results(brief_run)
    assert results["selection"] == "test"
    finished = user.types(
        *nsmc(brief_run, "--do_predict", "--input_file", "sample_data/texts.txt", "--select_by", "last",
                   "--output_file", "last.tsv")
    )  # fmt: skip
    assert "of checkpoint-6 " in finished.err


def test_predictions_never_replace_the_texts(user, brief_run):
    texts = user.folder / "never-replaced.txt"
    texts.write_text("정말 좋은 영화\n", encoding="utf-8")
    words = ("--do_predict", "--input_file", "never-replaced.txt", "--output_file", "./never-replaced.txt")
    assert "is the input_file" in user.is_refused(*nsmc(brief_run, *words))
    assert texts.read_text(encoding="utf-8") == "정말 좋은 영화\n"


def test_weights_that_broke_in_the_last_step_are_not_scored(user):
    words = ("--max_steps", "1", "--learning_rate", "1e38", "--warmup_proportion", "0", "--precision", "fp32")
    assert "not finite" in user.is_refused(*nsmc("not-finite", *words))
    assert not (user.run_dir("not-finite") / "results.json").exists()


def test_runs_of_another_precision_are_not_averaged(user, tmp_path):
    user.types(*nsmc("bf16", *BRIEFLY, "--precision", "bf16"))
    results = user.results("bf16")
    for number, precision in enumerate(("bf16", "fp32")):
        results |= {"seed": number, "hardware": {**results["hardware"], "precision": precision}}
        (tmp_path / precision).mkdir()
        (tmp_path / precision / "results.json").write_text(json.dumps(results), encoding="utf-8")
    table = user.types(tmp_path, script="scripts/results_table.py")
    assert "tiny-electra, from scratch [2]" in table.out and "precision" in table.out


def test_every_checkpoint_is_scored_with_its_own_weights(user):
    """With a dev file all checkpoints are scored after the training, one model taking the weights of each."""
    user.types(*sample("korsts", "all-scored", *BRIEFLY))
    after_training = user.results("all-scored")["evaluations"]
    assert len({one["metrics"]["pearson"] for one in after_training if one["split"] == "test"}) == 3
    user.types(*sample("korsts", "all-scored", "--do_eval"))  # loads a model for each of them
    assert user.results("all-scored")["evaluations"] == after_training
