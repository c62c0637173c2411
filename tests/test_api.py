"""The front door, used as the README shows it."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import ifusion as ifn
from ifusion.experiment.options import Options
from ifusion.models.architecture import Architecture
from ifusion.training.options import TrainingOptions

OPTIONS = Options(
    model=Architecture(hidden_size=8), training=TrainingOptions(epochs=3, batch_size=16)
)
SIZES = {"recordings": (40, 20, 20), "features": (5, 3), "latent": 3, "speakers": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    corpus = ifn.corpora.synthetic(**SIZES)
    folder = tmp_path_factory.mktemp("api") / "run"
    return ifn.run(
        corpus,
        alphas=ifn.grid(0, 1, 0.5),
        seeds=range(2),
        options=OPTIONS,
        workdir=folder,
    )


def test_a_run_has_choices_scores_and_views(run):
    assert set(run.choices["system"]) == {"baseline", "implicit_fusion"}
    assert set(run.scores["alpha"]) == {0.0, 0.5, 1.0}
    assert len(ifn.table1(run)) >= 2
    assert ifn.figure2(run).axes
    assert len(ifn.comparison(run)) == 4  # systems x mains


def test_test_is_opened_from_the_directory_alone(run):
    opened = ifn.open_test(ifn.open_run(run.folder))
    assert set(opened.scores["partition"]) == {"dev", "test"}
    path = opened.report()
    assert path == run.folder / "report.html" and path.stat().st_size > 10_000


def test_a_predictor_answers_as_the_run_did(run):
    corpus = ifn.corpora.synthetic(**SIZES)
    predictor = ifn.load(run, main="audio")
    audio, inside = corpus.modalities["audio"], corpus.partition == "dev"
    table = pd.DataFrame(audio.values[inside], columns=audio.names)
    answers = predictor.predict(table)
    assert list(answers.columns) == ["emotion", *corpus.classes]
    np.testing.assert_allclose(answers[list(corpus.classes)].sum(axis=1), 1, rtol=1e-5)


def test_a_folder_is_not_a_corpus_yet():
    with pytest.raises(TypeError, match="corpus is a str; expected one of ifn"):
        ifn.run("my_corpus")


def test_a_run_without_a_directory_leaves_nothing():
    corpus = ifn.corpora.synthetic(**SIZES)
    run = ifn.run(corpus, alphas=(0.0,), seeds=(0,), mains=("audio",), options=OPTIONS)
    folder = run.folder
    assert folder.exists() and len(run.choices)
    del run
    assert not folder.exists()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 1, 0.1), tuple(i / 10 for i in range(11))),
        ((0, 0, 0.1), (0.0,)),
        ((0.2, 0.8, 0.3), (0.2, 0.5, 0.8)),
    ],
)
def test_a_grid_holds_both_ends(values, expected):
    assert ifn.grid(*values) == expected


def test_a_grid_of_no_step_is_refused():
    with pytest.raises(ValueError, match="step is 0"):
        ifn.grid(0, 1, 0)


def test_the_package_offers_what_it_lists():
    for name in ifn.__all__:
        assert getattr(ifn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = ifn.rnu


def test_import_is_light():
    code = (
        "import sys, ifusion; print(len({'jax', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"
