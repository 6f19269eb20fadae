"""Training runs of PyTorch, replayed with mpipipe.layers alone in a straight loop. README.md tells what is compared.

The same run is compared twice. In float64 rounding plays no part, so the formulas must agree to nearly every digit. In
float32, the type that a pipeline trains in, sums are rounded in another order than PyTorch's, and training makes such
differences grow; Adam more than SGD, since it divides by a gradient's own size, however small that is.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest

from mpipipe.job import job_from_text
from mpipipe.job.settings import OPTIMIZERS
from mpipipe.layers import (
    LOSSES,
    STATE,
    Scratch,
    Update,
    build_model,
    first_rows,
    learning_rate,
    leaves,
    make_tree,
    square_sum,
    update_weight,
)

FILE = Path(__file__).parent / "golden.h5"


def read_tree(group):
    """Arrays by path, such as `001_residual/1_linear/weight`."""
    found = {}
    group.visititems(lambda path, item: found.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def run_names():
    with h5py.File(FILE) as file:
        return sorted(file["runs"])


@pytest.fixture(scope="module")
def golden():
    with h5py.File(FILE) as file:
        yield file


class Trainer:
    """All layers on one rank, one micro-batch after another."""

    def __init__(self, job, x_shape, initial, dtype):
        self.job, self.model = job, build_model(job.model, x_shape)
        rows, shapes = job.train.micro_batch, self.model.shapes
        pairs = list(zip(self.model.layers, shapes, strict=False))
        self.p = [make_tree(layer.parameters(shape), dtype) for layer, shape in pairs]
        self.g = [make_tree(layer.parameters(shape), dtype) for layer, shape in pairs]
        self.saved = [make_tree(layer.saved(shape), dtype, rows) for layer, shape in pairs]
        self.held = [make_tree(layer.held(shape), dtype, rows) for layer, shape in pairs]
        self.y = [np.empty((rows, *shape), dtype) for shape in shapes]
        self.dy = [np.empty((rows, *shape), dtype) for shape in shapes]
        self.loss_saved = make_tree(self.model.loss.saved(shapes[-1]), dtype, rows)
        self.scratch = Scratch()
        weights = dict(self.weights())
        assert weights.keys() == initial.keys()
        for path, array in initial.items():
            weights[path][...] = array
        self.state = {
            path: {name: np.zeros_like(array) for name in STATE[job.train.optimizer]} for path, array in weights.items()
        }

    def weights(self):
        """Every weight with its path, in layer order."""
        for name, tree in zip(self.model.names, self.p, strict=True):
            yield from leaves(tree, name)

    def micro(self, x, target, first, weight):
        """F, the loss, then I and W, back through the layers: the sum of the samples' losses."""
        rows = len(x)
        y, dy = ([array[:rows] for array in arrays] for arrays in (self.y, self.dy))
        saved, held = ([first_rows(tree, rows) for tree in trees] for trees in (self.saved, self.held))
        y[0][...] = x
        for i, layer in enumerate(self.model.layers):
            layer.forward(self.p[i], y[i], y[i + 1], saved[i], None, self.scratch)
        loss_saved = first_rows(self.loss_saved, rows)
        loss, _ = self.model.loss.forward(y[-1], target, loss_saved, self.scratch)
        self.model.loss.backward(y[-1], target, loss_saved, dy[-1], weight)
        for i, layer in reversed(list(enumerate(self.model.layers))):
            layer.grad_input(self.p[i], y[i], y[i + 1], dy[i + 1], dy[i], saved[i], held[i], self.scratch)
            for tile in layer.tiles(self.model.shapes[i], self.job.train.tile_rows):
                layer.grad_weight(self.p[i], tile, y[i], dy[i + 1], saved[i], held[i], self.g[i], first, self.scratch)
            self.scratch.release(0)
        return loss

    def step(self, step, x, target):
        """One batch and one update: loss, norm before clipping, rate."""
        train, rows = self.job.train, len(x)
        loss = 0.0
        for start in range(0, rows, train.micro_batch):
            part = slice(start, start + train.micro_batch)
            loss += self.micro(x[part], target[part], start == 0, 1 / rows)
        gradients = [gradient for tree in self.g for _, gradient in leaves(tree)]
        norm = sum(square_sum(gradient) for gradient in gradients) ** 0.5
        # As torch.nn.utils.clip_grad_norm_ does.
        scale = min(1.0, train.clip_norm / (norm + 1e-6)) if train.clip_norm else 1.0
        update = Update(train, step + 1, learning_rate(train, step, train.steps), scale)
        for (path, weight), gradient in zip(self.weights(), gradients, strict=True):
            update_weight(update, weight, gradient, self.state[path], self.scratch)
        return loss / rows, norm, update.rate


def replay(file, name, dtype):
    """Losses, norms, rates and final weights of one recorded run."""
    run = file["runs"][name]
    job = job_from_text(run.attrs["job"], name)
    x, target = file["data/x"][()], file[f"data/{run.attrs['target']}"][()]
    trainer = Trainer(job, x.shape[1:], read_tree(run["initial"]), dtype)
    steps = []
    for step, padded in enumerate(file["batches"][()]):
        rows = padded[padded >= 0]
        wanted = target[rows] if target.dtype == np.int64 else target[rows].astype(dtype)
        steps.append(trainer.step(step, x[rows].astype(dtype), wanted))
    assert len(steps) == job.train.steps
    return *map(np.array, zip(*steps, strict=True)), dict(trainer.weights())


@pytest.mark.parametrize("name", run_names())
def test_float64_agrees_with_pytorch_to_nearly_every_digit(golden, name):
    """Measured: 1e-15."""
    run = golden["runs"][name]
    losses, norms, rates, _ = replay(golden, name, np.float64)
    np.testing.assert_allclose(rates, run["rates"], rtol=1e-12)
    np.testing.assert_allclose(losses, run["losses_float64"], rtol=1e-12)
    np.testing.assert_allclose(norms, run["norms_float64"], rtol=1e-12)


@pytest.mark.parametrize("name", run_names())
def test_float32_agrees_with_pytorch(golden, name):
    """Measured: losses and norms 4e-7 (three units in the last place), weights 6e-7. The room is for other BLAS."""
    run = golden["runs"][name]
    losses, norms, _, weights = replay(golden, name, np.float32)
    np.testing.assert_allclose(losses[:3], run["losses"][:3], rtol=2e-6)
    np.testing.assert_allclose(losses, run["losses"], rtol=1e-5)
    np.testing.assert_allclose(norms, run["norms"], rtol=1e-5)
    final, initial = read_tree(run["final"]), read_tree(run["initial"])
    assert final.keys() == weights.keys()
    for path, weight in weights.items():
        assert weight.dtype == np.float32
        np.testing.assert_allclose(weight, final[path], rtol=1e-5, atol=1e-5, err_msg=path)
        assert np.abs(weight - initial[path]).max() > 1e-3, "the run has to move every weight to be worth comparing"


def test_the_record_is_worth_comparing_with(golden):
    """Every optimizer is there, clipped (in some steps and not in others) and free, and both losses; all runs learn."""
    assert {"torch", "numpy", "python", "processor", "date"} <= set(golden.attrs)
    seen = set()
    for name, run in golden["runs"].items():
        job = job_from_text(run.attrs["job"], name)
        seen.add((job.model.loss, job.train.optimizer, job.train.clip_norm > 0))
        losses, norms = run["losses"][()], run["norms"][()]
        assert losses[-1] < losses[0] / 2
        if job.train.clip_norm:
            assert 0 < np.count_nonzero(norms > job.train.clip_norm) < job.train.steps
        assert job.train.batch % job.train.micro_batch, "the last micro-batch is smaller"
    assert seen >= {("softmax_cross_entropy", kind, clipped) for kind in OPTIMIZERS for clipped in (True, False)}
    assert {loss for loss, _, _ in seen} == set(LOSSES)
    assert FILE.stat().st_size < 300_000
