"""What all groups of settings share: where they are read, and how their faults are told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, Self

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from brokerpool.errors import SettingsError
from brokerpool.settings import account_reading
from brokerpool.settings.accounts import FLAT
from brokerpool.settings.platform_variables import without_links
from brokerpool.settings.settings_errors import fault, sentence, stranger
from brokerpool.settings.settings_in_words import describe

#: Names that no other system uses already start with this, so a misspelt one can be told from a stranger's.
PREFIX = "BROKERPOOL_"

#: The setting that makes a process a part of a cluster.
CLUSTER = "BROKERPOOL_NATS_URL"

#: Stands for a secret that must be given, while the others are looked at.
_ANY = "-"


class Group(BaseSettings):
    """Settings under the names of the environment; the constructor reads nothing but its arguments."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        case_sensitive=True,
        env_ignore_empty=True,
        # An empty text stands for what was not given, also where one that is given must not be empty.
        validate_default=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @classmethod
    def load(
        cls,
        *,
        env_file: Path | None = None,
        config: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Read the settings: the environment wins over `env_file`, which wins over `config` (TOML).

        An empty value in the environment or in `env_file` counts as not given, and so does what a platform
        put into the environment to describe its services.
        Raises SettingsError, which names every fault of all sources and never quotes a value.
        """
        settings, faults = cls.load_sound(env_file=env_file, config=config, environ=environ)
        if faults or settings is None:
            raise SettingsError(sentence(faults))
        return settings

    @classmethod
    def load_sound(
        cls,
        *,
        env_file: Path | None = None,
        config: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> tuple[Self | None, list[str]]:
        """Read the settings as `load` does, and return those that are sound with the faults of the others.

        What is missing or at fault has its default, a secret that must be given is empty. There are none
        where the sound ones contradict each other, and where accounts are given and none of them is sound.
        Raises SettingsError for a file that cannot be read.
        """
        from_toml = _read_toml(cls, config)
        tables = from_toml.pop(account_reading.TABLES, None)
        from_file = _read_env_file(cls, env_file)
        from_environment = {name: value for name, value in without_links(environ).items() if value}
        ours = {name for name in (*from_file, *from_environment) if name.startswith(PREFIX)}
        given: dict[str, Any] = {**from_toml, **from_file, **from_environment}
        accounts = account_reading.read(tables, given)
        known = known_names() | accounts.variables
        faults = [stranger(name, name.upper(), known) for name in sorted((ours | set(from_toml)) - known)]
        own = {name: given[name] for name in _names(cls) if name in given}
        required = {setting.name for setting in describe(cls) if setting.default is None}
        lost, absent = False, set[str]()
        if given.get(CLUSTER):  # whose gateways have no account
            absent = required.intersection(FLAT.values()) - own.keys()
        if any(field.alias == account_reading.TABLES for field in cls.model_fields.values()):
            faults += accounts.faults
            own[account_reading.TABLES] = tuple(accounts.sound)
            if accounts.orders and account_reading.ORDERS in _names(
                cls
            ):  # said by a table perhaps, and not by the setting
                own[account_reading.ORDERS] = accounts.orders
            if accounts.given:
                lost = not accounts.sound
                own = {name: value for name, value in own.items() if name not in FLAT.values()}
                absent = required.intersection(FLAT.values())
        without_account = absent
        try:
            settings = cls(**own, **dict.fromkeys(absent, _ANY))
        except ValidationError as error:
            details = error.errors()
            faults += [fault(cls, detail) for detail in details]
            wrong = {str(detail["loc"][0]) for detail in details}
            sound = {name: value for name, value in own.items() if name not in wrong}
            absent = without_account | (required - sound.keys())
            try:
                settings = cls(**sound, **dict.fromkeys(absent, _ANY))
            except ValidationError:
                return None, faults
        if lost:
            return None, faults
        empty = [own for own, field in cls.model_fields.items() if field.alias in absent]
        return settings.model_copy(update=dict.fromkeys(empty, SecretStr(""))), faults


def known_names() -> frozenset[str]:
    """Return the name of every setting of every group; what has another name is a stranger."""
    return frozenset(name for group in Group.__subclasses__() for name in _names(group))


def _names(group: type[Group]) -> list[str]:
    return [setting.name for setting in describe(group)]


def _read_toml(group: type[Group], path: Path | None) -> dict[str, Any]:
    _must_exist(path)
    try:
        return TomlConfigSettingsSource(group, toml_file=path).toml_data
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from None


def _read_env_file(group: type[Group], path: Path | None) -> Mapping[str, str | None]:
    _must_exist(path)
    try:
        return DotEnvSettingsSource(group, env_file=path, env_file_encoding="utf-8-sig").env_vars
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text.") from None


def _must_exist(path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise SettingsError(f"There is no file {path}.")
