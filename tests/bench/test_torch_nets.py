"""The layers in PyTorch compute what mpipipe's do, from the same weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mpipipe.bench.torch_nets import WithoutWeights, network, torch_facts  # noqa: E402

rng = np.random.default_rng(5)


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def through(tables, arrays, x):
    with torch.no_grad():
        return torch.nn.Sequential(*network(tables, arrays))(torch.from_numpy(x)).numpy()


def test_images_keep_their_order():
    height, width, inputs, channels, size = 6, 4, 3, 5, 3
    x, kernel, bias, weight = (
        normal(2, height, width, inputs),
        normal(size * size * inputs, channels),
        normal(channels),
        normal(height * width * channels // 4, 7),
    )
    tables = [
        {"kind": "reshape", "shape": [height, width, inputs]},
        {"kind": "conv2d", "channels": channels, "size": size, "padding": 1},
        {"kind": "max_pool", "size": 2},
        {"kind": "flatten"},
        {"kind": "linear", "outputs": 7, "bias": False},
    ]
    arrays = {"001_conv2d/weight": kernel, "001_conv2d/bias": bias, "004_linear/weight": weight}
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.empty((2, height, width, channels), np.float32)
    for i in range(height):
        for j in range(width):
            y[:, i, j] = padded[:, i : i + size, j : j + size].reshape(2, -1) @ kernel + bias
    pooled = y.reshape(2, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
    wanted = pooled.reshape(2, -1) @ weight
    np.testing.assert_allclose(through(tables, arrays, x.reshape(2, -1)), wanted, rtol=1e-4, atol=1e-4)


def test_a_block_with_attention():
    tokens, width, heads, context = 11, 8, 2, 5
    tables = [
        {"kind": "embedding", "tokens": tokens, "width": width},
        {"kind": "residual", "layers": [{"kind": "attention", "heads": heads}]},
    ]
    inner = "001_residual/0_attention/"
    arrays = {"000_embedding/token": normal(tokens, width), "000_embedding/position": normal(context, width)}
    arrays |= {f"{inner}qkv": normal(width, 3 * width), f"{inner}qkv_bias": normal(3 * width)}
    arrays |= {f"{inner}out": normal(width, width), f"{inner}out_bias": normal(width)}
    numbers = rng.integers(0, tokens, (3, context))
    x = arrays["000_embedding/token"][numbers] + arrays["000_embedding/position"]
    parts = (x @ arrays[f"{inner}qkv"] + arrays[f"{inner}qkv_bias"]).reshape(3, context, 3, heads, width // heads)
    q, k, v = (parts[:, :, i].swapaxes(1, 2) for i in range(3))
    scores = q @ k.swapaxes(2, 3) / np.sqrt(width // heads)
    scores[..., np.triu(np.ones((context, context), bool), 1)] = -np.inf
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (share / share.sum(axis=-1, keepdims=True) @ v).swapaxes(1, 2).reshape(x.shape)
    wanted = x + mixed @ arrays[f"{inner}out"] + arrays[f"{inner}out_bias"]
    np.testing.assert_allclose(through(tables, arrays, numbers), wanted, rtol=1e-4, atol=1e-4)


def test_a_stage_without_weights_passes_gradients_on_and_stays_as_it_is():
    stage, x = WithoutWeights(), torch.ones(2, 3, requires_grad=True)
    y = stage(x)
    (3 * y).sum().backward()
    assert torch.equal(y, x) and torch.equal(x.grad, torch.full((2, 3), 3.0)) and stage.weight.grad == 0


def test_its_libraries_say_what_they_use(capfd):
    used = torch_facts(2)["used"]
    assert (used["ranks"], used["threads"]) == (2, torch.get_num_threads())
    assert torch.__version__ in used["elementwise"] and "(" in used["elementwise"]
    if torch.backends.mkldnn.is_available():
        assert "oneDNN" in used["products"] and "oneDNN" in used["versions"]
    if torch.backends.mkl.is_available():
        assert "MKL" in used["products"]
    assert capfd.readouterr().out == ""  # orders are answered there
