"""The features of AVEC 2016, by loops over points, and windows, by numpy on slices."""

import itertools
import math

import numpy as np
import pytest
from media_files import SAMPLES, needs_samples
from scipy.interpolate import pchip_interpolate

from ifusion.corpora.functionals import name_functionals
from ifusion.features import geometry, landmarks, mtcnn, windows
from ifusion.features.media import Recording, read_pictures

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def shapes():
    """A face that moves, turns, grows and changes a little: (30, 49, 2)."""
    base = RNG.normal(0, 30, (49, 2))
    base[19], base[28] = (-40, 0), (40, 0)
    found = []
    for i in range(30):
        turn, scale = 0.2 * math.sin(i / 5), 1 + 0.3 * math.cos(i / 4)
        matrix = scale * np.array(
            [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        )
        found.append((base + RNG.normal(0, 1, (49, 2))) @ matrix.T + [300 + 2 * i, 200])
    return np.array(found)


def test_there_are_316_features_of_distinct_names():
    names = geometry.feature_names()
    assert len(names) == len(set(names)) == 316
    assert len(name_functionals(names)) == 632


def test_points_are_those_of_the_49():
    assert len(landmarks.POINTS) == 49
    assert 60 not in landmarks.POINTS and 64 not in landmarks.POINTS
    assert landmarks.POINTS[19] == 36 and landmarks.POINTS[28] == 45  # corners


def test_the_mean_shape_does_not_depend_on_pose(shapes):
    mean = geometry.fit_mean_shape([shapes])
    moved = shapes * 2.5 + [40, -7]
    np.testing.assert_allclose(geometry.fit_mean_shape([moved[:10], moved[10:]]), mean)
    assert mean[28] - mean[19] == pytest.approx([1, 0], abs=1e-9)
    assert mean[list(geometry.STABLE)].mean(0) == pytest.approx([0, 0], abs=1e-9)
    gaps = np.concatenate([shapes, np.full((3, 49, 2), np.nan)])
    np.testing.assert_allclose(geometry.fit_mean_shape([gaps]), mean)


def test_aligned_shapes_fit_best(shapes):
    """By least squares, with scipy's optimiser in place of the closed form."""
    optimize = pytest.importorskip("scipy.optimize")
    mean = geometry.fit_mean_shape([shapes])
    stable = list(geometry.STABLE)

    def moved(parameters, points):
        a, b, x, y = parameters
        return points @ np.array([[a, b], [-b, a]]) + [x, y]

    aligned = geometry.align_shapes(shapes[:3], mean)
    for shape, found in zip(shapes[:3], aligned, strict=True):
        fit = optimize.least_squares(
            lambda p, shape=shape: (moved(p, shape[stable]) - mean[stable]).ravel(),
            [0.01, 0, 0, 0],
            **{"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15},
            x_scale=[0.01, 0.01, 1, 1],
        )
        np.testing.assert_allclose(found, moved(fit.x, shape), atol=1e-5)


def test_features_are_those_of_loops(shapes):
    mean = geometry.fit_mean_shape([shapes])
    found = geometry.describe_shapes(shapes, mean)
    assert found.shape == (30, 316)
    for first, stop in ((0, 4), (4, 9), (29, 30)):
        part = geometry.describe_shapes(shapes, mean, first, stop)
        np.testing.assert_array_equal(part, found[first:stop])
    aligned = geometry.align_shapes(shapes, mean)
    names = geometry.feature_names()
    for row in (0, 1, 7, 17):
        now, before = aligned[row], aligned[max(row - 1, 0)]
        values = dict(zip(names, found[row], strict=True))
        for i in range(49):
            for axis, letter in enumerate("xy"):
                difference = now[i, axis] - mean[i, axis]
                assert values[f"shape_{letter}{i}"] == pytest.approx(difference)
                motion = now[i, axis] - before[i, axis]
                assert values[f"motion_{letter}{i}"] == pytest.approx(
                    motion, rel=1e-6, abs=1e-9
                )
            middle = [np.median([now[k, a] for k in geometry.STABLE]) for a in (0, 1)]
            assert values[f"median_distance{i}"] == pytest.approx(
                math.dist(now[i], middle)
            )
        for group, indices in geometry.GROUPS:
            for place, (a, b) in enumerate(itertools.pairwise(indices)):
                expected = math.dist(now[a], now[b])
                assert values[f"{group}_distance{place}"] == pytest.approx(expected)
            for place in range(len(indices) - 2):
                a, b, c = (now[i] for i in indices[place : place + 3])
                cosine = np.dot(a - b, c - b) / math.dist(a, b) / math.dist(c, b)
                assert values[f"{group}_angle{place}"] == pytest.approx(
                    math.acos(np.clip(cosine, -1, 1)), abs=1e-6
                )


def test_gaps_are_filled_between_and_at_the_ends(shapes):
    gaps = [0, 1, 7, 8, 9, 20, 29]
    known = np.setdiff1d(np.arange(30), gaps)
    broken = shapes.copy()
    broken[gaps] = np.nan
    filled = geometry.fill_gaps(broken)
    np.testing.assert_array_equal(filled[known], shapes[known])
    expected = pchip_interpolate(known, shapes[known].reshape(-1, 98), [7, 8, 9, 20])
    np.testing.assert_allclose(filled[[7, 8, 9, 20]].reshape(-1, 98), expected)
    np.testing.assert_allclose(filled[[0, 1]], shapes[[2, 2]])
    np.testing.assert_allclose(filled[29], shapes[28])
    np.testing.assert_array_equal(geometry.fill_gaps(shapes), shapes)
    for some in itertools.combinations(range(6), 3):  # at the ends of few frames
        few = np.full((6, 49, 2), np.nan)
        few[list(some)] = shapes[:3]
        where = np.clip(np.arange(6), some[0], some[-1])
        expected = pchip_interpolate(some, shapes[:3], where)
        np.testing.assert_allclose(geometry.fill_gaps(few), expected)
    broken[1:] = np.nan
    broken[0] = shapes[0]
    np.testing.assert_array_equal(
        geometry.fill_gaps(broken), np.repeat(shapes[:1], 30, 0)
    )


@pytest.mark.parametrize("length", [1, 4, 7, 50, 80])
def test_windows_are_summarised(length, monkeypatch):
    monkeypatch.setattr(windows, "BLOCK", 8)  # frames summarised together
    frames = RNG.normal(1000, 1, (50, 3))

    def read(first, stop):
        assert 0 <= first < stop <= 50
        return frames[first:stop]

    found = windows.summarise(read, 50)
    expected = np.concatenate([frames.mean(0), frames.std(0)])
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = windows.summarise_windows(read, 50, length)
    assert found.shape == (50, 6)
    for row in (0, 3, 25, 49):
        first = int(np.clip(row - length // 2, 0, max(50 - length, 0)))
        part = frames[first : first + length]
        expected = np.concatenate([part.mean(0), part.std(0)])
        np.testing.assert_allclose(found[row], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.data
@needs_samples
def test_landmarks_are_where_another_network_has_the_points_of_a_face():
    pytest.importorskip("dlib")
    recording = Recording(SAMPLES / "obama_speech.mp4")
    pictures = np.stack([p.rgb for p in read_pictures(recording)][::20])
    found = mtcnn.detect_faces(mtcnn.load_detector_weights(), pictures)
    for rgb, faces in zip(pictures, found, strict=True):
        points = landmarks.find_landmarks(rgb, faces.boxes[0])
        eyes = points[19:25].mean(0), points[25:31].mean(0)
        five = np.array([*eyes, points[13], points[31], points[37]])
        between = math.dist(*eyes)
        assert np.abs(five - faces.points[0]).max() < 0.3 * between
