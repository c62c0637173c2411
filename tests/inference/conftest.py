"""Runs that only predictors need, and features as users have them."""

import numpy as np
import pandas as pd
import pytest

from ifusion.adjustments import Adjustment
from ifusion.experiment import runs


@pytest.fixture(scope="session")
def staged(series, time_options, mesh, tmp_path_factory):
    """A finished run over time of two stages, convolutions and windows."""
    folder = tmp_path_factory.mktemp("staged") / "run"
    systems = ("re_two_stage", "cnn", "svr")
    runs.train(folder, runs.Plan(series, time_options, systems), mesh)
    return folder


@pytest.fixture(scope="session")
def table_of():
    """(corpus, main, partition) -> its features as a table."""

    def table(corpus, main, partition):
        modality = corpus.modalities[main]
        inside = np.repeat(corpus.partition == partition, np.diff(corpus.offsets))
        return pd.DataFrame(modality.values[inside], columns=modality.names)

    return table


@pytest.fixture(scope="session")
def causal():
    """Post-processing that looks back, and such that does not."""
    return (
        Adjustment("centre", 0.1),
        Adjustment("scale", 1.3, 0.2),
        Adjustment("shift", 4),
    )


@pytest.fixture(scope="session")
def ahead():
    return (Adjustment("median", 5), Adjustment("shift", -3))
