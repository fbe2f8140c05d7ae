"""Promises of the settings: precedence, all faults at once, secrets that never show."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brokerpool.brokers
from brokerpool.brokers import registry
from brokerpool.errors import SettingsError
from brokerpool.market_calendar import ALWAYS_OPEN
from brokerpool.settings import NAMES, PoolSettings, Settings, describe

SECRETS = {
    "BROKERPOOL_API_KEY": "gateway-key-0123456789",
    "BROKERPOOL_BROKER_API_KEY": "broker-key-0123",
    "BROKERPOOL_BROKER_ACCESS_TOKEN": "access-token-0123",
}


def load(environ: dict[str, str] | None = None, **files: Path) -> Settings:
    return Settings.load(environ={**SECRETS, **(environ or {})}, **files)


def faults_of(environ: dict[str, str], **files: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ=environ, **files)
    return str(caught.value)


def test_the_defaults_are_those_of_the_seed_and_of_openalgo() -> None:
    settings = load()
    assert settings.max_symbols_per_websocket == 1000
    assert settings.max_websocket_connections == 3
    assert (settings.websocket_host, settings.websocket_port) == ("127.0.0.1", 8765)
    assert settings.auth_grace_seconds == 15
    assert (settings.ping_interval, settings.ping_timeout) == (20, 20)
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 5000)
    account = registry.broker(settings.broker).account(settings.accounts()[0].access())
    endpoint = asyncio.run(account.endpoint())
    assert endpoint.url.startswith("wss://ws.kite.trade/?")
    assert account.http_url == "https://api.kite.trade"


def test_the_environment_wins_over_the_env_file_which_wins_over_toml(tmp_path: Path) -> None:
    env_file, config = tmp_path / "a.env", tmp_path / "a.toml"
    env_file.write_text("WEBSOCKET_PORT=2\nBROKERPOOL_HTTP_PORT=2\n")
    config.write_text("WEBSOCKET_PORT = 3\nBROKERPOOL_HTTP_PORT = 3\nBROKERPOOL_MAX_CLIENTS = 3\n")
    settings = load({"WEBSOCKET_PORT": "1"}, env_file=env_file, config=config)
    assert (settings.websocket_port, settings.http_port, settings.max_clients) == (1, 2, 3)


def test_an_empty_value_counts_as_not_given(tmp_path: Path) -> None:
    env_file = tmp_path / "a.env"
    env_file.write_text("WEBSOCKET_PORT=7\nBROKERPOOL_HTTP_PORT=\n")
    settings = load({"WEBSOCKET_PORT": ""}, env_file=env_file)
    assert (settings.websocket_port, settings.http_port) == (7, 5000)


def test_every_fault_of_every_source_is_reported_at_once(tmp_path: Path) -> None:
    env_file, config = tmp_path / "a.env", tmp_path / "a.toml"
    env_file.write_text("WEBSOCKET_PORT=65536\nBROKERPOOL_HTTP_PROT=5001\nBROKER=someone-elses\n")
    config.write_text('MAX_SYMBOLS_PER_WEBSOCKET = 0\nflush = 1\nBROKERPOOL_LOG_LEVEL = "LOUD"\n')
    text = faults_of(
        {"BROKERPOOL_API_KEY": "short", "BROKERPOOL_FLUSH_WINDOW_MS": "nan", "WS_PING_INTERVAL": "0"},
        env_file=env_file,
        config=config,
    )
    assert "9 at fault" in text
    for expected in (
        "BROKERPOOL_HTTP_PROT is not a setting; did you mean BROKERPOOL_HTTP_PORT?",
        "flush is not a setting",
        "WEBSOCKET_PORT must be a whole number from 0 to 65535",
        "MAX_SYMBOLS_PER_WEBSOCKET must be a whole number from 1 to 1000000",
        "BROKERPOOL_LOG_LEVEL must be DEBUG or INFO or WARNING or ERROR",
        "BROKERPOOL_API_KEY must be a secret of at least 16 characters",
        "BROKERPOOL_FLUSH_WINDOW_MS must be a number from 0 to 50",
        "WS_PING_INTERVAL must be a number above 0 and at most 3600",
        "BROKERPOOL_BROKER_API_KEY is missing",
    ):
        assert expected in text


def test_strangers_in_the_environment_are_left_alone() -> None:
    assert load({"PATH": "/bin", "REDIS_URL": "redis://", "broker": "x"}).broker == "zerodha"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("env_file", None, "There is no file"),
        ("config", None, "There is no file"),
        ("config", b"WEBSOCKET_PORT 1", "is not TOML"),
        ("config", b"\xff\xfe", "is not TOML"),
        ("env_file", b"\xff\xfe=1", "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault(
    tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_bytes(content)
    assert expected in faults_of(SECRETS, **{name: path})


#: 12:00 IST on Monday, 26 January 2026, and a week later.
REPUBLIC_DAY, WEEK_LATER = 1_769_409_000.0, 1_770_013_800.0


def test_exchanges_have_the_hours_of_india_and_no_holidays_unless_the_settings_say_otherwise() -> None:
    hours = load().market_hours
    assert (hours.is_open("NSE", REPUBLIC_DAY), hours.is_open("GLOBAL_INDEX", REPUBLIC_DAY)) == (True, False)
    assert load({"BROKERPOOL_MARKET_HOURS": "always"}).market_hours is ALWAYS_OPEN


def test_the_market_hours_are_those_of_the_setting_with_the_holidays_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("holidays.txt").write_text("2026-01-26  # Republic Day – गणतंत्र दिवस\n", "utf-8")
    environ = {"BROKERPOOL_MARKET_HOURS": "NSE=11:00-13:00", "BROKERPOOL_HOLIDAYS_FILE": "holidays.txt"}
    for loaded in (load(environ), PoolSettings.load(environ=environ)):
        hours = loaded.market_hours
        assert (hours.is_open("NSE", REPUBLIC_DAY), hours.is_open("NSE", WEEK_LATER)) == (False, True)
        assert not hours.is_open("BSE", WEEK_LATER)
        assert loaded.market_hours is hours, "read once"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"\xff\xfe", "the file is not UTF-8 text"),
        (b"2026-01-26\nRepublic Day\n\n2026-03-03 NES\n", "line 2 does not begin with a date; line 4 names"),
    ],
)
def test_faults_of_the_market_hours_are_reported_among_the_others_and_not_quoted(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "holidays"
    if content is not None:
        path.write_bytes(content)
    text = faults_of(
        {
            "BROKERPOOL_MARKET_HOURS": "india; NES=09:17-15:31; MCX",
            "BROKERPOOL_HOLIDAYS_FILE": str(path),
            "WEBSOCKET_PORT": "x",
            **SECRETS,
        }
    )
    assert "3 at fault" in text
    assert "BROKERPOOL_MARKET_HOURS: part 2 names an exchange that is not known; part 3 has no =." in text
    assert f"BROKERPOOL_HOLIDAYS_FILE: {expected}" in text
    assert not any(quoted in text for quoted in ("NES", "09:17", str(path), "Republic"))


def test_secrets_show_neither_in_repr_nor_in_dumps() -> None:
    settings = load()
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert not any(secret in shown for secret in SECRETS.values())
    assert settings.api_key.get_secret_value() == SECRETS["BROKERPOOL_API_KEY"]


@settings(max_examples=40)  # each loads all settings
@given(
    st.dictionaries(
        st.sampled_from(sorted(NAMES)), st.text("abc#=-.:/%", min_size=1).map(lambda text: f"q7{text}x9")
    )
)
def test_no_fault_quotes_a_value(environ: dict[str, str]) -> None:
    try:
        Settings.load(environ=environ)
    except SettingsError as error:
        shown = "".join(traceback.format_exception(error))
        assert not any(value in shown for value in environ.values())


def test_the_constructor_does_not_quote_values_either() -> None:
    with pytest.raises(ValueError, match="BROKERPOOL_API_KEY") as caught:
        Settings(**{**SECRETS, "BROKERPOOL_API_KEY": "tiny-secret"})  # type: ignore[arg-type]  # as text
    assert "tiny-secret" not in str(caught.value)


def test_settings_do_not_change_once_loaded() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().max_clients = 5


def test_planning_needs_no_secret_and_knows_the_other_settings() -> None:
    assert (
        PoolSettings.load(environ={"MAX_WEBSOCKET_CONNECTIONS": "2", **SECRETS}).max_websocket_connections
        == 2
    )


def test_values_above_the_published_limits_are_allowed_with_a_warning() -> None:
    settings = load({"MAX_SYMBOLS_PER_WEBSOCKET": "3001", "MAX_WEBSOCKET_CONNECTIONS": "4"})
    above = settings.warnings(symbols_per_connection=3000, max_connections=3)
    assert [text.split()[0] for text in above] == ["MAX_SYMBOLS_PER_WEBSOCKET", "MAX_WEBSOCKET_CONNECTIONS"]
    assert "3001, above the 3000" in above[0]
    assert load().warnings(symbols_per_connection=3000, max_connections=3) == []
    assert load().warnings(symbols_per_connection=10, max_connections=1) == [], "nobody has asked for these"


def test_every_setting_says_what_it_means_and_what_is_allowed() -> None:
    for setting in describe(Settings):
        assert setting.meaning.endswith("."), setting.name
        assert setting.allowed, setting.name
        assert setting.secret or setting.default is not None, setting.name


def test_each_broker_with_a_folder_is_installed_loads_under_its_name_and_no_other_may_be_chosen() -> None:
    folders = {path.parent.name for path in Path(brokerpool.brokers.__path__[0]).glob("*/limits.toml")}
    assert set(registry.names()) == folders
    assert {registry.broker(name).name for name in folders} == folders
    with pytest.raises(SettingsError, match="BROKERPOOL_BROKER: no broker of this name is installed, but "):
        load({"BROKERPOOL_BROKER": "nobody"})
    with pytest.raises(
        SettingsError, match=f"no broker 'nobody' is installed, but {', '.join(sorted(folders))}"
    ):
        registry.broker("nobody")


@pytest.mark.parametrize("wrong", ["totp", "[]", '{"totp": 1}'])
def test_login_fields_that_are_no_object_of_texts_are_a_fault_that_quotes_nothing(wrong: str) -> None:
    with pytest.raises(
        SettingsError, match="BROKERPOOL_BROKER_LOGIN_FIELDS: it must be a JSON object"
    ) as told:
        load({"BROKERPOOL_BROKER_LOGIN_FIELDS": wrong})
    assert wrong not in str(told.value).replace('{"totp_secret": "..."}', "")


def test_login_fields_reach_the_account_and_are_never_shown() -> None:
    settings = load({"BROKERPOOL_BROKER_LOGIN_FIELDS": '{"totp_secret": "JBSWY3DP"}'})
    access = settings.accounts()[0].access()
    assert access.fields == {"totp_secret": "JBSWY3DP"}
    assert "JBSWY3DP" not in repr(settings) + repr(access)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "BROKERPOOL_ALLOWED_ORIGINS",
            "https://desk.example, http://[::1]:3000/, *, null, app://obsidian.md",
            ["desk.example", "https://desk.example/chart", "https://", "https://me@desk.example"],
        ),
        (
            "BROKERPOOL_ALLOWED_HOSTS",
            "desk.example, *, localhost.",
            ["https://desk.example", "desk.example:5000", "desk.example/", "[::1]"],
        ),
    ],
)
def test_a_host_or_an_origin_that_no_request_could_have_is_a_fault(
    name: str, good: str, bad: list[str]
) -> None:
    assert load({name: good})
    for word in bad:
        assert f"{name}: one of the words is no" in faults_of({**SECRETS, name: f"{good}, {word}"})
