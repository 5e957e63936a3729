"""python3 -m pytest tests/scripts/test_download_data.py

The script fetches from the server of `download_server.py`.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import ssl
import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest

from download_server import PAGE, Server, call_script, contents, script_that_knows, serving

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "download_data.sh"
SHARED = REPOSITORY.parent / "shared" / "data"
KORNLU = "/raw.githubusercontent.com/kakaobrain/kor-nlu-datasets/master"
HATE = "/raw.githubusercontent.com/monologg/KoELECTRA/master/finetune/data/hate-speech"
PAWS = "/storage.googleapis.com/paws/pawsx/x-final.tar.gz"

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="no curl")


def call(server: Server, data: Path, *arguments: str, code: int = 0, strict: bool = False) -> tuple[str, str]:
    return call_script(SCRIPT, server, data, *arguments, code=code, strict=strict)


def table(header: str, rows: int, text: str = "한국어 문장") -> bytes:
    """Tab-separated, the header's columns in every row."""
    names = header.split()
    lines = [names, *([f"{text} {row}"] * len(names) for row in range(rows))]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def hate_speech(server: Server) -> dict[str, bytes]:
    bodies = {"train.tsv": table("title comment bias hate", 7896), "val.tsv": table("title comment bias hate", 471)}
    server.bodies = {f"{HATE}/{name}": body for name, body in bodies.items()}
    return bodies


def test_good_files_arrive_once(server: Server, tmp_path: Path) -> None:
    bodies = hate_speech(server)
    said, warned = call(server, tmp_path / "new data", "hate-speech")
    assert contents(tmp_path / "new data/hate-speech") == bodies  # and no .part
    assert said.count("done  ") == 2
    assert warned.count("looks right, but its digest is not the known one; it is taken") == 2  # made up
    asked = len(server.log)
    said, warned = call(server, tmp_path / "new data", "hate-speech")
    assert said.count("(its digest is not the known one)") == said.count("have  ") == 2
    assert warned == "" and len(server.log) == asked


def test_renamed_files_and_a_file_without_final_newline(server: Server, tmp_path: Path) -> None:
    source = "/raw.githubusercontent.com/songys/Question_pair/master"
    names = {"train.txt": ("train.tsv", 6136), "validation.txt": ("dev.tsv", 682), "test.txt": ("test.tsv", 758)}
    bodies = {name: table("question1 question2 is_duplicate", rows)[:-1] for name, (_, rows) in names.items()}
    server.bodies = {f"{source}/{name}": body for name, body in bodies.items()}
    call(server, tmp_path, "question-pair")
    assert contents(tmp_path / "question-pair") == {names[name][0]: body for name, body in bodies.items()}


def test_questions_in_json(server: Server, tmp_path: Path) -> None:
    def squad(questions: int) -> bytes:
        qas = [{"id": str(i), "question": "누구인가?", "answers": []} for i in range(questions)]
        content = {"version": "KorQuAD_v1.0", "data": [{"paragraphs": [{"qas": qas, "context": "글"}]}]}
        return json.dumps(content, ensure_ascii=False).encode()

    source = "/korquad.github.io/dataset/KorQuAD_v1.0_"
    whole = {f"{source}train.json": squad(60407), f"{source}dev.json": squad(5774)}
    server.bodies = whole | {f"{source}dev.json": squad(5773)}
    _, warned = call(server, tmp_path, "korquad", code=1)
    assert "KorQuAD_v1.0_dev.json: it has 5773 questions, fewer than 5774" in warned
    server.bodies = whole | {f"{source}dev.json": squad(6000)[:-5]}
    _, warned = call(server, tmp_path, "korquad", code=1)
    assert "it is no whole JSON object" in warned
    server.bodies = whole
    call(server, tmp_path, "korquad")
    assert contents(tmp_path / "korquad") == {Path(path).name: body for path, body in whole.items()}


def test_a_broken_off_transfer_is_resumed(server: Server, tmp_path: Path) -> None:
    source = "/raw.githubusercontent.com/monologg/KoELECTRA/master/finetune/data/naver-ner"
    bodies = {"train.tsv": "한국어 문장\tO PER-B\n".encode() * 81000, "test.tsv": b"a b\tO O\n" * 9000}
    server.bodies = {f"{source}/{name}": body for name, body in bodies.items()}
    server.broken = [f"{source}/train.tsv"] * 2
    knowing = {f"naver-ner/{name}": body for name, body in bodies.items()}
    script = script_that_knows("scripts/download_data.sh", tmp_path / "copy", knowing)
    call_script(script, server, tmp_path, "naver-ner", strict=True)
    assert contents(tmp_path / "naver-ner") == bodies
    size = len(bodies["train.tsv"])
    first = size // 2
    second = first + (size - first) // 2
    assert server.log == [
        (f"{source}/train.tsv", None),
        (f"{source}/train.tsv", f"bytes={first}-"),
        (f"{source}/train.tsv", f"bytes={second}-"),
        (f"{source}/test.tsv", None),
    ]


def test_a_resumed_file_with_another_digest_is_fetched_again(server: Server, tmp_path: Path) -> None:
    bodies = hate_speech(server)
    server.broken = [f"{HATE}/train.tsv"]
    _, warned = call(server, tmp_path, "hate-speech")
    assert "its two parts may not fit together; once more from the start" in warned
    assert contents(tmp_path / "hate-speech") == bodies
    assert [wanted is None for path, wanted in server.log if path.endswith("train.tsv")] == [True, False, True]


def test_a_part_of_another_version_is_thrown_away(server: Server, tmp_path: Path) -> None:
    bodies = hate_speech(server)
    knowing = {f"hate-speech/{name}": body for name, body in bodies.items()}
    script = script_that_knows("scripts/download_data.sh", tmp_path / "copy", knowing)
    (tmp_path / "hate-speech").mkdir()
    (tmp_path / "hate-speech/val.tsv.part").write_bytes(table("title comment bias hate", 300, "다른 문장"))
    _, warned = call_script(script, server, tmp_path, "hate-speech", strict=True)
    assert "its digest is not the known one" in warned and "; once more from the start" in warned
    assert contents(tmp_path / "hate-speech") == bodies


def test_the_next_call_resumes_too(server: Server, tmp_path: Path) -> None:
    source = "/raw.githubusercontent.com/e9t/nsmc/master"
    bodies = {"ratings_train.txt": table("id document label", 150000, "1"),
              "ratings_test.txt": table("id document label", 50000, "1")}  # fmt: skip
    server.bodies = {f"{source}/{name}": body for name, body in bodies.items()}
    server.broken = [f"{source}/ratings_train.txt"]
    script = script_that_knows("scripts/download_data.sh", tmp_path / "copy", bodies)
    _, error = call_script(script, server, tmp_path, "--retries", "1", "nsmc", code=1, strict=True)
    half = len(bodies["ratings_train.txt"]) // 2
    assert error.splitlines()[-3:] == [
        "missing:", f"  {tmp_path}/nsmc/ratings_train.txt", "The same command again goes on from here.",
    ]  # fmt: skip
    assert (tmp_path / "nsmc/ratings_train.txt.part").read_bytes() == bodies["ratings_train.txt"][:half]
    assert "in part" in call(server, tmp_path, "--list", "nsmc")[0]
    call_script(script, server, tmp_path, "nsmc", strict=True)
    assert contents(tmp_path / "nsmc") == bodies
    assert server.log[-1] == (f"{source}/ratings_train.txt", f"bytes={half}-")  # the test file was there already


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_that_does_not_fit_is_thrown_away(server: Server, tmp_path: Path, ranges: bool) -> None:
    bodies = hate_speech(server)
    server.ranges = ranges
    folder = tmp_path / "hate-speech"
    folder.mkdir()
    (folder / "train.tsv.part").write_bytes(PAGE)  # shorter than the file: resumed, refused, fetched from the start
    (folder / "val.tsv.part").write_bytes(PAGE * 10)  # longer: the server cannot resume
    call(server, tmp_path, "hate-speech")
    assert contents(folder) == bodies


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PAGE, "it is a web page, not data"),
        (None, "404"),
        (b"", "it is empty"),
        (table("comments contain_gender_bias bias hate", 8000), '"comments contain_gender_bias bias hate", not "title'),
        (table("title comment bias hate", 100), "it has 101 lines, fewer than 7800"),
        (table("title comment bias hate", 0) + table("a b", 8000), "line 2 has 2 columns, not 4"),
    ],
)
def test_what_is_no_data_is_refused(server: Server, tmp_path: Path, body: bytes | None, reason: str) -> None:
    bodies = hate_speech(server)
    if body is None:
        del server.bodies[f"{HATE}/train.tsv"]
    else:
        server.bodies[f"{HATE}/train.tsv"] = body
    _, error = call(server, tmp_path, "hate-speech", code=1)
    assert reason in error and f"missing:\n  {tmp_path}/hate-speech/train.tsv\n" in error
    assert contents(tmp_path / "hate-speech") == {"val.tsv": bodies["val.tsv"]}  # the others arrive all the same
    assert [path for path, _ in server.log] == [f"{HATE}/train.tsv", f"{HATE}/val.tsv"]  # no use in trying again


def test_a_bad_file_in_place_is_replaced_and_kept(server: Server, tmp_path: Path) -> None:
    bodies = hate_speech(server)
    folder = tmp_path / "hate-speech"
    folder.mkdir()
    (folder / "val.tsv").write_bytes(b"mine\n")
    (folder / "val.tsv.old").write_bytes(b"mine, older\n")
    (folder / "val.tsv.old2").symlink_to("nowhere")
    (folder / "train.tsv").symlink_to("elsewhere")  # that leads nowhere either
    good = server.bodies.pop(f"{HATE}/val.tsv")
    _, error = call(server, tmp_path, "hate-speech", code=1)
    assert 'its first line is "mine", not' in error and "fetching it (yours will be val.tsv.old3)" in error
    assert (folder / "val.tsv").read_bytes() == b"mine\n"
    server.bodies[f"{HATE}/val.tsv"] = good
    call(server, tmp_path, "hate-speech")
    for link, target in (("val.tsv.old2", "nowhere"), ("train.tsv.old", "elsewhere")):
        assert str((folder / link).readlink()) == target
        (folder / link).unlink()
    assert contents(folder) == {**bodies, "val.tsv.old": b"mine, older\n", "val.tsv.old3": b"mine\n"}


def test_another_version_is_refused_unless_it_is_accepted(server: Server, tmp_path: Path) -> None:
    bodies = hate_speech(server)
    knowing = {"hate-speech/train.tsv": bodies["train.tsv"]}
    script = script_that_knows("scripts/download_data.sh", tmp_path / "copy", knowing)
    _, error = call_script(script, server, tmp_path, "hate-speech", code=1, strict=True)
    assert "val.tsv: its digest is not the known one (--accept_changed" in error
    assert contents(tmp_path / "hate-speech") == {"train.tsv": bodies["train.tsv"]}
    said, _ = call_script(script, server, tmp_path, "hate-speech", "--accept_changed", strict=True)
    assert contents(tmp_path / "hate-speech") == bodies
    assert f"have    {tmp_path}/hate-speech/train.tsv\n" in said


def test_every_file_has_a_known_size_and_digest() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    text = text.replace("$PAWSX_KNOWN", re.search(r'PAWSX_KNOWN="(.*)"', text)[1])
    known = re.findall(r"(?m)^[\w-]+\|.*\|\d+\|\d+\|(?:[0-9a-f]{64}|git:[0-9a-f]{40})$", text)
    assert len(known) == 33


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_that_is_far_too_long_is_refused(server: Server, tmp_path: Path, lengths: bool) -> None:
    bodies = hate_speech(server)
    server.lengths = lengths  # without them, curl cannot know
    server.bodies[f"{HATE}/val.tsv"] = table("title comment bias hate", 471, "길" * 10_000)
    folder = tmp_path / "hate-speech"
    folder.mkdir()
    (folder / "train.tsv.part").write_bytes(PAGE * 1000)
    _, error = call(server, tmp_path, "hate-speech", code=1)
    assert f"refused https:/{HATE}/val.tsv: it has more than {2 * 96297} bytes" in error
    assert contents(folder) == {"train.tsv": bodies["train.tsv"]}
    assert server.cut_off == [f"{HATE}/val.tsv"]  # 56 MB, more than the sockets hold, were not fetched


def test_a_link_in_place_of_a_part_is_not_followed(server: Server, tmp_path: Path) -> None:
    bodies = hate_speech(server)
    folder = tmp_path / "hate-speech"
    folder.mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    (folder / "val.tsv.part").symlink_to(tmp_path / "mine")
    call(server, tmp_path, "hate-speech")
    assert contents(folder) == bodies and (tmp_path / "mine").read_bytes() == b"mine"


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_redirects_stay_on_https(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = hate_speech(server)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("CURL_CA_BUNDLE", str(certificate))
    for secure in serving():
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        secure.bodies = {f"{HATE}/train.tsv": bodies["train.tsv"], "/elsewhere": bodies["val.tsv"]}
        secure.redirects = {f"{HATE}/val.tsv": f"http://127.0.0.1:{server.server_port}{HATE}/val.tsv"}
        mirror = f"https://127.0.0.1:{secure.server_port}"
        _, error = call(server, tmp_path, "--mirror", mirror, "hate-speech", code=1)
        assert 'Protocol "http" not supported' in error or 'Protocol "http" disabled' in error
        assert contents(tmp_path / "hate-speech") == {"train.tsv": bodies["train.tsv"]} and server.log == []
        secure.redirects = {f"{HATE}/val.tsv": "/elsewhere"}
        call(server, tmp_path, "--mirror", mirror, "hate-speech")
        assert contents(tmp_path / "hate-speech") == bodies


def archive(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), 0o777
            tar.addfile(info, io.BytesIO(body))
        for info in others:
            tar.addfile(info)
    return file.getvalue()


PAWS_ROWS = {"translated_train.tsv": 49401, "dev_2k.tsv": 2000, "test_2k.tsv": 2000}


@cache
def paws() -> dict[str, bytes]:
    return {name: table("id sentence1 sentence2 label", count, "가") for name, count in PAWS_ROWS.items()}


def members(bodies: dict[str, bytes]) -> dict[str, bytes]:
    return {f"x-final/ko/{name}": body for name, body in bodies.items()}


def test_paws_comes_out_of_its_archive(server: Server, tmp_path: Path) -> None:
    bodies = paws()
    server.bodies[PAWS] = PAGE
    _, error = call(server, tmp_path, "paws", code=1)
    assert "it is a web page" in error and error.count("/paws/") == 4  # one refusal, three files missing
    assert len(server.log) == 1  # asked for once, not for each member
    server.bodies[PAWS] = archive({"x-final/ko/dev_2k.tsv": bodies["dev_2k.tsv"]})
    _, error = call(server, tmp_path, "paws", code=1)
    assert "it has no x-final/ko/translated_train.tsv" in error
    (tmp_path / "paws/x-final.tar.gz.part").unlink()
    server.bodies[PAWS] = archive({**members(bodies), "x-final/en/dev_2k.tsv": b"other"})
    server.broken = [PAWS]
    call(server, tmp_path, "paws")
    assert contents(tmp_path / "paws") == bodies  # no archive left behind
    assert server.log[-1][1] is not None  # it was resumed
    umask = os.umask(0)
    os.umask(umask)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "paws").iterdir()}
    assert modes == {0o666 & ~umask}  # not the archive's


def test_links_are_not_taken_from_an_archive(server: Server, tmp_path: Path) -> None:
    bodies = paws()
    (tmp_path / "mine").write_bytes(bodies["dev_2k.tsv"])
    link, hard_link = tarfile.TarInfo("x-final/ko/dev_2k.tsv"), tarfile.TarInfo("x-final/ko/test_2k.tsv")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "mine")
    hard_link.type, hard_link.linkname = tarfile.LNKTYPE, str(tmp_path / "mine")
    server.bodies[PAWS] = archive(members({"translated_train.tsv": bodies["translated_train.tsv"]}), link, hard_link)
    _, error = call(server, tmp_path, "paws", code=1)
    assert error.count("refused") == 2 and "dev_2k.tsv: it is empty" in error
    (tmp_path / "paws/x-final.tar.gz.part").unlink()
    assert contents(tmp_path / "paws") == {"translated_train.tsv": bodies["translated_train.tsv"]}


def test_an_archive_of_the_user_stays(server: Server, tmp_path: Path) -> None:
    good = archive(members(paws()))
    mine = tmp_path / "paws/x-final.tar.gz"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    _, error = call(server, tmp_path, "paws", code=1)  # nothing there to fetch
    assert f"warning: {mine} is there, but it is no whole gzip archive; it stays as it is" in error
    assert mine.read_bytes() == b"mine"
    server.bodies[PAWS] = good
    call(server, tmp_path, "paws")
    assert contents(tmp_path / "paws") == {**paws(), mine.name: b"mine"}
    mine.write_bytes(good)
    for name in paws():
        (mine.parent / name).unlink()
    asked = len(server.log)
    call(server, tmp_path, "paws")
    assert contents(tmp_path / "paws") == {**paws(), mine.name: good} and len(server.log) == asked


def test_an_archive_that_unpacks_to_far_too_much_is_refused(server: Server, tmp_path: Path) -> None:
    good = archive(members(paws()))
    script = script_that_knows("scripts/download_data.sh", tmp_path / "copy", {"PAWSX_KNOWN": good})
    limit = 20 * len(good)
    bomb = archive(members(paws()) | {"x-final/en": bytes(limit)})
    assert len(bomb) < 2 * len(good)
    server.bodies[PAWS] = bomb
    _, error = call_script(script, server, tmp_path, "paws", code=1)
    assert f"refused https:/{PAWS}: it unpacks to more than {limit} bytes" in error
    assert contents(tmp_path / "paws") == {}
    server.bodies[PAWS] = good
    call_script(script, server, tmp_path, "paws", strict=True)
    assert contents(tmp_path / "paws") == paws()


def test_files_to_be_had_by_hand(server: Server, tmp_path: Path) -> None:
    hate_speech(server)
    said, error = call(server, tmp_path, "hate-speech", "fake-news", "modu-sentiment", code=1)
    assert f"by hand {tmp_path}/fake_news/mission2_train.csv: " in said and "github.com/2alive3s/Fake_news" in said
    assert f"by hand {tmp_path}/modu_sentiment/EXSA2002108040.json: https://corpus.korean.go.kr" in said
    assert error.count(f"  {tmp_path}/") == 2
    (tmp_path / "fake_news").mkdir()
    (tmp_path / "fake_news/mission2_train.csv").write_text("x", encoding="utf-8")
    assert "by hand" not in call(server, tmp_path, "fake-news")[0]


def test_klue_lies_in_its_own_folders(server: Server, tmp_path: Path) -> None:
    source = "/raw.githubusercontent.com/KLUE-benchmark/KLUE/main/klue_benchmark"
    rows = json.dumps([{"guid": f"klue-sts-v1_dev_{i:05}", "guide": 1} for i in range(11_668)]).encode()
    sentences = "".join(f"## klue-ner-v1_dev_{i:05}\t글\n글\tO\n\n" for i in range(21_008)).encode()
    names = [f"{task}-v1.1/{task}-v1.1_{part}" for task in ("klue-sts", "klue-ner") for part in ("train", "dev")]
    names = [f"{name}.{'json' if 'sts' in name else 'tsv'}" for name in names]
    server.bodies = {f"{source}/{name}": rows if "sts" in name else sentences for name in names}
    call(server, tmp_path, "klue-sts", "klue-ner")
    found = {path.relative_to(tmp_path / "klue").as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(found) == set(names)
    assert all(path.read_bytes() == (rows if "sts" in name else sentences) for name, path in found.items())
    server.bodies = {f"{source}/ynat-v1.1/ynat-v1.1_{part}.json": rows for part in ("train", "dev")}
    _, warned = call(server, tmp_path, "klue-tc", code=1)
    assert "ynat-v1.1_train.json: it has 11668 rows, fewer than 45678" in warned
    assert f"  {tmp_path}/klue/ynat-v1.1/ynat-v1.1_train.json\n" in warned


def test_help_list_and_wrong_arguments(server: Server, tmp_path: Path) -> None:
    said, _ = call(server, tmp_path, "--help")
    assert said.startswith("Fetches the short tasks' data") and "--mirror URL" in said and "set -e" not in said
    lines = call(server, tmp_path, "--list")[0].splitlines()
    assert len(lines) == 35 and lines[0] == (
        f"nsmc  {tmp_path}/nsmc/ratings_train.txt  missing  "
        "https://raw.githubusercontent.com/e9t/nsmc/master/ratings_train.txt"
    )
    for arguments, reason in (
        (["--mirrors", "x"], "unknown flag --mirrors"),
        (["--data_dir"], "--data_dir needs a value"),
        (["nsmd"], "unknown task nsmd (there is: nsmc kornli korsts"),
        (["--retries=none"], "--retries must be a whole number from 1, not none"),
        (["--mirror", "ftp://x"], "the mirror must begin with https:// or http://, unlike ftp://x"),
    ):
        _, error = call(server, tmp_path, *arguments, code=2)
        assert error.count("\n") == 1 and reason in error
    assert server.log == []


@pytest.mark.skipif(not (SHARED / "hate-speech").is_dir(), reason="no ../shared/data")
def test_the_real_files_pass_without_a_warning(server: Server, tmp_path: Path) -> None:
    for task, source in (("hate-speech", HATE), ("korsts", f"{KORNLU}/KorSTS")):
        server.bodies |= {f"{source}/{path.name}": path.read_bytes() for path in (SHARED / task).iterdir()}
    server.broken = [f"{KORNLU}/KorSTS/sts-dev.tsv"]  # resumed, and its digest is right
    _, warned = call(server, tmp_path, "hate-speech", "korsts", strict=True)
    assert "warning" not in warned
    assert len(server.log) == 6
    assert "digest" not in call(server, tmp_path, "hate-speech", "korsts")[0]
    for task in ("hate-speech", "korsts"):
        assert contents(tmp_path / task) == contents(SHARED / task)
