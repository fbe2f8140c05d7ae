"""The settings of the database: where it is, its connections, and the key of what is kept secret there."""

from __future__ import annotations

import base64
import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from brokerpool.settings.field_types import Count, Seconds
from brokerpool.settings.settings_group import Group

_FERNET_KEY_BYTES = 32


def _database(url: SecretStr) -> SecretStr:
    if not re.match(r"(sqlite:///.|postgres(ql)?(\+psycopg)?://.)", url.get_secret_value()):
        raise ValueError("begin with sqlite:/// or postgresql://")
    return url


def _fernet_keys(secret: SecretStr) -> SecretStr:
    """Raise ValueError unless each key is 32 bytes in URL-safe base64, as Fernet wants them."""
    for key in filter(None, map(str.strip, secret.get_secret_value().split(","))):
        try:
            length = len(base64.b64decode(key, altchars=b"-_", validate=True))
        except ValueError:
            length = 0
        if length != _FERNET_KEY_BYTES:
            raise ValueError("one of the keys is no Fernet key (32 bytes in URL-safe base64)")
    return secret


class DatabaseSettings(Group):
    """The database: API keys, logins at the broker, the saved demand and the history."""

    database_url: Annotated[SecretStr, AfterValidator(_database)] = Field(
        SecretStr("sqlite:///brokerpool.db"),
        alias="DATABASE_URL",
        description="Where data is kept: a SQLite file, or a PostgreSQL server. A relative path counts from"
        " the working directory; sqlite:////var/lib/... with four slashes is absolute.",
        json_schema_extra={
            "default": "sqlite:///brokerpool.db",
            "allowed": "sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME",
        },
    )
    db_pool_size: Count = Field(
        5, alias="BROKERPOOL_DB_POOL_SIZE", description="Connections to the database that are kept."
    )
    db_max_overflow: Annotated[int, Field(ge=0, le=1_000)] = Field(
        10,
        alias="BROKERPOOL_DB_MAX_OVERFLOW",
        description="Connections to the database opened beyond these under load.",
    )
    db_pool_timeout: Seconds = Field(
        30.0,
        alias="BROKERPOOL_DB_POOL_TIMEOUT",
        description="Seconds that a caller waits for a connection to the database before it gets an error.",
    )
    secret_key: Annotated[SecretStr, AfterValidator(_fernet_keys)] = Field(
        SecretStr(""),
        alias="BROKERPOOL_SECRET_KEY",
        json_schema_extra={"allowed": "Fernet keys separated by commas, the newest first, or empty"},
        description="Encrypts the broker credentials in the database; without it none are kept there.",
    )
