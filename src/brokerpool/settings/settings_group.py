"""What all groups of settings share: where they are read, and how their faults are told."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, Self

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from brokerpool.errors import SettingsError
from brokerpool.settings.description import describe
from brokerpool.settings.platform_variables import without_links

#: Names that no other system uses already start with this, so a misspelt one can be told from a stranger's.
PREFIX = "BROKERPOOL_"

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
            raise SettingsError(_sentence(faults))
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
        where the sound ones contradict each other. Raises SettingsError for a file that cannot be read.
        """
        from_toml = _read_toml(cls, config)
        from_file = _read_env_file(cls, env_file)
        from_environment = {name: value for name, value in without_links(environ).items() if value}
        ours = {name for name in (*from_file, *from_environment) if name.startswith(PREFIX)}
        known = known_names()
        faults = [_stranger(name, known) for name in sorted((ours | set(from_toml)) - known)]
        given: dict[str, Any] = {**from_toml, **from_file, **from_environment}
        own = {name: given[name] for name in _names(cls) if name in given}
        try:
            return cls(**own), faults
        except ValidationError as error:
            details = error.errors()
            faults += [_fault(cls, detail) for detail in details]
        wrong = {str(detail["loc"][0]) for detail in details}
        missing = {detail.name: _ANY for detail in describe(cls) if detail.default is None}
        sound = {name: value for name, value in own.items() if name not in wrong}
        try:
            settings = cls(**{**missing, **sound})
        except ValidationError:
            return None, faults
        absent = [f for f, field in cls.model_fields.items() if field.alias in missing.keys() - sound.keys()]
        return settings.model_copy(update=dict.fromkeys(absent, SecretStr(""))), faults


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


def _fault(group: type[Group], detail: ErrorDetails) -> str:
    name = str(detail["loc"][0])
    setting = next(setting for setting in describe(group) if setting.name == name)
    if detail["type"] == "missing":
        return f"{name} is missing; it is {setting.allowed}"
    if detail["type"] == "value_error":
        # Of our own validators, whose errors quote nothing.
        return f"{name}: {detail['ctx']['error']}"
    return f"{name} must be {setting.allowed}"


def _stranger(name: str, known: frozenset[str]) -> str:
    near = difflib.get_close_matches(name.upper(), known, n=1)
    return f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


def _sentence(faults: list[str]) -> str:
    return f"{len(faults)} at fault:\n" + "".join(f"  - {fault}\n" for fault in faults)
