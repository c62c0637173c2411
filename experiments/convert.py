r"""Converts files of other toolkits to a folder in the open format.

    python experiments/convert.py --from=mmsa --input=aligned_50.pkl --out=data/mosi
    python experiments/convert.py --from=csd --input=audio=COVAREP.csd,FACET.csd \
        --labels=Opinion_Labels.csd --split=split.csv --out=data/mosi
    python experiments/convert.py --from=arrays --input=features.npz --out=data/mine

docs/conversion.md describes these formats. Pickles are read without unpickling them:
anything but arrays, numbers, text and containers is refused.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import note, print_result

KINDS = ["mmsa", "csd", "arrays"]
FROM = flags.DEFINE_enum("from", None, KINDS, "Format of --input.", required=True)
INPUT = flags.DEFINE_list("input", None, "PATH or NAME=PATH, ...", required=True)
OUT = define_path("out", "Folder to make.", required=True)
TARGET = flags.DEFINE_list("target", [], "What is predicted: sentiment or class, ...")
MODALITIES = flags.DEFINE_list("modalities", [], "Modalities to convert; all if none.")
STEPS = flags.DEFINE_list("frame_steps", [], "[s], where known, as in audio:0.01,...")
LABELS = define_path("labels", "Sequence of labels, of csd.")
SPLIT = define_path("split", "CSV of recording or video, and partition.")
NAME = flags.DEFINE_string("name", "", "Name of the corpus; that of the file if none.")
FEATURES = flags.DEFINE_enum(
    "features", "npz", ["csv", "parquet", "npz", "npy", "h5"], "Format of the features."
)


def main() -> None:
    """Reads the files, writes the folder, and reports what was assumed or left out."""
    from ifusion.corpora.conversion import READERS, ConversionOptions
    from ifusion.corpora.conversion.frames import describe
    from ifusion.corpora.conversion.options import parse_frame_steps
    from ifusion.corpora.folder.writing import require_new, write_corpus

    require_new(OUT.value)
    options = ConversionOptions(
        name=NAME.value,
        targets=tuple(TARGET.value),
        modalities=tuple(MODALITIES.value),
        frame_steps=parse_frame_steps(STEPS.value),
        labels=LABELS.value,
        split=SPLIT.value,
    )
    corpus = READERS[FROM.value](INPUT.value, options)
    for sentence in corpus.notes:
        note(sentence)
    write_corpus(corpus, OUT.value, FEATURES.value)
    print_result(f"written: {OUT.value}, {describe(corpus)}")


if __name__ == "__main__":
    run(main, "stopped; nothing is written")
