"""Looking into checkpoints: statistics, and every bit in which two differ."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mpipipe.checkpoint import Position, compare, compare_models, describe, kernel_of, open_checkpoint
from mpipipe.errors import CheckpointError
from mpipipe.job import job_from_text
from mpipipe.layers import build_model

from .making import FACTS, PIECES, SCALING, arrays_of, write

rng = np.random.default_rng(8)


@pytest.fixture
def pair(tmp_path):
    """Writes two checkpoints that differ as asked, and compares them."""

    def make(change=lambda arrays: None, **other):
        arrays = arrays_of()
        change(arrays)
        good, changed = tmp_path / "a" / "step-00000001.h5", tmp_path / "b" / "step-00000001.h5"
        other = {"pieces": PIECES, "arrays": arrays, "facts": FACTS, **other}
        found, back = compare(write(good), write(changed, **other)), compare(changed, good)
        assert [(each.place, each.elements) for each in found] == [(each.place, each.elements) for each in back]
        return found

    return make


def test_no_difference(pair):
    assert pair() == []


def test_job_plan_and_versions_are_not_compared(pair):
    plan = json.dumps({"stages": [1, 2]})
    assert pair(facts=replace(FACTS, job="other", plan=plan, versions='{"python": "4"}')) == []


def test_the_kernel_is_that_of_the_versions_and_of_older_files_that_of_the_job():
    job = '[train]\nkernel = "Haswell"\n'
    assert kernel_of(replace(FACTS, job=job, versions='{"kernel": "SkylakeX/X86_V4"}')) == "SkylakeX/X86_V4"
    assert kernel_of(replace(FACTS, job=job, versions='{"numpy": "2.0"}')) == "Haswell"
    assert kernel_of(replace(FACTS, job="", versions="{}")) == "unknown"


@pytest.mark.parametrize("bit", range(32))
def test_a_single_bit(pair, bit):
    def change(arrays):
        arrays[4].view(np.uint32)[1, 2] ^= np.uint32(1 << bit)

    (found,) = pair(change)
    assert found.place == "/layers/002_residual/1_linear/weight" and found.elements == 1
    assert found.what == "1 of 6 elements differ"
    here, there = arrays_of()[4], arrays_of()
    change(there)
    with np.errstate(all="ignore"):
        gap = abs(float(here[1, 2]) - float(there[4][1, 2]))
    assert found.largest == (np.inf if np.isnan(gap) else gap)


def of_bits(number):
    return np.array([number], np.uint32).view(np.float32)[0]


@pytest.mark.parametrize(
    "values", [(0.0, -0.0), (np.nan, -np.nan), (of_bits(0x7FC00000), of_bits(0x7FC00001)), (np.inf, -np.inf)]
)
def test_what_a_number_hides(tmp_path, values):
    paths = []
    for name, value in zip("ab", values, strict=True):
        arrays = arrays_of()
        arrays[2][3] = value
        paths.append(write(tmp_path / name / "step-00000001.h5", arrays=arrays))
    (found,) = compare(*paths)
    assert (found.place, found.elements) == ("/layers/000_linear/bias", 1)
    assert found.largest == (0.0 if values[0] == 0 else np.inf)
    assert compare(paths[0], paths[0]) == []


def test_the_largest_difference_is_of_elements_that_differ(tmp_path):
    paths = []
    for name, by in (("a", 0.0), ("b", 0.25)):
        arrays = arrays_of()
        arrays[0][:] = 1
        arrays[0][0, 0] = np.nan  # the same in both
        arrays[0][0, 1] = np.inf
        arrays[0][1, 1] += by
        paths.append(write(tmp_path / name / "step-00000001.h5", arrays=arrays))
    (found,) = compare(*paths)
    assert (found.elements, found.largest) == (1, 0.25)


def test_counts_and_the_largest(pair):
    def change(arrays):
        arrays[0][0] += np.float32([0.5, 1, 2, 0])
        arrays[3][:] *= 2

    found = {each.place: each for each in pair(change)}
    assert set(found) == {"/layers/000_linear/weight", "/optimizer/000_linear/bias/velocity"}
    assert found["/layers/000_linear/weight"].what == "3 of 12 elements differ"
    assert found["/layers/000_linear/weight"].largest == pytest.approx(2, rel=1e-6)
    assert found["/optimizer/000_linear/bias/velocity"].largest == np.abs(arrays_of()[3]).max()


def test_the_scaling(pair):
    (found,) = pair(scaling={**SCALING, "factor": np.nextafter(SCALING["factor"], 1)})
    assert (found.place, found.what) == ("/scaling/factor", "1 of 1 elements differ")
    assert found.largest == pytest.approx(1.1e-16, rel=0.1)


def test_what_is_missing(pair, tmp_path):
    found = pair(pieces=PIECES[:5], arrays=arrays_of()[:5])
    assert [(each.place, each.elements) for each in found] == [("/optimizer/002_residual/1_linear/weight/velocity", 0)]
    assert found[0].what == f"only in {tmp_path / 'a' / 'step-00000001.h5'}"


def test_another_shape(pair):
    pieces = (replace(PIECES[0], shape=(4, 3)), *PIECES[1:])
    (found,) = pair(pieces=pieces, arrays=[arrays_of()[0].reshape(4, 3), *arrays_of()[1:]])
    assert (found.place, found.what) == ("/layers/000_linear/weight", "float32 (3, 4) against float32 (4, 3)")


def test_another_type(pair):
    (found,) = pair(scaling={**SCALING, "shift": SCALING["shift"].astype(np.float32)})
    assert (found.place, found.what) == ("/scaling/shift", "float64 (3, 2) against float32 (3, 2)")


def test_another_position(pair):
    found = pair(facts=replace(FACTS, position=Position(8, 2, 31)))
    assert [(each.place, each.what) for each in found] == [
        ("attribute step", "7 against 8"),
        ("attribute offset", "30 against 31"),
    ]


def test_all_data_sets_are_described(tmp_path):
    path = write(tmp_path / "step-00000001.h5")
    facts, entries = describe(path, with_stats=False)
    assert facts == FACTS
    found = {entry.place: entry for entry in entries}
    assert set(found) == {piece.place for piece in PIECES} | {"/scaling/shift", "/scaling/factor"}
    assert list(found) == sorted(found)
    weight, shift = found["/layers/000_linear/weight"], found["/scaling/shift"]
    assert (weight.shape, weight.dtype, weight.bytes, weight.stats) == ((3, 4), "float32", 48, None)
    assert (shift.shape, shift.dtype, shift.bytes) == ((3, 2), "float64", 48)


def test_statistics_are_those_of_numpy(tmp_path):
    arrays = [rng.normal(3, 2, piece.shape).astype(np.float32) for piece in PIECES]
    arrays[2][1:3] = np.nan, -np.inf
    arrays[3][:] = np.nan
    _, entries = describe(write(tmp_path / "step-00000001.h5", arrays=arrays), with_stats=True)
    found = {entry.place: entry.stats for entry in entries}
    every = {piece.place: array for piece, array in zip(PIECES, arrays, strict=True)}
    every |= {f"/scaling/{name}": array for name, array in SCALING.items()}
    for place, array in every.items():
        stats, values = found[place], array.astype(np.float64).ravel()
        finite = values[np.isfinite(values)]
        assert stats.non_finite == len(values) - len(finite)
        if not len(finite):
            numbers = (stats.minimum, stats.mean, stats.maximum, stats.std, stats.norm)
            assert all(np.isnan(number) for number in numbers)
            continue
        assert (stats.minimum, stats.maximum) == (finite.min(), finite.max())
        assert stats.mean == pytest.approx(np.mean(finite)) and stats.std == pytest.approx(np.std(finite))
        assert stats.norm == pytest.approx(np.linalg.norm(finite))


def model(layers):
    return build_model(job_from_text(f"train.steps = 1\nmodel.layers = [{layers}]", "here").model, (3,))


TINY = '{kind = "linear", outputs = 4}, {kind = "relu"}, {kind = "residual", layers = [{kind = "linear", outputs = 4}]}'
SHAPES = {
    "/layers/000_linear/weight": (3, 4),
    "/layers/000_linear/bias": (4,),
    "/layers/002_residual/0_linear/weight": (4, 4),
    "/layers/002_residual/0_linear/bias": (4,),
}


def test_the_same_model():
    compare_models(SHAPES, model(TINY), "here")


@pytest.mark.parametrize(
    ("layers", "layer", "found", "needed"),
    [
        (TINY.replace("4", "5"), "000_linear/bias", "shape (4,)", "shape (5,)"),
        (f"{TINY}, {{kind = 'linear', outputs = 2}}", "003_linear/bias", "no such weight", "shape (2,)"),
        ("{kind = 'linear', outputs = 4}", "002_residual/0_linear/bias", "shape (4,)", "no such weight"),
        (f"{{kind = 'tanh'}}, {TINY}", "000_linear/bias", "shape (4,)", "no such weight"),
        (TINY.replace("4}]", "4, bias = false}]"), "002_residual/0_linear/bias", "shape (4,)", "no such weight"),
        (TINY.replace('[{kind = "linear"', "[{kind = 'tanh'}, {kind = \"linear\""), "002_residual/0", "shape", "no"),
    ],
)
def test_another_model_is_named_by_its_first_layer(layers, layer, found, needed):
    with pytest.raises(CheckpointError) as caught:
        compare_models(SHAPES, model(layers), "step.h5")
    text = str(caught.value)
    assert text.startswith(f"step.h5: another model: {layer}") and "\n" not in text
    assert f" has {found}" in text and f"needed: {needed}" in text


def test_its_shapes_come_from_the_file(tmp_path):
    with open_checkpoint(write(tmp_path / "step-00000001.h5")) as checkpoint:
        assert checkpoint.shapes == {piece.place: piece.shape for piece in PIECES if not piece.state}
