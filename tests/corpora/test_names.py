"""Names, as they come in folders that people bring."""

import json

import numpy as np
import pytest
from formats import refused
from small import make_corpus, make_frames

from ifusion.corpora.corpus import CorpusError, Modality
from ifusion.corpora.description import corpus_warnings
from ifusion.corpora.folder import read_corpus, write_corpus
from ifusion.corpora.likeness import likeness_warnings
from ifusion.corpora.names import (
    can_name_file,
    file_name,
    file_names,
    in_number_order,
    normalise,
    normalise_names,
    printable,
)
from ifusion.corpora.sources.recola import write_recola
from ifusion.corpora.splits import cluster_column, split_corpus

COMPOSED, DECOMPOSED = "Zo\xeb", "Zoe\u0308"
RECORDINGS = ("001", "002", "003", "004", "005", "006")


def write(
    folder, speakers="abcdef", folds="112233", classes=("calm", "tense"), **header
):
    """A folder of six utterances, two of them dev and one test."""
    rows = list(zip(RECORDINGS, speakers, folds, strict=True))
    parts = ("train", "train", "train", "dev", "dev", "test")
    text = {
        "corpus.json": json.dumps(
            {
                "name": "six",
                "task": "classification",
                "classes": list(classes),
                "modalities": ["audio"],
            }
            | header
        ),
        "recordings.csv": "recording,partition,speaker,fold\n"
        + "".join(
            f'{name},{part},"{speaker}","{fold}"\n'
            for (name, speaker, fold), part in zip(rows, parts, strict=True)
        ),
        "labels.csv": "recording,emotion\n"
        + "".join(f'{r},"{classes[i % 2]}"\n' for i, r in enumerate(RECORDINGS)),
        "features/audio.csv": "recording,f0,f1\n"
        + "".join(f"{r},{i},{i * i}\n" for i, r in enumerate(RECORDINGS)),
    }
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for name, content in text.items():
        (folder / name).write_text(content, "utf-8")
    return folder


def edit(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def warned(corpus):
    return " ".join(corpus_warnings(corpus))


@pytest.mark.parametrize(
    ("one", "other"), [("s1", "s1 "), ("s1", "\u00a0s1"), (COMPOSED, DECOMPOSED)]
)
def test_a_speaker_is_one_however_the_name_was_typed(tmp_path, one, other):
    corpus = read_corpus(write(tmp_path, speakers=[one, "b", "c", other, "e", "f"]))
    assert corpus.speaker[0] == corpus.speaker[3] == normalise(one)
    assert f"Speakers in both train and dev: {normalise(one)};" in warned(corpus)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s1", "S1"),
        ("s1", "s01"),
        ("1", "1.0"),
        ("007", "7"),
        ("anna-b", "Anna_b"),
        ("anna b", "anna  b"),
    ],
)
def test_names_that_are_nearly_alike_are_named(tmp_path, one, other):
    corpus = read_corpus(write(tmp_path, speakers=[one, "b", "c", other, "e", "f"]))
    said = "Speakers whose names differ only in case, blanks, - or _, zeros in front"
    assert f"{said} or .0 count as different: {one!r} = {other!r}." in warned(corpus)
    assert corpus_warnings(read_corpus(write(tmp_path))) == ()


def test_recordings_folds_and_classes_that_are_nearly_alike_are_named(tmp_path):
    folder = write(tmp_path, folds=["1", "01", "2", "2 ", "3", "3"], classes=("a", "A"))
    edit(folder / "recordings.csv", "002,", "1,")
    for name in ("labels.csv", "features/audio.csv"):
        edit(folder / name, "\n002,", "\n1,")
    text = warned(read_corpus(folder))
    for kind, pair in (
        ("recordings", "'001' = '1'"),
        ("folds", "'1' = '01'"),
        ("classes", "'a' = 'A'"),
    ):
        assert f"{kind.capitalize()} whose names differ only" in text
        assert pair in text


def test_folds_are_normalised_and_a_blank_one_is_refused(tmp_path):
    folder = write(tmp_path, folds=["1", "1 ", "2", " 2", "3", "3"])
    assert [*split_corpus(read_corpus(folder), True)] == ["1", "2", "3"]
    for blank in ("", " ", "nan", "NA"):
        corpus = read_corpus(write(tmp_path, folds=["1", "1", "2", blank, "3", blank]))
        assert [*split_corpus(corpus, False)] == ["fixed"]  # which needs none
        with refused(
            column="fold", reason=r"2 recordings have no fold \(004, 006\); give each"
        ):
            split_corpus(corpus, True)


@pytest.mark.parametrize(
    ("folds", "reason"),
    [("abcdea", None), ("Aabbcc", "differ only in case"), ("..bbcc", "cannot name a")],
)
def test_a_fold_has_a_folder_of_its_own(tmp_path, folds, reason):
    corpus = read_corpus(write(tmp_path, folds=folds))
    if reason is None:
        assert len(split_corpus(corpus, True)) == 5
        return
    with pytest.raises(CorpusError, match=reason):
        split_corpus(corpus, True)


def test_recordings_that_become_one_are_refused(tmp_path):
    folder = write(tmp_path)
    edit(folder / "recordings.csv", "\n002,", "\n001 ,")
    with refused("recordings.csv", 3, "recording", "'001' occurs more than once"):
        read_corpus(folder)
    for kind, changes in {
        "recording": {"recording": ["a", "a ", "b", "c"]},
        "class": {"classes": (COMPOSED, DECOMPOSED)},
        "attributes": {"attributes": {"x": list("abcd"), "x ": list("abcd")}},
    }.items():
        with pytest.raises(CorpusError, match=kind):
            make_corpus(**changes)
    with pytest.raises(CorpusError, match="feature 'f' occurs more than once"):
        Modality(("f", "f "), np.zeros((2, 2)))


def test_raters_are_one_however_the_name_was_typed(tmp_path):
    folder = write(tmp_path)
    rows = f"001,{COMPOSED},calm\n002, {DECOMPOSED},tense\n001,bob,calm\n"
    (folder / "raters.csv").write_text(f"recording,rater,emotion\n{rows}", "utf-8")
    assert read_corpus(folder).num_raters == 2


def test_recordings_with_the_same_features_in_two_partitions_are_named(tmp_path):
    folder = write(tmp_path)
    edit(folder / "features/audio.csv", "006,5,25", "006,1,1")
    edit(folder / "features/audio.csv", "003,2,4", "003,0,0")  # both in train
    assert (
        "Recordings with exactly the features of one in another partition (1): 006 "
        "(test) = 002 (train); scores may be too good." in warned(read_corpus(folder))
    )


def test_the_same_frames_in_another_order_are_no_copy():
    values = np.float32([[1], [2], [1], [2], [9], [2], [1]])

    def texts(values):
        frames = make_frames(
            modalities={"audio": Modality(("f",), values)},
            offsets=[0, 2, 4, 6],
            labels=np.zeros((6, 2)),
        )
        return " ".join(likeness_warnings(frames))

    assert "Recordings with exactly" in texts(values[:6])
    assert texts(values[[0, 1, 5, 6, 4, 3]]) == ""


@pytest.mark.parametrize(
    "name", ["a\x1b]0;x\x07", "a\u202eb", "=HYPERLINK(1)", "@A(1)"]
)
def test_names_that_are_not_what_they_look_like_are_refused(tmp_path, name):
    for kind, changes in {
        "speaker": {"speakers": [name, *"bcdef"]},
        "class": {"classes": (name, "b")},
        "target": {"targets": [name]},
        "modality": {"modalities": [f"{name}"]},
    }.items():
        folder = write(tmp_path, **changes)
        if kind == "target":
            edit(folder / "labels.csv", "emotion", f'"{name}"')
        if kind == "modality" and can_name_file(name):
            (folder / f"features/{name}.csv").write_bytes(
                (folder / "features/audio.csv").read_bytes()
            )
        with pytest.raises(CorpusError, match=f"{kind} .*(holds|formula|name a)") as e:
            read_corpus(folder)
        assert printable(str(e.value)) == str(e.value)


def test_names_that_a_spreadsheet_may_misread_are_named(tmp_path):
    corpus = read_corpus(write(tmp_path, speakers=["-3g5", "+1", "-2", "@b", "-", "f"]))
    assert "Names that begin with =, +, - or @ are formulas" in warned(corpus)
    assert "-3g5, @b; import" in warned(corpus)


def test_a_speaker_without_a_name_is_named(tmp_path):
    corpus = read_corpus(write(tmp_path, speakers=["", "b", "c", "nan", "e", "f"]))
    assert "Recordings without a speaker (2: " in warned(corpus)


def test_a_cluster_is_a_name_too():
    corpus = make_corpus(attributes={"said": ["a", "b\x1b[2J", "c", "d"]})
    with pytest.raises(CorpusError, match=r"said .* holds the control character"):
        cluster_column(corpus, "said")


@pytest.mark.parametrize("name", ["../../out", "CON", "a/b", ".a", "x" * 300, "a:b"])
def test_no_name_is_a_path(tmp_path, name):
    modalities = write(tmp_path / "in", modalities=[name])
    with refused("corpus.json", reason="cannot name a file: it must not"):
        read_corpus(modalities)
    frames = make_frames(targets=(name, "b"))
    with pytest.raises(CorpusError, match="cannot name a file"):
        write_recola(frames, tmp_path / "out", files=None)
    assert not (tmp_path / "out").exists()


def test_modalities_that_differ_in_case_are_refused(tmp_path):
    modality = make_corpus().modalities["audio"]
    with pytest.raises(CorpusError, match="differ only in case"):
        make_corpus(modalities={"Audio": modality, "audio": modality})


def test_a_normalised_corpus_is_read_back(tmp_path):
    corpus = make_corpus(
        recording=[" a", DECOMPOSED, "c", "d"], classes=(" no", f"{DECOMPOSED} ")
    )
    assert corpus.recording.tolist() == ["a", COMPOSED, "c", "d"]
    write_corpus(corpus, tmp_path / "out")
    again = read_corpus(tmp_path / "out")
    assert again.classes == ("no", COMPOSED)
    assert again.recording.tolist() == corpus.recording.tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b c", "a_b c"),
        ("..", "_"),
        ("é-1.x", "é-1.x"),
        ("../../out", "_.._out"),
        ("con.txt", "_con.txt"),
        (" a. ", "a"),
        ("a\x1bb", "a_b"),
        ("", "_"),
    ],
)
def test_any_name_becomes_a_file(name, expected):
    assert file_name(name) == expected
    assert can_name_file(expected)
    assert not can_name_file(name) or name == expected


def test_files_of_different_names_differ_on_any_disk():
    names = ["a/b", "a b", "a_b", "A_b", "x" * 300, "x" * 301, "\u00e9" * 200]
    files = file_names(names)
    assert files["a b"] == "a b"
    assert files["a_b"] == "a_b"
    assert len({file.casefold() for file in files.values()}) == len(names)
    assert max(len(file.encode()) for file in files.values()) <= 120
    assert all(map(can_name_file, files.values()))


def test_arrays_of_names_are_normalised_without_a_copy_where_they_are():
    clean = np.array(["a", "b c", COMPOSED])
    assert normalise_names(clean) is clean
    mixed = np.array([["\ufeffa", "b "], [DECOMPOSED, ""]])
    assert normalise_names(mixed).tolist() == [["a", "b"], [COMPOSED, ""]]


def test_numbers_in_names_are_ordered_by_size():
    assert in_number_order(["u10", "u2", "a", "10", "9"]) == [
        "9",
        "10",
        "a",
        "u2",
        "u10",
    ]
