"""Starts programs as users do."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--config=configs/synthetic.py",
    "--config.corpus.recordings=(40,20,20)",
    "--config.corpus.speakers=8",
    "--config.model.hidden_size=8",
    "--config.sweep.alphas=(0.0,0.5)",
)


def python(*arguments, timeout=300, shell="", **environment):
    """Runs Python in the folder of the package to its end.

    `shell` follows the command, as "| head -1" does.
    """
    command = [sys.executable, *map(str, arguments)]
    if shell:
        command = ["bash", "-o", "pipefail", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=timeout,
        check=False,
    )


def program(name, *flags, **environment):
    """Runs a program of experiments/ to its end."""
    return python(f"experiments/{name}.py", *flags, **environment)


def begin(*arguments, **environment):
    """Starts Python in the folder of the package."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def succeed(done):
    """Requires the status 0."""
    assert done.returncode == 0, done.stderr
    return done
