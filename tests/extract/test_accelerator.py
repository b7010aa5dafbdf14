"""A unit on a GPU that is not here: kernels, copies and memory as there, tensors on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from octoscope.attention import reductions
from octoscope.attention.reductions import reduction_on
from octoscope.config import parse_config
from octoscope.errors import InputError
from octoscope.extract import accelerator, unit_work
from octoscope.extract.accelerator import Accelerator, Gpu, accelerator_of
from octoscope.extract.unit_work import UnitRunner
from octoscope.models import Tokens
from octoscope.planning.freeze import prepare
from octoscope.results.stored_sums import unit_rows
from octoscope.run_plan.work_names import sums_name

from tests.conftest import small_tree


class FakeGpu(Accelerator):
    """Chooses, copies and runs out of memory like a GPU; says what it was asked for."""

    kind = "cuda"

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.calls: list[str] = []

    @property
    def name(self) -> str:
        return "a GPU that is not here"

    def pinned(self, tokens: Tokens) -> Tokens:
        self.calls.append("pinned")
        return tokens

    def beside(self, copy: Callable[[], torch.Tensor]) -> torch.Tensor:
        self.calls.append("beside")
        return copy()

    def release(self) -> None:
        self.calls.append("release")


def sums_of(atlas: Path, folder: Path, change: Callable[[UnitRunner], None] | None = None) -> Any:
    config = parse_config(small_tree(atlas), "c")
    root, plan = prepare(config, str(folder))
    runner = UnitRunner(root, plan, config, "tiny")
    if change is not None:
        change(runner)
    unit = min(plan.units, key=lambda u: u.stop - u.start)
    record = runner.run(unit)
    n = len(plan.model("tiny").axis)
    name = sums_name(0, "mean")
    return runner, np.stack(list(unit_rows(root, [record], name, 0, n)))[0], record


@pytest.mark.parametrize("kernels", ["triton", "torch"])
def test_a_unit_on_a_gpu_takes_its_kernels_copies_and_memory(
    kernels: str, small_atlas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels == "triton":
        pytest.importorskip("triton", reason="Triton is not installed (octoscope[triton])")
    else:  # where Triton is not installed
        monkeypatch.setattr(reductions, "find_spec", lambda name: None)
    plain, expected, before = sums_of(small_atlas, tmp_path / "cpu")
    gpu = FakeGpu()
    monkeypatch.setattr(unit_work, "accelerator_of", lambda *_: gpu)
    full = []

    def once(runner: UnitRunner) -> None:
        whole = runner._model.layer

        def layer(i: int, residual: torch.Tensor, mask: torch.Tensor) -> Any:
            if len(residual) > 1 and not full:
                full.append(len(residual))
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return whole(i, residual, mask)

        monkeypatch.setattr(runner._model, "layer", layer)

    runner, sums, record = sums_of(small_atlas, tmp_path / "gpu", once)
    assert runner._reduction.name == kernels
    assert runner.device == "a GPU that is not here"
    assert plain._reduction.name == "row blocks"
    assert plain.device == "cpu"
    # tokens were pinned before they were copied; memory was given back once, and the batch halved
    assert gpu.calls.index("pinned") < gpu.calls.index("beside")
    assert gpu.calls.count("release") == 1
    assert runner._oom_retry.at_once == full[0] // 2
    assert record.metrics["cells_used"] == before.metrics["cells_used"]
    gap = np.abs(sums - expected).max()
    # torch's way rounds the logits of each block to fp32
    most = 1e-5 if kernels == "triton" else 4e-5
    assert gap <= most * np.abs(expected[expected != 0]).mean()


def test_the_reduction_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is not installed (octoscope[triton])")
    assert reduction_on("cpu", 16).name == "row blocks"
    chosen = reduction_on("cuda", 16, "bf16")
    assert chosen.name == "triton"
    assert chosen._precision == "bf16"  # type: ignore[attr-defined]
    assert reduction_on("mps", 16).name == "torch"
    cuda = SimpleNamespace(is_available=lambda: True, get_device_capability=lambda: (7, 5))
    old = SimpleNamespace(cuda=cuda, version=SimpleNamespace(hip=None))
    with monkeypatch.context() as patch:
        patch.setattr(reductions, "torch", old)
        assert reduction_on("cuda", 16).name == "torch"
        cuda.get_device_capability = lambda: (8, 0)
        assert reduction_on("cuda", 16).name == "triton"
    monkeypatch.setattr(reductions, "find_spec", lambda name: None)
    assert reduction_on("cuda", 16).name == "torch"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused() -> None:
    assert accelerator_of("auto").kind == accelerator_of("cpu").kind == "cpu"
    with pytest.raises(InputError, match="no GPU is visible"):
        accelerator_of("cuda")


def test_copies_wait_for_the_weights_and_layers_for_the_copies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            events.append(f"{self.name} waits for {other.name}")

    main = Stream("main")

    def during(stream: Stream) -> AbstractContextManager[None]:
        events.append(f"on {stream.name}")
        return nullcontext()

    cuda = SimpleNamespace(
        current_stream=lambda device: main,
        Stream=lambda device: Stream("copies"),
        stream=during,
        set_per_process_memory_fraction=lambda share, device: events.append(f"share {share}"),
        get_device_name=lambda device: "H200",
        empty_cache=lambda: events.append("emptied"),
        mem_get_info=lambda device: (5, 9),
    )
    monkeypatch.setattr(accelerator, "torch", SimpleNamespace(cuda=cuda))
    gpu = Gpu("cuda", 0.5)  # type: ignore[arg-type]
    copied = SimpleNamespace(record_stream=lambda stream: events.append(f"kept for {stream.name}"))

    def copy() -> Any:
        events.append("copied")
        return copied

    assert gpu.beside(copy) is copied
    first = ["share 0.5", "copies waits for main", "on copies", "copied", "main waits for copies",
             "kept for main"]  # fmt: skip
    assert events == first
    gpu.beside(copy)
    assert events == [*first, *first[2:]]  # the weights are waited for once
    gpu.release()
    assert events[-1] == "emptied"
    assert (gpu.name, gpu.free_bytes()) == ("H200", 5)
