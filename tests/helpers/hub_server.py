"""The smallest honest Hub: what huggingface_hub asks for when it publishes and downloads a model, over loopback.

Large files go the way of the real Hub: an LFS batch, an upload, and a redirect to another host name on download. Each
request is kept, so that tests can say what was sent; `faults` makes the next answers go wrong.
"""

import base64
import contextlib
import hashlib
import json
import random
import re
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


def free_port() -> int:
    """A port below those that a system gives to whoever asks for any: nobody takes it before it is listened on."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Hub:
    """Repositories in memory; listens between `start` and `stop`, always on the same port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url, self.store = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}  # repository -> (commit, its files)
        self.private: dict[str, str] = {}  # repository -> token that opens it
        self.blobs: dict[str, bytes] = {}  # large files by SHA-256
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, Authorization
        self.faults: dict[str, Callable[[Handler], bool]] = {}  # "METHOD where" -> answers instead, if it returns True
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        handler = type("Bound", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commits = self.commits[repo]
        if revision == "main":
            return commits[-1] if commits else None
        return next((commit for commit in commits if commit[0] == revision), None)


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", **headers):
        body = json.dumps(body).encode() if isinstance(body, dict | list) else body
        self.send_response(status)
        # Connections do not outlive an answer: a server that was stopped must not go on in a thread.
        self.close_connection = True
        plain = {"Content-Length": str(len(body)), "Connection": "close"}
        for name, value in (plain | {name.replace("_", "-"): value for name, value in headers.items()}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_one(self):
        path = unquote(self.path.partition("?")[0])
        self.hub.requests.append((self.command, path, self.headers["Authorization"]))
        self.body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        for pattern, route in ROUTES.items():
            method, _, regex = pattern.partition(" ")
            if self.command in method.split("|") and (match := re.fullmatch(regex, path)):
                fault = self.hub.faults.get(f"{self.command} {route.__name__}")
                if not (fault and fault(self)):
                    route(self, **match.groupdict())
                return
        self.answer(404, {"error": f"this server has no {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_one  # noqa: N815

    def refused(self, repo):
        """Answer as the Hub does for what is missing or not for this token: the two look alike."""
        wanted = self.hub.private.get(repo)
        if repo in self.hub.commits and wanted in (None, (self.headers["Authorization"] or "").removeprefix("Bearer ")):
            return False
        self.answer(401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        return True


def create(request: Handler) -> None:
    asked = json.loads(request.body)
    repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
    if not request.headers["Authorization"]:
        request.answer(401, {"error": "Invalid username or password."})
    elif repo in request.hub.commits:
        request.answer(409, {"url": f"{request.hub.url}/{repo}", "error": "You already created this model repo"})
    else:
        request.hub.commits[repo] = []
        request.answer(200, {"url": f"{request.hub.url}/{repo}", "name": repo})


def validate(request: Handler) -> None:
    fine = json.loads(request.body)["content"].startswith("---\n")
    request.answer(200 if fine else 400, {"errors": [] if fine else [{"message": "no metadata"}], "warnings": []})


def preupload(request: Handler, repo: str, revision: str) -> None:
    if request.refused(repo):
        return
    held = (request.hub.find(repo, revision) or ("", {}))[1]
    files = []
    for file in json.loads(request.body)["files"]:
        name, large = file["path"], file["path"].endswith(".safetensors")
        oid = (sha256 if large else git_sha1)(held[name]) if name in held else None
        files.append({"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid})
    request.answer(200, {"files": files})


def batch(request: Handler, repo: str) -> None:
    if request.refused(repo):
        return
    objects = [
        {"oid": wanted["oid"], "size": wanted["size"]}
        | ({} if wanted["oid"] in request.hub.blobs else {"actions": {"upload": {"href": blob_url(request, wanted)}}})
        for wanted in json.loads(request.body)["objects"]
    ]
    request.answer(200, {"transfer": "basic", "objects": objects})


def blob_url(request: Handler, wanted: dict) -> str:
    return f"{request.hub.store}/blobs/{wanted['oid']}"


def upload(request: Handler, oid: str) -> None:
    if sha256(request.body) != oid:
        request.answer(400, {"error": "the content is not what was announced"})
        return
    request.hub.blobs[oid] = request.body
    request.answer(200)


def commit(request: Handler, repo: str, revision: str) -> None:
    if request.refused(repo):
        return
    files = dict((request.hub.find(repo, revision) or ("", {}))[1])
    for line in request.body.splitlines():
        item = json.loads(line)
        if item["key"] == "file":
            files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
        elif item["key"] == "lfsFile":
            files[item["value"]["path"]] = request.hub.blobs[item["value"]["oid"]]
    commits = request.hub.commits[repo]
    oid = hashlib.sha1(f"{repo} {len(commits)}".encode()).hexdigest()
    commits.append((oid, files))
    request.answer(200, {"commitOid": oid, "commitUrl": f"{request.hub.url}/{repo}/commit/{oid}"})


def info(request: Handler, repo: str, revision: str | None = None) -> None:
    if request.refused(repo):
        return
    oid, files = request.hub.find(repo, revision or "main") or ("", {})
    siblings = [{"rfilename": name} for name in files]
    request.answer(200, {"id": repo, "sha": oid, "siblings": siblings, "private": repo in request.hub.private})


def resolve(request: Handler, repo: str, revision: str, name: str) -> None:
    if request.refused(repo):
        return
    found = request.hub.find(repo, revision)
    if found is None:
        request.answer(404, X_Error_Code="RevisionNotFound")
        return
    oid, files = found
    if name not in files:
        request.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=oid)
    elif name.endswith(".safetensors"):
        blob = sha256(files[name])
        large = {"X_Linked_ETag": f'"{blob}"', "X_Linked_Size": str(len(files[name]))}
        request.answer(302, X_Repo_Commit=oid, Location=f"{request.hub.store}/blobs/{blob}", **large)
    else:
        request.answer(200, files[name], X_Repo_Commit=oid, ETag=f'"{git_sha1(files[name])}"')


def download(request: Handler, oid: str) -> None:
    data = request.hub.blobs[oid]
    start = int((request.headers["Range"] or "bytes=0-")[len("bytes=") :].partition("-")[0])
    if start:
        span = f"bytes {start}-{len(data) - 1}/{len(data)}"
        request.answer(206, data[start:], ETag=f'"{oid}"', Content_Range=span)
    else:
        request.answer(200, data, ETag=f'"{oid}"')


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
ROUTES = {
    "POST /api/repos/create": create,
    "POST /api/validate-yaml": validate,
    f"POST /api/models/{REPO}/preupload/(?P<revision>.+)": preupload,
    f"POST /{REPO}\\.git/info/lfs/objects/batch": batch,
    "PUT /blobs/(?P<oid>[0-9a-f]{64})": upload,
    f"POST /api/models/{REPO}/commit/(?P<revision>.+)": commit,
    f"GET /api/models/{REPO}(/revision/(?P<revision>.+))?": info,
    f"GET|HEAD /{REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)": resolve,
    "GET|HEAD /blobs/(?P<oid>[0-9a-f]{64})": download,
}
