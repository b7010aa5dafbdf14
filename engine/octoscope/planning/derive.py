"""Sizes that are derived from others, and the settings that decide a run's bytes."""

from __future__ import annotations

from typing import Any, NamedTuple

from octoscope.config import RunConfig
from octoscope.config.byte_sizes import parse_bytes, size_text
from octoscope.config.declared import result_tree
from octoscope.config.execution_config import CACHE, WORKING_SET, ExecutionConfig


class Sizes(NamedTuple):
    """Bytes of residuals in an actor's memory, and of a matrix that an analysis task caches."""

    working_set: int
    cache: int


def sizes(execution: ExecutionConfig) -> Sizes:
    """Derive what ``execution.advanced`` leaves open from ``execution.memory``.

    - ``working_set``: a quarter of the memory, 2 GB at most. The rest of an actor is weights,
      queries and keys of a micro-batch (another quarter) and accumulators.
    - ``cache``: a 64th of the memory, 256 MB at least. An analysis task may cache two, and as
      many tasks run as there are CPUs, so the tasks of 32 CPUs fit into the memory.
    - Without ``memory``: 2 GB and 256 MB.

    ``tile``, ``micro_batch``, ``batch_cells`` and ``macro_batches`` are upper bounds with fixed
    defaults; :func:`octoscope.planning.memory.working_set` makes them smaller for a model whose
    shape (tokens, d) needs it. ``readers``, ``lease`` and ``grace`` have fixed defaults.

    The sizes decide bytes of a run. They depend on the value that is given and never on the memory
    that a machine has free, so that every machine makes the same units and tiles.

    Raises
    ------
    InputError
        If a size cannot be parsed.
    """
    given, memory = execution.advanced, execution.memory
    limit = None if memory is None else parse_bytes(memory)
    working_set = parse_bytes(WORKING_SET)
    cache = parse_bytes(CACHE)
    if limit is not None:
        working_set = max(1.0, min(working_set, limit / 4))
        cache = max(cache, limit / 64)
    if given.working_set is not None:
        working_set = parse_bytes(given.working_set, "execution.advanced.working_set")
    if given.cache is not None:
        cache = parse_bytes(given.cache, "execution.advanced.cache")
    return Sizes(int(working_set), int(cache))


def with_sizes(config: RunConfig) -> RunConfig:
    """Return a configuration with its open sizes filled in."""
    derived = sizes(config.execution)
    advanced = config.execution.advanced.model_copy(
        update={"working_set": size_text(derived.working_set), "cache": size_text(derived.cache)}
    )
    execution = config.execution.model_copy(update={"advanced": advanced})
    return config.model_copy(update={"execution": execution})


def result_fields(config: RunConfig) -> dict[str, Any]:
    """Return the settings that decide results, with derived sizes.

    Each setting declares whether it does (``decides_results``).
    """
    return result_tree(with_sizes(config))
