"""The server on 127.0.0.1 that the download scripts are tested with.

It can break off, answer with a page, or know no ranges.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>" + b"\n" * 9000


class Server(ThreadingHTTPServer):
    """`bodies`: path -> bytes. `broken`: paths whose next answer stops half-way. `log`: (path, Range header)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.broken: list[str] = []
        self.ranges = True
        self.log: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.log.append((self.path, wanted))
        body = self.server.bodies.get(self.path)
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
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.path in self.server.broken:
            self.server.broken.remove(self.path)
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        pass


def serving() -> Iterator[Server]:
    """The server, until the test is done."""
    with Server() as running:
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def call_script(script: Path, server: Server, data: Path, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Runs a download script, which must end with `code`; returns what it said on standard output and error."""
    mirror = f"http://127.0.0.1:{server.server_port}"
    command = ["bash", str(script), "--data_dir", str(data), "--mirror", mirror, "--retry_delay", "0", *arguments]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout, result.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
