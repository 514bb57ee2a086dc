"""The outbox: takes notices without ever waiting, and brings each to every channel, once and in order.

Each channel (a notifier plugin) has a queue and a task of its own, so that a slow, failing or hanging one touches
neither the run nor the other channels. A notice that a channel did not confirm is sent again, first in line, so that
order holds; where the channel may have taken it before it fell silent, `ChannelStatus.uncertain` counts it.
"""

from __future__ import annotations

from slt.notices import NoticesConfig
from slt.notify.channel import ChannelStatus
from slt.notify.deliveries import Deliveries
from slt.notify.outbox import Outbox

__all__ = ["ChannelStatus", "Deliveries", "NoticesConfig", "Outbox"]
