"""A small Hugging Face Hub on 127.0.0.1: what huggingface_hub asks of the real one, and its bad days.

Large files are served by "another host" (localhost), to which the Hub redirects, as the real one does.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_that_may"
LFS_FROM_BYTES = 1000
PIECE_BYTES = 50_000


@dataclass
class Repo:
    """A repository: its files now, and who may have them."""

    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    hides_sizes: bool = False
    commit: str = "a" * 40
    revisions: dict[str, str] = field(default_factory=dict)

    def blob(self, name: str) -> str:
        content = self.files[name]
        if len(content) >= LFS_FROM_BYTES:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def info(self, repo_id: str) -> dict[str, object]:
        siblings = []
        for name, content in self.files.items():
            sibling: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": self.blob(name)}
            if len(content) >= LFS_FROM_BYTES:
                sibling |= {
                    "blobId": "c" * 40,
                    "lfs": {"size": len(content), "sha256": self.blob(name), "pointerSize": 130},
                }
            siblings.append({"rfilename": name} if self.hides_sizes else sibling)
        return {
            "id": repo_id,
            "sha": self.commit,
            "siblings": siblings,
            "gated": "manual" if self.gated else False,
            "tags": ["license:llama3.2"],
        }


@dataclass(frozen=True)
class Request:
    """What was asked."""

    path: str
    start: int
    token: str


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that are killed are no news."""


class FakeHub:
    """The server; set its attributes to make it misbehave."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.sent_bytes = 0
        self.breaks_after: list[int] = []
        """Large answers break off after so many bytes, one after the other, until the list is empty."""
        self.hangs_after: int | None = None
        """A large answer stops after so many bytes until `go_on` is set."""
        self.go_on = threading.Event()
        self.hanging = threading.Event()
        self.status = 0
        self.knows_ranges = True
        self.is_a_hotel = False
        """Whether every answer is a page to log in."""
        self.lies = False
        """Whether large files have another content than they should."""
        self.server = _Server(("127.0.0.1", 0), self._handler())
        self.port = self.server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def asked_for(self, ending: str) -> list[Request]:
        return [request for request in self.requests if request.path.endswith(ending)]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
                found = re.match(r"bytes=(\d+)-", self.headers.get("range") or "")
                start = int(found[1]) if found else 0
                hub.requests.append(Request(path, start, token))
                if hub.is_a_hotel:
                    return self.send(b"<html>Welcome, guest!</html>", "text/html")
                if hub.status:
                    return self.refuse(hub.status)
                if path.startswith("/files/"):
                    return self.send_large(path, start)
                api = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path)
                resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
                repo_id = (api or resolve or [None, ""])[1]
                repo = hub.repos.get(repo_id)
                if token and not token.startswith("hf_"):
                    return self.refuse(401, message="Invalid credentials in Authorization header")
                if repo is None or (repo.private and token != TOKEN):
                    return self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
                if api:
                    if api[2] not in ("main", repo.commit, *repo.revisions):
                        return self.refuse(404, "RevisionNotFound", "Invalid rev id")
                    return self.send(json.dumps(repo.info(repo_id)).encode(), "application/json")
                assert resolve
                if repo.gated and token != TOKEN:
                    return self.refuse(403 if token else 401, "GatedRepo", "Access to model is restricted")
                name = resolve[3]
                if name not in repo.files:
                    return self.refuse(404, "EntryNotFound", "Entry not found")
                return self.send_file(repo, repo_id, name, start)

            def send_file(self, repo: Repo, repo_id: str, name: str, start: int) -> None:
                content = repo.files[name]
                headers = {"X-Repo-Commit": repo.commit}
                if len(content) < LFS_FROM_BYTES:
                    return self.send(content, "text/plain", headers | {"ETag": f'"{repo.blob(name)}"'})
                location = f"http://localhost:{hub.port}/files/{repo_id}/{name}"
                linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{repo.blob(name)}"'}
                return self.send(b"", "text/plain", headers | linked | {"Location": location}, status=302)

            def send_large(self, path: str, start: int) -> None:
                _, _, owner, name, *rest = path.split("/")
                content = hub.repos[f"{owner}/{name}"].files["/".join(rest)]
                if hub.lies:
                    content = bytes(len(content))
                start = start if hub.knows_ranges else 0
                body = content[start:]
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "HEAD":
                    return
                breaks_after = hub.breaks_after.pop(0) if hub.breaks_after else len(body)
                for place in range(0, len(body), PIECE_BYTES):
                    if place >= breaks_after:
                        self.close_connection = True
                        return
                    if hub.hangs_after is not None and place >= hub.hangs_after:
                        hub.hanging.set()
                        hub.go_on.wait()
                    hub.sent_bytes += len(body[place : place + PIECE_BYTES])
                    try:
                        self.wfile.write(body[place : place + PIECE_BYTES])
                    except OSError:
                        return

            def send(
                self, body: bytes, kind: str, headers: dict[str, str] | None = None, status: int = 200
            ) -> None:
                self.send_response(status)
                for key, value in (
                    {"Content-Type": kind, "Content-Length": str(len(body))} | (headers or {})
                ).items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def refuse(self, status: int, code: str = "", message: str = "") -> None:
                headers = {"X-Error-Code": code, "X-Error-Message": message}
                self.send(
                    json.dumps({"error": message}).encode(),
                    "application/json",
                    {key: value for key, value in headers.items() if value},
                    status,
                )

        return Handler


@pytest.fixture
def fake_hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """An empty Hub, the only one that is known, with an empty cache of its own and no token."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    home = tmp_path_factory.mktemp("hf")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()
    hub = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    yield hub
    close_session()
    hub.close()
