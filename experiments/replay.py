"""Trains one lane of a run again, and compares it bit for bit with the stored one.

    python experiments/replay.py --run=runs/ravdess --lane=main=audio,alpha=0.3,seed=2

Add target=... and fold=... if there are several.
"""

import early  # noqa: F401

from absl import flags

from ifusion.launch.devices import use_devices
from ifusion.launch.flags import define_path
from ifusion.launch.program import run
from ifusion.terminal import print_result

RUN = define_path("run", "Run directory.", required=True)
LANE = flags.DEFINE_string("lane", None, "Which lane.", required=True)


def main() -> None:
    """Trains the lane."""
    from ifusion.api import corpus_of
    from ifusion.experiment.replay import replay_lane

    place, mesh = RUN.value, use_devices()
    print_result(replay_lane(place, LANE.value, corpus_of(place), mesh))


if __name__ == "__main__":
    run(main)
