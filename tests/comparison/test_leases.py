"""Leases: one holder at a time, and nobody waits for the dead."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from saam.comparison import leases as module
from saam.comparison.leases import Leases

BEAT, STALE = 0.05, 0.5
FOREIGN = {"host": "elsewhere", "boot": "x", "pid": 1, "started": "1"}


def leases(folder: Path) -> Leases:
    return Leases(folder, beat=BEAT, stale=STALE)


def left_behind(folder: Path, holder: object, name: str = "job.1") -> Path:
    """The lease of a holder that does not touch it any more."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(holder))
    return folder / name


def taken_in_time(mine: Leases, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not mine.take("job"):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


def test_one_holds_until_it_gives_back(folder: Path) -> None:
    with leases(folder) as one, leases(folder) as two:
        assert one.take("job")
        assert one.take("job")  # again is no news
        assert (one.holds("job"), two.holds("job")) == (True, False)
        assert not two.take("job")
        assert two.take("other")
        one.release("job")
        assert not one.holds("job")
        assert two.take("job")
        assert not one.take("job")
    assert not folder.exists()


def test_one_job_is_not_another_whose_name_begins_alike(folder: Path) -> None:
    with leases(folder) as one, leases(folder) as two:
        assert one.take("ab")
        assert two.take("a")
        assert one.holds("ab")
        assert two.holds("a")


def test_another_process_is_kept_out_until_it_is_killed(folder: Path) -> None:
    """Nobody waits for the holder to be called stale: on the same machine one sees that it is gone."""
    script = (
        "import sys, time; from pathlib import Path; from saam.comparison.leases import Leases\n"
        "with Leases(Path(sys.argv[1])) as leases:\n"
        "    print(leases.take('job'), flush=True)\n"
        "    time.sleep(600)\n"
    )
    with Leases(folder, stale=1e9) as mine:
        command = [sys.executable, "-c", script, str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "True\n"
            assert not mine.take("job")
            other.kill()
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, but nobody has asked for its exit code
            assert Path(f"/proc/{other.pid}").exists()
            assert mine.take("job")
        assert mine.holds("job")
        assert [path.name for path in folder.iterdir()] == ["job.2"]
    assert not folder.exists()


def test_a_process_that_has_the_number_of_a_dead_one_is_another(folder: Path) -> None:
    left_behind(folder, {**module._process(), "started": "1"})
    with leases(folder) as mine:
        assert mine.take("job")


def test_a_holder_of_this_machine_that_lives_is_never_robbed(folder: Path) -> None:
    left_behind(folder, module._process())  # this very process, which does not touch it
    with leases(folder) as mine:
        assert not taken_in_time(mine, 2 * STALE)


@pytest.mark.parametrize("holder", [FOREIGN, {}, [], {"host": socket.gethostname()}])
def test_a_foreign_holder_is_given_up_once_it_is_stale_and_not_before(folder: Path, holder: object) -> None:
    left_behind(folder, holder)
    with leases(folder) as mine:
        start = time.monotonic()
        assert taken_in_time(mine, 20 * STALE)
        assert time.monotonic() - start >= STALE
        assert [path.name for path in folder.iterdir()] == ["job.2"]


def test_the_clock_of_the_holder_does_not_count(folder: Path) -> None:
    lease = left_behind(folder, FOREIGN)
    for date in (1.0, 4e9):  # long ago, or in the future
        os.utime(lease, (date, date))
        with leases(folder) as mine:
            assert not mine.take("job")
            assert taken_in_time(mine, 20 * STALE)
            lease = left_behind(folder, FOREIGN)


def test_a_foreign_holder_that_touches_is_never_robbed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Leases(folder, beat=BEAT, stale=2.0) as holder, Leases(folder, beat=BEAT, stale=2.0) as mine:
        assert holder.take("job")
        monkeypatch.setattr(module, "_boot", lambda: "another start")
        assert not taken_in_time(mine, 5.0)
        assert holder.holds("job")


def test_who_was_suspended_knows_that_it_lost(folder: Path) -> None:
    holder = leases(folder)  # its thread, which touches, does not run
    assert holder.take("job")
    (lease,) = folder.iterdir()
    lease.write_text(json.dumps(FOREIGN))
    with leases(folder) as mine:
        assert taken_in_time(mine, 20 * STALE)
        assert (holder.holds("job"), mine.holds("job")) == (False, True)
        holder.release("job")  # which is not its any more
        assert mine.holds("job")


@pytest.mark.parametrize("left", [False, True])
def test_of_many_that_take_at_once_one_wins(folder: Path, left: bool) -> None:
    rivals, rounds = 4, 60
    barrier, wins = threading.Barrier(rivals), [[False] * rivals for _ in range(rounds)]
    dead = {**module._process(), "started": "1"}

    def run(rival: int) -> None:
        with leases(folder) as mine:
            for turn in range(rounds):
                if barrier.wait(60) == 0 and left:
                    left_behind(folder, dead, f"{turn}.7")
                barrier.wait(60)
                wins[turn][rival] = mine.take(str(turn))
                barrier.wait(60)
                assert mine.holds(str(turn)) == wins[turn][rival]

    threads = [threading.Thread(target=run, args=(rival,)) for rival in range(rivals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [sum(win) for win in wins] == [1] * rounds
    assert not folder.exists()


def test_who_falls_behind_while_others_take_over_gives_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its look at the dead holder and its own lease, others create the next number and the one after it."""
    left_behind(folder, {**module._process(), "started": "1"})
    with leases(folder) as slow, leases(folder) as fast:
        lives = Leases._lives

        def meanwhile(self: Leases, path: Path) -> bool:
            if self is slow:
                path.rename(folder / "job.2")
                assert fast.take("job")  # job.3; job.2 is free again
                return False
            return lives(self, path)

        monkeypatch.setattr(Leases, "_lives", meanwhile)
        assert not slow.take("job")
        assert fast.holds("job")
        assert [path.name for path in folder.iterdir()] == ["job.3"]


def test_a_folder_that_another_driver_removes_at_that_moment_is_no_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def removed(self: Path, *args: object, **options: object) -> None:
        mkdir(self, exist_ok=True)
        self.rmdir()

    with leases(folder) as mine:
        monkeypatch.setattr(Path, "mkdir", removed)
        assert not mine.take("job")
        monkeypatch.undo()
        assert mine.take("job")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with leases(tmp_path / "gone" / "leases") as mine, pytest.raises(OSError, match="gone"):
        mine.take("job")


def test_a_holder_without_a_process_is_dead(folder: Path) -> None:
    own = module._process()
    left_behind(folder, {**own, "pid": None, "started": None})
    with leases(folder) as mine:
        assert mine.take("job")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 200_000, b"", b"[]", b'{"host": 5}'])
def test_a_damaged_lease_is_waited_out(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "job.1").write_bytes(content)
    with leases(folder) as mine:
        assert not mine.take("job")
        assert taken_in_time(mine, 20 * STALE)
