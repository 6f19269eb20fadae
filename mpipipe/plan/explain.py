"""What other rules would do with the same hosts and costs: to see what the plan is worth."""

from collections.abc import Iterator
from dataclasses import dataclass

from mpipipe.plan.allowed import Allowed
from mpipipe.plan.baselines import by_count, by_memory, by_parameters, by_time
from mpipipe.plan.price import Prices
from mpipipe.plan.priced import price_all


@dataclass(frozen=True)
class Alternative:
    """Another way to cut, hosts in hostfile order: its step, or None where it does not fit."""

    rule: str
    cuts: tuple[int, ...]
    step_s: float | None


def alternatives(prices: Prices, what: Allowed) -> Iterator[Alternative]:
    """Each rule's cuts, with the schedule and limits that suit them best: only who gets what differs."""
    problem = prices.problem
    rules = {
        "equal numbers of layers": by_count,
        "equal parameters": by_parameters,
        "in proportion to free memory": by_memory,
        "balanced by time, hosts in hostfile order": by_time,
    }
    single = [name for name in what.schedules if name in ("gpipe", "1f1b", "zb-h1")] or ["1f1b"]
    for rule, cut in rules.items():
        stages = cut(problem)
        steps = [one.step_s for one in price_all(prices, stages, single, what.most)]
        yield Alternative(rule, tuple(stage.first for stage in stages[1:]), min(steps, default=None))
    plain = by_count(problem)
    classic = prices.of("1f1b", plain, tuple(len(plain) - s for s in range(len(plain))))
    yield Alternative(
        "equal numbers of layers, plain 1f1b",
        tuple(stage.first for stage in plain[1:]),
        classic.step_s if classic else None,
    )
