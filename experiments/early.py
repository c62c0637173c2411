"""Imported before all else: finds the package, and prepares signals and streams."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # ifusion, configs

from ifusion.launch.startup import prepare_process

prepare_process()
