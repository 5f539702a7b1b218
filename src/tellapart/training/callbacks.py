"""What is told of each epoch: the history file, TensorBoard, the line on the screen.

A callback can stop the training by a word, and an error in one ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tellapart.errors import TrainingError
from tellapart.files import write_csv
from tellapart.progress import Progress
from tellapart.wording import percent

#: Columns of the history. ``loss`` and ``validation_loss`` hold the L2 penalty, as in Keras;
#: the ``data_`` columns are without it. ``learning_rate`` is that of the epoch's last step.
COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "data_loss",
    "validation_data_loss",
    "learning_rate",
    "seconds",
)

Row = Mapping[str, float]


class Callback:
    """Something that wants to know of each epoch; a subclass says what it does with it."""

    def end_epoch(self, history: Sequence[Row]) -> str | None:
        """Called after each epoch with all rows so far, the newest last.

        Returns:
            Why the training should stop now, in a few words; nothing: go on.
        """

    def close(self) -> None:
        """Called once, when training ends, however it ends."""


class HistoryFile(Callback):
    """Keeps the CSV file of a run in step with its history: all stages, a row an epoch."""

    def __init__(self, path: Path, stage: int = 1, earlier: Sequence[Row] = ()) -> None:
        """``earlier``: rows of the stages before this one, as they stand in the file."""
        self._path, self._stage, self._earlier = path, stage, earlier

    def end_epoch(self, history: Sequence[Row]) -> None:
        """Replace the file by one with all rows."""
        rows = [*self._earlier, *({"stage": self._stage, **row} for row in history)]
        header = ("stage", *COLUMNS)
        write_csv(self._path, header, ([_text(row[name]) for name in header] for row in rows))


def _text(value: float) -> str:
    """Whole numbers without a point, others with all their digits."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)


class TensorBoardLog(Callback):
    """Writes the columns as scalars for TensorBoard, by epoch.

    Raises:
        TrainingError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise TrainingError(
                "TensorBoard logs need the package tensorboard; install it with "
                "pip install 'tellapart[logs]', or leave the logs out."
            ) from None
        self._writer: Any = SummaryWriter(str(folder))

    def end_epoch(self, history: Sequence[Row]) -> None:
        """Add the newest row."""
        row = history[-1]
        for name in COLUMNS[1:]:
            self._writer.add_scalar(name, row[name], int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


class EpochLines(Callback):
    """Prints one line an epoch."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def end_epoch(self, history: Sequence[Row]) -> None:
        """Print the newest row."""
        row = history[-1]
        self._progress.note(
            f"epoch {row['epoch']:.0f}: {summary(row['loss'], row['accuracy'])}, validation "
            f"{summary(row['validation_loss'], row['validation_accuracy'])}, "
            f"learning rate {row['learning_rate']:.3g}, {row['seconds']:.1f} s"
        )


def summary(loss: float, accuracy: float) -> str:
    """For example ``loss 0.6931, accuracy 50.0 %``."""
    return f"loss {loss:.4f}, accuracy {percent(accuracy)}"
