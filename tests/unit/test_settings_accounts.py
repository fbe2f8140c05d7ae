"""Promises of the accounts in settings: the first edition's mean the same, and every fault has its name."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerpool.brokers import registry
from brokerpool.errors import SettingsError
from brokerpool.settings import AccountSettings, DatabaseSettings, NamedAccounts, Settings, describe
from brokerpool.settings.account_reading import variable

FIRST_EDITION = """\
BROKERPOOL_BROKER=zerodha
BROKERPOOL_BROKER_API_KEY=the-apps-key
BROKERPOOL_BROKER_ACCESS_TOKEN=todays-token
BROKERPOOL_API_KEY=gateway-key-0123456789
MAX_SYMBOLS_PER_WEBSOCKET=500
"""
TWO = """\
MAX_SYMBOLS_PER_WEBSOCKET = 700

[[accounts]]
name = "zerodha"
api_key = "first-key"
access_token = "first-token"
exchanges = ["NSE", "NFO", "NSE"]

[[accounts]]
name = "desk-2"
broker = "zerodha"
api_key = "second-key"
ws_url = "ws://127.0.0.1:9"
max_symbols_per_websocket = 900
max_websocket_connections = 2
login_fields = { totp_secret = "JBSWY3DP" }
orders = true
"""


def load(config: str = "", environ: dict[str, str] | None = None, *, folder: Path) -> Settings:
    path = folder / "a.toml"
    path.write_text(config)
    return Settings.load(environ=environ or {}, config=path)


def faults_of(config: str, environ: dict[str, str] | None = None, *, folder: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(config, environ, folder=folder)
    return [line[4:] for line in str(caught.value).splitlines() if line.startswith("  - ")]


def test_a_settings_file_of_the_first_edition_is_one_account_called_as_its_broker(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(FIRST_EDITION)
    read = Settings.load(env_file=file, environ={})
    (account,) = read.accounts()
    access = account.access()
    assert (account.name, account.broker, account.exchanges, account.orders) == (
        "zerodha",
        "zerodha",
        (),
        False,
    )
    assert (access.api_key, access.credentials.access_token) == ("the-apps-key", "todays-token")
    assert (account.max_symbols_per_websocket, account.max_websocket_connections) == (500, 3)
    assert account.setting("access_token") == "BROKERPOOL_BROKER_ACCESS_TOKEN"
    assert read.names_of_accounts == ["zerodha"]


def test_accounts_come_from_tables_in_their_order_and_say_what_they_have_of_their_own(tmp_path: Path) -> None:
    read = load(TWO, folder=tmp_path)
    first, second = read.accounts()
    assert (first.name, first.broker, first.exchanges) == ("zerodha", "zerodha", ("NSE", "NFO"))
    assert (first.max_symbols_per_websocket, first.max_websocket_connections) == (700, 3)
    assert (second.max_symbols_per_websocket, second.max_websocket_connections) == (900, 2)
    access = second.access()
    assert (access.api_key, access.ws_url) == ("second-key", "ws://127.0.0.1:9")
    assert access.fields == {"totp_secret": "JBSWY3DP"}
    assert (first.orders, second.orders, read.orders_account) == (False, True, "desk-2")
    assert second.setting("api_key") == "accounts.desk-2.api_key"
    assert first.setting("max_symbols_per_websocket") == "MAX_SYMBOLS_PER_WEBSOCKET"


def test_accounts_come_from_the_environment_as_well_and_its_names_are_told(tmp_path: Path) -> None:
    environ = {
        "BROKERPOOL_ACCOUNTS": "zerodha, desk-2",
        "BROKERPOOL_ACCOUNT_ZERODHA_API_KEY": "first-key",
        "BROKERPOOL_ACCOUNT_DESK_2_BROKER": "zerodha",
        "BROKERPOOL_ACCOUNT_DESK_2_API_KEY": "second-key",
        "BROKERPOOL_ACCOUNT_DESK_2_EXCHANGES": "NSE, MCX",
        "BROKERPOOL_ACCOUNT_DESK_2_LOGIN_FIELDS": '{"pin": "1234"}',
        "BROKERPOOL_ACCOUNT_DESK_2_MAX_WEBSOCKET_CONNECTIONS": "1",
        "BROKERPOOL_ORDERS_ACCOUNT": "zerodha",
    }
    first, second = load(environ=environ, folder=tmp_path).accounts()
    assert (first.name, first.broker, first.orders) == ("zerodha", "zerodha", True)
    assert (second.exchanges, second.max_websocket_connections) == (("NSE", "MCX"), 1)
    assert second.access().fields == {"pin": "1234"}
    assert second.setting("access_token") == "BROKERPOOL_ACCOUNT_DESK_2_ACCESS_TOKEN"


def test_the_environment_wins_over_a_table_and_lists_which_accounts_there_are(tmp_path: Path) -> None:
    environ = {variable("desk-2", "access_token"): "of-the-environment"}
    _, second = load(TWO, environ, folder=tmp_path).accounts()
    assert second.access().credentials.access_token == "of-the-environment"
    assert second.setting("access_token") == "BROKERPOOL_ACCOUNT_DESK_2_ACCESS_TOKEN"
    listed = load(TWO, {"BROKERPOOL_ACCOUNTS": "desk-2"}, folder=tmp_path)
    assert [account.name for account in listed.accounts()] == ["desk-2"]
    turned = load(TWO, {"BROKERPOOL_ACCOUNTS": "desk-2,zerodha"}, folder=tmp_path)
    assert [account.name for account in turned.accounts()] == ["desk-2", "zerodha"]


def test_a_table_without_a_name_is_called_as_its_broker(tmp_path: Path) -> None:
    (account,) = load('[[accounts]]\nbroker = "zerodha"\napi_key = "k"\n', folder=tmp_path).accounts()
    assert account.name == "zerodha"


def test_every_fault_of_every_account_is_reported_at_once_under_the_name_that_was_written(
    tmp_path: Path,
) -> None:
    config = """\
WEBSOCKET_PORT = 70000
[[accounts]]
api_kye = "x"
broker = "zerodha"
api_key = "k"
exchanges = ["NSE", "NYSE"]
max_symbols_per_websocket = 0
[[accounts]]
name = "Desk Two"
broker = "nobody"
api_key = "k"
[[accounts]]
name = ""
broker = "zerodha"
api_key = "k"
[[accounts]]
name = "zerodha"
broker = "zerodha"
api_key = "k"
[[accounts]]
name = "third"
ws_url = "http://no-feed"
login_fields = { pin = 1234 }
"""
    environ = {
        "BROKERPOOL_ACCOUNT_THIRD_HTTP_URL": "ftp://x",
        "BROKERPOOL_ACCOUNT_THIRD_ACESS_TOKEN": "x",
        "BROKERPOOL_ACCOUNT_FOURTH_API_KEY": "x",
        "BROKERPOOL_BROKER_API_KEY": "beside",
        "BROKERPOOL_ORDERS_ACCOUNT": "nobodys",
    }
    assert faults_of(config, environ, folder=tmp_path) == [
        "BROKERPOOL_ACCOUNT_FOURTH_API_KEY is not a setting; did you mean BROKERPOOL_ACCOUNT_THIRD_API_KEY?",
        "BROKERPOOL_ACCOUNT_THIRD_ACESS_TOKEN is not a setting; did you mean"
        " BROKERPOOL_ACCOUNT_THIRD_ACCESS_TOKEN?",
        "accounts[4].name: there is an account of this name before it",
        "accounts.zerodha.exchanges: one of the exchanges is not known; there are BCD, BFO, BSE, BSE_INDEX,"
        " CDS, CRYPTO, GLOBAL_INDEX, MCX, MCX_INDEX, NCDEX, NCO, NFO, NSE, NSE_INDEX",
        "accounts.zerodha.max_symbols_per_websocket must be a whole number from 1 to 1000000",
        "accounts.zerodha.api_kye is not a setting; did you mean accounts.zerodha.api_key?",
        "accounts[2].name: an account's name has 1 to 32 lower-case letters, digits and hyphens, and begins"
        " with no hyphen",
        f"accounts[2].broker: no broker of this name is installed, but {', '.join(registry.names())}; install"
        " the package that brings it",
        "accounts[3].name: an account's name has 1 to 32 lower-case letters, digits and hyphens, and begins"
        " with no hyphen",
        "accounts.third.broker is missing; it is a broker that is installed",
        "accounts.third.api_key is missing; it is a secret",
        "accounts.third.ws_url must be a ws:// or wss:// URL",
        "BROKERPOOL_ACCOUNT_THIRD_HTTP_URL must be an http:// or https:// URL",
        'accounts.third.login_fields: it must be a JSON object of texts, as in {"totp_secret": "..."}',
        "BROKERPOOL_BROKER_API_KEY is of one account alone, and there are accounts beside it: write it as"
        " BROKERPOOL_ACCOUNT_<NAME>_API_KEY or as api_key of a table",
        "BROKERPOOL_ORDERS_ACCOUNT is the name of no account",
        "WEBSOCKET_PORT must be a whole number from 0 to 65535",
    ]


@pytest.mark.parametrize(
    ("config", "environ", "expected"),
    [
        ("accounts = 3", {}, "accounts must be tables: write [[accounts]] above the settings of each"),
        ('[accounts]\nname = "a"', {}, "accounts must be tables"),
        (
            TWO.replace('exchanges = ["NSE"', 'orders = true\nexchanges = ["NSE"'),
            {},
            "accounts.desk-2.orders:",
        ),
        (TWO, {"BROKERPOOL_ORDERS_ACCOUNT": "zerodha"}, "accounts.desk-2.orders: orders go to one account"),
        ("", {"BROKERPOOL_ACCOUNTS": "zerodha,zerodha"}, "BROKERPOOL_ACCOUNTS: one of the accounts is named"),
        ("", {"BROKERPOOL_ACCOUNTS": "Desk"}, "BROKERPOOL_ACCOUNTS: an account's name has 1 to 32"),
        (TWO, {"BROKERPOOL_BROKER": "zerodha"}, "BROKERPOOL_BROKER is of one account alone"),
        ("", {"BROKERPOOL_BROKER_API_KEY": "k", "BROKERPOOL_ORDERS_ACCOUNT": "x"}, "the name of no account"),
    ],
)
def test_what_contradicts_itself_is_a_fault(
    config: str, environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    assert any(expected in fault for fault in faults_of(config, environ, folder=tmp_path))


def test_what_needs_no_account_reads_the_same_files_and_takes_none_of_their_names_for_a_misspelling(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TWO)
    environ = {variable("desk-2", "api_key"): "k", "DATABASE_URL": "sqlite:///other.db"}
    assert DatabaseSettings.load(environ=environ, config=path).db_pool_size == 5
    assert NamedAccounts.load(environ=environ, config=path).names_of_accounts == ["zerodha", "desk-2"]


def test_sound_accounts_stay_beside_one_at_fault_and_without_any_there_are_no_settings(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(TWO.replace("ws://127.0.0.1:9", "http://x"))
    sound, faults = Settings.load_sound(environ={}, config=path)
    assert faults == ["accounts.desk-2.ws_url must be a ws:// or wss:// URL"]
    assert sound is not None
    assert [account.name for account in sound.accounts()] == ["zerodha"]
    assert Settings.load_sound(environ={"BROKERPOOL_ACCOUNTS": "zerodha"})[0] is None


def test_no_secret_of_an_account_shows(tmp_path: Path) -> None:
    read = load(TWO, folder=tmp_path)
    for shown in (repr(read), str(read.model_dump()), read.model_dump_json(), repr(read.accounts())):
        assert not any(secret in shown for secret in ("first-key", "first-token", "second-key", "JBSWY3DP"))


MEMBERS = [setting.name for setting in describe(AccountSettings)]


@settings(max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*MEMBERS, "mode"]),
            st.text("abc#=-.:/%", min_size=1).map(lambda text: f"Q7{text}X9") | st.integers() | st.booleans(),
        ),
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from([variable("desk-2", member) for member in MEMBERS] + ["BROKERPOOL_ORDERS_ACCOUNT"]),
        st.text("abc#=-.:/%", min_size=1).map(lambda text: f"Q7{text}X9"),
    ),
)
def test_no_fault_of_an_account_quotes_a_value_and_every_one_begins_with_a_name(
    tmp_path_factory: pytest.TempPathFactory, tables: list[dict[str, object]], environ: dict[str, str]
) -> None:
    rows = ["[[accounts]]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in table.items()) for table in tables]
    path = tmp_path_factory.getbasetemp() / "quoted.toml"
    path.write_text("".join(rows))
    try:
        Settings.load(environ={"BROKERPOOL_ACCOUNTS": "desk-2", **environ}, config=path)
    except SettingsError as error:
        shown = "".join(traceback.format_exception(error))
        assert "Q7" not in shown
        faults = [line[4:].split()[0] for line in str(error).splitlines() if line.startswith("  - ")]
        assert all(fault.startswith(("accounts", "BROKERPOOL_")) for fault in faults)


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
