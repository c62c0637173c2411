"""What a benchmark ran on."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def count_cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(packages: Sequence[str]) -> str:
    """Says date, processor, cores, load before it and versions in one line."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if "model name" in x), name)
    versions = ", ".join(f"{p} {version(p)}" for p in packages)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    python = platform.python_version()
    machine = f"{name}, {count_cores()} cores, load {load:.1f}"
    return f"{date}; {machine}; Python {python}, {versions}"
