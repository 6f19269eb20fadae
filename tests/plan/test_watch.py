import random

from mpipipe.plan.watch import LONGEST_REST, WINDOW, Watch


def steady(watch, seconds, steps, jitter=0.0, seed=0):
    """Steps until a rank counts as changed, or all of them."""
    rng = random.Random(seed)
    for step in range(steps):
        watch.add({rank: one * (1 + jitter * rng.uniform(-1, 1)) for rank, one in seconds.items()})
        if watch.changed():
            return step + 1
    return None


def test_steady_hosts_are_left_alone_whatever_the_plan_foretold():
    """What the plan was wrong by at the start is known after the first window."""
    assert steady(Watch({0: 1.0, 1: 2.0}), {0: 1.4, 1: 2.2}, 500, jitter=0.1) is None


def test_a_slower_rank_is_seen_within_two_windows_and_by_its_number():
    watch = Watch({0: 1.0, 1: 1.0})
    assert steady(watch, {0: 1.1, 1: 1.1}, 20) is None
    assert steady(watch, {0: 1.1, 1: 2.2}, 50) <= 2 * WINDOW
    assert watch.changed() == [1]
    assert watch.measured()[1] == 2.2


def test_a_faster_rank_is_seen_too():
    watch = Watch({0: 1.0}, {0: 1.0})
    assert steady(watch, {0: 0.5}, 50) <= 2 * WINDOW


def test_a_few_slow_steps_are_no_change():
    watch = Watch({0: 1.0}, {0: 1.0})
    for _ in range(20):
        assert steady(watch, {0: 3.0}, WINDOW - 1) is None
        assert steady(watch, {0: 1.0}, 1) is None


def test_looking_in_vain_makes_it_look_less_often():
    """A rank that goes up and down for ever costs ever fewer looks."""
    watch, looks = Watch({0: 1.0}, {0: 1.0}), []
    for step in range(4000):
        watch.add({0: 1.0 if step // 40 % 2 else 2.0})
        if watch.changed():
            looks.append(step)
            watch.leave()
    gaps = [b - a for a, b in zip(looks, looks[1:], strict=False)]
    assert len(looks) < 14
    assert max(gaps) <= 2 * LONGEST_REST
    assert gaps[0] < gaps[-1]


def test_a_plan_that_the_first_steps_contradict_for_one_host_is_not_taken_for_usual():
    """All hosts are 1.2 times as slow as planned, and one is four times."""
    watch = Watch(dict.fromkeys(range(5), 1.0))
    assert steady(watch, {0: 1.2, 1: 1.2, 2: 4.8, 3: 1.2, 4: 1.1}, 20, jitter=0.05) == WINDOW
    assert watch.changed() == [2]


def test_a_plan_that_is_wrong_alike_for_all_hosts_is_left_alone():
    """No other plan would mend that."""
    assert steady(Watch(dict.fromkeys(range(5), 1.0)), dict.fromkeys(range(5), 3.0), 100, jitter=0.05) is None


def test_a_host_under_a_quota_may_take_any_time_from_its_work_to_its_work_at_the_quota():
    rng = random.Random(4)
    for seconds, changed in ((lambda: rng.choice((1.0, 4.0, 9.9)), []), (lambda: 14.0, [0]), (lambda: 0.6, [0])):
        watch = Watch({0: 1.0, 1: 1.0}, {0: 1.0, 1: 1.0}, {0: 10.0})
        for _ in range(2 * WINDOW):
            watch.add({0: seconds(), 1: 1.0})
        assert watch.changed() == changed
