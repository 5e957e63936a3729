"""python3 -m pytest tests/scripts/test_download_qa_dataset.py

The script fetches from the server of `download_server.py`; its archives have as many examples as the real ones.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import zipfile
from functools import cache
from pathlib import Path

import pytest

from conftest import REPOSITORY
from download_server import PAGE, Server, call_script, contents, script_that_knows

TYDIQA = "/storage.googleapis.com/tydiqa/v1.0"
KORQUAD = "/korquad.github.io/dataset"
TRAIN = [f"{KORQUAD}/KorQuAD_2.1/train/KorQuAD_2.1_train_{number:02}.zip" for number in range(13)]
DEV = [f"{KORQUAD}/KorQuAD_2.1/dev/KorQuAD_2.1_dev_{number:02}.zip" for number in range(2)]
ARCHIVES = len(TRAIN) + len(DEV)
FILES = ARCHIVES + 2  # and TyDi QA's training and dev file

pytestmark = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("unzip")), reason="no curl or no unzip")


def call(server: Server, data: Path, *arguments: str, code: int = 0, strict: bool = False) -> tuple[str, str]:
    script = REPOSITORY / "download_qa_dataset.sh"
    return call_script(script, server, data, *arguments, code=code, strict=strict)


@cache
def examples(count: int) -> bytes:
    """Lines of a TyDi QA file."""
    row = {"annotations": [], "document_plaintext": "글\n\u2028글", "language": "korean", "question_text": "누구?"}
    return (json.dumps(row, ensure_ascii=False) + "\n").encode() * count


@cache
def compressed(body: bytes) -> bytes:
    return gzip.compress(body, 1)


def tydiqa(server: Server, train: int = 166_916, dev: int = 18_670) -> dict[str, bytes]:
    bodies = {"tydiqa-v1.0-train.jsonl": examples(train), "tydiqa-v1.0-dev.jsonl": examples(dev)}
    server.bodies |= {f"{TYDIQA}/{name}.gz": compressed(body) for name, body in bodies.items()}
    return bodies


@cache
def squad(questions: int, text: str = "글") -> bytes:
    """A JSON file of KorQuAD 2.1; the text that looks like a question is none."""
    qas = [{"question": "누구인가?", "id": str(i), "answer": {"text": "글"}} for i in range(questions)]
    return json.dumps({"version": "x", "data": [{"context": f'{text} "question": "', "qas": qas}]}).encode()


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return file.getvalue()


def korquad_2(server: Server, each: int = 6_423) -> dict[str, dict[str, bytes]]:
    """The files of each split; two to an archive, one of which is in a folder."""
    files: dict[str, dict[str, bytes]] = {"train": {}, "dev": {}}
    for split, addresses in (("train", TRAIN), ("dev", DEV)):
        for number, address in enumerate(addresses):
            count = each if split == "train" else 5_083
            first, second = f"korquad2.1_{split}_{number:02}0.json", f"korquad2.1_{split}_{number:02}1.json"
            files[split] |= {first: squad(count // 2), second: squad(count - count // 2, "둘")}
            members = {first: files[split][first], f"folder/{second}": files[split][second]}
            server.bodies[address] = packed(members | {"__MACOSX/folder/._x.json": b"\0", "README.txt": b"read me"})
    return files


def seen(folder: Path) -> dict[str, bytes]:
    """What a reader of the folder sees, and what should not be left there."""
    return {name: body for name, body in contents(folder).items() if not name.endswith(".list")}


def test_all_of_it_arrives_once(server: Server, tmp_path: Path) -> None:
    texts, files = tydiqa(server), korquad_2(server)
    data = tmp_path / "new data"
    said, warned = call(server, data)
    assert warned.count("; it is taken\n") == warned.count("\n") == FILES  # made up, so their digests differ
    assert said.count("done  ") == FILES
    assert contents(data / "tydiqa") == texts  # and neither archives nor parts
    assert {split: seen(data / "korquad_2" / split) for split in files} == files
    assert f"have    {data}/korquad_2/train: 83499 questions" in said and "/dev: 10166 questions" in said
    asked = len(server.log)
    assert asked == FILES
    said, warned = call(server, data)
    assert said.count("have  ") == FILES + 2 and warned == "" and len(server.log) == asked
    (data / "korquad_2/train/korquad2.1_train_031.json").unlink()
    (data / "korquad_2/dev/korquad2.1_dev_000.json").write_bytes(b"{}")
    call(server, data)
    assert [path for path, _ in server.log[asked:]] == [TRAIN[3], DEV[0]]  # the others are not fetched again
    assert seen(data / "korquad_2/train") == files["train"]
    assert seen(data / "korquad_2/dev") == {**files["dev"], "korquad2.1_dev_000.json.old": b"{}"}


def test_broken_off_transfers_are_resumed(server: Server, tmp_path: Path) -> None:
    texts, files = tydiqa(server), korquad_2(server)
    server.broken = [f"{TYDIQA}/tydiqa-v1.0-train.jsonl.gz", DEV[1], DEV[1]]
    call(server, tmp_path)
    assert contents(tmp_path / "tydiqa") == texts and seen(tmp_path / "korquad_2/dev") == files["dev"]
    assert [wanted is None for path, wanted in server.log if path == DEV[1]] == [True, False, False]


def test_the_next_call_goes_on(server: Server, tmp_path: Path) -> None:
    texts, files = tydiqa(server), korquad_2(server)
    gz = f"{TYDIQA}/tydiqa-v1.0-train.jsonl.gz"
    server.broken = [gz, TRAIN[5]]
    _, error = call(server, tmp_path, "--retries", "1", code=1)
    assert error.splitlines()[-4:] == [
        "missing:", f"  {tmp_path}/tydiqa/tydiqa-v1.0-train.jsonl",
        f"  {tmp_path}/korquad_2/train: KorQuAD_2.1_train_05.zip", "The same command again goes on from here.",
    ]  # fmt: skip
    listed = call(server, tmp_path, "--list")[0].splitlines()
    assert [line.split("  ")[3].split("/")[-1] for line in listed if "  in part  " in line] == [
        "tydiqa-v1.0-train.jsonl.gz", "KorQuAD_2.1_train_05.zip",
    ]  # fmt: skip
    assert sum("  there  " in line for line in listed) == FILES - 2
    asked = len(server.log)
    call(server, tmp_path)
    halves = [len(server.bodies[path]) // 2 for path in (gz, TRAIN[5])]
    assert server.log[asked:] == [(gz, f"bytes={halves[0]}-"), (TRAIN[5], f"bytes={halves[1]}-")]
    assert contents(tmp_path / "tydiqa") == texts and seen(tmp_path / "korquad_2/train") == files["train"]


def test_half_an_archive_under_its_final_name_is_not_taken_for_whole(server: Server, tmp_path: Path) -> None:
    texts, files = tydiqa(server), korquad_2(server)
    mine = {}
    for folder, path in (("tydiqa", f"{TYDIQA}/tydiqa-v1.0-dev.jsonl.gz"), ("korquad_2/dev", DEV[0])):
        (tmp_path / folder).mkdir(parents=True)
        body = server.bodies[path]
        mine[folder] = {Path(path).name: body[: len(body) // 3]}
        (tmp_path / folder / Path(path).name).write_bytes(body[: len(body) // 3])
    whole = tmp_path / "korquad_2/train/KorQuAD_2.1_train_00.zip"  # and a whole one is taken
    whole.parent.mkdir()
    whole.write_bytes(server.bodies[TRAIN[0]])
    mine["korquad_2/train"] = {whole.name: server.bodies[TRAIN[0]]}
    nameless = tmp_path / "tydiqa/tydiqa-v1.0-train.jsonl.gz.part"  # stopped just before it got its name
    nameless.write_bytes(server.bodies[f"{TYDIQA}/tydiqa-v1.0-train.jsonl.gz"])
    _, warned = call(server, tmp_path)
    assert "tydiqa-v1.0-dev.jsonl.gz is there, but it is no whole gzip archive; it stays as it is" in warned
    assert "KorQuAD_2.1_dev_00.zip is there, but it is no whole zip archive; it stays as it is" in warned
    log = dict(server.log)
    for path in (f"{TYDIQA}/tydiqa-v1.0-dev.jsonl.gz", DEV[0]):
        assert log[path] == f"bytes={len(server.bodies[path]) // 3}-"
    assert TRAIN[0] not in log and f"{TYDIQA}/tydiqa-v1.0-train.jsonl.gz" not in log
    # What the user put there stays, and is what it was.
    assert contents(tmp_path / "tydiqa") == texts | mine["tydiqa"]
    assert {split: seen(tmp_path / "korquad_2" / split) for split in files} == {
        split: files[split] | mine[f"korquad_2/{split}"] for split in files
    }


@pytest.mark.parametrize("part", ["", ".part"])
def test_a_broken_archive_is_fetched_anew(server: Server, tmp_path: Path, part: str) -> None:
    texts, files = tydiqa(server), korquad_2(server)
    mine = {}
    for folder, path in (("tydiqa", f"{TYDIQA}/tydiqa-v1.0-dev.jsonl.gz"), ("korquad_2/dev", DEV[0])):
        (tmp_path / folder).mkdir(parents=True)
        body = bytearray(server.bodies[path])
        body[len(body) // 2] ^= 255  # as long as the good one, so there is nothing to continue
        (tmp_path / folder / (Path(path).name + part)).write_bytes(body)
        mine[folder] = {Path(path).name: body}
    (tmp_path / "korquad_2/dev" / (Path(DEV[1]).name + part)).write_bytes(PAGE[:60])  # continued, and still broken
    mine["korquad_2/dev"][Path(DEV[1]).name] = PAGE[:60]
    call(server, tmp_path)
    if part:  # the script's own
        mine = {"tydiqa": {}, "korquad_2/dev": {}}
    assert contents(tmp_path / "tydiqa") == texts | mine["tydiqa"]
    assert seen(tmp_path / "korquad_2/dev") == files["dev"] | mine["korquad_2/dev"]
    assert [wanted for path, wanted in server.log if path == DEV[1]] == ["bytes=60-", None]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PAGE, "it is a web page, not data"),
        (None, "404"),
        (b"", "it is empty"),
        (b"PK\3\4 and so on", "it is no whole zip archive"),
        (packed({"README.txt": b"x"}), "refused KorQuAD_2.1_dev_01.zip: it has no JSON file"),
        (
            packed({"good.json": squad(3), "x.json": squad(3)[:-1]}),
            "refused x.json of KorQuAD_2.1_dev_01.zip: it is no",
        ),
        (packed({"good.json": squad(3), "x.json": b"{}"}), "x.json of KorQuAD_2.1_dev_01.zip: it has 0 questions"),
        (packed({"korquad2.1_dev_000.json": squad(3)}), "another archive, or folder of it, has a file of that name"),
    ],
)
def test_what_is_no_data_is_refused(server: Server, tmp_path: Path, body: bytes | None, reason: str) -> None:
    files = korquad_2(server)
    del server.bodies[DEV[1]]
    if body is not None:
        server.bodies[DEV[1]] = body
    _, error = call(server, tmp_path, "korquad-2", code=1)
    assert reason in error and f"missing:\n  {tmp_path}/korquad_2/dev: KorQuAD_2.1_dev_01.zip\n" in error
    assert seen(tmp_path / "korquad_2/train") == files["train"]
    names = {"korquad2.1_dev_000.json", "korquad2.1_dev_001.json"}  # of the good archive, and none of the bad one
    assert seen(tmp_path / "korquad_2/dev") == {name: files["dev"][name] for name in names}


def test_counts_are_checked(server: Server, tmp_path: Path) -> None:
    tydiqa(server, train=166_915)
    korquad_2(server, each=6_000)
    _, error = call(server, tmp_path, code=1)
    assert "tydiqa-v1.0-train.jsonl.gz: it has 166915 lines, fewer than 166916" in error
    assert f"{tmp_path}/korquad_2/train, but they have 78000 questions, fewer than 83486" in error
    assert f"  {tmp_path}/korquad_2/train: some questions\n" in error
    assert [path.name for path in (tmp_path / "tydiqa").iterdir()] == ["tydiqa-v1.0-dev.jsonl"]
    server.bodies[f"{TYDIQA}/tydiqa-v1.0-train.jsonl.gz"] = gzip.compress(examples(170_000)[:-9], 1)
    assert "its last line is cut off" in call(server, tmp_path, "tydiqa", code=1)[1]
    server.bodies[f"{TYDIQA}/tydiqa-v1.0-train.jsonl.gz"] = gzip.compress(b'{"a": 1}\n' * 170_000, 1)
    assert "its first line is no example of TyDi QA" in call(server, tmp_path, "tydiqa", code=1)[1]
    assert [path.name for path in (tmp_path / "tydiqa").iterdir()] == ["tydiqa-v1.0-dev.jsonl"]


def test_a_bad_file_in_place_is_replaced_and_kept(server: Server, tmp_path: Path) -> None:
    texts = tydiqa(server)
    (tmp_path / "tydiqa").mkdir()
    (tmp_path / "tydiqa/tydiqa-v1.0-dev.jsonl").write_bytes(examples(5))
    (tmp_path / "tydiqa/tydiqa-v1.0-train.jsonl.part").write_bytes(examples(7))  # unpacking was stopped
    _, warned = call(server, tmp_path, "tydiqa")
    assert "it has 5 lines, fewer than 18670; fetching it (yours will be tydiqa-v1.0-dev.jsonl.old)" in warned
    assert contents(tmp_path / "tydiqa") == {**texts, "tydiqa-v1.0-dev.jsonl.old": examples(5)}


def test_unpacking_that_stops_leaves_no_file_under_its_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = korquad_2(server)
    program = tmp_path / "bin" / "unzip"  # tests archives as unzip does, but dies while it unpacks them
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/bash\n[[ $1 != -p || ${{@: -1}} != *.json ]] || {{ printf "{{"; exit 50; }}\n'
        f'exec {shutil.which("unzip")} "$@"\n'
    )
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        _, error = call(server, tmp_path, "korquad_2", code=1)
    assert error.count("it cannot be unpacked") == ARCHIVES
    names = sorted(path.name for path in (tmp_path / "korquad_2/dev").iterdir())
    assert names == [f"{Path(path).name}.part" for path in DEV]
    assert call(server, tmp_path, "--list", "korquad_2")[0].count("  in part  ") == ARCHIVES
    left = tmp_path / "korquad_2/dev/.KorQuAD_2.1_dev_00.unpacked"  # by a call that was killed
    left.mkdir()
    (left / "half.json").write_bytes(b"{")
    asked = len(server.log)
    call(server, tmp_path, "korquad_2")
    assert {split: seen(tmp_path / "korquad_2" / split) for split in files} == files and len(server.log) == asked


def test_files_that_somebody_else_unpacked(server: Server, tmp_path: Path) -> None:
    files = korquad_2(server)
    for split in files:
        (tmp_path / "korquad_2" / split).mkdir(parents=True)
        for name, body in files[split].items():
            (tmp_path / "korquad_2" / split / name).write_bytes(body)
    said, warned = call(server, tmp_path, "korquad_2")
    assert "train: 83499 questions" in said and "dev: 10166 questions" in said and warned == "" and not server.log
    (tmp_path / "korquad_2/dev/korquad2.1_dev_010.json").unlink()
    (tmp_path / "korquad_2/dev/more.json").write_bytes(squad(3))
    _, warned = call(server, tmp_path, "korquad_2")
    assert f"{tmp_path}/korquad_2/dev/more.json is of no archive" in warned and warned.count("of no archive") == 1
    assert [path for path, _ in server.log] == DEV
    assert seen(tmp_path / "korquad_2/dev") == {**files["dev"], "more.json": squad(3)}


def test_another_version_is_refused_unless_it_is_accepted(server: Server, tmp_path: Path) -> None:
    texts, files = tydiqa(server), korquad_2(server)
    gz = {split: f"{TYDIQA}/tydiqa-v1.0-{split}.jsonl.gz" for split in ("train", "dev")}
    knowing = {"\ntydiqa-v1.0-train.jsonl": server.bodies[gz["train"]]} | {
        Path(path).stem: server.bodies[path] for path in [*TRAIN, DEV[0]]
    }
    script = script_that_knows("download_qa_dataset.sh", tmp_path / "copy", knowing)
    _, error = call_script(script, server, tmp_path, code=1, strict=True)
    for path in (gz["dev"], DEV[1]):
        assert f"refused https:/{path}: its digest is not the known one" in error
    assert error.count("refused") == 2 and "warning" not in error
    assert [path.name for path in (tmp_path / "tydiqa").iterdir()] == ["tydiqa-v1.0-train.jsonl"]
    assert seen(tmp_path / "korquad_2/train") == files["train"]
    assert not [path for path in (tmp_path / "korquad_2/dev").iterdir() if "_01" in path.name]
    call_script(script, server, tmp_path, "--accept_changed", strict=True)
    assert contents(tmp_path / "tydiqa") == texts and seen(tmp_path / "korquad_2/dev") == files["dev"]


def test_every_archive_has_a_known_size_and_digest() -> None:
    text = (REPOSITORY / "download_qa_dataset.sh").read_text(encoding="utf-8")
    assert len(re.findall(r"(?m)^(?:tydiqa|KorQuAD)\S+ \d+ [0-9a-f]{64}$", text)) == FILES


def link_to(target: str, name: str = "x.json") -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info, target.encode()


@pytest.mark.parametrize("name", ["/x.json", "../x.json", "folder/../../x.json", "x[1].json", "-x.json", "link"])
def test_nothing_but_files_is_taken_from_an_archive(server: Server, tmp_path: Path, name: str) -> None:
    files = korquad_2(server)
    (tmp_path / "mine.json").write_bytes(squad(3))
    archive = io.BytesIO(packed({"good.json": squad(3)}))
    with zipfile.ZipFile(archive, "a") as zipped:
        if name == "link":
            zipped.writestr(*link_to(str(tmp_path / "mine.json")))
        else:
            zipped.writestr(zipfile.ZipInfo(name), squad(4))
    server.bodies[DEV[1]] = archive.getvalue()
    _, error = call(server, tmp_path, "korquad_2", code=1)
    said = "it is no whole JSON object" if name == "link" else "no file of the data has such a name"
    assert f"of KorQuAD_2.1_dev_01.zip: {said}" in error
    names = {"korquad2.1_dev_000.json", "korquad2.1_dev_001.json"}
    assert seen(tmp_path / "korquad_2/dev") == {name: files["dev"][name] for name in names}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["korquad_2", "mine.json"]


def test_modes_and_files_of_an_archive(server: Server, tmp_path: Path) -> None:
    files = korquad_2(server)
    new = {name: squad(3000) for name in ("korquad2.1_dev_010.json", "korquad2.1_dev_011.json")}
    archive = io.BytesIO(packed(new))
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr(*link_to("/", "link"))  # no JSON file, so nobody looks at it
    server.bodies[DEV[1]] = archive.getvalue()
    folder = tmp_path / "korquad_2/dev"
    folder.mkdir(parents=True)
    (folder / ".KorQuAD_2.1_dev_01.list").write_text("7 1 korquad2.1_dev_010.json\n")  # of a file changed since
    (folder / "korquad2.1_dev_010.json").write_bytes(b"mine")
    (folder / "korquad2.1_dev_011.json").symlink_to(tmp_path / "elsewhere")
    umask = os.umask(0)
    os.umask(umask)
    _, warned = call(server, tmp_path, "korquad_2")
    what = f"{folder}/korquad2.1_dev_010.json is not the file of the archive"
    assert f"{what} (yours is korquad2.1_dev_010.json.old now)" in warned
    assert (folder / "korquad2.1_dev_011.json.old").is_symlink()
    (folder / "korquad2.1_dev_011.json.old").unlink()
    assert seen(folder) == files["dev"] | new | {"korquad2.1_dev_010.json.old": b"mine"}
    assert {(folder / name).stat().st_mode & 0o777 for name in files["dev"]} == {0o666 & ~umask}


@pytest.mark.parametrize("is_honest", [True, False])
def test_an_archive_that_unpacks_to_far_too_much_is_refused(server: Server, tmp_path: Path, is_honest: bool) -> None:
    files = korquad_2(server)
    good = packed({name: files["dev"][name] for name in ("korquad2.1_dev_010.json", "korquad2.1_dev_011.json")})
    good += b"\0" * 65_000  # so that the bomb is not too long to be fetched
    limit = 20 * len(good)
    bomb = bytearray(packed({"x.json": bytes(limit + 1)}))
    if not is_honest:  # it says that it has 1,000 bytes
        for at in (22, bomb.index(b"PK\1\2") + 24):
            bomb[at : at + 4] = (1000).to_bytes(4, "little")
    script = script_that_knows("download_qa_dataset.sh", tmp_path / "copy", {"KorQuAD_2.1_dev_01": good})
    server.bodies[DEV[1]] = bytes(bomb)
    _, error = call_script(script, server, tmp_path, "korquad_2", code=1)
    assert f"refused https:/{DEV[1]}: it unpacks to more than {limit} bytes" in error
    assert not [path for path in (tmp_path / "korquad_2/dev").iterdir() if "_01" in path.name]


def test_a_text_that_unpacks_to_far_too_much_is_refused(server: Server, tmp_path: Path) -> None:
    tydiqa(server)
    gz = f"{TYDIQA}/tydiqa-v1.0-dev.jsonl.gz"
    limit = 20 * len(server.bodies[gz])
    script = script_that_knows("download_qa_dataset.sh", tmp_path / "copy", {"tydiqa-v1.0-dev": server.bodies[gz]})
    server.bodies[gz] = gzip.compress(bytes(limit + 1), 9)
    _, error = call_script(script, server, tmp_path, "tydiqa", code=1)
    assert f"refused https:/{gz}: it unpacks to more than {limit} bytes" in error
    assert [path.name for path in (tmp_path / "tydiqa").iterdir()] == ["tydiqa-v1.0-train.jsonl"]


def test_korquad_1_is_handed_over(server: Server, tmp_path: Path) -> None:
    tydiqa(server)
    _, error = call(server, tmp_path, "tydiqa", "--korquad_1", code=1)
    assert f"missing:\n  {tmp_path}/korquad/KorQuAD_v1.0_train.json\n" in error
    files = {f"KorQuAD_v1.0_{part}.json": squad(count) for part, count in (("train", 60_407), ("dev", 5_774))}
    server.bodies |= {f"{KORQUAD}/{name}": body for name, body in files.items()}
    call(server, tmp_path, "--korquad_1", "tydiqa")
    assert contents(tmp_path / "korquad") == files


def test_help_list_and_wrong_arguments(server: Server, tmp_path: Path) -> None:
    said, _ = call(server, tmp_path, "--help")
    assert said.startswith("Fetches the long documents' data") and "--korquad_1" in said and "set -e" not in said
    lines = call(server, tmp_path, "--list")[0].splitlines()
    assert len(lines) == FILES and lines[0] == (
        f"tydiqa  {tmp_path}/tydiqa/tydiqa-v1.0-train.jsonl  missing  "
        "https://storage.googleapis.com/tydiqa/v1.0/tydiqa-v1.0-train.jsonl.gz"
    )
    assert lines[-1] == (
        f"korquad_2  {tmp_path}/korquad_2/dev  missing  "
        "https://korquad.github.io/dataset/KorQuAD_2.1/dev/KorQuAD_2.1_dev_01.zip"
    )
    assert len(call(server, tmp_path, "--list", "--korquad_1", "tydiqa")[0].splitlines()) == 4
    for arguments, reason in (
        (["--mirrors", "x"], "unknown flag --mirrors"),
        (["--data_dir"], "--data_dir needs a value"),
        (["nsmc"], "unknown task nsmc (there is: tydiqa korquad_2"),
        (["--retries=none"], "--retries must be a whole number from 1, not none"),
    ):
        _, error = call(server, tmp_path, *arguments, code=2)
        assert error.count("\n") == 1 and reason in error and error.startswith("download_qa_dataset.sh: ")
    assert server.log == []
