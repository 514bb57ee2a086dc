"""A storage of a run under way: whatever becomes of it, the run is told that it is away and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from slt.errors import ConfigError, RecordRefusedError, StorageError
from slt.storage.contract import Query
from slt.storage.link import StorageLink
from slt.types import Trade

WRONG = ConfigError("PostgreSQL at db refused the user or the password; correct DATABASE_URL")


class Plugin:
    """Raises what it is told to."""

    def __init__(self, *opening):
        self.opening = list(opening)
        self.trouble = None

    async def slt_open_storage(self):
        if self.opening and (error := self.opening.pop(0)) is not None:
            raise error
        return "a storage"

    async def _answer(self, **_):
        if self.trouble is not None:
            raise self.trouble
        return []

    slt_write_records = slt_read_records = slt_forget_records = slt_prune_records = slt_hold_lock = _answer
    slt_watch_lock = slt_release_lock = _answer


CALLS = {
    "write": lambda link: link.slt_write_records(records=()),
    "read": lambda link: link.slt_read_records(query=Query(Trade)),
    "forget": lambda link: link.slt_forget_records(run_id="t-001", since=0),
    "prune": lambda link: link.slt_prune_records(now=0),
    "hold": lambda link: link.slt_hold_lock(name="account"),
    "watch": lambda link: link.slt_watch_lock(name="account"),
}


async def test_first_opening_says_what_only_a_person_can_mend():
    link = StorageLink(Plugin(WRONG))
    with pytest.raises(ConfigError, match="correct DATABASE_URL"):
        await link.open()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_password_that_is_changed_under_a_run_is_an_outage_like_any_other(call):
    link = StorageLink(plugin := Plugin())
    await link.open()
    plugin.trouble = WRONG
    with pytest.raises(StorageError, match="correct DATABASE_URL"):
        await call(link)
    plugin.trouble = OSError(28, "No space left on device")
    with pytest.raises(StorageError, match="No space left on device"):
        await call(link)


@pytest.mark.parametrize("call", [call for name, call in CALLS.items() if name != "watch"])
async def test_storage_away_at_the_start_that_turns_out_wrong_later_is_an_outage(call):
    link = StorageLink(Plugin(StorageError("away"), WRONG))
    with pytest.raises(StorageError):
        await link.open()
    with pytest.raises(StorageError, match="correct DATABASE_URL"):
        await call(link)
    await call(link)
    assert link.is_open


async def test_refused_record_stays_a_refused_record_and_a_cancellation_one():
    link = StorageLink(plugin := Plugin())
    await link.open()
    plugin.trouble = RecordRefusedError("too large")
    with pytest.raises(RecordRefusedError):
        await link.slt_write_records(records=())
    plugin.trouble = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await link.slt_write_records(records=())
