"""A real Prometheus that scrapes a gateway, with our alert rules in a hurry."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MISSING = shutil.which("prometheus") is None
HOW_TO_GET_IT = "prometheus is missing: apt-get install prometheus, or put its binary on the PATH"

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "deploy" / "prometheus" / "brokerpool.rules.yml").read_text("utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "brokerpool.json").read_text("utf-8"))
#: Alerts for a part of a cluster.
OF_CLUSTER = {
    "BrokerpoolBusAway",
    "BrokerpoolAccountUnheld",
    "BrokerpoolNoStandby",
    "BrokerpoolShardsDark",
    "BrokerpoolBusSlow",
}

#: What stands for minutes in the drill.
WINDOW = "4s"


def in_a_hurry(rules: str) -> str:
    """Return the rules with shorter windows: an alert fires at once, and the first dial is one too many."""
    rules = re.sub(r"for: \d+\w", "for: 0s", rules)
    rules = re.sub(r"\[\d+m\]", f"[{WINDOW}]", rules)
    return re.sub(r"> 3$", "> 0", rules, flags=re.MULTILINE)


def panel_queries(*, cluster: bool) -> list[tuple[str, str]]:
    """Return each query of the dashboard as Grafana would send it: those about a cluster, or all others."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", WINDOW).replace("$instance", ".*"))
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        if "certificate" not in target["expr"] and ("_cluster_" in target["expr"]) == cluster
    ]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=5) as response:
            return json.load(response)["data"]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        return {a["labels"]["alertname"] for a in self.get("alerts")["alerts"] if a["state"] == "firing"}

    def query(self, expression: str) -> list[Any]:
        """Return the series that an expression gives now."""
        found: list[Any] = self.get("query", query=expression)["result"]
        return found


@contextmanager
def prometheus(folder: Path, target: str, rules: str, *others: str) -> Iterator[Prometheus]:
    """Run Prometheus on a free port with its data in the folder, until the block ends."""
    (folder / "rules.yml").write_text(rules)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 300ms}\n"
        "rule_files: [rules.yml]\n"
        "scrape_configs:\n"
        f"  - {{job_name: brokerpool, static_configs: [{{targets: {[target, *others]}}}]}}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 20
        while not _ready(port):
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            assert time.monotonic() < deadline, "Prometheus was not ready within 20 s"
            time.sleep(0.1)
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(10)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1):
            return True
    except (OSError, urllib.error.URLError):
        return False
