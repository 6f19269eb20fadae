"""A cluster, a plan and rows for the tests of this room."""

from mpipipe.plan.types import Plan, StagePlan
from mpipipe.report import MetricsRow
from mpipipe.resources.cluster import Cluster, Host

GIB = 2**30
NAMES = ("mini1", "laptop-anna", "node0012.cluster")
CPUS = ("11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz", "AMD Ryzen 5 3600 6-Core Processor", "Raspberry Pi 4")


def host(rank: int, **more: object) -> Host:
    values = {
        "rank": rank,
        "name": NAMES[rank % 3],
        "ip": f"192.168.100.{100 + rank}",
        "ram_bytes": 16 * GIB,
        "available_bytes": 15 * GIB + rank * GIB // 10,
        "threads": 2 + rank,
        "matrix_flops": 8.52e10 / (rank + 1),
        "elements": 2e9,
        "cpu": CPUS[rank % 3],
        "blas": "openblas 0.3.31",
        "kernel": "SkylakeX/AVX512_SKX",
        "python": "3.11.7",
        "numpy": "2.4.6",
        "mpi": "Open MPI 5.0.11",
        "mpipipe": "0.1.0",
    }
    return Host(**{**values, **more})


def cluster(ranks: int = 3) -> Cluster:
    return Cluster(tuple(host(rank) for rank in range(ranks)))


def plan() -> Plan:
    stages = (
        StagePlan(1, "laptop-anna", 0, 4, 3, 2, 2, 0.0031, 0.003, 0.0041, 312 << 20, 15 * GIB, False, 0.0002, 0.00064),
        StagePlan(0, "mini1", 4, 5, 2, 1, 1, 0.0123, 0.02, 0.0021, 1 << 30, 16 * GIB),
    )
    layers = ("conv1", "relu1", "conv2", "pool", "dense")
    notes = ("rank 2 stays idle [slow]",)
    return Plan(layers, 3, 128, 32, "1f1b", stages, (2,), 0.0421, 0.182, notes)


def row(step: int, loss: float = 0.5, **more: object) -> MetricsRow:
    values = {
        "step": step,
        "epoch": 1,
        "loss": loss,
        "accuracy": 0.9,
        "samples_per_s": 3040.0,
        "learning_rate": 0.001,
        "gradient_norm": 1.5,
        "bubble": 0.2,
        "seconds": 0.04,
    }
    return MetricsRow(**{**values, **more})
