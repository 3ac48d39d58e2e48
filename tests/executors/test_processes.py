"""Real worker processes; each takes seconds to start, so each test puts all its questions to the same ones."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor

import pytest
import torch

import user_code
from saam.executors import Processes


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


def test_a_worker_is_another_process_that_ignores_ctrl_c_and_leaves_when_the_work_is_over():
    with Processes(1) as pool:
        pid = pool.submit(os.getpid).result()
        assert pid != os.getpid()
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
        with pytest.raises(TypeError, match="tuple of ints, not str"):
            pool.submit(torch.zeros, size="not an int").result()
        assert pool.submit(os.getpid).result() == pid  # it is none the worse for an error
        assert pool.submit(int, "11", base=2).result() == 3
    assert gone(pid)


def test_a_worker_that_dies_fails_its_own_work_alone_and_is_replaced():
    with Processes(2) as pool:
        long = pool.submit(time.sleep, 4)
        pid = pool.submit(os.getpid).result()
        with pytest.raises(BrokenExecutor):
            pool.submit(os._exit, 1).result()
        assert gone(pid)
        other = pool.submit(os.getpid).result()
        assert other != pid
        assert not long.done() or long.exception() is None
        assert long.result() is None
        os.kill(other, signal.SIGKILL)  # while it has nothing to do
        assert gone(other)
        results = [pool.submit(int, "1") for _ in range(4)]
        failed = [work for work in results if isinstance(work.exception(), BrokenExecutor)]
        assert len(failed) <= 1
        assert all(work.result() == 1 for work in results if work not in failed)


def test_a_worker_that_says_it_is_broken_is_replaced():
    with Processes(1) as pool:
        pid = pool.submit(os.getpid).result()
        with pytest.raises(BrokenExecutor, match="its device is broken"):
            pool.submit(user_code.broken).result()
        assert pool.submit(os.getpid).result() != pid


def test_processes_start_when_they_are_needed():
    before = threading.active_count()
    with Processes(50) as pool:
        assert pool.submit(int, "1").result() == 1
        assert threading.active_count() - before < 10
    assert threading.active_count() == before


def test_a_dead_worker_does_not_hold_up_the_end():
    def killed():
        with Processes(1) as pool:
            pool.submit(os._exit, 1).result()

    with pytest.raises(BrokenExecutor):
        killed()


def test_a_worker_that_dies_while_it_sends_fails_its_own_work():
    with Processes(1) as pool:
        for _ in range(2):
            work = pool.submit(user_code.dies_while_it_sends)
            assert isinstance(work.exception(timeout=60), BrokenExecutor)
        assert pool.submit(int, "1").result() == 1


def test_an_error_in_the_parent_stops_work_at_once():
    pids = []

    def interrupted():
        with Processes(1) as pool:
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
        "from saam.executors import Processes\n"
        "if __name__ == '__main__':\n"
        "    with Processes(1) as pool:\n"
        "        print(pool.submit(os.getpid).result(), flush=True)\n"
        "        pool.submit(time.sleep, 600).result()\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    assert gone(pid)


def test_it_can_be_shut_down_twice():
    with Processes(1) as pool:
        assert pool.submit(os.getpid).result()
        pool.shutdown()
    pool.shutdown()
