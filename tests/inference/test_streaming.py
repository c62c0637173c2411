"""A recording in pieces against the recording as a whole."""

from dataclasses import replace

import numpy as np
import pytest

from ifusion.inference.opening import load_predictor


@pytest.fixture(
    params=["baseline", pytest.param("re_two_stage", marks=pytest.mark.slow)],
    scope="module",
)
def predictor(request, trained_series, causal):
    folder = trained_series
    if request.param == "re_two_stage":
        folder = request.getfixturevalue("staged")
    found = load_predictor(folder, "audio", request.param)
    members = [
        replace(member, delay=3 * i, adjustments=causal[: i % 4])
        for i, member in enumerate(found.members)
    ]
    return replace(found, members=tuple(members))


@pytest.mark.parametrize("seed", range(3))
def test_pieces_of_any_size_give_the_whole(predictor, series, table_of, seed):
    frames = table_of(series, "audio", "dev").to_numpy()[:90]
    expected = predictor.predict(frames, names=list(predictor.features["audio"]))
    rng, stream, parts, start = np.random.default_rng(seed), predictor.stream(), [], 0
    while start < len(frames):
        size = int(rng.integers(0, 23)) if seed else 1
        parts.append(stream.push(frames[start : start + size]))
        start += size
    assert stream.time == 90
    assert set(parts[0]) == set(expected)
    for name in expected:
        found = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(found, expected[name], atol=1e-5)


def test_two_streams_do_not_meet(predictor, series, table_of):
    frames = table_of(series, "audio", "dev").to_numpy()
    first, second, alone = (predictor.stream() for _ in range(3))
    expected = alone.push(frames[:40])
    found = []
    for i in range(40):
        found.append(first.push(frames[i])["arousal"])
        second.push(frames[100 + i])
    np.testing.assert_allclose(np.concatenate(found), expected["arousal"], atol=1e-5)


@pytest.mark.slow
def test_what_needs_later_frames_is_refused_or_left_out(
    trained_series, ahead, staged, trained
):
    found = load_predictor(trained_series, "audio", "baseline")
    for step, words in zip(ahead, ("median over 5 frames", "shift by -3"), strict=True):
        members = tuple(replace(m, delay=2, adjustments=(step,)) for m in found.members)
        predictor = replace(found, members=members)
        with pytest.raises(
            ValueError, match=f"the {words} of arousal .* needs later frames"
        ):
            predictor.stream()
        stream = predictor.stream(without=(step.step,))
        without = replace(
            found, members=tuple(replace(m, adjustments=()) for m in members)
        ).stream()
        x = np.random.default_rng(0).standard_normal((9, 5))
        np.testing.assert_array_equal(
            stream.push(x)["arousal"], without.push(x)["arousal"]
        )
    with pytest.raises(ValueError, match=r"cnn looks \d+ frames ahead"):
        load_predictor(staged, "audio", "cnn").stream()
    with pytest.raises(ValueError, match="svr is not a chain of layers"):
        load_predictor(staged, "audio", "svr").stream()
    with pytest.raises(ValueError, match="rows are utterances, each on its own"):
        load_predictor(trained, "audio").stream()
    with pytest.raises(ValueError, match="'blur' is not a step"):
        found.stream(without=("blur",))


def test_frames_that_do_not_fit_are_named(predictor):
    stream = predictor.stream()
    with pytest.raises(ValueError, match=r"shape \(4,\); expected \(frames, 5\)"):
        stream.push(np.zeros(4))
    stream.push(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="frame 2, audio_03: inf"):
        stream.push([0, 0, 0, np.inf, 0])
    assert len(stream.push(np.zeros((0, 5)))["arousal"]) == 0
    assert stream.time == 2
