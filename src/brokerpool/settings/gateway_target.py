"""The gateway that the commands ask: where it is, the key for it, and who vouches for its certificate."""

from __future__ import annotations

from pydantic import Field, SecretStr

from brokerpool.settings.field_types import FileName, HttpUrl
from brokerpool.settings.settings_group import Group


class TargetSettings(Group):
    """What `stats`, `top`, `explain` and `plan` need to ask a gateway, also one on another machine."""

    gateway_url: HttpUrl = Field(
        "",
        alias="BROKERPOOL_GATEWAY_URL",
        description="The http_url of the gateway that `stats`, `top`, `explain` and `plan` ask; without it"
        " that of this machine.",
    )
    gateway_key: SecretStr = Field(
        SecretStr(""),
        alias="BROKERPOOL_GATEWAY_KEY",
        min_length=1,
        max_length=256,
        description="The key that these commands show, of scope `admin`; without it BROKERPOOL_API_KEY.",
    )
    gateway_ca: FileName = Field(
        "",
        alias="BROKERPOOL_GATEWAY_CA",
        description="Certificates in PEM that vouch for the gateway's; without it those that the system has.",
    )
