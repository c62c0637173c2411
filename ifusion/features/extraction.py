"""Many recordings to features: in parallel, with a cache, and past those that fail.

The cache holds an npz file for each recording and extractor. Its name is a hash of the
media file's content, the part of it, the version of ifusion, and everything the
extractor states. Files appear whole or not at all, so that a run that was stopped, or
that gets more recordings, continues from there. To merge the caches of several
machines, copy their files into one folder.
"""

import hashlib
import json
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ifusion import __version__
from ifusion.corpora.corpus import CorpusError
from ifusion.features.extractors import (
    Extractor,
    ExtractorOptions,
    Features,
    make_extractor,
)
from ifusion.features.media import MediaError, Recording
from ifusion.terminal import Tally

AHEAD = 2  # tasks waiting per process
BLOCK = 2**20  # [byte] hashed at once


class Task(NamedTuple):
    """One recording for one extractor."""

    place: int  # of the recording in the listing
    modality: str
    source: Recording


class Failure(NamedTuple):
    """Why a recording has no features of a modality."""

    place: int
    modality: str
    reason: str


@dataclass(frozen=True)
class Recipe:
    """What to do with every task; small enough to send to other processes."""

    names: Mapping[str, str]  # {modality: name of its extractor}
    options: ExtractorOptions
    cache: Path  # an existing folder


def extract_all(
    tasks: Sequence[Task], recipe: Recipe, jobs: int = 1
) -> Iterator[tuple[Task, Features | Failure]]:
    """Extracts the features of all tasks, in any order.

    A task that fails yields a Failure, even if it takes its process down. `jobs` is the
    number of processes; 1 uses this one.
    """
    tally = Tally(len(tasks), "extractions")
    for task, found in _run(tasks, recipe, jobs):
        tally.count(isinstance(found, Failure))
        yield task, found


def _run(
    tasks: Sequence[Task], recipe: Recipe, jobs: int
) -> Iterator[tuple[Task, Features | Failure]]:
    if jobs == 1:
        for task in tasks:
            yield task, extract_one(task, recipe)
        return
    waiting = deque(tasks)
    while waiting:
        running: dict[Future, Task] = {}
        with _pool(jobs) as pool, suppress(BrokenProcessPool):
            while waiting or running:
                while waiting and len(running) < AHEAD * jobs:
                    future = pool.submit(extract_one, waiting[0], recipe)
                    running[future] = waiting.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    found = future.result()
                    yield running.pop(future), found
        for task in running.values():  # one of them took its process down
            yield task, _extract_alone(task, recipe)


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    # forked processes would share JAX's threads
    context = get_context("spawn")
    others = active_children()
    pool = ProcessPoolExecutor(jobs, context, _prepare_process, (jobs == 1,))
    try:
        yield pool
    except BaseException:  # it is stopped, and a long recording would take its time
        for process in active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_process(alone: bool) -> None:
    """Lets a process of the pool end silently, and with the program.

    Unless it is alone, JAX and numpy, which are not loaded yet, are kept to one core.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    threading.Thread(target=_end_with_program, daemon=True).start()
    if not alone:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def _end_with_program() -> None:
    program = parent_process()
    if program is not None:
        program.join()  # returns even if it was killed
        os._exit(1)


def _extract_alone(task: Task, recipe: Recipe) -> Features | Failure:
    with _pool(1) as pool:
        try:
            return pool.submit(extract_one, task, recipe).result()
        except BrokenProcessPool:
            reason = "its process ended: the decoder crashed, or memory ran out"
            return Failure(task.place, task.modality, reason)


def extract_one(task: Task, recipe: Recipe) -> Features | Failure:
    """Extracts the features of one recording, or finds them in the cache."""
    extractor = make_extractor(
        task.modality, recipe.names[task.modality], recipe.options
    )
    try:
        path = recipe.cache / f"{cache_key(task.source, extractor)}.npz"
        found = _load(path)
        if found is None:
            found = extractor.extract(task.source)
            _save(path, found)
    except Exception as error:  # a damaged file may cause any
        return Failure(task.place, task.modality, reason_of(error))
    return found


def reason_of(error: Exception) -> str:
    """Says in one line why a recording cannot be used."""
    if isinstance(error, CorpusError):  # the file has a column of its own
        return str(CorpusError(error.reason, row=error.row, column=error.column))
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or error})"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def cache_key(source: Recording, extractor: Extractor) -> str:
    """Names the features of a recording by everything they depend on.

    Raises:
      MediaError: there is no such file.
    """
    if not source.path.is_file():
        raise MediaError("no such file", source.path)
    part = [source.start, str(source.end)]
    parts = {"ifusion": __version__, "part": part, **extractor.states}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    with source.path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()[:40]


def _save(path: Path, features: Features) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez(
            file,
            names=np.array(features.names),
            values=features.values.astype(np.float32),
            facts=np.array(list(features.facts), np.str_),
            numbers=np.array(list(features.facts.values()), np.float64),
        )
    part.replace(path)


def _load(path: Path) -> Features | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            columns = [arrays[name].tolist() for name in ("facts", "numbers")]
            facts = dict(zip(*columns, strict=True))
            return Features(tuple(arrays["names"].tolist()), arrays["values"], facts)
    except Exception:  # it is damaged, so make it again
        return None
