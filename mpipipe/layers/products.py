"""Adding a matrix product to what is there: total += left @ right, without a temporary where BLAS can be reached.

numpy's own product can only write. So the sgemm (or dgemm) of the OpenBLAS that numpy has loaded is called by ctypes
with beta = 1, which lets the interpreter lock go; where there is none, the product goes to a temporary that is added.
Both ways give the same bits, because the sum is cut into even runs of at most DEPTH terms, no longer than the runs in
which BLAS itself adds up: 256 is the shortest of its kernels' for x86 CPUs since Nehalem (Goto and van de Geijn,
Anatomy of High-Performance Matrix Multiplication, 2008, section 4).
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from mpipipe.layers.types import Array, Scratch, Tile

DEPTH = 256
_ROW_MAJOR, _PLAIN, _TURNED = 101, 111, 112
_NAMES = {np.dtype(np.float32): "sgemm", np.dtype(np.float64): "dgemm"}
_SPELLINGS = (
    ("scipy_cblas_{}64_", ctypes.c_int64),
    ("cblas_{}64_", ctypes.c_int64),
    ("scipy_cblas_{}", ctypes.c_int32),
    ("cblas_{}", ctypes.c_int32),
)
"""How a build of OpenBLAS may name its functions, and the integers that they take."""


def add_product(left: Array, right: Array, total: Array, first: bool, scratch: Scratch) -> None:
    """total = left @ right where `first`, else total += left @ right. (m, k) by (k, n) into a contiguous (m, n).

    Left and right may be transposed views, or column runs, of C-contiguous arrays.
    """
    depth = left.shape[1]
    step = -(-depth // -(-depth // DEPTH))
    if first:
        np.matmul(left[:, :step], right[:step], out=total)
    adds = _gemm(total.dtype)
    for start in range(step if first else 0, depth, step):
        a, b = left[:, start : start + step], right[start : start + step]
        # One row or one column is another BLAS function's work, with another rounding.
        if adds is not None and 1 not in total.shape:
            adds(a, b, total)
            continue
        mark = scratch.mark()
        part = np.matmul(a, b, out=scratch.take(total.shape, total.dtype))
        np.add(total, part, out=total)
        scratch.release(mark)


def as_rows(array: Array) -> Array:
    """All axes but the last as one: a view of a C-contiguous array."""
    return array.reshape(-1, array.shape[-1])


def row_tiles(count: int, rows: int) -> tuple[Tile, ...]:
    """Runs of `rows` of the `count` rows of a weight."""
    return tuple((start, min(start + rows, count)) for start in range(0, count, rows))


@cache
def _gemm(dtype: np.dtype[Any]) -> Callable[[Array, Array, Array], None] | None:
    """A function (a, b, total) that adds a @ b to total, or None where numpy's BLAS offers none."""
    paths = [pool["filepath"] for pool in threadpool_info() if pool.get("internal_api") == "openblas"]
    paths.sort(key=lambda path: "numpy" not in path)
    for spelling, integer in _SPELLINGS:
        name = spelling.format(_NAMES[dtype])
        function = getattr(ctypes.CDLL(paths[0]), name, None) if paths else None
        if function is not None:
            return _bound(function, integer, ctypes.c_float if dtype == np.float32 else ctypes.c_double)
    return None


def _bound(function: Any, integer: Any, real: Any) -> Callable[[Array, Array, Array], None]:
    # order, transpose a, transpose b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
    function.argtypes = [ctypes.c_int] * 3 + [integer] * 3 + [real] + [ctypes.c_void_p, integer] * 2
    function.argtypes += [real, ctypes.c_void_p, integer]
    function.restype = None

    def add(a: Array, b: Array, total: Array) -> None:
        (m, k), n = a.shape, b.shape[1]
        (turn_a, lda), (turn_b, ldb) = _layout(a), _layout(b)
        at, by, to = a.ctypes.data, b.ctypes.data, total.ctypes.data
        function(_ROW_MAJOR, turn_a, turn_b, m, n, k, 1.0, at, lda, by, ldb, 1.0, to, n)

    return add


def _layout(array: Array) -> tuple[int, int]:
    """Whether BLAS must turn the array, and its leading dimension in elements. A single column is never turned: its
    strides do not tell, for a transposed row has the same."""
    rows, columns = (stride // array.itemsize for stride in array.strides)
    if columns == 1 or array.shape[1] == 1:
        return _PLAIN, max(rows, array.shape[1])
    return _TURNED, columns
