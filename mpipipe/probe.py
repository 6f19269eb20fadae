"""The `probe` command, and `plan` under mpirun: measure every rank's host, and show or plan for them."""

from pathlib import Path

from mpipipe.preview import PlanRequest, show_plan
from mpipipe.records import to_plain
from mpipipe.report import hosts_table, show, warn, write_json
from mpipipe.runtime.world import World
from mpipipe.survey import Wishes, agree_to_pretend, pretence_notices, survey, versions_notices


def probe(world: World, threads: int, save: str | None, quiet: bool, pretend: str | None = None) -> int:
    """Print the table of hosts, and save it if asked. `pretend` names a file of hosts to pretend to be."""
    pretence = agree_to_pretend(world, pretend)
    cluster = survey(world, to_plain(Wishes(threads)), pretence)
    notices = [*pretence_notices(pretence, pretend), *versions_notices(world, cluster)]

    def tell() -> int:
        assert cluster is not None
        show(hosts_table(cluster), quiet)
        for notice in notices:
            warn(notice, quiet)
        if save:
            write_json(Path(save), cluster)
        return 0

    status: int = world.share(tell)
    return status


def probe_and_plan(world: World, request: PlanRequest) -> int:
    """Measure, then plan on rank 0."""
    pretence = agree_to_pretend(world, request.run.pretend)
    cluster = survey(world, to_plain(Wishes(request.run.threads or 0)), pretence)
    notices = pretence_notices(pretence, request.run.pretend)
    status: int = world.share(lambda: show_plan(request, cluster, notices))
    return status
