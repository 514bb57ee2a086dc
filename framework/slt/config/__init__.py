"""The configuration: sections, reading, rendering."""

from __future__ import annotations

from slt.config.reading import SINGLE_KINDS, Settings, chosen_plugins, plugin_tables, read_config, read_tables
from slt.config.rendering import Option, options_of, render_section, render_value
from slt.config.sections import (
    KERNEL_SECTIONS,
    AccountConfig,
    CacheConfig,
    FeedConfig,
    GateConfig,
    HealthConfig,
    LearningConfig,
    LocksConfig,
    LogConfig,
    NoticesConfig,
    PluginChoice,
    RiskConfig,
    RunConfig,
)
from slt.config.structuring import nearest, structure

__all__ = [
    "KERNEL_SECTIONS",
    "SINGLE_KINDS",
    "AccountConfig",
    "CacheConfig",
    "FeedConfig",
    "GateConfig",
    "HealthConfig",
    "LearningConfig",
    "LocksConfig",
    "LogConfig",
    "NoticesConfig",
    "Option",
    "PluginChoice",
    "RiskConfig",
    "RunConfig",
    "Settings",
    "chosen_plugins",
    "nearest",
    "options_of",
    "plugin_tables",
    "read_config",
    "read_tables",
    "render_section",
    "render_value",
    "structure",
]
