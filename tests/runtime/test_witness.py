"""The witness: it names the rank that went first, writes the last line, and ends a launcher that hangs."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mpipipe.launcher import launcher_above
from mpipipe.runtime import lifeline, witness
from mpipipe.runtime.lifeline import Called, Held

NAMES = ["rank 0 on desk", "rank 1 on mini1 (stage 0)", "rank 2 on mini2 (stage 1)"]
REST = "the newest checkpoint is a.h5"
LOST = f"mpipipe: rank 2 on mini2 (stage 1): its process was killed or ended by itself; {REST}\n"
HANGS = "import time; time.sleep(300)"


class Launcher:
    """A process that hangs, as mpirun does, with its standard error in a file or a pipe."""

    def __init__(self, folder, code=HANGS, mode="a"):
        self.file = folder / "said"
        with self.file.open(mode) as stream:
            self.process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=stream)
        self.program = witness.program(self.process.pid)

    def said(self):
        return self.file.read_text().replace("\0", "")


@pytest.fixture
def launch(tmp_path):
    started = []

    def start(*arguments, **more):
        started.append(Launcher(tmp_path, *arguments, **more))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def lose(zero):
    """The kernel closes what a killed rank 0 had open."""
    os.close(zero.life)
    zero.process.stdin.close()


def dismiss(zero):
    """End a witness, and close what leads to it."""
    zero.process.kill()
    zero.process.wait()
    zero.process.stdin.close()
    zero.process.stdout.close()


class Scene:
    """Rank 0 with its witness, and two other ranks."""

    def __init__(self, launcher):
        self.zero = Called(launcher.program)
        offer = self.zero.offer(3)
        self.ranks = {rank: Held(offer, rank, f"mini{rank}") for rank in (1, 2)}
        for one in self.ranks.values():
            one.thread.join(30)
            assert one.connection is not None
        assert self.zero.lost() == ""  # its answer shows that it has done with all that came before

    def lose(self, rank):
        """The kernel closes a killed rank's connection."""
        self.ranks[rank].connection.close()

    def lose_zero(self):
        lose(self.zero)

    def end(self):
        assert self.zero.process.wait(30) == 0


@pytest.fixture
def scene(launch):
    launcher = launch()
    scene = Scene(launcher)
    scene.launcher = launcher
    scene.zero.know(names=NAMES, rest=REST)
    yield scene
    dismiss(scene.zero)


def test_the_rank_that_went_first_is_named_once_rank_0_is_gone_too(scene):
    scene.lose(2)
    scene.lose(1)
    assert scene.launcher.said() == ""
    scene.lose_zero()
    scene.launcher.process.kill()
    scene.launcher.process.wait()
    scene.end()
    assert scene.launcher.said() == LOST


def test_rank_0_may_ask_who_went_first_and_say_it_itself(scene):
    assert scene.zero.lost() == ""
    scene.lose(2)
    while not scene.zero.lost():
        time.sleep(0.01)
    assert scene.zero.lost() == "rank 2 on mini2 (stage 1): its process was killed or ended by itself; "
    assert scene.zero.say("rank 0's own line")
    scene.zero.leave()
    scene.end()
    assert scene.launcher.said() == "rank 0's own line\n"
    assert scene.launcher.process.poll() is None


def end_quickly(scene):
    scene.launcher.process.kill()
    scene.launcher.process.wait()
    scene.end()
    return scene.launcher.said()


def test_rank_0_itself_may_have_been_killed(scene):
    scene.lose_zero()
    said = end_quickly(scene)
    assert said == f"mpipipe: rank 0 on desk: its process was killed or ended by itself; {REST}\n"


def test_a_rank_that_has_said_its_error_itself_is_not_blamed_again(scene):
    scene.ranks[1].leave(fault=True)
    scene.lose(1)
    scene.lose(2)
    scene.lose_zero()
    assert end_quickly(scene) == ""


def test_ranks_that_were_told_to_end_are_not_to_blame(scene):
    for rank in scene.ranks.values():
        rank.leave()
    scene.lose(1)
    scene.lose_zero()
    assert end_quickly(scene) == f"mpipipe: {REST}\n"


def test_nobody_is_blamed_where_a_rank_could_not_reach_the_witness(launch):
    launcher = launch()
    zero = Called(launcher.program)
    zero.offer(3)
    zero.know(names=NAMES, rest=REST)
    assert zero.lost() == ""
    lose(zero)
    launcher.process.kill()
    launcher.process.wait()
    assert zero.process.wait(30) == 0
    assert launcher.said() == f"mpipipe: {REST}\n"
    dismiss(zero)


def test_a_stranger_is_not_believed(scene):
    offer = {"token": "wrong", "port": scene.zero.port, "addresses": ["127.0.0.1"]}
    stranger = Held(offer, 2, "elsewhere")
    stranger.thread.join(30)
    assert stranger.connection is None
    assert scene.zero.lost() == ""


def test_a_launcher_that_hangs_is_killed_with_its_children(launch):
    child = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {HANGS!r}]).pid, file=sys.stderr)"
    launcher = launch(f"{child}; sys.stderr.flush(); {HANGS}")
    while not launcher.said().endswith("\n"):
        time.sleep(0.01)
    zero = Called(launcher.program)
    zero.leave(fault=True, ending_s=0.2)
    assert launcher.process.wait(30) == -signal.SIGKILL
    zero.process.communicate(timeout=30)
    assert witness.program(int(launcher.said())) is None


def test_another_process_of_the_same_number_is_left_alone(launch):
    launcher = launch()
    zero = Called(witness.Program(launcher.process.pid, "1"))
    zero.leave(fault=True, ending_s=0.2)
    zero.process.communicate(timeout=30)
    assert launcher.process.poll() is None


def test_a_launcher_that_writes_at_its_own_place_does_not_write_over_the_last_line(launch):
    code = (
        "import sys; sys.stderr.write('begin\\n'); sys.stderr.flush(); sys.stdin.readline(); sys.stderr.write('end\\n')"
    )
    launcher = launch(code, mode="w")
    while not launcher.said():
        time.sleep(0.01)
    zero = Called(launcher.program)
    assert zero.say("the last line")
    zero.leave(ending_s=60)
    lose(zero)
    time.sleep(0.2)  # enough for a wrong witness to write too early; a right one waits
    launcher.process.communicate(b"\n", timeout=30)
    assert zero.process.wait(30) == 0
    assert launcher.said() == "begin\nend\nthe last line\n"
    dismiss(zero)


def test_a_launcher_is_found_through_shells_but_not_behind_a_deputy(tmp_path):
    def process(pid, name, parent):
        folder = tmp_path / str(pid)
        folder.mkdir(exist_ok=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "stat").write_text(f"{pid} ({name} (x)) S {parent} 1 1")

    process(os.getppid(), "bash", 7)
    process(7, "sh", 8)
    process(8, "prterun", 9)
    assert launcher_above(tmp_path) == 8
    process(7, "prted", 8)
    assert launcher_above(tmp_path) is None
    process(7, "sh", 1)
    assert launcher_above(tmp_path) is None


def test_only_a_rank_0_of_a_launcher_calls_a_witness(monkeypatch):
    for rank in ("", "0", "1"):  # what started these tests is no launcher
        monkeypatch.setenv("OMPI_COMM_WORLD_RANK", rank)
        assert type(lifeline.call_witness()) is lifeline.Lifeline


def test_a_rank_knows_that_rank_0_is_gone(scene):
    assert scene.ranks[1].lost() == ""
    scene.lose_zero()
    end_quickly(scene)
    assert scene.ranks[1].lost().startswith("rank 0: its process has ended")


def test_a_host_that_does_not_answer_is_not_taken_for_a_killed_process():
    known = witness.Known(names=NAMES, ends=[(2, witness.UNREACHED), (1, witness.KILLED)])
    assert known.lost() == "rank 2 on mini2 (stage 1): its host does not answer; "
