"""Single layers and losses against PyTorch's float64 results in layers.h5, which record_layers.py made."""

import ast
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpipipe.layers import Key, Scratch, build_layers, find_loss, leaves, make_tree

FILE = Path(__file__).parent / "layers.h5"
TOLERANCES = {np.float64: 1e-10, np.float32: 1e-5}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCES, ids=["float64", "float32"])


def names(of):
    with h5py.File(FILE) as file:
        return sorted(file[of])


def read(group):
    """Arrays by path, and by number for the micro-batches."""
    found = {}
    group.visititems(lambda path, item: found.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_near(array, wanted, dtype, what):
    """Against the largest element: sums that cancel leave small elements with the rounding of large ones."""
    assert array.dtype == dtype
    assert array.shape == wanted.shape
    room = TOLERANCES[dtype] * max(1, np.abs(wanted).max())
    np.testing.assert_allclose(array, wanted, rtol=TOLERANCES[dtype], atol=room, err_msg=what)


def nan(shape, dtype):
    return np.full(shape, np.nan, dtype)


@DTYPES
@pytest.mark.parametrize("name", names("layers"))
def test_layer(name, dtype):
    with h5py.File(FILE) as file:
        group = file["layers"][name]
        table, training, recorded = ast.literal_eval(group.attrs["table"]), group.attrs["training"], read(group)
    (layer,) = build_layers([table], "layers")
    micros = sum(path.startswith("x/") for path in recorded)
    shape = recorded["x/0"].shape[1:]
    p, g = (make_tree(layer.parameters(shape), dtype) for _ in range(2))
    assert {path for path, _ in leaves(p)} == {path[2:] for path in recorded if path.startswith("p/")}
    for path, weight in leaves(p):
        weight[...] = recorded[f"p/{path}"]
    scratch = Scratch()
    for micro in range(micros):
        x, rows = recorded[f"x/{micro}"].astype(dtype), len(recorded[f"x/{micro}"])
        y, dx = nan((rows, *layer.output_shape(shape)), dtype), nan(x.shape, dtype)
        saved, held = (make_tree(shapes, dtype, rows) for shapes in (layer.saved(shape), layer.held(shape)))
        layer.forward(p, x, y, saved, Key((1, micro)) if training else None, scratch)
        scratch.release(0)
        assert_near(y, recorded[f"y/{micro}"], dtype, "y")
        if not training:
            continue
        dy = recorded[f"dy/{micro}"].astype(dtype)
        layer.grad_input(p, x, y, dy, dx, saved, held, scratch)
        scratch.release(0)
        if f"dx/{micro}" in recorded:
            assert_near(dx, recorded[f"dx/{micro}"], dtype, "dx")
        for tile in layer.tiles(shape, 4):
            layer.grad_weight(p, tile, x, dy, saved, held, g, micro == 0, scratch)
            scratch.release(0)
    for path, gradient in leaves(g) if training else ():
        assert_near(gradient, recorded[f"g/{path}"], dtype, path)


@DTYPES
@pytest.mark.parametrize("name", names("losses"))
def test_loss(name, dtype):
    with h5py.File(FILE) as file:
        group = file["losses"][name]
        kind, recorded = group.attrs["kind"], read(group)
    loss, y, target = find_loss(kind), recorded["y"].astype(dtype), recorded["target"]
    target = target if loss.labels else target.astype(dtype)
    saved, dy, scratch = make_tree(loss.saved(y.shape[1:]), dtype, len(y)), nan(y.shape, dtype), Scratch()
    value, _ = loss.forward(y, target, saved, scratch)
    loss.backward(y, target, saved, dy, 0.125)
    assert value == pytest.approx(recorded["loss"], rel=TOLERANCES[dtype])
    assert_near(dy, 0.125 * recorded["dy"], dtype, "dy")


def test_the_record_is_small_and_says_where_it_is_from():
    with h5py.File(FILE) as file:
        assert {"torch", "numpy", "python", "processor", "date"} <= set(file.attrs)
    assert FILE.stat().st_size < 500_000
