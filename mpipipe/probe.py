"""The `probe` command, and `plan` under mpirun: measure hosts, links and layers, and show them or plan for them."""

from collections.abc import Sequence
from pathlib import Path

from mpipipe.calibration import Subject, recall, remember
from mpipipe.job import Job
from mpipipe.layers import Model
from mpipipe.measure import measure
from mpipipe.preview import PlanRequest, asked, show_cluster, show_plan
from mpipipe.report import layers_table, links_table, show, write_json
from mpipipe.resources import Cluster, idle_notices, listed_hosts
from mpipipe.runtime.world import World
from mpipipe.start import Request
from mpipipe.survey import agree_to_pretend, kernel_notices, pretence_notices, survey, wishes


def probe(world: World, request: Request, save: str | None) -> int:
    """Measure everything anew, print the tables, and save what they show if asked."""
    subject = _measured(world, request, save, afresh=True)

    def tell() -> int:
        assert subject is not None
        _remember(subject, request)
        if subject.cluster.links:
            show(links_table(subject.cluster), request.quiet)
        show(layers_table(subject.cluster), request.quiet)
        if save:
            write_json(Path(save), subject.cluster)
        return 0

    status: int = world.share(tell)
    return status


def probe_and_plan(world: World, request: PlanRequest) -> int:
    """Measure what is not known yet, then plan on rank 0."""
    subject = _measured(world, request.run, request.save, afresh=False)

    def tell() -> int:
        assert subject is not None
        _remember(subject, request.run)
        return show_plan(request, subject)

    status: int = world.share(tell)
    return status


def _remember(subject: Subject, request: Request) -> None:
    """Keep the times of layers, unless the hosts are pretended ones."""
    if request.pretend is None:
        remember(subject, request.quiet)


def _measured(world: World, request: Request, save: str | None, afresh: bool) -> Subject | None:
    """The hosts, shown, and then their links and layers; on rank 0."""
    lead = _Lead(request, save, afresh or request.pretend is not None)
    pretence = agree_to_pretend(world, request.pretend)
    wanted = world.share(lead.begin)
    cluster = survey(world, wanted, pretence)
    notices = [*pretence_notices(pretence, request.pretend), *kernel_notices(world, wanted)]
    world.share(lambda: lead.meet(cluster, notices))
    return measure(world, lead.subject, pretence)


class _Lead:
    """Rank 0 on its way to what is measured. On other ranks nothing of it is ever called."""

    def __init__(self, request: Request, save: str | None, afresh: bool) -> None:
        self.request, self.save, self.afresh = request, save, afresh
        self.asked: tuple[Job, Model, float] | None = None
        self.subject: Subject | None = None

    def begin(self) -> object:
        """Data and model of the job; what it wishes of the hosts."""
        self.asked = asked(self.request, self.save)
        return wishes(self.asked[0])

    def meet(self, cluster: Cluster | None, notices: Sequence[str]) -> bool:
        """Show the hosts, and know what is to be measured."""
        assert cluster is not None and self.asked is not None
        show_cluster(cluster, self.request.quiet, (*notices, *idle_notices(cluster, listed_hosts())))
        subject = Subject(cluster, *self.asked)
        self.subject = subject if self.afresh else recall(subject, self.request.quiet)
        return True
