"""Layers from tables: what is built, what it costs (by hand), and what is refused with which words."""

import numpy as np
import pytest

from mpipipe.errors import JobError, ShapeError
from mpipipe.job import ModelSettings, TrainSettings, read_job
from mpipipe.layers import KINDS, Key, Work, build_layers, build_model, forward_only, layer_costs, leaves, make_tree

from .cases import block, flat_cases, linear, name_of
from .harness import build

SMALL = ModelSettings(
    layers=(
        {"kind": "flatten"},
        linear(8),
        block({"kind": "layernorm"}, linear(4), {"kind": "gelu"}, linear(8, bias=False)),
        {"kind": "relu"},
        linear(3),
    )
)


def model_of(*tables, shape=(6,), loss="softmax_cross_entropy"):
    return build_model(ModelSettings(tuple(tables), loss), shape)


def test_names_shapes_and_first_weights():
    model = build_model(SMALL, (2, 3))
    assert model.names == ("000_flatten", "001_linear", "002_residual", "003_relu", "004_linear")
    assert model.shapes == ((2, 3), (6,), (8,), (8,), (8,), (3,))
    assert model.first_weights == 1
    assert model.loss.kind == "softmax_cross_entropy"
    assert model_of(linear(3)).first_weights == 0
    assert model_of({"kind": "relu"}, {"kind": "tanh"}, block({"kind": "relu"}), linear(3)).first_weights == 3


def test_parameters_by_path():
    model = build_model(SMALL, (2, 3))
    paths = [
        (f"{name}/{path}", array.shape)
        for name, layer, shape in zip(model.names, model.layers, model.shapes, strict=False)
        for path, array in leaves(make_tree(layer.parameters(shape), np.float32))
    ]
    assert paths == [
        ("001_linear/weight", (6, 8)),
        ("001_linear/bias", (8,)),
        ("002_residual/0_layernorm/gain", (8,)),
        ("002_residual/0_layernorm/bias", (8,)),
        ("002_residual/1_linear/weight", (8, 4)),
        ("002_residual/1_linear/bias", (4,)),
        ("002_residual/3_linear/weight", (4, 8)),
        ("004_linear/weight", (8, 3)),
        ("004_linear/bias", (3,)),
    ]


def test_costs_of_a_small_model_by_hand():
    """A micro-batch of 10 samples, float32. Every number is worked out in the comment beside it."""
    train = TrainSettings(batch=30, micro_batch=10, tile_rows=5, optimizer="adam")
    costs = layer_costs(build_model(SMALL, (2, 3)), train)
    flatten, first, block_, relu, last = costs
    assert [cost.name for cost in costs] == list(build_model(SMALL, (2, 3)).names)

    assert flatten.forward == Work(0, 60)  # 6 elements, 10 samples
    assert flatten.grad_input == Work()  # it stands before the first weights
    assert flatten.weight_bytes == flatten.state_bytes == 0
    assert flatten.input_bytes == flatten.boundary_bytes == 6 * 10 * 4

    assert first.forward == Work(2 * 6 * 8 * 10, 8 * 10)  # a product, and the bias's pass over 8 outputs
    assert first.grad_input == Work()  # nobody wants the gradient by the data
    assert first.grad_weight == Work(2 * 6 * 8 * 10, 8 * 10)
    assert first.weight_bytes == (6 * 8 + 8) * 4
    assert first.gradient_bytes == first.weight_bytes
    assert first.state_bytes == 2 * first.weight_bytes  # adam keeps mean and square
    assert first.input_bytes == 6 * 10 * 4
    assert first.boundary_bytes == first.saved_bytes == first.held_bytes == 8 * 10 * 4

    products = 2 * (8 * 4 + 4 * 8) * 10
    add = 8 * 10
    assert block_.forward == Work(products, add + (7 * 8 + 4 + 17 * 4) * 10)  # layernorm, one bias, gelu
    assert block_.grad_input == Work(products, add + (7 * 8 + 4) * 10)
    assert block_.grad_weight == Work(products, (3 * 8 + 4) * 10)
    assert block_.weight_bytes == (2 * 8 + 8 * 4 + 4 + 4 * 8) * 4
    # y; then inner outputs of 8, 4, 4; the layernorm's normal x of 8 and one scale; gelu's slope of 4
    assert block_.saved_bytes == (8 + 8 + 4 + 4 + 8 + 1 + 4) * 10 * 4
    assert block_.held_bytes == (8 + 8 + 4 + 4) * 10 * 4  # dy; then the gradients by the three inner outputs

    assert relu.forward == Work(0, 80)
    assert relu.grad_input == Work(0, 160)
    assert relu.grad_weight == Work()
    assert relu.scratch_bytes == 8 * 4  # zeros for one sample

    assert last.forward == Work(2 * 8 * 3 * 10, (3 + 10 * 3) * 10)  # the product, the bias, the loss's ten passes
    assert last.grad_input == Work(2 * 8 * 3 * 10, 3 * 3 * 10)
    assert last.saved_bytes == (3 + 3) * 10 * 4 + 10 * 8  # y, the loss's probabilities, and the labels
    assert last.state_bytes == 2 * (8 * 3 + 3) * 4


def test_sgd_keeps_one_array_a_weight_and_items_may_be_eight_bytes():
    train = TrainSettings(batch=4, micro_batch=4, optimizer="sgd")
    (cost,) = layer_costs(model_of(linear(3)), train, item_bytes=8)
    assert cost.weight_bytes == cost.state_bytes == (6 * 3 + 3) * 8
    assert cost.boundary_bytes == 3 * 4 * 8


def test_only_evaluating_costs_no_gradients_and_no_state():
    costs = layer_costs(build_model(SMALL, (2, 3)), TrainSettings(batch=4, micro_batch=4))
    for cost, lean in zip(costs, forward_only(costs), strict=True):
        assert lean.grad_input == lean.grad_weight == Work()
        assert lean.gradient_bytes == lean.state_bytes == lean.held_bytes == 0
        assert (lean.name, lean.forward, lean.weight_bytes) == (cost.name, cost.forward, cost.weight_bytes)
        assert lean.boundary_bytes == cost.boundary_bytes


def test_costs_grow_with_the_micro_batch_and_weights_do_not():
    model = build_model(SMALL, (2, 3))
    one, ten = (layer_costs(model, TrainSettings(batch=10, micro_batch=rows)) for rows in (1, 10))
    for small, large in zip(one, ten, strict=True):
        assert large.saved_bytes == 10 * small.saved_bytes
        assert large.forward == Work(10 * small.forward.flops, 10 * small.forward.elements)
        assert large.weight_bytes == small.weight_bytes


def test_a_first_block_needs_its_inner_gradients_and_its_scratch():
    """The block's inner layers want gradients though nobody wants its own; scratch is wanted in any case."""
    table = block({"kind": "layernorm"}, linear(6))
    train = TrainSettings(batch=4, micro_batch=4, tile_rows=1)
    first, second = layer_costs(model_of(table, table), train)[:2]
    assert first.grad_input.flops == 2 * 6 * 6 * 4
    assert first.scratch_bytes >= 2 * 6 * 4 * 4
    assert layer_costs(model_of(table, table, linear(2)), train)[1].scratch_bytes == first.scratch_bytes
    assert second.scratch_bytes >= first.scratch_bytes


def test_the_loss_of_a_one_layer_model_still_has_to_go_back():
    (cost,) = layer_costs(model_of(linear(3)), TrainSettings(batch=4, micro_batch=4))
    assert cost.grad_input == Work(0, 3 * 3 * 4)


def test_repeat_stands_for_that_many_alike():
    assert [layer.kind for layer in build_layers([linear(3), {"kind": "relu", "repeat": 3}], "layers")] == [
        "linear",
        *["relu"] * 3,
    ]
    assert len(build(block({"kind": "tanh", "repeat": 2})).layers) == 2


def test_the_digits_preset_builds():
    model = build_model(read_job("digits").model, (64,))
    assert len(model.layers) == 14
    assert model.shapes[-1] == (10,)
    assert len(layer_costs(model, read_job("digits").train)) == 14


@pytest.mark.parametrize(("table", "shape"), flat_cases(), ids=name_of)
def test_layers_are_plain_values(table, shape):
    """Alike tables build equal layers, which can be keys."""
    assert build(table) == build(table)
    assert len({build(table), build(table)}) == 1
    assert build(table).kind == table["kind"]


def test_initial_weights():
    layer = build(linear(300, gain=0.5))
    p, again, other = (make_tree(layer.parameters((200,)), np.float32) for _ in range(3))
    layer.initialise(p, Key((1, 2)))
    layer.initialise(again, Key((1, 2)))
    layer.initialise(other, Key((1, 3)))
    assert p["weight"].tobytes() == again["weight"].tobytes() != other["weight"].tobytes()
    assert p["weight"].std() == pytest.approx(0.5 * np.sqrt(2 / 200), rel=0.02)
    assert p["weight"].mean() == pytest.approx(0, abs=0.002)
    assert not p["bias"].any()


def test_equal_inner_layers_start_unequal():
    layer = build(block(linear(4), linear(4)))
    p = make_tree(layer.parameters((4,)), np.float32)
    layer.initialise(p, Key((1,)))
    assert not np.array_equal(p["0_linear"]["weight"], p["1_linear"]["weight"])


def test_initial_layernorm_only_normalises():
    layer = build({"kind": "layernorm"})
    p = make_tree(layer.parameters((4,)), np.float32)
    layer.initialise(p, Key((1,)))
    assert p["gain"].tolist() == [1] * 4
    assert p["bias"].tolist() == [0] * 4


FAULTS = [
    ([], JobError, ["model.layers", "at least one layer"]),
    ([{"kind": "relu"}], JobError, ["model.layers", "no layer has weights"]),
    ([{"kind": "linaer", "outputs": 3}], JobError, ["model.layers[0].kind", "'linaer'", "did you mean 'linear'?"]),
    ([linear(3), {"kind": "dropuot"}], JobError, ["model.layers[1].kind", "did you mean 'dropout'?"]),
    ([{"kind": "xyzzy"}], JobError, ["known are", *KINDS]),
    ([{"outputs": 3}], JobError, ["model.layers[0]", "a table with a kind"]),
    ([{"kind": 3}], JobError, ["model.layers[0]", "a table with a kind"]),
    (["linear"], JobError, ["model.layers[0]", "'linear'", "a table with a kind"]),
    ([linear(3, repeat=0)], JobError, ["model.layers[0].repeat: 0", "from 1 to 1000"]),
    ([linear(3, repeat=1001)], JobError, ["model.layers[0].repeat: 1001", "from 1 to 1000"]),
    ([linear(3, repeat=True)], JobError, ["model.layers[0].repeat: True"]),
    ([linear(3, repeat=1.5)], JobError, ["model.layers[0].repeat: 1.5"]),
    ([linear(3, output=4)], JobError, ["model.layers[0].output", "unknown key", "did you mean 'outputs'?"]),
    ([{"kind": "linear"}], JobError, ["model.layers[0].outputs", "missing", "an integer"]),
    ([linear("many")], JobError, ["model.layers[0].outputs", "'many' is a string", "an integer"]),
    ([linear(True)], JobError, ["model.layers[0].outputs", "true or false", "an integer"]),
    ([linear(3, gain=float("nan"))], JobError, ["model.layers[0].gain", "finite"]),
    ([linear(3, bias=1)], JobError, ["model.layers[0].bias", "1 is an integer", "true or false"]),
    ([linear(0)], ShapeError, ["000_linear", "linear.outputs: 0", "1 or more"]),
    ([linear(-2)], ShapeError, ["linear.outputs: -2"]),
    ([linear(4), {"kind": "dropout", "rate": 1}], ShapeError, ["001_dropout", "dropout.rate: 1.0", "below 1"]),
    ([linear(4), {"kind": "dropout", "rate": -0.1}], ShapeError, ["dropout.rate: -0.1"]),
    ([linear(4), block(linear(5))], ShapeError, ["001_residual", "shape (4,)", "(5,)"]),
    ([linear(4), block()], ShapeError, ["001_residual", "residual.layers", "at least one layer"]),
    ([linear(4), block(linear(0))], ShapeError, ["001_residual", "linear.outputs: 0"]),
    ([{"kind": "residual"}], JobError, ["model.layers[0].layers", "a list of tables"]),
    ([{"kind": "residual", "layers": 3}], JobError, ["model.layers[0].layers: 3", "a list of tables"]),
    ([block(block({"kind": "rleu"}))], JobError, ["model.layers[0].layers[0].layers[0].kind", "did you mean 'relu'?"]),
    ([{**block(linear(6)), "rate": 1}], JobError, ["model.layers[0].rate", "unknown key", "layers"]),
    ([linear(1)], ShapeError, ["softmax_cross_entropy", "(1,)", "at least 2"]),
]


@pytest.mark.parametrize(("tables", "error", "words"), FAULTS, ids=[words[-1] for _, _, words in FAULTS])
def test_what_is_refused(tables, error, words):
    with pytest.raises(error) as caught:
        model_of(*tables)
    assert caught.value.status == 2
    for word in words:
        assert word in str(caught.value)


def test_layers_that_are_no_list():
    with pytest.raises(JobError, match="a list of tables"):
        list(build_layers({"kind": "linear"}, "model.layers"))


@pytest.mark.parametrize("kind", ["linear", "layernorm"])
def test_samples_without_an_axis(kind):
    table = linear(3) if kind == "linear" else {"kind": kind}
    with pytest.raises(ShapeError) as caught:
        model_of(table, linear(2), shape=())
    assert f"000_{kind}, given shape ()" in str(caught.value)
    assert "at least one axis" in str(caught.value)


def test_the_hint_of_a_shape_error_reaches_the_reader():
    with pytest.raises(ShapeError, match="is a feature axis missing?"):
        model_of(linear(3), shape=())
