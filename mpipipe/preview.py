"""The `plan` command: who would get what, without training, and with no host there if a cluster file is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from mpipipe.calibration import Subject, recall, remember
from mpipipe.errors import UserError
from mpipipe.job import Job, read_job
from mpipipe.layers import Model, build_model
from mpipipe.measure import measure_alone
from mpipipe.planning import compare_job, plan_job
from mpipipe.report import check_writable, explained_table, hosts_table, plan_table, plan_text, show, warn, write_json
from mpipipe.resources import (
    KERNEL_VARIABLE,
    Cluster,
    Place,
    check_versions,
    choose_kernel,
    host_facts,
    kernels_here,
    load_cluster,
    measure_rates,
    names_notices,
    unusable_kernel,
    use_kernel,
)
from mpipipe.start import Request, fit_batch, open_samples, settings_of


@dataclass(frozen=True)
class PlanRequest:
    """A job with settings, the cluster file if any, where to save the plan if anywhere, whether to compare it."""

    run: Request
    cluster: str | None = None
    save: str | None = None
    explain: bool = False


def asked(request: Request, save: str | None) -> tuple[Job, Model, float]:
    """The job of a request as its data let it be, its model, and seconds to load a sample: all that needs no measuring
    of hosts. Raises UserError, also where `save` could not be written."""
    job = read_job(request.job or "digits", settings_of(request))
    if save:
        check_writable(Path(save))
    samples = open_samples(job)
    job = fit_batch(job, samples)
    return job, build_model(job.model, samples.data.train.shape), samples.seconds_each()


def plan_alone(request: PlanRequest) -> int:
    """Plan for the hosts of the cluster file or, where none is named, for this host as one rank, without MPI."""
    if request.cluster == "":
        raise UserError("--cluster", "an empty name", "a cluster file")
    if request.cluster and request.save and Path(request.cluster).resolve() == Path(request.save).resolve():
        raise UserError("--save", f"{request.save}, which is the cluster file", "another file for the plan")
    job, model, sample_s = asked(request.run, request.save)
    if request.cluster is not None:
        cluster = _with_threads(load_cluster(Path(request.cluster)), job)
        show_cluster(cluster, request.run.quiet)
        # How long it takes to load samples here says nothing of rank 0 there, and a file's plan is always the same.
        return show_plan(request, Subject(cluster, job, model))
    if found := unusable_kernel():
        raise UserError(KERNEL_VARIABLE, f"{found}, which this CPU cannot run", "a kernel for this CPU", "unset it")
    with threadpool_limits(1):
        use_kernel(choose_kernel(job.train.kernel, [kernels_here()]))
        cluster = _with_threads(Cluster((host_facts(0, Place(), "", measure_rates()),)), job)
        show_cluster(cluster, request.run.quiet)
        subject = measure_alone(recall(Subject(cluster, job, model, sample_s), request.run.quiet))
    remember(subject, request.run.quiet)
    return show_plan(request, subject)


def show_cluster(cluster: Cluster, quiet: bool, notices: Sequence[str] = ()) -> None:
    """The table of hosts, and notices on unlike ones. Raises ClusterError where they cannot work together."""
    show(hosts_table(cluster), quiet)
    for notice in (*notices, *names_notices(cluster), *check_versions(cluster)):
        warn(notice, quiet)


def show_plan(request: PlanRequest, subject: Subject) -> int:
    """Print the plan, and save it if asked. Raises PlanError."""
    job, plan = plan_job(subject)
    show(plan_table(plan))
    for line in plan_text(plan):
        show(line)
    if request.explain:
        show(explained_table(plan, compare_job(subject.at(job.train.micro_batch))))
    if request.save:
        write_json(Path(request.save), plan)
    return 0


def _with_threads(cluster: Cluster, job: Job) -> Cluster:
    if not job.run.threads:
        return cluster
    return replace(cluster, hosts=tuple(replace(host, threads=job.run.threads) for host in cluster.hosts))
