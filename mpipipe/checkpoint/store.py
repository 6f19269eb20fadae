"""A folder of checkpoints: their names, the newest good one, and which to drop."""

import contextlib
import re
from pathlib import Path

from mpipipe.checkpoint.read import verify
from mpipipe.errors import CheckpointError

NAME = re.compile(r"step-(\d{8,})\.h5")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return folder / f"step-{step:08d}.h5"


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a folder, oldest step first."""
    return sorted((path for path in folder.glob("step-*.h5") if NAME.fullmatch(path.name)), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def newest_good(folder: Path) -> tuple[Path, list[str]]:
    """The newest checkpoint that is whole, and a sentence for each newer one that is not. Raises CheckpointError."""
    passed: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            verify(path)
        except CheckpointError as error:
            passed.append(str(error))
        else:
            return path, passed
    found = "no checkpoint" if not passed else f"no good checkpoint ({'; '.join(passed)})"
    raise CheckpointError(str(folder), found, "one that train wrote", "start without --resume, or name one")


def later_checkpoints(folder: Path, step: int) -> list[Path]:
    """Those of later steps: what is left of a run that was gone on with from an earlier one."""
    return [path for path in list_checkpoints(folder) if _step(path) > step]


def drop_old(folder: Path, keep: int, newest: Path | None = None) -> None:
    """Remove all but the last `keep` checkpoints; with `newest`, of those up to it, and all that are later."""
    every = list_checkpoints(folder)
    end = every.index(newest) + 1 if newest in every else len(every)
    for path in (*every[: max(0, end - keep)], *every[end:]):
        with contextlib.suppress(OSError):
            path.unlink()


def drop_temporary(folder: Path) -> None:
    """Remove what a run that was killed while saving left behind."""
    for path in folder.glob("step-*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()
