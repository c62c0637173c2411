"""A recording to sound and pictures, with their times; FFmpeg reads it, through `av`.

Time 0 of a recording is where its first stream begins. Where a recording is a part of a
file, time 0 is the start of that part. Sound is mono: channels are averaged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.corpora.corpus import CorpusError
from ifusion.features.extra import import_extra

SOUNDS = {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mka", ".mp3", ".ogg", ".opus"}
SOUNDS |= {".wav", ".wma"}
VIDEOS = {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
VIDEOS |= {".mts", ".ogv", ".ts", ".webm", ".wmv"}
ESTIMATED = frozenset({"aac", "mp3"})  # formats that do not say how long they are
GAP, MAX_GAP = 0.1, 60.0  # [s] of absent sound that becomes silence
MAX_BROKEN = 0.1  # share of packets
CUT_OFF = (0.9, 0.5)  # share, and [s], of what a file declares that is there
MICROSECONDS = 10**6


class MediaError(CorpusError):
    """A recording cannot be used, and why; others still can."""


@dataclass(frozen=True)
class Recording:
    """A media file, or a part of one.

    Attributes:
      path: of the file.
      start: [s] from its beginning.
      end: [s], inf = to its end.
    """

    path: Path
    start: float = 0.0
    end: float = np.inf


class Picture(NamedTuple):
    """A frame of a video.

    Attributes:
      time: [s] at which it begins to be shown.
      rgb: (height, width, 3) uint8, upright.
    """

    time: float
    rgb: np.ndarray


def sound_rate(recording: Recording) -> int:
    """Returns how many samples a second the sound of a recording has [Hz].

    Raises:
      MediaError: see `read_sound`.
    """
    with _opened(recording, "audio") as (_, stream):
        if not stream.rate:
            raise MediaError("its sound has no sampling rate", recording.path)
        return int(stream.rate)


def read_sound(recording: Recording, rate: int) -> Iterator[np.ndarray]:
    """Reads the sound as it is decoded, in (n,) blocks of int16 samples.

    What exceeds full scale is clipped; gaps between time stamps become silence.

    Args:
      recording: with sound.
      rate: [Hz], to which it is resampled where the file has another.

    Raises:
      MediaError: while reading: the file is missing, empty, of no known format or cut
        off, it has no sound or none in this part, or too many packets are damaged.
    """
    av = import_extra("av")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    length = recording.end - recording.start
    most = np.inf if np.isinf(length) else round(length * rate)
    position = 0  # [sample]

    def cut(block: np.ndarray) -> np.ndarray:
        nonlocal position
        kept = block if np.isinf(most) else block[: max(0, int(most) - position)]
        position += len(kept)
        return kept

    skip = None  # samples before the start
    for frame, time in _decode(recording, "audio"):
        if skip is None:
            skip = max(0, round(-time * rate))
        absent = time - position / rate
        if absent > MAX_GAP and position < most:
            reason = f"its sound is absent for {absent:.0f} s, from {position / rate:g}"
            raise MediaError(f"{reason} s", recording.path)
        if absent > (GAP if position else 0):
            yield cut(np.zeros(round(absent * rate), np.int16))
        for part in _resample(resampler, frame, recording):
            block = part.to_ndarray()[0]
            yield cut(block[skip:])
            skip = max(0, skip - len(block))
        if position >= most:
            break
    for part in _resample(resampler, None, recording):
        yield cut(part.to_ndarray()[0][skip or 0 :])
    if not position:
        raise MediaError("there is no sound in this part", recording.path)


def read_pictures(recording: Recording) -> Iterator[Picture]:
    """Reads the frames of a video as they are decoded; their times ascend.

    Raises:
      MediaError: while reading, as `read_sound` does.
    """
    length = recording.end - recording.start
    before, last = None, -np.inf
    for frame, time in _decode(recording, "video"):
        if time >= length:
            break
        if time <= 0:  # the last of these is shown when the recording begins
            before = frame
            continue
        if before is not None:
            yield Picture(0.0, _upright(before))
            before = None
        if time > last:
            yield Picture(time, _upright(frame))
            last = time
    if before is not None:
        yield Picture(0.0, _upright(before))
    elif last < 0:
        raise MediaError("there is no picture in this part", recording.path)


def _resample(resampler: Any, frame: Any, recording: Recording) -> list[Any]:
    try:
        return list(resampler.resample(frame))
    except ValueError:  # av's, where a frame differs from the first
        reason = "its sound changes its rate or number of channels on the way"
        raise MediaError(reason, recording.path) from None


def _upright(frame: Any) -> np.ndarray:
    """Turns a frame as its display matrix says: (height, width, 3) uint8."""
    turns = round(frame.rotation / 90)  # against the clock
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))


@contextmanager
def _opened(recording: Recording, kind: str) -> Iterator[tuple[Any, Any]]:
    """Opens a file, and finds its first stream of a kind.

    Yields:
      The container and the stream.
    """
    av = import_extra("av")
    path = recording.path
    if not path.is_file():
        raise MediaError("no such file", path)
    if not path.stat().st_size:
        raise MediaError("the file is empty", path)
    # what titles and the like hold is of no interest; since 19, av replaces it itself
    old = int(av.__version__.partition(".")[0]) < 19
    try:
        container = av.open(
            str(path), **({"metadata_errors": "replace"} if old else {})
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = f"it cannot be read as media ({_plain(error)})"
        raise MediaError(reason, path) from None
    with container:
        for stream in container.streams:
            cover = av.stream.Disposition.attached_pic in stream.disposition
            # a stream that FFmpeg cannot decode has no codec
            if stream.type == kind and not cover and stream.codec_context:
                yield container, stream
                return
    absent = {"audio": "it has no sound", "video": "it has no picture"}
    raise MediaError(absent[kind], path)


def _decode(recording: Recording, kind: str) -> Iterator[tuple[Any, float]]:
    """Decodes frames, with their times [s] since the recording starts.

    The first may be before its start. Damaged packets are left out.
    """
    av = import_extra("av")
    failure = (av.error.FFmpegError, OSError, ValueError)
    with _opened(recording, kind) as (container, stream):
        if kind == "video":
            stream.thread_type = "AUTO"
        zero = (container.start_time or 0) / MICROSECONDS + recording.start
        if recording.start:
            container.seek(round(max(0.0, zero - 1) * MICROSECONDS))
        packets = container.demux(stream)
        count = broken = 0
        stop, reason = -recording.start, ""
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                count += 1
                frames = packet.decode()
            except failure as error:
                broken, reason = broken + 1, _plain(error)
                if broken > 100 and broken > MAX_BROKEN * count:
                    break
                continue
            for frame in frames:
                time = stop if frame.time is None else frame.time - zero
                stop = max(stop, time + _duration(frame, stream))
                yield frame, time
        if broken > MAX_BROKEN * count:
            reason = f"{broken} of {count} packets of {kind} are damaged ({reason})"
            raise MediaError(reason, recording.path)
        _check_length(container, stream, recording, stop + recording.start)


def _duration(frame: Any, stream: Any) -> float:
    """Returns how long a frame lasts [s]."""
    if stream.type == "audio":
        return frame.samples / frame.sample_rate
    return float((frame.duration or 0) * frame.time_base)


def _check_length(
    container: Any, stream: Any, recording: Recording, stop: float
) -> None:
    """Checks that a file is as long as it says.

    Args:
      container: that has been read to its end.
      stream: of it.
      recording: it is of.
      stop: [s] at which the last frame ends.
    """
    if stop <= 0:
        raise MediaError(f"its {stream.type} has no frames", recording.path)
    if stream.duration is None or container.format.name in ESTIMATED:
        return
    declared = float(stream.duration * stream.time_base)
    share, seconds = CUT_OFF
    if stop < min(share * declared, declared - seconds):
        reason = f"it ends after {stop:.2f} s of the {declared:.2f} s that it declares"
        raise MediaError(reason, recording.path)


def _plain(error: Exception) -> str:
    """Says what FFmpeg says, without its number and the path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
