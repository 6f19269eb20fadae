"""Planning a job for measured hosts: the plan and, where the job leaves it open, the size of micro-batches."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mpipipe.calibration import Subject, sizes
from mpipipe.errors import JobError, PlanError
from mpipipe.fit import check_micro_batches
from mpipipe.job import Job
from mpipipe.layers import LayerCost, layer_costs
from mpipipe.plan import Alternative, Plan, compare, make_plan
from mpipipe.resources import Cluster
from mpipipe.start import bytes_besides_stages

STEP_S = 2e-3
"""Seconds of a step besides the pipeline and the update: orders, reports, the norm. 1.8 to 2.6 ms on one to four ranks
of one machine."""


def plan_job(subject: Subject) -> tuple[Job, Plan]:
    """The job with the size that is foretold to be fastest, and its plan. Raises PlanError, or JobError."""
    found: list[tuple[Job, Plan]] = []
    refused: list[PlanError | JobError] = []
    every = sizes(subject.job)
    for size in every:
        at = subject.at(size)
        try:
            check_micro_batches(at.model, at.job.train, at.job.train.batch)
            found.append((at.job, _make(at)))
        except (PlanError, JobError) as error:
            refused.append(error)
    if not found:
        raise refused[0]
    job, plan = min(found, key=lambda pair: pair[1].step_s)
    if subject.job.train.micro_batch:
        return job, plan
    steps = ", ".join(f"{one.micro_batch}: {one.step_s * 1e3:.3g} ms" for _, one in found)
    note = f"micro-batches of {plan.micro_batch} are foretold to be fastest, of those tried ({steps} a step)"
    return job, replace(plan, notes=(*plan.notes, note))


def compare_job(subject: Subject) -> tuple[Alternative, ...]:
    """What other rules would do; the size of micro-batches is given."""
    return compare(*_asked(subject))


def _make(subject: Subject) -> Plan:
    plan = make_plan(*_asked(subject))
    return replace(plan, step_s=plan.step_s + STEP_S)


def _asked(subject: Subject) -> tuple[Sequence[LayerCost], Cluster, Job, Mapping[int, int], float]:
    """What plans are made from."""
    model, job, train = subject.model, subject.job, subject.job.train
    load_s = subject.sample_s * train.micro_batch
    reserved = bytes_besides_stages(model, train, len(subject.cluster.hosts))
    return layer_costs(model, train), subject.cluster, job, reserved, load_s
