"""Packages that only some tasks need: which extra of the package brings each, and their error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from octoscope.errors import OctoscopeError

# extra of pyproject.toml -> what it brings, by import name
EXTRAS = {
    "run": (
        "anndata", "dask", "h5py", "itables", "jinja2", "lxml", "matplotlib", "networkx", "numba",
        "ray", "safetensors", "threadpoolctl", "torch", "transformers", "xxhash",
    ),
    "gnn": ("sklearn", "torch_geometric"),
    "triton": ("triton",),
    "s3": ("s3fs",),
    "gs": ("gcsfs",),
    "az": ("adlfs",),
}  # fmt: skip


class MissingPackageError(OctoscopeError, ModuleNotFoundError):
    """A package that this task needs is not installed (exit code 1).

    Attributes
    ----------
    name
        Import name of the package.
    extra
        Extra of Octoscope that brings it; None: no extra does.
    fix
        Command that installs it.
    """

    def __init__(self, name: str) -> None:
        self.extra = next((extra for extra, names in EXTRAS.items() if name in names), None)
        what = name if self.extra is None else f"'octoscope[{self.extra}]'"
        self.fix = f"pip install {what}"
        super().__init__(f"this needs {name}, which is not installed. Fix: {self.fix}")
        self.name = name

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (str(self.name),)


@contextmanager
def extras_needed() -> Iterator[None]:
    """Say in one line which extra is missing; as a context, or to decorate a function.

    Raises
    ------
    MissingPackageError
        If a package of an extra is imported inside and is not installed.
    """
    try:
        yield
    except MissingPackageError:
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not any(package in names for names in EXTRAS.values()):
            raise  # a defect, or a package that the user's own code asks for
        raise MissingPackageError(package) from error
