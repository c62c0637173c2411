"""Extracts features from recordings, to a corpus that sweep.py trains on.

    python experiments/extract.py --media=DIR --labels=labels.csv --out=data/mine
    python experiments/extract.py --media=DIR --corpus=ravdess --out=data/ravdess
    python experiments/extract.py --media=DIR --out=features --video=

The last has no labels, and writes tables of features to predict from. Needs
pip install -e ".[features]"; docs/features.md lists the extractors.
"""

import early  # noqa: F401

import os
import sys
from dataclasses import fields

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

define_path("media", "Folder of recordings.")
define_path("out", "Folder to make.", required=True)
define_path("labels", "CSV of recording, partition, labels; folder of omg.")
flags.DEFINE_enum("corpus", None, ["ravdess", "omg"], "Whose layout is known.")
define_path("traces", "Folder of labels over time: TARGET/RATER/RECORDING.csv.")
flags.DEFINE_enum("gold", "mean", ["mean", "avec"], "A label of several raters.")
TARGET = flags.DEFINE_list("target", [], "Columns of --labels to predict.")
CLASSES = flags.DEFINE_bool("classes", False, "Numbers in labels name classes.")
flags.DEFINE_string("audio", "egemaps", "Extractor of audio; empty for none.")
flags.DEFINE_string("video", "geometry", "Extractor of video; empty for none.")
flags.DEFINE_enum("face", "largest", ["largest", "most_confident"], "Which counts.")
flags.DEFINE_float("smallest_face", None, "[pixel] of the smallest face to find.")
flags.DEFINE_float("step", None, "[s] from frame to frame; none: a row per recording.")
flags.DEFINE_float("window", None, "[s] around a frame to describe.")
flags.DEFINE_integer("rate", None, "[Hz] to resample sound to, such as 16000.")
define_path("cache", "Folder of extracted features; OUT.cache by default.")
flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes; one per core by default.")
flags.DEFINE_string("shard", None, "Extract share i of n into the cache, as in 2/4.")


def main() -> None:
    """Extracts, writes the folder, and says what is left out."""
    from ifusion.features.pipeline import Request, extract_corpus

    values = flags.FLAGS.flag_values_dict()
    request = Request(
        targets=tuple(TARGET.value),
        as_classes=CLASSES.value,
        extractors={m: values[m] for m in ("audio", "video") if values[m]},
        **{x.name: values[x.name] for x in fields(Request) if x.name in values},
    )
    report = extract_corpus(request)
    print_result(report.sentence)
    sys.exit(3 if report.failures else 0)  # 3 = some recordings are left out


if __name__ == "__main__":
    run(main, "stopped; run it again to continue from the cache")
