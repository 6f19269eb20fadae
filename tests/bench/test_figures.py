"""Medians, ratios, ceilings and the table, from made-up times."""

import io
import json

import pytest
from rich.console import Console

from mpipipe.bench.ceiling import FLOPS
from mpipipe.bench.figures import Bench, Machine, least_s, sum_up
from mpipipe.bench.table import machine_text, result_table, result_text
from mpipipe.records import from_plain, to_plain

from .cases import TINY, honest, timed

MACHINE = Machine("Some CPU", 4, 2, {"mpipipe": "0.1.0", "torch": "", "BLAS": "openblas (Haswell)"})


@pytest.fixture
def result():
    contestants = [
        timed(honest(name="mine"), 0.004, 0.002, 0.100),
        timed(honest(name="my ranks", stages=2), 0.005),
        timed(honest(name="slow torch", side="torch"), 0.008, 0.010),
        timed(honest(name="fast torch", side="torch"), 0.006, 0.006),
        timed(honest(name="products", side="ceiling"), 0.020, 0.030, 0.010),
    ]
    # Two threads multiply at 2 FLOPS / 0.020 s; a step of FLOPS / 10 takes 1 ms then.
    return sum_up(TINY, FLOPS / 10, 2, [3], contestants)


def test_medians_ratios_and_ceilings(result):
    scores = {score.name: score for score in result.scores}
    assert result.best_torch == "fast torch"
    assert scores["mine"].step_s == 0.004
    assert scores["mine"].round_s == (0.004, 0.002, 0.100)
    assert scores["mine"].samples_per_s == pytest.approx(32 / 0.004)
    assert scores["mine"].ratio == pytest.approx(1.5)
    assert scores["slow torch"].ratio == pytest.approx(0.006 / 0.009)
    assert scores["fast torch"].ratio == 1
    assert scores["mine"].of_ceiling == pytest.approx(0.25)
    assert scores["my ranks"].of_ceiling == pytest.approx(0.2 * 5 / 4)
    assert scores["products"].step_s == pytest.approx(0.001)
    assert scores["products"].of_ceiling == 1


def test_a_pipeline_waits_for_its_bubble():
    assert least_s(10, 5, 1, 8) == 2
    assert least_s(10, 5, 2, 8) == pytest.approx(2 / (1 - 1 / 9))


def test_with_nothing_to_compare():
    result = sum_up(TINY, 1e6, 2, [], [timed(honest(name="mine"), 0.004)])
    assert (result.best_torch, result.scores[0].ratio, result.scores[0].of_ceiling) == ("", None, None)
    assert "mine" in drawn(result)


def drawn(result):
    stream = io.StringIO()
    Console(file=stream, width=100).print(result_table(result))
    return stream.getvalue()


def test_the_table_shows_every_contestant(result):
    lines = [" ".join(line.split()) for line in drawn(result).splitlines()]
    assert lines[0] == "contestant ms a step samples/s to best PyTorch of the ceiling"
    assert lines[2:] == [
        "mine 4.00 8000 1.50 25%",
        "my ranks 5.00 6400 1.20 25%",
        "slow torch 9.00 3556 0.67 11%",
        "fast torch (best PyTorch) 6.00 5333 1.00 17%",
        "products 1.00 32000 6.00 100%",
    ]
    assert result_text(result) == (
        "tiny: 32 samples a step, in 4 micro-batches of 8; 0.2 GFLOP in matrix products, which run at 214.7 GFLOP/s\n"
        "Each line is compared with the faster PyTorch of those that cut the batch alike."
    )
    assert machine_text(MACHINE) == "Some CPU, 4 cores; mpipipe 0.1.0, BLAS openblas (Haswell)"


def test_everything_is_plain_data(result):
    bench = Bench(MACHINE, (result,))
    assert from_plain(Bench, json.loads(json.dumps(to_plain(bench))), "bench") == bench
