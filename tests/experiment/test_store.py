import json

import pytest

from ifusion.experiment.store import (
    fold_folder,
    locked,
    log_opening,
    read_config,
    read_openings,
    read_systems,
    refuse_existing,
)

FOREIGN = json.dumps(
    [
        {"key": "../x", "title": "", "source": "", "control": "", "impossible": ""}
        | {"explicit": False, "seeded": True}
    ]
)


def test_one_process_at_a_time(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(ValueError, match="another process holds the lock"),
        locked(tmp_path / "run"),
    ):
        pass


def test_what_a_dead_process_left_is_removed(tmp_path):
    left = tmp_path / "folds" / ".scores.csv.1.part"
    left.parent.mkdir()
    left.write_text("half")
    with locked(tmp_path):
        assert not left.exists()


def test_openings_are_counted(tmp_path):
    assert [log_opening(tmp_path, "test") for _ in range(3)] == [0, 1, 2]
    assert log_opening(tmp_path, "dev") == 0
    opened = [row["partition"] for row in read_openings(tmp_path)]
    assert opened == ["test", "test", "test", "dev"]


@pytest.mark.parametrize(
    ("name", "text", "words", "read"),
    [
        ("config.json", '{"format": 3}', "a run of format 3; expected 5", read_config),
        ("config.json", '{"format": 5, "corpus": {}}', "folds is missing", read_config),
        ("config.json", "[" * 100_000, "not valid JSON", read_config),
        ("systems.json", '[{"key": 1}]', "entry 1", read_systems),
        ("systems.json", FOREIGN, "'../x' is not the key of a system", read_systems),
        ("evaluations.jsonl", '{"partition"}', "row 1: not JSON", read_openings),
        ("evaluations.jsonl", "{}", "partition is missing", read_openings),
    ],
)
def test_damaged_files_are_named(tmp_path, name, text, words, read):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path)
    assert name in str(caught.value)


def test_no_fold_lies_outside_the_run(tmp_path):
    assert fold_folder(tmp_path, "1") == tmp_path / "folds" / "1"
    for name in ("../../out", "..", "/etc", ""):
        assert fold_folder(tmp_path, name).parent == tmp_path / "folds"


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"nowhere: no run to read \(config.json is missing"
    ):
        read_config(tmp_path / "nowhere")


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(ValueError, match="is not a directory"):
        refuse_existing(tmp_path / "run", resume=False)


def test_an_empty_folder_such_as_a_link_to_another_disk_is_no_hindrance(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "run" / "stages").symlink_to(tmp_path / "disk")
    refuse_existing(tmp_path / "run", resume=False)
    (tmp_path / "disk" / "note.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty, and holds no run"):
        refuse_existing(tmp_path / "run", resume=False)


def test_a_start_that_was_killed_is_no_run(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.1.part").write_text("{")
    refuse_existing(tmp_path, resume=False)
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(ValueError, match="pass --resume"):
        refuse_existing(tmp_path, resume=False)
