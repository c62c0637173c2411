"""Writes the predictions of a run as files of AVEC, or scores such files.

    python experiments/submission.py --run=runs/recola --partition=test \
        --folder=submission
    python experiments/submission.py --gold=DIR/ratings_gold_standard \
        --folder=submission/audio

The first writes <folder>/<main>/<target>/<recording>.csv (name;frameTime;prediction) of
the lane that dev chooses: alpha as the report does, of its seeds the best. The
partition must have been opened by evaluate.py. A file has a row for each frame of the
recording's own files: where these were cut to common frames, the first and the last
prediction go on. Recordings that the corpus leaves out have none, and are named at the
end. The second takes a folder with a sub-folder a target back, prints its scores, and
needs no run.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from absl import flags

from launch import run

if TYPE_CHECKING:  # --help answers without it
    import pandas as pd

RUN = flags.DEFINE_string("run", None, "Run directory of sweep.py, to write files of.")
PARTITION = flags.DEFINE_enum("partition", "test", ["dev", "test"], "What to write.")
SYSTEM = flags.DEFINE_enum(
    "system", "fusion", ["fusion", "baseline"], "Chosen alpha, or alpha = 0."
)
SEED = flags.DEFINE_integer("seed", None, "Seed to write instead of the best on dev.")
FOLDER = flags.DEFINE_string(
    "folder", None, "Where the prediction files are or will be.", required=True
)
GOLD = flags.DEFINE_string("gold", None, "Folder of gold standards, to score by.")
CONVENTION = flags.DEFINE_enum(
    "convention", "population", ["population", "sample", "avec_ces"], "Of the CCC."
)
STEP = flags.DEFINE_float("frame_step", 0.04, "Of the files that are scored [s].")


def main() -> None:
    """Writes or scores."""
    workdir, gold, folder = RUN.value, GOLD.value, Path(FOLDER.value)
    if workdir is not None and gold is None:
        export(Path(workdir), folder)
    elif gold is not None and workdir is None:
        score(folder, Path(gold))
    else:
        raise ValueError("expected either --run, to write files, or --gold, to score")


def export(workdir: Path, folder: Path) -> None:
    """Writes the predictions of the chosen lanes, all folds together."""
    from files import SCORES, TRACES, read_config, read_rows

    from ifusion.evaluation.traces import load_traces
    from ifusion.reporting.submission import write_submission

    config, partition = read_config(workdir), PARTITION.value
    if config["training"]["delay_scoring"] == "shifted":
        raise ValueError(
            f"{workdir}: its predictions are in shifted time; files need a run with "
            "--config.training.delay_scoring=original"
        )
    paths = [
        workdir / TRACES / f"{fold}-{partition}.safetensors" for fold in config["folds"]
    ]
    for path in paths:
        if not path.is_file():
            raise ValueError(
                f"{path}: no such file; open the partition of a regression by "
                f"evaluate.py --run={workdir} --partition={partition} first"
            )
    scores = read_rows(
        workdir / SCORES, {"partition": "dev"}, ("alpha", "seed", "value")
    )
    metric = config["evaluation"]["metric"]
    predictions: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    extents: dict[str, list[int]] = {}
    left_out: dict[str, None] = {}
    for path in paths:
        traces = load_traces(path)
        extents |= zip(traces.recording.tolist(), traces.extents.tolist(), strict=True)
        left_out |= dict.fromkeys(traces.left_out)
        dev_scores = scores[scores["fold"] == traces.fold]
        for lane in lanes_to_write(dev_scores, metric):
            found = (traces.lanes[list(lane)] == list(lane.values())).all(axis=1)
            if not found.any():
                raise ValueError(f"{path}: there are no predictions of {lane}")
            values = traces.processed[found.to_numpy().argmax()]
            cut = np.split(values, traces.offsets[1:-1])
            recordings = dict(zip(traces.recording.tolist(), cut, strict=True))
            pair = (lane["main"], lane["target"])
            predictions.setdefault(pair, {}).update(recordings)
            facts = ", ".join(f"{name} {value}" for name, value in lane.items())
            print(f"{facts}, fold {traces.fold}: {len(cut)} recordings")
    for pair, recordings in predictions.items():
        place = folder.joinpath(*pair)
        write_submission(place, recordings, traces.frame_step, extents)
        print(f"written: {place}")
    if left_out:
        print(
            f"incomplete: {len(left_out)} recordings of {partition} lack a file in the "
            f"corpus, so there are no predictions of {', '.join(left_out)}"
        )


def lanes_to_write(dev_scores: "pd.DataFrame", metric: str) -> list[dict[str, Any]]:
    """Chooses alpha and seed on dev for each main modality and target of a fold.

    Returns:
      main, target, alpha and seed of each.
    """
    from ifusion.evaluation.scores import PROCESSED, SUFFIXES
    from ifusion.evaluation.selection import choose_alpha

    chosen = choose_alpha(dev_scores, metric)
    if SYSTEM.value == "baseline":
        chosen = chosen.assign(alpha=0.0)
    if chosen["alpha"].isna().any():
        raise ValueError("there is an alpha to choose only where no lane failed")
    known = set(dev_scores["metric"])
    final = next(m for m in (metric + SUFFIXES[PROCESSED], metric) if m in known)
    lanes = dev_scores[dev_scores["metric"] == final].merge(
        chosen[["main", "target", "alpha"]], on=["main", "target", "alpha"]
    )
    if SEED.value is not None:
        lanes = lanes[lanes["seed"] == SEED.value]
        if lanes.empty:
            raise ValueError(f"--seed={SEED.value}: the run has no such seed")
    lanes = lanes.sort_values("value", ascending=False, kind="stable")
    lanes = lanes.drop_duplicates(["main", "target"]).sort_index()
    rows = lanes[["main", "target", "alpha", "seed"]].astype({"seed": int})
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]


def score(folder: Path, gold: Path) -> None:
    """Prints how the files of each target agree with the gold standard."""
    from ifusion.concordance import Convention
    from ifusion.corpora.sources.recola import read_series
    from ifusion.evaluation.submission import score_submission

    targets = sorted(p.name for p in folder.glob("*") if p.is_dir())
    if not targets:
        raise ValueError(f"{folder}: there is no sub-folder, expected one a target")
    for target in targets:
        scores = score_submission(
            read_series(folder / target, STEP.value),
            read_series(gold / target, STEP.value),
            cast(Convention, CONVENTION.value),
        )
        overall = "  ".join(f"{k} {v:.4f}" for k, v in scores.overall.items())
        print(f"{target}: {overall}")
        for name, ccc in scores.recordings.items():
            print(f"  {name}: ccc {ccc:.4f}")


if __name__ == "__main__":
    run(main, "stopped; files written so far are left")
