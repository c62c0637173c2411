r"""Trains every system of the paper's tables by one protocol, and compares them.

    python experiments/tables.py --config=configs/ravdess.py --workdir=runs/tables \
        --folds --systems=svm,baseline,implicit_fusion --test

The same as `sweep.py`, with every system by default. --resume continues the run and
adds the systems in --systems. --test also opens the test partition, which is logged.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.flags import define_config, define_run
from ifusion.launch.program import run
from ifusion.launch.train import train_run

CONFIG = define_config()
define_run()
TEST = flags.DEFINE_bool("test", False, "Also open the test partition.")


def main() -> None:
    """Trains the systems and writes the report."""
    from ifusion.systems.catalogue import SYSTEMS

    train_run(CONFIG.value, [system.key for system in SYSTEMS], TEST.value)


if __name__ == "__main__":
    run(main, "stopped; pass --resume to continue")
