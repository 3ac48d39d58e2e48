"""The results of training and evaluation as plain numbers for JSON. Accuracy in percent, loss in nats."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["EpochRecord", "ImageScores", "Result", "Scores"]


@dataclass(frozen=True)
class Scores:
    """Scores of a model on labelled images.

    Args:
        accuracy: Share of images whose label has the highest logit, in percent.
        loss: Mean negative log-likelihood of the label, in nats.
        count: Images scored.
    """

    accuracy: float
    loss: float
    count: int


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Scores of a model on each of N labelled images.

    Args:
        losses: (N,) negative log-likelihood of the label, in nats.
        correct: (N,) whether the label has the highest logit.
    """

    losses: Tensor
    correct: Tensor

    def mean(self) -> Scores:
        """Return the scores over all images."""
        count = len(self.losses)
        return Scores(
            accuracy=100 * self.correct.sum().item() / count,
            loss=self.losses.double().sum().item() / count,
            count=count,
        )


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of a training run.

    Args:
        epoch: Number of the epoch, from 1.
        learning_rate: Learning rate of the epoch's last step.
        train_loss: Mean of the minimised loss (with label smoothing) over the epoch's images, in nats.
        train_accuracy: Accuracy on the epoch's augmented images while the weights changed, in percent.
        validation_loss: Validation loss after the epoch, in nats.
        validation_accuracy: Validation accuracy after the epoch, in percent.
        seconds: Wall time of training and validation.
        observed: Plain values returned by the ``observe`` function of `train` after the epoch.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    observed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """Result of `train`; the trained weights are in the model.

    Args:
        curve: One record per epoch.
    """

    curve: tuple[EpochRecord, ...]

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, including those of earlier calls that were resumed."""
        return sum(record.seconds for record in self.curve)
