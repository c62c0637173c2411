"""The notebooks, executed as a user does: on a run that a program made."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import ifusion as ifn

FOLDER = Path(__file__).resolve().parents[1] / "experiments"
ANALYSIS, DEPLOYMENT = FOLDER / "analysis.ipynb", FOLDER / "deployment.ipynb"


def execute(run, monkeypatch, path=ANALYSIS):
    monkeypatch.setenv("IFUSION_RUN", str(run))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=resources
    ).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", [ANALYSIS, DEPLOYMENT], ids=lambda path: path.stem)
def test_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.fixture(scope="module")
def run(tmp_path_factory, options):
    corpus = ifn.corpora.synthetic(
        recordings=(40, 20, 20), features=(5, 3), latent=3, speakers=8
    )
    folder = tmp_path_factory.mktemp("notebook") / "run"
    return ifn.run(corpus, options=options, workdir=folder)


def test_draws_a_run(run, monkeypatch):
    outputs = execute(run.folder, monkeypatch)
    text = "".join(o["text"] for o in outputs if o["output_type"] == "stream")
    assert text.startswith("run: synthetic, folds fixed\n")
    assert "Warning" not in text and "Error" not in text
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 4  # Fig. 2, two measures, the space
    tables = [o for o in outputs if "text/html" in o.get("data", {})]
    assert len(tables) == 3  # choices, distances, errors


@pytest.mark.slow
def test_a_run_of_a_regression_gets_one_sentence(trained_series, monkeypatch):
    with pytest.raises(CellExecutionError) as caught:
        execute(trained_series, monkeypatch)
    assert "is a run of a regression: see its report.html" in str(caught.value)


@pytest.mark.slow
def test_deploys_a_run_of_classes(run, monkeypatch):
    outputs = execute(run.folder, monkeypatch, DEPLOYMENT)
    text = "".join(o["text"] for o in outputs if o["output_type"] == "stream")
    assert "read back and checked" in text and "What it is not for" in text
    assert "Warning" not in text and "nothing to stream" in text
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 1
    assert sum("text/html" in o.get("data", {}) for o in outputs) == 1


@pytest.mark.slow
def test_deploys_a_run_over_time(tmp_path, time_options, monkeypatch):
    corpus = ifn.corpora.synthetic(
        recordings=(3, 2, 2), features=(5, 3), latent=3, frames=90, speakers=7
    )
    run = ifn.run(corpus, options=time_options, workdir=tmp_path / "run")
    outputs = execute(run.folder, monkeypatch, DEPLOYMENT)
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 1
    assert sum("text/html" in o.get("data", {}) for o in outputs) == 2
