"""Text as samples: windows of tokens, the next token as target, the tail held back, and what is refused."""

import gzip
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
from data_files import features, open_path, refused, save, targets
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mpipipe.data import check_labels, check_tokens, open_inputs
from mpipipe.data.windows import Windows
from mpipipe.errors import DataError
from mpipipe.fit import check_inputs, check_targets
from mpipipe.report import bits, bits_text, of_tokens

PLAY = "To be, or not to be:\nthat is the question\n"
lasting = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=2, max_size=80)


@pytest.fixture
def play(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text(PLAY)
    return path


def pairs(data, part):
    """Tokens that are seen, with those that follow, for every place whose target counts, in order."""
    x, t = features(part, np.float32), targets(data, part).reshape(part.count, *part.shape)
    return list(zip(x[t >= 0].astype(int).tolist(), t[t >= 0].tolist(), strict=True))


def sequences(path, y, x=None):
    np.savez(path, x=np.zeros(np.shape(y), np.uint8) if x is None else x, y=y)
    return path


def model_of(tokens, outputs):
    """What `check_inputs` and `check_targets` look at."""
    loss = SimpleNamespace(labels=True, target_shape=lambda shape: shape[:-1])
    layers = [SimpleNamespace(kind="embedding", tokens=tokens)]
    return SimpleNamespace(layers=layers, names=["000_embedding"], shapes=[outputs[:-1], outputs], loss=loss)


@given(st.integers(2, 200), st.integers(1, 50))
@example(8, 4)
@example(9, 4)
def test_windows_cover_a_row_of_tokens_once(length, context):
    tokens = np.arange(length, dtype=np.uint16)
    x, y = Windows(tokens, context), Windows(tokens, context, 1, -1)
    count = x.shape[0]
    assert x.shape == y.shape == (-(-(length - 1) // context), context)
    seen, following = np.empty(x.shape, np.float32), np.empty(x.shape, np.int64)
    x.fill(np.arange(count), seen)
    y.fill(np.arange(count), following)
    counts = following >= 0
    assert counts[:, 0].all() and (following[~counts] == -1).all()
    assert np.array_equal(seen[counts], tokens[:-1]) and np.array_equal(following[counts], tokens[1:])
    padding = np.arange(count * context).reshape(count, context) >= length
    assert (seen[padding] == 0).all()


def test_windows_come_in_any_order_and_shape():
    x = Windows(np.arange(10), 3)
    out = np.empty((2, 3, 1))
    x.fill(np.array([2, 0]), out)
    assert out.tolist() == [[[6], [7], [8]], [[0], [1], [2]]]


@lasting
@given(texts, st.integers(1, 30), st.sampled_from(["characters", "bytes"]))
def test_a_text_is_learned_whole_and_once(tmp_path, text, context, tokens):
    text = text.removeprefix("\ufeff") + "."
    path = save(tmp_path / "any.txt", text.encode())
    data = open_path(path, validation=0.0, context=context, tokens=tokens) if len(text) > 1 else None
    if data is None:
        return
    vocabulary = sorted(set(text))
    numbers = list(text.encode()) if tokens == "bytes" else [vocabulary.index(character) for character in text]
    assert pairs(data, data.train) == list(zip(numbers, numbers[1:], strict=False))
    assert data.train.shape == (context,) and data.labels and data.target_shape == (() if context == 1 else (context,))
    assert list(data.classes) == ([] if tokens == "bytes" else vocabulary) and data.tokens == tokens
    assert data.vocabulary == (256 if tokens == "bytes" else len(vocabulary)) and not data.validation.count


@lasting
@given(st.integers(2, 300), st.integers(2, 20), st.floats(0.01, 0.9))
def test_the_tail_is_held_back_and_nothing_of_it_is_learned(tmp_path, length, context, fraction):
    path = save(tmp_path / "tail.txt", bytes(range(256)) + bytes(length - 2))
    data = open_path(path, validation=fraction, context=context, tokens="bytes")
    numbers = [*range(256), *[0] * (length - 2)]
    begin = data.train.count * context
    assert pairs(data, data.train) == list(zip(numbers[: begin - 1], numbers[1:begin], strict=True))
    assert pairs(data, data.validation) == list(zip(numbers[begin:], numbers[begin + 1 :], strict=False))
    whole = data.train.count + data.validation.count
    assert data.train.count and data.validation.count and abs(data.validation.count - fraction * whole) <= 1
    assert data.validation.source_rows(np.array([0])) == [data.train.count]


def test_auto_holds_back_a_tenth_whatever_the_seed(tmp_path):
    path = save(tmp_path / "long.txt", bytes(range(97, 117)) * 50)
    one, other = (open_path(path, context=10, seed=seed) for seed in (1, 2))
    assert (one.train.count, one.validation.count) == (90, 10)
    assert np.array_equal(features(one.validation), features(other.validation))
    assert open_path(path, context=10, all_rows=True).validation.count == 100


def test_a_text_of_one_window_holds_nothing_back(play):
    data = open_path(play, context=500)
    assert (data.train.count, data.validation.count) == (1, 0) and len(pairs(data, data.train)) == len(PLAY) - 1


def test_the_vocabulary_is_that_of_the_whole_text(tmp_path):
    data = open_path(save(tmp_path / "a.txt", b"b\r\na" * 20 + "é☃".encode()), context=8)
    assert data.classes == ("\n", "\r", "a", "b", "é", "☃")
    assert features(data.train).max() == 3 and targets(data, data.validation).max() == 5


def test_tokens_stay_as_narrow_as_they_allow(tmp_path):
    narrow = open_path(save(tmp_path / "a.txt", b"abc" * 9)).train.source
    many = "".join(map(chr, range(200, 600)))
    wide = open_path(save(tmp_path / "b.txt", many.encode())).train.source
    assert narrow.x.dtype == np.uint8 and wide.x.dtype == np.uint16
    assert narrow.x.tokens is narrow.y.tokens


def test_gz_and_a_byte_order_mark(tmp_path, play):
    packed = open_path(save(tmp_path / "b.TXT.gz", PLAY.encode()), validation=0.0)
    marked = open_path(save(tmp_path / "c.txt", b"\xef\xbb\xbf" + PLAY.encode()), validation=0.0)
    plain = open_path(play, validation=0.0)
    assert pairs(packed, packed.train) == pairs(marked, marked.train) == pairs(plain, plain.train)
    (tmp_path / "b.TXT.gz").write_bytes(gzip.compress(PLAY.encode())[:-9])
    refused(lambda: open_path(tmp_path / "b.TXT.gz"), "b.TXT.gz: cannot be read")


def test_known_characters_number_another_text(tmp_path, play):
    known = tuple(sorted(set(PLAY)))
    path = save(tmp_path / "more.txt", b"not to be\n")
    data = open_path(path, validation=0.0, classes=known, trained="characters")
    assert data.classes == known and "".join(known[i] for i, _ in pairs(data, data.train)) == "not to be"
    path = save(tmp_path / "odd.txt", b"be\n\nnot 2 be\n")
    call = lambda: open_path(path, classes=known, trained="characters")  # noqa: E731
    refused(call, "odd.txt: the character '2' (line 3, column 5)", f"one of its {len(known)} characters", "',' ':'")
    refused(lambda: open_path(play, validation=str(path)), "odd.txt: the character '2' (line 3, column 5)")
    second = open_path(play, validation=str(save(tmp_path / "fine.txt", b"to be")))
    assert second.train.count == 1 and len(pairs(second, second.validation)) == 4


def test_the_unknown_character_is_found_beyond_the_first_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("mpipipe.data.text._PIECE", 3)
    path = save(tmp_path / "a.txt", b"aaaaa\naab")
    refused(lambda: open_path(path, classes=("\n", "a"), trained="characters"), "'b' (line 2, column 3)")


def test_bytes_take_any_file(tmp_path):
    path = save(tmp_path / "a.txt", b"caf\xe9\x00\xff")
    data = open_path(path, validation=0.0, tokens="bytes")
    assert pairs(data, data.train) == [(99, 97), (97, 102), (102, 233), (233, 0), (0, 255)] and data.classes == ()
    words = "a.txt: its byte 3 (counted from 0), 0xe9, is no UTF-8", 'set data.tokens="bytes"'
    refused(lambda: open_path(path), *words)


def test_texts_that_are_refused(tmp_path, play):
    refused(lambda: open_path(save(tmp_path / "a.txt", b"")), "a.txt: an empty text", "at least 2 characters")
    refused(
        lambda: open_path(save(tmp_path / "a.txt", b"a"), tokens="bytes"),
        "a.txt: holds one byte only",
        "at least 2 bytes",
    )
    refused(lambda: open_path(play, labels=False), "play.txt: a text", "another loss")
    refused(lambda: open_inputs(str(play), (128,), (), ""), "play.txt: a text", "python -m mpipipe generate CHECKPOINT")


def test_a_text_is_cut_as_the_model_was_trained(play):
    refused(lambda: open_path(play, tokens="bytes", trained="characters"), "a text of bytes", "needed: characters, as")
    refused(lambda: open_path(play, trained="bytes"), "a text of characters", 'set data.tokens="bytes"')
    refused(lambda: open_path(play, classes=("cat", "dog"), trained=""), "a text of characters", "needed: no text")
    refused(lambda: open_path("digits", validation=str(play)), "play.txt: a text of characters", "needed: no text")


def test_sequences_of_labels_in_npz(tmp_path):
    y = np.where(np.arange(40).reshape(8, 5) % 7 == 6, -1, np.arange(40).reshape(8, 5) % 4)
    data = open_path(sequences(tmp_path / "a.npz", y), validation=0.0)
    assert data.target_shape == (5,) and np.array_equal(targets(data, data.train), y)
    check_labels(data.train, 4, "a", data.target_shape)
    words = "label 3 in row 0, position 3 (counted from 0)", "0 to 2", "or -1", "at least 4 outputs"
    refused(lambda: check_labels(data.train, 3, "a", data.target_shape), *words)
    grid = open_path(sequences(tmp_path / "b.npz", y.reshape(8, 5, 1)), validation=0.0)
    assert grid.target_shape == (5, 1)
    refused(lambda: check_labels(grid.train, 3, "a", (5, 1)), "label 3 in row 0, position (3, 0)")


def test_labels_below_minus_one_or_all_ignored(tmp_path):
    y = np.zeros((6, 5), int)
    y[2, 4] = -2
    refused(lambda: open_path(sequences(tmp_path / "a.npz", y)), "target -2 in row 2, position 4", "or -1 to ignore")
    data = open_path(sequences(tmp_path / "b.npz", np.full((6, 5), -1)), validation=0.0)
    refused(lambda: check_labels(data.train, 3, "b.npz", data.target_shape), "every label is -1")
    single = sequences(tmp_path / "c.npz", np.array([[0], [-1]]))
    message = refused(lambda: open_path(single), "target -1 in row 1 (counted from 0)")
    assert "ignore" not in message


def test_names_in_sequences(tmp_path):
    y = np.array(list("abcabc")).reshape(2, 3)
    data = open_path(sequences(tmp_path / "a.npz", y, np.zeros((2, 3))), validation=0.0)
    assert targets(data, data.train).tolist() == [[0, 1, 2], [0, 1, 2]]
    refused(lambda: open_path(tmp_path / "a.npz", classes=("a", "b")), "class 'c' in row 0, position 2")


@pytest.mark.parametrize("value", [9, -1, 1.5])
def test_tokens_out_of_range_are_named(tmp_path, value):
    x = np.ones((6, 4))
    check_tokens(open_path(sequences(tmp_path / "a.npz", np.ones((6, 4)), x), validation=0.0).train, 5, "a", "l")
    x[4, 2] = value
    data = open_path(sequences(tmp_path / "a.npz", np.ones((6, 4)), x), validation=0.0)
    words = [f"a.npz: token {value:g} in row 4, position 2 (counted from 0)", "whole numbers from 0 to 4"]
    words += ["for layer 000_embedding has an embedding of that many"]
    words += ["set its tokens to 10 or more" if value == 9 else "; mend the data"]
    refused(lambda: check_inputs(data, model_of(5, (4, 2)), "a.npz"), *words)


def test_a_model_has_room_for_the_vocabulary(play):
    data = open_path(play, context=8)
    need = len(set(PLAY))
    check_inputs(data, model_of(need, (8, need)), "play.txt")
    check_targets(data, model_of(need, (8, need)), "play.txt")
    few = model_of(need - 1, (8, need - 1))
    words = f"a vocabulary of {need} characters", f"000_embedding has tokens = {need - 1}"
    refused(lambda: check_inputs(data, few, "play.txt"), *words, f"set tokens of that layer to {need}")
    refused(lambda: check_targets(data, few, "play.txt"), f"set outputs of the last layer to {need}")
    refused(lambda: check_targets(data, model_of(need, (7, need)), "play.txt"), "targets of shape (8,)", "shape (7,)")
    single = open_path(play, context=1)
    check_targets(single, model_of(need, (1, need)), "play.txt")
    with pytest.raises(DataError, match="256 bytes"):
        check_inputs(open_path(play, tokens="bytes"), few, "play.txt")


def test_losses_in_bits(play):
    data, other = open_path(play, context=8), open_path("digits")
    assert bits(data, log(2) * 3) == pytest.approx(3) and bits(data, None) is None and bits(other, 1.0) is None
    assert bits_text(data, 2.5) == ", 2.5000 bits per character" and bits_text(other, None) == ""
    assert of_tokens(data) == " of 8 characters" and of_tokens(other) == ""
    assert bits_text(open_path(play, tokens="bytes"), 2.5).endswith("per byte")
