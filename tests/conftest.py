"""What all tests share: one thread each, since they run side by side, and draws that each test owns."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_draws():
    """Let each test draw from the same start, whatever ran before it."""
    torch.manual_seed(0)
