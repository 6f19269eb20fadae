"""Layers of one signature take the same time: what decides it, and what does not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.job import ModelSettings, TrainSettings
from mpipipe.layers import build_model, layer_costs, signature

LINEAR, RELU = {"kind": "linear", "outputs": 8}, {"kind": "relu"}
BLOCK = {"kind": "residual", "layers": [{"kind": "layernorm"}, LINEAR, {"kind": "gelu"}]}


def signatures(*layers, loss="softmax_cross_entropy", inputs=8):
    model = build_model(ModelSettings(loss=loss, layers=layers), (inputs,))
    return [signature(model, i) for i in range(len(model.layers))]


def test_what_a_signature_says():
    assert signatures(RELU, LINEAR, LINEAR, BLOCK, {**LINEAR, "bias": False}, inputs=3) == [
        "relu() of 3, no gradient by its input",
        "linear(outputs=8) of 3, no gradient by its input",
        "linear(outputs=8) of 8",
        "residual(layers=[layernorm(), linear(outputs=8), gelu()]) of 8",
        "linear(outputs=8, bias=False) of 8, softmax_cross_entropy",
    ]


def test_a_block_in_front_still_wants_its_own_gradients():
    assert signatures(BLOCK, LINEAR)[0] == "residual(layers=[layernorm(), linear(outputs=8), gelu()]) of 8"


def test_the_loss_is_the_last_layers():
    assert signatures(LINEAR, LINEAR, loss="mean_squared_error")[1].endswith(", mean_squared_error")


@given(st.lists(st.sampled_from([LINEAR, RELU, BLOCK, {**LINEAR, "gain": 0.5}]), min_size=1, max_size=6))
@settings(deadline=None)
def test_equal_layers_at_equal_shapes_are_equal(middle):
    names = signatures(LINEAR, *middle, *middle, LINEAR)
    assert names[1 : len(middle) + 1] == names[len(middle) + 1 : -1]
    assert len(set(names[1:-1])) == len({str(layer) for layer in middle})


def test_costs_carry_it():
    model = build_model(ModelSettings(layers=(LINEAR, RELU, LINEAR)), (8,))
    costs = layer_costs(model, TrainSettings(batch=4, micro_batch=2))
    assert [cost.signature for cost in costs] == [signature(model, i) for i in range(3)]
