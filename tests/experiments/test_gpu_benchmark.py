"""The program for a machine with a GPU, where there is none."""

import json

import pytest
from starting import python

pytestmark = pytest.mark.slow


def test_it_checks_measures_and_writes(tmp_path):
    pytest.importorskip("torch")
    done = python(
        "benchmarks/gpu.py",
        "--platform=cpu",
        "--small",
        f"--out={tmp_path / 'gpu'}",
        timeout=None,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    checks = found["checks"]
    same = ("values", "gradients")
    assert all(v < 1e-5 for k, v in checks.items() if k.startswith(same)), checks
    assert checks["lanes_in_groups"] < 1e-5
    assert len(found["sweeps"]) == 16
    begun = [row for row in found["sweeps"] if "not begun" not in row.get("failed", "")]
    told = [row for row in begun if row["program"] != "torch.compile"]
    assert told and all(
        "TimeoutError" in r.get("failed", "") or r["epoch"] > 0 for r in told
    )
    assert "| recola | 6 | ifusion |" in (tmp_path / "gpu.md").read_text()
