"""Writes losses and dev scores of all lanes to TensorBoard while they train.

`pip install -e ".[tensorboard]"` installs what --tensorboard=FOLDER needs;
`tensorboard --logdir=FOLDER` shows it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ifusion.corpora.names import file_names
from ifusion.experiment.stages import describe_lane
from ifusion.systems.neural import NeuralLane
from ifusion.training.loop import Progress


class LaneWriter:
    """Writes the epochs of a stage, one TensorBoard run per lane."""

    def __init__(
        self,
        folder: Path,
        lanes: Sequence[NeuralLane],
        here: slice,
        update: Callable[[Progress], None],
    ) -> None:
        """Prepares one folder per lane; calls `update` after every epoch, too.

        `here` is where the lanes are among all that train.

        Raises:
          ValueError: if tensorboardX is not installed.
        """
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError:
            raise ValueError(
                '--tensorboard needs tensorboardX: pip install -e ".[tensorboard]"'
            ) from None
        names = [describe_lane(lane) for lane in lanes]
        files = file_names(names)
        self._writers = [SummaryWriter(str(folder / files[name])) for name in names]
        # an auxiliary modality of weight 0 is absent, and its loss means nothing
        self._absent = [{m for m, w in x.weights.items() if not w} for x in lanes]
        self._here, self._update = here, update

    def __enter__(self) -> Callable[[Progress], None]:
        """Returns the callback for each epoch."""
        return self.update

    def update(self, progress: Progress) -> None:
        """Writes losses and dev scores of an epoch."""
        for name, values in progress.metrics.items():
            tag = name if name == "dev_score" else f"loss/{name}"
            own = values[self._here].tolist()
            rows = zip(self._writers, self._absent, own, strict=True)
            for writer, absent, value in rows:
                if np.isfinite(value) and name not in absent:
                    writer.add_scalar(tag, value, progress.epoch)
        self._update(progress)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Closes the files."""
        for writer in self._writers:
            writer.close()
