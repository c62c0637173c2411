"""Extracts features from recordings into a corpus that sweep.py trains on.

    python experiments/extract.py --media=DIR --labels=labels.csv --out=data/mine
    python experiments/extract.py --media=DIR --corpus=ravdess --out=data/ravdess
    python experiments/extract.py --media=DIR --out=features --video=

The last has no labels, and writes tables of features to predict from. Needs
pip install -e ".[features]"; docs/features.md describes the extractors.
"""

import early  # noqa: F401

import sys

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

define_path("media", "Folder of recordings.")
define_path("out", "Folder to make.", required=True)
define_path("labels", "CSV of recording, partition, labels; folder of omg.")
flags.DEFINE_enum("corpus", None, ["ravdess", "omg"], "Corpus whose layout is known.")
define_path("traces", "Folder of labels over time: TARGET/RATER/RECORDING.csv.")
flags.DEFINE_enum("gold", "mean", ["mean", "avec"], "How raters become one label.")
flags.DEFINE_list("target", [], "Columns of --labels to predict.")
flags.DEFINE_bool("classes", False, "Labels that are numbers name classes.")
flags.DEFINE_string("audio", "egemaps", "Extractor of audio; empty for none.")
flags.DEFINE_string("video", "geometry", "Extractor of video; empty for none.")
flags.DEFINE_enum("face", "largest", ["largest", "most_confident"], "Face to follow.")
flags.DEFINE_float("smallest_face", None, "[pixel] side of the smallest face.")
flags.DEFINE_float("step", None, "[s] between frames; default one row per recording.")
flags.DEFINE_float("window", None, "[s] around a frame that describe it; default 4.")
flags.DEFINE_integer("rate", None, "[Hz] to resample sound to, such as 16000.")
define_path("cache", "Folder for what is extracted; default OUT.cache.")
flags.DEFINE_integer("jobs", None, "Processes; default one per core.", lower_bound=1)
flags.DEFINE_string("shard", None, "Only extract share i of n to the cache: 2/4.")


def main() -> None:
    """Extracts, writes the folder, and says what was left out."""
    from ifusion.features.pipeline import extract_corpus, make_request

    report = extract_corpus(make_request(flags.FLAGS.flag_values_dict()))
    print_result(report.sentence)
    sys.exit(3 if report.failures else 0)  # 3 = some recordings are left out


if __name__ == "__main__":
    run(main, "stopped; run it again to continue from the cache")
