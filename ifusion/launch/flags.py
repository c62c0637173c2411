"""Flags that programs define: paths, --config, and those of a program that trains."""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from ifusion.paths import expand_path


class _PathParser(flags.ArgumentParser):
    """Reads flags that are paths."""

    syntactic_help = "a path; ~ is the home folder"

    def parse(self, argument: str) -> Path:
        """Reads a path."""
        if not argument:
            raise ValueError("expected a path")
        return expand_path(argument)


def define_path(name: str, about: str, required: bool = False) -> flags.FlagHolder[Any]:
    """Defines a flag that is a path, relative to the working directory."""
    return flags.DEFINE(_PathParser(), name, None, about, required=required)


def define_config(required: bool = True) -> flags.FlagHolder[ConfigDict]:
    """Defines --config, a file of configs/, and --config.section.entry=value."""
    holder: flags.FlagHolder[ConfigDict] = config_flags.DEFINE_config_file(
        "config", None, "Experiment, for example configs/ravdess.py."
    )
    if required:
        flags.mark_flag_as_required("config")
    return holder


def define_plan() -> None:
    """Defines the flags of `read_plan`, and where the result goes."""
    define_path("workdir", "Run directory to make, such as runs/mine.", required=True)
    flags.DEFINE_list("systems", None, "Systems to train; see docs/systems.md.")
    flags.DEFINE_bool(
        "folds", False, "Cross-validate over the corpus's folds, not its own split."
    )
    flags.DEFINE_bool("resume", False, "Continue the run in --workdir, or start it.")
    define_path("adapt", "Folder of recordings to train on, too, without labels.")
    define_path("tensorboard", "Folder to write losses and dev scores to.")
    flags.DEFINE_bool("strict", False, "Refuse a corpus with a note or warning.")


def define_run() -> None:
    """Defines the flags of a program that trains a run, alone or with others."""
    define_plan()
    flags.DEFINE_string(
        "lanes", None, "Train only share i of n, as in 2/4; merge.py joins the shares."
    )
    flags.DEFINE_bool(
        "distributed",
        False,
        "Share the lanes among the processes of this job, under SLURM, Open MPI or "
        "Kubernetes.",
    )
    flags.DEFINE_string(
        "coordinator", None, "HOST:PORT of process 0 of a job that you start by hand."
    )
    flags.DEFINE_integer("processes", None, "Processes of that job.", lower_bound=1)
    flags.DEFINE_integer(
        "process", None, "Number of this process, from 0.", lower_bound=0
    )
    flags.DEFINE_integer(
        "heartbeat",
        100,
        "[s] after which a silent process counts as dead.",
        lower_bound=1,
    )
