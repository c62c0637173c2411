"""RAVDESS from Zenodo, whose record lists the size and checksum of each file.

S. R. Livingstone, F. A. Russo (2018), record 1188976, CC BY-NC-SA 4.0. A download that
was stopped continues; a file counts once its checksum is that of the record.
"""

import hashlib
import json
import shutil
import time
import urllib.request
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from ifusion.corpora.corpus import CorpusError
from ifusion.terminal import say

RECORD = "https://zenodo.org/api/records/1188976"
SOUND = "Audio_Speech_Actors_01-24.zip"
ACTORS = range(1, 25)
BLOCK, PATIENCE, TRIES = 2**20, 60.0, 5  # [byte], [s], tries without progress
EVERY = 10.0  # [s] between lines of progress


class Archive(NamedTuple):
    """A file of the record."""

    name: str
    size: int  # [byte]
    md5: str
    url: str


def download_ravdess(
    folder: Path,
    actors: Collection[int] = ACTORS,
    sound_only: bool = False,
    record: str = RECORD,
) -> list[Path]:
    """Downloads the speech of RAVDESS, and unpacks it.

    Args:
      folder: for the media, in a folder per actor.
      actors: 1 to 24, about 0.5 GB of video each.
      sound_only: whether to fetch only sound, of all actors (0.2 GB).
      record: address of the record.

    Returns:
      The unpacked folders.

    Raises:
      CorpusError: the archive cannot be reached, lacks a file, or a file is damaged.
    """
    wanted = (
        {SOUND} if sound_only else {f"Video_Speech_Actor_{a:02d}.zip" for a in actors}
    )
    found = {archive.name: archive for archive in read_record(record)}
    absent = sorted(wanted - set(found))
    if absent:
        raise CorpusError(f"the record {record} has no file {absent[0]!r}")
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = []
    for name in sorted(wanted):
        done = folder / f".{name}.done"
        if not done.exists():
            path = fetch(found[name], folder)
            unpack(path, folder)
            done.write_text(found[name].md5)
            path.unlink()
        unpacked.append(folder / name.removesuffix(".zip"))
    return unpacked


def parse_actors(entries: Collection[str]) -> tuple[int, ...]:
    """Reads the numbers of actors; none means all.

    Raises:
      ValueError: one is not 1 to 24.
    """
    for entry in entries:
        if not entry.isdecimal() or int(entry) not in ACTORS:
            raise ValueError(f"--actors has {entry!r}, expected numbers from 1 to 24")
    return tuple(sorted({int(entry) for entry in entries})) or tuple(ACTORS)


def read_record(url: str) -> list[Archive]:
    """Reads which files a record of Zenodo has.

    Raises:
      CorpusError: it cannot be reached, or is not a record.
    """
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            data = json.load(answer)
        return [_archive(entry) for entry in data["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"the record {url} cannot be read ({type(error).__name__}: {error})"
        raise CorpusError(reason) from error


def _archive(entry: dict[str, Any]) -> Archive:
    kind, _, digest = entry["checksum"].partition(":")
    if kind != "md5":
        raise ValueError(f"checksum {kind!r}, expected md5")
    return Archive(entry["key"], int(entry["size"]), digest, entry["links"]["self"])


def fetch(archive: Archive, folder: Path) -> Path:
    """Downloads a file, or the rest of it.

    Raises:
      CorpusError: `TRIES` tries bring nothing more, or the checksum is wrong.
    """
    path, part = folder / archive.name, folder / f"{archive.name}.part"
    if path.exists() and _checksum(path) == archive.md5:
        return path
    failures, last = 0, ""
    while _size(part) < archive.size and failures < TRIES:
        before = _size(part)
        try:
            _fetch_rest(archive, part)
        except OSError as error:  # so are those of urllib
            last = str(error)
        if _size(part) == before:
            failures += 1
            time.sleep(0.1 * failures)
    if _size(part) < archive.size:
        reason = f"{archive.url} cannot be downloaded ({last or 'it ends too early'})"
        raise CorpusError(f"{reason}; start again to continue", part)
    if _checksum(part) != archive.md5:
        part.unlink()
        raise CorpusError("its checksum is not that of the record; start again", path)
    part.replace(path)
    return path


def _fetch_rest(archive: Archive, part: Path) -> None:
    """Appends what the server sends to what is there."""
    begin = _size(part)
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={begin}-"})
    said = time.monotonic()
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        resumed = answer.status == 206
        with part.open("ab" if resumed else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                if time.monotonic() - said > EVERY:
                    said = time.monotonic()
                    say(f"{archive.name}: {file.tell() / archive.size:.0%}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpack(path: Path, folder: Path) -> None:
    """Unpacks the media of an archive into FOLDER/NAME/, whole or not at all.

    Raises:
      CorpusError: it is damaged.
    """
    target = folder / path.stem
    part = folder / f".{path.stem}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                # so that no path leads out of the folder
                name = Path(member.filename).name
                if member.is_dir() or not name.endswith((".mp4", ".wav")):
                    continue
                part.mkdir(exist_ok=True)
                with archive.open(member) as source, (part / name).open("wb") as file:
                    shutil.copyfileobj(source, file, BLOCK)
    except (OSError, zipfile.BadZipFile) as error:
        raise CorpusError(f"the archive cannot be unpacked ({error})", path) from error
    if not part.exists():
        raise CorpusError("the archive has no media", path)
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)
