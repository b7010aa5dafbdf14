"""The configuration that a run directory holds; apart from planning, which loads torch."""

from __future__ import annotations

from octoscope.config import RunConfig, apply_overrides, config_of_text, parse_config
from octoscope.errors import InputError
from octoscope.planning.derive import result_fields, with_sizes
from octoscope.store.plan_file import differences
from octoscope.store.run_dir import RunRoot

CONFIG = "config.yaml"


def run_config(root: RunRoot, changes: list[str] | None = None) -> RunConfig:
    """Read a run's configuration and apply changes that do not decide its result.

    Parameters
    ----------
    changes
        ``section.field=value``, as ``--set`` takes them.

    Raises
    ------
    InputError
        If there is none, or a change would give another result.
    """
    text = root.read(CONFIG)
    if text is None:
        raise InputError(root.url, f"it has no {CONFIG}", "give a run directory")
    config = config_of_text(text.decode(errors="replace"), root.at(CONFIG))
    if not changes:
        return config
    # sizes stay those of the run: another memory limit does not move them
    tree = apply_overrides(with_sizes(config).model_dump(mode="json"), changes)
    changed = parse_config(tree, root.at(CONFIG))
    differing = differences(result_fields(config), result_fields(changed))
    if differing:
        raise InputError(
            f"--set {differing[0]}",
            f"the run was made with another value ({', '.join(differing[:8])})",
            "change only how a run executes (execution.actors, threads, memory, attempts, ...), "
            "or run into a new directory",
        )
    return changed
