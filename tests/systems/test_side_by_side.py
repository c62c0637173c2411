from functools import partial

import pytest

from ifusion.systems.side_by_side import side_by_side


def climb(start, steps, ask):
    """Asks for the double of a number, and of that, and so on."""
    values = [start]
    for _ in range(steps):
        values += ask([values[-1]])
    return values


@pytest.fixture
def doubling():
    trained = []

    def train(requests):
        trained.append(requests)
        return [2 * x for x in requests]

    return trained, train


def test_requests_of_all_calls_are_trained_together(doubling):
    trained, train = doubling
    calls = [partial(climb, 1, 2), partial(climb, 5, 0), partial(climb, 7, 3)]
    assert side_by_side(calls, train) == [[1, 2, 4], [5], [7, 14, 28, 56]]
    assert trained == [[1, 7], [2, 14], [28]]


def test_calls_may_be_side_by_side_inside(doubling):
    trained, train = doubling

    def inner(ask):
        first = climb(3, 1, ask)
        return first + side_by_side([partial(climb, 1, 1), partial(climb, 2, 2)], ask)

    expected = [3, 6, [1, 2], [2, 4, 8]]
    assert side_by_side([inner, partial(climb, 9, 1)], train) == [expected, [9, 18]]
    assert trained == [[3, 9], [1, 2], [4]]


def test_calls_may_remember_by_themselves():
    known = {}

    def recall(x, ask):
        if x not in known:
            ask([x])
        return known[x]

    def train(requests):
        known.update({x: 2 * x for x in requests})

    assert side_by_side([partial(recall, 1), partial(recall, 2)], train) == [2, 4]


def test_errors_of_a_call_are_its_own(doubling):
    def fail(ask):
        ask([1])
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        side_by_side([fail, partial(climb, 1, 1)], doubling[1])
