"""Sound to eGeMAPS, the audio features of the paper (Sec. 4.1), by openSMILE.

openSMILE is free for non-commercial research; see its licence. The sets are those of
F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for
Voice Research and Affective Computing", IEEE Trans. Affective Computing, 2016.

Axes: R frames, F features (88 functionals, 25 or 23 low-level descriptors).
"""

import tempfile
import threading
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.features import long_sound
from ifusion.features.extra import import_extra
from ifusion.features.media import (
    MediaError,
    Recording,
    measure_length,
    read_sound,
    sound_rate,
)
from ifusion.features.windows import count_frames

VERSIONS = ("v02", "v01a", "v01b")
BLOCK = 8192  # samples written at once; must fit into the buffer
WAIT = 0.002  # [s] before trying a full buffer again
SEGMENTS = ("VoicedSegmentsPerSec", "MeanVoicedSegmentLengthSec")
UNVOICED = "F0semitoneFrom27.5Hz_sma3nz"  # is 0 where there is no voice
SOURCE = r"""[componentInstances:cComponentManager]
instance[extsource].type=cExternalAudioSource
[extsource:cExternalAudioSource]
writer.dmLevel=wave
writer.levelconf.growDyn=0
writer.levelconf.isRb=1
buffersize_sec=5
sampleRate=\cm[sampleRate{16000}:sample rate]
nBits=16
channels=1
"""
WINDOWS = """frameMode = fixed
frameSize = {window}
frameStep = {step}
frameCenterSpecial = left
"""
# keeps the low-level descriptors that windows need, so that memory stays flat
RING = """writer.levelconf.growDyn = 0
writer.levelconf.isRb = 1
writer.levelconf.nT = {frames}
"""
LONG = 120.0  # [s] as one row; descriptors of a longer recording wait in files
# drops frames though functionals of the whole, computed at the end, have not read them
OVERWRITE = "writer.levelconf.noHang = 2\n"
PITCH_FRAME = 0.06  # [s] of sound behind a frame of the pitch
FRAME, SLACK = 0.01, 600  # [s] between descriptors; [frame] kept beyond a window


class Sound(NamedTuple):
    """What openSMILE computes from a recording."""

    names: tuple[str, ...]  # F features
    values: np.ndarray  # (R, F) float32
    starts: np.ndarray  # (R,) where windows begin [s]
    stops: np.ndarray  # (R,) where they end [s]
    duration: float  # of the sound [s]
    rate: int  # sampling rate of the analysis [Hz]


def functionals(
    recording: Recording, version: str = "v02", rate: int | None = None
) -> Sound:
    """Computes the 88 functionals of eGeMAPS of a whole recording, so that R is 1.

    The descriptors of a recording longer than two minutes wait in temporary files,
    52 MB an hour, since openSMILE would need twenty times as much memory for them.

    Args:
      recording: with sound.
      version: of eGeMAPS; the features of AVEC 2016 and RECOLA are v01a.
      rate: sampling rate to resample to [Hz]; None to keep the file's. The features
        depend on it, so compare only recordings of the same rate.

    Raises:
      MediaError: see `read_sound`; or the sound is too short.
      OSError: there is no space for temporary files.
    """
    return _extract(recording, version, rate, "func")


def descriptors(
    recording: Recording, version: str = "v02", rate: int | None = None
) -> Sound:
    """Computes the low-level descriptors of each 10 ms, 25 in v02.

    Arguments and errors are those of `functionals`.
    """
    # with windows, though nothing reads them, openSMILE does not keep everything
    return _extract(recording, version, rate, "lld", (1.0, 1.0))


def window_functionals(
    recording: Recording,
    window: float,
    step: float,
    version: str = "v02",
    rate: int | None = None,
) -> Sound:
    """Computes the functionals of a window [s] around each frame, in one pass.

    Row n is the window whose middle is closest to n * step [s]; near either end it is
    the first or last whole window. RECOLA's baseline has a step of 40 ms. Version and
    rate are those of `functionals`.

    Raises:
      MediaError: see `functionals`; or the sound is shorter than a window.
    """
    found = _extract(recording, version, rate, "func", (window, step))
    frames = count_frames(found.duration, step)
    whole = np.flatnonzero(found.stops - found.starts >= window - step / 2)
    middle = np.rint((np.arange(frames) * step - window / 2) / step).astype(int)
    rows = whole[np.clip(middle, 0, len(whole) - 1)]
    return found._replace(
        values=found.values[rows], starts=found.starts[rows], stops=found.stops[rows]
    )


def voiced_share(sound: Sound) -> float:
    """Returns the share of a recording that has a voice.

    For descriptors it is counted; for functionals it is the number of voiced segments
    a second times their mean length, averaged over windows.
    """
    if UNVOICED in sound.names:
        return float(np.mean(sound.values[:, sound.names.index(UNVOICED)] > 0))
    count, length = (sound.values[:, sound.names.index(name)] for name in SEGMENTS)
    return float(np.clip(np.mean(count * length), 0, 1))


def _extract(
    recording: Recording,
    version: str,
    rate: int | None,
    level: str,
    windows: tuple[float, float] | None = None,
) -> Sound:
    """Runs openSMILE on a recording, and reads the level "func" or "lld".

    Windows are a length and a step [s]; None for a single one, the whole.
    """
    if version not in VERSIONS:
        raise ValueError(f"eGeMAPS {version!r}, expected one of {', '.join(VERSIONS)}")
    rate = rate or sound_rate(recording)
    samples = 0

    def count(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    blocks = count(read_sound(recording, rate))
    long = not windows and measure_length(recording, LONG) > LONG
    with tempfile.TemporaryDirectory() as folder:
        texts = {"source": SOURCE}
        if windows:
            window, step = windows
            frames = round(window / FRAME) + SLACK
            texts["frameModeFunctionalsConf"] = WINDOWS.format(window=window, step=step)
            texts["bufferModeConf"] = RING.format(frames=frames)
        options = {"sampleRate": rate, "sinkLevel": level}
        options |= _write(Path(folder), texts)
        if long:
            found = _run_long(blocks, version, options, Path(folder))
        else:
            found = _run(blocks, _config(version), options)
    names, values, times = found
    duration = samples / rate
    if not len(values):
        windowed = windows and level == "func"
        least = f"the window of {window:g} s" if windowed else "what eGeMAPS needs"
        reason = f"its sound lasts {duration:.3g} s, shorter than {least}"
        raise MediaError(reason, recording.path)
    if not np.isfinite(values).all():
        raise MediaError("openSMILE returns values that are not finite", recording.path)
    starts, lengths = times.T
    return Sound(names, values, starts, starts + lengths, duration, rate)


def _configs() -> Path:
    """Returns the folder of openSMILE's own configuration."""
    return Path(import_extra("opensmile").__file__).parent / "core" / "config"


def _config(version: str) -> Path:
    return _configs() / "egemaps" / version / f"eGeMAPS{version}.conf"


def _write(folder: Path, texts: dict[str, str]) -> dict[str, Any]:
    """Writes pieces of configuration into a folder, and returns their paths by name."""
    paths = {name: folder / f"{name}.inc" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name], "ascii")
    return paths


def _run_long(
    blocks: Iterable[np.ndarray], version: str, options: dict[str, Any], folder: Path
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Computes functionals as `_run`, part by part, with descriptors in a folder."""
    names, values, _ = _run((), _config(version), options)
    part, sinks = long_sound.configure_writing(version, folder, _configs())
    ring = RING.format(frames=SLACK) + OVERWRITE
    options = options | _write(folder, {"bufferModeConf": ring})
    writing = _write(folder, {"sink": sinks}) | {"sinkLevel": part}
    _, row, times = _run(blocks, _config(version), options | writing)
    if not len(row):
        return names, values, times
    rate = options["sampleRate"]
    step = int(FRAME * rate + 0.5) / rate  # [s] between frames, in whole samples
    voiced = round((times.sum() - PITCH_FRAME) / step) + 1
    long_sound.cut_levels(version, folder, voiced)
    config, found = folder / "part.conf", []
    for part, needed in long_sound.list_parts(version).items():
        text = long_sound.configure_reading(version, needed, folder, _configs())
        config.write_text(text, "ascii")
        found.append(_run((), config, options | {"sinkLevel": part})[1])
    return names, np.concatenate(found, axis=1), times


def _run(
    blocks: Iterable[np.ndarray], config: Path, options: dict[str, Any]
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Feeds openSMILE while it runs, so that the sound is never in memory as a whole.

    Returns:
      F names, (R, F) values, and (R, 2) times and lengths [s].
    """
    lib = import_extra("opensmile.core.lib", "opensmile")
    shared = _configs() / "shared"
    smile = lib.OpenSMILE()
    smile.initialize(
        str(config),
        {
            "sink": shared / "standard_external_data_output_single.conf.inc",
            "bufferModeRbConf": shared / "BufferModeRb.conf.inc",
            "frameModeFunctionalsConf": shared / "FrameModeFunctionals.conf.inc",
            **options,
        },
        loglevel=0,
    )
    rows, times = bytearray(), array("d")  # lists would take five times the memory
    errors: list[Exception] = []
    ended = threading.Event()  # openSMILE has ended, perhaps early

    def collect(values: np.ndarray, meta: Any) -> None:
        rows.extend(values[0].tobytes())
        times.extend((meta.time, meta.lengthSec))

    def analyse() -> None:
        try:
            smile.run()
        except Exception as error:  # raised again in the caller's thread
            errors.append(error)
        finally:
            ended.set()

    def write(data: bytes) -> None:
        while not ended.is_set():
            if smile.external_audio_source_write_data("extsource", data):
                break
            time.sleep(WAIT)

    try:
        count = smile.external_sink_get_num_elements("extsink")
        names = [
            smile.external_sink_get_element_name("extsink", i) for i in range(count)
        ]
        smile.external_sink_set_callback_ex("extsink", collect)
        # in a thread of its own, since no signal ends a call of the main thread
        analysis = threading.Thread(target=analyse, daemon=True)
        analysis.start()
        try:
            for block in blocks:
                for first in range(0, len(block), BLOCK):
                    write(block[first : first + BLOCK].tobytes())
            smile.external_audio_source_set_eoi("extsource")
            analysis.join()
        finally:
            if not ended.is_set():  # an error, Ctrl-C or SIGTERM
                smile.external_audio_source_set_eoi("extsource")
                with suppress(lib.OpenSmileException):  # if it has not begun yet
                    smile.abort()
            analysis.join()
    finally:
        smile.free()
    if errors:
        raise errors[0]
    values = np.frombuffer(rows, np.float32).reshape(-1, count)
    return tuple(names), values, np.frombuffer(times).reshape(-1, 2)
