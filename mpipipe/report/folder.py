"""The run folder: where it is made, what lies where in it, and how its small files are written.

It knows the names of the files, not what they mean; checkpoints are another room's to write.
"""

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpipipe.errors import UserError
from mpipipe.records import save_json
from mpipipe.report.replace import replacing, unwritable

RESULTS = "results"


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and the places in it. None of them need exist. `made` are the folders that were made for it."""

    path: Path
    made: tuple[Path, ...] = field(default=(), compare=False)

    @property
    def job(self) -> Path:
        """The effective job, as TOML."""
        return self.path / "job.toml"

    @property
    def cluster(self) -> Path:
        """The hosts that the run was planned for."""
        return self.path / "cluster.json"

    @property
    def plan(self) -> Path:
        """Who got what."""
        return self.path / "plan.json"

    @property
    def metrics(self) -> Path:
        """A row a step."""
        return self.path / "metrics.csv"

    @property
    def summary(self) -> Path:
        """What came of it."""
        return self.path / "summary.json"

    @property
    def picture(self) -> Path:
        """The loss over the steps."""
        return self.path / "loss.png"

    @property
    def timeline(self) -> Path:
        """When everything was done, of some steps."""
        return self.path / "timeline.npz"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, HDF5 files."""
        return self.path / "checkpoints"

    @property
    def holds_run(self) -> bool:
        """Whether a run has been here."""
        return any(place.exists() for place in (self.job, self.metrics, self.checkpoints))

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to go on from; temporary names do not count."""
        return any(not file.name.startswith(".") for file in self.checkpoints.glob("*.h5"))


def new_folder(out: str | None, name: str) -> RunFolder:
    """A folder for a new run, made and writable: `out`, or else results/<name>-<date>-<time>Z under the current folder,
    in UTC: local times repeat where clocks are put back. No two processes get the same one of these.

    UserError where `out` holds a run already or the folder cannot be made or written; then nothing new is left behind.
    """
    if out is not None:
        folder = RunFolder(Path(out))
        if folder.holds_run:
            raise UserError(out, "holds a run already", "a folder without one", "use --resume, or another --out")
        return _make(folder.path)
    results = _make(Path(RESULTS))
    stem = f"{_stem(name)}-{time.strftime('%Y%m%d-%H%M%SZ', time.gmtime())}"
    number, path = 1, results.path / stem
    while True:
        try:
            path.mkdir()
            return RunFolder(path, (*results.made, path))
        except FileExistsError:
            number += 1
            path = results.path / f"{stem}-{number}"
        except OSError as reason:
            drop_unused(results)
            raise unwritable(path, reason) from reason


def drop_unused(folder: RunFolder) -> None:
    """Remove the folders that were made for a run, as far as nothing is in them."""
    for path in reversed(folder.made):
        with suppress(OSError):
            path.rmdir()


def existing_folder(path: str | Path) -> RunFolder:
    """The folder of an earlier run. UserError where there is none."""
    folder = RunFolder(Path(path))
    if not folder.path.is_dir():
        found = "is not a folder" if folder.path.exists() else "no such folder"
        raise UserError(str(path), found, "the folder of an earlier run")
    if not folder.holds_run:
        raise UserError(str(path), "holds no run", f"a folder with {folder.job.name} and {folder.checkpoints.name}")
    return folder


def latest_folder(name: str) -> RunFolder | None:
    """The newest of the folders that `new_folder(None, name)` made here and that have a checkpoint.

    Older versions named them by local time, without a Z.
    """
    pattern = re.compile(re.escape(_stem(name)) + r"-(\d{8}-\d{6})(Z?)(?:-(\d+))?")
    runs = []
    for path in Path(RESULTS).glob("*"):
        match = pattern.fullmatch(path.name)
        if match and RunFolder(path).has_checkpoint:
            runs.append((match[2], match[1], int(match[3] or 1), path))
    return RunFolder(max(runs)[-1]) if runs else None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises UserError."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, record: Any) -> None:
    """Write a record as JSON whole or not at all; `records.load_json` reads it. Raises UserError."""
    with replacing(path) as temporary:
        save_json(record, temporary)


def make_folder(path: Path) -> None:
    """A folder for what a command leaves besides a run. UserError where it cannot be made or written."""
    _make(path)


def _make(folder: Path) -> RunFolder:
    made: list[Path] = []
    try:
        for path in (*reversed(folder.parents), folder):
            try:
                path.mkdir()
                made.append(path)
            except OSError:  # it is there, or nothing may be made where it is
                if not path.is_dir():
                    raise
        trial = folder / ".writable"
        trial.touch()
        trial.unlink(missing_ok=True)  # another process may have tried at once
    except OSError as reason:
        drop_unused(RunFolder(folder, tuple(made)))
        raise unwritable(folder, reason) from reason
    return RunFolder(folder, tuple(made))


def _stem(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run"
