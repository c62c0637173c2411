"""Several fits at once, whose lanes train together.

A fit is a deterministic function of what it is told its lanes were trained to. So it
can be broken off where it asks for lanes, and begun again once these are trained.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

Result = TypeVar("Result")
Ask = Callable[[Sequence[Any]], Any]  # requests -> a list of answers


class _WaitsError(Exception):
    """A call has asked for more than it has been told."""

    def __init__(self, told: list[list[Any]], requests: Sequence[Any]) -> None:
        super().__init__("requests that no `side_by_side` answers")
        self.told, self.requests = told, requests


def side_by_side(calls: Sequence[Callable[[Ask], Result]], train: Ask) -> list[Result]:
    """Returns the result of each call, with its requests trained beside the others'.

    Args:
      calls: deterministic functions of what `ask` answers; each is called again every
        time that what it asked for is there.
      train: answers the requests of all calls that are waiting, in order; or returns
        None, if calls themselves find what has been trained and do not ask for it
        again.
    """
    told: list[list[list[Any]]] = [[] for _ in calls]
    results: dict[int, Result] = {}
    while len(results) < len(calls):
        waiting: dict[int, Sequence[Any]] = {}
        for i, call in enumerate(calls):
            if i not in results:
                try:
                    results[i] = call(partial(_answer, told[i], iter(told[i])))
                except _WaitsError as waits:
                    if waits.told is not told[i]:  # it is inside another
                        raise
                    waiting[i] = waits.requests
        if waiting:
            answers = train([x for asked in waiting.values() for x in asked])
            left = iter(answers or ())
            for i, asked in waiting.items():
                if answers:
                    told[i].append(list(islice(left, len(asked))))
    return [results[i] for i in range(len(calls))]


def _answer(told: list[list[Any]], left: Any, requests: Sequence[Any]) -> list[Any]:
    """Repeats what a call was told when it asked before.

    Raises:
      _WaitsError: it has not asked for this before.
    """
    for answers in left:
        return answers
    raise _WaitsError(told, requests)
