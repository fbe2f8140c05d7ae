"""The alert rules and the dashboard: valid, each alert with its section in the runbook, no metric made up."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from brokerpool.monitor.metric_vocabulary.field_descriptions import VOCABULARY
from brokerpool.monitor.stats import Kind

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "brokerpool.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "brokerpool.json"
SAMPLE = ROOT / "deploy" / "prometheus" / "prometheus.yml"
RUNBOOK = ROOT / "docs" / "how-to" / "runbook.md"

ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


def exposed() -> dict[str, set[str]]:
    """Return every name under which a sample can be asked for, with its labels."""
    names: dict[str, set[str]] = {}
    for field in VOCABULARY.fields:
        if not field.metric:
            continue
        labels = set(field.labels) | {"job", "instance"}
        if field.kind is Kind.HISTOGRAM:
            for part in ("_bucket", "_sum", "_count"):
                names[field.metric + part] = labels | {"le"}
        elif field.kind is Kind.TEXT:
            names[field.metric] = labels | {"state" if field.words else "version"}
        else:
            names[field.metric] = labels
    return names


def asked(expression: str) -> list[tuple[str, set[str]]]:
    """Return the metrics of ours in an expression, each with the labels by which it is chosen."""
    found = re.findall(r"\b(brokerpool_\w+)(?:\{([^}]*)\})?", expression)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen))) for name, chosen in found]


@pytest.mark.parametrize(
    ("name", "expression"), [*((a["alert"], a["expr"]) for a in ALERTS), *QUERIES], ids=lambda text: text[:40]
)
def test_each_expression_asks_for_metrics_and_labels_that_exist(name: str, expression: str) -> None:
    known = exposed()
    for metric, labels in asked(expression):
        assert metric in known, f"{name}: there is no {metric}"
        assert labels <= known[metric], f"{name}: {metric} has no label {labels - known[metric]}"
    assert asked(expression) or expression == 'up{job="brokerpool"} == 0'


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_has_a_summary_a_severity_and_a_section_in_the_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"].endswith(".")
    link, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert link == "{{ $externalLabels.runbook }}", (
        "where Prometheus puts an address that works from everywhere"
    )
    assert anchor == alert["alert"].lower()
    section = RUNBOOK.read_text("utf-8").partition(f"\n## {alert['alert']}\n")[2].partition("\n## ")[0]
    assert len(section.split()) > 20


def test_the_runbook_has_no_section_for_an_alert_that_is_gone() -> None:
    sections = re.findall(r"^## (Brokerpool\w+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    assert sections == [alert["alert"] for alert in ALERTS], "in the order of the rules"


def test_the_sample_of_prometheus_shows_a_key_of_the_narrowest_scope_and_gives_the_links_an_address() -> None:
    sample = yaml.safe_load(SAMPLE.read_text("utf-8"))
    (job,) = sample["scrape_configs"]
    assert job["job_name"] == "brokerpool"
    assert job["authorization"]["credentials_file"].startswith("/")
    assert "--scope metrics" in SAMPLE.read_text("utf-8")
    assert sample["rule_files"] == [RULES.name]
    runbook = sample["global"]["external_labels"]["runbook"]
    assert runbook.startswith("https://")
    assert runbook.endswith("/" + RUNBOOK.relative_to(ROOT / "docs").with_suffix(".html").as_posix())
    shown = re.findall(r"```yaml\n(.*?)```", RUNBOOK.read_text("utf-8"), re.DOTALL)
    assert [yaml.safe_load(text)["scrape_configs"] for text in shown] == [sample["scrape_configs"]]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    assert dashboard["schemaVersion"] >= 36
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance"}
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not squares & taken, f"{panel['title']} covers another panel"
        taken |= squares


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)
def test_promtool_accepts_the_rules() -> None:
    ran = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in ran.stdout
