"""CSV tables: round trips, names of classes and columns, and every way in which they can be wrong."""

import gzip

import numpy as np
import pytest
from data_files import features, open_path, refused, save, save_csv, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpipipe.data import open_inputs

HEADER = ["a", "b", "target"]
ROWS = [[1.5, -2, 0], [2.5, 1e-3, 2], [3, 4, 1]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.csv"


def whole(path, **more):
    return open_path(path, **{"validation": 0.0, **more})


@pytest.mark.parametrize("name", ["some.csv", "some.csv.gz", "SOME.CSV"])
def test_round_trip(tmp_path, name):
    data = whole(save_csv(tmp_path / name, HEADER, ROWS))
    assert data.columns == ("a", "b") and data.classes == () and data.train.shape == (2,)
    assert features(data.train).tolist() == [row[:2] for row in ROWS]
    assert targets(data, data.train).tolist() == [0, 2, 1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.lists(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3), min_size=1, max_size=8))
def test_every_number_comes_back_exactly(path, rows):
    data = whole(save_csv(path, ["target", "a", "b"], rows), labels=False)
    assert np.array_equal(features(data.train), np.array(rows)[:, 1:])
    assert np.array_equal(targets(data, data.train), np.array(rows)[:, :1]) and data.target_shape == (1,)


def test_more_rows_than_a_block_and_bytes_where_they_do(path):
    rows = [[i % 256, i % 7, i % 3] for i in range(60_000)]
    data = whole(save_csv(path, HEADER, rows))
    assert data.train.source.x.dtype == np.uint8
    assert np.array_equal(features(data.train), np.array(rows)[:, :2])
    rows[-1][0] = 0.5
    assert np.array_equal(features(whole(save_csv(path, HEADER, rows)).train), np.array(rows)[:, :2])


def test_names_of_classes_are_sorted_and_numbered(path):
    data = whole(save_csv(path, ["x", "kind"], [[1, "pear"], [2, "apple"], [3, "pear"], [4, "7"]]), target="kind")
    assert data.classes == ("7", "apple", "pear") and data.labels
    assert targets(data, data.train).tolist() == [2, 1, 2, 0]


def test_whole_labels_are_kept_as_they_are(path):
    data = whole(save_csv(path, HEADER, [[0, 0, 5], [0, 0, "3.0"]]))
    assert data.classes == () and targets(data, data.train).tolist() == [5, 3]


def test_classes_and_columns_of_a_trained_model(tmp_path, path):
    data = whole(save_csv(path, ["b", "target", "a"], [[1, "y", 2]]), classes=("x", "y"), columns=("a", "b"))
    assert features(data.train).tolist() == [[2, 1]] and targets(data, data.train).tolist() == [1]
    refused(lambda: whole(path, classes=("x", "z")), "class 'y' in row 0", "trained on")


def test_validation_from_another_file_uses_the_same_numbers(tmp_path, path):
    save_csv(path, HEADER, [[1, 2, "u"], [3, 4, "v"], [5, 6, "w"]])
    other = save_csv(tmp_path / "other.csv", ["target", "b", "a"], [["w", 8, 7]])
    data = open_path(path, validation=str(other))
    assert data.train.count == 3 and features(data.validation).tolist() == [[7, 8]]
    assert targets(data, data.validation).tolist() == [2]
    refused(lambda: open_path(other, validation=str(path)), path, "class 'u' in row 0")
    refused(lambda: open_path(save_csv(tmp_path / "n.csv", HEADER, ROWS), validation=str(path)), "names of classes")


def test_quotes_blank_lines_byte_order_mark_and_spaces(path):
    save(path, '\ufeff"a, or so", b ,target\r\n\r\n"1",2,x\r\n\r\n3, 4 , x\r\n'.encode())
    data = whole(path)
    assert data.columns == ("a, or so", "b") and data.classes == ("x",)
    assert features(data.train).tolist() == [[1, 2], [3, 4]]


def test_inputs_pick_columns_by_name_and_need_no_target(path):
    save_csv(path, ["b", "note", "a"], [[1, "text", 2], [3, "more", 4]])
    assert features(open_inputs(str(path), (2,), ("a", "b"), "target")).tolist() == [[2, 1], [4, 3]]
    refused(lambda: open_inputs(str(path), (2,), ("a", "bb"), "target"), "no column 'bb'", "did you mean 'b'")
    refused(lambda: open_inputs(str(path), (3,), (), "target"), "line 2", "column 'note'", "'text'")
    save_csv(path, ["x", "y", "target"], [[1, 2, "unread"]])
    assert features(open_inputs(str(path), (2,), (), "target")).tolist() == [[1, 2]]
    refused(lambda: open_inputs(str(path), (3,), (), "target"), "(2,)", "(3,)")


def test_columns_may_be_named_by_numbers(path):
    save_csv(path, ["0", "1"], [[5, 6]])
    assert features(open_inputs(str(path), (2,), ("1", "0"), "target")).tolist() == [[6, 5]]


def test_no_header(tmp_path):
    file = save(tmp_path / "mnist_5k.csv.gz", b"0,0,12,7\n0,3,0,1\n")
    refused(lambda: open_path(file), file, "first line has only numbers", "'target'")
    refused(lambda: open_inputs(str(file), (3,), (), "target"), "first line has only numbers")


def test_unknown_target_column(path):
    save_csv(path, ["a", "targets"], [[1, 2]])
    refused(lambda: open_path(path), "no column 'target'", "did you mean 'targets'?")


def test_ragged_row(path):
    refused(lambda: open_path(save(path, b"a,b,target\n1,2,3\n\n1,2\n")), "line 4", "2 cells", "3 cells")


@pytest.mark.parametrize("cell, words", [("abc", "'abc' is not a number"), ("", "an empty cell")])
def test_a_cell_that_is_not_a_number(path, cell, words):
    save_csv(path, HEADER, [[1, 2, 0], [3, cell, 0]])
    refused(lambda: open_path(path), "line 3", "column 'b'", words)


@pytest.mark.parametrize("cell", ["north", ""])
def test_a_value_to_learn_that_is_not_a_number(path, cell):
    save_csv(path, HEADER, [[1, 2, 0], [3, 4, cell]])
    refused(lambda: open_path(path, labels=False), "line 3", "column 'target'")


def test_an_empty_label(path):
    refused(lambda: open_path(save_csv(path, HEADER, [[1, 2, "x"], [1, 2, " "]])), "line 3", "column 'target'", "empty")


def test_labels_that_are_fractions_are_not_taken_for_names(path):
    refused(lambda: open_path(save_csv(path, HEADER, [[1, 2, 1], [1, 2, 2.5]])), "target 2.5 in row 1", "whole numbers")


def test_empty_files_and_tables(path):
    refused(lambda: open_path(save(path, b"")), "empty file")
    refused(lambda: open_path(save(path, b"a,target\n")), "at least one sample")
    refused(lambda: open_path(save(path, b"target\n1\n")), "no column but the target")
    refused(lambda: open_path(save(path, b"a,a,target\n1,2,3\n")), "2 columns are named 'a'")


def test_damage(tmp_path):
    file = save_csv(tmp_path / "some.csv.gz", HEADER, [[i, i * i % 911, i % 3] for i in range(5000)])
    content = file.read_bytes()
    for wrong in (content[: len(content) // 2], gzip.decompress(content), content[:-5]):
        file.write_bytes(wrong)
        refused(lambda: open_path(file), file, "cannot be read")
    refused(lambda: open_path(save(tmp_path / "some.csv", b"a,target\n\xff,1\n")), "cannot be read")
    refused(lambda: open_path(save(tmp_path / "some.csv", b"a,target\n" + b"1" * 200_000 + b",1\n")), "cannot be read")
