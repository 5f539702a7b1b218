"""What is told of each epoch: the history file, TensorBoard, the line on the screen.

A callback takes an epoch's row and may not fail: an error in one stops the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

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


class Callback(Protocol):
    """Something that wants to know of each epoch."""

    def end_epoch(self, history: Sequence[Row]) -> None:
        """Called with all rows so far, the newest last."""

    def close(self) -> None:
        """Called once, when training ends, however it ends."""


class HistoryFile:
    """Keeps a CSV file in step with the history."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def end_epoch(self, history: Sequence[Row]) -> None:
        """Write all rows; the file is replaced as a whole."""
        write_csv(self._path, COLUMNS, ([row.get(name, "") for name in COLUMNS] for row in history))

    def close(self) -> None:
        """Nothing is open between epochs."""


class TensorBoardLog:
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


class EpochLines:
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

    def close(self) -> None:
        """Nothing to finish."""


def summary(loss: float, accuracy: float) -> str:
    """For example ``loss 0.6931, accuracy 50.0 %``."""
    return f"loss {loss:.4f}, accuracy {percent(accuracy)}"


def build_callbacks(
    progress: Progress, history_file: Path | None, tensorboard_folder: Path | None
) -> list[Callback]:
    """The lines on the screen, and the files that were asked for."""
    callbacks: list[Callback] = [EpochLines(progress)]
    if history_file is not None:
        callbacks.append(HistoryFile(history_file))
    if tensorboard_folder is not None:
        callbacks.append(TensorBoardLog(tensorboard_folder))
    return callbacks
