"""A Ray cluster of two machines, which are two raylets here."""

import os
import time
from concurrent.futures import BrokenExecutor, CancelledError, wait

import pytest

from saam.executors import RayExecutor

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    # Ray leaves it to the garbage collector to close its pipes and sockets and to wait for its processes.
    pytest.mark.filterwarnings("ignore:unclosed (file|.*socket):ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess [0-9]+ is still running:ResourceWarning"),
]


class OwnError(Exception):
    """An error of the work's own."""


def fail():
    raise OwnError("mine")


def die():
    os._exit(1)


def add(a, *, b):
    return a + b, os.getpid()


@pytest.fixture
def cluster():
    """A head without processors, on which nothing runs."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def test_a_worker_or_a_machine_that_dies_breaks_its_own_work_alone(cluster):
    _, second = (cluster.add_node(num_cpus=1) for _ in range(2))
    with RayExecutor(cluster.address) as executor:
        assert executor.workers == 2
        total, pid = executor.submit(add, 1, b=2).result()
        assert (total, pid != os.getpid()) == (3, True)
        with pytest.raises(OwnError, match=r"^mine$") as caught:
            executor.submit(fail).result()
        assert type(caught.value) is OwnError
        with pytest.raises(BrokenExecutor, match="WorkerCrashedError"):
            executor.submit(die).result()
        sleeping = [executor.submit(time.sleep, 600) for _ in range(3)]
        sleeping[2].cancel()
        with pytest.raises(CancelledError):
            sleeping[2].result()
        time.sleep(2)
        cluster.remove_node(second)
        (lost,), _ = wait(sleeping[:2], timeout=60, return_when="FIRST_COMPLETED")
        with pytest.raises(BrokenExecutor, match=r"NodeDiedError|WorkerCrashedError"):
            lost.result()
        assert executor.workers == 1
        for future in sleeping:
            future.cancel()
        assert executor.submit(add, 1, b=3).result()[0] == 4  # to cancel makes room


def test_wrong_settings_say_so():
    with pytest.raises(ValueError, match="expected threads of 1 or more and gpus of 0 or more, got threads=0"):
        RayExecutor(threads=0)
