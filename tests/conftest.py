"""What all tests share: one thread each, since they run side by side, and draws that each test owns."""

import os
import subprocess
import sys

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_draws():
    """Let each test draw from the same start, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def torchrun():
    """A function that runs a script, or a module after "-m", in two processes on the CPU, and returns their output."""

    def run(*words, timeout=120):
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *map(str, words)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
