"""Tasks that share cores: the picture of the docstring, and what holds for any tasks."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import approx

from mpipipe.schedule import Cores, Hosts, Kind, simulate, wire
from mpipipe.schedule.sharing import SharedCores

from .making import gpipe, times, whole


def run(host, tasks):
    """When each of (begin, seconds) ends."""
    ends, waiting = {}, sorted(enumerate(tasks), key=lambda one: one[1][0])
    while waiting or host.tasks:
        if waiting and waiting[0][1][0] <= host.due_s:
            number, (begin, seconds) = waiting.pop(0)
            host.begin(begin, seconds, number)
        else:
            now = host.due_s
            ends[host.end(now)] = now
    return [ends[number] for number in range(len(tasks))]


def test_the_picture():
    assert run(SharedCores(2.0), [(0, 3), (0, 3), (1, 3)]) == approx([4, 4, 5])


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0.1, 8),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 5)), min_size=1, max_size=8),
)
def test_no_work_is_lost_or_done_twice(cores, tasks):
    """All of it takes what its cores need, nobody is faster than alone, and nobody waits where cores are free."""
    ends = run(SharedCores(cores), tasks)
    first, last = min(begin for begin, _ in tasks), max(ends)
    work = sum(seconds for _, seconds in tasks)
    assert last >= first + work / min(cores, len(tasks)) * (1 - 1e-9)
    for end, (begin, seconds) in zip(ends, tasks, strict=True):
        assert end >= begin + seconds / min(1, cores) * (1 - 1e-9)
        assert end <= begin + work / min(1, cores) + 1e-9
    if cores >= len(tasks):
        assert ends == approx([begin + seconds for begin, seconds in tasks])


def seconds_of(stages, micros, each, **hosts):
    """A step of gpipe, without messages."""
    made = wire(whole(gpipe(stages, micros), targets=False))
    return simulate(made, [times(*each)] * stages, [1] * stages, hosts=Hosts(**hosts)).end_s


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.tuples(*[st.floats(0.1, 3)] * 3), st.floats(0.1, 1))
def test_stages_that_share_one_core_or_a_part_of_it_take_all_their_work(stages, micros, each, cores):
    """One core is never idle before the end."""
    found = seconds_of(stages, micros, each, cores=(Cores(cores, tuple(range(stages))),))
    assert found == approx(stages * micros * sum(each) / cores)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_more_cores_are_never_slower_and_one_for_each_stage_is_none_shared(stages, micros, cores):
    alone = seconds_of(stages, micros, (1, 1, 1))
    lanes = tuple(range(stages))
    found = [seconds_of(stages, micros, (1, 1, 1), cores=(Cores(c, lanes),)) for c in (cores, cores + 0.5)]
    assert alone <= found[1] * (1 + 1e-9)
    assert found[1] <= found[0] * (1 + 1e-9)
    assert seconds_of(stages, micros, (1, 1, 1), cores=(Cores(stages, lanes),)) == approx(alone)


def test_who_sleeps_needs_no_core():
    """Four stages on a core, three quarters asleep: as long as with a core each, or nearly."""
    shared = {"cores": (Cores(1, (0, 1, 2, 3)),), "sleeping": (1.0,) * 4}
    assert seconds_of(4, 3, (1, 1, 1), **shared) == approx(seconds_of(4, 3, (1, 1, 1)))


def test_the_worker_that_loads_the_samples_has_that_to_do_too():
    assert seconds_of(1, 4, (1, 1, 1), feeder=0, load_s=0.5) == approx(4 * 3.5)
    assert seconds_of(1, 4, (1, 1, 1), load_s=0.5) == approx(4 * 3)


def test_busy_seconds_are_those_of_the_clock():
    """Two lanes on one core: each task takes twice as long while the other works."""
    made = wire(whole(gpipe(2, 4), targets=False))
    result = simulate(made, [times(1, 1, 1)] * 2, [1, 1], hosts=Hosts((Cores(1, (0, 1)),)))
    spans = [span for span in result.spans if span.action.kind in (Kind.F, Kind.I, Kind.W)]
    assert sum(span.end_s - span.start_s for span in spans) == approx(sum(result.busy_s))
    assert sum(result.busy_s) > 24


def test_the_picture_of_a_quota():
    """In seconds; the second task follows the first, on one worker."""
    assert run(SharedCores(0.1, 0.1), [(0, 0.004), (0.004, 0.012)]) == approx([0.004, 0.106])


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0.05, 2.5),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 5)), min_size=1, max_size=8),
    st.floats(0.05, 1),
)
def test_under_a_quota_no_work_is_lost_and_none_beyond_the_quota_is_done(cores, tasks, phase):
    host = SharedCores(cores, 1.0, phase)
    ends = run(host, tasks)
    work, last = sum(seconds for _, seconds in tasks), max(ends)
    assert host.spent_s == approx(work)
    assert work <= cores * (int(last) + 2) * (1 + 1e-9)
    for end, (begin, seconds) in zip(ends, tasks, strict=True):
        assert end >= begin + seconds * (1 - 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.05, 1), st.floats(0.3, 30), st.floats(0.05, 1))
def test_a_long_task_under_a_quota_takes_what_the_quota_says(cores, seconds, phase):
    """Within a period."""
    (end,) = run(SharedCores(cores, 1.0, phase), [(0, seconds)])
    assert abs(end - seconds / cores) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.05, 1), st.floats(0.01, 5))
def test_no_step_is_shorter_than_its_work_at_the_quotas_rate(stages, micros, cores, period_s):
    """Also where a step is much shorter than the period, and a single one would never meet the quota."""
    hosts = tuple(Cores(cores, (lane,), period_s) for lane in range(stages))
    assert seconds_of(stages, micros, (1, 1, 1), cores=hosts) >= 3 * micros / cores * (1 - 1e-9)
    assert seconds_of(stages, micros, (1, 1, 1), cores=hosts) >= seconds_of(stages, micros, (1, 1, 1))


def test_what_a_task_costs_besides_its_work_takes_time_and_is_not_busy():
    made = wire(whole(gpipe(1, 4), targets=False))
    plain, more = (
        simulate(made, [times(1, 1, 1)], [1], hosts=Hosts(overhead_s=overhead_s)) for overhead_s in ((), (0.5,))
    )
    assert plain.end_s == approx(12)
    assert more.end_s == approx(18)
    assert more.busy_s == plain.busy_s
    assert all(span.end_s - span.start_s == approx(1) for span in more.spans if span.action.kind in "FIW")
