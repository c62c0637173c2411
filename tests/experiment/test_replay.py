import shutil

import numpy as np
import pytest

from ifusion.experiment.replay import replay_lane
from ifusion.experiment.store import fit_folder
from ifusion.storage import read_arrays, read_facts, write_folder


@pytest.mark.parametrize("alpha", ["0.5", "0"])
def test_a_lane_is_replayed_bit_for_bit(trained, small, mesh, alpha):
    said = replay_lane(trained, f"main=audio,alpha={alpha},seed=1", small, mesh)
    assert "trained again; all " in said


def test_a_lane_that_differs_is_told(trained, small, mesh, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    folder = fit_folder(copy, "fixed", "implicit_fusion")
    arrays, facts = read_arrays(folder), read_facts(folder)
    name = next(n for n in arrays if n.startswith("params/") and "output/bias" in n)
    arrays[name] = np.nextafter(arrays[name], np.float32(np.inf))
    shutil.rmtree(folder)
    write_folder(folder, arrays, facts)
    main = facts["candidates"][facts["groups"][int(name.split("/")[1])][0]]["main"]
    with pytest.raises(ValueError, match=r"1 of \d+ arrays differ"):
        replay_lane(copy, f"main={main},alpha=0.5,seed=1", small, mesh)


@pytest.mark.parametrize(
    ("lane", "words"),
    [
        ("main=audio,alpha=0.7,seed=1", "no lane of main 'audio', alpha 0.7"),
        ("main=audio,alpha=0.5,seed=1,fold=7", "fold is '7'; expected one of fixed"),
        ("main=audio,alpha=0,seed=1,target=x", "target is 'x'; expected one of emoti"),
        ("main=audio,alpha=0,seed=1,system=svm", "no system 'svm'"),
        ("main=audio", "expected main=audio,alpha"),
    ],
)
def test_a_lane_that_is_not_there_is_told(trained, small, mesh, lane, words):
    with pytest.raises(ValueError, match=words):
        replay_lane(trained, lane, small, mesh)
