"""One process a run's folder: what holds the lock, what a dead process leaves, and file systems without locks."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from mpipipe.errors import UserError
from mpipipe.report import locked

HOLD = """
import sys
from pathlib import Path
from mpipipe.report import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def no_locks(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("more", [(), (no_locks,)])
def test_the_second_is_refused_and_told_who_is_there(tmp_path, holder, more):
    who = f"in use by process {holder.pid} on host {socket.gethostname()};"
    for _ in range(2):
        with pytest.raises(UserError, match=who), locked(tmp_path, *more):
            pass
    holder.stdin.close()
    holder.wait(10)
    with locked(tmp_path, *more):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [(), (no_locks,)])
def test_a_killed_process_blocks_nobody(tmp_path, holder, more):
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    with locked(tmp_path, *more):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no JSON",
        '{"pid": 1}',
        json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started_s": 1.0}),
        json.dumps({"host": "another", "pid": os.getpid(), "started_s": psutil.Process().create_time()}),
    ],
    ids=["empty", "no JSON", "incomplete", "a number that was given again", "another host"],
)
@pytest.mark.parametrize("more", [(), (no_locks,)])
def test_what_a_dead_process_left_is_no_lock(tmp_path, content, more):
    (tmp_path / "lock").write_text(content)
    with locked(tmp_path, *more):
        assert json.loads((tmp_path / "lock").read_text())["host"] == socket.gethostname()


def test_it_is_let_go_by_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_one_that_is_just_being_removed_is_left_for_a_new_one(tmp_path):
    calls = []

    def removed_meanwhile(descriptor, operation):
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / "lock").unlink()

    with locked(tmp_path, removed_meanwhile):
        assert (tmp_path / "lock").exists()
    assert len(calls) == 2


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="none: cannot be written"), locked(tmp_path / "none"):
        pass
