"""Downloads from a server on this machine, which breaks off, lies, or is gone."""

import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from ifusion.corpora.corpus import CorpusError
from ifusion.features import download
from ifusion.features.download import download_ravdess, parse_actors

RNG = np.random.default_rng(0)


def packed(names):
    """A zip archive of random content."""
    held = {name: RNG.bytes(20_000) for name in names}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return buffer.getvalue(), held


class Server(ThreadingHTTPServer):
    """Serves a record of two actors; what it does wrong is set by a test."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archives, self.held = {}, {}
        for actor in (1, 2):
            names = [
                f"Actor_{actor:02d}/01-01-0{e}-01-01-01-0{actor}.mp4" for e in (1, 3)
            ]
            data, held = packed([*names, "../../evil.mp4", "notes.txt"])
            self.archives[f"Video_Speech_Actor_{actor:02d}.zip"] = data
            self.held[actor] = held
        self.break_after = self.lie = None
        self.ranges, self.resumes = [], True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def record(self):
        return {
            "files": [
                {
                    "key": name,
                    "size": len(data),
                    "checksum": f"md5:{hashlib.md5(data).hexdigest()}",
                    "links": {"self": f"{self.url}/{name}"},
                }
                for name, data in self.archives.items()
            ]
        }


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        if self.path == "/record":
            return self.answer(200, json.dumps(server.record()).encode())
        data = server.archives.get(self.path[1:])
        if data is None:
            return self.answer(404, b"")
        asked = self.headers.get("Range", "bytes=0-")
        server.ranges.append(asked)
        first = int(asked.split("=")[1].split("-")[0]) if server.resumes else 0
        data = data if server.lie is None else server.lie + data[len(server.lie) :]
        self.answer(206 if server.resumes else 200, data[first:], server.break_after)

    def answer(self, status, body, most=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if most is None else body[:most])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 5.0)
    found = Server()
    thread = threading.Thread(target=found.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def fetch(server, folder, actors=(1, 2)):
    return download_ravdess(folder, actors, record=f"{server.url}/record")


def test_media_are_unpacked_and_nothing_else(server, tmp_path):
    folder = tmp_path / "media"
    folders = fetch(server, folder)
    for actor, place in zip((1, 2), folders, strict=True):
        held = server.held[actor]
        names = {name.rsplit("/", 1)[-1]: name for name in held if name != "notes.txt"}
        assert {p.name for p in place.iterdir()} == set(names)
        for name, inside in names.items():
            assert (place / name).read_bytes() == held[inside]
    assert not list(tmp_path.glob("*.mp4")) and not list(folder.glob("V*.zip*"))
    count = len(server.ranges)
    fetch(server, folder)
    assert len(server.ranges) == count  # nothing is downloaded twice


def test_a_download_that_breaks_off_goes_on(server, tmp_path):
    server.break_after = 15_000
    folders = fetch(server, tmp_path, actors=(1,))
    assert len(list(folders[0].iterdir())) == 3
    assert server.ranges[:3] == ["bytes=0-", "bytes=15000-", "bytes=30000-"]


def test_what_another_run_has_downloaded_is_kept(server, tmp_path):
    name = "Video_Speech_Actor_01.zip"
    (tmp_path / f"{name}.part").write_bytes(server.archives[name][:40_000])
    fetch(server, tmp_path, actors=(1,))
    assert server.ranges == ["bytes=40000-"]


def test_a_server_that_cannot_resume_sends_all(server, tmp_path):
    server.resumes = False
    name = "Video_Speech_Actor_01.zip"
    (tmp_path / f"{name}.part").write_bytes(b"x" * 500)
    fetch(server, tmp_path, actors=(1,))
    assert (tmp_path / "Video_Speech_Actor_01").is_dir()


def test_wrong_content_is_not_kept(server, tmp_path):
    server.lie = b"no archive"
    with pytest.raises(CorpusError, match="checksum is not that of the record"):
        fetch(server, tmp_path, actors=(1,))
    assert list(tmp_path.iterdir()) == []
    server.lie = None
    assert fetch(server, tmp_path, actors=(1,))


def test_what_is_not_there_is_said(server, tmp_path):
    with pytest.raises(CorpusError, match=r"no file .Video_Speech_Actor_07\.zip"):
        fetch(server, tmp_path, actors=(7,))
    with pytest.raises(CorpusError, match="cannot be read"):
        download_ravdess(tmp_path, record=f"{server.url}/other")
    server.break_after = 0
    with pytest.raises(CorpusError, match="start again to continue"):
        fetch(server, tmp_path, actors=(1,))


def test_actors_are_numbers():
    assert parse_actors([]) == tuple(range(1, 25))
    assert parse_actors(["3", "1", "3"]) == (1, 3)
    for wrong in ("0", "25", "x"):
        with pytest.raises(ValueError, match="expected numbers from 1 to 24"):
            parse_actors([wrong])
