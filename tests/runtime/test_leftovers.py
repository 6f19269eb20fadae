"""Open MPI's files of shared memory: a process alone makes none, and those of dead ranks are removed."""

import os
import socket
import subprocess
import sys

import pytest

from mpipipe.runtime.leftovers import remove_leftovers

HOST, USER = socket.gethostname(), os.getuid()
OLD = [f"sm_segment.{HOST}.{USER}.aab00000.0", f"vader_segment.{HOST}.4f1a0001.12", f"vader_segment.{HOST}.{USER}.1.3"]
OTHERS = [
    "sm_segment",
    f"sm_segment.other.{USER}.aab00000.0",
    f"sm_segment.{HOST}.{USER + 1}.aab00000.0",
    f"sm_segment.{HOST}.{USER}.aab00000.0.txt",
    f"my_sm_segment.{HOST}.{USER}.aab00000.0",
    "psm3_shm.1",
]


@pytest.fixture
def folders(tmp_path):
    shm, proc = tmp_path / "shm", tmp_path / "proc"
    shm.mkdir()
    (proc / "41").mkdir(parents=True)
    (proc / "self").mkdir()
    (proc / "41" / "maps").write_text("7f-8f r-xp 00000000 00:1b 100    /usr/bin/python\n")
    for name in (*OLD, *OTHERS):
        (shm / name).write_bytes(b"")
    return shm, proc


def test_what_dead_ranks_left_is_removed_and_nothing_else(folders):
    shm, proc = folders
    (shm / f"sm_segment.{HOST}.{USER}.2.0").mkdir()
    (shm / f"sm_segment.{HOST}.{USER}.3.0").symlink_to(shm / "psm3_shm.1")
    assert sorted(path.name for path in remove_leftovers(shm, proc, 0)) == sorted(OLD)
    assert {path.name for path in shm.iterdir()} == {
        *OTHERS,
        f"sm_segment.{HOST}.{USER}.2.0",
        f"sm_segment.{HOST}.{USER}.3.0",
    }
    assert remove_leftovers(shm, proc, 0) == []


def test_what_a_process_maps_stays(folders):
    shm, proc = folders
    with (proc / "41" / "maps").open("a") as file:
        file.write(f"7f-8f rw-s 00000000 00:1b 100    {shm / OLD[0]}\n")
    assert sorted(path.name for path in remove_leftovers(shm, proc, 0)) == sorted(OLD[1:])


def test_young_files_stay(folders):
    assert remove_leftovers(*folders) == []


def test_nothing_is_removed_where_it_cannot_be_known(folders, tmp_path):
    shm, proc = folders
    (proc / "41" / "maps").unlink()
    (proc / "41" / "maps").mkdir()  # reading it is an OSError
    assert remove_leftovers(shm, proc, 0) == []
    assert remove_leftovers(shm, tmp_path / "no-proc", 0) == []
    assert remove_leftovers(tmp_path / "no-shm", proc, 0) == []


@pytest.mark.mpi
@pytest.mark.parametrize("chosen", ["", "sm,self"])
def test_a_process_alone_has_no_shared_memory_unless_the_user_chose_it(chosen):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "PMI_"))}
    environment |= {"OMPI_MCA_pml": "ob1"} | ({"OMPI_MCA_btl": chosen} if chosen else {})
    code = (
        "import os; from mpipipe.runtime.world import open_world; open_world(); "
        "print('_segment.' in open('/proc/self/maps').read(), os.environ.get('OMPI_MCA_btl', ''))"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert ended.stdout.strip() == (f"True {chosen}" if chosen else "False")
