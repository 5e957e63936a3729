"""Data sets on the hub, here a small server: commits, the cache, and what is said where one cannot be had."""

import dataclasses
import shutil
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset
from filelock import FileLock

from dataset_copies import write_parquet
from hub_server import COMMIT, Hub, make_it_the_hub
from processors import TASKS, hub_data
from processors.data_sources import DataSource, SourceSplit
from processors.splits import read_splits
from processors.task import DataError, HubData

LATER = "fedcba9876543210fedcba9876543210fedcba98"
REPOSITORY = "someone/some-data"
NSMC, KLUE_NLI = TASKS["nsmc"], TASKS["klue-nli"]


def write_data(folder: Path, text: str = "가") -> None:
    """Two configurations, as KLUE has them."""
    row = {"guid": "1", "premise": text, "hypothesis": "나", "label": 1}
    table = Dataset.from_list([row] * 3)
    table = table.cast_column("label", ClassLabel(names=["entailment", "neutral", "contradiction"]))
    for configuration in ("nli", "other"):
        write_parquet(folder / configuration, {"train": table, "validation": table.select([0])})
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: {name}/{split}.parquet\n" for split in ("train", "validation"))
        for name in ("nli", "other")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")


@pytest.fixture
def server(tmp_path: Path, monkeypatch):
    """The hub, and a computer that has never asked it for anything."""
    (tmp_path / "hub").mkdir()
    write_data(tmp_path / "hub")
    hub = Hub("datasets", REPOSITORY, tmp_path / "hub")
    yield point_at(hub.url, hub, tmp_path, monkeypatch)
    hub_data.from_hub.cache_clear()
    hub.close()


def point_at(url: str, hub: Hub, tmp_path: Path, monkeypatch) -> Hub:
    """Makes `url` the hub, and forgets what this process has read of it."""
    hub_data.from_hub.cache_clear()
    make_it_the_hub(url, tmp_path / "cache" / "hub", monkeypatch)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
    monkeypatch.setattr(datasets.config, "HUB_DATASETS_URL", url + "/datasets/{repo_id}/resolve/{revision}/{path}")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    return hub


def rows_of(text: str, task=KLUE_NLI, role: str = "train"):
    split = SourceSplit(DataSource.of(text, task), role, may_be_dev=True)
    return read_splits(task, [role], {role: [split]})[role], split


def refused(text: str, task=KLUE_NLI) -> str:
    with pytest.raises(DataError) as error:
        rows_of(text, task)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rows_and_commit(server: Hub):
    rows, split = rows_of(f"{REPOSITORY}:nli")
    assert (rows.first, [KLUE_NLI.labels[id] for id in rows.labels]) == (["가"] * 3, ["neutral"] * 3)
    assert split.revision == COMMIT
    assert rows_of(f"{REPOSITORY}:nli", role="test")[0].first == ["가"]


def test_a_new_commit_is_read_and_an_old_one_can_be_asked_for(server: Hub):
    rows_of(f"{REPOSITORY}:nli")
    write_data(server.folder, "다")
    server.commit = LATER
    hub_data.from_hub.cache_clear()
    rows, split = rows_of(f"{REPOSITORY}:nli")
    assert (rows.first[0], split.revision) == ("다", LATER)
    assert refused(f"{REPOSITORY}:nli@v7") == f"the data set {REPOSITORY} on the hub has no revision 'v7'"
    assert rows_of(f"{REPOSITORY}:nli@{LATER}")[1].revision == LATER


def test_the_entry_of_a_task(server: Hub):
    entry = HubData(REPOSITORY, "nli", splits={"train": "train", "test": "other:validation"})
    task = dataclasses.replace(KLUE_NLI, hub=dataclasses.replace(entry, columns={"gold_label": "label"}))
    assert rows_of("hub", task)[0].first == ["가"] * 3
    rows, split = rows_of("hub", task, "test")
    assert (len(rows), split.table().place, str(split)) == (
        1,
        f"{REPOSITORY}:other, split validation",
        f"{REPOSITORY}:nli[test]",
    )


def test_a_configuration_that_the_user_names_comes_before_the_tasks(server: Hub):
    columns = {"gold_label": "label"}
    entry = HubData(REPOSITORY, "", splits={"train": "nli:train", "test": "nli:validation"}, columns=columns)
    task = dataclasses.replace(KLUE_NLI, hub=entry)
    places = [rows_of(text, task)[1].table().place for text in ("hub", REPOSITORY, f"{REPOSITORY}:other")]
    assert places == [f"{REPOSITORY}:{name}, split train" for name in ("nli", "nli", "other")]
    task = dataclasses.replace(KLUE_NLI, hub=dataclasses.replace(entry, configuration="other", splits={}))
    assert rows_of(REPOSITORY, task)[1].table().place == f"{REPOSITORY}:other, split train"


def test_without_network_later(server: Hub, tmp_path: Path, monkeypatch):
    rows_of(f"{REPOSITORY}:nli")
    server.answer = 503
    hub_data.from_hub.cache_clear()
    rows, split = rows_of(f"{REPOSITORY}:nli")
    assert (rows.first, split.revision) == (["가"] * 3, COMMIT)
    assert rows_of(f"{REPOSITORY}:nli@{COMMIT}")[1].revision == COMMIT
    assert refused(f"{REPOSITORY}:nli@{LATER}") == (
        f"the cache holds {REPOSITORY}:nli at {COMMIT}, and not at {LATER}, and the hub does not answer"
    )


def test_without_network_from_the_start(server: Hub, tmp_path: Path, monkeypatch):
    point_at("http://127.0.0.1:9", server, tmp_path, monkeypatch)
    error = refused(f"{REPOSITORY}:nli")
    assert error.startswith(
        f"the data set {REPOSITORY}:nli was asked of the hub (http://127.0.0.1:9), which cannot be reached ("
    )
    assert error.endswith(
        f"in the cache ({tmp_path / 'cache' / 'datasets'}): connect to the network, or name a local folder, "
        f"as {REPOSITORY} is none"
    )


def test_what_the_hub_does_not_have(server: Hub):
    assert refused("someone/nothing") == (
        f"'someone/nothing' is neither a local folder nor a data set on the hub ({server.url}), or it needs a login"
    )
    assert "BuilderConfig 'third' not found. Available: ['nli', 'other']" in refused(f"{REPOSITORY}:third")
    assert "Config name is missing" in refused(REPOSITORY)


def test_a_script_is_not_run(server: Hub, tmp_path: Path):
    trace = tmp_path / "it was run"
    (server.folder / "some-data.py").write_text(f"open({str(trace)!r}, 'w')", encoding="utf-8")
    assert refused(f"{REPOSITORY}:nli") == (
        f"the data set {REPOSITORY} on the hub is a script, which is not run: {REPOSITORY}@refs/convert/parquet may be "
        "the hub's own conversion of it, or name a local folder"
    )
    assert not trace.exists()


def test_half_a_conversion_is_refused(server: Hub):
    (server.folder / "README.md").unlink()
    for configuration in ("nli", "other"):
        shutil.rmtree(server.folder / configuration)
    table = Dataset.from_list([{"premise": "가", "hypothesis": "나", "label": "neutral"}])
    write_parquet(server.folder / "default" / "partial-train", {"0000": table})
    assert "the hub has converted a part of it only" in refused(REPOSITORY)


def test_a_damaged_file_in_the_cache_is_made_again(server: Hub, tmp_path: Path):
    rows_of(f"{REPOSITORY}:nli")
    (file,) = (tmp_path / "cache" / "datasets").rglob("*-train.arrow")
    file.write_bytes(file.read_bytes()[:100])
    hub_data.from_hub.cache_clear()
    assert rows_of(f"{REPOSITORY}:nli")[0].first == ["가"] * 3


def test_the_hubs_own_conversion(server: Hub):
    shutil.rmtree(server.folder)
    table = Dataset.from_list([{"document": "가", "label": 1}]).cast_column(
        "label", ClassLabel(names=["negative", "positive"])
    )
    for split in ("train", "test"):
        write_parquet(server.folder / "default" / split, {"0000": table})
    for role in ("train", "test"):
        rows, split = rows_of(f"{REPOSITORY}@refs/convert/parquet", NSMC, role)
        assert (rows.first, rows.labels, split.revision) == (["가"], [1], COMMIT)


def test_what_a_kill_left_half_made_does_not_hide_what_is_whole(server: Hub, tmp_path: Path):
    rows_of(f"{REPOSITORY}:nli")
    (file,) = (tmp_path / "cache" / "datasets").rglob("*-train.arrow")
    half = shutil.copytree(file.parent, file.parent.with_name(f"{LATER}.incomplete"))
    (half / "dataset_info.json").unlink()
    server.answer = 503
    hub_data.from_hub.cache_clear()
    rows, split = rows_of(f"{REPOSITORY}:nli")
    assert (rows.first, split.revision) == (["가"] * 3, COMMIT)
    assert not half.exists()


def test_what_another_process_is_making_stays(server: Hub, tmp_path: Path):
    half = tmp_path / "cache" / "datasets" / "someone___some-data" / "nli" / "0.0.0" / f"{LATER}.incomplete"
    half.mkdir(parents=True)
    with FileLock(str(half.with_name(f"{LATER}_builder.lock"))):
        rows_of(f"{REPOSITORY}:nli")
    assert half.exists()
