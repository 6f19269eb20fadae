"""A disk that fills up while a checkpoint is written: an error in one line, the old one good, no temporary file.

Each test runs a process of its own: HDF5 may print, hang or crash when a process ends whose files it could not close.
"""

import json
import subprocess
import sys
from pathlib import Path

from needs import small_disk

FILLING = Path(__file__).with_name("filling.py")


def check(way: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(FILLING), way, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stderr[-2000:], done.stdout)
    told = json.loads(done.stdout)
    assert [(what, wrong) for what, wrong in told if wrong] == []
    return [what for what, _ in told]


def test_files_that_may_not_grow(tmp_path):
    assert len(check("limit", tmp_path)) > 20


def test_a_disk_that_is_full(tmp_path):
    with small_disk(tmp_path / "disk", "3m") as disk:
        assert len(check("disk", disk)) == 5
