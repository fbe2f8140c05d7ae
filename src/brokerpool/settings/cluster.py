"""The settings of a cluster: where NATS is, how it is logged in to, and what this process is called there."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from brokerpool.settings.field_types import FileName, Port, words
from brokerpool.settings.settings_group import Group

_URL = re.compile(r"(nats|tls)://([^\s/@]+@)?[^\s/@]+/?")
_NAME = r"^[a-z0-9][a-z0-9-]{0,31}$"
_NAME_ALLOWED = "1 to 32 lower-case letters, digits and hyphens"


def _servers(urls: SecretStr) -> SecretStr:
    given = words(urls.get_secret_value())
    if not given or not all(_URL.fullmatch(url) for url in given):
        raise ValueError("one of the URLs is none of a NATS server: begin with nats:// or tls://, no path")
    return urls


class ClusterSettings(Group):
    """NATS, which joins feed nodes and gateways on many machines; without a URL there is no cluster."""

    nats_url: Annotated[SecretStr, AfterValidator(_servers)] = Field(
        SecretStr(""),
        alias="BROKERPOOL_NATS_URL",
        json_schema_extra={"allowed": "nats:// or tls:// URLs separated by commas"},
        description="The NATS servers of the cluster; with it `serve` is a gateway that has its ticks from"
        " feed nodes and needs no broker's credentials.",
    )
    nats_credentials_file: FileName = Field(
        "",
        alias="BROKERPOOL_NATS_CREDENTIALS_FILE",
        description="The credentials file (JWT and seed) of this process's user at NATS.",
    )
    nats_nkey_file: FileName = Field(
        "",
        alias="BROKERPOOL_NATS_NKEY_FILE",
        description="The seed of this process's nkey at NATS, alone in a file.",
    )
    nats_ca_file: FileName = Field(
        "",
        alias="BROKERPOOL_NATS_CA_FILE",
        description="Certificates that vouch for the NATS servers (PEM), where the system's do not; makes the"
        " line TLS also with a nats:// URL.",
    )
    nats_cert_file: FileName = Field(
        "",
        alias="BROKERPOOL_NATS_CERT_FILE",
        description="This process's own certificate (PEM), where the NATS servers ask for one.",
    )
    nats_key_file: FileName = Field(
        "",
        alias="BROKERPOOL_NATS_KEY_FILE",
        description="The private key of that certificate (PEM, not encrypted).",
    )
    nats_replicas: Annotated[int, Field(ge=1, le=5)] = Field(
        1,
        alias="BROKERPOOL_NATS_REPLICAS",
        description="How many NATS servers keep each lease; not more than there are servers.",
    )
    cluster: Annotated[str, Field(pattern=_NAME, json_schema_extra={"allowed": _NAME_ALLOWED})] = Field(
        "brokerpool",
        alias="BROKERPOOL_CLUSTER",
        description="What the cluster is called; several on the same NATS servers have names of their own.",
    )
    node: Annotated[str, Field(pattern=_NAME, json_schema_extra={"allowed": _NAME_ALLOWED})] = Field(
        "",
        alias="BROKERPOOL_NODE",
        description="What this process is called in the cluster, as no other is; without it the machine's"
        " name and four digits of its own.",
    )

    share_ports: Literal["no", "yes"] = Field(
        "no",
        alias="BROKERPOOL_SHARE_PORTS",
        description="Whether other gateways of this machine and user listen on the same two ports as well, so"
        " that the system spreads new clients over them; not on Windows.",
    )
    status_port: Port = Field(
        0,
        alias="BROKERPOOL_STATUS_PORT",
        description="The port at which a feed node, or one of several gateways that share their ports, is"
        " itself asked for `/stats`, `/metrics` and `/health`, at BROKERPOOL_HTTP_HOST; 0 takes any free"
        " one.",
    )

    @field_validator("nats_nkey_file")
    @classmethod
    def _one_login(cls, file: str, info: ValidationInfo) -> str:
        if file and info.data.get("nats_credentials_file"):
            raise ValueError("it is given beside BROKERPOOL_NATS_CREDENTIALS_FILE; keep one of the two")
        return file

    @field_validator("nats_key_file")
    @classmethod
    def _whole_certificate(cls, file: str, info: ValidationInfo) -> str:
        if file and not info.data.get("nats_cert_file"):
            raise ValueError("it is given without BROKERPOOL_NATS_CERT_FILE")
        return file

    @property
    def in_cluster(self) -> bool:
        """Whether there is a cluster that this process is a part of."""
        return bool(self.nats_url.get_secret_value())
