"""The server on 127.0.0.1 that the download scripts are tested with.

It can break off, answer with a page, know no ranges or lengths, and lead elsewhere. What the tests fetch is made up, so
scripts take it only with `--accept_changed`, or as a copy that knows it (`script_that_knows`).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = ("download_qa_dataset.sh", "scripts/download_data.sh", "scripts/download.sh")
PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>" + b"\n" * 9000


class Server(ThreadingHTTPServer):
    """What is served, and what was asked for.

    `bodies`: path -> bytes. `redirects`: path -> address. `broken`: paths whose next answer stops half-way. `ranges`,
    `lengths`: whether it knows any. `log`: (path, Range header). `cut_off`: paths that were not read to their end.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.broken: list[str] = []
        self.redirects: dict[str, str] = {}
        self.ranges = True
        self.lengths = True
        self.log: list[tuple[str, str | None]] = []
        self.cut_off: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.log.append((self.path, wanted))
        body = self.server.bodies.get(self.path)
        if self.path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[self.path])
            self.end_headers()
            return
        if body is None:
            self.send_error(404)
            return
        start = 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        if self.server.lengths:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.path in self.server.broken:
            self.server.broken.remove(self.path)
            rest = rest[: len(rest) // 2]
        try:
            self.wfile.write(rest)
        except OSError:  # the script had enough
            self.server.cut_off.append(self.path)
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def serving() -> Iterator[Server]:
    """The server, until the test is done."""
    with Server() as running:
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def call_script(
    script: Path, server: Server, data: Path, *arguments: str, code: int = 0, strict: bool = False
) -> tuple[str, str]:
    """Runs a download script, which must end with `code`; returns what it said on standard output and error.

    strict: as users run it, without `--accept_changed`.
    """
    mirror = f"http://127.0.0.1:{server.server_port}"
    command = ["bash", str(script), "--data_dir", str(data), "--mirror", mirror, "--retry_delay", "0"]
    command += [*([] if strict else ["--accept_changed"]), *arguments]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout, result.stderr


def script_that_knows(name: str, folder: Path, bodies: dict[str, bytes]) -> Path:
    """A copy of a script in `folder` that knows these bytes and digests.

    bodies: the end of the path, or what else stands before the bytes in the script's table, -> content.
    """
    for path in SCRIPTS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, folder / path)
    script = folder / name
    text = script.read_text(encoding="utf-8")
    for key, body in bodies.items():
        known = re.findall(rf"(?m)^.*{re.escape(key)}.*?\b(\d+[| ])((?:git:)?[0-9a-f]{{40,}})", text)
        assert len(known) == 1, key
        bytes_, digest = known[0]
        if digest.startswith("git:"):
            new = "git:" + hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        else:
            new = hashlib.sha256(body).hexdigest()
        text = text.replace(bytes_ + digest, f"{len(body)}{bytes_[-1]}{new}")
    script.write_text(text, encoding="utf-8")
    return script


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
