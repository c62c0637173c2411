from dataclasses import replace

import pytest
from small_runs import CLASSES

from ifusion.experiment import runs
from ifusion.experiment.options import Options, with_sweep
from ifusion.experiment.store import read_config
from ifusion.experiment.study import lane_mesh, make_study
from ifusion.models import native_gru


def test_a_run_keeps_how_its_layers_run(small, tmp_path, monkeypatch, capsys):
    training = replace(CLASSES.training, epochs=1)
    options = replace(with_sweep(CLASSES, seeds=(0,), l2=(0.0,)), training=training)

    def train(native, resume):
        chosen = with_sweep(options, native=native)
        runs.train(tmp_path, runs.Plan(small, chosen, ("baseline",)), resume=resume)

    train("off", resume=False)
    assert "GRU layers: in JAX" in capsys.readouterr().err
    # as on a machine that could do otherwise
    monkeypatch.setattr(native_gru, "find_instructions", lambda: ("avx2", "plain"))
    train("auto", resume=True)
    assert read_config(tmp_path)["sweep"]["native"] == "off"
    with pytest.raises(ValueError, match=r"sweep\.native is 'off' there"):
        train("on", resume=True)


def test_what_auto_stands_for_is_recorded(small):
    assert Options().sweep.native == "auto"
    study = make_study(CLASSES, {"fixed": small}, lane_mesh())
    native = native_gru.choose_instructions("auto", "cpu")
    assert study.options.sweep.native == study.protocol.native == native
