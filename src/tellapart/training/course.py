"""What changes in the course of a training: the learning rate, and the size of the images."""

from __future__ import annotations

from dataclasses import dataclass

from tellapart.recipe import TrainingStage
from tellapart.training.resizing import training_image_size
from tellapart.training.schedules import Plateau, schedule_factor


@dataclass(frozen=True)
class Course:
    """The plan of a stage over its epochs."""

    stage: TrainingStage
    #: Epochs of the whole training, also those that were added later.
    epochs: int
    steps_per_epoch: int
    #: Of the images as they are stored, in pixels; without a meaning for features.
    full_height: int
    plateau: Plateau

    def learning_rate(self, epoch: int, number: int) -> float:
        """Of a step: epochs are counted from 1, the steps of each from 0."""
        step = (epoch - 1) * self.steps_per_epoch + number
        factor = schedule_factor(self.stage, step, self.epochs * self.steps_per_epoch)
        return self.stage.learning_rate * (factor * self.plateau.scale)

    def image_height(self, epoch: int) -> int:
        """Height of the training images of an epoch, in pixels."""
        return training_image_size(
            self.stage.progressive_resizing, epoch, self.epochs, self.full_height
        )

    def step_work(self, epoch: int) -> float:
        """How much work a step of an epoch is, 1 being one on full-size images: its pixels.

        The display counts by it, so that the time left is right while the images are small.
        """
        return (self.image_height(epoch) / self.full_height) ** 2

    def work_after(self, epoch: int) -> int:
        """Work of all epochs after this one, in steps on full-size images."""
        return sum(
            round(self.steps_per_epoch * self.step_work(later))
            for later in range(epoch + 1, self.epochs + 1)
        )
