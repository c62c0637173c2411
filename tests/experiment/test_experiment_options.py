import json
from dataclasses import replace

import pytest

from ifusion.experiment.options import (
    EvaluationOptions,
    Options,
    SweepOptions,
    continuous_options,
    options_from_dict,
    options_to_dict,
    with_sweep,
)


@pytest.mark.parametrize("options", [Options(), continuous_options()])
def test_options_survive_json(options):
    changed = with_sweep(options, seeds=(7,), alphas=None)
    sections = json.loads(json.dumps(options_to_dict(changed)))
    assert options_from_dict(sections) == changed
    assert changed.sweep.seeds == (7,) and changed.sweep.alphas == options.sweep.alphas


def test_the_defaults_are_those_of_the_paper():
    assert Options().sweep.alphas == tuple(i / 10 for i in range(11))
    assert Options().model.hidden_size == 100
    assert continuous_options().model.branch_layers == 2


@pytest.mark.parametrize(
    ("section", "entry", "words"),
    [
        ("sweep", {"alphas": [0.5]}, "lacks 0.0"),
        ("sweep", {"memory_gib": float("nan")}, "sweep.memory_gib"),
        ("sweep", {"keep_snapshots": 0}, "sweep.keep_snapshots"),
        ("sweep", {"tune": "both"}, "sweep.tune"),
        ("sweep", {"sedes": [1]}, "sweep.sedes is not an option"),
        ("evaluation", {"metrics": "uar"}, "evaluation.metrics is not an option"),
        ("training", {"epochs": 0}, "training.epochs"),
        ("training", {"standardise": "some"}, "training.standardise is 'some'"),
        ("systems", {"teacher": "svm"}, "systems.teacher is 'svm'"),
    ],
)
def test_what_makes_no_sense_is_refused(section, entry, words):
    sections = options_to_dict(Options())
    sections[section] |= entry
    with pytest.raises(ValueError, match=words):
        options_from_dict(sections)


def test_a_missing_section_is_named():
    with pytest.raises(ValueError, match="no section 'sweep'"):
        options_from_dict({"model": {}, "training": {}})


def test_options_are_frozen_and_compared_by_value():
    assert SweepOptions() == SweepOptions()
    assert replace(EvaluationOptions(), metric="uar") != EvaluationOptions()
