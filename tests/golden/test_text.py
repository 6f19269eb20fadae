"""Layers of text models, and a whole one trained, against what PyTorch gave. README.md tells what is compared."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from runtime.cases import Case, make_case
from runtime.harness import play

from mpipipe.job import RunSettings, job_from_text
from mpipipe.layers import LOSSES, Scratch, Update, build_layers, leaves, make_tree, square_sum, update_weight

from .test_golden import Trainer, read_tree

FILE = Path(__file__).parent / "text.h5"
NARROW = {np.float64: 1e-10, np.float32: 1e-5}


def layer_names():
    with h5py.File(FILE) as file:
        return sorted(file["layers"])


@pytest.fixture(scope="module")
def golden():
    with h5py.File(FILE) as file:
        yield file


def close(found, needed, dtype, what):
    """Within the relative room of the type, where numbers that cancel count as much as the largest of the array."""
    room = NARROW[dtype]
    np.testing.assert_allclose(found, needed, rtol=room, atol=room * np.abs(needed).max(initial=0), err_msg=what)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", layer_names())
def test_a_layer_gives_what_pytorch_gives(golden, name, dtype):
    group = golden["layers"][name]
    (layer,) = build_layers([json.loads(group.attrs["table"])], "layers")
    x, dy, scratch = group["x"][()].astype(dtype), group["dy"][()].astype(dtype), Scratch()
    shape, rows = x.shape[1:], len(x)
    p, g = (make_tree(layer.parameters(shape), dtype) for _ in range(2))
    weights = read_tree(group["p"]) if "p" in group else {}
    assert weights.keys() == dict(leaves(p)).keys()
    for path, array in leaves(p):
        array[...] = weights[path]
    saved, held = make_tree(layer.saved(shape), dtype, rows), make_tree(layer.held(shape), dtype, rows)
    y, dx = np.empty(dy.shape, dtype), np.empty(x.shape, dtype)
    layer.forward(p, x, y, saved, None, scratch)
    layer.grad_input(p, x, y, dy, dx, saved, held, scratch)
    for tile in layer.tiles(shape, 3):
        layer.grad_weight(p, tile, x, dy, saved, held, g, True, scratch)
    close(y, group["y"][()], dtype, "y")
    close(dx, group["dx"][()], dtype, "dx")
    for path, array in leaves(g):
        close(array, group[f"g/{path}"][()], dtype, path)


@pytest.mark.parametrize("dtype", NARROW)
def test_the_loss_over_sequences_ignores_what_pytorch_ignores(golden, dtype):
    group, loss = golden["loss"], LOSSES["softmax_cross_entropy"]
    y, target = group["y"][()].astype(dtype), group["target"][()]
    saved, dy, counted = make_tree(loss.saved(y.shape[1:]), dtype, len(y)), np.empty_like(y), np.sum(target >= 0)
    value, _ = loss.forward(y, target, saved, Scratch())
    loss.backward(y, target, saved, dy, 1 / counted)
    close(value / counted, group["loss"][()], dtype, "loss")
    close(dy, group["dy"][()], dtype, "dy")


# ---- a whole model ----------------------------------------------------------------------------------------------


def start(golden):
    """Initial weights, the unembedding's copy among them."""
    initial = read_tree(golden["gpt/initial"])
    return {**initial, "006_unembedding/weight": initial["000_embedding/weight"]}


class TiedTrainer(Trainer):
    """One rank, one micro-batch after another; both copies of the tied weight get the sum of both gradients."""

    def step(self, step, x, target):
        train = self.job.train
        parts = [slice(at, at + train.micro_batch) for at in range(0, len(x), train.micro_batch)]
        counted = np.sum(target >= 0)
        loss = sum(self.micro(x[part], target[part], part.start == 0, 1 / counted) for part in parts)
        both = self.g[0]["weight"] + self.g[-1]["weight"]
        self.g[0]["weight"][...] = self.g[-1]["weight"][...] = both
        norm = sum(square_sum(gradient) for tree in self.g[:-1] for _, gradient in leaves(tree)) ** 0.5
        update = Update(train, step + 1, train.learning_rate, min(1.0, train.clip_norm / (norm + 1e-6)))
        gradients = [gradient for tree in self.g for _, gradient in leaves(tree)]
        for (path, weight), gradient in zip(self.weights(), gradients, strict=True):
            update_weight(update, weight, gradient, self.state[path], self.scratch)
        return loss / counted, norm


@pytest.mark.parametrize("dtype", NARROW)
def test_one_rank_trains_a_tied_gpt_as_pytorch_did(golden, dtype):
    group, name = golden["gpt"], np.dtype(dtype).name
    job, x, target = job_from_text(group.attrs["job"], "gpt"), group["x"][()].astype(dtype), group["target"][()]
    trainer = TiedTrainer(job, x.shape[1:], start(golden), dtype)
    rows = [padded[padded >= 0] for padded in group["batches"][()]]
    steps = [trainer.step(step, x[batch], target[batch]) for step, batch in enumerate(rows)]
    losses, norms = np.transpose(steps)
    close(losses, group[name]["losses"][()], dtype, "losses")
    close(norms, group[name]["norms"][()], dtype, "norms")
    weights, final = dict(trainer.weights()), read_tree(group[name]["final"])
    assert np.array_equal(weights.pop("006_unembedding/weight"), weights["000_embedding/weight"])
    assert weights.keys() == final.keys()
    for path, weight in weights.items():
        np.testing.assert_allclose(weight, final[path], rtol=10 * NARROW[dtype], atol=10 * NARROW[dtype], err_msg=path)


class Recorded(Case):
    """A case whose samples are the record's."""

    def feed(self, rows, x, t):
        with h5py.File(FILE) as file:
            x[...] = file["gpt/x"][()][rows]
            if t is not None:
                t[...] = file["gpt/target"][()][rows]


PLANS = [
    {"cuts": (2, 5), "order": (2, 0, 1), "schedule": "1f1b", "threads": 2, "in_flight": 4},
    {"cuts": (1, 6), "order": (0, 2, 1), "schedule": "gpipe", "in_flight": 3},
    {"cuts": (), "order": (0,)},
]


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_any_ranks_train_a_tied_gpt_as_pytorch_did(golden, plan):
    group = golden["gpt"]
    job, x = job_from_text(group.attrs["job"], "gpt"), group["x"][()]
    size = {"batch": job.train.batch, "micro_batch": job.train.micro_batch}
    made = make_case(list(job.model.layers), x.shape[1:], **size, **plan)
    job = replace(job, run=RunSettings(stall_s=8.0))
    case = Recorded(job, x.shape[1:], made.plan, len(x), made.slots, made.part_flops)
    initial = start(golden)
    rows = [padded[padded >= 0] for padded in group["batches"][()]]

    def story(conductor):
        return [conductor.train(batch, case.feed, step, 0.01) for step, batch in enumerate(rows)]

    def read(piece):
        path = piece.place.removeprefix("/layers/")
        return np.zeros(piece.shape, np.float32) if piece.state else initial[path].astype(np.float32)

    outcome = play(case, story, read=read)
    np.testing.assert_allclose([result.loss for result in outcome.value], group["float64/losses"], rtol=1e-5)
    np.testing.assert_allclose([result.norm for result in outcome.value], group["float64/norms"], rtol=1e-5)
    weights = outcome.weights()
    for path, expected in read_tree(group["float64/final"]).items():
        np.testing.assert_allclose(weights[f"/layers/{path}"], expected, rtol=1e-4, atol=1e-4, err_msg=path)
    copies = (weights["/layers/000_embedding/weight"], weights["/layers/006_unembedding/weight"])
    assert copies[0].tobytes() == copies[1].tobytes()


def test_the_record_of_texts_is_worth_comparing_with(golden):
    """Repeated and absent tokens; shared heads; targets that are ignored; steps that are clipped or not."""
    tables = [json.loads(group.attrs["table"]) for group in golden["layers"].values()]
    assert {table["kind"] for table in tables} == {"embedding", "attention", "swiglu", "mlp"}
    assert any(table.get("rotary") and table.get("key_value_heads") for table in tables)
    numbers = golden["layers/01_embedding/x"][()]
    assert len(np.unique(numbers)) < numbers.size
    norms = golden["gpt/float64/norms"][()]
    clip = job_from_text(golden["gpt"].attrs["job"], "gpt").train.clip_norm
    assert 0 < np.count_nonzero(norms > clip) < len(norms)
    assert (golden["gpt/target"][()] < 0).any() and FILE.stat().st_size < 300_000
