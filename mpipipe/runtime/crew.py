"""Who talks to whom: the plan as seen by one rank, and the ports of its stage, its source and its sink."""

from dataclasses import dataclass

import numpy as np

from mpipipe.job import Job
from mpipipe.layers import Model
from mpipipe.plan import Plan, StagePlan, pipeline_of
from mpipipe.runtime.messages import Port, Tag, port
from mpipipe.runtime.slots import DTYPE
from mpipipe.runtime.stage import Share
from mpipipe.schedule import SCHEDULES, Lowered, check, forward, lower

CONDUCTOR = 0
"""The rank that gives orders, holds the data and writes to disk."""


@dataclass(frozen=True)
class Crew:
    """What every rank knows of the whole run, and its own number in it."""

    rank: int
    plan: Plan
    model: Model
    job: Job

    @property
    def stage(self) -> int | None:
        """This rank's stage, None where it is idle."""
        return self.plan.stage_of(self.rank)

    @property
    def stage_plan(self) -> StagePlan | None:
        """This rank's part of the plan."""
        return None if self.stage is None else self.plan.stages[self.stage]

    @property
    def tied_ranks(self) -> tuple[int, int] | None:
        """The ranks that hold the two copies of a tied weight; None where none is tied."""
        tied = self.model.tied
        return None if tied is None else (self.plan.rank_of(tied[0]), self.plan.rank_of(tied[1]))

    @property
    def wants_norm(self) -> bool:
        """Whether an update has to wait for what only rank 0 knows: the norm to clip by, how many targets count."""
        loss = self.model.loss
        return self.job.train.clip_norm > 0 or (loss.labels and loss.target_shape(self.model.shapes[-1]) != ())

    @property
    def first_rank(self) -> int:
        """The rank of the first stage."""
        return self.plan.stages[0].rank

    @property
    def last_rank(self) -> int:
        """The rank of the last stage."""
        return self.plan.stages[-1].rank


@dataclass(frozen=True)
class Ports:
    """All ports that a rank may use; those that its place has no use for are never asked."""

    act_in: Port
    act_out: Port
    target_in: Port
    data_out: Port
    target_out: Port
    out: Port
    out_in: Port


def share_of(crew: Crew) -> Share | None:
    """What this rank's stage is told; None for an idle rank."""
    mine = crew.stage_plan
    if mine is None:
        return None
    train = crew.job.train
    return Share(
        crew.model,
        mine.first,
        mine.last,
        mine.in_flight,
        mine.gradients_in_flight,
        train.micro_batch,
        train.tile_rows,
        train.optimizer,
        train.seed,
    )


def ports_of(crew: Crew) -> Ports:
    """Ports by the plan: peers, rows, shapes and dtypes of every message."""
    stages, model, rows = crew.plan.stages, crew.model, crew.job.train.micro_batch
    s = crew.stage or 0
    before = stages[s - 1].rank if s else CONDUCTOR
    after = stages[s + 1].rank if s + 1 < len(stages) else CONDUCTOR
    shapes, target = model.shapes, model.loss.target_shape(model.shapes[-1])
    target_type = np.int64 if model.loss.labels else DTYPE
    return Ports(
        act_in=port(before, Tag.ACT, rows, shapes[stages[s].first], DTYPE),
        act_out=port(after, Tag.ACT, rows, shapes[stages[s].last], DTYPE),
        target_in=port(CONDUCTOR, Tag.TARGET, rows, target, target_type),
        data_out=port(crew.first_rank, Tag.ACT, rows, shapes[0], DTYPE),
        target_out=port(crew.last_rank, Tag.TARGET, rows, target, target_type),
        out=port(CONDUCTOR, Tag.OUT, rows, shapes[-1], DTYPE),
        out_in=port(crew.last_rank, Tag.OUT, rows, shapes[-1], DTYPE),
    )


def gradient_port(act: Port) -> Port:
    """Gradients run against the activations of the same boundary, in the same shape."""
    return Port(act.peer, Tag.GRAD, act.rows, act.shape, act.dtype)


def training_schedule(plan: Plan, samples: int) -> Lowered:
    """The plan's schedule for a batch of `samples`, checked and lowered. Raises ScheduleError."""
    made = SCHEDULES[plan.schedule].make(pipeline_of(plan, samples))
    check(made)
    return lower(made)


def forward_schedule(plan: Plan, samples: int, targets: bool) -> Lowered:
    """Forwards only: with targets to evaluate, without to predict. Checked and lowered. Raises ScheduleError."""
    made = forward(pipeline_of(plan, samples))
    check(made, targets=targets, outputs=not targets)
    return lower(made, targets=targets, outputs=not targets)
