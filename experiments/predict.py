"""Predicts from features of one modality with a model that export.py wrote.

    python experiments/predict.py --model=model.ifusion --input=features.csv --out=said

--input is a table (CSV, ARFF, Parquet, npz, npy or HDF5) whose columns are matched by
name, or a folder of such tables. Prints the predictions; with --out, also writes
predictions.csv and, over time, a PNG per recording. --card prints what the model is
made of, and what it must not be used for.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

MODEL = define_path("model", "File ending in .ifusion.", required=True)
INPUT = define_path("input", "Table, or folder of tables.")
OUT = define_path("out", "Folder to write to; nothing is written if none.")
CARD = flags.DEFINE_bool("card", False, "Print the model card.")


def main() -> None:
    """Reads, predicts, prints and writes."""
    from ifusion.inference.bundle import read_bundle

    predictor = read_bundle(MODEL.value)
    if CARD.value:
        print_result(predictor.card)
    if INPUT.value is None:
        if not CARD.value:
            raise ValueError("--input is missing: expected a table or a folder")
        return

    from ifusion.inference.files import answer_path
    from ifusion.reporting.answers import describe_answer, write_answer
    from ifusion.terminal import note

    answer = answer_path(predictor, INPUT.value)
    for sentence in answer.notes:
        note(sentence)
    for line in describe_answer(answer.table, predictor.targets, predictor.classes):
        print_result(line)
    if OUT.value is not None:
        for path in write_answer(OUT.value, answer.table, predictor.targets):
            print_result(f"written: {path}")


if __name__ == "__main__":
    run(main, "stopped; files written so far are left")
