"""Compiles the reduction's kernels for GPUs that are not here, and tells what the assembler says.

    python tests/attention/compile_kernels.py 90:tf32x3:64:all 80:bf16:32:whole,part

(compute capability, precision, width of a head, kernels; ``names`` alone lists these). In a process
of its own: kernels of the test session are interpreted. Prints one JSON list; per kernel ``name``,
``target``, ``precision``, ``shared`` bytes, ``registers``, ``spilled`` bytes, ``products``
(instructions on tensor cores) and ``atomics``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)

import triton
from octoscope.attention import triton_kernels as kernels
from octoscope.attention.triton_reduce import PEAK_BLOCKS, ROW_BLOCKS, Blocks, blocks_of, shape_of
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

_POINTERS = {
    "*fp64": {"probability", "lift", "logit", "spread"},
    "*fp32": {"top", "total", "shift", "inverse", "mass"},
    "*i32": {
        "block_cell", "block_row", "first_query", "first_key", "ends", "n_cells", "gene", "edges",
        "cell_at", "cell_list", "n_tokens",
    },
}  # fmt: skip
_FACTORS = {"factor", "per_logit", "per_share"}


def kind(name: str, floats: str) -> str:
    """Return the type of a kernel's argument, as Triton writes it."""
    if name in ("q", "k"):
        return f"*{floats}"
    for written, names in _POINTERS.items():
        if name in names:
            return written
    return "fp32" if name in _FACTORS else "i32"


def compiled(kernel: Any, blocks: Blocks, flags: dict[str, Any], floats: str, target: int) -> Any:
    """Return a kernel compiled for a target, as a first launch would compile it."""
    constants = flags | {"BM": blocks.rows, "BN": blocks.columns}
    signature, attributes = {}, {}
    for at, name in enumerate(kernel.arg_names):
        signature[name] = "constexpr" if name in constants else kind(name, floats)
        if signature[name].startswith("*"):
            attributes[(at,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, attributes)
    options = {"num_warps": blocks.warps, "num_stages": blocks.stages, "enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", target, 32), options=options)


def assembled(ptx: str, target: int) -> dict[str, int]:
    """Return what ptxas says of a kernel: registers of a thread, bytes spilled."""
    name = f"sm_{target}a" if target >= 90 else f"sm_{target}"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        arguments = [
            get_ptxas(target).path,
            "-v",
            "--fmad=false",
            "--gpu-name",
            name,
            file.name,
            "-o",
            "/dev/null",
        ]
        messages = subprocess.run(arguments, capture_output=True, text=True, check=False).stderr
    spilled = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", messages)
    used = re.search(r"Used (\d+) registers", messages)
    assert spilled, messages
    assert used, messages
    return {"spilled": sum(map(int, spilled.groups())), "registers": int(used[1])}


def report_of(name: str, precision: str, width: int, target: int, binary: Any) -> dict[str, Any]:
    ptx = binary.asm["ptx"]
    products = set(re.findall(r"(?:wgmma\.mma_async|mma\.sync)[\w.]*", ptx))
    return {
        "name": name, "target": target, "precision": precision, "width": width,
        "shared": binary.metadata.shared, "products": sorted(products),
        "atomics": len(re.findall(r"\b(?:atom|red)\.", ptx)), **assembled(ptx, target),
    }  # fmt: skip


def jobs_of(precision: str, width: int, target: int) -> dict[str, tuple[Any, Blocks, dict]]:
    """Return by name each kernel of a case with its blocks and compile-time values."""
    shape = shape_of(width, precision, target // 10)  # type: ignore[arg-type]
    plain, single = (blocks_of(shape, target // 10, one_by_one=x) for x in (False, True))
    flags = shape | {"LARGEST": False, "MOMENTS": False, "SOFTMAX": True}
    whole, part = kernels.add_whole_cells, kernels.add_part_cells
    return {
        "rows": (kernels.sum_rows, ROW_BLOCKS, shape),
        "peaks": (kernels.peak_rows, PEAK_BLOCKS, shape),
        "whole": (whole, plain[0], flags),
        "part": (part, plain[1], flags),
        "whole moments": (whole, single[0], flags | {"MOMENTS": True}),
        "part moments": (part, single[1], flags | {"MOMENTS": True}),
        "whole max": (whole, single[0], flags | {"LARGEST": True}),
        "part max": (part, single[1], flags | {"LARGEST": True}),
        "whole logits": (whole, plain[0], flags | {"SOFTMAX": False}),
        "part logits": (part, plain[1], flags | {"SOFTMAX": False}),
    }


def main(request: list[str]) -> None:
    if request == ["names"]:
        print(json.dumps(list(jobs_of("tf32x3", 64, 90))))
        return
    faults = []
    for one in request:  # target:precision:width:kernels
        target, precision, width, names = one.split(":")
        floats = "bf16" if precision == "bf16" else "fp32"
        jobs = jobs_of(precision, int(width), int(target))
        for name in jobs if names == "all" else names.split(","):
            kernel, blocks, constants = jobs[name]
            kernels = compiled(kernel, blocks, constants, floats, int(target))
            faults.append(report_of(name, precision, int(width), int(target), kernels))
    print(json.dumps(faults))


if __name__ == "__main__":
    main(sys.argv[1:])
