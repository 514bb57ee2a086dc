"""The table of a week."""

from __future__ import annotations

from collections import Counter

import numpy as np
from ops_week import SERVICES

_PARTS = (*SERVICES, "restart", "restart, once the process has begun", "takeover")


def show(results, options, seconds, invariants):
    """Print the table; returns whether all is well and all parts were played."""
    rows = list(results.values())
    counts, wrong, outages = Counter(), Counter(), Counter()
    took = {}
    for row in rows:
        counts.update(row["counts"])
        outages.update(row["outages"])
        wrong.update(name for name, _ in row["wrong"])
        for name, found in row["took"].items():
            took.setdefault(name, []).extend(found)
    lags = sorted(lag for row in rows for lag in row["lags"])
    days = len(rows) * options.minutes / 1440
    wall = f" in {seconds / 60:.1f} min" if seconds else ""
    print(f"\nseed {options.seed}: {days:.2f} days of market at {options.speed:g} x in {len(rows)} parts{wall}\n")
    _lines(
        [
            ("slt killed with SIGKILL", sum(row["kills"] for row in rows)),
            ("stopped cleanly, of these with exit code 5", _codes(rows)),
            ("two started at once, of these one waited", f"{_sum(rows, 'pairs')}, {_sum(rows, 'waited')}"),
            *((f"{name} killed, paused, restarted", _outages(outages, name)) for name in SERVICES),
            ("orders, conditional orders, fills", f"{counts['order']}, {counts['algo']}, {counts['fill']}"),
            ("trades in the exchange's ledger", counts["ledger trades"]),
            ("trades in PostgreSQL", counts["trades"]),
            *((f"trades told by {name}, in a message or a digest", counts[f"{name} closes"]) for name in SERVICES[2:]),
            *((name, number) for name, number in sorted(counts.items()) if "doubles" in name or "digests" in name),
            ("trades closed by their deadline", counts["exit time_stop"]),
        ]
    )
    if lags:
        figures = 1_000 * np.quantile(lags, (0.5, 0.99, 1.0), method="higher")
        _lines([("loop lag p50, p99, most", ", ".join(f"{figure:.1f} ms" for figure in figures))])
    print(f"\n{'recovery, s':<52}{'times':>7}{'median':>9}{'longest':>9}")
    for name in _PARTS:
        if found := sorted(took.get(name, ())):
            print(f"{name:<52}{len(found):>7}{found[len(found) // 2]:>9.2f}{found[-1]:>9.2f}")
    print(f"\n{'invariant':<52}{'violations':>12}")
    for name in invariants:
        print(f"{name:<52}{wrong[name]:>12}")
    missing = [number for number in range(1, options.parts + 1) if str(number) not in results]
    if missing and options.part is None:
        print(f"\nNOT PLAYED: parts {missing}; the same command goes on with them")
    failing = sorted(int(number) for number, row in results.items() if row["wrong"])
    print(f"\nparts with a violation: {len(failing)}" + (f": {failing}" if failing else ""))
    return not failing and not (missing and options.part is None)


def _lines(pairs):
    for name, value in pairs:
        print(f"{name:<62}{value!s:>18}")


def _sum(rows, name):
    return sum(row[name] for row in rows)


def _codes(rows):
    codes = [code for row in rows for code in row["codes"]]
    return f"{len(codes)}, {sum(code == 5 for code in codes)}"


def _outages(outages, name):
    return ", ".join(str(outages[f"{name} {how}"]) for how in ("kill", "pause", "restart"))
