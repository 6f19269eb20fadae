"""Attention against its formula written down plainly; what a place may look at; blocks by one name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.errors import JobError
from mpipipe.job import read_job
from mpipipe.layers import Scratch, build_layers, build_model, layer_costs, make_tree
from mpipipe.layers.attention import Attention
from mpipipe.layers.extend import cache_shapes, extend

from .cases import block, linear
from .harness import build, make_run
from .text_cases import attention, embedding


def turned(x):
    """Features i and i + d/2 of (places, d) as one complex number, turned by place * 10000^(-2i/d)."""
    places, d = x.shape
    angles = np.outer(np.arange(places), 10000.0 ** (-2 * np.arange(d // 2) / d))
    out = (x[:, : d // 2] + 1j * x[:, d // 2 :]) * np.exp(1j * angles)
    return np.concatenate([out.real, out.imag], axis=1)


def formula(layer, p, x):
    """One sample (places, width), head by head."""
    groups, d = layer.key_value_heads or layer.heads, x.shape[1] // layer.heads
    qkv = x @ p["qkv"]["weight"] + p["qkv"].get("bias", 0)
    q, k, v = np.split(qkv, [layer.heads * d, (layer.heads + groups) * d], axis=1)
    outs = []
    for head in range(layer.heads):
        group = head // (layer.heads // groups)
        qh, kh, vh = q[:, head * d :][:, :d], k[:, group * d :][:, :d], v[:, group * d :][:, :d]
        if layer.rotary:
            qh, kh = turned(qh), turned(kh)
        scores = np.exp(qh @ kh.T / np.sqrt(d)) * np.tri(len(x))
        outs.append(scores / scores.sum(axis=1, keepdims=True) @ vh)
    return np.concatenate(outs, axis=1) @ p["mix"]["weight"] + p["mix"].get("bias", 0)


@st.composite
def attentions(draw):
    groups, per = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    table = attention(groups * per, key_value_heads=groups, rotary=draw(st.booleans()), bias=draw(st.booleans()))
    return table, (draw(st.integers(1, 7)), groups * per * 2 * draw(st.integers(1, 3)))


@settings(max_examples=50, deadline=None)
@given(attentions(), st.integers(0, 99))
def test_attention_is_its_formula(case, seed):
    table, shape = case
    run = make_run(build(table), shape, rows=2, seed=seed)
    wanted = [formula(run.layer, run.p, x) for x in run.x]
    np.testing.assert_allclose(run.forward(), wanted, rtol=1e-10, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(attentions(), st.integers(0, 6), st.integers(0, 99))
def test_no_place_sees_a_later_one(case, place, seed):
    table, shape = case
    run = make_run(build(table), shape, seed=seed)
    before = run.forward()[:, :place].copy()
    run.x[:, place:] = 1e3
    assert np.array_equal(run.forward()[:, :place], before)
    run.dy[:, :place] = 0
    run.grad_input()
    assert np.isfinite(run.dx).all()


@settings(max_examples=30, deadline=None)
@given(attentions(), st.data())
def test_extending_place_by_place_gives_what_all_places_at_once_give(case, data):
    table, shape = case
    table = block({"kind": "layernorm"}, table)
    run = make_run(build(table), shape)
    whole = run.forward()
    cache = make_tree(cache_shapes(run.layer, shape), np.float64, len(run.x))
    start = 0
    while start < shape[0]:
        stop = data.draw(st.integers(start + 1, shape[0]))
        y = np.full_like(run.x[:, start:stop], np.nan)
        extend(run.layer, run.p, run.x[:, start:stop], y, cache, start, Scratch())
        np.testing.assert_allclose(y, whole[:, start:stop], rtol=1e-9, atol=1e-11)
        start = stop


def test_huge_scores_stay_finite():
    run = make_run(build(attention(2)), (5, 4), dtype=np.float32)
    run.x[...] *= 1e4
    run.all()
    for path, array in run.written():
        assert np.isfinite(array).all(), path


def test_with_one_place_attention_is_two_products():
    run = make_run(build(attention(2, bias=False)), (1, 4))
    value = run.x @ run.p["qkv"]["weight"][:, 8:]
    np.testing.assert_allclose(run.forward(), value @ run.p["mix"]["weight"])


def test_initial_weights_keep_the_size():
    layer = build(attention(4, gain=0.25))
    p = make_tree(layer.parameters((3, 400)), np.float32)
    layer.initialise(p, make_run(layer, (3, 400)).key)
    assert p["qkv"]["weight"].std() == pytest.approx(400**-0.5, rel=0.02)
    assert p["mix"]["weight"].std() == pytest.approx(0.25 * 400**-0.5, rel=0.02)
    assert not p["qkv"]["bias"].any() and not p["mix"]["bias"].any()


# ---- shorthands -------------------------------------------------------------------------------------------------


def test_an_mlp_is_a_block_of_norm_linear_activation_linear():
    made = list(build_layers([{"kind": "mlp", "width": 4, "hidden": 6, "gain": 0.5}], "layers"))
    alike = block({"kind": "layernorm"}, linear(6), {"kind": "gelu"}, linear(4, gain=0.5))
    assert made == [build(alike)]
    gated = {"kind": "mlp", "width": 4, "hidden": 6, "activation": "swiglu", "bias": False}
    alike = block({"kind": "layernorm"}, linear(12, bias=False), {"kind": "swiglu"}, linear(4, bias=False))
    assert list(build_layers([gated], "layers")) == [build(alike)]


def test_a_transformer_is_a_block_of_attention_and_an_mlp_as_often_as_it_says():
    table = {"kind": "transformer", "width": 4, "heads": 2, "rotary": True, "gain": 0.5}
    mixes = block({"kind": "layernorm"}, attention(2, rotary=True, gain=0.5))
    alike = [build(mixes), *build_layers([{"kind": "mlp", "width": 4, "hidden": 16, "gain": 0.5}], "layers")]
    assert list(build_layers([table], "layers")) == alike
    assert list(build_layers([{**table, "repeat": 3}], "layers")) == alike * 3
    assert isinstance(alike[0].layers[1], Attention)


MLP, WHOLE = {"kind": "mlp", "width": 4, "hidden": 6}, {"kind": "transformer", "width": 4, "heads": 2}
REFUSED = [
    ({**MLP, "norm": "layernrom"}, ["layers[1].norm", "'layernrom'", "did you mean 'layernorm'?"]),
    ({**MLP, "activation": "relu"}, ["layers[1].activation", "'relu'", "one of gelu, swiglu"]),
    ({**WHOLE, "activation": "gleu"}, ["layers[1].activation", "did you mean 'gelu'?"]),
    ({**WHOLE, "norm": "xyzzy"}, ["layers[1].norm", "'xyzzy'"]),
    ({**MLP, "hiden": 6}, ["layers[1].hiden", "unknown key", "did you mean 'hidden'?"]),
    ({**WHOLE, "head": 6}, ["layers[1].head", "unknown key", "did you mean 'heads'?"]),
    ({"kind": "transformer", "width": 4}, ["layers[1].heads", "missing"]),
    ({"kind": "mlp", "width": 4}, ["layers[1].hidden", "missing"]),
    ({**WHOLE, "heads": "two"}, ["layers[1].heads", "'two' is a string"]),
    ({**WHOLE, "repeat": 0}, ["layers[1].repeat: 0"]),
    ({**WHOLE, "kind": "tranformer"}, ["layers[1].kind", "did you mean 'transformer'?"]),
    (attention(2, head=3), ["layers[1].head", "did you mean 'heads'?"]),
]


@pytest.mark.parametrize(("table", "words"), REFUSED, ids=[words[-1] for _, words in REFUSED])
def test_what_shorthands_are_refused(table, words):
    with pytest.raises(JobError) as caught:
        list(build_layers([embedding(5, 4), table], "layers"))
    for word in words:
        assert word in str(caught.value)


def test_the_gpt_nano_preset_builds_and_is_tied():
    job = read_job("gpt-nano")
    model = build_model(job.model, (job.data.context,))
    assert len(model.layers) == 1 + 2 * 4 + 2 and model.tied == (0, 10)
    assert model.shapes[-1] == (job.data.context, 96) and model.targets == job.data.context
    costs = layer_costs(model, job.train)
    weights = sum(cost.weight_bytes for cost in costs) - costs[-1].weight_bytes
    assert weights == 4 * (96 * 192 + 128 * 192 + 4 * (12 * 192**2 + 13 * 192) + 2 * 192)
