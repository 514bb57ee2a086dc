"""Conducting an audit: every law is asked, whatever the others found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from slt._binding import in_one_line
from slt.audit import feature_laws, laws
from slt.audit.coupling import coupling
from slt.audit.findings import BROKEN, FAILED, Finding
from slt.audit.leaks import leaks
from slt.audit.processes import OtherProcesses
from slt.audit.subject import PluginFaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from slt.audit.laws import Lab

    Check = Callable[[Lab], Finding]

__all__ = ["FEATURE_LAWS", "LAWS", "Judged", "conduct", "laws_of", "passed"]

LAWS: dict[str, str] = {
    "contract": "shapes, dtypes and names are the contract's",
    "chunks": "any cut into blocks gives the same",
    "prefix": "nothing depends on later bars",
    "snapshots": "a snapshot through bytes goes on the same",
    "restart": "so it does in a new process",
    "determinism": "other processes give the same",
    "inputs": "input blocks stay unchanged",
    "late_bars": "a late bar counts as if in time",
    "symbols": "symbols do not know each other",
    "warmup": "the declared warm-up is true",
    "coupling": "every start ends up at the same values",
    "scale": "prices x 2^n change nothing",
    "parity": "mirror parity is as declared",
    "missing_taker": "missing taker volume gives NaN",
    "missing_bars": "absent bars give no number",
    "leaks": "random walks cannot be predicted",
}
"""Key of each law, in the order they are asked, and what it says."""

FEATURE_LAWS = ("warmup", "coupling", "scale", "parity", "missing_taker", "missing_bars")
"""Laws that are asked of feature sets alone."""


@frozen
class Judged:
    """One law and what came of it."""

    law: str
    finding: Finding

    @property
    def title(self) -> str:
        """What the law says."""
        return LAWS[self.law]


def laws_of(kind: str) -> list[str]:
    """Keys of the laws that are asked of a kind, in their order."""
    return [key for key in LAWS if kind == "features" or key not in FEATURE_LAWS]


def passed(judged: Iterable[Judged]) -> bool:
    """Whether no law broke and none failed."""
    return all(j.finding.verdict not in {BROKEN, FAILED} for j in judged)


def conduct(
    lab: Lab, *, only: Collection[str] | None = None, tell: Callable[[int, int, str], None] | None = None
) -> list[Judged]:
    """Ask every law that applies to the plugin's kind.

    Args:
        lab: Plugin and markets.
        only: Keys of the laws to ask; None = all.
        tell: Called before each law with its number, how many there are, and its title; None = nobody is told.

    Returns:
        What came of each, in the order of `LAWS`. A law in which the plugin raised has failed and says so; the others
        are asked all the same.
    """
    others = OtherProcesses()
    checks: dict[str, Check] = {
        "restart": others.restart,
        "determinism": others.determinism,
        "leaks": leaks,
        "coupling": coupling,
        **{key: getattr(feature_laws, key) for key in FEATURE_LAWS if key != "coupling"},
    }
    asked = [key for key in laws_of(lab.subject.kind) if only is None or key in only]
    judged = []
    for number, key in enumerate(asked):
        if tell is not None:
            tell(number, len(asked), LAWS[key])
        check: Check = checks[key] if key in checks else getattr(laws, key)
        judged.append(Judged(key, _ask(check, lab)))
    return judged


def _ask(check: Check, lab: Lab) -> Finding:
    try:
        return check(lab)
    except PluginFaultError as fault:
        return Finding(FAILED, str(fault))
    except Exception as error:  # noqa: BLE001 # what a plugin gave may trip a law in any way; the others still run
        return Finding(FAILED, f"what it gave could not be judged: {in_one_line(error)}")
