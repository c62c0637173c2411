"""Losses and dev scores of all lanes for TensorBoard, while they train.

pip install -e ".[tensorboard]"
python experiments/sweep.py ... --tensorboard=runs/mine/tensorboard
tensorboard --logdir=runs/mine/tensorboard
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ifusion.training.loop import Progress


class LaneWriter:
    """Writes one TensorBoard run a lane: the epochs of a stage."""

    def __init__(
        self, folder: Path, names: Sequence[str], update: Callable[[Progress], None]
    ) -> None:
        """Prepares to write.

        Args:
          folder: of the stage.
          names: of the lanes, which become folders.
          update: told of every epoch as well.

        Raises:
          ValueError: tensorboardX is not installed.
        """
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError:
            raise ValueError(
                '--tensorboard needs tensorboardX: pip install -e ".[tensorboard]"'
            ) from None
        self._writers = [SummaryWriter(str(folder / name)) for name in names]
        self._update = update

    def __enter__(self) -> Callable[[Progress], None]:
        """Returns what is to be told of each epoch."""
        return self.update

    def update(self, progress: Progress) -> None:
        """Writes an epoch: losses and the dev score of the lanes trained in it."""
        for name, values in progress.metrics.items():
            tag = name if name == "dev_score" else f"loss/{name}"
            for writer, value in zip(self._writers, values.tolist(), strict=True):
                if np.isfinite(value):
                    writer.add_scalar(tag, value, progress.epoch)
        self._update(progress)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the files."""
        for writer in self._writers:
            writer.close()
