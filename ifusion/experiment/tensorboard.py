"""Writes losses and dev scores of all lanes to TensorBoard while they train.

`pip install -e ".[tensorboard]"` installs what --tensorboard=FOLDER needs;
`tensorboard --logdir=FOLDER` shows it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ifusion.corpora.names import file_names
from ifusion.experiment.stages import describe_lane
from ifusion.systems.neural import NeuralLane
from ifusion.training.loop import Progress


@contextmanager
def open_writers(
    folder: Path,
    lanes: Sequence[NeuralLane],
    here: slice,
    update: Callable[[Progress], None],
) -> Iterator[Callable[[Progress], None]]:
    """Opens one TensorBoard run per lane of a stage.

    `here` is where the lanes are among all that train.

    Yields:
      What writes the losses and dev scores of an epoch, and calls `update`.

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
    writers = [SummaryWriter(str(folder / files[name])) for name in names]
    # an auxiliary modality of weight 0 is absent, and its loss means nothing
    absent = [{m for m, w in lane.weights.items() if not w} for lane in lanes]

    def write(progress: Progress) -> None:
        for name, values in progress.metrics.items():
            tag = name if name == "dev_score" else f"loss/{name}"
            rows = zip(writers, absent, values[here].tolist(), strict=True)
            for writer, missing, value in rows:
                if np.isfinite(value) and name not in missing:
                    writer.add_scalar(tag, value, progress.epoch)
        update(progress)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()
