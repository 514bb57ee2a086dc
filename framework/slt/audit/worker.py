"""What runs in the other process of an audit: ``python -m slt.audit.worker REQUEST ANSWER``, both files of pickles."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def main(request_path: str, answer_path: str) -> None:
    """Do the work that `slt.audit.processes` asked for and write the answer."""
    with Path(request_path).open("rb") as stream:
        head = pickle.load(stream)  # noqa: S301 - written by our own parent
        sys.path[:] = head["path"]
        request = pickle.load(stream)  # noqa: S301 - as above
    Path(answer_path).write_bytes(pickle.dumps(_answer(request)))


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from slt.audit.subject import PluginFaultError, Subject  # noqa: PLC0415 # after the path is the parent's

    subject = Subject.from_reference(request["subject"])
    market, cut = request["market"], request["cut"]
    try:
        whole = subject.run(market)
        session = subject.started(market.bars.symbols)
        session.restore(pickle.loads(request["state"]))  # noqa: S301 - made by our own parent
        rest = session.lay_out(session.step(market.rows(cut, len(market))))
    except PluginFaultError as fault:
        return {"fault": str(fault)}
    tables = {"whole": whole, "rest": rest}
    return {**{k: (t.columns, t.values, t.context) for k, t in tables.items()}, "state": request["state"]}


if __name__ == "__main__":
    main(*sys.argv[1:])
