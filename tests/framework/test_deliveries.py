"""The file of confirmed deliveries: what a restart knows of what was told."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from slt.errors import ConfigError
from slt.notify import Deliveries
from slt.testing.notifiers import make_notice


def opened(path, remember=100):
    deliveries = Deliveries(path, remember)
    return deliveries, deliveries.open()


def test_deliveries_reopened_are_known_by_channel_and_in_order(tmp_path):
    path = tmp_path / "delivered.jsonl"
    killed, known = opened(path)
    assert known == {}
    for number in (2, 1):
        killed.add("discord", make_notice(number))
    killed.add("telegram", make_notice(1))
    deliveries, known = opened(path)
    first, second = make_notice(1).id, make_notice(2).id
    assert known == {"discord": [second, first], "telegram": [first]}
    deliveries.close()
    killed.close()


def test_deliveries_torn_line_is_left_out_and_the_next_is_whole(tmp_path):
    path = tmp_path / "delivered.jsonl"
    path.write_bytes(b'["discord", "a"]\n["disc')
    deliveries, known = opened(path)
    assert known == {"discord": ["a"]}
    deliveries.add("discord", make_notice(1))
    deliveries.close()
    again, known = opened(path)
    again.close()
    assert known == {"discord": ["a", make_notice(1).id]}


def test_deliveries_that_are_damaged_are_reported_once_with_file_and_count(tmp_path, caplog):
    path = tmp_path / "delivered.jsonl"
    path.write_bytes(b'["discord", "a"]\n\xff\x00\r\x85garbage\n\n[1]\n["discord", "b"]\n')
    deliveries, known = opened(path)
    deliveries.close()
    assert known == {"discord": ["a", "b"]}
    (record,) = caplog.records
    assert record.slt_fields == {"file": str(path), "lines": 2}
    caplog.clear()
    again, _ = opened(path)
    again.close()
    assert caplog.records == []


def test_deliveries_keep_the_newest_of_each_channel(tmp_path):
    path = tmp_path / "delivered.jsonl"
    path.write_text("".join(f'["discord", "{number}"]\n' for number in range(10)) + '["telegram", "0"]\n')
    deliveries, known = opened(path, remember=3)
    deliveries.close()
    assert known == {"discord": ["7", "8", "9"], "telegram": ["0"]}
    assert len(path.read_text().splitlines()) == 4


def test_deliveries_in_a_folder_that_is_none_raise_config_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        opened(tmp_path / "file" / "delivered.jsonl")


@pytest.fixture
def room():
    """Limit the size that a file of this process may have, as a disk that fills up does."""
    resource = pytest.importorskip("resource", reason="file size limits are of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def room(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return room


def test_deliveries_line_cut_by_a_full_disk_is_told_and_spoils_no_later_one(tmp_path, room):
    path = tmp_path / "delivered.jsonl"
    deliveries, _ = opened(path)
    first, second, third = make_notice(1), make_notice(2), make_notice(3)
    deliveries.queue(first, 1.0)
    with room(path.stat().st_size + 20):
        with pytest.raises(OSError, match="No space left"):
            deliveries.queue(second, 2.0)
        with pytest.raises(OSError, match="File too large"):
            deliveries.queue(second, 2.0)
    deliveries.queue(third, 3.0)
    deliveries.add("discord", first)
    deliveries.close()
    again = Deliveries(path, 100, ["discord"])
    assert again.open() == {"discord": [first.id]}
    again.close()
    assert again.waiting == [(third, 3.0)]
