"""Families of CPUs, and which of them are faster with 512-bit instructions. A table, not a measurement.

| CPUs | kernel | why |
|---|---|---|
| no AVX-512 (Intel before Skylake-X and since Alder Lake; AMD Zen to Zen 3) | Haswell | they cannot run the other |
| Intel Skylake-X/SP to Granite Rapids (servers, workstations) | SkylakeX | two 512-bit FMA units: twice the peak |
| Intel Cannon, Ice, Tiger and Rocket Lake (clients) | Haswell | one 512-bit unit, two of 256: the same peak |
| AMD Zen 4 | Haswell | a 512-bit FMA is two halves of 256; measured 0.87 to 1.28 of each other, changing |
| AMD Zen 5, server, desktop and Strix Halo | SkylakeX | whole 512-bit units; measured 125 to 240 GFLOP/s a core |
| AMD Zen 5, Strix and Krackan Point (laptops) | Haswell | 512-bit FMA in two halves, as in Zen 4 |
| anything else | Haswell | not known to gain |

Units: Intel 64 and IA-32 Optimization Reference Manual; AMD Software Optimization Guides for Zen 4 and Zen 5.
Measurements: results/README.md.
"""

from dataclasses import dataclass
from pathlib import Path

GAINS = {
    ("GenuineIntel", 6): (0x55, 0x6A, 0x6C, 0x8F, 0xAD, 0xAE, 0xCF),
    ("AuthenticAMD", 26): (*range(0x20), *range(0x40, 0x50), *range(0x70, 0x80)),
}
"""Models, by vendor and family, whose 512-bit units are whole and as many as those of 256 bits."""


@dataclass(frozen=True)
class Cpu:
    """As the CPU numbers itself; empty and 0 where the system does not say."""

    vendor: str = ""
    family: int = 0
    model: int = 0


def read_cpu(root: Path = Path("/")) -> Cpu:
    """The first CPU of /proc/cpuinfo."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Cpu()
    lines = [line.partition(":") for line in text.splitlines()]
    values = {key.strip(): value.strip() for key, _, value in reversed(lines)}
    family, model = (values.get(key, "") for key in ("cpu family", "model"))
    if not (family.isdecimal() and model.isdecimal()):
        return Cpu(values.get("vendor_id", ""))
    return Cpu(values.get("vendor_id", ""), int(family), int(model))


def gains_from_avx512(cpu: Cpu) -> bool:
    """Whether the table says that 512-bit products are clearly faster on it."""
    return cpu.model in GAINS.get((cpu.vendor, cpu.family), ())
