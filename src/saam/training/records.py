"""The results of training and evaluation as plain numbers for JSON. Accuracy in percent, loss in nats."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from saam.training.calibration import calibration_error

__all__ = ["EpochRecord", "ImageScores", "Result", "Scores"]


@dataclass(frozen=True)
class Scores:
    """Scores of a model on labelled images.

    Args:
        accuracy: Share of images whose label has the highest logit, in percent.
        loss: Mean negative log-likelihood of the label, in nats.
        count: Images scored.
        top5: Share of images whose label is among the five highest logits, in percent.
        calibration: Expected calibration error, in percent; see `saam.training.calibration`.
    """

    accuracy: float
    loss: float
    count: int
    top5: float
    calibration: float


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Scores of a model on each of N labelled images.

    Args:
        losses: (N,) negative log-likelihood of the label, in nats.
        labels: (N,) the labels.
        predicted: (N,) the class with the highest logit.
        confidence: (N,) its probability, in 0..1.
        rank: (N,) number of classes with a higher logit than the label.
    """

    losses: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    rank: Tensor

    @property
    def correct(self) -> Tensor:
        """(N,) whether the label has the highest logit."""
        return self.predicted == self.labels

    def mean(self) -> Scores:
        """Return the scores over all images."""
        count = len(self.losses)
        return Scores(
            accuracy=100 * self.correct.sum().item() / count,
            loss=self.losses.double().sum().item() / count,
            count=count,
            top5=100 * (self.rank < 5).sum().item() / count,
            calibration=calibration_error(self.confidence, self.correct),
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
