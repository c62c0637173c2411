"""Lets tests import the modules of the shell, as its programs do."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "experiments")]
