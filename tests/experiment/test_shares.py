"""Shares of the lanes of a run, trained apart and merged, for every kind of system."""

import shutil

import pytest

from ifusion.experiment import runs
from ifusion.experiment.jobs import train_here
from ifusion.experiment.options import with_sweep
from ifusion.experiment.runs import Plan
from ifusion.experiment.shares import count_shares, find_shares, parse_share
from ifusion.experiment.store import locked
from ifusion.experiment.trainer import Share

# of one stage, of two, of lanes that another system trained, and of none
SYSTEMS = ("svm", "ddat_re", "implicit_fusion", "late_fusion")


@pytest.fixture(scope="module")
def plan(small, options):
    return Plan(small, options, SYSTEMS)


@pytest.fixture(scope="module")
def whole(plan, mesh, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    runs.train(run, plan, mesh)
    return run


@pytest.fixture(scope="module")
def shares(plan, mesh, tmp_path_factory):
    """Two shares, each trained in a directory of its own."""
    roots = [tmp_path_factory.mktemp("share") / "run" for _ in range(2)]
    for number, root in enumerate(roots, 1):
        runs.train_shares(root, plan, [Share(number, 2)], mesh)
    return roots


def test_shares_make_the_run_of_one(
    whole, shares, plan, mesh, tmp_path, assert_same_runs
):
    runs.merge(tmp_path / "run", shares, plan.corpus, mesh)
    assert_same_runs(tmp_path / "run", whole)


def test_a_share_that_is_cut_short_is_continued(
    shares, plan, mesh, whole, tmp_path, assert_same_runs
):
    """As if killed between two systems: what is trained is found, the rest trained."""
    roots = [shutil.copytree(root, tmp_path / str(i)) for i, root in enumerate(shares)]
    folder = roots[1] / "shares" / "2-of-2"
    (folder / "finished").unlink()
    shutil.rmtree(folder / "stages" / "fixed" / "ddat_re" / "second")
    with pytest.raises(ValueError, match="unfinished shares"):
        runs.merge(tmp_path / "run", roots, plan.corpus, mesh)
    runs.train_shares(roots[1], plan, [Share(2, 2)], mesh, resume=True)
    runs.merge(tmp_path / "run", roots, plan.corpus, mesh)
    assert_same_runs(tmp_path / "run", whole)


def test_shares_cut_lanes_into_even_parts():
    parts = [list(Share(i, 4).cut(10)) for i in (1, 2, 3, 4)]
    assert [i for part in parts for i in part] == list(range(10))
    assert {len(part) for part in parts} == {2, 3}


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_no_such_share(text):
    with pytest.raises(ValueError, match="expected i/n"):
        parse_share(text)


def test_missing_shares_are_named(shares, tmp_path):
    with pytest.raises(ValueError, match="--lanes=2/2"):
        find_shares(shares[:1])
    with pytest.raises(ValueError, match="no shares"):
        find_shares([tmp_path])
    copy = shutil.copytree(shares[0], tmp_path / "twice")
    with pytest.raises(ValueError, match="the same share"):
        find_shares([shares[0], copy])


def test_shares_of_another_number_are_refused(shares, plan, mesh):
    with pytest.raises(ValueError, match="split into 2 shares"):
        runs.train_shares(shares[0], plan, [Share(1, 3)], mesh)
    assert count_shares(shares[0]) == 2


def test_more_shares_than_lanes_are_refused(plan, mesh, tmp_path):
    with pytest.raises(ValueError, match="only 8 lanes"):
        runs.train_shares(tmp_path / "run", plan, [Share(1, 9)], mesh)


def test_a_share_that_is_at_work_is_not_merged(shares, plan, mesh, tmp_path):
    with (
        locked(shares[0] / "shares" / "1-of-2"),
        pytest.raises(ValueError, match="another process holds the lock"),
    ):
        runs.merge(tmp_path / "run", shares, plan.corpus, mesh)


def test_a_merged_run_is_a_run_like_any_other(shares, plan, mesh, tmp_path):
    """Systems are added to it where it was split, as to any other."""
    run = shutil.copytree(shares[0], tmp_path / "run")
    runs.merge(run, shares, plan.corpus, mesh)
    more = plan._replace(systems=(*SYSTEMS, "constant"))
    assert train_here(run, more, mesh, resume=True)
    assert (run / "folds" / "fixed" / "fits" / "constant").exists()


@pytest.mark.slow
def test_a_share_of_other_options_leaves_nothing(shares, plan, mesh, tmp_path):
    run = shutil.copytree(shares[0], tmp_path / "run")
    other = plan._replace(options=with_sweep(plan.options, seeds=(5, 6)))
    with pytest.raises(ValueError, match="shares of different runs"):
        runs.train_shares(run, other, [Share(2, 2)], mesh)
    runs.train_shares(run, plan, [Share(2, 2)], mesh, resume=True)
