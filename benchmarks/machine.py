"""What a benchmark ran on."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def list_cores() -> list[int]:
    """Lists the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def describe(packages: Sequence[str]) -> str:
    """Says date, processor, vectors, cores, load before it and versions in one line."""
    name, vectors = platform.processor() or platform.machine(), "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if "model name" in x), name)
        flags = next((x.split() for x in lines if x.startswith("flags")), [])
        wide = [x for x in ("avx512f", "avx2") if x in flags]
        vectors = wide[0] if wide else vectors
    versions = ", ".join(f"{p} {version(p)}" for p in packages)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    python = platform.python_version()
    machine = f"{name}, {len(list_cores())} cores, vectors {vectors}, load {load:.1f}"
    return f"{date}; {machine}; Python {python}, {versions}"
