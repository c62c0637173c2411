import pytest
from results import ALL, make_result


@pytest.fixture(scope="session")
def many():
    """A classification with every system, in two folds."""
    return make_result(systems=ALL, folds=("0", "1"))


@pytest.fixture(scope="session")
def regression():
    """A regression over time with every system."""
    return make_result("regression", systems=ALL)
