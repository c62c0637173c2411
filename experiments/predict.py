"""Predicts from one modality with a model that export.py wrote.

    python experiments/predict.py --model=model.ifusion --input=clip.wav
    python experiments/predict.py --model=model.ifusion --input=table.csv --out=answers

--input is a table (CSV, ARFF, Parquet, npz, npy, HDF5), its columns matched by name; a
clip, whose features are extracted as those of the corpus were (extra [features]); or a
folder of these. --out gets predictions.csv, over time a PNG per recording, and
failures.csv if files of a folder are bad, or left at Ctrl-C; the status is then 3.
"""

import early  # noqa: F401

import sys

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import note, print_result

MODEL = define_path("model", "File ending in .ifusion.", required=True)
INPUT = define_path("input", "Table, clip, or folder of these.")
OUT = define_path("out", "Folder to write to; nothing is written if none.")
AUDIO = flags.DEFINE_string("audio", None, "Extractor of sound, see extract.py.")
VIDEO = flags.DEFINE_string("video", None, "Extractor of pictures.")
CARD = flags.DEFINE_bool("card", False, "Print the model card.")


def main() -> None:
    """Reads, predicts, prints and writes."""
    from ifusion.inference.bundle import read_bundle

    predictor = read_bundle(MODEL.value)
    if CARD.value:
        print_result(predictor.card)
    if INPUT.value is None:
        if not CARD.value:
            raise ValueError("--input is missing: a table, a clip, or a folder")
        return
    if OUT.value is not None and OUT.value.is_file():
        raise ValueError(f"--out={OUT.value}: expected a folder")

    from ifusion.inference.files import predict_path
    from ifusion.reporting.predictions import describe_predictions, write_predictions

    predictor = predictor.with_extractors({"audio": AUDIO.value, "video": VIDEO.value})
    table, notes, failures = predict_path(predictor, INPUT.value)
    for sentence in notes:
        note(sentence)
    for line in describe_predictions(table, predictor.targets, predictor.classes):
        print_result(line)
    if OUT.value is not None:
        for path in write_predictions(OUT.value, table, predictor.targets, failures):
            print_result(f"written: {path}")
    sys.exit(3 if failures else 0)  # 3 = some files are left out


if __name__ == "__main__":
    run(main, "stopped; files written so far are left")
