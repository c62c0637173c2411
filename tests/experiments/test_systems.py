"""The shell of a comparison without a program round it, and the documented example."""

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from candidates import (
    answer,
    list_candidates,
    list_given,
    run_system,
    score_candidates,
)
from comparison import (
    gather_fold,
    make_fits,
    make_study,
    what_corpus_lacks,
    what_is_missing,
)
from sklearn.linear_model import LogisticRegression

from configs import base
from ifusion.concordance import concordance
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic
from ifusion.preprocessing.disagreement import rater_disagreement
from ifusion.systems.catalogue import SYSTEMS
from ifusion.systems.classical import Predictor, collect_predictors
from ifusion.systems.system import Candidate, Fitted, System, UnsuitedError

ROOT = Path(__file__).resolve().parents[2]


def watch(stage, mains, kept_by):
    return nullcontext(lambda progress: None)


@pytest.fixture(scope="module")
def utterances():
    """A study of single utterances of three classes."""
    options = SyntheticOptions(
        recordings=(60, 30, 30), speakers=12, classes=("a", "b", "c"), raters=4
    )
    return make_study(
        base.base_config(kind="synthetic"), {"fixed": make_synthetic(options)}
    )


@pytest.fixture(scope="module")
def recordings():
    """A study of recordings of different lengths, labels 0.12 s late."""
    options = SyntheticOptions(
        recordings=(3, 3, 2), speakers=8, frames=120, annotation_delay=0.12, raters=3
    )
    config = base.continuous_config(kind="synthetic")
    config.sweep.delays = (0.0, 0.4)
    config.training.window, config.training.hop = 32, 16
    config.postprocessing.median = config.postprocessing.shift = (0.04,)
    return make_study(config, {"fixed": make_synthetic(options)})


def oracle(study, data, delay, offset=0.0):
    """Predicts the label of dev, early by a delay: whoever is put back is right."""
    sheet = data.sheets["dev"]
    column = np.full(sheet.mask.shape, np.nan, np.float32)
    column[sheet.mask > 0] = sheet.labels[:, 0]
    early = np.full_like(column, np.nan)
    for i, length in enumerate((sheet.mask > 0).sum(1)):
        steps = np.minimum(np.arange(length) + delay, length - 1)
        early[i, :length] = column[i, steps]

    def predictor(main, seed):
        candidate = Candidate(main, study.protocol.targets[0], seed, {}, delay)
        return Predictor(
            candidate, lambda features, mask: np.nan_to_num(early)[..., None] + offset
        )

    return collect_predictors([predictor("audio", seed) for seed in (0, 1)])


def test_predictions_are_put_back_by_their_delay(recordings):
    data = gather_fold(recordings, "fixed", ["dev"])
    labels = data.sheets["dev"].labels[:, 0]
    offsets = data.sheets["dev"].offsets
    for delay in (0, 3):
        fitted = oracle(recordings, data, delay)
        scores = score_candidates(
            recordings.judges["fixed"], fitted, data.sheets["dev"]
        )
        held = np.concatenate(  # the first frames are held at what came first
            [
                np.concatenate([np.full(delay, x[delay]), x[delay:]])
                for x in np.split(labels, offsets[1:-1])
            ]
        )
        assert scores == pytest.approx([concordance(held, labels)] * 2, abs=1e-7)
    assert scores[0] > 0.9


def test_post_processing_is_learnt_on_dev_with_all_given(recordings):
    data = gather_fold(recordings, "fixed", ["dev", "test"])
    fitted = oracle(recordings, data, 0, offset=5.0)

    def predict(features, mask, positions):
        values = fitted.predict(features, data.sheets["dev"].mask, positions)
        alone = 0.0 if len(features) > 1 else 1.0  # as if a modality were missed
        return values[:, : len(mask), : mask.shape[1]] + alone

    moved = Fitted(fitted.candidates, predict)
    rows = answer(
        recordings.judges["fixed"], moved, np.array([True, True]), data.sheets
    )
    dev = rows[(rows["partition"] == "dev") & (rows["seed"] == 0)]
    gap = dev["prediction_mean"] - dev["label_mean"]
    mean = gap.groupby([dev["given"], dev["processing"]]).mean()
    assert mean["audio+video", "raw"] == pytest.approx(5.0, abs=1e-5)
    assert mean["audio+video", "post-processed"] == pytest.approx(0.0, abs=1e-5)
    assert mean["audio", "post-processed"] == pytest.approx(1.0, abs=1e-5)
    assert set(rows["partition"]) == {"dev", "test"}


def test_outputs_that_are_not_finite_have_no_score(utterances):
    data = gather_fold(utterances, "fixed", ["dev"])
    sheet = data.sheets["dev"]
    outputs = np.zeros((*sheet.mask.shape, 3))
    right = outputs.copy()
    right[sheet.mask > 0] = np.eye(3)[sheet.labels[:, 0]]
    outputs[0, 0] = np.nan
    candidates = [Candidate("audio", "emotion", seed) for seed in range(3)]
    candidates[2] = replace(candidates[2], failed=True)
    answers = dict(enumerate((right, outputs, right)))
    fitted = collect_predictors(
        [Predictor(c, lambda f, m, i=i: answers[i]) for i, c in enumerate(candidates)]
    )
    scores = score_candidates(utterances.judges["fixed"], fitted, sheet)
    np.testing.assert_array_equal(scores, [1.0, np.nan, np.nan])


def test_candidates_that_cannot_be_told_apart_are_refused():
    twice = [Candidate("audio", "emotion", 0, {"alpha": 0.5})] * 2
    with pytest.raises(ValueError, match=r"audio, emotion, seed 0 .* 'alpha = 0\.5'"):
        list_candidates(twice, np.zeros(2))


def test_a_setting_with_a_failed_seed_is_not_chosen():
    candidates = [
        Candidate("audio", "emotion", seed, {"alpha": alpha}, failed=alpha == 1)
        for alpha in (0.0, 1.0)
        for seed in (0, 1)
    ]
    found = list_candidates(candidates, np.array([0.2, 0.3, 0.9, np.nan]))
    assert found["chosen"].tolist() == [True, True, False, False]
    found = list_candidates(candidates[2:], np.array([np.nan, np.nan]))
    assert not found["chosen"].any()


def test_a_fold_says_what_systems_are_fitted_on(recordings):
    corpus = recordings.folds["fixed"]
    fold = gather_fold(recordings, "fixed", ["dev"]).fold
    assert fold.whole.mask.shape[0] == 3
    assert fold.speakers.shape == (3,)
    assert len(set(fold.speakers)) == len(
        set(corpus.speaker[corpus.partition == "train"])
    )
    # each window is the part of the sequence that its origin names
    for i, (sequence, start) in enumerate(fold.cut_from()):
        for m, features in fold.train.features.items():
            window = features[i][fold.train.mask[i] > 0]
            whole = fold.whole.features[m][sequence, start:]
            np.testing.assert_array_equal(whole[: len(window)], window)
    assert fold.cut_from()[:, 1].max() > 0
    spread = rater_disagreement(corpus)
    inside = corpus.partition == "train"
    rows = np.concatenate(
        [np.arange(*corpus.offsets[i : i + 2]) for i in np.flatnonzero(inside)]
    )
    there = fold.whole.mask > 0
    steps = there.shape[1]
    np.testing.assert_array_equal(
        fold.whole.extras["uncertainty"][:, :steps][there], spread[rows]
    )
    for batch in (fold.train, fold.dev):
        assert batch.extras["uncertainty"].shape == batch.labels.shape


def test_a_corpus_without_raters_has_rows_that_say_so(utterances):
    needy = System("needy", "Needs", "", lambda protocol: None, frozenset({"raters"}))
    unwilling = needy._replace(key="unwilling", needs=frozenset(), make=_refuse)
    bare = replace(utterances.folds["fixed"], raters={})
    study = utterances._replace(folds={"fixed": bare})
    assert "uncertainty" not in gather_fold(study, "fixed", ["dev"]).fold.train.extras
    fits, impossible = make_fits(study, [needy, unwilling])
    assert not fits
    assert impossible == {"needy": "needs raters", "unwilling": "three are needed"}
    assert what_is_missing(needy, what_corpus_lacks(utterances.folds["fixed"])) == ""
    frames = needy._replace(needs=frozenset({"frames", "raters"}))
    assert what_is_missing(frames, what_corpus_lacks(bare)) == "needs raters and frames"


def test_raters_who_never_disagree_are_none(utterances):
    corpus = utterances.folds["fixed"]
    (needy,) = [s for s in SYSTEMS if s.key == "mtl_pu"]
    votes = corpus.raters["emotion"]
    train = np.repeat(corpus.partition == "train", np.diff(corpus.offsets))[:, None]
    for found, lacking in (
        (votes[:, :1], "needs raters who disagree"),
        (np.full_like(votes, np.nan), "needs raters who disagree"),
        (np.where(train, 1, votes), "needs raters who disagree"),
        (np.where(train, votes, np.nan), ""),
    ):
        mine = replace(corpus, raters={"emotion": found.astype(np.float32)})
        assert what_is_missing(needy, what_corpus_lacks(mine)) == lacking


def test_what_joins_modalities_needs_two(utterances):
    """Of one alone, implicit fusion and its controls would repeat the baseline."""
    alone = replace(
        utterances.protocol,
        num_features={"audio": utterances.protocol.num_features["audio"]},
        mains=("audio",),
    )
    fits, impossible = make_fits(utterances._replace(protocol=alone), SYSTEMS)
    for key, reason in impossible.items():
        if "fusion" in key or "control" in key:
            assert "modalit" in reason or reason == "needs frames and regression"
    left = {system.key for system in fits}
    assert {"baseline", "mtl_re", "ddat_re"} <= left
    assert not [key for key in left if "fusion" in key or "control" in key]


def _refuse(protocol):
    raise UnsuitedError("three are needed")


def test_a_mistake_of_the_config_is_no_remark(utterances):
    """It would befall every row: the run does not begin."""
    small = utterances._replace(protocol=replace(utterances.protocol, memory=1e4))
    with pytest.raises(ValueError, match=r"sweep\.memory_gib: data and one lane"):
        make_fits(small, [s for s in SYSTEMS if s.key == "baseline"])


def test_a_regression_is_needed_for_the_svr(utterances, recordings):
    (svr,) = [s for s in SYSTEMS if s.key == "svr"]
    lacking = what_is_missing(svr, what_corpus_lacks(utterances.folds["fixed"]))
    assert lacking == "needs frames and regression"
    assert what_is_missing(svr, what_corpus_lacks(recordings.folds["fixed"])) == ""


@pytest.mark.parametrize(
    ("modalities", "main", "given"),
    [
        ("abc", "a+b+c", ["a+b+c", "b+c", "a+c", "a+b", "a", "b", "c"]),
        ("abcd", "a+b+d", ["a+b+c+d", "a+b+d", "b+d", "a+d", "a+b", "a", "b", "d"]),
        ("ab", "a+b", ["a+b", "b", "a"]),
        ("ab", "b", ["a+b", "b"]),
        ("abc", "b", ["a+b+c", "b"]),
        ("a", "a", ["a"]),
    ],
)
def test_each_modality_is_missing_in_turn(modalities, main, given):
    assert list_given(list(modalities), main) == given


def test_a_fusion_of_three_predicts_without_each(tmp_path):
    """Answers the class that is the number of modalities it is given."""
    options = SyntheticOptions(
        modalities=("a", "b", "c"),
        features=(6, 6, 6),
        noise=(0.1, 0.1, 0.1),
        informative=(1.0, 1.0, 1.0),
        recordings=(20, 10, 10),
        speakers=8,
    )
    study = make_study(
        base.base_config(kind="synthetic"), {"fixed": make_synthetic(options)}
    )
    data = gather_fold(study, "fixed", ["dev"])
    classes = study.folds["fixed"].classes

    def predict(features, mask, positions):
        outputs = np.zeros((len(positions), *mask.shape, len(classes)))
        outputs[..., len(features) - 1] = 1
        return outputs

    fitted = Fitted((Candidate("a+b+c", "emotion", 0),), predict)
    rows = answer(study.judges["fixed"], fitted, np.array([True]), data.sheets)
    found = rows.groupby("given")["prediction"].agg(lambda x: "".join(set(x)))
    assert found.to_dict() == {
        "a+b+c": classes[2],
        **dict.fromkeys(("a+b", "a+c", "b+c"), classes[1]),
        **dict.fromkeys("abc", classes[0]),
    }


@pytest.mark.parametrize("gibibytes", [-1.0, np.nan, np.inf])
def test_memory_that_makes_no_sense_is_refused(utterances, gibibytes):
    config = base.base_config(kind="synthetic")
    config.sweep.memory_gib = gibibytes
    with pytest.raises(ValueError, match=r"sweep\.memory_gib is .*; expected at least"):
        make_study(config, utterances.folds)


def test_a_modality_may_not_be_named_like_several():
    options = SyntheticOptions(
        recordings=(20, 10, 10), speakers=8, modalities=("a+b", "c")
    )
    with pytest.raises(ValueError, match=r"may not be called 'a\+b'"):
        make_study(
            base.base_config(kind="synthetic"), {"fixed": make_synthetic(options)}
        )


def test_the_example_of_the_documentation_is_a_system(utterances, tmp_path):
    text = (ROOT / "docs" / "systems.md").read_text("utf-8")
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in source.splitlines() if line]) < 40
    names: dict = {}
    exec(compile(source, "docs/systems.md", "exec"), names)
    system = names["LOGISTIC"]
    fits, impossible = make_fits(utterances, [system])
    assert not impossible
    data = gather_fold(utterances, "fixed", ["dev"])
    found = run_system(
        *(fits[system], data.fold, data.sheets, utterances.judges["fixed"], watch),
        tmp_path / "logistic",
    )
    assert found["chosen"].sum() == 2
    rows = pd.read_csv(tmp_path / "logistic" / "predictions.csv")
    for main, mine in rows[rows["given"] == rows["main"]].groupby("main"):
        c = found[found["chosen"] & (found["main"] == main)]["setting"].item()
        model = LogisticRegression(C=float(c.removeprefix("C = ")))
        features = data.fold.whole.features[main][:, 0]
        model.fit(features, data.fold.whole.labels[:, 0, 0])
        guesses = model.predict(data.sheets["dev"].features[main][:, 0])
        classes = np.array(utterances.folds["fixed"].classes)
        assert mine["prediction"].tolist() == classes[guesses].tolist()


def test_the_documentation_lists_every_system():
    text = (ROOT / "docs" / "systems.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert listed == [system.key for system in SYSTEMS]
