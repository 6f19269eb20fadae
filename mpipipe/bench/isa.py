"""Which vector instructions contestants may use: all that the CPU has, or AVX2 at most.

Each library is held by a variable of its own, which it reads as it is loaded; so contestants inherit them.
"""

from typing import Any

import numpy as np

from mpipipe.errors import UserError

OF_AVX2 = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""OpenBLAS; and oneDNN, ATen and MKL, which PyTorch computes with."""
AVX2 = ("AVX2", "X86_V3")
"""Names that numpy gives to AVX2."""
NEWER = ("AVX512", "X86_V4")
"""How numpy's names of instructions beyond AVX2 begin."""
VARIABLES = (*OF_AVX2, "OPENBLAS_L2_SIZE", "DNNL_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES")
"""What a user or a site may have set for other programs: bench decides all of them."""


def isa_environment(isa: str | None) -> dict[str, str]:
    """The variables that hold everybody to `isa`: none for None. Raises UserError."""
    if isa is None:
        return {}
    if isa != "avx2":
        raise UserError("--isa", f"'{isa}'", "avx2")
    found = _numpy_features()
    if not found.intersection(AVX2):
        raise UserError("--isa", "a CPU without AVX2", "a CPU that has it", "leave --isa out")
    newer = sorted(name for name in found if name.startswith(NEWER))
    return {**OF_AVX2, **({"NPY_DISABLE_CPU_FEATURES": " ".join(newer)} if newer else {})}


def numpy_isa() -> str:
    """The newest instructions that numpy itself uses in this process."""
    found = _numpy_features()
    if any(name.startswith(NEWER) for name in found):
        return "AVX512"
    return "AVX2" if found.intersection(AVX2) else "below AVX2"


def _numpy_features() -> set[str]:
    """What numpy was built for, and what it has code for and may use here."""
    config: Any = np.show_config(mode="dicts")
    simd = config.get("SIMD Extensions", {})
    return {*simd.get("baseline", ()), *simd.get("found", ())}
