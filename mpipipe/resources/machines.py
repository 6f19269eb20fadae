"""Which ranks are on one machine, and a name for each host. Plain data: every rank says where it sits; knows no MPI.

A machine is one running kernel, which its boot id names: its memory and cores are shared by all containers and
namespaces on it. A host is what other hosts reach by a name and an address of its own: links are between hosts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from mpipipe.resources.cluster import Cluster, Host
from mpipipe.resources.facts import Place


@dataclass(frozen=True, kw_only=True)
class Seat:
    """Where a rank runs. `boot_id` is empty where the system has none; `cores` are those that the rank may use (empty:
    any); `cpu_group` and `memory_group` name the cgroups that limit it, and are empty where none does."""

    name: str
    ip: str
    boot_id: str = ""
    cores: tuple[int, ...] = ()
    cpu_group: str = ""
    memory_group: str = ""

    @property
    def machine(self) -> str:
        """Alike on all ranks of one machine. Without a boot id a machine cannot be told from its host."""
        return self.boot_id or f"{self.name} {self.ip}"

    def shares_memory(self, other: "Seat") -> bool:
        """Whether both take from one pool of memory: that of a machine, or of a cgroup with a limit."""
        return (self.machine, self.memory_group) == (other.machine, other.memory_group)

    def shares_cores(self, other: "Seat") -> bool:
        """Whether both may use one core, and have no CPU quotas of their own."""
        common = not self.cores or not other.cores or bool(set(self.cores) & set(other.cores))
        return common and (self.machine, self.cpu_group) == (other.machine, other.cpu_group)


def places_of(seats: Sequence[Seat]) -> list[Place]:
    """By rank, the place among the ranks that share memory or cores with it."""
    places = []
    for rank, seat in enumerate(seats):
        sharing = [other for other, one in enumerate(seats) if seat.shares_cores(one)]
        here = sum(seat.shares_memory(one) for one in seats)
        places.append(Place(here, len(sharing), sharing.index(rank), sharing[0]))
    return places


def names_of(seats: Sequence[Seat]) -> list[str]:
    """By rank, a name that no other host has. Hosts of one name, as cloned images have it, are numbered by address."""
    taken, names = {seat.name for seat in seats}, {}
    for name in sorted(taken):
        hosts = {(ip_address(seat.ip), seat.boot_id, seat.name) for seat in seats if seat.name == name}
        number = 0
        for host in sorted(hosts):
            names[host] = name
            while len(hosts) > 1 and names[host] in taken:
                number += 1
                names[host] = f"{name}-{number}"
            taken.add(names[host])
    return [names[ip_address(seat.ip), seat.boot_id, seat.name] for seat in seats]


def names_notices(cluster: Cluster) -> list[str]:
    """What to know of hosts that call themselves by one name."""
    groups: dict[str, list[Host]] = {}
    for host in {host.name: host for host in cluster.hosts if host.hostname}.values():
        groups.setdefault(host.hostname, []).append(host)
    return [
        f"{len(hosts)} hosts have the name {name}; here they are "
        f"{', '.join(f'{host.name} ({host.ip})' for host in hosts)}; to mend that, use hostnamectl set-hostname on each"
        for name, hosts in groups.items()
    ]
