"""A recording to sound and pictures with their times, read by FFmpeg through `av`.

Time 0 is where the first stream begins or, if the recording is part of a file, where
that part begins. Sound is mono: channels are averaged.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
ESTIMATED = frozenset({"aac", "mp3"})  # formats that do not store their length
GAP, MAX_GAP = 0.1, 60.0  # [s] of missing sound that become silence; of pictures
LAST_SHOWN = 1.0  # [s] that the last picture of a file is shown at most
MAX_BROKEN = 0.1  # share of packets
CUT_OFF = (0.9, 0.5)  # share of the declared length, and [s], that may not be missing
MICROSECONDS = 10**6


class MediaError(CorpusError):
    """A recording cannot be used; others still can."""


@dataclass(frozen=True)
class Recording:
    """A media file, or a part of one."""

    path: Path
    start: float = 0.0  # where the part begins [s]
    end: float = np.inf  # where it ends [s]


class Picture(NamedTuple):
    """A frame of a video."""

    time: float  # when it appears [s]
    rgb: np.ndarray  # (height, width, 3) uint8, upright


def sound_rate(recording: Recording) -> int:
    """Returns the sampling rate of a recording [Hz].

    Raises:
      MediaError: see `read_sound`.
    """
    with _opened(recording, "audio") as (_, stream):
        if not stream.rate:
            raise MediaError("its sound has no sampling rate", recording.path)
        return int(stream.rate)


def measure_length(recording: Recording, longest: float) -> float:
    """Measures how long a recording is [s] without decoding it.

    A file may not say, as one that a browser records: its packets do, and are counted
    until they pass `longest` [s]. Returns 0 if the file cannot be read.
    """
    av = import_extra("av")
    try:
        with av.open(str(recording.path)) as container:
            length = (container.duration or 0) / MICROSECONDS
            length = length or _last_packet(container, longest)
    except (av.error.FFmpegError, OSError, ValueError):
        return 0.0  # reading it will say why
    return max(0.0, min(recording.end, length) - recording.start)


def _last_packet(container: Any, longest: float) -> float:
    """Returns when the last packet begins [s], or the first after `longest` [s]."""
    last = 0.0
    for packet in container.demux():
        if packet.pts is not None:
            last = max(last, float(packet.pts * packet.time_base))
        if last > longest:
            break
    return last


def read_sound(recording: Recording, rate: int) -> Iterator[np.ndarray]:
    """Reads the sound as it is decoded, in (n,) blocks of int16 samples.

    Samples beyond full scale are clipped; gaps between time stamps become silence.

    Args:
      recording: with sound.
      rate: sampling rate of the result [Hz].

    Raises:
      MediaError: while reading. The file is missing, empty, cut off or of an unknown
        format, it has no sound in this part, or too many packets are damaged.
    """
    av = import_extra("av")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    length = recording.end - recording.start
    most = sys.maxsize if np.isinf(length) else round(length * rate)
    position = 0  # [sample]

    def cut(block: np.ndarray) -> np.ndarray:
        nonlocal position
        kept = block[: max(0, most - position)]
        position += len(kept)
        return kept

    skip = None  # samples before the start
    for frame, time in _decode(recording, "audio"):
        if skip is None:
            skip = max(0, round(-time * rate))
        absent = time - position / rate
        if absent > MAX_GAP and position < most:
            begin = f"{position / rate:g} s"
            reason = f"its sound is missing for {absent:.0f} s, from {begin}"
            raise MediaError(reason, recording.path)
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
    """Reads the frames of a video as they are decoded, with increasing times.

    Raises:
      MediaError: while reading, see `read_sound`.
    """
    length = recording.end - recording.start
    before, shown, last = None, 0.0, -np.inf
    for frame, time in _decode(recording, "video"):
        if time >= length:
            break
        if time <= 0:  # the last of these is on show when the recording begins
            before, shown = frame, -time
            continue
        if before is not None:
            yield Picture(0.0, _upright(before))
            before, last = None, 0.0
        if time - last > MAX_GAP and last >= 0:
            reason = f"it has no picture for {time - last:.0f} s, from {last:g} s on"
            raise MediaError(reason, recording.path)
        if time > last:
            yield Picture(time, _upright(frame))
            last = time
    if before is not None and shown < LAST_SHOWN:
        yield Picture(0.0, _upright(before))
    elif last < 0:
        raise MediaError("there is no picture in this part", recording.path)


def _resample(resampler: Any, frame: Any, recording: Recording) -> list[Any]:
    try:
        return list(resampler.resample(frame))
    except ValueError:  # av raises it for a frame that differs from the first
        reason = "its sound changes its rate or number of channels midway"
        raise MediaError(reason, recording.path) from None


def _upright(frame: Any) -> np.ndarray:
    """Turns a frame as its display matrix says, to (height, width, 3) uint8."""
    turns = round(frame.rotation / 90)  # anticlockwise
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))


@contextmanager
def _opened(recording: Recording, kind: str) -> Iterator[tuple[Any, Any]]:
    """Opens a file, and yields its container and first stream of a kind."""
    av = import_extra("av")
    path = recording.path
    if not path.is_file():
        raise MediaError("no such file", path)
    if not path.stat().st_size:
        raise MediaError("the file is empty", path)
    # titles may be in any encoding; since version 19, av takes care of that itself
    old = int(av.__version__.partition(".")[0]) < 19
    options = {"metadata_errors": "replace"} if old else {}
    try:
        container = av.open(str(path), **options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = f"it cannot be read as media ({_plain(error)})"
        raise MediaError(reason, path) from None
    with container:
        for stream in container.streams:
            cover = av.stream.Disposition.attached_pic in stream.disposition
            # a stream without a codec cannot be decoded
            if stream.type == kind and not cover and stream.codec_context:
                yield container, stream
                return
    missing = {"audio": "it has no sound", "video": "it has no picture"}
    raise MediaError(missing[kind], path)


def _decode(recording: Recording, kind: str) -> Iterator[tuple[Any, float]]:
    """Decodes frames, with their times since the start of the recording [s].

    The first ones may be before its start. Damaged packets are left out.
    """
    av = import_extra("av")
    failure = (av.error.FFmpegError, OSError, ValueError)
    with _opened(recording, kind) as (container, stream):
        if kind == "video":
            stream.thread_type = "AUTO"
        zero = (container.start_time or 0) / MICROSECONDS + recording.start
        if recording.start:
            with suppress(*failure):  # otherwise it is read from its beginning
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
                if kind == "audio":
                    length = frame.samples / frame.sample_rate
                else:
                    length = float((frame.duration or 0) * frame.time_base)
                stop = max(stop, time + length)
                yield frame, time
        if broken > MAX_BROKEN * count:
            reason = f"{broken} of {count} packets of {kind} are damaged ({reason})"
            raise MediaError(reason, recording.path)
        _check_length(container, stream, recording, stop + recording.start)


def _check_length(
    container: Any, stream: Any, recording: Recording, stop: float
) -> None:
    """Checks that a file whose last frame ends at `stop` [s] is as long as it says."""
    if stop <= 0:
        raise MediaError(f"its {stream.type} has no frames", recording.path)
    if stream.duration is None or container.format.name in ESTIMATED:
        return
    declared = float(stream.duration * stream.time_base)
    share, seconds = CUT_OFF
    if stop < min(share * declared, declared - seconds):
        reason = f"it ends after {stop:.2f} s of the {declared:.2f} s it declares"
        raise MediaError(reason, recording.path)


def _plain(error: Exception) -> str:
    """Returns the message of FFmpeg, without its number and the path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
