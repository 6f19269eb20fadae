"""Running commands as a user does, on one rank, and looking at all that came of it."""

import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NURSERY = Path(__file__).with_name("nursery.py")
PATIENCE_S = 150
"""After which a command hangs for certain, on a machine however busy; most take half a second."""
SPEEDS = ("samples_per_s", "bubble", "seconds")
JOB = """
[model]
layers = [{ kind = "linear", outputs = 16 }, { kind = "relu" }, { kind = "linear", outputs = 10 }]

[data]
path = "digits"

[train]
steps = 4
batch = 128
micro_batch = 32
"""


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    status: int
    out: str
    err: str
    seconds: float


def environment() -> dict[str, str]:
    """Ours, but for what another MPI program may have put there; and with no network, which one rank has no use for."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "PRTE_", "SLURM"))
    }
    return {**ours, "OMPI_MCA_btl": "self", "OMPI_MCA_pml": "ob1", "OPENBLAS_NUM_THREADS": "1"}


class Shell:
    """Runs commands one by one, each in the folder that is given."""

    def __init__(self, folder: Path) -> None:
        self.streams = folder / "out", folder / "err"
        self.process = subprocess.Popen(
            [sys.executable, str(NURSERY)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        self.told: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.put(line)

    def start(
        self,
        cwd: Path,
        arguments: Sequence[object],
        out: str = "",
        mishap: str = "",
        limit: int = 0,
        picture: bool = False,
        variables: dict[str, str] | None = None,
    ) -> int:
        """Begin a command; the number of its process. `end` must follow."""
        wish = {
            "cwd": str(cwd),
            "arguments": [str(argument) for argument in arguments],
            "out": out or str(self.streams[0]),
            "err": str(self.streams[1]),
            "mishap": mishap,
            "limit": limit,
            "picture": picture,
            "environment": variables or {},
        }
        for stream in self.streams:
            stream.write_text("")
        self.began = time.monotonic()
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        self.child = int(self.told.get(timeout=60))
        return self.child

    def end(self) -> Ended:
        """Wait for the command. One that hangs is killed, with status -9."""
        try:
            status = int(self.told.get(timeout=PATIENCE_S))
        except queue.Empty:
            os.kill(self.child, signal.SIGKILL)
            status = int(self.told.get(timeout=60))
        seconds = time.monotonic() - self.began
        out, err = (stream.read_text(encoding="utf-8") for stream in self.streams)
        return Ended(status, out, err, seconds)

    def __call__(self, cwd: Path, *arguments: object, **more) -> Ended:
        """A whole command."""
        self.start(cwd, arguments, **more)
        return self.end()

    def close(self) -> None:
        """No more commands."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


class Desk:
    """A folder with a job file in it, and the shell to work there."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.shell, self.folder = shell, folder
        self.write("tiny.toml", JOB)

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def __call__(self, *arguments: object, **more) -> Ended:
        """A command, whatever becomes of it."""
        return self.shell(self.folder, *arguments, **more)

    def does(self, *arguments: object, **more) -> str:
        """A command that must do well; its standard output."""
        ended = self(*arguments, **more)
        assert ended.status == 0, ended
        assert "Traceback" not in ended.err and "Warning" not in ended.err, ended.err
        return ended.out

    def refuses(self, *arguments: object, status: int = 2, **more) -> str:
        """A command that must end with one clear line and change nothing; the line, without its beginning."""
        before = tree(self.folder)
        ended = self(*arguments, **more)
        assert tree(self.folder) == before
        assert ended.status == status, ended
        return one_line(ended.err)

    def train(self, out: str, *sets: str, job: str = "tiny.toml") -> Path:
        """A quiet training run into a folder; that folder."""
        self.does("train", job, "--out", out, "--quiet", *settings(*sets))
        return self.folder / out


def settings(*sets: str) -> list[str]:
    """As options."""
    return [word for setting in sets for word in ("--set", setting)]


def one_line(err: str) -> str:
    """The only line of standard error, an error of the program."""
    assert err.startswith("mpipipe: error: ") and err.count("\n") == 1 and err.endswith("\n"), err
    return err.removeprefix("mpipipe: error: ").strip()


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with its digest, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def runs(folder: Path) -> list[Path]:
    """The folders of runs under results/, in order of their names."""
    return sorted(path for path in (folder / "results").iterdir() if path.is_dir())


def checkpoints(run: Path) -> list[str]:
    """The names in a run's folder of checkpoints."""
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def newest(run: Path) -> Path:
    """The last checkpoint of a run."""
    return run / "checkpoints" / checkpoints(run)[-1]


def summary(run: Path) -> dict[str, object]:
    """summary.json."""
    return json.loads((run / "summary.json").read_text())


def metrics(run: Path) -> list[dict[str, str]]:
    """metrics.csv without the columns of speed."""
    header, *lines = (run / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    return [{name: value for name, value in row.items() if name not in SPEEDS} for row in rows]


def flip(path: Path, offset: int = -100) -> None:
    """Turn one bit of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 4
    path.write_bytes(content)
