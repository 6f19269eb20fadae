"""Who talks to whom: the plan as seen by one rank, and the ports of its stages, its source and its sink."""

from dataclasses import dataclass

import numpy as np

from mpipipe.job import Job
from mpipipe.layers import Model
from mpipipe.plan import Plan, StagePlan, pipeline_of
from mpipipe.runtime.messages import Port, Tag, port
from mpipipe.runtime.share import Share
from mpipipe.runtime.slots import DTYPE
from mpipipe.schedule import SCHEDULES, Lowered, check, forward, lane_of, lower

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
    def chunks(self) -> tuple[int, ...]:
        """This rank's stages in pipeline order; none where it is idle."""
        return self.plan.stages_of(self.rank)

    @property
    def stage_plans(self) -> tuple[StagePlan, ...]:
        """Their parts of the plan."""
        return tuple(self.plan.stages[stage] for stage in self.chunks)

    @property
    def threads(self) -> int:
        """Worker threads of this rank."""
        return self.stage_plans[0].threads if self.chunks else 1

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
    """All ports of a stage; those that its place has no use for are never asked."""

    act_in: Port
    act_out: Port
    grad_in: Port
    grad_out: Port
    target_in: Port
    out: Port


@dataclass(frozen=True)
class EndPorts:
    """The ports of rank 0's source and sink."""

    data_out: Port
    target_out: Port
    out_in: Port


def shares_of(crew: Crew) -> tuple[Share, ...]:
    """What this rank's stages are told; nothing for an idle rank."""
    train = crew.job.train
    return tuple(
        Share(
            crew.model,
            mine.first,
            mine.last,
            mine.in_flight,
            mine.gradients_in_flight,
            train.micro_batch,
            train.tile_rows,
            train.optimizer,
            train.seed,
            mine.recompute,
            mine.threads,
        )
        for mine in crew.stage_plans
    )


def place_of(plan: Plan, stage: int) -> tuple[int, int]:
    """What a port must know of the stage that receives: which chunk it is, and the most that a rank has."""
    return lane_of(plan.placement)[stage][1], max(map(len, plan.placement))


def ports_of(crew: Crew, stage: int) -> Ports:
    """Ports of one of this rank's stages by the plan: peers, rows, shapes and dtypes of every message."""
    stages, model, rows = crew.plan.stages, crew.model, crew.job.train.micro_batch
    mine, end = stages[stage], len(stages) - 1

    def across(tag: Tag, other: int, receiver: int, layer: int) -> Port:
        """With stage number `other`; with rank 0 where there is no such stage."""
        inside = 0 <= other <= end
        place = place_of(crew.plan, receiver) if 0 <= receiver <= end else (0, 1)
        return port(stages[other].rank if inside else CONDUCTOR, tag, rows, model.shapes[layer], DTYPE, place)

    return Ports(
        act_in=across(Tag.ACT, stage - 1, stage, mine.first),
        act_out=across(Tag.ACT, stage + 1, stage + 1, mine.last),
        grad_in=across(Tag.GRAD, stage + 1, stage, mine.last),
        grad_out=across(Tag.GRAD, stage - 1, stage - 1, mine.first),
        target_in=_target_port(crew, CONDUCTOR),
        out=port(CONDUCTOR, Tag.OUT, rows, model.shapes[-1], DTYPE),
    )


def end_ports(crew: Crew) -> EndPorts:
    """Ports of the source and of the sink by the plan."""
    rows, shapes = crew.job.train.micro_batch, crew.model.shapes
    return EndPorts(
        data_out=port(crew.first_rank, Tag.ACT, rows, shapes[0], DTYPE, place_of(crew.plan, 0)),
        target_out=_target_port(crew, crew.last_rank),
        out_in=port(crew.last_rank, Tag.OUT, rows, shapes[-1], DTYPE),
    )


def _target_port(crew: Crew, peer: int) -> Port:
    loss, rows = crew.model.loss, crew.job.train.micro_batch
    return port(peer, Tag.TARGET, rows, loss.target_shape(crew.model.shapes[-1]), np.int64 if loss.labels else DTYPE)


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
