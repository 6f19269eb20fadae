import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.records import from_plain, to_plain
from mpipipe.resources import Cluster, LayerTimes, Link, arithmetic, check_versions, load_cluster, times_of
from mpipipe.resources.cluster import ClusterError, Host, check_cluster, groups_text, save_cluster

from .cases import cluster, host

VERSIONS = {
    "mpipipe": "0.1.0",
    "mpi": "Open MPI 5.0.11",
    "kernel": "SkylakeX",
    "numpy": "2.4.6",
    "blas": "openblas 0.3",
}
seconds, rates = st.floats(min_value=1e-6, max_value=1e6), st.floats(min_value=1, max_value=1e15)
layer_times = st.builds(
    LayerTimes,
    layer=st.text(max_size=9),
    micro_batch=st.integers(1, 1 << 20),
    forward_s=seconds,
    input_s=st.just(0.0) | seconds,
    weight_s=st.just(0.0) | seconds,
)


def link(first="mini0", second="mini1", latency_s=1e-4, bandwidth=1e8, both_bandwidth=9e7):
    return Link(first, second, latency_s, bandwidth, both_bandwidth)


@st.composite
def linked(draw, hosts):
    """Links between some pairs of hosts, some of them to any other."""
    names = sorted({one.name for one in hosts})
    pairs = [(a, b) for i, a in enumerate(names) for b in (*names[i:], *(["*"] if a != "*" else []))]
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=5, unique_by=lambda pair: tuple(sorted(pair))))
    return tuple(Link(*pair, draw(seconds), draw(rates), draw(rates)) for pair in chosen)


@given(
    st.lists(
        st.builds(
            Host,
            rank=st.just(0),
            name=st.text(min_size=1, max_size=9).filter(lambda name: name != "*"),
            ip=st.text(max_size=9),
            ram_bytes=st.integers(1, 1 << 60),
            available_bytes=st.integers(1, 1 << 60),
            threads=st.integers(1, 512),
            matrix_flops=rates,
            elements=rates,
            layers=st.lists(layer_times, max_size=3, unique_by=lambda one: (one.layer, one.micro_batch)).map(tuple),
        ),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
@settings(max_examples=40)
def test_a_cluster_reads_back(hosts, data):
    whole = cluster(*(replace(one, rank=rank) for rank, one in enumerate(hosts)))
    whole = replace(whole, links=data.draw(linked(hosts)))
    assert check_cluster(from_plain(Cluster, json.loads(json.dumps(to_plain(whole))), "cluster")) == whole


def test_a_cluster_file(tmp_path):
    whole = cluster(*(host(rank, **VERSIONS, ip=f"10.0.0.{rank}") for rank in range(3)))
    save_cluster(whole, tmp_path / "cluster.json")
    assert load_cluster(tmp_path / "cluster.json") == whole


def test_a_file_of_the_version_before(tmp_path):
    plain = to_plain(cluster(host(0), host(1)))
    del plain["links"]
    for one in plain["hosts"]:
        del one["layers"]
    (tmp_path / "old.json").write_text(json.dumps(plain))
    assert load_cluster(tmp_path / "old.json") == cluster(host(0), host(1))


def refusal(whole, where="cluster"):
    with pytest.raises(ClusterError) as caught:
        check_cluster(whole, where)
    assert caught.value.status == 2
    return str(caught.value)


def test_a_good_cluster_comes_back():
    whole = cluster(host(0), host(1))
    assert check_cluster(whole) is whole


def test_nobody():
    assert refusal(Cluster(())) == "cluster.hosts: empty; needed: at least one host"


def test_hosts_out_of_order():
    message = refusal(cluster(host(0), host(2), host(1)), "my.json")
    assert message == "my.json.hosts[1] (mini2).rank: 2; needed: 1: hosts stand in rank order"


@pytest.mark.parametrize("key", ["threads", "matrix_flops", "elements", "ram_bytes", "available_bytes"])
@pytest.mark.parametrize("value", [0, -3])
def test_a_number_that_no_plan_could_use(key, value):
    message = refusal(cluster(host(0), host(1, **{key: value})))
    assert message == f"cluster.hosts[1] (mini1).{key}: {value}; needed: a number above 0"


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [("threads", 10**9, "from 1 to 1024"), ("threads", 10**400, "from 1 to 1024"), ("elements", 1e-308, "from 1 to")],
)
def test_a_slip_of_the_hand(key, value, needed):
    assert f"(mini1).{key}: {str(value)[:40]}; needed: {needed}" in refusal(cluster(host(0), host(1, **{key: value})))


def test_a_layer_with_two_entries():
    times = LayerTimes("relu of 3", 4, 0.1, 0.1, 0.0)
    assert "a second entry for this layer" in refusal(cluster(host(0, layers=(times, replace(times, forward_s=0.2)))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"hosts": [], "hosts": []}', "the key 'hosts' stands twice"),
        ("[" * 100_000, "is not JSON"),
        (json.dumps(["x" * 5000]), "... is not a table"),
    ],
)
def test_a_file_that_is_no_cluster(tmp_path, text, said):
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(ClusterError, match=re.escape(said)) as caught:
        load_cluster(tmp_path / "cluster.json")
    assert len(str(caught.value)) < 500


def test_a_file_that_no_plan_could_use(tmp_path):
    path = tmp_path / "cluster.json"
    save_cluster(cluster(host(0, threads=0)), path)
    with pytest.raises(ClusterError, match=r"cluster\.json\.hosts\[0\] \(mini0\)\.threads: 0; needed"):
        load_cluster(path)
    path.write_text('{"hosts": [{"rank": 0}]}')
    with pytest.raises(ClusterError, match=r"hosts\[0\]\.name: missing"):
        load_cluster(path)
    path.write_text("hosts")
    with pytest.raises(ClusterError, match="is not JSON"):
        load_cluster(path)
    with pytest.raises(ClusterError, match="cannot be read"):
        load_cluster(tmp_path / "nothing.json")


def mixed(key, *values):
    return cluster(*(host(rank, **{**VERSIONS, key: value}) for rank, value in enumerate(values)))


def test_hosts_that_run_the_same_need_no_notice():
    assert check_versions(mixed("numpy", "2.4.6", "2.4.6")) == []


@pytest.mark.parametrize(("key", "what"), [("mpipipe", "versions of mpipipe"), ("mpi", "MPI libraries")])
def test_hosts_that_cannot_work_together(key, what):
    with pytest.raises(ClusterError) as caught:
        check_versions(mixed(key, "1", "2", "1", ""))
    assert str(caught.value) == (
        f"different {what}: 1 on mini0, mini2; 2 on mini1; unknown on mini3; needed: the same on every host; "
        "install one of them"
    )


@pytest.mark.parametrize(
    ("key", "what"), [("kernel", "CPU kernels"), ("numpy", "versions of numpy"), ("blas", "BLAS libraries")]
)
def test_hosts_that_may_round_differently(key, what):
    assert check_versions(mixed(key, "a", "b")) == [
        f"hosts run different {what} (a on mini0; b on mini1): results may differ in the last bits"
    ]


def test_every_difference_is_a_notice_of_its_own():
    unlike = cluster(host(0, **VERSIONS), host(1, **{**VERSIONS, "kernel": "Zen", "blas": "mkl", "python": "3.13"}))
    assert [notice.split(" (")[0] for notice in check_versions(unlike)] == [
        "hosts run different CPU kernels",
        "hosts run different BLAS libraries",
        "hosts run different versions of Python",
    ]


def test_another_python_is_noticed_by_name():
    assert check_versions(mixed("python", "3.11.7", "3.12.1")) == [
        "hosts run different versions of Python (3.11.7 on mini0; 3.12.1 on mini1): install one of them on every host"
    ]


def test_ranks_of_one_host_are_named_once():
    twice = cluster(host(0, name="a", kernel="x"), host(1, name="a", kernel="x"), host(2, name="b", kernel="y"))
    (notice,) = check_versions(twice)
    assert notice == "hosts run different CPU kernels (x on a; y on b): results may differ in the last bits"
    assert groups_text({"": ["a", "b"], "1": ["c"]}) == "unknown on a, b; 1 on c"


def test_unlike_levels_of_numpy_alone_get_the_remedy_and_are_kept():
    unlike = mixed("kernel", "Haswell/X86_V3", "Haswell/X86_V4")
    (notice,) = check_versions(unlike)
    assert "hosts run different CPU kernels" in notice and "NPY_DISABLE_CPU_FEATURES" in notice
    assert arithmetic(unlike)["kernel"] == "Haswell/X86_V3 and Haswell/X86_V4"
    assert arithmetic(mixed("kernel", "x", "x"))["kernel"] == "x"


# ---- links and times of layers ----------------------------------------------------------------------------------


def with_links(*links, ranks=3):
    return replace(cluster(*(host(rank) for rank in range(ranks))), links=links)


@given(st.data())
def test_a_link_has_no_direction_and_is_always_there(data):
    hosts = [host(rank) for rank in range(4)]
    whole = check_cluster(replace(cluster(*hosts), links=data.draw(linked(hosts))))
    names = [one.name for one in hosts] + ["new"]
    a, b = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))
    there, back = whole.link(a, b), whole.link(b, a)
    assert (there.latency_s, there.bandwidth, there.both_bandwidth) == (
        back.latency_s,
        back.bandwidth,
        back.both_bandwidth,
    )
    own = [one for one in whole.links if {one.first, one.second} == {a, b}]
    assert there in own if own else there.joins(a, b)


def test_what_is_assumed_of_a_link():
    whole = with_links()
    assert whole.link("mini0", "mini1") == link(latency_s=200e-6, bandwidth=117e6, both_bandwidth=117e6)
    assert whole.link("new", "new") == link("new", "new", 30e-6, 3e9, 3e9)


def test_a_link_to_any_other_host():
    own, slow, late = link(), link("mini1", "*", 1e-4, 1e7, 5e6), link("mini2", "*", 1e-2, 1e8, 9e7)
    whole = check_cluster(with_links(own, slow, late))
    assert whole.link("mini1", "mini0") == own
    assert whole.link("mini1", "new") == link("mini1", "new", 1e-4, 1e7, 5e6)
    assert whole.link("mini2", "mini1") == link("mini2", "mini1", 1e-2, 1e7, 5e6)
    assert whole.link("mini1", "mini1").bandwidth == 3e9


@pytest.mark.parametrize("key", ["latency_s", "bandwidth", "both_bandwidth"])
@pytest.mark.parametrize("value", [0.0, -3.0, float("nan"), float("inf")])
def test_a_link_that_no_plan_could_use(key, value):
    message = refusal(with_links(link(**{key: value})), "my.json")
    assert message == f"my.json.links[0] (mini0 to mini1).{key}: {value}; needed: a number above 0"


@pytest.mark.parametrize(
    ("links", "text"),
    [
        ([link("mini0", "mini7")], "links[0] (mini0 to mini7).second: no host is named 'mini7'; needed: a host of"),
        ([link("*", "mini0")], "links[0] (* to mini0).first: no host is named '*'; needed: a host of"),
        ([link(), link("mini1", "mini0")], "links[1] (mini1 to mini0): a second link between the same hosts; needed"),
    ],
)
def test_links_that_are_none(links, text):
    assert refusal(with_links(*links)).startswith(f"cluster.{text}")


TIMES = LayerTimes("linear(outputs=2) of 3", 4, 1e-3, 0.0, 1e-3)


@pytest.mark.parametrize(
    ("key", "value"),
    [("micro_batch", 0), ("forward_s", 0.0), ("forward_s", -1.0), ("input_s", -1e-9), ("weight_s", float("nan"))],
)
def test_times_that_no_layer_takes(key, value):
    message = refusal(cluster(host(0), host(1, layers=(TIMES, replace(TIMES, **{key: value})))))
    assert message.startswith(f"cluster.hosts[1] (mini1).layers[1] (linear(outputs=2) of 3).{key}: {value}; needed: ")


def test_times_of_a_layer():
    one = host(0, layers=(TIMES, replace(TIMES, micro_batch=8)))
    assert times_of(one, TIMES.layer, 4) == TIMES
    assert times_of(one, TIMES.layer, 8).micro_batch == 8
    assert times_of(one, TIMES.layer, 5) is None and times_of(one, "relu() of 3", 4) is None


# ---- files that went wrong under an editor ----------------------------------------------------------------------


def spoilt(tmp_path, spoil):
    plain = to_plain(with_links(link(), ranks=2))
    plain["hosts"][1]["layers"] = [to_plain(TIMES)]
    spoil(plain)
    (tmp_path / "my.json").write_text(json.dumps(plain))
    with pytest.raises(ClusterError) as caught:
        load_cluster(tmp_path / "my.json")
    return str(caught.value).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("rank", 0, "my.json.hosts[1] (mini1).rank: 0, which mini0 has already; needed: 1"),
        ("rank", 5, "my.json.hosts[1] (mini1).rank: 5; needed: 1"),
        ("name", "*", "my.json.hosts[1] (*).name: '*'; needed: a name"),
        ("name", "", "my.json.hosts[1] ().name: ''; needed: a name"),
        ("ram_bytes", -1, "my.json.hosts[1] (mini1).ram_bytes: -1; needed: a number above 0"),
        ("elements", float("nan"), "my.json.hosts[1].elements: nan is not finite; needed: a finite number"),
        ("matrix_flops", float("inf"), "my.json.hosts[1].matrix_flops: inf is not finite; needed: a finite number"),
        ("threads", "4", "my.json.hosts[1].threads: '4' is a string; needed: an integer"),
        ("thread", 4, "my.json.hosts[1].thread: unknown key; did you mean 'threads'?"),
        ("name", "mini9", "my.json.links[0] (mini0 to mini1).second: no host is named 'mini1'; needed: a host of"),
    ],
)
def test_a_host_that_went_wrong(tmp_path, key, value, text):
    assert spoilt(tmp_path, lambda plain: plain["hosts"][1].update({key: value})).startswith(text)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("bandwidth", 0, "my.json.links[0] (mini0 to mini1).bandwidth: 0.0; needed: a number above 0"),
        ("bandwith", 1, "my.json.links[0].bandwith: unknown key; did you mean 'bandwidth'?"),
        ("latency_s", float("nan"), "my.json.links[0].latency_s: nan is not finite; needed: a finite number"),
        ("first", None, "my.json.links[0].first: None is nothing; needed: a string"),
    ],
)
def test_a_link_that_went_wrong(tmp_path, key, value, text):
    assert spoilt(tmp_path, lambda plain: plain["links"][0].update({key: value})).startswith(text)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("input_s", -1.0, "my.json.hosts[1] (mini1).layers[0] (linear(outputs=2) of 3).input_s: -1.0; needed: 0 or"),
        ("micro_batch", 1.5, "my.json.hosts[1].layers[0].micro_batch: 1.5 is a number; needed: an integer"),
        ("seconds", 1, "my.json.hosts[1].layers[0].seconds: unknown key; known are forward_s"),
    ],
)
def test_times_that_went_wrong(tmp_path, key, value, text):
    assert spoilt(tmp_path, lambda plain: plain["hosts"][1]["layers"][0].update({key: value})).startswith(text)
