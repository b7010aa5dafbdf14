"""Which instructions this machine's products and compiled loops are made of.

torch, MKL, oneDNN, OpenBLAS and numba choose kernels by the processor. They add up in another order
on another one, so the last bits of a result depend on it (docs/reliability.md).
"""

from __future__ import annotations

import os
import platform
from functools import cache

_WIDEST = ("avx512f", "avx2", "avx", "sve", "neon")
# by these a user, or a test, makes a library use less than the processor has
_LIMITS = (
    "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES", "NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME", "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)  # fmt: skip


def instruction_set() -> str:
    """Return the processor's type, its widest vectors, and the limits that are set.

    Such as ``emeraldrapids avx512f`` or ``znver3 avx2 ATEN_CPU_CAPABILITY=default``.
    """
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if os.environ.get(name)]
    return " ".join([_processor(), *limits])


@cache
def _processor() -> str:
    # Imported here: it loads LLVM, which only who computes or plans needs.
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    widest = next((f for f in _WIDEST if features.get(f)), platform.machine())
    return f"{binding.get_host_cpu_name()} {widest}"
