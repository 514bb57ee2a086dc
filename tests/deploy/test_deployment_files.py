"""The deployment files: what they name exists, the unit is one that systemd takes, the health check tells the truth."""

from __future__ import annotations

import configparser
import http.server
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import tomllib
from pathlib import Path

import pytest

from slt.errors import AuditError, ConfigError, PluginError, StoppedError
from slt.lifecycle import WATCHDOG_EXIT_CODE
from slt.run.supervision import STOPS

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()


def load(name):
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dockerfile_copies_what_exists_and_what_the_ignore_file_lets_through():
    sources = [source for source, _ in load("check_image").copies(DOCKERFILE)]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
    assert set(sources) == allowed


def test_dockerfile_copies_every_package_of_the_wheel():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {source for source, _ in load("check_image").copies(DOCKERFILE)}
    assert {package.partition("/")[0] for package in wheel["packages"]} <= copied


def test_dockerfile_ends_slim_without_rights_and_with_a_health_check():
    stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert stage.startswith("python:3.12-slim\n")
    assert stage.index("useradd") < stage.index("USER slt") < stage.index("ENTRYPOINT")
    assert "HEALTHCHECK" in stage
    assert 'CMD ["python", "/opt/slt/healthcheck.py"]' in stage
    assert not re.search("KEY|TOKEN|SECRET|PASSWORD|DATABASE_URL", DOCKERFILE)


def test_image_compiles_its_kernels_where_no_volume_hides_them_and_its_user_may_add_more():
    stage = DOCKERFILE.rpartition("\nFROM ")[2]
    (folder,) = re.findall(r"NUMBA_CACHE_DIR=(\S+)", stage)
    volumes = re.findall(r"^VOLUME (\S+)", stage, re.MULTILINE)
    assert volumes
    assert not any(folder.startswith(volume) for volume in volumes)
    assert f"RUN install -d -o slt {folder}\n" in stage.partition("\nUSER slt")[0]
    (step,) = load("check_image").last_steps(DOCKERFILE)
    assert "slt doctor --config /etc/slt/config.toml" in step
    chosen = tomllib.loads((ROOT / "config.toml").read_text())["plugins"]["features"]
    assert chosen == ["ict"], "the feature sets of the image's configuration are those that are compiled"


def test_doctor_command_of_the_unit_fills_the_folder_that_the_unit_uses():
    (folder,) = re.findall(r"NUMBA_CACHE_DIR=(\S+)", unit()["Service"]["Environment"])
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
    assert f"sudo -u slt env NUMBA_CACHE_DIR={folder} /opt/slt/bin/slt doctor" in page


def test_every_supervisor_waits_longer_than_a_stop_takes():
    longest = 5.0 + sum(deadline for _, deadline in STOPS.values())
    railway = tomllib.loads((ROOT / "railway.toml").read_text())["deploy"]
    assert longest <= 20.0
    assert railway["drainingSeconds"] > longest
    assert int(unit()["Service"]["TimeoutStopSec"]) > longest


def test_railway_builds_the_dockerfile_and_keeps_one_replica():
    railway = tomllib.loads((ROOT / "railway.toml").read_text())
    assert (ROOT / railway["build"]["dockerfilePath"]) == DEPLOY / "Dockerfile"
    assert railway["deploy"]["numReplicas"] == 1


def unit():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(DEPLOY / "slt.service")
    return parser


def test_unit_restarts_what_time_can_help_and_nothing_else():
    service = unit()["Service"]
    back, over = service["RestartForceExitStatus"].split(), service["RestartPreventExitStatus"].split()
    assert [int(code) for code in back] == [StoppedError.exit_code, WATCHDOG_EXIT_CODE]
    assert [int(code) for code in over] == [ConfigError.exit_code, PluginError.exit_code, AuditError.exit_code]
    assert service["User"] == "slt"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_unit_passes_systemd_analyze(tmp_path):
    text = (DEPLOY / "slt.service").read_text()
    here = tmp_path / "slt.service"
    here.write_text(
        text.replace("/opt/slt/bin/slt", str(Path(sysconfig.get_path("scripts"), "slt")))
        .replace("User=slt", "User=root")
        .replace("Group=slt", "Group=root")
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", here], check=False, capture_output=True, text=True, timeout=60
    )
    said = [line for line in done.stderr.splitlines() if "slt.service" in line]
    assert (done.returncode, said) == (0, []), done.stderr


class Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_healthcheck_says_what_the_server_says(status, code):
    handler = type("Answer", (Health,), {"status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert healthcheck(server.server_port).returncode == code
        server.shutdown()


def test_healthcheck_without_a_server_says_so():
    done = healthcheck(1)
    assert done.returncode == 1
    assert done.stderr.startswith("no health on port 1: ")


def healthcheck(port):
    command = [sys.executable, "-I", DEPLOY / "healthcheck.py"]
    environment = {"SLT_HEALTH__PORT": str(port)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
