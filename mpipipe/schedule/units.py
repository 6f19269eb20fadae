"""Schedules in units of time, for looking at them: what F, I, W and a message take, alike on every stage."""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

from mpipipe.schedule.actions import Kind, Schedule
from mpipipe.schedule.check import rooms_of
from mpipipe.schedule.graph import whole_graph
from mpipipe.schedule.lower import lower
from mpipipe.schedule.simulate import Simulation, Transfer, simulate
from mpipipe.schedule.wiring import wire


@dataclass(frozen=True)
class Units:
    """What each action takes; a message holds its wire as long."""

    forward: float = 1.0
    input: float = 1.0
    weight: float = 1.0
    message: float = 0.0

    def __str__(self) -> str:
        times = f"F {self.forward:g}, I {self.input:g}, W {self.weight:g}"
        if self.forward == self.input == self.weight:
            times = f"F = I = W = {self.forward:g}"
        return f"{times} unit, messages {f'{self.message:g}' if self.message else 'free'}"

    @property
    def step(self) -> float:
        """The longest time of which all are multiples."""
        given = (self.forward, self.input, self.weight, self.message)
        parts = [Fraction(f"{value:g}") for value in given if value]
        below = lcm(*(part.denominator for part in parts))
        return gcd(*(int(part * below) for part in parts)) / below if parts else 1.0


def simulate_units(schedule: Schedule, units: Units | None = None) -> Simulation:
    """One worker a rank, in strict order."""
    units = units or Units()
    whole = whole_graph(lower(schedule), rooms_of(schedule), schedule.micros)
    each = {Kind.F: units.forward, Kind.I: units.input, Kind.W: units.weight}
    stages = schedule.stages
    transfer = Transfer(wire_s=units.message)
    messages = {(kind, stage): transfer for kind in (Kind.SEND_ACT, Kind.SEND_GRAD) for stage in range(stages)}
    return simulate(wire(whole), [each] * stages, [1] * len(schedule.lanes), messages, strict=True)
