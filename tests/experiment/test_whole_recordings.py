"""Recordings of frames with one label: trained, chosen, scored and deployed."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from small_runs import make_clips, without

from ifusion.corpora.corpus import CorpusError, Hiding
from ifusion.corpora.hiding import with_few_labels
from ifusion.experiment import runs, study
from ifusion.experiment.options import default_options
from ifusion.experiment.study import lane_mesh, make_study
from ifusion.inference import exporting
from ifusion.inference.bundle import read_bundle, write_bundle
from ifusion.inference.opening import load_predictor
from ifusion.preprocessing import ragged
from ifusion.preprocessing.sequences import KINDS, SequenceOptions
from ifusion.systems.catalogue import SYSTEMS


def options_of(corpus, options, **sequences):
    base = default_options(corpus)
    return replace(
        base,
        model=options.model,
        training=replace(options.training, epochs=2, batch_size=4),
        sweep=replace(options.sweep, l2=(0.0,), seeds=(0,)),
        systems=options.systems,
        sequences=SequenceOptions(**sequences),
    )


def train(folder, corpus, options, systems, **sequences):
    plan = runs.Plan(corpus, options_of(corpus, options, **sequences), tuple(systems))
    runs.train(folder, plan)
    runs.open_test(folder, corpus)
    return runs.read_result(folder)


def study_of(corpus, options, **sequences):
    made = options_of(corpus, options, **sequences)
    return make_study(made, {"fixed": corpus}, lane_mesh())


LACKING = {  # recordings without frames of a modality, some of each partition
    "audio": (1, 4, 13, 17, 25, 29, 35),
    "video": (2, 5, 8, 14, 21, 26, 27),
}


@pytest.fixture(scope="module")
def clips(clips):
    return without(clips, LACKING)


@pytest.fixture(scope="module")
def rated_clips(rated_clips):
    return without(rated_clips, LACKING)


@pytest.fixture(scope="module")
def run(clips, options, tmp_path_factory):
    """Baseline, implicit fusion and SVM on frames."""
    folder = tmp_path_factory.mktemp("frames") / "run"
    train(folder, clips, options, ("baseline", "implicit_fusion", "svm"))
    return folder


def rows_of(corpus, m, indices):
    """The frames of some recordings as a table, and whose each is."""
    frames = corpus.frames[m]
    parts = [frames.values[slice(*frames.offsets[i : i + 2])] for i in indices]
    names = np.repeat(corpus.recording[indices], [len(part) for part in parts])
    return pd.DataFrame(np.concatenate(parts), columns=frames.names), names


@pytest.mark.parametrize("system", ["baseline", "svm"])
@pytest.mark.parametrize("main", ["audio", "video"])
def test_a_recording_is_answered_alone_as_among_others(run, clips, system, main):
    predictor = load_predictor(run, main, system)
    assert predictor.features[main] == clips.frames[main].names
    everything = predictor.predict(clips)
    there = clips.recording[clips.frames[main].lengths > 0].tolist()
    assert everything["recording"].tolist() == there
    classes = list(clips.classes)
    several = predictor.predict(*rows_of(clips, main, [3, 7, 20]))
    for row, i in enumerate((3, 7, 20)):
        alone = predictor.predict(rows_of(clips, main, [i])[0])
        same = everything[everything["recording"] == clips.recording[i]]
        for other in (several.iloc[[row]], same):
            np.testing.assert_allclose(alone[classes], other[classes], atol=1e-5)


@pytest.mark.parametrize("main", ["audio", "video"])
def test_a_stream_gives_the_answer_so_far(run, clips, main):
    predictor = load_predictor(run, main, "baseline")
    frames, _ = rows_of(clips, main, [3])
    classes, stream = list(clips.classes), predictor.stream()
    pushed = [
        stream.push(frames.to_numpy()[i : i + 3]) for i in range(0, len(frames), 3)
    ]
    for stop in (3, len(frames)):
        whole = predictor.predict(frames.iloc[:stop])[classes].to_numpy()[0]
        said = pushed[-(-stop // 3) - 1]
        np.testing.assert_allclose([said[c][-1] for c in classes], whole, atol=1e-5)
    with pytest.raises(ValueError, match="reads means and deviations of frames"):
        load_predictor(run, main, "svm").stream()


def test_a_predictor_answers_what_the_run_stored(run, clips):
    result = runs.read_result(run)
    (found,) = [
        x for x in result.outcomes if (x.system, x.partition) == ("baseline", "test")
    ]
    predictor = load_predictor(run, "video", "baseline")
    test = np.flatnonzero(clips.partition == "test")
    answers = predictor.predict(*rows_of(clips, "video", test))["pace"]
    codes = [clips.classes.index(answer) for answer in answers]
    of_video = found.predictors[["main", "given"]].eq("video").all(axis=1)
    (mine,) = found.values[of_video.to_numpy()]
    there = ~np.isin(test, LACKING["video"])
    assert mine[there].tolist() == codes and (mine[~there] == -1).all()


def test_a_main_is_scored_on_the_recordings_that_have_it(run, clips):
    """As scikit-learn scores them, on dev and test; those of one speaker included."""
    result = runs.read_result(run)
    table = pd.read_csv(run / "scores.csv")
    table = table[(table["metric"] == "macro_f1") & (table["given"] == table["main"])]
    assert len(table) > 8
    for row in table.to_dict("records"):
        (found,) = [
            x
            for x in result.outcomes
            if (x.system, x.partition) == (row["system"], row["partition"])
        ]
        same = (found.predictors[["main", "seed", "setting", "given"]] == [
            row[k] for k in ("main", "seed", "setting", "given")
        ]).all(axis=1)  # fmt: skip
        (values,) = found.values[same.to_numpy()]
        inside = clips.partition == row["partition"]
        there = clips.frames[row["main"]].lengths[inside] > 0
        truth = clips.labels[inside, 0][there]
        expected = f1_score(
            truth, values[there], labels=[0, 1, 2], average="macro", zero_division=0
        )
        np.testing.assert_allclose(row["value"], expected, atol=1e-9)


def test_no_modality_may_be_lacking_altogether(clips, options):
    everyone = np.flatnonzero(clips.partition == "dev")
    with pytest.raises(
        CorpusError, match="no frame of any modality: clip 1, clip 4, clip"
    ):
        without(clips, {"video": [*LACKING["audio"]]})
    made = {"audio": LACKING["audio"][:2], "video": everyone}
    with pytest.raises(ValueError, match="no recording of dev has frames of video"):
        study_of(without(make_clips("classification"), made), options)


def test_buckets_change_nothing_beyond_rounding(
    run, clips, options, tmp_path, monkeypatch
):
    several = study_of(clips, options).protocol.buckets
    monkeypatch.setattr(ragged, "NUM_BUCKETS", 1)
    assert len(several) > len(study_of(clips, options).protocol.buckets) == 1
    train(tmp_path / "run", clips, options, ["baseline"])
    for main in ("audio", "video"):
        mine, theirs = (
            load_predictor(folder, main, "baseline").members[0].params
            for folder in (run, tmp_path / "run")
        )
        kernels = mine["shared"]["gru_0"], theirs["shared"]["gru_0"]
        np.testing.assert_allclose(
            kernels[0]["kernel"], kernels[1]["kernel"], atol=1e-5
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 8}, "training.window is 8.*one label each.*expected 0"),
        ({"max_frames": 4}, "training.max_frames is 4, but the shortest recording"),
        ({"max_frames": 20}, "recordings have more frames of audio.*training.longer"),
        ({"sequence": "speaker"}, "training.sequence is 'speaker'.*expected ''"),
    ],
)
def test_options_that_do_not_suit_frames_are_refused(clips, options, change, said):
    with pytest.raises(ValueError, match=said):
        study_of(clips, options, **change)


def test_pooling_is_refused_without_frames(small, options):
    with pytest.raises(ValueError, match=r"training.pooling is 'last'.*no frames"):
        study_of(small, options, pooling="last")
    with pytest.raises(ValueError, match=r"training.pooling is 'sum'; expected one of"):
        SequenceOptions(pooling="sum")


def test_long_recordings_are_thinned_if_asked(clips, options):
    made = study_of(clips, options, max_frames=20, longer="thin")
    assert all(max(b.values()) <= 20 for b in made.protocol.buckets)
    notes = study.require_frames(clips, made.options.sequences)
    assert len(notes) == 1 and "more than 20 frames of audio" in notes[0]


def test_functionals_read_no_frames(clips, options):
    made = study_of(clips, options, pooling="functionals")
    assert not made.over_frames and made.functionals is None
    assert made.protocol.num_features == {"audio": 6, "video": 4}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "kind", "some"),
    [
        ("clips", "attention", ()),
        ("rated_clips", "mean", ()),
        ("clips", "last", ("baseline", "early_fusion", "ddat_re")),
    ],
)
def test_every_system_works_on_frames(
    task, kind, some, options, tmp_path, request, unoptimised, monkeypatch
):
    monkeypatch.setattr(ragged, "NUM_BUCKETS", 1)  # several are tested above
    corpus = request.getfixturevalue(task)
    keys = some or [system.key for system in SYSTEMS]
    result = train(tmp_path / "run", corpus, options, keys, pooling=kind)
    model = tmp_path / "model.ifusion"
    for entry in result.systems:
        unsuited = ("needs", "the only target", "a weight", "train has a label")
        assert not entry.impossible or any(x in entry.impossible for x in unsuited)
        if entry.impossible:
            continue
        scores = [x for x in result.outcomes if x.system == entry.key]
        assert {x.partition for x in scores} == {"dev", "test"}
        main = scores[0].predictors["main"].iloc[0]
        write_bundle(load_predictor(tmp_path / "run", main, entry.key), model)
        assert read_bundle(model).main == main


def test_frames_of_another_number_of_recordings_are_refused(clips):
    with pytest.raises(CorpusError, match="frames of 36 recordings, expected 35"):
        replace(
            clips,
            recording=clips.recording[1:],
            partition=clips.partition[1:],
            speaker=clips.speaker[1:],
            modalities={
                m: replace(x, values=x.values[1:]) for m, x in clips.modalities.items()
            },
            labels=clips.labels[1:],
            raters={},
            offsets=(),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_exported_models_answer_as_the_run(run, clips, kind, tmp_path):
    pytest.importorskip("onnxruntime")
    found = load_predictor(run, "video", "baseline")
    sizes = {**found.problem["architecture"], "pooling": kind}
    problem = {**found.problem, "architecture": sizes}
    query = {"pooling": {"query": np.linspace(-9, 9, 8, dtype=np.float32)}}
    extra = query if kind == "attention" else {}
    members = [replace(x, params={**x.params, **extra}) for x in found.members]
    predictor = replace(found, problem=problem, members=tuple(members))
    for call in (exporting._onnx(predictor)[1], exporting._stablehlo(predictor)[1]):
        assert exporting.try_out(predictor, call) < 1e-5
    write_bundle(predictor, tmp_path / "model.ifusion")
    again = read_bundle(tmp_path / "model.ifusion")
    pd.testing.assert_frame_equal(again.predict(clips), predictor.predict(clips))


@pytest.mark.slow
def test_recordings_without_a_label_are_taught(clips, options, tmp_path, unoptimised):
    few = with_few_labels(clips, Hiding(0.5))
    systems = ("pseudo_labels", "self_training", "pseudo_labels_shuffled", "matching")
    result = train(tmp_path / "run", few, options, systems)
    assert {x.system for x in result.outcomes} == set(systems)
    assert not any(entry.impossible for entry in result.systems)
