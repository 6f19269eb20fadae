"""From the words of the command line, as docopt found them, to what a command is asked."""

from pathlib import Path
from typing import Any

from mpipipe.errors import UserError
from mpipipe.job import preset_names
from mpipipe.start import Request

Arguments = dict[str, Any]


def request_of(arguments: Arguments) -> Request:
    """What train, evaluate, predict, generate and plan are asked. Raises UserError."""
    job, checkpoint = arguments["JOB"], arguments["CHECKPOINT"]
    if arguments["train"] and not arguments["--resume"] and checkpoint:
        raise UserError("train", f"a second argument, {checkpoint}", "JOB only", "to go on from it, add --resume")
    if arguments["train"] and not arguments["--resume"] and job and job.endswith(".h5"):
        raise UserError("train", f"a checkpoint, {job}", "a job", "to go on from it, add --resume")
    if arguments["train"] and arguments["--resume"] and job and checkpoint is None and _is_run(job):
        job, checkpoint = None, job
    if arguments["--out"] == "":
        raise UserError("--out", "an empty name", "a folder")
    return Request(
        job=job,
        sets=tuple(arguments["--set"]),
        data=arguments["--data"],
        out=arguments["--out"],
        threads=number(arguments, "--threads"),
        resume=arguments["--resume"],
        checkpoint=checkpoint,
        quiet=arguments["--quiet"],
        pretend=arguments["--pretend"],
    )


def _is_run(word: str) -> bool:
    """Whether a word stands for a checkpoint or for a folder, rather than for a job."""
    return word.endswith(".h5") or (Path(word).is_dir() and word not in preset_names())


def number(arguments: Arguments, option: str) -> int | None:
    """A whole number, None where the option was not given. Raises UserError."""
    text = arguments[option]
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UserError(option, f"'{text}'", "a whole number from 0 to 999999999")
    return int(text)


def decimal(arguments: Arguments, option: str) -> float:
    """Any number. Raises UserError."""
    try:
        return float(arguments[option])
    except ValueError:
        raise UserError(option, f"'{arguments[option]}'", "a number") from None


def durations(arguments: Arguments, option: str, count: int) -> tuple[float, ...]:
    """`count` numbers from 0 to 1000, with commas between them. Raises UserError."""
    text = arguments[option]
    needed = f"{count} numbers from 0 to 1000 with commas between them" if count > 1 else "a number from 0 to 1000"
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        raise UserError(option, f"'{text}'", needed) from None
    if len(found) != count or not all(0 <= value <= 1000 for value in found):
        raise UserError(option, f"'{text}'", needed)
    if count > 1 and not any(found):
        raise UserError(option, f"'{text}'", "one of them above 0")
    return found
