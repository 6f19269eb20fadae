"""What libraries print of themselves, and how it is read."""

import ctypes
import os

from mpipipe.bench.used import printed_by, spoken_products, spoken_versions

SAID = """\
MKL_VERBOSE oneMKL 2024.0 Update 2 Product build 20240605 for Intel(R) 64 architecture Intel(R) Advanced Vector \
Extensions 2 (Intel(R) AVX2) enabled processors, Lnx 2.45GHz lp64 gnu_thread
MKL_VERBOSE SGEMM(N,N,512,64,512,0x7ffecf5cd850) 16.90ms CNR:OFF Dyn:1 FastMM:1 TID:0  NThr:2
onednn_verbose,v1,info,oneDNN v3.12.0 (commit 80afa71049cd69a3df32adcccb623b12cd7baa22)
onednn_verbose,v1,info,cpu,runtime:OpenMP,nthr:2
onednn_verbose,v1,info,cpu,isa:Intel AVX2
onednn_verbose,v1,info,gpu,runtime:none
"""


def test_instruction_sets_and_versions_are_found():
    assert spoken_versions(SAID) == {"MKL": "2024.0 Update 2", "oneDNN": "3.12.0"}
    mkl = "Intel(R) Advanced Vector Extensions 2 (Intel(R) AVX2)"
    assert spoken_products(SAID) == f"MKL 2024.0 Update 2 ({mkl}), oneDNN 3.12.0 (Intel AVX2)"
    assert spoken_products(SAID[SAID.index("onednn") :]) == "oneDNN 3.12.0 (Intel AVX2)"
    assert (spoken_versions("hello"), spoken_products("hello")) == ({}, "")


def test_what_c_prints_is_caught_and_nothing_else(capfd):
    print("before", flush=True)
    said = printed_by(lambda: (ctypes.CDLL(None).puts(b"by C"), os.write(1, b"at once\n")))
    print("after", flush=True)
    assert sorted(said.splitlines()) == ["at once", "by C"]
    assert capfd.readouterr().out == "before\nafter\n"
