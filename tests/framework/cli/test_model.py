from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from slt.cli.root import root
from slt.errors import ModelError, SltError
from slt.storage.contract import Query
from slt.trading.registry import adopt, pile_of, promote_by_hand, roll_back
from slt.types import ModelVersion, Run
from slt_memory.storage import MemoryStorage, MemoryStorageConfig


def version(number, *, run=1, promoted=True, strategy="s", **options):
    metrics = options.pop("metrics", {})
    return ModelVersion(
        id=f"t-{run:03d}-{strategy}-v{number}",
        run_id=f"t-{run:03d}",
        strategy=strategy,
        version=number,
        schema_hash=options.pop("schema", "h"),
        fitted_time=1_700_000_000_000 + number,
        effective_time=1_700_000_000_000 + number,
        samples=100 + number,
        promoted=promoted,
        verdict="promoted: good" if promoted else "refused: bad",
        metrics=metrics,
        artefact=options.pop("artefact", b"model %d" % number),
    )


def demoted(number, to, **options):
    return version(number, metrics={"demotion": {"to_version": to}}, **options)


def numbers(rows):
    return [(row.run_id[-1], row.version) for row in pile_of(rows)]


# -- the rules -----------------------------------------------------------------------------------------------------


def test_pile_last_promotion_is_in_force_and_the_one_before_it_below():
    rows = [version(2, promoted=False), version(3), version(1)]
    assert numbers(rows) == [("1", 3), ("1", 1)]


def test_pile_newer_run_outranks_an_older_one_whatever_the_version():
    assert numbers([version(9, run=1), version(2, run=10)])[0] == ("0", 2)


def test_pile_demotion_to_the_predecessor_takes_one_off():
    assert numbers([version(1), demoted(2, 1)]) == [("1", 1)]


def test_pile_demotion_because_the_market_changed_clears_all_before():
    assert numbers([version(1), version(2), demoted(3, 0)]) == []
    assert numbers([version(1), demoted(2, 0), version(5)]) == [("1", 5)]


def test_pile_promotion_by_hand_wins_until_a_later_run_promotes():
    rows = [version(1, promoted=False), version(2)]
    rows[0] = promote_by_hand(rows[0], "t-001", rows)
    assert numbers(rows) == [("1", 1), ("1", 2)]
    assert numbers([*rows, version(3, run=2)])[0] == ("2", 3)


def test_pile_second_promotion_by_hand_wins_over_the_first():
    rows = [version(1), version(2), version(3)]
    rows[0] = promote_by_hand(rows[0], "t-001", rows)
    rows[1] = promote_by_hand(rows[1], "t-001", rows)
    assert numbers(rows)[0] == ("1", 2)


def test_pile_rollback_brings_the_one_before_back():
    rows = [version(1), roll_back(version(2))]
    assert numbers(rows) == [("1", 1)]
    rows[1] = promote_by_hand(rows[1], "t-001", rows)
    assert numbers(rows)[0] == ("1", 2)


def test_adopt_row_belongs_to_the_new_run_and_leaves_history_behind():
    row = adopt(promote_by_hand(version(4), "t-001", []), "t-002", 5)
    assert (row.id, row.run_id, row.effective_time, row.promoted) == ("t-002-s-v4", "t-002", 5, True)
    assert row.verdict.startswith("taken over from run t-001: ")
    assert "by_hand" not in row.metrics


# -- the commands --------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """A storage with one run and whatever versions the test puts there, and the command over it."""
    storage = MemoryStorage(MemoryStorageConfig())
    config = tmp_path / "config.toml"
    config.write_text('[run]\nname = "t"\n[plugins]\nfeed = "synthetic"\nstrategies = ["ema_cross"]\nsizer = "kelly"\n')

    def load(artefact):
        if artefact == b"broken":
            raise ModelError("model artefact: corrupt")

    plugins = SimpleNamespace(
        storage=SimpleNamespace(hooks=storage, name="memory", config=MemoryStorageConfig()),
        cache=None,
        model=SimpleNamespace(hooks=SimpleNamespace(slt_load_model=load)),
    )
    monkeypatch.setattr("slt.cli.stored.build_plugins", lambda _: plugins)
    monkeypatch.setattr("slt.cli.model.build_plugins", lambda _: plugins)

    class Shelf:
        folder = tmp_path

        def put(self, *records):
            async def work():
                await storage.slt_open_storage()
                run = Run(id="t-001", mode="backtest", started=0, config="", status="finished")
                await storage.slt_write_records(records=[run, *records])
                await storage.slt_close_storage()

            asyncio.run(work())

        def rows(self):
            async def work():
                await storage.slt_open_storage()
                return await storage.slt_read_records(query=Query(ModelVersion))

            return asyncio.run(work())

        def call(self, *args):
            done = CliRunner().invoke(root, ["model", *args, "--config", str(config)])
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception
            return done.output

    return Shelf()


def test_model_list_tells_what_became_of_each(shelf):
    shelf.put(version(1), version(2, promoted=False), demoted(3, 1), roll_back(version(4)))
    lines = [line.split("\t") for line in shelf.call("list").splitlines()]
    assert [(line[1].removeprefix("v"), line[4]) for line in lines[1:]] == [
        ("1", "promoted"),
        ("2", "refused"),
        ("3", "demoted"),
        ("4", "rolled back"),
    ]


def test_model_promote_puts_a_refused_version_in_force(shelf):
    shelf.put(version(1), version(2, promoted=False))
    assert "s v2 of run t-001 is promoted; it takes effect when the next run starts" in shelf.call("promote", "2")
    assert numbers(shelf.rows())[0] == ("1", 2)
    assert "promoted by hand" in shelf.call("list")


@pytest.mark.parametrize(
    ("artefact", "text"),
    [(b"broken", "s v1 cannot be used: model artefact: corrupt"), (b"", "s v1 has no artefact: promoted: good")],
)
def test_model_promote_refuses_what_cannot_be_used(shelf, artefact, text):
    shelf.put(version(1, artefact=artefact))
    with pytest.raises(SltError, match=text):
        shelf.call("promote", "1")
    assert "by_hand" not in shelf.rows()[0].metrics


def test_model_promote_unknown_version_names_those_stored(shelf):
    shelf.put(version(1))
    with pytest.raises(SltError, match=r"run t-001 has no model version 7 \(stored: s v1\)"):
        shelf.call("promote", "7")


def test_model_promote_version_of_two_strategies_wants_one_named(shelf):
    shelf.put(version(1), version(1, strategy="z"))
    with pytest.raises(SltError, match="version 1 exists for s, z; choose with --strategy"):
        shelf.call("promote", "1")
    assert "z v1 of run t-001 is promoted" in shelf.call("promote", "1", "--strategy", "z")


def test_model_rollback_goes_back_step_by_step_to_untrained(shelf):
    shelf.put(version(1), version(2))
    assert "s v2 of run t-001 is rolled back, v1 of run t-001 follows" in shelf.call("rollback")
    assert "s v1 of run t-001 is rolled back, UNTRAINED follows" in shelf.call("rollback")
    with pytest.raises(SltError, match="there is nothing to roll back"):
        shelf.call("rollback")


def test_model_export_writes_artefact_and_description_and_never_overwrites(shelf):
    shelf.put(version(1, metrics={"auc": 0.7}))
    path = shelf.folder / "best.model"
    assert "7 bytes" in shelf.call("export", "1", str(path))
    assert path.read_bytes() == b"model 1"
    told = json.loads((shelf.folder / "best.model.json").read_text())
    assert (told["id"], told["metrics"], told["schema_hash"]) == ("t-001-s-v1", {"auc": 0.7}, "h")
    with pytest.raises(SltError, match="exists; choose another name"):
        shelf.call("export", "1", str(path))


def test_model_export_folder_that_does_not_exist_is_one_line(shelf):
    shelf.put(version(1))
    with pytest.raises(SltError, match="cannot be written: No such file or directory"):
        shelf.call("export", "1", str(shelf.folder / "nowhere" / "x"))
