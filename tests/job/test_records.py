"""Records to plain data and back: every type that records use, and the place of what does not fit."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.errors import JobError, UserError, nearest
from mpipipe.records import from_plain, load_json, read_text, save_json, to_plain


@dataclass(frozen=True)
class Leaf:
    name: str
    size: float = 1.0


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    grid: tuple[tuple[int, ...], ...] = ()
    by_name: dict[str, Leaf] = field(default_factory=dict)
    lists: dict[str, tuple[float, ...]] = field(default_factory=dict)
    either: int | str = 0
    maybe: Leaf | None = None
    maybes: tuple[int | None, ...] = ()
    anything: Any = None
    flag: bool = False


words = st.text(max_size=5)
sizes = st.floats(allow_nan=False, allow_infinity=False)
leaf = st.builds(Leaf, words, sizes)
trees = st.builds(
    Tree,
    leaf=leaf,
    leaves=st.lists(leaf, max_size=3).map(tuple),
    grid=st.lists(st.lists(st.integers(), max_size=3).map(tuple), max_size=3).map(tuple),
    by_name=st.dictionaries(words, leaf, max_size=3),
    lists=st.dictionaries(words, st.lists(sizes, max_size=3).map(tuple), max_size=3),
    either=st.one_of(st.integers(), words),
    maybe=st.one_of(st.none(), leaf),
    maybes=st.lists(st.one_of(st.none(), st.integers()), max_size=3).map(tuple),
    anything=st.one_of(st.none(), words, st.lists(st.integers(), max_size=2)),
    flag=st.booleans(),
)


@given(tree=trees)
def test_records_come_back_equal(tree):
    assert from_plain(Tree, to_plain(tree), "") == tree


@given(tree=trees)
def test_records_come_back_equal_through_json(tree):
    assert from_plain(Tree, json.loads(json.dumps(to_plain(tree))), "") == tree


def test_plain_data_is_plain():
    tree = Tree(Leaf("a"), leaves=(Leaf("b", 2.5),), grid=((1, 2), ()), by_name={"c": Leaf("c")})
    assert to_plain(tree) == {
        "leaf": {"name": "a", "size": 1.0},
        "leaves": [{"name": "b", "size": 2.5}],
        "grid": [[1, 2], []],
        "by_name": {"c": {"name": "c", "size": 1.0}},
        "lists": {},
        "either": 0,
        "maybe": None,
        "maybes": [],
        "anything": None,
        "flag": False,
    }


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), Leaf, 1j])
def test_what_is_not_plain(value):
    with pytest.raises(TypeError, match="is not plain data"):
        to_plain({"a": [value]})


def test_defaults_and_whole_numbers():
    tree = from_plain(Tree, {"leaf": {"name": "a", "size": 3}}, "")
    assert tree == Tree(Leaf("a", 3.0))
    assert type(tree.leaf.size) is float


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"leaves": []}, ["top.leaf: missing", "a table"]),
        ({"leaf": {}}, ["top.leaf.name: missing", "a string"]),
        ({"leaf": []}, ["top.leaf: [] is not a table", "needed: a table"]),
        ({"leaf": {"name": "a", "sise": 2}}, ["top.leaf.sise: unknown key", "did you mean 'size'?"]),
        ({"leaves": [{"name": "a"}, {"name": 3}]}, ["top.leaves[1].name: 3 is an integer", "a string"]),
        ({"leaves": {"name": "a"}}, ["top.leaves", "is a table", "needed: a list"]),
        ({"grid": [[1], [2, "x"]]}, ["top.grid[1][1]: 'x' is a string", "an integer"]),
        ({"grid": [[True]]}, ["top.grid[0][0]: True is true or false", "an integer"]),
        ({"grid": [1]}, ["top.grid[0]: 1 is an integer", "a list"]),
        ({"by_name": {"b": {"size": 1}}}, ["top.by_name.b.name: missing"]),
        ({"by_name": [1]}, ["top.by_name: [1] is a list", "a table"]),
        ({"lists": {"a": [1, None]}}, ["top.lists.a[1]: None is nothing", "a number"]),
        ({"lists": {"a": [float("inf")]}}, ["top.lists.a[0]: inf is not finite"]),
        ({"either": 1.5}, ["top.either: 1.5 is a number", "an integer or a string"]),
        ({"either": True}, ["top.either: True is true or false", "an integer or a string"]),
        ({"maybe": 3}, ["top.maybe: 3 is an integer", "a table or nothing"]),
        ({"maybes": [None, "x"]}, ["top.maybes[1]: 'x' is a string", "an integer or nothing"]),
        ({"flag": 1}, ["top.flag: 1 is an integer", "true or false"]),
        ([], ["top: [] is not a table", "needed: a table"]),
    ],
)
def test_the_place_and_the_need_are_named(plain, words):
    if isinstance(plain, dict) and "leaf" not in plain and words[0] != "top.leaf: missing":
        plain = {"leaf": {"name": "a"}, **plain}
    with pytest.raises(JobError) as caught:
        from_plain(Tree, plain, "top", JobError)
    for word in words:
        assert word in str(caught.value)


def test_json_files(tmp_path):
    tree, path = Tree(Leaf("ä", 0.1), maybes=(None, 2)), tmp_path / "tree.json"
    save_json(tree, path)
    assert load_json(Tree, path) == tree
    assert path.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize("text", ["", "a = 'ä'\n", "[x]\r\ny = 1\r\n", "\x7f"])
def test_a_byte_order_mark_and_the_kind_of_line_end_do_not_matter(tmp_path, text):
    path = tmp_path / "some.txt"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes(text.encode(encoding))
        assert read_text(path) == text.replace("\r\n", "\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_another_encoding_says_what_to_do(tmp_path, encoding):
    path = tmp_path / "some.txt"
    path.write_bytes("a = 'ä'".encode(encoding))
    with pytest.raises(
        ValueError, match="UTF-16; save it as UTF-8" if "16" in encoding else "byte 6 is not UTF-8; save"
    ):
        read_text(path)


def test_json_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "tree.json"
    with pytest.raises(UserError, match=r"tree.json: cannot be read .*needed: a JSON file"):
        load_json(Tree, path)
    path.write_text('{"leaf": ', encoding="utf-8")
    with pytest.raises(UserError, match="tree.json: is not JSON"):
        load_json(Tree, path)
    path.write_bytes(b"\xff\xff")
    with pytest.raises(UserError, match="tree.json: is not JSON"):
        load_json(Tree, path)
    path.write_text('{"leaf": {"name": 1}}', encoding="utf-8")
    with pytest.raises(JobError, match=r"tree.json.leaf.name: 1 is an integer"):
        load_json(Tree, path, JobError)


def test_nearest_or_the_list():
    assert nearest("epoch", ["epochs", "steps"]) == "did you mean 'epochs'?"
    assert nearest("q", ["b", "a"]) == "known are a, b"
