"""What a platform says of its services in the environment: no settings, and no cover for misspelt ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.errors import SettingsError
from brokerpool.settings import NAMES, GatewaySettings, Settings
from brokerpool.settings.platform_variables import without_links

OURS = {"BROKERPOOL_API_KEY": "gateway-key-0123456789", "BROKERPOOL_BROKER_API_KEY": "broker-key-0123"}


def kubernetes(service: str, address: str, **ports: int) -> dict[str, str]:
    """Return what a pod is told of a service, as Kubernetes' documentation describes it."""
    name = service.upper().replace("-", "_")
    first = next(iter(ports.values()))
    host = f"[{address}]" if ":" in address else address
    told = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(first)}
    told |= {f"{name}_SERVICE_PORT_{port.upper()}": str(number) for port, number in ports.items()}
    told[f"{name}_PORT"] = f"tcp://{host}:{first}"
    for number in ports.values():
        told |= {
            f"{name}_PORT_{number}_TCP": f"tcp://{host}:{number}",
            f"{name}_PORT_{number}_TCP_PROTO": "tcp",
            f"{name}_PORT_{number}_TCP_PORT": str(number),
            f"{name}_PORT_{number}_TCP_ADDR": address,
        }
    return told


@pytest.mark.parametrize("service", ["brokerpool", "brokerpool-rest", "brokerpool-broker", "websocket"])
@pytest.mark.parametrize("address", ["10.0.48.109", "fd00:10:96::1f"])
def test_a_service_that_is_named_as_the_gateway_changes_no_setting_and_is_no_fault(
    service: str, address: str
) -> None:
    told = kubernetes(service, address, ws=8765, rest=5000)
    assert Settings.load(environ=OURS | told) == Settings.load(environ=OURS)
    assert GatewaySettings.load(environ=told) == GatewaySettings.load(environ={})


def test_a_service_whose_variable_bears_the_name_of_a_setting_does_not_hide_what_the_file_says(
    tmp_path: Path,
) -> None:
    env_file = tmp_path / "a.env"
    env_file.write_text("BROKERPOOL_HTTP_PORT=5005\nWEBSOCKET_PORT=8800\n")
    told = kubernetes("brokerpool-http", "10.0.0.1", web=80) | kubernetes("websocket", "10.0.0.2", ws=80)
    settings = Settings.load(environ=OURS | told, env_file=env_file)
    assert (settings.http_port, settings.websocket_port) == (5005, 8800)
    # Only platforms write into the environment; what stands in a file, somebody wrote.
    env_file.write_text("BROKERPOOL_HTTP_PORT=tcp://10.0.0.1:80\nBROKERPOOL_PORT=tcp://10.0.0.1:80\n")
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ=OURS, env_file=env_file)
    assert "BROKERPOOL_HTTP_PORT must be" in str(caught.value)
    assert "BROKERPOOL_PORT is not a setting" in str(caught.value)


def test_a_container_that_is_linked_under_the_gateways_name_is_no_setting_either() -> None:
    told = {
        "BROKERPOOL_PORT": "tcp://172.17.0.5:8765",
        "BROKERPOOL_PORT_8765_TCP": "tcp://172.17.0.5:8765",
        "BROKERPOOL_NAME": "/strategy/brokerpool",
        "BROKERPOOL_ENV_PYTHON_VERSION": "3.12.1",
        "BROKERPOOL_ENV_BROKERPOOL_API_KEY": "of-the-other-container",
    }
    assert Settings.load(environ=OURS | told) == Settings.load(environ=OURS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKERPOOL_PORT", "8765"),
        ("BROKERPOOL_HTTP_PROT", "tcp://10.0.0.1:5000"),
        ("BROKERPOOL_SERVICE_HOST", "gateway.example"),
        ("BROKERPOOL_SERVICE_PORT", "http"),
        ("BROKERPOOL_HTTP_PORT_", "5000"),
        ("BROKERPOOL_NAME", "desk"),
        ("BROKERPOOL_ENV_FILE", "/etc/brokerpool.env"),
        ("BROKERPOOL_PORT_8765_TCP_PROTO", "http"),
    ],
)
def test_what_no_platform_would_write_is_told_as_before(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not a setting"):
        Settings.load(environ=OURS | {name: value})


@given(st.sampled_from(sorted(NAMES)), st.text(st.characters(exclude_characters=":/", codec="ascii")))
def test_no_value_that_a_setting_may_have_is_taken_for_a_platforms(name: str, value: str) -> None:
    assert without_links({name: value}) == {name: value}
