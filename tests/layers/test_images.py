"""Layers for images: by hand, at their edges, and what they refuse with which words."""

import numpy as np
import pytest

from mpipipe.errors import JobError, ShapeError
from mpipipe.job import ModelSettings, TrainSettings, read_job
from mpipipe.layers import (
    Key,
    Scratch,
    build_model,
    layer_costs,
    make_tree,
    products,
)
from mpipipe.layers.windows import Windows

from .harness import build, copies, make_run
from .image_cases import IMAGE_CASES, conv, pool
from .test_memory import allocated

CONVOLUTIONS = IMAGE_CASES["conv2d"]
IMAGE = (6, 5, 4)


def by_definition(layer, p, x):
    """Every window by itself."""
    side = ((layer.padding,) * 2,) * 2
    wide = np.pad(x, ((0, 0), *side, (0, 0)))
    high, across, _ = layer.output_shape(x.shape[1:])
    y, depth = np.zeros((len(x), high, across, layer.channels)), x.shape[3] // layer.groups
    share = layer.channels // layer.groups
    for group, i, j in np.ndindex(layer.groups, high, across):
        down, right = i * layer.stride, j * layer.stride
        window = wide[:, down : down + layer.size, right : right + layer.size, group * depth : (group + 1) * depth]
        y[:, i, j, group * share : (group + 1) * share] = np.tensordot(window, p["weight"][group], 3)
    return y + p.get("bias", 0)


@pytest.mark.parametrize(("table", "shape"), CONVOLUTIONS, ids=str)
def test_a_convolution_is_what_each_window_sees(table, shape):
    run = make_run(build(table), shape, rows=4)
    np.testing.assert_allclose(run.forward(), by_definition(run.layer, run.p, run.x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("table", [conv(6, 3, padding=1), conv(5, 5, stride=2, padding=2)], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_runs_of_samples_make_one_micro_batch(monkeypatch, table, channels):
    """Cut into runs of two samples, a micro-batch of seven gives the same."""
    run = make_run(build(table), (9, 8, channels), rows=7).all(rows=2)
    whole = copies(run.written())
    monkeypatch.setattr(Windows, "run", lambda self, channels: 2)
    run.all(rows=2)
    for path, array in run.written():
        np.testing.assert_allclose(array, whole[path], rtol=1e-11, atol=1e-11, err_msg=path)


@pytest.mark.parametrize(("table", "shape"), CONVOLUTIONS, ids=str)
def test_convolutions_have_the_same_bits_without_blas_by_ctypes(monkeypatch, table, shape):
    run = make_run(build(table), shape, dtype=np.float32).all(rows=5)
    fast = copies(run.written())
    monkeypatch.setattr(products, "_gemm", lambda kind: None)
    run.all(rows=5)
    assert all(array.tobytes() == fast[path].tobytes() for path, array in run.written())


def test_the_windows_cost_what_they_multiply():
    flops = 2 * (3 * 2) * 8 * (3 * 3) * 2  # windows, channels out, a kernel's places, channels of a group
    cost = build(conv(8, 3, stride=2, padding=1, groups=2)).cost((6, 4, 4))
    assert cost.forward.flops == cost.grad_input.flops == cost.grad_weight.flops == flops


def test_initial_kernels():
    layer = build(conv(64, 3, groups=2, gain=0.5))
    p = make_tree(layer.parameters((8, 8, 32)), np.float32)
    layer.initialise(p, Key((1,)))
    assert p["weight"].shape == (2, 3, 3, 16, 32)
    assert p["weight"].std() == pytest.approx(0.5 * np.sqrt(2 / (9 * 16)), rel=0.02)
    assert not p["bias"].any()


@pytest.mark.parametrize("more", [{"size": 2}, {"size": 3, "stride": 2, "padding": 1}], ids=str)
def test_equal_elements_leave_the_gradient_to_the_first(more):
    run = make_run(build(pool("max_pool", more.pop("size"), **more)), (4, 4, 1), rows=1)
    run.x.fill(0)
    run.forward()
    run.dy.fill(1)
    places = np.argwhere(run.grad_input()[0, :, :, 0]).tolist()
    first = [0, 2] if "stride" not in more else [0, 1]
    assert places == [[i, j] for i in first for j in first]


def test_averages_count_the_padding():
    run = make_run(build(pool("avg_pool", 2, padding=1)), (2, 2, 1), rows=1)
    run.x.fill(4)
    assert run.forward().ravel().tolist() == [1, 1, 1, 1]


def test_running_statistics_follow_the_micro_batches_in_order():
    run = make_run(build({"kind": "batchnorm", "momentum": 0.5}), (2, 3), rows=4)
    mean, variance = run.x.mean((0, 1)), run.x.var((0, 1), ddof=1)
    start = copies(list(run.p.items()))
    run.all()
    np.testing.assert_allclose(run.g["running_mean"], (start["running_mean"] + mean) / 2)
    np.testing.assert_allclose(run.g["running_variance"], (start["running_variance"] + variance) / 2)
    run.grad_weight(first=False)
    np.testing.assert_allclose(run.g["running_mean"], start["running_mean"] / 4 + 0.75 * mean)
    assert np.array_equal(run.p["running_mean"], start["running_mean"])


def test_evaluating_by_running_statistics_keeps_samples_apart():
    run = make_run(build({"kind": "batchnorm"}), (3, 4), rows=5)
    run.key = None
    whole = run.forward().copy()
    alone = make_run(run.layer, (3, 4), rows=1)
    alone.p, alone.key, alone.x = run.p, None, run.x[2:3].copy()
    assert np.array_equal(alone.forward()[0], whole[2])
    scale = run.p["gain"] / np.sqrt(run.p["running_variance"] + 1e-5)
    np.testing.assert_allclose(whole, (run.x - run.p["running_mean"]) * scale + run.p["bias"], rtol=1e-12, atol=1e-12)


def test_a_single_value_normalises_to_the_bias():
    run = make_run(build({"kind": "batchnorm"}), (3,), rows=1).all()
    np.testing.assert_allclose(run.y[0], run.p["bias"])
    assert all(np.isfinite(array).all() for _, array in run.written())


@pytest.mark.parametrize(
    "table",
    [
        conv(16, 3, padding=1),
        conv(16, 3, padding=1, groups=4),
        conv(16, 3, stride=2),
        pool("max_pool", 2),
        pool("max_pool", 3, stride=2, padding=1),
        pool("avg_pool", 2),
        {"kind": "global_avg_pool"},
        {"kind": "batchnorm"},
        {"kind": "groupnorm", "groups": 4},
        {"kind": "rmsnorm"},
        {"kind": "reshape", "shape": [9, 112, 16]},
        {"kind": "relu"},
    ],
    ids=str,
)
def test_images_allocate_nothing_large(table):
    """An activation is 2 MiB."""
    run = make_run(build(table), (28, 36, 16), 32, np.float32, scratch=Scratch())

    def work():
        run.all(rows=480)
        run.grad_weight(480, first=False)

    work()
    assert allocated(work) < 100 * 1024


@pytest.mark.parametrize("preset", ["lenet", "resnet8"])
def test_the_presets_build(preset):
    job = read_job(preset)
    model = build_model(job.model, (28, 28))
    assert model.shapes[-1] == (10,)
    assert len(layer_costs(model, job.train)) == len(model.layers)


REFUSED = [
    (conv(4, 3), (28, 28), ["conv2d", "(28, 28)", "three axes", 'put {kind = "reshape", shape = [28, 28, 1]} before']),
    (conv(4, 3), (5,), ["three axes"]),
    (conv(0, 3), IMAGE, ["conv2d.channels: 0"]),
    (conv(4, 0), IMAGE, ["conv2d.size: 0"]),
    (conv(4, 3, stride=0), IMAGE, ["conv2d.stride: 0"]),
    (conv(4, 3, padding=-1), IMAGE, ["conv2d.padding: -1"]),
    (conv(4, 6), IMAGE, ["conv2d.size: 6 on an image of 6 by 5, padding included", "at most 5"]),
    (conv(4, 3, groups=3), IMAGE, ["conv2d.groups: 3 for 4 channels in and 4 out"]),
    (conv(6, 3, groups=4), IMAGE, ["conv2d.groups: 4"]),
    (conv(4, 3, groups=0), IMAGE, ["conv2d.groups: 0"]),
    *((pool(kind, 2), (5, 4), [kind, "three axes"]) for kind in ("max_pool", "avg_pool")),
    (pool("max_pool", 0), IMAGE, ["max_pool.size: 0"]),
    (pool("max_pool", 7), IMAGE, ["max_pool.size: 7", "at most 5"]),
    (pool("avg_pool", 2, stride=-1), IMAGE, ["avg_pool.stride: -1"]),
    (pool("max_pool", 3, padding=2), IMAGE, ["max_pool.padding: 2", "at most half of the size, 1"]),
    ({"kind": "global_avg_pool"}, (4,), ["global_avg_pool", "three axes"]),
    ({"kind": "reshape", "shape": [5, 5]}, IMAGE, ["reshape.shape", "25 elements", "120 elements", "(6, 5, 4)"]),
    ({"kind": "reshape", "shape": [-1, 5]}, IMAGE, ["reshape.shape", "lengths of 1 or more"]),
    ({"kind": "batchnorm", "epsilon": 0}, IMAGE, ["batchnorm.epsilon: 0.0"]),
    ({"kind": "batchnorm", "momentum": 1.5}, IMAGE, ["batchnorm.momentum: 1.5"]),
    ({"kind": "groupnorm", "groups": 3}, IMAGE, ["groupnorm.groups: 3 for 4 channels"]),
    ({"kind": "groupnorm", "groups": 2, "epsilon": -1}, IMAGE, ["groupnorm.epsilon"]),
    ({"kind": "rmsnorm", "epsilon": 0}, IMAGE, ["rmsnorm.epsilon"]),
    *(({"kind": kind}, (), [kind, "at least one axis"]) for kind in ("rmsnorm", "batchnorm")),
]


@pytest.mark.parametrize(("table", "shape", "words"), REFUSED, ids=[words[0] for _, _, words in REFUSED])
def test_what_is_refused(table, shape, words):
    with pytest.raises(ShapeError) as caught:
        build_model(ModelSettings((table,), "mean_squared_error"), shape)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_shape_is_a_list_of_whole_numbers():
    for shape in ("28", [28, 1.5]):
        with pytest.raises(JobError, match=r"model.layers\[0\].shape"):
            build_model(ModelSettings(({"kind": "reshape", "shape": shape},), "mean_squared_error"), IMAGE)


def test_scratch_of_a_convolution_does_not_grow_with_the_micro_batch():
    model = build_model(ModelSettings((conv(8, 5, padding=2),), "mean_squared_error"), (28, 28, 16))
    small, large = (
        layer_costs(model, TrainSettings(batch=rows, micro_batch=rows))[0].scratch_bytes for rows in (64, 65)
    )
    assert large - small <= 28 * 28 * 8 * 4  # the loss's, of one sample
