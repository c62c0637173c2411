"""Sound to eGeMAPS, the audio features of the paper (Sec. 4.1), by openSMILE.

openSMILE is free for research that is not commercial; see its licence. The sets are
those of F. Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for
Voice Research and Affective Computing", IEEE Trans. Affective Computing, 2016.

Axes: R frames, F features (88 functionals, 25 or 23 low-level descriptors).
"""

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ifusion.features.extra import import_extra
from ifusion.features.media import MediaError, Recording, read_sound, sound_rate

VERSIONS = ("v02", "v01a", "v01b")
BITS = 16
BUFFER = 5  # [s] of sound that waits for openSMILE
BLOCK = 8192  # samples that are written together, fewer than the buffer holds
WAIT = 0.002  # [s] until the buffer is looked at again
SEGMENTS = ("VoicedSegmentsPerSec", "MeanVoicedSegmentLengthSec")
UNVOICED = "F0semitoneFrom27.5Hz_sma3nz"  # is 0 where there is no voice
SOURCE = f"""[componentInstances:cComponentManager]
instance[extsource].type=cExternalAudioSource
[extsource:cExternalAudioSource]
writer.dmLevel=wave
writer.levelconf.growDyn=0
writer.levelconf.isRb=1
buffersize_sec={BUFFER}
sampleRate=\\cm[sampleRate{{16000}}:sample rate]
nBits={BITS}
channels=1
"""
WINDOWS = """frameMode = fixed
frameSize = {window}
frameStep = {step}
frameCenterSpecial = left
"""
# low-level descriptors that are kept for windows, so that memory does not grow
RING = """writer.levelconf.growDyn = 0
writer.levelconf.isRb = 1
writer.levelconf.nT = {frames}
"""
FRAME, SLACK = 0.01, 600  # [s] of a low-level descriptor; [frame] beyond a window


class Sound(NamedTuple):
    """What openSMILE says of a recording.

    Attributes:
      names: F features.
      values: (R, F) float32.
      starts: (R,) at which windows begin [s].
      stops: (R,) at which they end [s].
      duration: of the sound [s].
      rate: at which it was analysed [Hz].
    """

    names: tuple[str, ...]
    values: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    duration: float
    rate: int


def functionals(
    recording: Recording, version: str = "v02", rate: int | None = None
) -> Sound:
    """Describes a recording by the 88 functionals of eGeMAPS: R is 1.

    Args:
      recording: with sound.
      version: of eGeMAPS; AVEC 2016 and RECOLA's features are of v01a.
      rate: [Hz] to resample to, None = as the file has it. The features depend on it,
        so compare recordings of one rate only.

    Raises:
      MediaError: see `read_sound`; or the sound is too short.
    """
    return _extract(recording, version, rate, "func")


def descriptors(
    recording: Recording, version: str = "v02", rate: int | None = None
) -> Sound:
    """Describes each 10 ms of a recording by low-level descriptors, 25 in v02.

    Arguments and errors are those of `functionals`.
    """
    # windows that nobody reads, since functionals of the whole would keep everything
    return _extract(recording, version, rate, "lld", (1.0, 1.0))


def window_functionals(
    recording: Recording,
    window: float,
    step: float,
    version: str = "v02",
    rate: int | None = None,
) -> Sound:
    """Describes each frame by the functionals of a window around it, in one pass.

    Row n is the window whose middle is closest to n * step; near both ends it is the
    first or last whole window. RECOLA's baseline has a step of 40 ms.

    Args:
      recording: with sound.
      window: [s].
      step: [s] from frame to frame.
      version: see `functionals`.
      rate: see `functionals`.

    Raises:
      MediaError: see `functionals`; or the sound is shorter than a window.
    """
    found = _extract(recording, version, rate, "func", (window, step))
    frames = max(1, int(np.floor(found.duration / step + 1e-6)))
    whole = np.flatnonzero(found.stops - found.starts >= window - step / 2)
    middle = np.rint((np.arange(frames) * step - window / 2) / step).astype(int)
    rows = whole[np.clip(middle, 0, len(whole) - 1)]
    return found._replace(
        values=found.values[rows], starts=found.starts[rows], stops=found.stops[rows]
    )


def voiced_share(sound: Sound) -> float:
    """Returns the share of a recording with a voice.

    Of low-level descriptors it is counted; of functionals it is the number of voiced
    segments a second times their mean length, averaged over windows.
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
    """Runs openSMILE on a recording.

    Args:
      recording: with sound.
      version: of eGeMAPS.
      rate: [Hz] to resample to.
      level: of openSMILE's memory, "func" or "lld".
      windows: length and step [s] of windows; None = one, the whole.
    """
    if version not in VERSIONS:
        raise ValueError(f"eGeMAPS {version!r}, expected one of {', '.join(VERSIONS)}")
    rate = rate or sound_rate(recording)
    counted = _Counted(read_sound(recording, rate))
    with tempfile.TemporaryDirectory() as folder:
        files = {"source": SOURCE}
        if windows:
            window, step = windows
            frames = round(window / FRAME) + SLACK
            files["frameModeFunctionalsConf"] = WINDOWS.format(window=window, step=step)
            files["bufferModeConf"] = RING.format(frames=frames)
        options: dict[str, Any] = {"sampleRate": rate, "sinkLevel": level}
        for name, text in files.items():
            options[name] = Path(folder) / f"{name}.inc"
            options[name].write_text(text, "ascii")
        names, rows = _run(counted, version, options)
    duration = counted.samples / rate
    if not rows:
        windowed = windows and level == "func"
        least = f"the window of {window:g} s" if windowed else "what eGeMAPS needs"
        reason = f"its sound lasts {duration:.3g} s, shorter than {least}"
        raise MediaError(reason, recording.path)
    values, starts, lengths = map(np.array, zip(*rows, strict=True))
    if not np.isfinite(values).all():
        raise MediaError("openSMILE returns values that are not finite", recording.path)
    return Sound(names, values, starts, starts + lengths, duration, rate)


class _Counted:
    """Blocks of samples, and how many there were."""

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self.blocks, self.samples = blocks, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks:
            self.samples += len(block)
            yield block


def _run(
    blocks: Iterable[np.ndarray], version: str, options: dict[str, Any]
) -> tuple[tuple[str, ...], list[tuple[np.ndarray, float, float]]]:
    """Feeds openSMILE while it runs, so that the sound is never in memory as a whole.

    Returns:
      F names, and for each row its (F,) values, its time [s] and its length [s].
    """
    lib = import_extra("opensmile.core.lib", "opensmile")
    configs = Path(import_extra("opensmile").__file__).parent / "core" / "config"
    shared = configs / "shared"
    smile = lib.OpenSMILE()
    smile.initialize(
        str(configs / "egemaps" / version / f"eGeMAPS{version}.conf"),
        {
            "sink": shared / "standard_external_data_output_single.conf.inc",
            "bufferModeRbConf": shared / "BufferModeRb.conf.inc",
            "frameModeFunctionalsConf": shared / "FrameModeFunctionals.conf.inc",
            **options,
        },
        loglevel=0,
    )
    rows: list[tuple[np.ndarray, float, float]] = []
    errors: list[Exception] = []
    ended = threading.Event()  # openSMILE has, whether or not it read everything

    def collect(values: np.ndarray, meta: Any) -> None:
        rows.append((values[0].copy(), meta.time, meta.lengthSec))

    def feed() -> None:
        try:
            for block in blocks:
                for first in range(0, len(block), BLOCK):
                    write(block[first : first + BLOCK].tobytes())
        except Exception as error:  # raised by the caller's thread
            errors.append(error)
        finally:
            if not ended.is_set():
                smile.external_audio_source_set_eoi("extsource")

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
        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        try:
            smile.run()
        finally:
            ended.set()
            feeder.join()
    finally:
        smile.free()
    if errors:
        raise errors[0]
    return tuple(names), rows
