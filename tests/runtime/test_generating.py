"""Generating: places that come a few at a time give what the whole sequence gives; any cut, order of ranks and number
of threads gives the same bits; the window slides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.errors import StallError
from mpipipe.layers import Key, Scratch, forward_only, generating, layer_costs, make_tree, tree_bytes
from mpipipe.runtime import generating as generating_module
from mpipipe.runtime.generating import place_ports, window_ports
from mpipipe.runtime.member import ActionError
from mpipipe.runtime.messages import MessageError
from mpipipe.runtime.window import Window

from .cases import linear, make_case, places
from .harness import numbers, play, train
from .hostile import Sea, fates

TOKENS, CONTEXT = 11, 8


def model(width=16, heads=4, context=0, positions=True, tied=True, activation="gelu", **attention):
    """Seven layers: an embedding, two transformer blocks of two layers, a norm, the outputs."""
    block = {"kind": "transformer", "repeat": 2, "width": width, "heads": heads, "activation": activation, **attention}
    return [
        {"kind": "embedding", "tokens": TOKENS, "width": width, "context": context, "positions": positions}
        | {"deviation": 0.5},
        block,
        {"kind": "layernorm"},
        {"kind": "unembedding", "tokens": TOKENS} if tied else linear(TOKENS),
    ]


MODELS = {
    "plain": model(),
    "rotary": model(rotary=True, positions=False),
    "shared": model(key_value_heads=2),
    "rotary and shared": model(rotary=True, key_value_heads=1, tied=False),
    "swiglu": model(activation="swiglu", bias=False),
    "longer": model(context=20, heads=1),
    "dropout": [*model()[:2], {"kind": "dropout", "rate": 0.5}, {"kind": "tanh"}, linear(TOKENS)],
}


def case_of(layers, **more):
    return make_case(layers, (CONTEXT,), **more)


def whole(case, tokens):
    """Outputs at every place, by forward passes over the whole sequence."""
    model, scratch = case.model, Scratch()
    x = np.array([tokens], np.float32)
    for i, (layer, shape) in enumerate(zip(model.layers, model.shapes, strict=False)):
        p = make_tree(layer.parameters(shape), np.float32)
        layer.initialise(p, Key((case.job.train.seed, 0, model.drawn_as(i))))
        y = np.empty((1, *layer.output_shape(x.shape[1:])), np.float32)
        layer.forward(p, x, y, make_tree(layer.saved(x.shape[1:]), np.float32, 1), None, scratch)
        x = y
    return x[0]


def outputs_after(case, runs, **more):
    """The outputs after each run of tokens."""

    def story(conductor):
        window = Window(conductor)
        return [window.add(run).copy() for run in runs]

    return play(case, story, **more).value


def text(count, seed=0):
    return np.random.default_rng(seed).integers(0, TOKENS, count).tolist()


def runs_of(tokens, first):
    return [tokens[:first], *([token] for token in tokens[first:])]


def bits(outputs):
    return [array.tobytes() for array in outputs]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("first", [1, 3, CONTEXT])
def test_place_by_place_gives_what_the_whole_sequence_gives(name, first):
    case, tokens = case_of(MODELS[name], cuts=(2,)), text(CONTEXT)
    found = outputs_after(case, runs_of(tokens, first))
    needed = whole(case, tokens)[first - 1 :]
    assert np.array(found).shape == needed.shape
    np.testing.assert_allclose(found, needed, rtol=1e-5, atol=1e-5)
    assert np.ptp(needed) > 0.1  # or anything would do


def test_some_places_at_a_time():
    case, tokens = case_of(MODELS["rotary and shared"], cuts=(1, 4)), text(CONTEXT)
    found = outputs_after(case, [tokens[:2], tokens[2:5], tokens[5:6], tokens[6:]])
    np.testing.assert_allclose(found, whole(case, tokens)[[1, 4, 5, 7]], rtol=1e-5, atol=1e-5)


@given(st.data(), st.sampled_from(sorted(MODELS)), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_any_ranks_and_threads_give_the_same_bits(data, name, seed):
    layers = MODELS[name]
    depth = len(case_of(layers).model.layers)
    plan = data.draw(places(depth, 4))
    runs = runs_of(text(20), data.draw(st.integers(1, 12)))
    many = case_of(layers, **plan)
    found = outputs_after(many, runs, link=Sea(fates(seed)).link)
    assert bits(found) == bits(outputs_after(case_of(layers), runs))


@pytest.mark.parametrize("first", [1, 5, CONTEXT, CONTEXT + 1, 3 * CONTEXT])
def test_the_window_slides(first):
    """By its own rule, told here once more: a full window goes on from its last half, the newest token among them."""
    case, tokens = case_of(MODELS["plain"], cuts=(3,)), text(40)
    seen = tokens[:first][-CONTEXT:]
    needed = [whole(case, seen)[-1]]
    for token in tokens[first:]:
        seen = [*seen, token]
        seen = seen[-(CONTEXT // 2) :] if len(seen) > CONTEXT else seen
        needed.append(whole(case, seen)[-1])
    np.testing.assert_allclose(outputs_after(case, runs_of(tokens, first)), needed, rtol=1e-5, atol=1e-5)


def test_a_window_of_one_place():
    case = make_case(MODELS["plain"], (1,), cuts=(2,))
    found = outputs_after(case, [[1, 2], [3], [4]])
    np.testing.assert_allclose(found, [whole(case, [token])[0] for token in (2, 3, 4)], rtol=1e-5, atol=1e-5)


def test_two_windows_one_after_the_other():
    case = case_of(MODELS["plain"], cuts=(2,))
    one, other = runs_of(text(12), 3), runs_of(text(12, 1), 5)

    def story(conductor):
        windows = Window(conductor), Window(conductor)
        return [bits(window.add(run) for run in runs) for window, runs in zip(windows, (one, other), strict=True)]

    found = play(case, story).value
    assert found == [bits(outputs_after(case, runs)) for runs in (one, other)]


def test_generating_between_steps_changes_none():
    case = case_of(MODELS["plain"], cuts=(2,), micro_batch=3)
    case.__dict__["features"] = np.random.default_rng(7).integers(0, TOKENS, (case.count, CONTEXT))

    def look(conductor, step):
        window = Window(conductor)
        for run in runs_of(text(10), 4):
            window.add(run)

    assert numbers(play(case, train(case, 3, look)).value) == numbers(play(case, train(case, 3)).value)


def test_caches_are_made_once_and_are_what_the_plan_reckons_with():
    case = case_of(MODELS["shared"], cuts=(2,), order=(1, 0))
    made = []

    def story(conductor):
        window = Window(conductor)
        for run in runs_of(text(20), 3):
            window.add(run)
            made.append((conductor.member.generating[0], conductor.member.generating[0].caches))

    members = play(case, story).members
    assert all(one is made[0][0] and caches is made[0][1] for one, caches in made)
    costs = generating(case.model, forward_only(layer_costs(case.model, case.job.train)))
    found = sum(tree_bytes(tree) for member in members.values() for one in member.generating for tree in one.caches)
    assert found == sum(cost.state_bytes for cost in costs) == 2 * 2 * 2 * CONTEXT * 4 * 4


def test_what_a_stage_raises_comes_out_with_its_place(monkeypatch):
    def extend(*arguments):
        if arguments[5] == 4:  # start
            raise FloatingPointError("not today")

    def story(conductor):
        window = Window(conductor)
        return [window.add(run) for run in (text(4), [1])]

    monkeypatch.setattr(generating_module, "extend", extend)
    for order in ((0, 1), (1, 0)):
        errors = play(case_of(MODELS["plain"], cuts=(2,), order=order), story, hopeful=False).errors
        (error,) = errors.values()
        assert isinstance(error, ActionError) and str(error) == "stage 0, places 4 to 4"
        assert isinstance(error.__cause__, FloatingPointError) and list(errors) == [order[0]]


def test_a_silent_rank_is_not_waited_for_for_ever():
    case = case_of(MODELS["plain"], cuts=(2,), stall_s=0.3)
    outcome = play(case, lambda conductor: Window(conductor).add([1, 2]), parts={1: lambda member: 0}, hopeful=False)
    assert isinstance(outcome.errors[0], StallError)


def test_messages_are_checked():
    case = case_of(MODELS["plain"], cuts=(2,))
    member = play(case, lambda conductor: Window(conductor).add([1])).members[0]
    ports, ends = place_ports(member.crew, 0), window_ports(member.crew)
    assert (ends.tokens_out.rows, ends.tokens_out.shape) == (CONTEXT, ())
    assert (ports.places_out.rows, ports.places_out.shape) == (CONTEXT, (16,))
    assert (ends.outputs_in.rows, ends.outputs_in.shape) == (1, (TOKENS,))
    for wrong in (np.zeros((CONTEXT + 1, 16), "f4"), np.zeros((2, 16)), np.zeros((2, 15), "f4")):
        with pytest.raises(MessageError):
            ports.places_out.checked(wrong)
    assert place_ports(replace(member.crew, rank=1), 1).places_in == replace(ports.places_out, peer=0)
