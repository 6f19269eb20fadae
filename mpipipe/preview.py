"""The `plan` command: who would get what, without training, and with no host there if a cluster file is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpipipe.job import read_job
from mpipipe.layers import build_model, layer_costs
from mpipipe.plan import Plan, make_plan
from mpipipe.report import hosts_table, plan_table, plan_text, show, warn, write_json
from mpipipe.resources import Cluster, Place, check_versions, host_facts, load_cluster, measure_rates
from mpipipe.start import Request, conductor_bytes, fit_batch, open_samples, settings_of


@dataclass(frozen=True)
class PlanRequest:
    """A job with settings, the cluster file if any, and where to save the plan if anywhere."""

    run: Request
    cluster: str | None = None
    save: str | None = None


def this_host() -> Cluster:
    """A cluster of one rank on this host, measured without MPI."""
    return Cluster((host_facts(0, Place(), "", measure_rates()),))


def show_plan(request: PlanRequest, cluster: Cluster | None, notices: Sequence[str] = ()) -> int:
    """Print hosts and plan; `cluster` is what was measured, if it was, with `notices` on it.

    Raises JobError, DataError, PlanError.
    """
    job = read_job(request.run.job or "digits", settings_of(request.run))
    if request.cluster:
        cluster = load_cluster(Path(request.cluster))
    cluster = cluster or this_host()
    if job.run.threads:
        cluster = Cluster(tuple(replace(host, threads=job.run.threads) for host in cluster.hosts))
    show(hosts_table(cluster), request.run.quiet)
    for notice in (*notices, *check_versions(cluster)):
        warn(notice, request.run.quiet)
    samples = open_samples(job)
    job = fit_batch(job, samples)
    model = build_model(job.model, samples.data.train.shape)
    plan: Plan = make_plan(layer_costs(model, job.train), cluster, job, conductor_bytes(model, job.train))
    show(plan_table(plan))
    for line in plan_text(plan):
        show(line)
    if request.save:
        write_json(Path(request.save), plan)
    return 0
