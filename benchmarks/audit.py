"""Does an audit catch those that cheat, and leave those alone that do not: two figures, and how long it takes.

    python benchmarks/audit.py                      the full form: 100 seeds, about an hour and a half on 2 cores
    python benchmarks/audit.py --seeds 3            the same with fewer seeds
    python benchmarks/audit.py --ship               write the certificates that ship with slt's own plugins

The leaking and the honest plugins are those of ``tests/framework/audit``. Every audit asks every law, but for the two
that start other processes, which depend on no seed: they are asked with the first `PROCESS_SEEDS` seeds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "framework" / "audit"))
PROCESS_LAWS = ("restart", "determinism")
PROCESS_SEEDS = 2


def shipped():
    """The feature sets and strategies that come with slt, with the options of a back-test and of live trading."""
    from slt.audit.choosing import choose_subjects
    from slt_strategies.ict_smc import IctSmcConfig

    named = ("features:ict", "strategies:ict_smc", "strategies:ema_cross")
    subjects = [s for name in named for s in choose_subjects(name, None, (), 60_000)]
    import attrs

    return [*subjects, attrs.evolve(subjects[1], config=IctSmcConfig(relaxed=False))]


def honest():
    """The shipped ones and those of the tests."""
    import honest_plugins

    from slt.audit import Subject

    kinds = (("features", honest_plugins.FEATURES), ("strategies", honest_plugins.STRATEGIES))
    return shipped() + [
        Subject(kind=kind, name=cls.__name__, cls=cls, config=cls.config_class())
        for kind, many in kinds
        for cls in many
    ]


def leaking():
    """Pairs of a plugin that breaks laws and the laws it must break."""
    import leaking_plugins

    from slt.audit import Subject

    return [
        (
            Subject(
                kind="strategies" if hasattr(cls, "slt_propose_trades") else "features",
                name=cls.__name__,
                cls=cls,
                config=cls.config_class(),
            ),
            laws,
        )
        for cls, laws in leaking_plugins.LEAKS.items()
    ]


def audited(kind, place, seed):
    """One audit in a worker: the plugin's name, its broken laws with their texts, and the seconds it took."""
    from slt.audit import LAWS, Lab, conduct

    subject = honest()[place] if kind == "honest" else leaking()[place][0]
    needed = leaking()[place][1] if kind == "leaking" else ()
    only = [law for law in LAWS if law not in PROCESS_LAWS or seed <= PROCESS_SEEDS or law in needed]
    begin = time.perf_counter()
    judged = conduct(Lab(subject, seed=seed), only=only)
    broken = {j.law: j.finding.text for j in judged if j.finding.verdict in {"broken", "failed"}}
    return str(subject), broken, time.perf_counter() - begin


def run_all(pool, kind, count, seeds):
    jobs = [(place, seed) for seed in seeds for place in range(count)]
    futures = [pool.submit(audited, kind, place, seed) for place, seed in jobs]
    for done, (job, future) in enumerate(zip(jobs, futures, strict=True), 1):
        if sys.stderr.isatty() or done % 100 == 0:
            print(f"{kind}: {done} of {len(jobs)} audits", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr)
        yield job, future.result()


def report_leaking(pool, seed):
    expected = leaking()
    caught = 0
    print(f"{'plugin':<44}{'must break':<38}{'broken laws':>12}")
    for (place, _), (name, broken, _) in run_all(pool, "leaking", len(expected), [seed]):
        laws = expected[place][1]
        missed = [law for law in laws if law not in broken]
        caught += not missed
        print(f"{name:<44}{', '.join(laws):<38}{len(broken):>12}" + (f"  MISSED {missed}" if missed else ""))
    print(f"\nleaking plugins caught, each by the laws expected: {caught} of {len(expected)}")
    return caught == len(expected)


def report_honest(pool, seeds):
    subjects = honest()
    times, alarms = {}, []
    for (place, seed), (name, broken, spent) in run_all(pool, "honest", len(subjects), seeds):
        times.setdefault((place, name), []).append(spent)
        found = [f"{name} seed {seed}: {law}: {text}" for law, text in broken.items()]
        for alarm in found:
            print(alarm, file=sys.stderr, flush=True)
        alarms += found
    print(f"\n{'honest plugin':<44}{'audits':>8}{'median s':>10}")
    for (_, name), spent in times.items():
        print(f"{name:<44}{len(spent):>8}{sorted(spent)[len(spent) // 2]:>10.1f}")
    total = sum(map(len, times.values()))
    print(f"\nfalse alarms: {len(alarms)} of {total} audits ({len(subjects)} plugins x {len(seeds)} seeds)")
    for alarm in alarms:
        print(f"  {alarm}")
    return not alarms


def ship():
    """Audit the shipped plugins and write their certificates into their packages."""
    from slt.audit import Lab, certify, conduct
    from slt.audit.certificates import FOLDER, package_folder

    is_fine = True
    for subject in shipped():
        lab = Lab(subject)
        certificate = certify(lab, conduct(lab), date=datetime.now(UTC).isoformat(timespec="seconds"))
        folder = package_folder(subject.target) / FOLDER
        others = [c for c in folder.glob(f"{subject.kind}-{subject.name}-*.json") if str(c) not in WRITTEN]
        for old in others:
            old.unlink()
        path = certificate.write(folder)
        WRITTEN.add(str(path))
        print(f"{path.relative_to(ROOT)}: {'every law holds' if certificate.passed else 'BROKEN'}")
        is_fine &= certificate.passed
    return is_fine


WRITTEN = set()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--ship", action="store_true")
    options = parser.parse_args()
    if options.ship:
        sys.exit(0 if ship() else 1)
    with ProcessPoolExecutor(options.jobs) as pool:
        is_fine = report_leaking(pool, 1)
        is_fine &= report_honest(pool, range(1, options.seeds + 1))
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
