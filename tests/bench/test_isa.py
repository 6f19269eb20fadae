"""Who may use which instructions."""

import os
import subprocess
import sys

import pytest

from mpipipe.bench import isa
from mpipipe.errors import UserError


def test_nobody_is_held_to_anything_by_default():
    assert isa.isa_environment(None) == {}


def test_numpys_own_code_is_held_too(monkeypatch):
    monkeypatch.setattr(isa, "_numpy_features", lambda: {"X86_V2", "X86_V3", "X86_V4", "AVX512_ICL"})
    assert isa.isa_environment("avx2") == {**isa.OF_AVX2, "NPY_DISABLE_CPU_FEATURES": "AVX512_ICL X86_V4"}
    assert isa.numpy_isa() == "AVX512"


def test_a_cpu_without_it_is_refused(monkeypatch):
    monkeypatch.setattr(isa, "_numpy_features", lambda: {"X86_V2"})
    with pytest.raises(UserError, match="--isa: a CPU without AVX2"):
        isa.isa_environment("avx2")


def test_a_process_that_is_held_uses_no_more():
    if not isa._numpy_features().intersection(isa.AVX2):
        pytest.skip("this CPU has no AVX2")
    code = "from mpipipe.bench.isa import numpy_isa; print(numpy_isa())"
    environment = {**os.environ, **isa.isa_environment("avx2")}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "AVX2\n"
