"""Embedding and unembedding: what is looked up, what is summed, how the two are drawn."""

import numpy as np
import pytest

from mpipipe.errors import JobError, ShapeError
from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers import Key, build_model, layer_costs, make_tree

from .cases import block, linear
from .harness import build, make_run
from .text_cases import attention, embedding


def model_of(*tables, shape=(4,)):
    return build_model(ModelSettings(tuple(tables)), shape)


def unembedding(tokens, **more):
    return {"kind": "unembedding", "tokens": tokens, **more}


def test_places_get_the_sum_of_their_tokens_and_their_own_vector():
    run = make_run(build(embedding(3, 2)), (4,), rows=2)
    run.x[...] = [[0, 2, 2, 1], [1, 1, 1, 1]]
    weight, position = run.p["weight"], run.p["position"]
    wanted = [[weight[int(token)] + position[place] for place, token in enumerate(row)] for row in run.x]
    assert np.array_equal(run.forward(), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_repeated_tokens_add_up_and_absent_ones_get_nothing(dtype):
    run = make_run(build(embedding(6, 3, context=9)), (4,), rows=3, dtype=dtype)
    run.x[...] = [[0, 2, 2, 5], [2, 2, 2, 2], [5, 0, 3, 2]]
    total = run.all().g
    for token in range(6):
        np.testing.assert_allclose(total["weight"][token], run.dy[run.x == token].sum(axis=0), rtol=1e-6, atol=1e-6)
    assert not total["weight"][[1, 4]].any() and not total["position"][4:].any()
    np.testing.assert_allclose(total["position"][:4], run.dy.sum(axis=0), rtol=1e-6)
    run.grad_weight(first=False)
    np.testing.assert_allclose(total["weight"][2], 2 * run.dy[run.x == 2].sum(axis=0), rtol=1e-6, atol=1e-6)
    assert not total["weight"][[1, 4]].any()


def test_every_token_below_two_to_the_24_survives_float32():
    run = make_run(build(embedding(2**24 - 1, 1, positions=False)), (2,), rows=1, dtype=np.float32)
    run.x[...] = [[2**24 - 2, 2**24 - 3]]
    assert np.array_equal(run.forward()[0], run.p["weight"][[-1, -2]])


def test_an_unembedding_is_the_product_with_the_tokens_vectors():
    run = make_run(build(unembedding(5)), (2, 3)).all(2)
    np.testing.assert_allclose(run.y, run.x @ run.p["weight"].T)
    np.testing.assert_allclose(run.dx, run.dy @ run.p["weight"])
    np.testing.assert_allclose(run.g["weight"], np.einsum("spt,spw->tw", run.dy, run.x))


def test_both_copies_are_drawn_alike_and_positions_are_not():
    model = model_of(embedding(7, 3, deviation=0.1), linear(3), unembedding(7), shape=(4,))
    first, last = (make_tree(model.layers[i].parameters(model.shapes[i]), np.float32) for i in model.tied)
    for tree, number in ((first, 0), (last, 2)):
        model.layers[number].initialise(tree, Key((1, model.drawn_as(number))))
    assert first["weight"].tobytes() == last["weight"].tobytes()
    assert first["position"].tobytes() != first["weight"][:4].tobytes()
    assert model.drawn_as(1) == 1 and model.tied == (0, 2)


def test_the_table_has_the_deviation_asked_for():
    layer = build(embedding(300, 100, context=200, deviation=0.5))
    p = make_tree(layer.parameters((200,)), np.float32)
    layer.initialise(p, Key((3,)))
    for table in p.values():
        assert table.std() == pytest.approx(0.5, rel=0.02) and abs(table.mean()) < 0.01


def test_only_the_tied_weights_gradient_has_room_for_its_other_copy():
    """The table of positions has no copy."""
    costs = layer_costs(model_of(embedding(7, 3), linear(3), unembedding(7)), TrainSettings(batch=2, micro_batch=2))
    assert costs[0].weight_bytes == (7 * 3 + 4 * 3) * 4
    assert costs[0].gradient_bytes == (2 * 7 * 3 + 4 * 3) * 4
    assert costs[1].gradient_bytes == costs[1].weight_bytes
    assert costs[2].gradient_bytes == 2 * costs[2].weight_bytes == 2 * 7 * 3 * 4


FIRST = embedding(7, 6)
REFUSED = [
    ([linear(6), unembedding(7)], ["layer 001_unembedding", "kind linear", "an embedding as the first layer"]),
    ([linear(4), FIRST, unembedding(7)], ["layer 002_unembedding", "kind linear"]),
    ([FIRST, unembedding(8)], ["layer 001_unembedding", "(8, 6)", "(7, 6)"]),
    ([FIRST, linear(5), unembedding(7)], ["layer 002_unembedding", "(7, 5)", "(7, 6)"]),
    ([FIRST, unembedding(7), linear(6), unembedding(7)], ["2 unembeddings", "needed: one unembedding"]),
    ([unembedding(7)], ["layer 000_unembedding", "kind unembedding"]),
    ([FIRST, unembedding(0)], ["001_unembedding", "unembedding.tokens: 0", "1 or more"]),
    ([embedding(0, 3)], ["000_embedding", "embedding.tokens: 0", "1 or more"]),
    ([embedding(2**24, 3)], ["embedding.tokens: 16777216", "below 2^24"]),
    ([embedding(5, 0)], ["000_embedding", "width 0"]),
    ([embedding(5, 3, context=-1)], ["context -1"]),
    ([embedding(5, 3, deviation=0.0)], ["deviation 0.0"]),
    ([embedding(5, 3), embedding(5, 3)], ["001_embedding", "(4, 3)", "(places,)"]),
    ([embedding(5, 3, context=3)], ["layer 000_embedding", "4 places", "context = 3", "data.context"]),
    ([FIRST, attention(4), linear(2)], ["001_attention", "width 6, 4 heads", "a width that the heads divide"]),
    ([FIRST, attention(0)], ["heads 0", "at least one head"]),
    ([FIRST, attention(2, key_value_heads=-1)], ["key_value_heads -1"]),
    ([FIRST, attention(3, key_value_heads=2)], ["3 heads, 2 key_value_heads", "key_value_heads divides"]),
    ([FIRST, attention(2, rotary=True)], ["attention.rotary", "3 features a head", "an even number"]),
    ([linear(6), attention(2)], ["001_attention", "(6,)", "(places, width)"]),
    ([FIRST, linear(5), {"kind": "swiglu"}], ["002_swiglu", "(4, 5)", "even number"]),
    ([FIRST, block(block(unembedding(6)))], ["layers[1].layers[0].layers", "an unembedding within a block"]),
    ([FIRST, block(attention(5))], ["001_residual", "width 6, 5 heads"]),
]


@pytest.mark.parametrize(("tables", "words"), REFUSED, ids=[words[-1] for _, words in REFUSED])
def test_what_text_models_are_refused(tables, words):
    with pytest.raises((ShapeError, JobError)) as caught:
        model_of(*tables)
    assert caught.value.status == 2
    for word in words:
        assert word in str(caught.value)
