"""Trains mains x alphas x seeds as lanes of one program, and reports on dev.

    python experiments/sweep.py --config=configs/ravdess.py --workdir=runs/ravdess

Any entry of the config is a flag, as in --config.training.epochs=50. `evaluate.py`
opens the test partition. --lanes=2/4 trains the second of four shares of the lanes, and
`merge.py` joins them. With --distributed or --coordinator, the processes of a job that
share a --workdir divide the lanes among themselves.
"""

import early  # noqa: F401

from ifusion.launch.flags import define_config, define_run
from ifusion.launch.program import run
from ifusion.launch.train import train_run

CONFIG = define_config()
define_run()


def main() -> None:
    """Trains implicit fusion and its baseline."""
    train_run(CONFIG.value, ("baseline", "implicit_fusion"))


if __name__ == "__main__":
    run(main, "stopped; pass --resume to continue")
