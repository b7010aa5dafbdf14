"""The configuration of a run: one declaration for YAML, ``--set``, help and the saved file."""

from octoscope.config.inputs_config import DTYPES, AtlasConfig, GeneSetConfig, ModelConfig
from octoscope.config.loading import (
    apply_overrides,
    config_of_text,
    dump_config,
    load_config,
    parse_config,
    read_yaml,
    validated,
)
from octoscope.config.run_config import RunConfig

__all__ = [
    "DTYPES", "AtlasConfig", "GeneSetConfig", "ModelConfig", "RunConfig", "apply_overrides",
    "config_of_text", "dump_config", "load_config", "parse_config", "read_yaml", "validated",
]  # fmt: skip
