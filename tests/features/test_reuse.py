"""One more recording to the features that a corpus has."""

import numpy as np
import pytest
from media_files import tone, write_sound

import ifusion as ifn
from ifusion.corpora.corpus import CorpusError
from ifusion.corpora.provenance import describe_differences, read_provenance
from ifusion.features.media import MediaError
from ifusion.features.pipeline import extract_corpus, make_request
from ifusion.features.reuse import extract_as

pytest.importorskip("opensmile")
LABELS = "recording,partition,x\na,train,1\nb,dev,2\n"


@pytest.fixture
def media(tmp_path):
    """Two tones of 16 kHz, and their labels."""
    folder = tmp_path / "media"
    folder.mkdir()
    for name, pitch in (("a", 120), ("b", 160)):
        write_sound(folder / f"{name}.wav", tone(1.2, pitch=pitch))
    (tmp_path / "labels.csv").write_text(LABELS)
    return folder


def extract(media, name="egemaps", **changes):
    """Extracts a corpus; returns its folder and what it states of audio."""
    out = media.parent / f"corpus {len(list(media.parent.iterdir()))}"
    labels = media.parent / "labels.csv"
    asked = {"media": media, "out": out, "labels": labels, **changes}
    extract_corpus(make_request({"extractors": {"audio": name}, **asked}))
    return out, read_provenance(out)["audio"]


@pytest.mark.parametrize("name", ["egemaps", "egemaps:v01a", "lld"])
def test_a_recording_gets_the_row_that_it_has_in_the_corpus(media, name):
    out, stated = extract(media, name)
    found = extract_as(media / "b.wav", "audio", stated)
    assert found.differences == ""
    assert found.provenance["extractor"] == stated["extractor"]
    corpus = ifn.read_corpus(out).modalities["audio"]
    assert found.features.names == corpus.names
    np.testing.assert_allclose(found.features.values[0], corpus.values[1], rtol=1e-6)


def test_a_recording_gets_the_frames_that_it_has_in_the_corpus(media):
    out, stated = extract(media, step=0.1, window=0.5)
    found = extract_as(media / "a.wav", "audio", stated)
    table = np.load(out / "features" / "audio.npz", allow_pickle=False)
    np.testing.assert_array_equal(found.features.values, table["values"][:12])


def test_sound_is_resampled_to_the_rate_of_the_corpus_and_that_is_said(media):
    _, stated = extract(media)
    write_sound(media / "c.wav", tone(1.2, 44100), 44100)
    found = extract_as(media / "c.wav", "audio", stated)
    assert found.differences == "its sound of 44100 Hz is resampled to 16000 Hz"
    assert found.features.facts["sound_rate"] == 16000
    _, asked = extract(media, rate=16000)
    same = extract_as(media / "c.wav", "audio", asked)
    assert same.differences == ""
    np.testing.assert_array_equal(same.features.values, found.features.values)


def test_tables_of_a_tool_need_a_table(media):
    tables = media.parent / "tables"
    tables.mkdir()
    for name in "ab":
        (tables / f"{name}.csv").write_text("name;loudness;pitch\nx;1;2\n")
    _, stated = extract(media, f"opensmile:{tables}")
    found = extract_as(tables / "a.csv", "audio", stated)
    assert found.features.names == ("loudness", "pitch") and found.differences == ""
    assert found.features.values.tolist() == [[1.0, 2.0]]
    with pytest.raises(
        MediaError, match=r"tables of openSMILE; expected a table of that"
    ):
        extract_as(media / "a.wav", "audio", stated)


def test_what_cannot_be_reused_is_refused(media):
    _, stated = extract(media)
    with pytest.raises(MediaError, match="no such file"):
        extract_as(media / "z.wav", "audio", stated)
    with pytest.raises(MediaError, match="expected a recording"):
        extract_as(media.parent / "labels.csv", "audio", stated)
    with pytest.raises(CorpusError, match="features of audio do not state"):
        extract_as(media / "a.wav", "audio", {})
    with pytest.raises(ValueError, match="--step=often"):
        extract_as(media / "a.wav", "audio", {**stated, "step": "often"})


def test_differences_are_one_sentence(media):
    _, stated = extract(media)
    other = {
        **stated,
        "opensmile": "2.5.1",
        "rate": 8000,
        "mean_shape": [[0.0]],
        "sound_rate": {"least": 48000, "mean": 48000, "most": 48000},
    }
    assert describe_differences(stated, other) == (
        f"features are not extracted as those of training: opensmile "
        f"{stated['opensmile']}, not 2.5.1; rate none, not 8000 Hz; mean shape differs;"
        " sound at 16000 Hz, not 48000 Hz"
    )
    assert describe_differences(stated, {**stated, "asked": "egemaps:v02"}) == ""
    assert describe_differences(stated, {}) == describe_differences({}, stated) == ""


def test_a_folder_may_state_nothing_but_no_nonsense(tmp_path):
    assert read_provenance(tmp_path) == {}
    (tmp_path / "extraction.json").write_text('{"audio": {"extractor"')
    with pytest.raises(CorpusError, match="cannot be read as JSON"):
        read_provenance(tmp_path)
    (tmp_path / "extraction.json").write_text("[]")
    with pytest.raises(CorpusError, match="one entry per modality"):
        read_provenance(tmp_path)
