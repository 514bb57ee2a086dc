"""Records that the database refuses for what they are: kept in a file for a person, so that the rest can go on."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from slt.storage._codec import encode_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slt.storage._entries import Entry

__all__ = ["RefusedRecords"]


class RefusedRecords:
    """A file with one JSON object a line: ``{"reason": "…", "record": ["Trade", …]}``, each forced to the disk.

    Args:
        path: The file; made when the first record comes.
        tell: Called once for each record, from the thread that writes it: name of its type, id, reason; None = nobody.

    Attributes:
        count: Records set aside by this process.
    """

    def __init__(self, path: Path, tell: Callable[[str, str, str], None] | None = None) -> None:
        self.count = 0
        self._path = path
        self._tell = tell

    def add(self, record: Entry, reason: str) -> None:
        """Keep a record. Blocks on the disk.

        Raises:
            OSError: The disk refused; nothing was kept.
        """
        text = json.dumps({"reason": reason, "record": json.loads(encode_record(record))})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.count += 1
        if self._tell is not None:
            self._tell(type(record).__name__, getattr(record, "id", ""), reason)
