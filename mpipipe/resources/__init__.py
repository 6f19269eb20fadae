"""Who is here: what a host is and can do."""

from mpipipe.resources.allocation import idle_notices, listed_hosts
from mpipipe.resources.calibrate import Rates, measure_rates
from mpipipe.resources.cluster import (
    Cluster,
    ClusterError,
    Host,
    check_cluster,
    check_times,
    check_versions,
    is_crowded,
    load_cluster,
    ranks_sharing,
    save_cluster,
    slowed,
    times_of,
)
from mpipipe.resources.facts import (
    Place,
    boot_id,
    host_facts,
    ip_address,
    limiting_group,
    memory,
    usable_cores,
    usable_threads,
)
from mpipipe.resources.kernels import VARIABLE as KERNEL_VARIABLE
from mpipipe.resources.kernels import (
    Kernels,
    choose_kernel,
    current_kernel,
    gain,
    kernel_rates,
    kernels_here,
    other_kernels,
    unusable_kernel,
    use_kernel,
)
from mpipipe.resources.machines import Seat, names_notices, names_of, places_of
from mpipipe.resources.measured import LayerTimes, Link, scaled
from mpipipe.resources.peak import peak_since, start_peak
from mpipipe.resources.pretence import Pretence, load_pretence, pretence_text, pretended

__all__ = [
    "KERNEL_VARIABLE",
    "Cluster",
    "ClusterError",
    "Host",
    "Kernels",
    "LayerTimes",
    "Link",
    "Place",
    "Pretence",
    "Rates",
    "Seat",
    "boot_id",
    "check_cluster",
    "check_times",
    "check_versions",
    "choose_kernel",
    "current_kernel",
    "gain",
    "host_facts",
    "idle_notices",
    "ip_address",
    "is_crowded",
    "kernel_rates",
    "limiting_group",
    "listed_hosts",
    "kernels_here",
    "load_cluster",
    "load_pretence",
    "measure_rates",
    "memory",
    "names_notices",
    "names_of",
    "other_kernels",
    "peak_since",
    "places_of",
    "pretence_text",
    "pretended",
    "ranks_sharing",
    "save_cluster",
    "scaled",
    "slowed",
    "start_peak",
    "times_of",
    "unusable_kernel",
    "usable_cores",
    "usable_threads",
    "use_kernel",
]
