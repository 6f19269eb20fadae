"""What is said while bench measures, from made-up times."""

from mpipipe.bench.progress import START_S, TURN_S, Progress, left_s, left_text


def test_what_is_left_follows_from_what_was_measured():
    assert left_s(7, [], 5, [], 7) == 7 * START_S + 5 * 7 * TURN_S
    assert left_s(3, [2.0, 4.0], 5, [], 7) == 3 * 3.0 + 5 * 7 * TURN_S
    assert left_s(0, [2.0], 4, [10.0, 20.0], 7) == 60.0


def test_it_is_told_roughly():
    assert [left_text(seconds) for seconds in (0, 11, 90, 91, 121, 600)] == [
        "about 10 s",
        "about 20 s",
        "about 90 s",
        "about 2 min",
        "about 3 min",
        "about 10 min",
    ]


def test_a_file_gets_a_line_for_each_model_and_round(capsys):
    progress = Progress(4, 1, 2)
    for model in ("a", "b"):
        for name in ("x", "y"):
            with progress.measuring_start(f"{model}: starting {name}"):
                pass
    with progress.measuring_round("b: round 1 of 1"):
        pass
    progress.clear()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "a: starting the contestants; about 40 s left",
        "b: starting the contestants; about 10 s left",
        "b: round 1 of 1; about 10 s left",
    ]


def test_quiet_is_quiet(capsys):
    with Progress(1, 1, 1, quiet=True).measuring_start("a: starting x"):
        pass
    assert capsys.readouterr() == ("", "")
