"""Frozen dataclasses to plain data and back: what TOML, JSON and MPI broadcasts carry.

`to_plain` gives dicts, lists, strings and numbers only; `from_plain` checks every key and type on the way back and
names the place of what it cannot take (`train.batch`). It knows nothing of what the records mean.
"""

import codecs
import dataclasses
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from mpipipe.errors import UserError, nearest

Record = TypeVar("Record")

SHOWN = 80
"""Characters of a value that an error shows."""


def to_plain(value: Any) -> Any:
    """The plain form of a record (or of anything inside one). Raises TypeError for what plain data cannot hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} is not plain data")


def from_plain(kind: type[Record], plain: Any, where: str, error: type[UserError] = UserError) -> Record:
    """The record of class `kind` that `plain` describes; `error` names the place of what does not fit."""
    if not isinstance(plain, dict):
        raise error(where, f"{_shown(plain)} is not a table", "a table")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for key in plain:
        if key not in fields:
            raise error(_inside(where, key), "unknown key", remedy=nearest(key, fields))
    values = {key: _convert(hints[key], item, _inside(where, key), error) for key, item in plain.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise error(_inside(where, name), "missing", _name(hints[name]))
    return kind(**values)


def save_json(record: Any, path: Path) -> None:
    """Write a record as indented JSON."""
    path.write_text(json.dumps(to_plain(record), indent=2) + "\n", encoding="utf-8")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without the byte order mark that some editors write. Raises OSError, or ValueError for
    another encoding, which says what to do."""
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:2]:
        raise ValueError("it looks like UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as reason:
        raise ValueError(f"byte {reason.start + 1} is not UTF-8; save it as UTF-8") from reason


def load_json(kind: type[Record], path: Path, error: type[UserError] = UserError) -> Record:
    """Read back what `save_json` wrote, or what a person edited."""
    try:
        plain = json.loads(read_text(path), object_pairs_hook=_table)
    except OSError as reason:
        raise error(str(path), f"cannot be read ({reason.strerror})", "a JSON file") from reason
    except (ValueError, RecursionError) as reason:
        raise error(str(path), f"is not JSON ({reason})", "a JSON file as --save writes it") from reason
    return from_plain(kind, plain, str(path), error)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of JSON. Raises ValueError for a key that stands there twice."""
    for key, _ in pairs:
        if sum(key == other for other, _ in pairs) > 1:
            raise ValueError(f"the key '{key}' stands twice in one table")
    return dict(pairs)


def _convert(hint: Any, value: Any, where: str, error: type[UserError]) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, options, value, where, error)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(options[0], item, f"{where}[{i}]", error) for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _convert(options[1], item, _inside(where, key), error) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), value, where, error)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as reason:
            raise error(where, f"a whole number of {len(str(value))} digits", "a number that fits 64 bits") from reason
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        if isinstance(value, float) and not math.isfinite(value):
            raise error(where, f"{value!r} is not finite", "a finite number")
        return value
    raise error(where, f"{_shown(value)} is {_kind(value)}", _name(hint))


def _convert_union(hint: Any, options: tuple[Any, ...], value: Any, where: str, error: type[UserError]) -> Any:
    if isinstance(value, float) and not math.isfinite(value) and float in options:
        raise error(where, f"{value!r} is not finite", "a finite number")
    for option in options:
        try:
            return _convert(option, value, where, error)
        except UserError:
            continue
    raise error(where, f"{_shown(value)} is {_kind(value)}", _name(hint))


def _inside(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _name(hint: Any) -> str:
    words = {int: "an integer", float: "a number", str: "a string", bool: "true or false", type(None): "nothing"}
    if hint in words:
        return words[hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_name(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "a list"
    return "a table"


def _shown(value: Any) -> str:
    """As Python would write it, cut short."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _kind(value: Any) -> str:
    words = {dict: "a table", list: "a list", type(None): "nothing", bool: "true or false", int: "an integer"}
    words |= {float: "a number", str: "a string"}
    return words.get(type(value), f"a {type(value).__name__}")
