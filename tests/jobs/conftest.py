"""The job scripts in a folder of their own, with fake launchers, ssh and Slurm that do what a test writes."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
NOTE = 'note() { echo "$*" >>"$MPIPIPE_OUTCOME"; }\n'


@dataclass
class Scripts:
    """The scripts, and what their fakes were called with."""

    top: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def act(self, name: str, text: str) -> None:
        """Let the command of this name, first on the PATH, do what the lines of bash say; `note` writes an outcome."""
        file = self.top / ".venv/bin" / name
        file.write_text(f'#!/bin/bash\necho "{name} $*" >>{self.top}/calls\n{NOTE}{text}\n')
        file.chmod(0o755)

    def calls(self) -> str:
        """All calls of fakes up to now, one a line."""
        file = self.top / "calls"
        return file.read_text() if file.exists() else ""

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """A script, its two streams in one pipe."""
        process = subprocess.Popen(
            [self.top / "jobs" / script, *arguments],
            cwd=self.top, env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, script: str, *arguments: str) -> tuple[int, str]:
        """A script to its end: status and what it printed."""
        return finish(self.start(script, *arguments))


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Status and what it printed."""
    printed, _ = process.communicate(timeout=30)
    return process.returncode, printed


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    """A project with the scripts alone, installed as they think."""
    top = tmp_path / "top"
    (top / ".venv/bin").mkdir(parents=True)
    shutil.copytree(PROJECT / "jobs", top / "jobs")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(PROJECT / name, top)
    scripts = Scripts(
        top, {"PATH": f"{top}/.venv/bin:/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(tmp_path), "LC_ALL": "C"}
    )
    stamp = f'echo "{top} $(cat setup.cfg pyproject.toml | cksum)" >.venv/installed-openmpi'
    subprocess.run(["bash", "-c", stamp], cwd=top, check=True)
    scripts.act("python", "exit 0")
    scripts.act("mpirun", "note ready; note ended 0")
    yield scripts
    for process in scripts.started:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[str], file: Path) -> None:
    """Until a fake has made the file."""
    while not file.exists():
        assert process.poll() is None, process.communicate()
        os.sched_yield()
