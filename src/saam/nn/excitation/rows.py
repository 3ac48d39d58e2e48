"""The excitation of GSoP: a separate convolution for every row of a matrix of statistics."""

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.nn.excitation._parts import batch_norm, require_statistics, zero_

__all__ = ["RowTransform"]


class RowTransform(nn.Module):
    """Normalize the rows of the statistics, take ``expansion`` weighted sums of each row, and map them all to C (GSoP).

        rows   = batch norm of the statistics, each row a feature
        sums   = a grouped convolution that sees one whole row at a time
        logits = fc(sums)

    A row has the statistics of one channel: for a covariance its d covariances with all channels, otherwise its K
    statistics. With K = 1 the norm is over the batch only, which must then be 2 or more in training mode.

    Args:
        channels: C, the number of logits.
        rows: Number of rows; a covariance matrix may have fewer than C.
        statistics: K, the length of a row.
        expansion: Weighted sums per row.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(
        self,
        channels: int,
        rows: int,
        *,
        statistics: int = 1,
        expansion: int = 4,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.statistics = statistics
        sums = expansion * rows
        self.norm = nn.BatchNorm1d(rows, device=device, dtype=dtype)
        self.conv = nn.Conv1d(rows, sums, statistics, groups=rows, device=device, dtype=dtype)
        self.fc = nn.Linear(sums, channels, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        statistics = require_statistics(statistics, self.norm.num_features, self.statistics)
        return self.fc(self.conv(batch_norm(self.norm, statistics.mT)).flatten(1))

    def zero_last_(self) -> None:
        """Make all logits zero."""
        zero_(self.fc)
