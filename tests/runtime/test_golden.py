"""The whole pipeline against PyTorch: recorded runs (see tests/golden) trained on three ranks give the same losses."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpipipe.job import RunSettings, job_from_text
from mpipipe.layers import learning_rate

from .cases import Case, make_case
from .harness import play

FILE = Path(__file__).parents[1] / "golden" / "golden.h5"
with h5py.File(FILE) as opened:
    NAMES = sorted(opened["runs"])


class Recorded(Case):
    """A case whose samples are the record's."""

    def feed(self, rows, x, t):
        with h5py.File(FILE) as file:
            run = file["runs"][self.job.name]
            x[...] = file["data/x"][()][rows]
            if t is not None:
                t[...] = file[f"data/{run.attrs['target']}"][()][rows]


def recorded(name, **plan):
    """The recorded job on a plan made by hand."""
    with h5py.File(FILE) as file:
        job, shape = job_from_text(file["runs"][name].attrs["job"], name), file["data/x"].shape[1:]
    size = {"batch": job.train.batch, "micro_batch": job.train.micro_batch}
    made = make_case(list(job.model.layers), shape, loss=job.model.loss, **size, **plan)
    job = replace(job, name=name, run=RunSettings(stall_s=8.0))
    return Recorded(job, shape, made.plan, made.count, made.slots, made.part_flops)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_three_ranks_train_as_pytorch_did(name, schedule):
    case = recorded(name, cuts=(1, 3), order=(2, 0, 1), schedule=schedule, threads=2, in_flight=4)
    with h5py.File(FILE) as file:
        run = file["runs"][name]
        batches, losses, norms = file["batches"][()], run["losses"][()], run["norms"][()]
        initial = {f"/layers/{path}": run["initial"][path][()] for path in paths(run["initial"])}
        final = {f"/layers/{path}": run["final"][path][()] for path in paths(run["final"])}

    def story(conductor):
        train = case.job.train
        rates = [learning_rate(train, step, train.steps) for step in range(train.steps)]
        rows = [padded[padded >= 0] for padded in batches]
        return [conductor.train(rows[step], case.feed, step, rates[step]) for step in range(train.steps)]

    def read(piece):
        return initial[piece.place] if not piece.state else np.zeros(piece.shape, np.float32)

    outcome = play(case, story, read=read)
    np.testing.assert_allclose([result.loss for result in outcome.value], losses, rtol=1e-5)
    np.testing.assert_allclose([result.norm for result in outcome.value], norms, rtol=1e-5)
    weights = outcome.weights()
    for place, expected in final.items():
        np.testing.assert_allclose(weights[place], expected, rtol=1e-5, atol=1e-5, err_msg=place)


def paths(group):
    """The places of all arrays below a group."""
    found = []
    group.visititems(lambda path, item: found.append(path) if isinstance(item, h5py.Dataset) else None)
    return found
