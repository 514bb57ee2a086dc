"""The table of each record type: its columns, how a record becomes a row and a row a record, and the SQL for both."""

from __future__ import annotations

from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from slt.types import Record
from slt_postgres.values import decode_json, decode_pairs, decode_text, encode_json, encode_pairs, encode_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from slt.storage.contract import Query

__all__ = ["TABLES", "Table"]

_NAMES = {
    "Decision": "decisions",
    "EquityPoint": "equity_points",
    "ModelVersion": "model_versions",
    "Notice": "notices",
    "OpenPosition": "open_positions",
    "OrderIntent": "order_intents",
    "Run": "runs",
    "Sample": "samples",
    "StoredBar": "stored_bars",
    "Trade": "trades",
}
_TIME_COLUMNS = {
    "ModelVersion": "fitted_time",
    "OpenPosition": "entry_time",
    "Run": "started",
    "StoredBar": "close_time",
    "Trade": "exit_time",
}
_COUNTS = {
    "OpenPosition": "excluded.told_time >= open_positions.told_time",
    "Trade": "excluded.exit_time <= trades.exit_time",
}
"""Which of two words counts where two runs have one each; see `slt.storage.contract.counts`."""


class Table:
    """One record type in the database. Columns are the record's fields, in their order.

    Args:
        kind: The record class.

    Attributes:
        hints: Field names and resolved types.
    """

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.hints: dict[str, Any] = get_type_hints(kind)

    @cached_property
    def name(self) -> str:
        """Name of the table."""
        return _NAMES[self.kind.__name__]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.hints)

    @cached_property
    def upsert(self) -> str:
        """SQL that stores one row given as parameters, replacing the one with its id."""
        parameters = ", ".join(f"${number}" for number in range(1, len(self.columns) + 1))
        return f"INSERT INTO {self.name} ({self._list}) VALUES ({parameters}) {self._on_conflict}"  # noqa: S608 - own names

    @cached_property
    def staging(self) -> str:
        """Name of the session's private table that bulk rows are copied to first."""
        return f"staged_{self.name}"

    @cached_property
    def create_staging(self) -> str:
        """SQL that makes the staging table where the session has none yet."""
        return f"CREATE TEMP TABLE IF NOT EXISTS {self.staging} (LIKE {self.name}) ON COMMIT DELETE ROWS"

    @cached_property
    def merge_staging(self) -> str:
        """SQL that stores what the staging table holds."""
        return f"INSERT INTO {self.name} ({self._list}) SELECT {self._list} FROM {self.staging} {self._on_conflict}"  # noqa: S608 - own names

    def rows(self, records: Iterable[Record]) -> list[Sequence[Any]]:
        """The records as rows."""
        rows: list[Sequence[Any]] = []
        for record in records:
            row = list(self._values_of(record))
            for index, encode in self._encoders:
                row[index] = encode(row[index])
            rows.append(row)
        return rows

    def records(self, rows: Iterable[Sequence[Any]]) -> list[Record]:
        """The rows as records."""
        records: list[Record] = []
        for row in rows:
            values = list(row)
            for index, decode in self._decoders:
                values[index] = decode(values[index])
            records.append(self.kind(*values))
        return records

    def select(self, query: Query) -> tuple[str, list[Any]]:
        """SQL and parameters that answer a query."""
        time = _TIME_COLUMNS.get(self.kind.__name__, "time")
        run_column = "id" if self.kind.__name__ == "Run" else "run_id"
        conditions = [
            (run_column, "=", query.run_id),
            ("symbol", "=", query.symbol),
            ("id", "=", query.id),
            (time, ">=", query.since),
            (time, "<", query.until),
        ]
        chosen = [item for item in conditions if item[2] is not None and item[0] in self.hints]
        parameters = [encode_text(value) if isinstance(value, str) else value for _, _, value in chosen]
        where = " AND ".join(f"{column} {sign} ${number}" for number, (column, sign, _) in enumerate(chosen, 1))
        direction = "DESC" if query.newest_first else "ASC"
        sql = f"SELECT {self._list} FROM {self.name}"  # noqa: S608 - own names only; values are parameters
        sql += f" WHERE {where}" if where else ""
        sql += f" ORDER BY {time} {direction}, id {direction}"
        if query.limit is not None:
            parameters.append(query.limit)
            sql += f" LIMIT ${len(parameters)}"
        return sql, parameters

    @cached_property
    def forget(self) -> str | None:
        """SQL that deletes a run's rows from a time on, both parameters; None for runs, bars and notices: they stay."""
        if "run_id" not in self.hints or self.kind.__name__ == "Notice":
            return None
        time = _TIME_COLUMNS.get(self.kind.__name__, "time")
        return f"DELETE FROM {self.name} WHERE run_id = $1 AND {time} >= $2"  # noqa: S608 - own names

    @cached_property
    def prune(self) -> str:
        """SQL that deletes at most $2 rows whose time is before $1."""
        time = _TIME_COLUMNS.get(self.kind.__name__, "time")
        some = f"SELECT ctid FROM {self.name} WHERE {time} < $1 LIMIT $2"  # noqa: S608 - own names
        return f"DELETE FROM {self.name} WHERE ctid = ANY(ARRAY({some}))"  # noqa: S608 - own names

    @cached_property
    def _list(self) -> str:
        return ", ".join(self.columns)

    @cached_property
    def _on_conflict(self) -> str:
        changes = ", ".join(f"{column} = excluded.{column}" for column in self.columns if column != "id")
        counts = _COUNTS.get(self.kind.__name__)
        condition = f" WHERE excluded.run_id = {self.name}.run_id OR {counts}" if counts else ""
        return f"ON CONFLICT (id) DO UPDATE SET {changes}{condition}"

    @cached_property
    def _values_of(self) -> Callable[[Record], tuple[Any, ...]]:
        return attrgetter(*self.columns)

    @cached_property
    def _encoders(self) -> list[tuple[int, Callable[[Any], Any]]]:
        pairs = [(index, _encoder(hint)) for index, hint in enumerate(self.hints.values())]
        return [(index, encode) for index, encode in pairs if encode is not None]

    @cached_property
    def _decoders(self) -> list[tuple[int, Callable[[Any], Any]]]:
        pairs = [(index, _decoder(hint)) for index, hint in enumerate(self.hints.values())]
        return [(index, decode) for index, decode in pairs if decode is not None]


def _encoder(hint: object) -> Callable[[Any], Any] | None:
    if hint is str:
        return encode_text
    if hint is bool:
        return bool
    if get_origin(hint) is dict:
        return encode_json
    if get_origin(hint) is tuple:
        return encode_pairs if get_origin(get_args(hint)[0]) is tuple else _encode_texts
    return None


def _decoder(hint: object) -> Callable[[Any], Any] | None:
    if hint is str:
        return decode_text
    if get_origin(hint) is dict:
        return decode_json
    if get_origin(hint) is tuple:
        return decode_pairs if get_origin(get_args(hint)[0]) is tuple else _decode_texts
    return None


def _encode_texts(texts: tuple[str, ...]) -> list[str]:
    return [encode_text(text) for text in texts]


def _decode_texts(texts: list[str]) -> tuple[str, ...]:
    return tuple(decode_text(text) for text in texts)


TABLES: dict[type, Table] = {kind: Table(kind) for kind in get_args(Record)}
"""The table of every record type."""
