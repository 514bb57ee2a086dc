"""Does it learn? The learner, its gate, its model and its demotion, on markets whose truth is known, and on real ones.

    python benchmarks/learning.py                          # everything but real candles, on all cores: about 40 minutes
    python benchmarks/learning.py --data ../shared/data    # real candles too
    python benchmarks/learning.py --quick                  # a few markets each, under a minute; proves that it runs
    python benchmarks/learning.py --only null --only drift

The simulated markets are those of `sample_markets.py`, played by `sample_player.py` through the real `Learner`, gate,
xgboost model and Kelly sizer with the defaults of config.toml. Seeds are fixed: those below are for the test only;
whatever was tried while the learner was built was tried on seeds from `DEVELOPMENT_SEEDS` on, and so is `--quick`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from attrs import evolve
from replay import config_text, table
from sample_markets import COST_RATE, make_market
from sample_player import TRADED, UNASKED, play

from slt.config import read_config
from slt.run.execution import Observer, execute
from slt.statistics import wilson_interval
from slt.storage.contract import Query
from slt.trading.scoring import area_under_curve, calibration_curve, calibration_error, log_loss
from slt.types import ModelVersion

DEVELOPMENT_SEEDS = 50_000
EDGES = {"0.63": 0.51, "0.69": 0.785, "0.74": 1.05}
"""Edge of `make_market` per oracle AUC, found on 16 markets of 60 days with seeds from 90,000 on."""
SEEDS = {
    "null": 11_000,
    "0.74": 14_000,
    "drift": 15_000,
    "shuffled": 16_000,
    "flipped": 17_000,
    "0.69": 13_000,
    "0.63": 12_000,
}
MARKETS = {"null": 40, "0.74": 80, "drift": 40, "shuffled": 40, "flipped": 60, "0.69": 40, "0.63": 40}
QUICK_MARKETS = {"null": 1, "0.74": 1, "drift": 1, "shuffled": 1, "flipped": 1}
DAYS = 30
"""A market of about 570 trades by UNTRAINED."""
DRIFT_DAYS, FLIP_DAY = 36, 18
NULL_TRADES = 500
SOON = 300
DRIFT_TRADES = 150
BINS = 10
HARM = 0.01
FLIP_BATCHES = (100, 150, 200, 250, 300)


# -- one market ----------------------------------------------------------------------------------------------------


def run_null(seed):
    return _without_edge(make_market(seed, DAYS), seed)


def run_shuffled(seed):
    """An edge is there, but the labels told belong to other trades."""
    market = make_market(seed, DAYS, EDGES["0.74"])
    order = np.random.default_rng(seed).permutation(len(market.time))
    return _without_edge(evolve(market, label_r=market.outcome_r[order]), seed)


def _without_edge(market, seed):
    played = play(market, seed=seed, until_trades=NULL_TRADES)
    traded = played.fate == TRADED
    risked = played.notional * market.stop_fraction
    return {
        "fits": played.fits,
        "changes": played.changes,
        "trades": int(traded.sum()),
        "net": float(played.pnl.sum()),
        "cost": float((played.notional * COST_RATE).sum()),
        "spread": float(np.sqrt(_block_variance(played.pnl[traded], risked[traded]))),
    }


def _block_variance(pnl, risked):
    """Variance of the sum of pnl, from blocks of 25 trades: those open together share the market's fate."""
    del risked
    sums = np.array([part.sum() for part in np.array_split(pnl - pnl.mean(), max(2, len(pnl) // 25))])
    return float((sums**2).sum())


def run_planted(seed, auc):
    market = make_market(seed, DAYS, EDGES[auc])
    played = play(market, seed=seed)
    promoted = [fit for fit in played.fits if fit["promoted"]]
    seen = played.fate != UNASKED
    predicted = seen & ~np.isnan(played.p)
    result = {
        "fits": played.fits,
        "changes": played.changes,
        "trades": int((played.fate == TRADED).sum()),
        "score": market.score,
        "won": market.outcome_r > 0,
        "p": played.p[predicted],
        "p_won": market.outcome_r[predicted] > 0,
        "first": promoted[0]["closed"] if promoted else None,
    }
    if promoted:
        untrained = play(market, seed=seed, learns=False)
        after = market.time >= promoted[0]["time"]
        result["net"] = float(played.pnl[after].sum())
        result["net_untrained"] = float(untrained.pnl[after].sum())
        result["after"] = int((played.fate[after] == TRADED).sum()), int((untrained.fate[after] == TRADED).sum())
    return result


def run_drift(seed):
    market = make_market(seed, DRIFT_DAYS, EDGES["0.74"], FLIP_DAY)
    played = play(market, seed=seed)
    flip = int(np.searchsorted(market.time, market.flip_time))
    closed, in_force = int(played.closed[flip]), int(played.version[flip])
    later = [c for c in played.changes if c["time"] > market.flip_time]
    before = [c for c in played.changes if c["time"] <= market.flip_time and c["word"] == "demoted"]
    return {
        "in_force": in_force,
        "left_after": later[0]["closed"] - closed if in_force and later else None,
        "how": later[0]["word"] if in_force and later else None,
        "false_demotions": len(before),
        "decided": int(((played.version > 0) & (played.fate != UNASKED))[:flip].sum()),
        "again": next((c["closed"] - closed for c in later if c["word"] == "promoted" and c["to"] > in_force), None),
    }


def run_flipped(seed):
    """One batch of 50 closed trades told the wrong way round, against the same market told right."""
    market = make_market(seed, DAYS, EDGES["0.74"])
    first = FLIP_BATCHES[seed % len(FLIP_BATCHES)]
    clean = play(market, seed=seed)
    poisoned = play(market, seed=seed, flip_batch=(first, first + 50))
    fit = next((f for f in poisoned.fits if f["closed"] >= first + 50), None)
    if fit is None:
        return {"harm": None}
    later = (market.time >= fit["time"]) & (clean.fate != UNASKED)
    share = _known_share(market, clean.fate)
    won = market.outcome_r[later] > 0
    said = {"before": poisoned.p_before, "clean": clean.p, "poisoned": poisoned.p}
    losses = {name: log_loss(np.where(np.isnan(p), share, p)[later], won) for name, p in said.items()}
    return {
        "harm": float((losses["poisoned"] - losses["before"]).mean()),
        "behind_twin": float((losses["poisoned"] - losses["clean"]).mean()),
        "later": int(later.sum()),
        "batch": first,
        "had_model": not bool(np.isnan(poisoned.p_before).all()),
        "demoted": sum(c["word"] == "demoted" for c in poisoned.changes),
    }


def _known_share(market, fate):
    """What UNTRAINED knows: the share of wins among the decisions resolved so far."""
    rows = np.flatnonzero(fate != UNASKED)
    rows = rows[np.argsort(market.resolved_time[rows], kind="stable")]
    wins = np.concatenate([[0], np.cumsum(market.outcome_r[rows] > 0)])
    known = np.searchsorted(market.resolved_time[rows], market.time, side="right")
    return (wins[known] + 0.5) / (known + 1.0)


RUNNERS = {"null": run_null, "shuffled": run_shuffled, "drift": run_drift, "flipped": run_flipped}


def run_job(job):
    name, seed = job
    return name, (run_planted(seed, name) if name in EDGES else RUNNERS[name](seed))


# -- real candles --------------------------------------------------------------------------------------------------


def run_real(job):
    name, data = job
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.write_text(config_text(name, data, "memory", folder))
        kept = []
        observer = Observer(started=kept.append, progressed=lambda _: None, stopping=lambda: False)

        async def work():
            outcome = await execute(read_config(path, {}), observer)
            storage = kept[0].plugins.storage.hooks
            await storage.slt_open_storage()
            return outcome.summary, await storage.slt_read_records(query=Query(ModelVersion))

        summary, models = asyncio.run(work())
    return name, summary, [evolve(model, artefact=b"") for model in models]


# -- what came of it -----------------------------------------------------------------------------------------------


def share(hits, of, digits=0):
    """Share with its 95 % Wilson interval."""
    if not of:
        return "none"
    low, high = wilson_interval(hits, of)
    return f"{hits}/{of} = {hits / of:.{digits}%} [{low:.{digits}%}, {high:.{digits}%}]"


def tell_without_edge(name, runs):
    judged = [fit for run in runs for fit in run["fits"] if fit["judged"]]
    decisions = [fit for run in runs for fit in run["fits"]]
    promoted = sum(fit["promoted"] for fit in decisions)
    ever = sum(any(fit["promoted"] for fit in run["fits"]) for run in runs)
    yield (
        name,
        "promoted per gate decision",
        share(promoted, len(decisions), 1),
        "<= 2 %",
        promoted <= 0.02 * len(decisions),
    )
    yield name, "the same, of those with enough samples", share(promoted, len(judged), 1), "", None
    yield name, "markets promoted ever", share(ever, len(runs)), "<= 10 %", ever <= 0.1 * len(runs)
    if name == "null":
        net, cost = sum(r["net"] for r in runs), sum(r["cost"] for r in runs)
        error = 1.96 * np.sqrt(sum(r["spread"] ** 2 for r in runs))
        found = f"{net:+.0f} against {-cost:+.0f} ± {error:.0f} USDT, {sum(r['trades'] for r in runs)} trades"
        yield name, "net result = costs", found, "inside", abs(net + cost) <= error


def tell_planted(auc, runs):
    barred, name = auc == "0.74", f"planted {auc}"
    oracle = area_under_curve(np.concatenate([r["score"] for r in runs]), np.concatenate([r["won"] for r in runs]))
    yield (
        name,
        "oracle AUC",
        f"{oracle:.3f}",
        "0.74 ± 0.01" if barred else "",
        abs(oracle - 0.74) <= 0.01 if barred else None,
    )
    first = [r["first"] for r in runs if r["first"] is not None]
    soon = sum(f <= SOON for f in first)
    decisions = sum(len(r["fits"]) for r in runs)
    bar = (">= 80 %", soon >= 0.8 * len(runs)) if barred else ("", None)
    yield name, f"promoted within {SOON} trades", share(soon, len(runs)), *bar
    yield name, "promoted ever", share(len(first), len(runs)), "", None
    yield (
        name,
        "promoted per gate decision",
        share(sum(f["promoted"] for r in runs for f in r["fits"]), decisions),
        "",
        None,
    )
    if not first:
        return
    yield (
        name,
        "trades until promotion",
        "quartiles " + ", ".join(f"{q:.0f}" for q in np.quantile(first, (0.25, 0.5, 0.75))),
        "",
        None,
    )
    traded = [r for r in runs if r["first"] is not None]
    better = sum(r["net"] > r["net_untrained"] for r in traded)
    bar = (">= 80 %", better >= 0.8 * len(traded)) if barred else ("", None)
    yield name, "net PnL after promotion > UNTRAINED", share(better, len(traded)), *bar
    yield name, "median net PnL after promotion", _money(traded), "", None
    demoted = sum(c["word"] == "demoted" for r in runs for c in r["changes"])
    p, won = np.concatenate([r["p"] for r in runs]), np.concatenate([r["p_won"] for r in runs])
    yield name, "demotions (all mistaken)", f"{demoted} in {len(p):,} decisions of models", "", None
    yield from _tell_calibration(name, p, won, barred=barred)


def _money(traded):
    own, other = (np.median([r[key] for r in traded]) for key in ("net", "net_untrained"))
    trades = [int(np.median([r["after"][i] for r in traded])) for i in (0, 1)]
    return f"{own:+.0f} USDT in {trades[0]} trades, UNTRAINED {other:+.0f} in {trades[1]}"


def _tell_calibration(name, p, won, *, barred):
    curve = calibration_curve(p, won, BINS)
    error = calibration_error(curve)
    bar = ("<= 0.05", error <= 0.05 and len(p) >= 5_000) if barred else ("", None)
    yield name, f"ECE, {BINS} equal-count bins", f"{error:.3f} on {len(p):,} predictions", *bar
    yield name, "predicted -> observed", " ".join(f"{b['predicted']:.2f}->{b['observed']:.2f}" for b in curve), "", None
    gain = log_loss(np.full(len(won), won.mean()), won).mean() - log_loss(p, won).mean()
    yield name, "AUC of the model, gain in log-loss", f"{area_under_curve(p, won):.3f}, {gain:+.4f}", "", None


def tell_drift(runs):
    there = [r for r in runs if r["in_force"]]
    left = [r["left_after"] for r in there if r["left_after"] is not None]
    soon = sum(x <= DRIFT_TRADES for x in left)
    yield "drift", "a model was in force at the flip", share(len(there), len(runs)), "", None
    yield (
        "drift",
        f"demoted or replaced within {DRIFT_TRADES} trades",
        share(soon, len(there)),
        ">= 80 %",
        soon >= 0.8 * len(there),
    )
    yield "drift", "of them demoted", share(sum(r["how"] == "demoted" for r in there), len(there)), "", None
    if left:
        yield (
            "drift",
            "trades until then",
            "quartiles " + ", ".join(f"{q:.0f}" for q in np.quantile(left, (0.25, 0.5, 0.75))),
            "",
            None,
        )
    again = [r["again"] for r in there if r["again"] is not None]
    text = share(len(again), len(there)) + (f", median {np.median(again):.0f} trades after the flip" if again else "")
    yield "drift", "a new model promoted after it", text, "", None
    decided = sum(r["decided"] for r in runs)
    yield (
        "drift",
        "demotions before the flip (mistaken)",
        f"{sum(r['false_demotions'] for r in runs)} in {decided:,} decisions of models",
        "",
        None,
    )


def tell_flipped(runs):
    runs = [r for r in runs if r["harm"] is not None]
    harm, behind = (np.array([r[key] for r in runs]) for key in ("harm", "behind_twin"))
    fine, name = int((harm <= HARM).sum()), "flipped"
    what = f"in force after it: at most {HARM} worse in log-loss than in force before it"
    yield name, what, share(fine, len(runs)), ">= 90 %", fine >= 0.9 * len(runs)
    yield name, "difference: median, 90 %, worst", _quantiles(harm), "", None
    trained = [r["harm"] for r in runs if r["had_model"]]
    fine = sum(h <= HARM for h in trained)
    yield name, "the same, where a model was in force before it", share(fine, len(trained)), "", None
    fine = int((behind <= HARM).sum())
    yield name, f"at most {HARM} behind the twin without the batch", share(fine, len(runs)), "", None
    yield name, "difference: median, 90 %, worst", _quantiles(behind), "", None
    yield name, "demotions", str(sum(r["demoted"] for r in runs)), "", None


def _quantiles(values):
    return ", ".join(f"{q:+.4f}" for q in np.quantile(values, (0.5, 0.9, 1.0)))


def tell(name, runs):
    if name in EDGES:
        return list(tell_planted(name, runs))
    if name in {"null", "shuffled"}:
        return list(tell_without_edge(name, runs))
    return list({"drift": tell_drift, "flipped": tell_flipped}[name](runs))


def tell_real(name, summary, models):
    decisions = len(models)
    print(f"\nreal ({name}): {summary.trades} trades, net {summary.net_pnl:+.2f} USDT, {decisions} gate decisions")
    rows = []
    for model in models:
        found = model.metrics.get("base_rate")
        if found is None:
            rows.append([f"v{model.version}", model.samples, "", "", "", "", "", model.verdict[:60]])
            continue
        gain = found["baseline_log_loss"] - found["log_loss"]
        low, high = found["gain_interval"]
        word = "promoted" if model.promoted else "refused"
        rows.append(
            [
                f"v{model.version}",
                model.samples,
                found["scored"],
                f"{found['log_loss']:.4f}",
                f"{found['baseline_log_loss']:.4f}",
                f"{gain:+.4f} [{low:+.4f}, {high:+.4f}]",
                f"{found['p_log_loss']:.3f}",
                word,
            ]
        )
    table(["version", "samples", "scored", "log-loss", "base rate", "gain, 95 % interval", "p", "gate"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=[*MARKETS, "real"])
    parser.add_argument("--data", help="folder of the recorded candles")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    began = time.perf_counter()
    markets = QUICK_MARKETS if args.quick else MARKETS
    names = [name for name in markets if not args.only or name in args.only]
    seeds = dict.fromkeys(SEEDS, DEVELOPMENT_SEEDS) if args.quick else SEEDS
    jobs = [(name, seeds[name] + i) for name in names for i in range(markets[name])]
    runs = {name: [] for name in names}
    real = [(name, args.data) for name in "abc"] if args.data and (not args.only or "real" in args.only) else []
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
    if args.quick:
        print("quick: too few markets for a verdict; the bars below are those of the full form")
    with ProcessPoolExecutor(args.processes) as pool:
        for done, (name, result) in enumerate(pool.map(run_job, jobs), 1):
            runs[name].append(result)
            if sys.stderr.isatty():
                print(f"\r{done}/{len(jobs)} markets", end="", file=sys.stderr, flush=True)
        rows = [row for name in names for row in tell(name, runs[name])]
        verdicts = {None: "", True: "holds", False: "FALLS SHORT"}
        table(
            ["experiment", "what", "found", "bar", ""],
            [[*row[:4], verdicts[None if row[4] is None else bool(row[4])]] for row in rows],
        )
        for name, summary, models in pool.map(run_real, real):
            tell_real(name, summary, models)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
