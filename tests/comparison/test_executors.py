"""Other executors than processes of this machine give the same records."""

import dataclasses
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest

import saam
import user_code
from saam.comparison import compare
from saam.comparison.leases import Leases
from saam.executors import RayExecutor
from saam.training import Recipe

LOSS = saam.Metric("loss", "lower", spread=0.1, delta=0.05)


def timeless(comparison):
    """The records without what a clock, a machine or its load decides."""
    return [
        dataclasses.replace(
            record,
            seconds=0.0,
            finished="",
            environment={},
            curve=tuple({**epoch, "seconds": 0.0} for epoch in record.curve),
        )
        for record in comparison.records
    ]


class Counting(Executor):
    """One worker that counts how many jobs it has been given and not done."""

    def __init__(self, threads):
        self.threads, self.given = threads, []
        self.most = 0

    def submit(self, work, /, *args, **options):
        self.given.append(self.threads.submit(work, *args, **options))
        self.most = max(self.most, sum(not future.done() for future in self.given))
        return self.given[-1]


@pytest.mark.parametrize(("own", "workers", "most"), [(2, None, 2), (2, 3, 3), (None, None, 6), (None, 1, 1)])
def test_leases_are_taken_for_what_can_run(tmp_path, monkeypatch, own, workers, most):
    """Other drivers of the folder do the rest."""
    threads = ThreadPoolExecutor(1)
    executor = Counting(threads)
    threads.submit(time.sleep, 0.5)  # nothing is done before all that may be given is given
    if own:
        executor.workers = own
    held, take = [], Leases.take

    def counted(self, job):
        taken = take(self, job)
        held.append(len(self._held))
        return taken

    monkeypatch.setattr(Leases, "take", counted)
    settings = {"arms": ("none", "se"), "seeds": 3, "metrics": [LOSS], "out": tmp_path}
    saam.compare(user_code.task, **settings, executor=executor, workers=workers)
    threads.shutdown()
    assert executor.most == max(held) == most


def test_a_worker_that_lacks_code_stops_the_comparison(tmp_path):
    class Lacking(Executor):
        def submit(self, work, /, *args, **options):
            future = Future()
            future.set_exception(ModuleNotFoundError("No module named 'mine'"))
            return future

    message = "^a worker lacks code that this process has: No module named 'mine'$"
    with pytest.raises(RuntimeError, match=message):
        saam.compare(user_code.task, arms=("se",), seeds=1, metrics=[LOSS], out=tmp_path, executor=Lacking())
    assert not (tmp_path / "failures").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed (file|.*socket):ResourceWarning")  # ray leaves them to the collector
@pytest.mark.filterwarnings("ignore:subprocess [0-9]+ is still running:ResourceWarning")
def test_a_comparison_outlives_one_of_two_machines_of_a_ray_cluster(make_plan, tmp_path):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    plan = make_plan(arms=("none", "saam"), recipe=Recipe(epochs=15, batch_size=40))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        _, doomed = (cluster.add_node(num_cpus=1) for _ in range(2))
        killer = threading.Thread(target=lambda: cluster.remove_node(doomed, allow_graceful=False))

        def told(comparison):
            if len(comparison.progress) == 2 and not killer.ident:  # both machines are at work
                killer.start()

        with RayExecutor(cluster.address) as executor:
            there = compare(plan, tmp_path / "ray", executor=executor, costs=False, on_progress=told)
        killer.join()  # it was started
    finally:
        cluster.shutdown()
    assert there.failures == ()
    here = compare(plan, tmp_path / "processes", workers=2, costs=False)
    assert len(here.records) == 4
    assert timeless(there) == timeless(here)


@pytest.mark.slow
def test_dask_does_what_processes_do(tmp_path):
    distributed = pytest.importorskip("distributed")
    settings = {"arms": ("none", user_code.Mine), "seeds": 2, "metrics": [LOSS]}
    with (
        distributed.LocalCluster(processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        there = saam.compare(
            user_code.task, **settings, out=tmp_path / "dask", executor=client.get_executor(), workers=2
        )
    assert there.failures == ()
    here = saam.compare(user_code.task, **settings, out=tmp_path / "processes", workers=2)
    assert len(here.records) == 4
    assert timeless(there) == timeless(here)
