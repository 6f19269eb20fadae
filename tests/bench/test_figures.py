"""Medians, ratios, ceilings and the tables, from made-up times."""

import io
import json

import pytest
from rich.console import Console

from mpipipe.bench.ceiling import FLOPS
from mpipipe.bench.figures import Bench, Machine, Ratio, bubble, close, sum_up
from mpipipe.bench.rounds import Failure
from mpipipe.bench.table import (
    closing_table,
    closing_text,
    failures_text,
    machine_text,
    result_table,
    result_text,
    used_text,
)
from mpipipe.bench.used import Used
from mpipipe.records import from_plain, to_plain

from .cases import TINY, honest, timed

MACHINE = Machine("Some CPU", 4, 2, "", "AVX512")
NO_TORCH = "PyTorch is not installed"
TORCH = Used(ranks=1, threads=2, products="MKL 1 (AVX2)", elementwise="ATen 2.1 (AVX2)", versions={"torch": "2.1"})


def torch(name, *round_s, alike=True):
    entry = honest(name=name, side="torch")
    object.__setattr__(entry, "alike", alike)
    return timed(entry, *round_s, used=TORCH)


def contestants():
    free = honest(name="mine, large")
    object.__setattr__(free, "alike", False)
    ranks = Used(ranks=2, threads=1, products="blas 1 (Haswell)")
    return [
        timed(honest(name="mine"), 0.004, 0.002, 0.100),
        timed(honest(name="my ranks", stages=2), 0.005, 0.005, 0.005, used=ranks),
        timed(free, 0.003, 0.003, 0.003),
        torch("slow torch", 0.008, 0.010, 0.009),
        torch("fast torch", 0.006, 0.006, 0.050),
        torch("whole", 0.012, 0.009, 0.006, alike=False),
        timed(honest(name="products", side="ceiling"), 0.020, 0.030, 0.010),
    ]


@pytest.fixture
def result():
    # Two threads multiply at 2 FLOPS / 0.020 s; a step of FLOPS / 10 takes 1, 1.5 and 0.5 ms then.
    failures = [Failure("late", "torch", "ended"), Failure("a", "torch", NO_TORCH), Failure("b", "torch", NO_TORCH)]
    return sum_up(TINY, FLOPS / 10, 2, [3], contestants(), failures)


def close_to(median, least, most):
    return Ratio(*(pytest.approx(number) for number in (median, least, most)))


def test_ratios_are_taken_in_each_round(result):
    scores = {score.name: score for score in result.scores}
    assert result.best_torch == "fast torch"
    assert scores["mine"].step_s == 0.004
    assert scores["mine"].round_s == (0.004, 0.002, 0.100)
    assert scores["mine"].samples_per_s == pytest.approx(32 / 0.004)
    # Pairs: 1.5, 3, 0.5.
    assert scores["mine"].ratio == close_to(1.5, 0.5, 3)
    # Pairs: 1.2, 1.2, 10; those of slow torch: 0.75, 0.6, 5.56, where the medians of times would give 6 / 9.
    assert scores["my ranks"].ratio == close_to(1.2, 1.2, 10)
    assert scores["slow torch"].ratio == close_to(0.75, 0.6, 50 / 9)
    assert scores["fast torch"].ratio == Ratio(1, 1, 1)
    assert scores["mine, large"].ratio == close_to(3, 2, 4)
    assert scores["whole"].ratio == Ratio(1, 1, 1)


def test_shares_of_the_ceiling_are_taken_in_each_round(result):
    scores = {score.name: score for score in result.scores}
    assert scores["mine"].of_ceiling == pytest.approx(0.25)  # of 0.25, 0.75, 0.005
    assert scores["my ranks"].of_ceiling == pytest.approx(0.2 * 5 / 4)
    assert scores["slow torch"].of_ceiling == pytest.approx(0.125)  # of 0.125, 0.15, 0.5 / 9; medians: 1 / 9
    assert scores["products"].round_s == pytest.approx([0.001, 0.0015, 0.0005])
    assert scores["products"].of_ceiling == 1
    assert result.flops_per_s == pytest.approx(2 * FLOPS / 0.020)


def test_a_pipeline_waits_for_its_bubble():
    assert bubble(1, 8) == 1
    assert bubble(2, 8) == pytest.approx(1 / (1 - 1 / 9))


def test_with_nothing_to_compare():
    result = sum_up(TINY, 1e6, 2, [], [timed(honest(name="mine"), 0.004)])
    assert (result.best_torch, result.scores[0].ratio, result.scores[0].of_ceiling) == ("", None, None)
    assert "mine" in drawn(result_table(result))
    line = drawn(closing_table([close(result)])).splitlines()[3]
    assert line.split() == ["tiny", "8000", "-", "-", "-", "-"]


def test_with_nothing_at_all():
    result = sum_up(TINY, 1e6, 2, [], [], [Failure("mine", "mpipipe", "ended")])
    assert "mine" in drawn(result_table(result))
    assert drawn(closing_table([close(result)])).splitlines()[3].split() == ["tiny", "-", "-", "-", "-", "-"]


def drawn(table, width=100):
    stream = io.StringIO()
    Console(file=stream, width=width, markup=False).print(table)
    return stream.getvalue()


def test_the_table_shows_every_contestant(result):
    lines = [" ".join(line.split()) for line in drawn(result_table(result)).splitlines()]
    assert lines[0] == "ranks x x best PyTorch of the"
    assert lines[1] == "contestant threads ms a step samples/s (least..most) ceiling"
    assert lines[3:] == [
        "mine 1 x 2 4.00 8000 1.50 (0.50..3.00) 25%",
        "my ranks 2 x 1 5.00 6400 1.20 (1.20..10.00) 25%",
        "mine, large 1 x 2 3.00 10667 3.00 (2.00..4.00) 33%",
        "slow torch 1 x 2 9.00 3556 0.75 (0.60..5.56) 12%",
        "fast torch (best PyTorch) 1 x 2 6.00 5333 1.00 (1.00..1.00) 17%",
        "whole 1 x 2 9.00 3556 1.00 (1.00..1.00) 8%",
        "products 1 x 2 1.00 32000 6.00 (4.00..100.00) 100%",
        "late - failed - - -",
        "a - failed - - -",
        "b - failed - - -",
    ]
    assert failures_text(result) == f"failed: late: ended\nfailed: a; b: {NO_TORCH}"
    assert result_text(result) == (
        "tiny: 32 samples a step, in 4 micro-batches of 8; 0.2 GFLOP in matrix products, which run at 214.7 GFLOP/s"
    )


def test_libraries_stand_once_for_those_that_share_them(result):
    assert used_text(result).splitlines() == [
        "mpipipe; ceiling: products by blas 1 (Haswell)",
        "PyTorch: products by MKL 1 (AVX2); the rest by ATen 2.1 (AVX2)",
    ]
    other = Used(ranks=1, threads=2, products="blas 1 (SkylakeX)", versions={"Python": "3.11"})
    mixed = sum_up(TINY, 1.0, 2, [], [*contestants()[:2], timed(honest(name="new"), 1.0, 1.0, 1.0, used=other)])
    assert used_text(mixed).splitlines() == [
        "mine; my ranks: products by blas 1 (Haswell)",
        "new: products by blas 1 (SkylakeX); Python 3.11",
    ]


def test_the_closing_table(result):
    closing = close(result)
    assert (closing.mine, closing.torch) == ("mine", "fast torch")
    assert closing.ratio == close_to(1.5, 0.5, 3)
    assert closing.freely == close_to(3, 2, 4)  # mine, large against whole
    lines = drawn(closing_table([closing, closing])).splitlines()
    assert " ".join(lines[3].split()) == "tiny 8000 5333 1.50 (0.50..3.00) [3.00 (2.00..4.00)] 25%"
    assert lines[3] == lines[4]


def test_the_closing_table_fits_100_columns(result):
    huge = Ratio(10.123, 10.1, 100.12)
    rates = {"mine_samples_per_s": 123456.0, "torch_samples_per_s": 123456.0}
    closing = type(close(result))(
        **{**vars(close(result)), **rates, "model": "mlp-2048x8", "ratio": huge, "freely": huge, "of_ceiling": 1.0}
    )
    held = Machine("AMD EPYC 7763 64-Core Processor", 128, 16, "avx2", "AVX2")
    text = f"{closing_text(held)}\n{drawn(closing_table([closing]), 300)}"
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100


def test_the_heading_names_cpu_and_instructions():
    assert machine_text(MACHINE) == "Some CPU, 4 cores; instructions: AVX512 (the CPU's best)"
    held = Machine("Some CPU", 4, 2, "avx2", "AVX2")
    assert closing_text(held) == (
        "mpipipe and PyTorch, 2 ranks or 2 threads each\nSome CPU, 4 cores; instructions: AVX2 at most (--isa avx2)"
    )


def test_everything_is_plain_data(result):
    bench = Bench(MACHINE, (result,), (close(result),))
    assert from_plain(Bench, json.loads(json.dumps(to_plain(bench))), "bench") == bench
