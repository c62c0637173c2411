"""The analysis notebook, executed on runs that sweep.py makes for it."""

import base64
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from ipykernel.kernelspec import write_kernel_spec
from matplotlib.image import imread
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from ifusion.reporting.run import COLUMNS

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.usefixtures("unoptimised")
NOTEBOOK = ROOT / "experiments" / "analysis.ipynb"
SMALL = (
    "--config=configs/synthetic.py",
    "--config.corpus.recordings=(60,30,30)",
    "--config.corpus.speakers=12",
    "--config.model.hidden_size=8",
    "--config.training.epochs=2",
    "--config.sweep.alphas=(0.0,0.5,1.0)",
    "--config.sweep.seeds=(0,1)",
    "--config.sweep.l2=(0.0,)",
)
THREE_MODALITIES = (
    "--folds",
    "--config.corpus.folds=3",
    "--config.corpus.modalities=('speech','face','pulse')",
    "--config.corpus.features=(12,14,9)",
    "--config.corpus.noise=(0.5,0.5,1.0)",
    "--config.corpus.informative=(1.0,1.0,1.0)",
    "--config.corpus.classes=('1','None')",
    "--config.sweep.mains=('speech',)",
)


def train(workdir, *further):
    """Makes a run directory of few and small lanes."""
    command = [sys.executable, "experiments/sweep.py", *SMALL, f"--workdir={workdir}"]
    subprocess.run(
        [*command, *further], cwd=ROOT, check=True, capture_output=True, timeout=300
    )


def execute(run, folder, tmp_path, monkeypatch):
    """Executes the notebook on a run, started in a folder, by this interpreter."""
    write_kernel_spec(tmp_path / "kernels" / "python3")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("IFUSION_RUN", str(run))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=resources
    ).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(outputs):
    return "".join(o["text"] for o in outputs if o["output_type"] == "stream")


def shown(outputs):
    """What the notebook displays, as HTML."""
    return [o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {})]


def check_figures(run, outputs):
    """Fig. 2, two measures, the space; two confusions a main, one where they agree."""
    encoded = re.findall(r"data:image/png;base64,([^\"]+)", "".join(shown(outputs)))
    figures = [imread(io.BytesIO(base64.b64decode(data))) for data in encoded]
    verdicts = pd.read_csv(run / "differences.csv")["verdict"]
    assert len(figures) == 4 + (1 + (verdicts != "same")).sum()
    assert all(figure.std() > 0.05 for figure in figures)


def check_hardest(run, outputs):
    """The last table begins with the recording that most lanes get wrong."""
    lanes = pd.read_csv(run / "predictions.csv", dtype=str, keep_default_na=False)
    wrong = (lanes["label"] != lanes["prediction"]).groupby(lanes["recording"]).mean()
    first = re.search(r"\br\d{5}\b", shown(outputs)[-1])
    assert first and first[0] == wrong.idxmax()


def test_is_stored_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.parametrize(
    ("further", "folds", "folder"),
    [
        pytest.param((), "fixed", NOTEBOOK.parent, id="own split"),
        pytest.param(
            THREE_MODALITIES, "0, 1, 2", ROOT, id="folds", marks=pytest.mark.slow
        ),
    ],
)
def test_draws_any_run(tmp_path, monkeypatch, further, folds, folder):
    run = tmp_path / "run"
    train(run, *further)
    outputs = execute(run, folder, tmp_path, monkeypatch)
    assert printed(outputs).startswith(f"run: synthetic, folds {folds}\n")
    assert "Warning" not in printed(outputs)
    check_figures(run, outputs)
    check_hardest(run, outputs)


def test_a_run_of_a_regression_gets_one_sentence(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    keys = {"name": "drawn", "licence": "", "citation": ""}
    keys |= {name: [] for name in ("classes", "notes", "warnings", "targets")}
    corpus = {**keys, "features": {}, "partitions": {}, "frame_step": 0.04}
    corpus["task"] = "regression"
    (run / "corpus.json").write_text(json.dumps(corpus), "utf-8")
    config = {"evaluation": {"metric": "ccc_pooled", "cluster": "recording"}}
    (run / "config.json").write_text(json.dumps(config), "utf-8")
    for name in ("scores.csv", "moments.csv", "history.csv"):
        columns = ",".join(COLUMNS[name])
        (run / name).write_text(f"{columns}\n", "utf-8")
    with pytest.raises(CellExecutionError) as caught:
        execute(run, ROOT, tmp_path, monkeypatch)
    assert f"{run} is a run of a regression: see its report.html" in str(caught.value)
