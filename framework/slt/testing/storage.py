"""The conformance suite of storages: subclass `StorageConformance`, give one fixture, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slt.errors import StorageError
from slt.hookspecs import StorageSpecs
from slt.storage.contract import Query
from slt.types import OpenPosition, Record, Trade

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

__all__ = ["RECORD_KINDS", "StorageConformance", "canonical", "make_record", "records", "time_field"]

RECORD_KINDS: tuple[type, ...] = get_args(Record)
"""Every record type that a storage keeps."""

MakeStorage = Callable[[], StorageSpecs]

_RUN = "demo-001"
_SYMBOL = "BTCUSDT"
_TIMES = {"ModelVersion": "fitted_time", "OpenPosition": "entry_time", "Run": "started", "StoredBar": "close_time"}
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_FLOATS = st.floats() | st.sampled_from([-0.0, 1e16, 1e22, 1e308, 5e-324, math.nan, math.inf, -math.inf])
_JSON = st.recursive(
    st.none() | st.booleans() | _INTEGERS | _FLOATS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)
_BY_TYPE: dict[object, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: _INTEGERS,
    float: _FLOATS,
    bool: st.booleans(),
    bytes: st.binary(max_size=50),
}


_HINTS: dict[type, dict[str, Any]] = {}
_CONTESTED = [(OpenPosition, "told_time", max), (Trade, "exit_time", min)]


def time_field(kind: type) -> str:
    """Name of the field that `Query` means by the time of this record type."""
    return "exit_time" if kind.__name__ == "Trade" else _TIMES.get(kind.__name__, "time")


def make_record(kind: type, number: int, **changes: object) -> Record:
    """A plain record for examples: id ``<kind>-<number>``, time `number` minutes, and whatever `changes` says."""
    plain: dict[object, Any] = {str: "x", int: 1, float: 0.5, bool: True, bytes: b"\x00\x01"}
    hints = _hints(kind)
    values: dict[str, Any] = {name: plain.get(hint) for name, hint in hints.items()}
    empty = {name: get_origin(hint)() for name, hint in _hints(kind).items() if get_origin(hint) in (dict, tuple)}
    named = {
        "id": f"{kind.__name__}-{number:06d}",
        "run_id": _RUN,
        "symbol": _SYMBOL,
        time_field(kind): number * 60_000,
    }
    values |= empty | {name: value for name, value in named.items() if name in values} | changes
    record: Record = kind(**values)
    return record


@st.composite
def records(draw: st.DrawFn, kind: type) -> Record:
    """A hypothesis strategy: any record of this type; extreme numbers, NaN, None, all of Unicode but NUL included."""
    values = {name: draw(_values(hint)) for name, hint in _hints(kind).items()}
    values["id"] = draw(st.uuids()).hex
    record: Record = kind(**values)
    return record


def canonical(value: object) -> object:
    """The value in a form that compares equal only where value and type are the same; all NaN are one."""
    kind: Any = type(value)
    if attrs.has(kind):
        return kind.__name__, {field.name: canonical(getattr(value, field.name)) for field in attrs.fields(kind)}
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [canonical(item) for item in value]
    if isinstance(value, float):
        return "float", repr(value)
    return type(value).__name__, value


_PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]


class StorageConformance:
    """What every storage must do. A subclass gives the fixture `make_storage`; nothing else is needed.

    ``make_storage()`` makes a plugin instance, not open yet. All instances made within one test meet in one place,
    which is empty when the test begins.
    """

    @pytest.fixture
    def make_storage(self) -> MakeStorage:
        """How to make a storage plugin; the subclass overrides it."""
        raise NotImplementedError("give the fixture `make_storage`: a function that makes a storage, not open yet")

    @pytest.mark.parametrize("kind", RECORD_KINDS)
    def test_read_any_record_returns_it_exactly(self, make_storage: MakeStorage, kind: type) -> None:
        """Every type comes back equal in value and type: NaN, None, negative zero, bytes, tuples, nested values."""

        @settings(
            max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
        )
        @given(st.lists(records(kind), min_size=1, max_size=8, unique_by=lambda record: record.id))
        def check(batch: list[Record]) -> None:
            async def scenario(storage: StorageSpecs) -> None:
                await storage.slt_write_records(records=batch)
                for record in batch:
                    found = await storage.slt_read_records(query=Query(kind, id=record.id))
                    assert [canonical(one) for one in found] == [canonical(record)]

            _play(make_storage, scenario)

        check()

    @pytest.mark.parametrize("kind", RECORD_KINDS)
    def test_write_same_id_replaces_the_record(self, make_storage: MakeStorage, kind: type) -> None:
        """Storing is by type and id: the later one counts, and nothing is doubled."""

        async def scenario(storage: StorageSpecs) -> None:
            first, second = make_record(kind, 1), _changed(make_record(kind, 1))
            await storage.slt_write_records(records=[first])
            await storage.slt_write_records(records=[second])
            assert await storage.slt_read_records(query=Query(kind)) == [second]

        _play(make_storage, scenario)

    @pytest.mark.parametrize("kind", RECORD_KINDS)
    def test_write_same_id_twice_in_a_batch_keeps_the_later(self, make_storage: MakeStorage, kind: type) -> None:
        """Of two records with one id in one batch the later counts."""

        async def scenario(storage: StorageSpecs) -> None:
            first, second = make_record(kind, 1), _changed(make_record(kind, 1))
            await storage.slt_write_records(records=[first, make_record(kind, 2), second])
            assert await storage.slt_read_records(query=Query(kind)) == [second, make_record(kind, 2)]

        _play(make_storage, scenario)

    @pytest.mark.parametrize("is_one_batch", [True, False], ids=["one batch", "two batches"])
    @pytest.mark.parametrize(("kind", "field", "wins"), _CONTESTED, ids=lambda value: getattr(value, "__name__", value))
    def test_write_of_two_runs_keeps_the_word_that_counts(
        self,
        make_storage: MakeStorage,
        kind: type,
        field: str,
        wins: Callable[[int, int], int],
        is_one_batch: bool,
    ) -> None:
        """Of what two runs say of a position the later word counts, and of its trade the earlier exit, in any order."""

        async def scenario(storage: StorageSpecs) -> None:
            number = 0
            for first, second in ((10, 20), (20, 10), (20, 20)):
                for other in ("demo-002", _RUN):
                    number += 1
                    own = make_record(kind, number, **{field: first})
                    changes: dict[str, Any] = {"run_id": other, field: second}
                    theirs = attrs.evolve(_changed(own), **changes)
                    batches = [[own, theirs]] if is_one_batch else [[own], [theirs]]
                    for batch in batches:
                        await storage.slt_write_records(records=batch)
                    counts = theirs if other == _RUN or wins(first, second) == second else own
                    assert await storage.slt_read_records(query=Query(kind, id=own.id)) == [counts]

        _play(make_storage, scenario)

    def test_write_mixed_batch_stores_every_type(self, make_storage: MakeStorage) -> None:
        """A batch may mix all types in any order."""

        async def scenario(storage: StorageSpecs) -> None:
            batch = [make_record(kind, number) for number in (2, 1) for kind in reversed(RECORD_KINDS)]
            await storage.slt_write_records(records=batch)
            for kind in RECORD_KINDS:
                expected = [make_record(kind, 1), make_record(kind, 2)]
                assert await storage.slt_read_records(query=Query(kind)) == expected

        _play(make_storage, scenario)

    def test_write_nothing_is_no_error(self, make_storage: MakeStorage) -> None:
        """An empty batch changes nothing."""

        async def scenario(storage: StorageSpecs) -> None:
            await storage.slt_write_records(records=[])
            for kind in RECORD_KINDS:
                assert await storage.slt_read_records(query=Query(kind)) == []

        _play(make_storage, scenario)

    def test_write_large_batch_stores_all(self, make_storage: MakeStorage) -> None:
        """Some thousand records of several types in one batch, written twice, are there once."""

        async def scenario(storage: StorageSpecs) -> None:
            kinds = [kind for kind in RECORD_KINDS if kind.__name__ in {"Trade", "Decision"}]
            batch = [make_record(kind, number) for number in range(1500) for kind in kinds]
            await storage.slt_write_records(records=batch)
            await storage.slt_write_records(records=batch)
            for kind in kinds:
                found = await storage.slt_read_records(query=Query(kind))
                assert found == [make_record(kind, number) for number in range(1500)]

        _play(make_storage, scenario)

    def test_write_batch_with_something_else_stores_nothing_of_it(self, make_storage: MakeStorage) -> None:
        """A batch is stored whole or not at all, and the failure is a `StorageError`."""

        async def scenario(storage: StorageSpecs) -> None:
            foreign: Any = "not a record"
            batch = [*(make_record(kind, 1) for kind in RECORD_KINDS), foreign]
            with pytest.raises(StorageError):
                await storage.slt_write_records(records=batch)
            for kind in RECORD_KINDS:
                assert await storage.slt_read_records(query=Query(kind)) == []

        _play(make_storage, scenario)

    @pytest.mark.parametrize("kind", RECORD_KINDS)
    def test_read_orders_by_time_then_id(self, make_storage: MakeStorage, kind: type) -> None:
        """Ascending by time, ties by id in code point order; `newest_first` is exactly the reverse."""

        async def scenario(storage: StorageSpecs) -> None:
            times_and_ids = [(2, "b"), (1, "Z"), (2, "B"), (1, "a"), (3, "é"), (3, "z"), (-5, "m")]
            batch = [make_record(kind, 1, **{"id": id_, time_field(kind): time}) for time, id_ in times_and_ids]
            await storage.slt_write_records(records=batch)
            found = await storage.slt_read_records(query=Query(kind))
            assert [record.id for record in found] == ["m", "Z", "a", "B", "b", "z", "é"]
            found = await storage.slt_read_records(query=Query(kind, newest_first=True))
            assert [record.id for record in found] == ["é", "z", "b", "B", "a", "Z", "m"]

        _play(make_storage, scenario)

    @pytest.mark.parametrize("kind", RECORD_KINDS)
    def test_read_with_filters_returns_what_fits_all_of_them(self, make_storage: MakeStorage, kind: type) -> None:
        """`run_id`, `symbol`, `id`, `since`, `until` and `limit`, alone and together, as `Query` says."""
        names = set(_hints(kind))
        runs, symbols = ("demo-001", "demo-002"), ("BTCUSDT", "ETHUSDT")
        batch = []
        for number in range(8):
            changes: dict[str, object] = {"run_id": runs[number % 2], "symbol": symbols[number // 4]}
            changes = {name: value for name, value in changes.items() if name in names}
            batch.append(make_record(kind, number, **changes))

        async def scenario(storage: StorageSpecs) -> None:
            await storage.slt_write_records(records=batch)
            for query in _queries(kind, batch):
                found = await storage.slt_read_records(query=query)
                assert found == _expected(batch, query), f"wrong answer to {query}"

        _play(make_storage, scenario)

    def test_read_while_writing_sees_whole_batches_only(self, make_storage: MakeStorage) -> None:
        """Readers run beside a writer and never see half a batch."""

        async def scenario(storage: StorageSpecs) -> None:
            trade, decision = (kind for kind in RECORD_KINDS if kind.__name__ in {"Trade", "Decision"})
            done = asyncio.Event()

            async def write() -> None:
                for batch in range(10):
                    numbers = range(batch * 50, batch * 50 + 50)
                    await storage.slt_write_records(records=[make_record(trade, number) for number in numbers])
                    await storage.slt_write_records(records=[make_record(decision, number) for number in numbers])
                done.set()

            async def read(kind: type) -> None:
                is_last, found = False, []
                while not is_last:
                    is_last = done.is_set()
                    found = await storage.slt_read_records(query=Query(kind))
                    assert len(found) % 50 == 0
                    await asyncio.sleep(0.001)
                assert len(found) == 500

            await asyncio.gather(write(), read(trade), read(decision), read(trade))

        _play(make_storage, scenario)

    def test_read_result_changed_by_the_reader_leaves_the_store_alone(self, make_storage: MakeStorage) -> None:
        """Dictionaries inside records are not shared with the writer or a reader."""

        async def scenario(storage: StorageSpecs) -> None:
            kind = next(kind for kind in RECORD_KINDS if kind.__name__ == "Decision")
            numbers = {"confidence": 0.5}
            await storage.slt_write_records(records=[make_record(kind, 1, numbers=numbers)])
            numbers["confidence"] = 0.1
            found: list[Any] = list(await storage.slt_read_records(query=Query(kind)))
            found[0].numbers.clear()
            assert await storage.slt_read_records(query=Query(kind)) == [
                make_record(kind, 1, numbers={"confidence": 0.5})
            ]

        _play(make_storage, scenario)

    def test_open_describes_the_place_in_one_line(self, make_storage: MakeStorage) -> None:
        """The description is one line of text."""

        async def scenario() -> None:
            storage = make_storage()
            text = await storage.slt_open_storage()
            await storage.slt_close_storage()
            assert text.strip()
            assert "\n" not in text

        asyncio.run(scenario())

    def test_use_when_not_open_raises_storage_error(self, make_storage: MakeStorage) -> None:
        """Before the opening and after the close both fail with a `StorageError`; a second close is no error."""

        async def scenario() -> None:
            storage = make_storage()
            kind = RECORD_KINDS[0]
            await _assert_refused(storage, kind)
            await storage.slt_open_storage()
            await storage.slt_close_storage()
            await storage.slt_close_storage()
            await _assert_refused(storage, kind)

        asyncio.run(scenario())

    def test_reopen_same_instance_finds_what_was_stored(self, make_storage: MakeStorage) -> None:
        """A storage can be closed and opened again."""

        async def scenario() -> None:
            storage = make_storage()
            kind = RECORD_KINDS[0]
            await storage.slt_open_storage()
            await storage.slt_write_records(records=[make_record(kind, 1)])
            await storage.slt_close_storage()
            await storage.slt_open_storage()
            found = await storage.slt_read_records(query=Query(kind))
            await storage.slt_close_storage()
            assert found == [make_record(kind, 1)]

        asyncio.run(scenario())

    def test_forget_records_deletes_a_run_from_a_time_on_and_nothing_else(self, make_storage: MakeStorage) -> None:
        """Where the optional hook exists: that run's records at or after that time go, but no run, notice or bar."""

        async def scenario(storage: StorageSpecs) -> None:
            deleted = {kind for kind in RECORD_KINDS if "run_id" in _hints(kind) and kind.__name__ != "Notice"}
            for kind in RECORD_KINDS:
                here = [make_record(kind, number) for number in (1, 2, 3)]
                other = [make_record(kind, number, run_id="other-001") for number in (4, 5) if kind in deleted]
                await storage.slt_write_records(records=[*here, *other])
            await storage.slt_forget_records(run_id=_RUN, since=120_000)
            for kind in RECORD_KINDS:
                found = {record.id for record in await storage.slt_read_records(query=Query(kind))}
                kept = (1, 4, 5) if kind in deleted else (1, 2, 3)
                assert found == {make_record(kind, number).id for number in kept}, f"{kind.__name__} rows"

        if not hasattr(make_storage(), "slt_forget_records"):
            pytest.skip("the storage has no `slt_forget_records`, which is optional")
        _play(make_storage, scenario)

    def test_hooks_are_marked_and_awaitable(self, make_storage: MakeStorage) -> None:
        """Every hook of `StorageSpecs` is implemented as a coroutine and carries ``@hookimpl``."""
        storage = make_storage()
        for name in ("slt_open_storage", "slt_write_records", "slt_read_records", "slt_close_storage"):
            hook = getattr(storage, name)
            assert inspect.iscoroutinefunction(hook), f"{name} must be `async def`"
            assert hasattr(hook, "slt_impl"), f"{name} lacks `@hookimpl`"


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _HINTS:
        _HINTS[kind] = get_type_hints(kind)
    return _HINTS[kind]


def _play(make_storage: MakeStorage, scenario: Callable[[StorageSpecs], Awaitable[None]]) -> None:
    async def play() -> None:
        storage = make_storage()
        await storage.slt_open_storage()
        try:
            await scenario(storage)
        finally:
            await storage.slt_close_storage()

    asyncio.run(play())


async def _assert_refused(storage: StorageSpecs, kind: type) -> None:
    with pytest.raises(StorageError):
        await storage.slt_read_records(query=Query(kind))
    with pytest.raises(StorageError):
        await storage.slt_write_records(records=[make_record(kind, 1)])


def _changed(record: Record) -> Record:
    """The record with every field but id and time changed, tuples and dictionaries included."""
    kind = type(record)
    other: dict[object, Any] = {str: "y", int: -2, float: -0.25, bool: False, bytes: b"\xff"}
    changes: dict[str, Any] = {}
    for name, hint in _hints(kind).items():
        if name not in {"id", "told_time", time_field(kind)}:
            changes[name] = _other_container(hint) if get_origin(hint) in (dict, tuple) else other.get(hint, 7)
    values = {name: getattr(record, name) for name in _hints(kind)}
    changed: Record = kind(**values | changes)
    return changed


def _other_container(hint: object) -> object:
    if get_origin(hint) is dict:
        return {"a": 1.5}
    return (("a", "b"),) if get_origin(get_args(hint)[0]) is tuple else ("a", "b")


def _queries(kind: type, batch: Sequence[Record]) -> list[Query]:
    return [
        Query(kind),
        Query(kind, run_id="demo-002"),
        Query(kind, run_id=batch[3].id),
        Query(kind, symbol="ETHUSDT"),
        Query(kind, run_id="demo-001", symbol="ETHUSDT"),
        Query(kind, id=batch[5].id),
        Query(kind, id="unknown"),
        Query(kind, since=120_000),
        Query(kind, until=120_000),
        Query(kind, since=60_000, until=240_000),
        Query(kind, since=240_000, until=60_000),
        Query(kind, limit=0),
        Query(kind, limit=3),
        Query(kind, limit=100),
        Query(kind, newest_first=True, limit=3),
        Query(kind, run_id="demo-001", symbol="BTCUSDT", since=60_000, newest_first=True, limit=1),
        Query(kind, run_id="unknown"),
        Query(kind, symbol="UNKNOWN"),
    ]


def _expected(batch: Sequence[Record], query: Query) -> list[Record]:
    names = set(_hints(query.kind))
    wanted = {"symbol": query.symbol, "id": query.id, "id" if query.kind.__name__ == "Run" else "run_id": query.run_id}
    if query.kind.__name__ == "Run" and query.id is not None:
        wanted["id"] = query.id
    filters = {name: value for name, value in wanted.items() if value is not None and name in names}
    low, high = query.since, query.until
    found = []
    for record in batch:
        time = getattr(record, time_field(query.kind))
        is_in_time = (low is None or time >= low) and (high is None or time < high)
        if is_in_time and all(getattr(record, name) == value for name, value in filters.items()):
            found.append(record)
    found.sort(key=lambda record: (getattr(record, time_field(query.kind)), record.id), reverse=query.newest_first)
    return found[: query.limit]


def _values(hint: object) -> st.SearchStrategy[Any]:
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        return (
            st.lists(_values(arguments[0]), max_size=3).map(tuple)
            if ... in arguments
            else st.tuples(*map(_values, arguments))
        )
    if get_origin(hint) is dict:
        return st.dictionaries(_TEXT, _FLOATS if arguments[1] is float else _JSON, max_size=4)
    return st.none() | st.one_of(*(_values(argument) for argument in arguments if argument is not type(None)))
