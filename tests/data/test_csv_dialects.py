"""Tables as other programs write them: separators, encodings, quotes, decimal commas, and columns that number rows."""

import csv
import io

import numpy as np
import pytest
from data_files import features, open_path, refused, save, save_csv, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpipipe.data import open_inputs

SEPARATORS = [",", ";", "\t", "|"]
QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.csv"


def whole(path, **more):
    return open_path(path, **{"validation": 0.0, **more})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("declared", [False, True])
def test_every_way_to_write_a_table_is_read(path, encoding, separator, end, declared):
    lines = [f"sep={separator}"] * declared + [separator.join(row) for row in (["größe", "b", "target"], "120", "341")]
    save(path, (end.join(lines) + end).encode(encoding))
    data = whole(path)
    assert data.columns == ("größe", "b") and features(data.train).tolist() == [[1, 2], [3, 4]]
    assert targets(data, data.train).tolist() == [0, 1]
    inputs = open_inputs(str(path), (2,), ("b", "größe"), "target")
    assert features(inputs).tolist() == [[2, 1], [4, 3]]


def test_packed_without_saying_so(tmp_path, path):
    path.write_bytes(save(tmp_path / "some.csv.gz", "a;target\r\n1;2\r\n".encode("utf-16")).read_bytes())
    assert features(whole(path).train).tolist() == [[1]]


@pytest.mark.parametrize("separator", SEPARATORS)
def test_names_with_other_separators_in_them(path, separator):
    others = "".join(other for other in SEPARATORS if other not in (separator, "\t"))
    save(path, f"a{others}b{separator}target\n1{separator}2\n".encode())
    assert whole(path).columns == (f"a{others}b",)


def test_names_that_are_numbers(path):
    save_csv(path, ["0", "1", "2022"], [[5, 6, 1], [7, 8, 0]])
    data = whole(path, target="2022")
    assert data.columns == ("0", "1") and features(data.train).tolist() == [[5, 6], [7, 8]]
    refused(lambda: whole(path), "only numbers", "if they are names", 'set data.target to one of them, as "2022"')


def test_what_separates_the_names_is_told_where_nothing_known_does(path):
    refused(lambda: whole(save(path, b"a b target\n1 2 0\n")), "line 1 is 'a b target'", "a semicolon or a tab")


def test_another_encoding(path):
    refused(lambda: whole(save(path, "größe,target\n1,0\n".encode("latin-1"))), "not UTF-8", "CSV UTF-8")


cells = st.text(st.sampled_from('ab,;" 1'), min_size=1, max_size=5).filter(lambda cell: cell.strip() == cell)


@QUICK
@given(st.lists(cells, min_size=1, max_size=6), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
def test_quoted_labels_come_back(path, labels, quoting):
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting).writerows([["a", "target"], *([i * 0.5, f"x{x}"] for i, x in enumerate(labels))])
    data = whole(save(path, text.getvalue().encode()))
    assert [data.classes[i] for i in targets(data, data.train)] == [f"x{label}" for label in labels]


@QUICK
@given(st.data())
def test_a_stray_quote_names_the_line_in_which_it_is(path, data):
    separator, first = data.draw(st.sampled_from(SEPARATORS)), data.draw(st.booleans())
    rows = [["kind", "0.5", "7"] if first else ["0.5", "7", "kind"] for _ in range(30)]
    at, cell, side = data.draw(st.integers(0, 28)), data.draw(st.integers(0, 2)), data.draw(st.booleans())
    closed = data.draw(st.one_of(st.none(), st.tuples(st.integers(at + 1, 29), st.integers(0, 2), st.booleans())))
    for row, column, left in ((at, cell, side), *([closed] if closed else [])):
        rows[row][column] = '"' * left + rows[row][column] + '"' * (not left)
    header = ["target", "a", "b"] if first else ["a", "b", "target"]
    save(path, "".join(separator.join(row) + "\r\n" for row in [header, *rows]).encode())
    refused(lambda: whole(path), f"line {at + 2}:", "quote")


def test_notes_of_several_lines_are_no_rows(path):
    save(path, b'a,note,b\n1,"one\ntwo, or so",2\n3,"x",4\n')
    assert features(open_inputs(str(path), (2,), ("a", "b"), "")).tolist() == [[1, 2], [3, 4]]
    save(path, b'a,note,b\n1,"x",2\n1,"x,2\n3,x",4\n')
    refused(lambda: open_inputs(str(path), (2,), ("a", "b"), ""), "line 3", "quote is opened")


def test_a_header_whose_quote_is_never_closed(path):
    refused(lambda: whole(save(path, b'a,"b,target\n1,2,3\n')), "line 1:", "quote")
    refused(lambda: whole(save(path, b'target,"a\n1,2\n3,4"\n5,6\n')), "line 1:", "quote")
    assert whole(save(path, b'"a\n(cm)",b,target\n1,2,3\n')).columns == ("a (cm)", "b")


@pytest.mark.parametrize("cell", ["1_0", "١٢", "１２", "1,5", "0x10", "१"])
def test_numbers_are_ascii_decimals(path, cell):
    save_csv(path, ["a", "target"], [[1, 0], [cell, 1]])
    refused(lambda: whole(path), "line 3, column 'a'", "is not a number")
    save_csv(path, ["a", "target"], [[1, 0], [2, cell]])
    refused(lambda: whole(path, labels=False), "line 3, column 'target'")
    data = whole(path)
    assert data.classes == tuple(sorted(("0", cell)))


@QUICK
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=6), st.sampled_from([";", "\t", "|"]))
def test_decimal_commas(path, values, separator):
    lines = [f"{repr(value).replace('.', ',')}{separator}0,5" for value in values]
    data = whole(save(path, "\n".join([f"a{separator}target", *lines]).encode()), labels=False)
    assert features(data.train)[:, 0].tolist() == values and set(targets(data, data.train).flat) == {0.5}
    assert any("decimal commas" in notice for notice in data.notices)


@pytest.mark.parametrize("cells", [("1,5", "1.5"), ("1.5", "1,5"), ("1.234,5", "1"), ("1,234.5", "1")])
def test_points_and_commas_are_not_mixed(path, cells):
    save(path, "\n".join(["a;target", *(f"{cell};0" for cell in cells)]).encode())
    refused(lambda: whole(path), "column 'a'", "is not a number")


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 0.1", " "])
def test_a_column_without_a_name_is_no_feature(path, name):
    save_csv(path, [name, "a", "target"], [["r1", 2, 0], ["r2", 3, 1]])
    data = whole(path)
    assert data.columns == ("a",) and features(data.train).tolist() == [[2], [3]]
    assert len(data.notices) == 1 and "without a name" in data.notices[0]
    assert features(open_inputs(str(path), (1,), ("a",), "target")).tolist() == [[2], [3]]
    refused(lambda: whole(save_csv(path, [name, "target"], [[1, 2]])), "no column but the target")


def test_two_columns_without_a_name(path):
    data = whole(save(path, b",a,target,\n0,5,1,\n1,6,0,\n"))
    assert data.columns == ("a",) and "('', '')" in data.notices[0]


@pytest.mark.parametrize("name", ["index", "Index", "id", "row_id", "Row", "#", "sample id", "level_0", "No."])
def test_a_column_that_numbers_the_rows_is_no_feature(path, name):
    for numbers in (range(20), range(1, 21), np.random.default_rng(1).permutation(400)[:20]):
        data = whole(save_csv(path, [name, "a", "target"], [[i, k % 3, 0] for k, i in enumerate(numbers)]))
        assert data.columns == ("a",) and features(data.train)[:, 0].tolist() == [k % 3 for k in range(20)]
        assert len(data.notices) == 1 and "numbers the rows" in data.notices[0]
    assert whole(path, columns=(name, "a")).columns == (name, "a"), "a model trained on it still gets it"


@pytest.mark.parametrize("values", [[1.5, 2.5, 3.5], [1, 1, 2], [-1, 0, 1]])
def test_an_index_that_measures_something_is_a_feature(path, values):
    data = whole(save_csv(path, ["index", "target"], [[value, 0] for value in values]))
    assert data.columns == ("index",) and not data.notices


def test_a_feature_that_goes_up_by_one_is_told(path):
    data = whole(save_csv(path, ["day", "target"], [[i + 5, 0] for i in range(30)]))
    assert data.columns == ("day",) and "'day' goes up by one" in data.notices[0]
