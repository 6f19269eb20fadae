"""timeline.npz: what is written is read back, and whatever is damaged is said in one line."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.errors import UserError
from mpipipe.report.timeline import BEGAN, ENDED, Clocks, foretold, make_timeline, read_timeline, write_timeline

from .times import ORDERS, as_foretold, plan_of


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("times") / "timeline.npz"
    write_timeline(as_foretold(plan_of("zb-v")), path)
    return path


@pytest.mark.parametrize("schedule", ORDERS)
def test_round_trip(tmp_path, schedule):
    given_ = as_foretold(plan_of(schedule), (128, 2, 1))
    write_timeline(given_, tmp_path / "t.npz")
    found = read_timeline(tmp_path / "t.npz")
    assert found.plan == given_.plan and found.unsure_s == given_.unsure_s
    assert list(found.steps) == [1, 2, 128]
    for step, rows in found.steps.items():
        assert rows.keys() == given_.steps[step].keys()
        assert all(np.array_equal(array, given_.steps[step][rank]) for rank, array in rows.items())
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_a_later_timeline_replaces_an_earlier_one(tmp_path):
    path = tmp_path / "t.npz"
    for schedule in ("zb-v", "gpipe"):
        write_timeline(as_foretold(plan_of(schedule)), path)
    assert read_timeline(path).plan.schedule == "gpipe"


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), st.floats(0, 1e6))
def test_clocks_are_brought_to_that_of_rank_0(offsets, since_s):
    """Whatever each rank's clock said, and whenever the step was: seconds from its first action."""
    plan = plan_of("1f1b")
    true = foretold(plan)
    ahead = {rank: (offsets[rank], 1e-5) for rank in (1, 2)}
    by_own_clock = {}
    for rank, array in true.items():
        array = array.copy()
        array[:, BEGAN:] += since_s + (ahead[rank][0] if rank else 0)
        by_own_clock[rank] = array
    found = make_timeline(plan, [Clocks(since_s, ahead)], {7: by_own_clock})
    assert found.unsure_s == {1: 1e-5, 2: 1e-5}
    first = min(array[:, BEGAN].min() for array in found.steps[7].values())
    assert first == 0
    for rank, array in found.steps[7].items():
        assert np.allclose(array[:, BEGAN : ENDED + 1], true[rank][:, BEGAN:], atol=1e-8)


def test_none_is_there(tmp_path):
    with pytest.raises(
        UserError, match="no timeline is there; needed: the folder of a run .* a full batch; it is left"
    ):
        read_timeline(tmp_path / "timeline.npz")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_is_an_error_of_the_user_or_harmless(written, tmp_path_factory, data):
    """Cut off, or a few bytes changed: never anything but a UserError, or what was written."""
    content = bytearray(written.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    try:
        found = read_timeline(path)
    except UserError as error:
        assert "damaged" in str(error) or "holds no step" in str(error)
        assert str(error).count("\n") == 0
    else:
        assert found.plan == read_timeline(written).plan


def rewritten(written, path, **changed):
    """The same file with other arrays; None leaves one out."""
    with np.load(written) as file:
        arrays = {name: file[name] for name in file.files}
    arrays.update(changed)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {"head": None},
        {"head": np.array("{")},
        {"head": np.array("[]")},
        {"head": np.array(json.dumps({"plan": {}, "unsure_s": {}}))},
        {"1/0": np.zeros((3, 5))},
        {"1/0": np.full((3, 6), np.nan)},
        {"1/0": np.full((3, 6), 99.0)},
        {"1/0": np.array([[0, 0, 9, 0, 0, 1.0]])},
        {"1/0": np.array([[0.5, 0, 0, 0, 0, 1.0]])},
        {"1/0": np.array(["text"])},
        {"1/0": None},
        {"1/7": np.zeros((3, 6))},
        {"one/0": np.zeros((3, 6))},
        {"1": np.zeros((3, 6))},
    ],
)
def test_what_cannot_be_used(written, tmp_path, changed):
    with pytest.raises(UserError, match="damaged"):
        read_timeline(rewritten(written, tmp_path / "t.npz", **changed))


def test_no_step(tmp_path, written):
    with np.load(written) as file:
        np.savez(tmp_path / "t.npz", head=file["head"])
    with pytest.raises(UserError, match="holds no step"):
        read_timeline(tmp_path / "t.npz")
    with zipfile.ZipFile(tmp_path / "e.npz", "w"):
        pass
    with pytest.raises(UserError, match="damaged"):
        read_timeline(tmp_path / "e.npz")
