"""Who is here: what a host is and can do."""

from mpipipe.resources.calibrate import Rates, measure_rates
from mpipipe.resources.cluster import (
    Cluster,
    ClusterError,
    Host,
    check_cluster,
    check_versions,
    load_cluster,
    save_cluster,
)
from mpipipe.resources.facts import Place, host_facts, memory, usable_threads

__all__ = [
    "Cluster",
    "ClusterError",
    "Host",
    "Place",
    "Rates",
    "check_cluster",
    "check_versions",
    "host_facts",
    "load_cluster",
    "measure_rates",
    "memory",
    "save_cluster",
    "usable_threads",
]
