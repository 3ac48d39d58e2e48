"""Real worker processes; each takes seconds to start, so each test puts all its questions to the same ones."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

import pytest
import torch
from saam.comparison.pool import processes, results

from saam.comparison import compare, load_comparison
from saam.training import Recipe


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid, seconds=20.0):
    """Whether a process leaves in time."""
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def timeless(comparison):
    """The records without what a clock or a machine's load decides."""
    return [
        dataclasses.replace(
            record, seconds=0.0, finished="", curve=tuple({**epoch, "seconds": 0.0} for epoch in record.curve)
        )
        for record in comparison.records
    ]


def test_workers_have_their_threads_name_what_fails_and_leave_when_the_work_is_over(make_plan):
    with processes(1, 3) as pool:
        pid = pool.submit(os.getpid).result()
        assert pid != os.getpid()
        assert pool.submit(torch.get_num_threads).result() == 3
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN

        diverging = make_plan(recipe=Recipe(epochs=1, batch_size=40, learning_rate=1e30))
        with pytest.raises(
            RuntimeError, match="the run of arm 'se' with seed 5 failed: FloatingPointError: the training"
        ):
            list(results(pool, diverging, [("se", 5)], device=None, workers=1))
        assert pool.submit(os.getpid).result() == pid  # the worker is none the worse for it
    assert gone(pid)


def test_a_worker_that_dies_is_an_error_that_names_what_it_ran(make_plan):
    runs = [("se", 0), ("none", 0), ("se", 1)]
    with processes(1, 1) as pool:
        pid = pool.submit(os.getpid).result()
        with ThreadPoolExecutor(1) as killer:
            killer.submit(lambda: (time.sleep(0.5), os.kill(pid, signal.SIGKILL)))
            plan = make_plan(recipe=Recipe(epochs=1000, batch_size=40))
            with pytest.raises(
                RuntimeError, match=r"a worker process died in the run of arm 'se' with seed 0; .*memory"
            ):
                list(results(pool, plan, runs, device=None, workers=1))


def test_a_dead_worker_does_not_hold_up_the_end():
    def killed():
        with processes(1, 1) as pool:
            pool.submit(os._exit, 1).result()

    with pytest.raises(BrokenExecutor):
        killed()


def test_an_error_in_the_parent_stops_work_at_once():
    pids = []

    def interrupted():
        with processes(1, 1) as pool:
            pids.append(pool.submit(os.getpid).result())
            pool.submit(time.sleep, 600)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not alive(pids[0])


def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time\n"
        "from saam.comparison.pool import processes\n"
        "if __name__ == '__main__':\n"
        "    with processes(1, 1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 600).result()\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


@pytest.mark.slow
def test_a_comparison_in_processes_gives_the_records_of_one_run_after_the_other(make_plan, tmp_path):
    """Two workers, killed after the first run and resumed, against a single thread of this process."""
    plan = make_plan(arms=("none", "saam"))

    def kill(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(plan, tmp_path / "two", workers=2, costs=False, on_record=kill)
    assert len(load_comparison(tmp_path / "two").records) == 1
    two = compare(plan, tmp_path / "two", workers=2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(1) as executor:
            one = compare(plan, tmp_path / "one", executor=executor, costs=False)
    finally:
        torch.set_num_threads(threads)
    assert timeless(two) == timeless(one)
    assert [record.arm for record in two.records] == ["none", "saam", "none", "saam"]
    assert len({record.test["loss"] for record in two.records}) == 4
    plain, saam = two.costs
    assert (plain.arm, saam.arm, plain.batch_size, plain.image_size) == ("none", "saam", 40, (32, 32))
    assert saam.extra_parameters == two.records[1].parameters - two.records[0].parameters > 0
    assert saam.train_step_ms > 0
