"""From a live feed's frames to bars: connections, queues, liveness, waves, recordings."""

from __future__ import annotations
