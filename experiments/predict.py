"""Predicts from one modality with a model that export.py wrote.

    python experiments/predict.py --model=model.ifusion --input=clip.wav
    python experiments/predict.py --model=model.ifusion --input=table.csv --out=answers

--input is a table (CSV, ARFF, Parquet, npz, npy or HDF5) whose columns are matched by
name; a clip of sound or video, whose features are extracted as those of the corpus were
(pip install -e ".[features]"); or a folder of these. The answer is printed; --out gets
predictions.csv and, over time, a PNG per recording. Bad files of a folder are left out
and listed in failures.csv; the status is then 3. --card prints the model card.
"""

import early  # noqa: F401

import sys

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

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

    from ifusion.inference.files import answer_path
    from ifusion.reporting.answers import describe_answer, write_answer
    from ifusion.terminal import note

    extractors = {"audio": AUDIO.value, "video": VIDEO.value}
    answer = answer_path(predictor.with_extractors(extractors), INPUT.value)
    for sentence in answer.notes:
        note(sentence)
    for file, reason in answer.failures.items():
        note(f"{file} is left out: {reason}")
    for line in describe_answer(answer.table, predictor.targets, predictor.classes):
        print_result(line)
    if OUT.value is not None:
        failures = answer.failures
        for path in write_answer(OUT.value, answer.table, predictor.targets, failures):
            print_result(f"written: {path}")
    sys.exit(3 if answer.failures else 0)  # 3 = some files are left out


if __name__ == "__main__":
    run(main, "stopped; files written so far are left")
