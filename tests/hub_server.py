"""A server on 127.0.0.1 that answers as the Hugging Face hub does for one model or data set."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """The hub, with one repository whose files lie in `folder`.

    kind: "models" or "datasets". commit: of the repository. answer: a status to give instead, or "hang". asked: the
    requests, such as `GET /api/models/someone/some-model`. waited_out: whether a client waited for an answer in vain.
    """

    daemon_threads = True

    def __init__(self, kind: str, repository: str, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.kind, self.repository, self.folder = kind, repository, folder
        self.commit = COMMIT
        self.answer: int | str = 200
        self.asked: list[str] = []
        self.waited_out = False
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def questions(self) -> int:
        """How often it was asked for the repository; huggingface_hub has questions of its own."""
        return sum(self.repository in request for request in self.asked)

    def files(self) -> dict[str, Path]:
        """The files of the repository, by their paths in it."""
        return {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, unquote(self.path.split("?")[0])
        hub.asked.append(f"{self.command} {path}")
        api = f"/api/{hub.kind}/{hub.repository}"
        page = f"/{'datasets/' if hub.kind == 'datasets' else ''}{hub.repository}/resolve/"
        revisions = ("main", "refs/convert/parquet", hub.commit)
        files = hub.files()
        if hub.answer == "hang":
            hub.waited_out |= self.wait_for_the_other_end()
        elif hub.answer != 200:
            self.refuse("RepoNotFound" if hub.answer in (401, 404) else "", status=hub.answer)
        elif path.startswith(f"{api}/revision/") and path.removeprefix(f"{api}/revision/") not in revisions:
            self.refuse("RevisionNotFound")
        elif path == api or path.startswith(f"{api}/revision/"):
            siblings = [{"rfilename": name} for name in files]
            self.send({"_id": "1", "id": hub.repository, "sha": hub.commit, "siblings": siblings})
        elif path.startswith(f"{api}/tree/"):
            inside = path.removeprefix(f"{api}/tree/{hub.commit}").strip("/")
            folders = {str(folder) for name in files for folder in Path(name).parents} - {"."}
            listed = [{"type": "directory", "oid": name, "path": name} for name in folders if name.startswith(inside)]
            self.send([*listed, *(self.info(name) for name in files if name.startswith(inside))])
        elif path.startswith(f"{api}/paths-info/"):
            self.send([self.info(name) for name in files if name in unquote(self.body)])
        elif path.startswith(page):
            name = path.removeprefix(page).partition("/")[2]
            if name in files:
                content = files[name].read_bytes()
                self.send(content, ETag=f'"{hashlib.sha256(content).hexdigest()}"')
            else:
                self.refuse("EntryNotFound")
        else:
            self.refuse("RepoNotFound")

    def wait_for_the_other_end(self) -> bool:
        """Says nothing until the client has hung up. True where it has not in half a minute."""
        self.connection.settimeout(30)
        try:
            return bool(self.connection.recv(1))
        except TimeoutError:
            return True
        except OSError:
            return False

    def info(self, name: str) -> dict:
        return {"type": "file", "oid": name, "size": self.server.files()[name].stat().st_size, "path": name}

    def refuse(self, code: str, status: int = 404) -> None:
        self.send({"error": "no"}, status=status, **({"X-Error-Code": code} if code else {}))

    def send(self, content: object, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"X-Repo-Commit": self.server.commit, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def make_it_the_hub(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets huggingface_hub ask `url` from now on, and keep in `cache` what it downloads."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
