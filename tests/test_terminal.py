"""Progress, as lines between long pauses."""

from ifusion import terminal


def test_progress_is_said_now_and_then_and_at_the_end(monkeypatch, capsys):
    clock = iter([0.0, 4.0, 12.0, 16.0, 20.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    tally = terminal.Tally(4, "files")
    for failed in (False, True, False, False):
        tally.count(failed)
    assert capsys.readouterr().err.splitlines() == [
        "2 of 4 files, 1 failed, 0.17 a second, 12 s left",
        "4 of 4 files, 1 failed, 0.2 a second, 0 s left",
    ]
