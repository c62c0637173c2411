from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifusion.evaluation.traces import Traces, encode_traces, load_traces


def traces():
    rng = np.random.default_rng(0)
    lanes = [
        ("baseline", "audio", "arousal", 0.0, 0, 0),
        ("implicit_fusion", "video", "arousal", 0.1, 1, 3),
    ]
    columns = ["system", "main", "target", "alpha", "seed", "ahead"]
    gold = rng.standard_normal(7).astype(np.float32)
    late = np.concatenate([gold[3:], np.full(3, np.nan, np.float32)])
    raw = rng.standard_normal((2, 7)).astype(np.float32)
    return Traces(
        fold="run 1",
        partition="test",
        frame_step=0.04,
        recording=np.array(["a/b", "é"]),
        offsets=np.array([0, 4, 7]),
        lanes=pd.DataFrame(lanes, columns=columns),
        raw=raw,
        processed=2 * raw,
        gold={("arousal", 0): gold, ("arousal", 3): late},
        raters={("arousal", 0): rng.standard_normal((3, 7)).astype(np.float32)},
        extents=np.array([[2, 0, 7], [0, 0, 3]]),
        left_out=("c",),
    )


def test_traces_survive_their_file(tmp_path):
    path = tmp_path / "traces.safetensors"
    path.write_bytes(encode_traces(traces()))
    found, expected = load_traces(path), traces()
    for name in ("fold", "partition", "frame_step", "left_out"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("recording", "offsets", "raw", "processed", "extents"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    pd.testing.assert_frame_equal(found.lanes, expected.lanes)
    assert list(found.gold) == list(expected.gold)
    for key, values in expected.gold.items():
        np.testing.assert_array_equal(found.gold[key], values)
    assert list(found.raters) == [("arousal", 0)]
    np.testing.assert_array_equal(
        found.raters["arousal", 0], expected.raters["arousal", 0]
    )


def test_one_array_may_be_a_view_of_another(tmp_path):
    same = replace(traces(), processed=traces().raw, raters={})
    path = tmp_path / "traces.safetensors"
    path.write_bytes(encode_traces(same))
    np.testing.assert_array_equal(load_traces(path).processed, same.raw)


@pytest.mark.parametrize("damage", ["cut", "empty", "absent", "other"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "traces.safetensors"
    whole = encode_traces(traces())
    contents = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "other": whole.replace(b'\\"format\\": 2', b'\\"format\\": 9'),
    }
    if damage != "absent":
        path.write_bytes(contents[damage])
    with pytest.raises(ValueError, match="not a file of predictions"):
        load_traces(path)
