"""The errors of slt, by who must act.

::

    SltError                       exit code 1
    ├── ConfigError                2  the user edits the config file or the command line
    │   └── DataError              2  the user repairs or replaces a data file
    ├── PluginError                3  the plugin's author acts
    │   ├── PluginNotFoundError    3  the user installs or renames
    │   └── PluginLoadError        3  the plugin or its installation is broken
    ├── AuditError                 4  the plugin's author acts: an audit found a broken law
    ├── FeedError                  1  the market data source failed
    ├── BrokerError                1  the broker or exchange refused or is away
    ├── StorageError               1  the database refused or is away
    │   └── RecordRefusedError     1  the database refuses a record for what it is; the writer sets it aside
    ├── ModelError                 1  a model artefact is unusable
    ├── RetryLaterError            1  a notifier's channel asked to wait; the outbox does
    └── StoppedError               5  the run was stopped by a person and can be resumed

Messages say what was found (quoted with backticks), what is allowed, and what to do next. The command line prints one
line and leaves with the exit code above; a traceback only with ``--debug``. Secrets never enter a message.
"""

from __future__ import annotations

__all__ = [
    "AuditError",
    "BrokerError",
    "ConfigError",
    "DataError",
    "FeedError",
    "ModelError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "RecordRefusedError",
    "RetryLaterError",
    "SltError",
    "StoppedError",
    "StorageError",
]


class SltError(Exception):
    """Base of every error slt raises on purpose."""

    exit_code = 1


class ConfigError(SltError):
    """The configuration cannot be used. Carries every problem found, not only the first.

    Args:
        problems: One line each, opening with the dotted path of the key.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DataError(ConfigError):
    """A data file is missing, unreadable or holds candles that cannot be true."""


class PluginError(SltError):
    """A plugin broke its contract while running; its author must act."""

    exit_code = 3


class PluginNotFoundError(PluginError):
    """The config names a plugin that is not installed."""


class PluginLoadError(PluginError):
    """A plugin is installed but cannot be imported or does not fit its kind."""


class AuditError(SltError):
    """An audit found that a plugin breaks a law; its author must act, and nobody should trade it."""

    exit_code = 4


class FeedError(SltError):
    """The market data source failed for good; transient failures are retried below this."""


class BrokerError(SltError):
    """The broker failed or refused in a way the run cannot go on from."""


class StorageError(SltError):
    """The database cannot be used."""


class RecordRefusedError(StorageError):
    """The database refuses records for what they are, and would for ever; the writer finds and sets them aside."""


class ModelError(SltError):
    """A model artefact is corrupt, of another schema, or from a newer version."""


class RetryLaterError(SltError):
    """A notifier's channel asked to wait before the next message (HTTP 429).

    Args:
        seconds: How long the channel wants to be left alone.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the channel asked to wait {seconds:g} s")


class StoppedError(SltError):
    """The run was stopped (Ctrl-C or SIGTERM), its state is saved, and the same command resumes it."""

    exit_code = 5
