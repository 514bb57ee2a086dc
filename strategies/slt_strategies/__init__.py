"""The strategies that ship with slt, one module each; their names in config.toml are the modules' names."""

from __future__ import annotations
