"""What the programs share: flags, devices, and errors in one sentence."""

import early  # before all others

# isort: split

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # configs import configs.base

from absl import app, flags  # noqa: E402

from arguments import UsageError, define_config, define_path, parse_flags  # noqa: E402
from ifusion.experiment.hosts import not_waiting_for_hosts  # noqa: E402
from ifusion.experiment.signals import Stopped  # noqa: E402
from ifusion.terminal import print_result, say  # noqa: E402

__all__ = [  # for the programs, which load nothing before this module
    "define_config",
    "define_path",
    "define_plan",
    "flags",
    "prepare_jax",
    "print_report",
    "print_result",
    "read_plan",
    "run",
    "train_run",
    "use_devices",
]

if TYPE_CHECKING:
    from jax.sharding import Mesh
    from ml_collections import ConfigDict

    from ifusion.experiment.hosts import Host
    from ifusion.experiment.runs import Plan

DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")
CACHE = define_path(
    "compilation_cache",
    "Folder that keeps compiled programs, so that the same one starts faster.",
)
MESH = flags.DEFINE_enum(
    "mesh",
    "lanes",
    ["lanes", "single"],
    "Spread lanes over all devices of this host, which are CPU cores where there is no "
    "accelerator, or use one.",
)


def define_plan() -> None:
    """Defines the flags that `read_plan` reads, and where the result goes."""
    define_path("workdir", "Run directory to make, such as runs/mine.", required=True)
    flags.DEFINE_list("systems", None, "Systems to train; see docs/systems.md.")
    flags.DEFINE_bool(
        "folds", False, "Cross-validate over the corpus's folds, not its own split."
    )
    flags.DEFINE_bool("resume", False, "Continue the run in --workdir, or begin it.")
    define_path("tensorboard", "Folder that losses and dev scores are written to.")
    flags.DEFINE_bool("strict", False, "Refuse a corpus with any note or warning.")


def define_run() -> None:
    """Defines the flags of a program that trains a run, alone or with others."""
    define_plan()
    flags.DEFINE_string(
        "lanes", None, "Train share i of n only, as in 2/4; merge.py joins the shares."
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
    flags.DEFINE_integer("process", None, "Number of this one, from 0.", lower_bound=0)
    flags.DEFINE_integer(
        "heartbeat", 100, "[s] after which a silent process is dead.", lower_bound=1
    )


def train_run(config: "ConfigDict", systems: Sequence[str], test: bool = False) -> None:
    """Trains the run that the flags of `define_run` ask for, and reports.

    Args:
      config: of --config.
      systems: keys, where --systems names none.
      test: whether test is opened, too.
    """
    from ifusion.experiment import runs
    from ifusion.experiment.jobs import train_here
    from ifusion.experiment.shares import parse_share

    values, place = flags.FLAGS, flags.FLAGS.workdir
    prepare_jax()
    host, mesh = read_host(), use_devices()
    share = parse_share(values.lanes) if values.lanes else None
    plan = read_plan(config, systems)
    if share is not None:
        runs.train_shares(place, plan, [share], mesh, values.resume)
    elif train_here(place, plan, mesh, values.resume, host):
        if test:
            runs.open_test(place, plan.corpus, mesh=mesh)
        print_report(place)


def print_report(place: Path) -> None:
    """Writes the report of a run, prints its table, and says where the report is."""
    from ifusion.experiment.runs import read_result
    from ifusion.reporting.report import main_table, write_report

    result = read_result(place)
    path = write_report(result, place)
    print_result((place / main_table(result)).read_text("utf-8"))
    print_result(f"report: {path}")


def read_plan(config: "ConfigDict", systems: Sequence[str]) -> "Plan":
    """Opens the corpus of a config and reads its options.

    Args:
      config: of --config.
      systems: keys, where --systems names none.
    """
    from ifusion.corpora.readers import open_corpus
    from ifusion.experiment.options import options_from_dict
    from ifusion.experiment.runs import Plan
    from ifusion.systems.catalogue import find_systems

    sections = config.to_dict()
    source = sections.pop("corpus")
    values = flags.FLAGS
    chosen = tuple(values.systems or systems)
    find_systems(chosen)  # refuses unknown ones before anything is read
    options = options_from_dict(sections)
    corpus = open_corpus(source.pop("kind"), source)
    return Plan(
        corpus=corpus,
        options=options,
        systems=chosen,
        folds=values.folds,
        tensorboard=values.tensorboard,
        strict=values.strict,
    )


def read_host() -> "Host":
    """Joins the job that this process is part of, if it is part of one.

    Raises:
      ValueError: flags contradict each other, or no job is found.
    """
    from ifusion.experiment.hosts import ALONE, join_hosts

    values = flags.FLAGS
    joins = values.distributed or values.coordinator is not None
    if joins and values.lanes is not None:
        raise ValueError(
            "--lanes and --distributed (or --coordinator) exclude each other"
        )
    if not joins and (values.processes, values.process) != (None, None):
        raise ValueError("--processes and --process need --coordinator=HOST:PORT")
    if not joins:
        return ALONE
    return join_hosts(
        values.coordinator, values.processes, values.process, values.heartbeat
    )


def prepare_jax() -> None:
    """Sets what JAX must know before it looks for devices, or for other processes."""
    import jax

    if CACHE.value:
        jax.config.update("jax_compilation_cache_dir", str(CACHE.value))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if MESH.value == "lanes":  # on a CPU every core becomes a device
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        jax.config.update("jax_num_cpu_devices", cores)


def use_devices() -> "Mesh":
    """Lays out the devices for lanes, after `prepare_jax`."""
    from ifusion.experiment.study import lane_mesh

    return lane_mesh(single=MESH.value == "single")


def run(main: Callable[[], None], stopped: str = "stopped") -> None:
    """Runs a program; what a user did wrong ends it with one sentence and status 1.

    Wrong flags end it with status 2, Ctrl-C with status 130, SIGTERM with 143.

    Args:
      main: the program.
      stopped: what to say after Ctrl-C and SIGTERM, such as what is left behind.
    """

    def guarded(argv: Sequence[str]) -> None:
        if len(argv) > 1:
            _fail(f"unexpected argument {argv[1]!r}; expected only flags", 2)
        try:
            main()
        except (ValueError, OSError) as error:
            if DEBUG.value:
                traceback.print_exc()
            _fail(str(error), 1)
        except RuntimeError as error:  # jax's own error is one
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if DEBUG.value:
                traceback.print_exc()
            _fail(
                "out of device memory: set sweep.memory_gib below what the device has, "
                f"or lower training.batch_size ({_first_line(error)})",
                1,
            )
        except Stopped as error:
            _fail(error.message or stopped, 128 + error.number)
        except KeyboardInterrupt:
            _fail(stopped, 130)

    # jax logs at level INFO which accelerators are absent, and its connections
    for name in ("xla_bridge", "distributed"):
        logging.getLogger(f"jax._src.{name}").setLevel(logging.WARNING)
    early.handle(_stop)
    with not_waiting_for_hosts():
        try:
            app.run(guarded, flags_parser=parse_flags)
        except UsageError as error:
            _fail(str(error), 2)
        except Stopped as error:  # before the program has begun
            _fail("stopped", 128 + error.number)
        finally:
            early.handle(early.end)  # nothing is left to save


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Stops the program, unless it is importing, which may swallow what is raised."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            early.end(number)
        frame = frame.f_back
    raise Stopped(number)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _fail(sentence: str, status: int) -> NoReturn:
    say(f"error: {' '.join(sentence.split())}")
    sys.exit(status)
