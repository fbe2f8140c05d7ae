"""The settings of where connections to the broker leave from: proxy, source address, address family."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from brokerpool.egress import DIRECT, Egress, Family, parse_proxy
from brokerpool.settings.settings_group import Group


def _proxy(url: SecretStr) -> SecretStr:
    if url.get_secret_value() not in ("", DIRECT):
        parse_proxy(url.get_secret_value())
    return url


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("this is no IP address") from None


class EgressSettings(Group):
    """Where dials, calls and the instrument list leave from, all of them alike."""

    proxy: Annotated[SecretStr, AfterValidator(_proxy)] = Field(
        SecretStr(""),
        alias="BROKERPOOL_PROXY",
        description="The HTTP proxy on the way to the broker; without it HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"
        " and NO_PROXY of the environment count.",
        json_schema_extra={"allowed": "http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, or direct"},
    )
    source_address: Annotated[str, AfterValidator(_address)] = Field(
        "",
        alias="BROKERPOOL_SOURCE_ADDRESS",
        json_schema_extra={"allowed": "an IP address of this machine"},
        description="The address from which the broker is called, where the machine has several: the one that"
        " is registered at the broker.",
    )
    address_family: Family = Field(
        "any",
        alias="BROKERPOOL_ADDRESS_FAMILY",
        description="The family over which the broker is called; a source address settles it too.",
    )

    @field_validator("address_family")
    @classmethod
    def _family(cls, family: Family, info: ValidationInfo) -> Family:
        Egress(source_address=info.data.get("source_address") or None, family=family)  # raises ValueError
        return family

    @property
    def egress(self) -> Egress:
        """The one object that dials, calls and the instrument list share."""
        return Egress(
            proxy=self.proxy.get_secret_value() or None,
            source_address=self.source_address or None,
            family=self.address_family,
        )
