"""Ranks of one machine share its memory and cores, and every host has a name of its own."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mpipipe.resources import Cluster, Host, Place, Seat, boot_id, limiting_group, names_notices, names_of, places_of

ADDRESSES = [f"192.0.2.{number}" for number in (9, 10, 11)]
seats_of_any_kind = st.lists(
    st.builds(
        Seat,
        name=st.sampled_from(["pi", "pi-1", "mini"]),
        ip=st.sampled_from(ADDRESSES),
        boot_id=st.sampled_from(["", "a", "b"]),
    ),
    min_size=1,
    max_size=8,
)


def seat(name="pi", ip=ADDRESSES[0], boot_id="a", **more):
    return Seat(name=name, ip=ip, boot_id=boot_id, **more)


@given(seats_of_any_kind)
def test_two_ranks_have_one_name_if_and_only_if_they_are_on_one_host(seats):
    names = names_of(seats)
    for one, name in zip(seats, names, strict=True):
        assert name == one.name or name.rpartition("-")[0] == one.name
        for other, its_name in zip(seats, names, strict=True):
            assert (name == its_name) == (one == other)


@given(seats_of_any_kind, st.randoms())
def test_names_do_not_depend_on_the_order_of_ranks(seats, random):
    shuffled = random.sample(seats, len(seats))
    by_seat = dict(zip(seats, names_of(seats), strict=True))
    assert names_of(shuffled) == [by_seat[one] for one in shuffled]


def test_hosts_of_one_name_are_numbered_by_address():
    clones = [seat(ip=ip, boot_id=boot) for ip, boot in zip(reversed(ADDRESSES), "abc", strict=True)]
    assert names_of(clones) == ["pi-3", "pi-2", "pi-1"]
    assert names_of([*clones, seat("pi-2", "192.0.2.99", "d")]) == ["pi-4", "pi-3", "pi-1", "pi-2"]
    assert names_of([seat(), seat(), seat("mini", ADDRESSES[1], "b")]) == ["pi", "pi", "mini"]
    assert names_of([seat(boot_id="b"), seat(boot_id="a")]) == ["pi-2", "pi-1"]  # even where the address is the same


def test_clones_share_nothing():
    assert places_of([seat(boot_id=boot) for boot in "abc"]) == [Place(1, 1, 0, rank) for rank in range(3)]
    assert places_of([seat(ip=ip, boot_id="") for ip in ADDRESSES]) == [Place(1, 1, 0, rank) for rank in range(3)]


def test_containers_on_one_machine_share_its_memory_and_cores():
    containers = [seat(name, ip) for name, ip in zip(("one", "two", "three"), ADDRESSES, strict=True)]
    assert places_of(containers) == [Place(3, 3, 0), Place(3, 3, 1), Place(3, 3, 2)]
    assert len(set(names_of(containers))) == 3


def test_what_a_container_has_for_itself_is_not_shared():
    one, two = seat("one", memory_group="1", cpu_group="1"), seat("two", memory_group="2", cpu_group="2")
    assert places_of([one, two]) == [Place(1, 1, 0, 0), Place(1, 1, 0, 1)]
    assert places_of([one, replace(two, memory_group="1")]) == [Place(2, 1, 0, 0), Place(2, 1, 0, 1)]
    assert places_of([seat(cores=(0, 1)), seat(cores=(2, 3)), seat(cores=(3, 4))]) == [
        Place(3, 1, 0),
        Place(3, 2, 0, 1),
        Place(3, 2, 1, 1),
    ]


def test_a_notice_names_hosts_of_one_name():
    host = Host(0, "pi-1", ADDRESSES[0], 1, 1, 1, 1.0, 1.0, hostname="pi")
    hosts = (host, replace(host, rank=1), replace(host, rank=2, name="pi-2", ip=ADDRESSES[1]))
    (notice,) = names_notices(Cluster(hosts))
    assert notice.startswith("2 hosts have the name pi; here they are pi-1 (192.0.2.9), pi-2 (192.0.2.10);")
    assert names_notices(Cluster((replace(host, hostname=""),))) == []


def put(root: Path, path: str, text: str) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return root / path


def test_the_boot_id_of_this_machine(tmp_path):
    put(tmp_path, "proc/sys/kernel/random/boot_id", "5c94d346\n")
    assert boot_id(tmp_path) == "5c94d346"
    assert boot_id(tmp_path / "none") == ""


def test_the_closest_limit_counts(tmp_path):
    for controller, name, limit, none in (
        ("cpu", "cpu.max", "25000 100000", "max 100000"),
        ("memory", "memory.max", "1048576", "max"),
    ):
        root = tmp_path / controller
        put(root, "proc/self/cgroup", "0::/slice/task\n")
        task, group = (put(root, f"sys/fs/cgroup/{path}/{name}", none) for path in ("slice/task", "slice"))
        assert limiting_group(controller, root) == ""
        group.write_text(limit)
        outer = limiting_group(controller, root)
        put(root, "proc/self/cgroup", "0::/slice/other\n")
        put(root, f"sys/fs/cgroup/slice/other/{name}", none)
        assert limiting_group(controller, root) == outer != ""
        put(root, "proc/self/cgroup", "0::/slice/task\n")
        task.write_text(limit)
        assert limiting_group(controller, root) not in ("", outer)
