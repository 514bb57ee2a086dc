"""The conformance kits: one class per plugin kind, which says by running what a plugin of that kind must do.

Subclass the kit in a test module, say in one fixture how the plugin is made, and run pytest::

    from slt.testing import ExitConformance

    class TestMyExit(ExitConformance):
        @pytest.fixture
        def make_exit(self):
            return lambda: MyExit(MyExitConfig())

The checks are numbered cards (``test_e03_...``), so that a report can say "passes E01-E09". The plugins that ship with
slt run the same kits. `slt.testing.markets` makes bars, positions and outlooks for tests of one's own.

Kits are loaded when first asked for, so that one kit does not need what another imports.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slt.testing.broker import BrokerConformance
    from slt.testing.caches import CacheConformance
    from slt.testing.exits import ExitConformance
    from slt.testing.features import FeatureConformance
    from slt.testing.feed import FeedConformance
    from slt.testing.live_broker import LiveBrokerConformance
    from slt.testing.model import ModelConformance
    from slt.testing.notifiers import NotifierConformance
    from slt.testing.sizers import SizerConformance
    from slt.testing.storage import StorageConformance
    from slt.testing.strategies import StrategyConformance

__all__ = [
    "BrokerConformance",
    "CacheConformance",
    "ExitConformance",
    "FeatureConformance",
    "FeedConformance",
    "LiveBrokerConformance",
    "ModelConformance",
    "NotifierConformance",
    "SizerConformance",
    "StorageConformance",
    "StrategyConformance",
]

_HOMES = {
    "BrokerConformance": "broker",
    "CacheConformance": "caches",
    "ExitConformance": "exits",
    "FeatureConformance": "features",
    "FeedConformance": "feed",
    "LiveBrokerConformance": "live_broker",
    "ModelConformance": "model",
    "NotifierConformance": "notifiers",
    "SizerConformance": "sizers",
    "StorageConformance": "storage",
    "StrategyConformance": "strategies",
}

if "pytest" in sys.modules:  # Failing asserts of the kits then show their values, as those of a test module do.
    _modules = [f"{__name__}.{home}" for home in (*_HOMES.values(), "laws")]
    sys.modules["pytest"].register_assert_rewrite(*_modules)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
