import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpipipe.records import from_plain, to_plain
from mpipipe.resources import Cluster, check_versions, load_cluster
from mpipipe.resources.cluster import ClusterError, Host, check_cluster, groups_text, save_cluster

from .cases import cluster, host

VERSIONS = {
    "mpipipe": "0.1.0",
    "mpi": "Open MPI 5.0.11",
    "kernel": "SkylakeX",
    "numpy": "2.4.6",
    "blas": "openblas 0.3",
}
above_zero = st.floats(min_value=1e-3, max_value=1e15)


@given(
    st.lists(
        st.builds(
            Host,
            rank=st.just(0),
            name=st.text(max_size=9),
            ip=st.text(max_size=9),
            ram_bytes=st.integers(1, 1 << 60),
            available_bytes=st.integers(1, 1 << 60),
            threads=st.integers(1, 512),
            matrix_flops=above_zero,
            elements=above_zero,
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=30)
def test_a_cluster_reads_back(hosts):
    whole = cluster(*(Host(**{**to_plain(one), "rank": rank}) for rank, one in enumerate(hosts)))
    assert check_cluster(from_plain(Cluster, json.loads(json.dumps(to_plain(whole))), "cluster")) == whole


def test_a_cluster_file(tmp_path):
    whole = cluster(*(host(rank, **VERSIONS, ip=f"10.0.0.{rank}") for rank in range(3)))
    save_cluster(whole, tmp_path / "cluster.json")
    assert load_cluster(tmp_path / "cluster.json") == whole


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
    ]


def test_ranks_of_one_host_are_named_once():
    twice = cluster(host(0, name="a", kernel="x"), host(1, name="a", kernel="x"), host(2, name="b", kernel="y"))
    (notice,) = check_versions(twice)
    assert notice == "hosts run different CPU kernels (x on a; y on b): results may differ in the last bits"
    assert groups_text({"": ["a", "b"], "1": ["c"]}) == "unknown on a, b; 1 on c"
