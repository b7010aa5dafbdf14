"""What a hostile pickle may try: calls, changes of what it names, forged arrays, programs."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
from octoscope.safe_pickle import Array, DType, Maker, Opaque, Refused, load_torch_zip, numpy_names


class Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in numpy_names():
            return numpy_names()[(module, name)]
        if module == "some":
            return Opaque
        raise Refused(f"{module}.{name}")


def load(data: bytes) -> Any:
    return Reader(io.BytesIO(data)).load()


def value(data: bytes) -> np.ndarray:
    array = load(data)
    assert isinstance(array, Array)
    return array.value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        np.array(["a", "bcd"]), np.array(["a", None, 3], object), np.zeros((0, 4)),
        np.array([True, False]), np.arange(3, dtype=">i2"),
        np.array(["2026-01-01"], "datetime64[ns]"), np.array(5.0),
    ],
    ids=str,
)  # fmt: skip
def test_arrays_come_back(array: np.ndarray, protocol: int) -> None:
    restored = value(pickle.dumps(array, protocol))
    assert restored.dtype == array.dtype
    assert restored.shape == array.shape
    assert (restored == array).all()


def test_numbers_come_back() -> None:
    for number in (np.float64(1.5), np.int32(7), np.bool_(True)):
        assert load(pickle.dumps(number)) == number


def test_functions_and_classes_cannot_be_changed() -> None:
    build = b"N}\x8c\x05PWNEDK\x01s\x86b."  # BUILD with (None, {"PWNED": 1})
    for name in (b"numpy\nndarray\n", b"numpy\ndtype\n", b"_codecs\nencode\n",
                 b"numpy.core.multiarray\nscalar\n", b"some\nthing\n"):  # fmt: skip
        with pytest.raises((Refused, TypeError)):
            load(b"\x80\x04c" + name + build)
    assert not any(hasattr(x, "PWNED") for x in (Opaque, DType, Maker, np.ndarray, np.dtype))
    with pytest.raises(Refused):
        Opaque.x = 1  # type: ignore[attr-defined]


def forged(dtype: str, state: Any, shape: Any, data: Any) -> Array:
    kind, array = DType(dtype, False, True), Array()
    kind.state = state
    array.state = (1, shape, kind, False, data)
    return array


@pytest.mark.parametrize(
    ("dtype", "state", "shape", "data"),
    [
        ("O", None, (1,), struct.pack("P", 1)),  # pointers from bytes
        ("O8", (3, "|", None, None, None, -1, -1, 0), (1,), b"AAAAAAAA"),  # without the flag
        ("f8", None, (1 << 60,), b"12345678"),
        ("f8", None, (-1,), b""),
        ("f8", (3, "|", None, ("a",), {"a": 1}, 8, 1, 0), (1,), b"12345678"),
        ("V8", None, (1,), b"12345678"),
        ("i4,O", None, (1,), b"0" * 12),
        ("f8", None, [1], b"12345678"),
    ],
)
def test_forged_arrays_are_refused(dtype: str, state: Any, shape: Any, data: Any) -> None:
    with pytest.raises(Refused):
        _ = forged(dtype, state, shape, data).value


def test_calling_what_rebuilds_arrays_makes_nothing() -> None:
    array = load(b"\x80\x04cnumpy\nndarray\n(K\x01\x85X\x01\x00\x00\x00OC\x08AAAAAAAAtR.")
    assert isinstance(array, Opaque)
    with pytest.raises(Refused):
        load(b"\x80\x04c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.")


def test_a_torchscript_program_is_not_handed_to_torch() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        z.writestr("model/constants.pkl", b"N.")
        z.writestr("model/data.pkl", b"N.")
        z.writestr("model/code/__torch__.py", b"")
    with pytest.raises(Refused, match="TorchScript"):
        load_torch_zip(file, Reader)


def test_a_real_torchscript_file_does_not_run(tmp_path: Any) -> None:
    import torch
    from octoscope.safe_pickle import load_inert

    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    path = tmp_path / "program.ckpt"
    torch.jit.save(torch.jit.script(Model()), str(path))
    with pytest.raises(pickle.UnpicklingError, match="TorchScript"):
        load_inert(path)
