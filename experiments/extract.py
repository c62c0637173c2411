"""Extracts features from recordings, to a corpus that sweep.py trains on.

    python experiments/extract.py --media=DIR --labels=labels.csv --out=data/mine \
        --audio=egemaps --video=geometry
    python experiments/extract.py --media=DIR --corpus=ravdess --out=data/ravdess
    python experiments/extract.py --media=DIR --out=features --video=

The last has no labels, and writes tables of features, for predictions. Needs
pip install -e ".[features]". docs/features.md says what the extractors are. A run that
was stopped goes on where it was, if it is started again.
"""

import early  # noqa: F401

import os
import sys

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

MEDIA = define_path("media", "Folder of recordings.")
OUT = define_path("out", "Folder to make.", required=True)
LABELS = define_path("labels", "CSV of recording, partition, labels; folder of omg.")
CORPUS = flags.DEFINE_enum(
    "corpus", None, ["ravdess", "omg"], "Whose layout is known; see docs/features.md."
)
TRACES = define_path(
    "traces", "Folder of labels over time: TARGET/RATER/RECORDING.csv."
)
GOLD = flags.DEFINE_enum("gold", "mean", ["mean", "avec"], "A label of several raters.")
TARGET = flags.DEFINE_list("target", [], "Columns of --labels to predict.")
CLASSES = flags.DEFINE_bool("classes", False, "Labels that are numbers name classes.")
AUDIO = flags.DEFINE_string("audio", "egemaps", "Extractor of audio; empty for none.")
VIDEO = flags.DEFINE_string("video", "geometry", "Extractor of video; likewise.")
FACE = flags.DEFINE_enum(
    "face", "largest", ["largest", "most_confident"], "Which of several faces counts."
)
SMALLEST = flags.DEFINE_float(
    "smallest_face", None, "[pixel] that a face has at least."
)
STEP = flags.DEFINE_float(
    "step", None, "[s] from frame to frame; without, a recording is one row."
)
WINDOW = flags.DEFINE_float("window", None, "[s] around a frame that is described.")
RATE = flags.DEFINE_integer("rate", None, "[Hz] to resample sound to, such as 16000.")
CACHE = define_path("cache", "Folder of what is extracted; OUT.cache by default.")
JOBS = flags.DEFINE_integer("jobs", None, "Processes; as many as cores by default.")
SHARD = flags.DEFINE_string(
    "shard", None, "Extract share i of n into the cache only, as in 2/4."
)
INCOMPLETE = 3  # status if recordings are left out


def main() -> None:
    """Extracts, writes the folder, and says what is left out."""
    from ifusion.features.pipeline import Request, extract_corpus

    report = extract_corpus(
        Request(
            media=MEDIA.value,
            out=OUT.value,
            labels=LABELS.value,
            corpus=CORPUS.value,
            targets=tuple(TARGET.value),
            traces=TRACES.value,
            gold=GOLD.value,
            as_classes=CLASSES.value,
            extractors={
                m: name
                for m, name in (("audio", AUDIO.value), ("video", VIDEO.value))
                if name
            },
            step=STEP.value,
            window=WINDOW.value,
            rate=RATE.value,
            face=FACE.value,
            smallest_face=SMALLEST.value,
            cache=CACHE.value,
            jobs=JOBS.value or os.cpu_count() or 1,
            shard=SHARD.value,
        )
    )
    print_result(report.sentence)
    if report.failures:
        sys.exit(INCOMPLETE)


if __name__ == "__main__":
    run(main, "stopped; start again to go on from the cache")
