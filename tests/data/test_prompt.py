"""Prompts to tokens, and tokens to what they stand for."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpipipe.data import decode, encode
from mpipipe.errors import DataError

CLASSES = ("\n", " ", "a", "b", "é", "木")


def refused(prompt, kind, classes=(), vocabulary=6):
    with pytest.raises(DataError) as error:
        encode(prompt, kind, classes, vocabulary)
    return str(error.value)


@given(st.text(CLASSES, min_size=1))
def test_characters_there_and_back(prompt):
    tokens = encode(prompt, "characters", CLASSES, 6)
    assert [CLASSES[token] for token in tokens] == list(prompt)
    assert decode(tokens, "characters", CLASSES, True).decode() == prompt


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])))
def test_bytes_there_and_back(prompt):
    tokens = encode(prompt, "bytes", (), 256)
    assert bytes(tokens) == prompt.encode() == decode(tokens, "bytes", (), True)


@given(st.binary(min_size=1))
def test_any_bytes_of_a_command_line(content):
    assert bytes(encode(content.decode("utf-8", "surrogateescape"), "bytes", (), 256)) == content


@given(st.lists(st.integers(0, 99), min_size=1), st.lists(st.integers(0, 99), min_size=1))
def test_numbers_there_and_back(one, other):
    assert encode(" ".join(map(str, one)), "", (), 100) == one
    text = decode(one, "", (), True) + decode(other, "", (), False)
    assert encode(text.decode(), "", (), 100) == one + other
    assert re.fullmatch(rb"\d+( \d+)*", text)


def test_an_unknown_character_is_named_with_its_place():
    text = refused("ab\nbcé", "characters", CLASSES)
    assert "PROMPT: the character 'c' (line 2, column 2), which the model was not trained on" in text
    assert "one of its 6 characters, which are '\\n' ' ' 'a' 'b' 'é' '木'" in text
    assert "'\\udcff' (line 1, column 2)" in refused("a\udcff", "characters", CLASSES)


@pytest.mark.parametrize(("kind", "one"), [("characters", "character"), ("bytes", "byte"), ("", "token")])
def test_an_empty_prompt(kind, one):
    assert refused("", kind, CLASSES) == f"PROMPT: is empty; needed: at least one {one} to go on from"


def test_numbers_that_are_none():
    assert refused(" \n", "").startswith("PROMPT: is empty")
    needed = "needed: whole numbers from 0 to 5, separated by spaces"
    for word in ("x", "-1", "1.5", "²", "1,2", "9999999999"):
        assert refused(f"1 2 {word} 3", "") == f"PROMPT: token '{word}', number 3 of the prompt; {needed}"
    assert refused("1 6", "") == f"PROMPT: token 6, number 2 of the prompt; {needed}"


def test_a_byte_that_the_model_has_no_vector_for():
    assert "token 98, number 2 of the prompt; needed: whole numbers from 0 to 97" in refused("ab", "bytes", (), 98)
