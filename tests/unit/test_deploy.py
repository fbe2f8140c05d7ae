"""Promises of the files in deploy/: they name settings, paths and ports that are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest

from brokerpool.cluster.nats_server import program
from brokerpool.settings import NAMES, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ENV_FILE = "/etc/brokerpool/brokerpool.env"


def default(name: str) -> str:
    return str(Settings.model_fields[name].default)


def test_compose_sets_settings_that_exist_and_publishes_the_default_ports_on_this_machine_only() -> None:
    gateway = msgspec.yaml.decode((DEPLOY / "compose.yaml").read_bytes())["services"]["gateway"]
    assert set(gateway["environment"]) <= NAMES
    ports = [default("websocket_port"), default("http_port")]
    assert gateway["ports"] == [f"127.0.0.1:{port}:{port}" for port in ports]
    assert f":{default('http_port')}/health/live" in gateway["healthcheck"]["test"][-1]
    build = gateway["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_health_check_of_the_container_is_a_python_program() -> None:
    gateway = msgspec.yaml.decode((DEPLOY / "compose.yaml").read_bytes())["services"]["gateway"]
    how, python, option, program = gateway["healthcheck"]["test"]
    assert (how, python, option) == ("CMD", "python", "-c")
    compile(program, "compose.yaml", "exec")


def test_the_image_is_made_of_files_that_exist_and_that_reach_the_builder() -> None:
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    names = {name for line in copied for name in line.split()}
    assert {"src", "pyproject.toml"} <= names
    assert all((ROOT / name).exists() for name in names)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == names


def test_the_unit_and_the_image_run_the_same_command_and_keep_secrets_out_of_the_environment() -> None:
    unit = (DEPLOY / "brokerpool.service").read_text("utf-8")
    start = re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    assert start is not None
    arguments = ["serve", "--env-file", ENV_FILE]
    assert shlex.split(start[1])[1:] == arguments
    assert not re.search(r"^EnvironmentFile=", unit, re.MULTILINE)
    image = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    assert f"CMD {msgspec.json.encode(arguments).decode()}".replace(",", ", ") in image


def test_the_parts_of_a_cluster_have_settings_that_exist_and_their_commands() -> None:
    services = msgspec.yaml.decode((DEPLOY / "cluster" / "compose.yaml").read_bytes())["services"]
    assert set(services) == {"nats", "feed-1", "feed-2", "gateway-1", "gateway-2"}
    for name, service in services.items():
        if name == "nats":
            continue
        assert set(service["environment"]) <= NAMES
        kind = name.partition("-")[0]
        command = "serve" if kind == "gateway" else kind
        assert service["command"] == [command, "--env-file", f"/etc/brokerpool/{kind}.env"]
        port = service["environment"].get("BROKERPOOL_STATUS_PORT", default("http_port"))
        assert f":{port}/health/live" in service["healthcheck"]["test"][-1]
        build = service["build"]
        assert (DEPLOY / "cluster" / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
    for file, command, settings in (
        ("brokerpool-feed.service", "feed", "feed.env"),
        ("brokerpool-gateway@.service", "serve", "gateway.env"),
    ):
        unit = (DEPLOY / "cluster" / file).read_text("utf-8")
        start = re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)
        assert start is not None
        assert shlex.split(start[1])[1:] == [command, "--env-file", f"/etc/brokerpool/{settings}"]
        given = re.search(r"^Environment=(.+)$", unit, re.MULTILINE)
        assert {word.partition("=")[0] for word in (given[1].split() if given else ())} <= NAMES


@pytest.mark.skipif(program() is None, reason="needs the program nats-server")
def test_nats_takes_its_configuration(tmp_path: Path) -> None:
    path = program()
    assert path is not None
    text = (DEPLOY / "cluster" / "nats.conf").read_text("utf-8").replace("/var/lib/nats", str(tmp_path))
    (tmp_path / "nats.conf").write_text(text)
    ran = subprocess.run(
        [path, "-t", "-c", str(tmp_path / "nats.conf")],
        env={**os.environ, "HOSTNAME": "nats-1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
