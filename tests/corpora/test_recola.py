"""RECOLA in small files of the real formats: two or three recordings a partition."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from formats import refused

from ifusion.corpora.corpus import (
    UNLABELLED,
    Modality,
    frame_extents,
    missing_recordings,
)
from ifusion.corpora.gold_standard import avec_gold_standard
from ifusion.corpora.sources.recola import (
    RATERS,
    RecolaFiles,
    read_recola,
    write_recola,
)
from ifusion.corpora.sources.synthetic import SyntheticOptions, make_synthetic

FILES = RecolaFiles(recordings=2)
TIMES = [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]
NAMES = [f"{p}_{k}" for p in ("train", "dev", "test") for k in (1, 2)]
GOLD = "ratings_gold_standard/arousal"
INDIVIDUAL = "ratings_individual/arousal"
AUDIO = "features_audio"
GEOMETRY = "features_video_geometric"
TARGETS = ("arousal", "valence")


def number(name, t, column):
    """Tells recordings, frames and columns apart."""
    return round(NAMES.index(name) + t + column / 100, 4)


def arff(name, columns, times=TIMES, first="name"):
    """As AVEC writes it, `columns` being the numbers of columns."""
    head = ["@relation x", "", f"@attribute {first} string"]
    head += ["@attribute frameTime numeric"]
    head += [f"@attribute f{c} numeric" for c in columns]
    rows = [
        ",".join([name, f"{t:g}", *(f"{number(name, t, c)}" for c in columns)])
        for t in times
    ]
    return "\n".join([*head, "", "@data", "", *rows, ""])


def ratings(name, times=TIMES):
    head = "time;" + ";".join(f"{r} " for r in RATERS[:-1]) + ";FF3"
    rows = [
        ";".join([f"{t:g}", *(f"{np.sin(9 * t + a) + a / 10:.5f}" for a in range(6))])
        for t in times
    ]
    return "\r\n".join([head, *rows, ""])


def layout():
    """{path: text} of a whole small corpus."""
    texts = {}
    for name in NAMES:
        texts[f"features_audio/{name}.arff"] = arff(name, (1, 2))
        texts[f"features_video_geometric/{name}.arff"] = arff(name, (3, 4, 5))
        if not name.startswith("test"):
            for k, target in enumerate(("arousal", "valence")):
                gold = arff(name, (10 + k,), first="Instance_name")
                texts[f"ratings_gold_standard/{target}/{name}.arff"] = gold
                texts[f"ratings_individual/{target}/{name}.csv"] = ratings(name)
    return texts


def save(folder, changes=None, texts=None):
    for path, text in (
        (layout() if texts is None else texts) | (changes or {})
    ).items():
        if text is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder


def read(folder, **options):
    return read_recola(folder, **{"files": FILES} | options)


def expected(names, columns, times=TIMES):
    return np.float32(
        [[number(n, t, c) for c in columns] for n in names for t in times]
    )


def test_the_layout_of_avec_is_read(tmp_path):
    corpus = read(save(tmp_path))
    assert corpus.recording.tolist() == NAMES
    assert corpus.speaker.tolist() == NAMES
    assert corpus.partition.tolist() == ["train"] * 2 + ["dev"] * 2 + ["test"] * 2
    assert corpus.offsets.tolist() == [0, 6, 12, 18, 24, 30, 36]
    assert corpus.frame_step == 0.04
    assert corpus.targets == ("arousal", "valence")
    audio, video = corpus.modalities["audio"], corpus.modalities["video"]
    assert audio.names == ("f1", "f2")
    np.testing.assert_array_equal(audio.values, expected(NAMES, (1, 2)))
    np.testing.assert_array_equal(video.values, expected(NAMES, (3, 4, 5)))
    np.testing.assert_array_equal(corpus.labels[:24], expected(NAMES[:4], (10, 11)))
    assert np.isnan(corpus.labels[24:]).all()
    assert corpus.raters["arousal"].shape == (36, 6)
    ticks = 9 * np.array(TIMES)[:, None] + np.arange(6)
    np.testing.assert_allclose(
        corpus.raters["arousal"][:6], np.sin(ticks) + np.arange(6) / 10, atol=1e-5
    )
    assert np.isnan(corpus.raters["valence"][24:]).all()
    assert corpus.notes == (
        "2 of 2 test recordings have no arousal gold standard and are unlabelled: "
        "test_1, test_2",
        "2 of 2 test recordings have no valence gold standard and are unlabelled: "
        "test_1, test_2",
        "2 of 2 test recordings have no arousal ratings: test_1, test_2",
        "2 of 2 test recordings have no valence ratings: test_1, test_2",
    )


def test_names_decide_where_columns_are_in_another_order(tmp_path):
    rows = ratings("train_2").split("\r\n")
    swapped = [
        ";".join(np.array(r.split(";"))[[0, 6, 2, 3, 4, 5, 1]]) for r in rows[:-1]
    ]
    changes = {
        f"{AUDIO}/dev_1.arff": arff("dev_1", (2, 1)),
        f"{INDIVIDUAL}/train_2.csv": "\n".join(swapped),
    }
    corpus, plain = read(save(tmp_path, changes)), read(save(tmp_path / "b"))
    audio = corpus.modalities["audio"]
    np.testing.assert_array_equal(audio.values, expected(NAMES, (1, 2)))
    np.testing.assert_array_equal(corpus.raters["arousal"], plain.raters["arousal"])


def test_csv_with_any_separator_holds_the_same(tmp_path):
    texts = {}
    for path, text in layout().items():
        if "features" in path:
            rows = text.split("@data\n\n")[1]
            columns = [w.split()[1] for w in text.splitlines() if "@attr" in w]
            head = ",".join(columns)
            separated = f"{head}\n{rows}"
            if "video" in path:
                separated = separated.replace(",", ";")
            if "test" in path:
                separated = re.sub("[,;]", "\t", separated)
            texts[path.replace(".arff", ".csv")] = separated
        else:
            texts[path] = text
    corpus = read(save(tmp_path, texts=texts))
    np.testing.assert_array_equal(
        corpus.modalities["audio"].values, expected(NAMES, (1, 2))
    )
    np.testing.assert_array_equal(
        corpus.modalities["video"].values, expected(NAMES, (3, 4, 5))
    )


def test_other_places_and_one_target_at_a_time(tmp_path):
    texts = {
        path.replace("features_audio/", "feats/valence/")
        .replace("ratings_gold_standard", "labels/gs_1")
        .replace("ratings_individual", "labels/individual"): text
        for path, text in layout().items()
    }
    files = RecolaFiles(
        {"audio": "feats/{target}/{recording}.arff"},
        "labels/gs_1/{target}/{recording}",
        "labels/individual/{target}/{recording}",
        2,
    )
    corpus = read(save(tmp_path, texts=texts), files=files, targets=("valence",))
    assert [*corpus.modalities] == ["audio"]
    np.testing.assert_array_equal(corpus.labels[:24], expected(NAMES[:4], (11,)))
    assert [*corpus.raters] == ["valence"]
    with pytest.raises(ValueError, match="only if there is one target"):
        read(tmp_path, files=files)


def test_recordings_without_a_file_are_left_out_and_listed(tmp_path):
    changes = {
        "features_video_geometric/train_2.arff": None,
        f"{GOLD}/dev_1.arff": None,
        "ratings_individual/valence/train_1.csv": None,
        "features_audio/test_2.arff": None,
    }
    corpus = read(save(tmp_path, changes))
    assert corpus.recording.tolist() == ["train_1", "dev_2", "test_1"]
    for partition, name in (("train", "train_2"), ("dev", "dev_1"), ("test", "test_2")):
        assert missing_recordings(corpus, partition) == (name,)
    assert {
        "1 of 2 train recordings have no video features and were left out: train_2",
        "1 of 2 dev recordings have no arousal gold standard and were left out: dev_1",
        "1 of 2 test recordings have no audio features and were left out: test_2",
        "1 of 2 train recordings have no valence ratings: train_1",
    } <= set(corpus.notes)
    assert np.isnan(corpus.raters["valence"][:6]).all()
    assert not np.isnan(corpus.raters["valence"][6:12]).any()
    np.testing.assert_array_equal(
        corpus.modalities["video"].values,
        expected(["train_1", "dev_2", "test_1"], (3, 4, 5)),
    )


def test_labels_of_train_may_be_missing(tmp_path):
    """A whole gold standard, or some of its frames; of dev neither may be."""
    gold = arff("train_2", (10,), first="Instance_name")
    for t in TIMES[1:3]:
        gold = gold.replace(f"{number('train_2', t, 10):g}\n", "?\n")
    changes = {
        **{f"ratings_gold_standard/{t}/train_1.arff": None for t in TARGETS},
        f"{GOLD}/train_2.arff": gold,
    }
    corpus = read(save(tmp_path, changes))
    assert corpus.recording.tolist() == NAMES
    parts = [UNLABELLED, "train", "dev", "dev", "test", "test"]
    assert corpus.partition.tolist() == parts
    assert np.isnan(corpus.labels[:6]).all()
    missing = np.isnan(corpus.labels[6:12])
    assert missing[:, 0].tolist() == [False, True, True, False, False, False]
    assert not missing[:, 1].any()
    said = "1 of 2 train recordings have no arousal gold standard and are unlabelled"
    assert f"{said}: train_1" in corpus.notes
    assert missing_recordings(corpus, "train") == ()


@pytest.mark.parametrize("gold", ["mean", "avec"])
def test_train_need_not_be_rated(tmp_path, gold):
    rows = ratings("train_2").split("\r\n")
    rows[3] = f"{TIMES[2]:g};;;;;;"
    changes = {
        **{f"ratings_individual/{t}/train_1.csv": None for t in TARGETS},
        f"{INDIVIDUAL}/train_2.csv": "\r\n".join(rows),
    }
    corpus = read(save(tmp_path, changes), gold=gold)
    assert corpus.partition[:2].tolist() == [UNLABELLED, "train"]
    assert np.isnan(corpus.labels[:6]).all()
    missing = np.isnan(corpus.labels[6:12])
    assert missing[:, 0].tolist() == [False, False, True, False, False, False]


def test_recordings_of_no_split_need_features_only(tmp_path):
    texts = {}
    for k in (1, 2, 10):
        for folder, columns in (("features_audio", (1, 2)), (GEOMETRY, (3, 4, 5))):
            text = arff("train_1", columns).replace("train_1", f"unlabelled_{k}")
            texts[f"{folder}/unlabelled_{k}.arff"] = text
    texts[f"{GEOMETRY}/unlabelled_2.arff"] = None
    corpus = read(save(tmp_path, texts))
    assert corpus.recording.tolist() == [*NAMES, "unlabelled_1", "unlabelled_10"]
    assert corpus.partition[6:].tolist() == [UNLABELLED] * 2
    audio = corpus.modalities["audio"].values
    np.testing.assert_array_equal(audio[36:42], audio[:6])
    assert np.isnan(corpus.labels[36:]).all()
    said = "1 of 3 unlabelled recordings have no video features and were left out"
    assert f"{said}: unlabelled_2" in corpus.notes
    assert not any("unlabelled_1" in note for note in corpus.notes)


def test_nothing_left_of_a_partition_is_refused(tmp_path):
    changes = {f"features_audio/dev_{k}.arff": None for k in (1, 2)}
    reason = "no dev recording has all files: 2 of 2 dev recordings have no audio"
    with refused(tmp_path.name, reason=reason):
        read(save(tmp_path, changes))


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("features_audio", "audio features"),
        ("ratings_gold_standard/valence", "valence gold standard"),
    ],
)
def test_a_folder_that_is_not_there_is_named(tmp_path, part, what):
    changes = {path: None for path in layout() if part in path}
    with refused("train_1", reason=f"no such file.*nor other {what}"):
        read(save(tmp_path, changes))


def test_raters_need_not_exist(tmp_path):
    changes = {path: None for path in layout() if "individual" in path}
    corpus = read(save(tmp_path, changes))
    assert corpus.raters == {}
    with refused("train_1", reason="no such file.*nor other arousal ratings"):
        read(tmp_path, gold="mean")


def test_test_labels_are_read_where_they_are(tmp_path):
    changes = {f"{GOLD}/test_2.arff": arff("test_2", (10,))}
    corpus = read(save(tmp_path, changes))
    np.testing.assert_array_equal(corpus.labels[30:, :1], expected(["test_2"], (10,)))
    assert np.isnan(corpus.labels[30:, 1]).all()
    assert np.isnan(corpus.labels[24:30]).all()


@pytest.mark.parametrize("gold", ["mean", "avec"])
def test_the_gold_standard_is_made_of_raters(tmp_path, gold):
    changes = {path: None for path in layout() if "gold" in path}
    corpus = read(save(tmp_path, changes), gold=gold)
    ticks = 9 * np.array(TIMES)[:, None] + np.arange(6)
    table = np.round(np.sin(ticks) + np.arange(6) / 10, 5)
    labels = table.mean(1) if gold == "mean" else avec_gold_standard(table)
    np.testing.assert_allclose(corpus.labels[:6, 0], labels, atol=1e-6)
    assert np.isnan(corpus.labels[24:]).all()
    assert corpus.raters["arousal"].shape == (36, 6)


def test_raters_whose_names_differ_in_case_are_noted(tmp_path):
    """In a file, as FM3 and fm3 here, or between the files of two targets."""
    texts = layout()
    both = {p: t.replace("FF3", "fm3") for p, t in texts.items() if INDIVIDUAL in p}
    notes = "\n".join(read(save(tmp_path / "a", both)).notes)
    said = "Raters whose names differ only in case, blanks, - or _, zeros in front or"
    assert f"{said} .0 count as different: 'FM3' = 'fm3'." in notes
    lower = {p: t.lower() for p, t in texts.items() if "individual/valence" in p}
    assert "'FF1' = 'ff1', " in "\n".join(read(save(tmp_path / "b", lower)).notes)
    assert "Raters whose" not in "\n".join(read(save(tmp_path / "c")).notes)


def test_raters_who_do_not_agree_are_noted(tmp_path):
    changes = {}
    for name in NAMES[:4]:
        sign = -1 if name == "dev_1" else 1
        rows = "".join(f"{t:g};{t};{sign * t};0\n" for t in TIMES)
        changes[f"{INDIVIDUAL}/{name}.csv"] = "time;FM1 ;FM2 ;FM3\n" + rows
    corpus = read(save(tmp_path, changes), gold="avec", targets=("arousal",))
    assert corpus.notes[-1] == (
        "dev_1: the raters of arousal do not agree; all weigh the same"
    )


@pytest.mark.parametrize("missing", ["start", "end"])
def test_a_few_frames_too_few_are_cut_and_noted(tmp_path, missing):
    times = TIMES[2:] if missing == "start" else TIMES[:-2]
    changes = {"features_audio/train_2.arff": arff("train_2", (1, 2), times)}
    corpus = read(save(tmp_path, changes), tolerance=2)
    assert np.diff(corpus.offsets).tolist() == [6, 4, 6, 6, 6, 6]
    rows = slice(6, 10)
    for m, columns in (("audio", (1, 2)), ("video", (3, 4, 5))):
        np.testing.assert_array_equal(
            corpus.modalities[m].values[rows], expected(["train_2"], columns, times)
        )
    np.testing.assert_array_equal(
        corpus.labels[rows], expected(["train_2"], (10, 11), times)
    )
    note = (
        "1 of 6 recordings were cut to the frames that all files have: train_2 to 4 "
        "(audio features 4 from "
    )
    assert any(n.startswith(note) for n in corpus.notes)
    assert not any("do not cover" in n for n in corpus.notes)
    first = 2 if missing == "start" else 0
    assert frame_extents(corpus).tolist() == [
        [0, 0, 6],
        [first, 0, 6],
        *[[0, 0, 6]] * 4,
    ]
    verb = "begin" if missing == "start" else "end"
    reason = rf"recording 'train_2': .* {verb} 2 frames apart, .* tolerance of 1"
    with refused("train_2.arff", reason=reason):
        read(tmp_path, tolerance=1)


def test_where_there_is_no_gold_standard_the_files_tell_how_far_a_recording_goes(
    tmp_path,
):
    late, early = TIMES[2:], TIMES[:-1]
    changes = {
        "features_audio/test_1.arff": arff("test_1", (1, 2), late),
        "features_audio/dev_1.arff": arff("dev_1", (1, 2), [*TIMES, 0.24]),
        "features_video_geometric/dev_1.arff": arff("dev_1", (3,), [*TIMES, 0.24]),
    }
    changes |= {
        f"features_video_geometric/{n}.arff": arff(n, (3,), early)
        for n in NAMES
        if n != "dev_1"
    }
    corpus = read(save(tmp_path, changes))
    extents = dict(zip(NAMES, frame_extents(corpus).tolist(), strict=True))
    assert extents["test_1"] == [2, 0, 6]
    assert extents["test_2"] == [0, 0, 6]
    assert extents["dev_1"] == [0, 0, 6]  # features go on behind the gold standard
    assert np.diff(corpus.offsets).tolist() == [5, 5, 6, 5, 3, 5]


def test_ratings_cut_a_recording_only_if_labels_are_made_of_them(tmp_path):
    changes = {
        f"{INDIVIDUAL}/dev_1.csv": ratings("dev_1", TIMES[1:4]),
        f"{INDIVIDUAL}/dev_2.csv": ratings("dev_2", [9.0, 9.04]),
        f"{INDIVIDUAL}/train_1.csv": ratings("train_1", [*TIMES, 0.24]),
    }
    corpus = read(save(tmp_path, changes), tolerance=0)
    assert np.diff(corpus.offsets).tolist() == [6] * 6
    rated = ~np.isnan(corpus.raters["arousal"]).any(1)
    assert rated[:6].all()
    assert rated[12:18].tolist() == [False, True, True, True, False, False]
    assert not rated[18:24].any()
    ticks = 9 * np.array(TIMES[1:4])[:, None] + np.arange(6)
    np.testing.assert_allclose(
        corpus.raters["arousal"][13:16], np.sin(ticks) + np.arange(6) / 10, atol=1e-5
    )
    assert [n for n in corpus.notes if "do not cover" in n] == [
        "arousal ratings do not cover all frames of 2 recordings, and are NaN in the "
        "others: 3 of 6 of dev_1, 6 of 6 of dev_2"
    ]
    reason = r"dev_2.csv .* begin 225 frames apart"
    with refused("dev_2.arff", reason=reason):
        read(tmp_path, gold="mean", tolerance=3)
    save(tmp_path, changes | {f"{INDIVIDUAL}/dev_2.csv": ratings("dev_2")})
    made = read(tmp_path, gold="mean", targets=("arousal",), tolerance=2)
    assert np.diff(made.offsets).tolist() == [6, 6, 3, 6, 6, 6]
    assert frame_extents(made)[2].tolist() == [1, 1, 4]


def test_files_without_times_begin_where_the_gold_standard_does(tmp_path):
    shifted = [t + 0.04 for t in TIMES]
    changes = {}
    for name in NAMES:
        rows = "".join(f"{number(name, t, 1)}\n" for t in shifted)
        changes[f"features_audio/{name}.arff"] = None
        changes[f"features_audio/{name}.csv"] = "f1\n" + rows
        changes[f"features_video_geometric/{name}.arff"] = arff(name, (3,), shifted)
        for target in ("arousal", "valence"):
            changes[f"ratings_individual/{target}/{name}.csv"] = None
            if "test" not in name:
                path = f"ratings_gold_standard/{target}/{name}.arff"
                changes[path] = arff(name, (10,), shifted)
    corpus = read(save(tmp_path, changes), tolerance=0)
    np.testing.assert_array_equal(
        corpus.modalities["audio"].values, expected(NAMES, (1,), shifted)
    )
    assert [n for n in corpus.notes if "no time column" in n] == [
        "6 files of audio features have no time column (frametime, time, timestamp) "
        "and are assumed to begin where others of their recording do"
    ]


def openface(name, times=TIMES, first=1, clock=True):
    """As OpenFace writes it: blanks before names, frames from 1 on."""
    rows = [
        f"{first + k}, " + (f"{t:g}, " if clock else "") + f"{number(name, t, 1)}\n"
        for k, t in enumerate(times)
    ]
    return f"frame, {'timestamp, ' if clock else ''}AU01_r\n{''.join(rows)}"


@pytest.mark.parametrize("clock", [True, False])
def test_times_and_numbers_of_frames_are_no_features(tmp_path, clock):
    changes = {f"features_audio/{name}.arff": None for name in NAMES}
    for name in NAMES:
        changes[f"features_audio/{name}.csv"] = openface(name, clock=clock)
    corpus = read(save(tmp_path, changes), tolerance=0)
    audio = corpus.modalities["audio"]
    assert audio.names == ("AU01_r",)
    np.testing.assert_array_equal(audio.values, expected(NAMES, (1,)))
    assert any("no time column" in note for note in corpus.notes) == (not clock)


def test_times_and_numbers_of_frames_are_checked(tmp_path):
    gap = openface("dev_1", [*TIMES[:2], *TIMES[3:]])
    changes = {f"{AUDIO}/dev_1.arff": None, f"{AUDIO}/dev_1.csv": gap}
    with refused("dev_1.csv", 4, "timestamp", "gap"):
        read(save(tmp_path, changes))
    gap = openface("dev_1", clock=False).replace("\n4, ", "\n5, ")
    with refused("dev_1.csv", 5, "frame", "frame 5 follows frame 3"):
        read(save(tmp_path, changes | {f"{AUDIO}/dev_1.csv": gap}))


def test_recordings_beyond_their_number_are_noted(tmp_path):
    more = {
        "features_audio/train_3.arff": "no ARFF",
        "features_audio/test_12.csv": "x\n1\n",
        "features_audio/dev_3_old.arff": "",
        f"{INDIVIDUAL}/dev_3.csv": ratings("dev_3"),
    }
    notes = read(save(tmp_path, more)).notes
    looked_for = (
        "were not read, because they are not among the 6 recordings train_1 to test_2:"
    )
    assert [n for n in notes if "were not read" in n] == [
        f"2 files of audio features {looked_for} test_12, train_3",
        f"1 files of arousal ratings {looked_for} dev_3",
    ]


WITH_CSV = {f"{AUDIO}/train_1.arff": None, f"{AUDIO}/train_1.csv": "time,frameTime,a\n"}
# (changes, (file, row, column, reason))
BAD = [
    (
        {f"{AUDIO}/dev_1.arff": arff("dev_1", (1, 2), [0, 0.04, 0.12, 0.16])},
        ("dev_1.arff", 12, "frameTime", "0.12 follows a gap"),
    ),
    (
        {f"{INDIVIDUAL}/dev_1.csv": ratings("dev_1", [0, 0.04, 0.08, 0.04])},
        ("dev_1.csv", 5, "time", "0.04 goes back"),
    ),
    (
        {f"{GOLD}/train_1.arff": arff("train_1", (10,), np.arange(6) * 0.4)},
        ("train_1.arff", 10, "frameTime", "belongs to a frame step of 0.4 s"),
    ),
    (WITH_CSV, ("train_1.csv", None, None, r"\['time', 'frameTime'\], expected one")),
    (
        {f"{AUDIO}/train_1.arff": arff("train_1", ())},
        ("train_1.arff", None, None, "name, frameTime, expected some besides"),
    ),
    (
        {f"{GOLD}/dev_2.arff": arff("dev_2", (10, 11))},
        ("dev_2.arff", None, None, "f10, f11, expected one besides"),
    ),
    (
        {f"{AUDIO}/dev_1.arff": arff("dev_1", (1, 7))},
        ("dev_1.arff", None, None, "the 2 columns of audio features.*: f2, f7"),
    ),
    (
        {f"{AUDIO}/dev_1.arff": arff("dev_1", (1, 2)).replace("2.01,", "inf,")},
        ("dev_1.arff", 10, "f1", "infinite"),
    ),
    (
        {f"{GEOMETRY}/dev_1.arff": arff("dev_1", (1, 2)).replace("2.06", "?")},
        ("dev_1.arff", 11, "f2", "missing in 1 consecutive frames, 0.04 to 0.04 s"),
    ),
    (
        {f"{GOLD}/dev_1.arff": arff("dev_1", (10,)).replace(",2.1\n", ",?\n")},
        ("dev_1.arff", 9, "f10", "missing .* s$"),
    ),
    (
        {f"{AUDIO}/dev_1.csv": "f1,f2\n1,2\n"},
        ("dev_1.arff", None, None, "dev_1.csv exists too"),
    ),
    (
        {f"{GOLD}/dev_1.arff": None, f"{GOLD}/dev_1.csv": "0.1\n0.2\n"},
        ("dev_1.csv", 1, None, "found the numbers 0.1"),
    ),
    (
        {f"{AUDIO}/dev_1.arff": arff("train_2", (1, 2))},
        ("dev_1.arff", 10, "name", "found recording train_2, expected dev_1"),
    ),
]


@pytest.mark.parametrize(("changes", "fault"), BAD)
def test_malformed_files_are_named(tmp_path, changes, fault):
    with refused(*fault):
        read(save(tmp_path, changes))


def test_a_column_of_names_that_is_wrong_can_be_ignored(tmp_path):
    text = arff("train_2", (1, 2))
    save(tmp_path, {f"{AUDIO}/dev_1.arff": text})
    with refused("dev_1.arff", 10, "name", r"add name to corpus\.ignore"):
        read(tmp_path)
    assert "dev_1" in read(tmp_path, ignore=("name",)).recording


def test_frames_that_nobody_rated_are_named(tmp_path):
    text = ratings("dev_1").split("\r\n")
    text[3] = "0.08;;;;;;"
    changes = {f"{INDIVIDUAL}/dev_1.csv": "\r\n".join(text)}
    assert np.isnan(read(save(tmp_path, changes)).raters["arousal"][14]).all()
    with refused("dev_1.csv", 4, "FM1", "no rater rated this"):
        read(tmp_path, gold="avec")


def test_gaps_can_be_imputed_later_and_are_counted(tmp_path):
    text = arff("dev_1", (1, 2))
    for line in text.splitlines()[-4:-1]:
        text = text.replace(line, line.rsplit(",", 2)[0] + ",?,NaN")
    changes = {"features_audio/dev_1.arff": text}
    changes["features_audio/train_1.arff"] = arff("train_1", (1, 2)).replace(
        "0.01", "?"
    )
    corpus = read(save(tmp_path, changes), impute=True)
    values = corpus.modalities["audio"].values
    assert np.isnan(values).sum() == 7
    assert np.isnan(values[14:17]).all()
    note = "audio features: 4 frames lack values, at most 3 in a row (dev_1, from 0.08"
    assert any(n.startswith(note) for n in corpus.notes)


def test_columns_may_be_left_out(tmp_path):
    changes = {
        path: text.replace("f2 numeric", "class {low,?}")
        for path, text in layout().items()
        if "audio" in path
    }
    corpus = read(save(tmp_path, changes))
    assert corpus.modalities["audio"].names == ("f1",)
    corpus = read(tmp_path, ignore=("CLASS", "f3"))
    assert corpus.modalities["video"].names == ("f4", "f5")


def test_a_name_that_no_recording_has_is_accepted(tmp_path):
    changes = {
        "features_audio/dev_1.arff": arff("dev_1", (1, 2)).replace("dev_1,", "P16,")
    }
    assert read(save(tmp_path, changes)).num_recordings == 6


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gold": "median"}, "gold is 'median', expected given, mean or avec"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"frame_step": 0}, "frame_step 0"),
        ({"targets": ()}, "expected distinct names"),
        ({"targets": ("arousal", "arousal")}, "expected distinct names"),
        ({"files": RecolaFiles({})}, "features is empty"),
        ({"files": RecolaFiles({"audio": "x"})}, "expected it to contain {recording}"),
        ({"files": RecolaFiles({"audio": "{recording}/{x}"})}, "no braces but"),
        ({"files": RecolaFiles(gold_standard="{recording}")}, "ratings need {target}"),
        ({"files": RecolaFiles(recordings=0)}, "recordings 0"),
    ],
)
def test_bad_options_are_named(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(save(tmp_path), **options)


def test_a_missing_folder_is_named(tmp_path):
    with refused("nowhere", reason="no such folder"):
        read(tmp_path / "nowhere")


def small(**options):
    entries = {"features": (5, 3), "latent": 2, "recordings": (3, 2, 2), "speakers": 7}
    entries |= {"frames": 40, "raters": 6, "seed": 3} | options
    return make_synthetic(SyntheticOptions(**entries))


@pytest.mark.parametrize("test_labels", [False, True])
def test_what_is_written_is_read_back(tmp_path, test_labels):
    corpus = small()
    files = write_recola(corpus, tmp_path / "recola", test_labels=test_labels)
    assert files.recordings == 3
    back = read_recola(tmp_path / "recola", files=files)
    recordings = "train_1 train_2 train_3 dev_1 dev_2 test_1 test_2"
    assert back.recording.tolist() == recordings.split()
    assert back.partition.tolist() == corpus.partition.tolist()
    np.testing.assert_array_equal(back.offsets, corpus.offsets)
    assert back.frame_step == corpus.frame_step
    for m, modality in corpus.modalities.items():
        assert back.modalities[m].names == modality.names
        np.testing.assert_array_equal(back.modalities[m].values, modality.values)
    known = slice(None) if test_labels else slice(0, 200)
    np.testing.assert_array_equal(back.labels[known], corpus.labels[known])
    for target, column in corpus.raters.items():
        np.testing.assert_array_equal(back.raters[target][known], column[known])
    assert test_labels or np.isnan(back.labels[200:]).all()


def test_unlabelled_recordings_are_written_and_read_back(tmp_path):
    corpus = small()
    labels = corpus.labels.copy()
    labels[:40], labels[45:50, 0] = np.nan, np.nan
    corpus = replace(corpus, labels=labels)
    files = write_recola(corpus, tmp_path / "a", test_labels=True)
    assert files.recordings == 2
    back = read_recola(tmp_path / "a", files=files)
    assert back.partition[-1] == UNLABELLED and np.isnan(back.labels[-40:]).all()
    np.testing.assert_array_equal(back.labels[:40], labels[40:80])
    audio = corpus.modalities["audio"].values
    np.testing.assert_array_equal(back.modalities["audio"].values[-40:], audio[:40])


def test_without_raters_no_ratings_are_written(tmp_path):
    files = write_recola(small(raters=0), tmp_path / "a")
    assert read_recola(tmp_path / "a", files=files).raters == {}


def test_missing_values_are_written(tmp_path):
    corpus = small()
    names, values = corpus.modalities["video"].names, np.zeros((280, 3), np.float32)
    values[3:9, 1] = np.nan
    modalities = {**corpus.modalities, "video": Modality(names, values)}
    files = write_recola(replace(corpus, modalities=modalities), tmp_path / "a")
    text = (tmp_path / "a/features_video_geometric/train_1.arff").read_text("utf-8")
    assert text.count(",?,") == 6
    back = read_recola(tmp_path / "a", files=files, impute=True)
    np.testing.assert_array_equal(back.modalities["video"].values, values)


def test_ratings_are_written_with_the_blanks_of_the_real_files(tmp_path):
    write_recola(small(), tmp_path / "a")
    frame = pd.read_csv(tmp_path / "a/ratings_individual/valence/dev_1.csv", sep=";")
    assert ";".join(frame.columns) == "time;FM1 ;FM2 ;FM3 ;FF1 ;FF2 ;FF3"


def test_what_cannot_be_written_is_named(tmp_path):
    with refused(reason="more than 6 raters"):
        write_recola(small(raters=7), tmp_path / "a")
    with refused(reason="is not a time-continuous regression"):
        write_recola(small(frames=0), tmp_path / "a")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    with refused("full", reason="not an empty folder"):
        write_recola(small(), tmp_path / "full")
    with refused(reason="files has patterns for"):
        write_recola(small(), tmp_path / "a", RecolaFiles({"audio": "{recording}"}))
