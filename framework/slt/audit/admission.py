"""Whether the features and strategies of a run have certificates for what they are now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slt.audit.certificates import FOLDER, find_certificate, options_of, package_folder, plugin_hash
from slt.errors import ConfigError
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.config import Settings
    from slt.loader import Loaded, Plugins

__all__ = ["check_certificates", "uncertified"]

_OWN = "selflearningtrader"
_log = get_logger("lifecycle")


def uncertified(plugins: Iterable[Loaded[Any]], folder: Path) -> list[str]:
    """Which of these plugins have no certificate for their code and options, as ``kind:name``.

    Args:
        plugins: Loaded feature sets and strategies.
        folder: Where `slt audit` wrote certificates. Those of slt's own plugins come in their packages too.
    """
    return [f"{p.installed.kind}:{p.name}" for p in plugins if not _is_certified(p, folder)]


def check_certificates(plugins: Plugins, settings: Settings) -> None:
    """Warn where a chosen feature set or strategy has no certificate for what it is now; in live mode refuse.

    Args:
        plugins: The plugins of the run.
        settings: Their configuration; ``run.certificates`` is the folder, ``run.allow_uncertified`` lets live trade
            without.

    Raises:
        ConfigError: The mode is live, a certificate is missing, and the option does not allow it.
    """
    missing = uncertified((*plugins.features, *plugins.strategies), Path(settings.run.certificates))
    if not missing:
        return
    what = f"no certificate for {', '.join(missing)} with this code and these options in `{settings.run.certificates}`"
    advice = f"`slt audit --config {settings.path}` checks that nothing uses the future, and writes one"
    if settings.run.mode == "live" and not settings.run.allow_uncertified:
        raise ConfigError(
            settings.located(f"run.certificates: {what}; {advice}; run.allow_uncertified = true trades without")
        )
    _log.warning(f"{what}; {advice}")


def _is_certified(plugin: Loaded[Any], folder: Path) -> bool:
    installed = plugin.installed
    definition = plugin.hooks.slt_describe_features()[3] if installed.kind == "features" else ""
    wanted = plugin_hash(installed.kind, installed.name, installed.target, options_of(plugin.config), definition)
    folders = [folder]
    package = package_folder(installed.target) if installed.distribution == _OWN else None
    if package is not None:
        folders.append(package / FOLDER)
    return find_certificate(folders, installed.kind, installed.name, wanted) is not None
