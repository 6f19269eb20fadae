"""What was measured of links and layers as tables, short however many hosts there are; a saved file has all of it."""

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mpipipe.report.show import RULED
from mpipipe.report.units import figures, human_seconds, plural
from mpipipe.resources.cluster import Cluster, Host
from mpipipe.resources.measured import LayerTimes

MOST_LINKS = 10


def links_table(cluster: Cluster) -> RenderableType:
    """Links between hosts (or within one), the slowest first. `both ways` is each way while both are busy."""
    table = _table("link between", "and", "latency", "MB/s", "both ways")
    links = sorted(cluster.links, key=lambda link: link.both_bandwidth)
    for link in links[:MOST_LINKS]:
        speeds = (figures(speed / 1e6) for speed in (link.bandwidth, link.both_bandwidth))
        table.add_row(link.first, link.second, human_seconds(link.latency_s), *speeds)
    more = len(links) - MOST_LINKS
    return Group(table, Text(f"and {plural(more, 'faster link')}")) if more > 0 else table


def layers_table(cluster: Cluster) -> RenderableType:
    """Milliseconds that F, I and W of each kind of layer take one thread for a micro-batch: on the fastest host, and on
    the slowest if it is another."""
    table = _table("layer", "samples", "ms forward", "by input", "by weight")
    found: dict[tuple[str, int], list[LayerTimes]] = {}
    for host in _one_of_each(cluster):
        for times in host.layers:
            found.setdefault((times.layer, times.micro_batch), []).append(times)
    parts: tuple[Callable[[LayerTimes], float], ...] = (
        lambda times: times.forward_s,
        lambda times: times.input_s,
        lambda times: times.weight_s,
    )
    for (layer, micro_batch), every in found.items():
        table.add_row(layer, str(micro_batch), *(_range([part(times) for times in every]) for part in parts))
    return table


def _one_of_each(cluster: Cluster) -> list[Host]:
    return list({host.name: host for host in cluster.hosts}.values())


def _range(seconds: list[float]) -> str:
    least, most = figures(min(seconds) * 1e3), figures(max(seconds) * 1e3)
    return least if least == most else f"{least} to {most}"


def _table(*columns: str) -> Table:
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        is_name = column in ("link between", "and", "layer")
        table.add_column(column, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
    return table
