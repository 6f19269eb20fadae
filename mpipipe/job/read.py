"""Jobs from TOML files, from presets in the package, and from `--set` on the command line; and back to TOML."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from mpipipe.errors import JobError, nearest
from mpipipe.job.settings import Job, check
from mpipipe.records import from_plain, read_text, to_plain


def preset_names() -> list[str]:
    """The names of the jobs that the package ships."""
    return sorted(entry.name[:-5] for entry in _presets().iterdir() if entry.name.endswith(".toml"))


def read_job(source: str, sets: Sequence[str] = ()) -> Job:
    """The checked job of a TOML file or a preset's name, with `KEY=VALUE` settings applied. Raises JobError."""
    if source in preset_names():
        text, where, name = (_presets() / f"{source}.toml").read_text(encoding="utf-8"), source, source
    else:
        text, where, name = _read_file(source), source, Path(source).stem
    return job_from_text(text, where, sets, name)


def job_from_text(text: str, where: str, sets: Sequence[str] = (), name: str = "job") -> Job:
    """The checked job that a TOML text describes. Raises JobError with `where` in front."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as reason:
        raise JobError(where, f"not TOML ({reason})", "a TOML file as jobs/README.md describes it") from reason
    table.setdefault("name", name)
    for setting in sets:
        _apply(table, setting)
    job = check(_from_table(table, where), where)
    _check_encoding(job, where)
    return job


def job_to_text(job: Job) -> str:
    """The effective job as TOML, every key written out; `job_from_text` reads it back to an equal job."""
    return tomli_w.dumps(to_plain(job))


def _from_table(table: dict[str, Any], where: str) -> Job:
    try:
        job = from_plain(Job, table, "", JobError)
        to_plain(job)
    except JobError as error:
        raise JobError(f"{where}: {error.where}", error.found, error.needed, error.remedy) from error
    except TypeError as error:
        raise JobError(
            f"{where}: model.layers", str(error), "strings, numbers, true or false, lists and tables"
        ) from error
    return job


def _check_encoding(job: Job, where: str) -> None:
    """Raises JobError for names, as of files, that came as bytes that are no text: a checkpoint could not hold them."""
    try:
        job_to_text(job).encode()
    except UnicodeEncodeError as reason:
        line = next(line for line in job_to_text(job).splitlines() if reason.object[reason.start] in line)
        remedy = "rename the file, or set the locale to one with UTF-8, such as LC_ALL=C.UTF-8"
        raise JobError(where, f"{line} is not UTF-8", "names in UTF-8", remedy) from reason


def _presets() -> Any:
    return resources.files("mpipipe.job") / "presets"


def _read_file(source: str) -> str:
    try:
        return read_text(Path(source))
    except FileNotFoundError as reason:
        hint = nearest(source, preset_names())
        raise JobError(source, "no such job", "a TOML file or a preset's name", hint) from reason
    except (OSError, ValueError) as reason:
        raise JobError(source, f"cannot be read ({reason})", "a TOML file") from reason


def _apply(table: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise JobError(f"--set {setting}", "no KEY=VALUE", "a dotted key, an equals sign and a value")
    *folders, last = key.strip().split(".")
    for folder in folders:
        table = table.setdefault(folder, {})
        if not isinstance(table, dict):
            raise JobError(f"--set {setting}", f"'{folder}' is not a table", "a dotted key such as train.epochs")
    table[last] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
