"""Reads accounts from where people write them: `[[accounts]]` in TOML, and variables in the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from brokerpool.brokers import registry
from brokerpool.settings.accounts import FLAT, NAME, SHARED, AccountSettings
from brokerpool.settings.field_types import words
from brokerpool.settings.settings_errors import fault, stranger
from brokerpool.settings.settings_in_words import describe

#: The key of the tables in TOML.
TABLES = "accounts"
#: The setting that lists the accounts, in order of preference.
LIST = "BROKERPOOL_ACCOUNTS"
#: The setting that names the account which carries orders.
ORDERS = "BROKERPOOL_ORDERS_ACCOUNT"

_MEMBERS = tuple(setting.name for setting in describe(AccountSettings))


def variable(account: str, member: str) -> str:
    """Return the name in the environment of a member of an account."""
    return f"BROKERPOOL_ACCOUNT_{account.upper().replace('-', '_')}_{member.upper()}"


@dataclass(slots=True)
class Accounts:
    """What was found of accounts: the sound ones, the faults of the others, and the names that mean them."""

    sound: list[AccountSettings] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    #: Whether any account was written, in which way ever.
    given: bool = False
    #: The names in the environment that are settings of one of these accounts.
    variables: set[str] = field(default_factory=set)
    #: The account that carries orders, empty for none.
    orders: str = ""


def read(tables: object, given: Mapping[str, Any]) -> Accounts:
    """Read the accounts of the tables in TOML and of what is `given` under names of its own.

    BROKERPOOL_ACCOUNTS says which there are and in which order; without it that of the tables counts. A
    variable of an account stands for the same member of its table.
    """
    accounts = Accounts()
    drafts = list(_tables(tables, accounts))
    listed = given.get(LIST)
    if isinstance(listed, str) and listed:
        # Names that cannot be are told by the setting itself.
        by_name = {draft.name: draft for draft in drafts if draft.name}
        names = [name for name in dict.fromkeys(words(listed)) if NAME.fullmatch(name)]
        drafts = [by_name.get(name) or _Draft(name, "", {}) for name in names]
        accounts.given = True
    for draft in drafts:
        if draft.name:
            accounts.variables |= {variable(draft.name, member) for member in _MEMBERS if member != "name"}
        _check(draft, given, accounts)
    accounts.given = accounts.given or bool(drafts)
    if accounts.given:
        for member, name in FLAT.items():
            if name in given:
                accounts.faults.append(
                    f"{name} is of one account alone, and there are accounts beside it: write it as"
                    f" BROKERPOOL_ACCOUNT_<NAME>_{member.upper()} or as {member} of a table"
                )
    _orders(given, accounts, [draft.name for draft in drafts])
    return accounts


@dataclass(slots=True)
class _Draft:
    """One account as it is written; a name that is empty could not be made out."""

    name: str
    #: How its table is called in faults, empty where it has none.
    table: str
    values: dict[str, Any]

    def places(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Return the name under which each member is written, or would be."""
        places = {}
        for member in _MEMBERS:
            name = variable(self.name, member)
            if self.table and name not in given:
                name = f"{self.table}.{member}"
            places[member] = name
        return places


def _tables(tables: object, accounts: Accounts) -> Iterator[_Draft]:
    if tables is None:
        return
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        accounts.faults.append(f"{TABLES} must be tables: write [[{TABLES}]] above the settings of each")
        accounts.given = True
        return
    known: set[str] = set()
    for number, table in enumerate(tables, 1):
        accounts.given = True
        name = table.get("name", table.get("broker"))
        place = f"{TABLES}[{number}]"
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            yield _Draft("", place, dict(table))
        elif name in known:
            accounts.faults.append(f"{place}.name: there is an account of this name before it")
        else:
            known.add(name)
            yield _Draft(name, f"{TABLES}.{name}", dict(table))


def _check(draft: _Draft, given: Mapping[str, Any], accounts: Accounts) -> None:
    places = draft.places(given)
    own = {member: given[name] for member in _MEMBERS if (name := variable(draft.name, member)) in given}
    values = {**draft.values, **(own if draft.name else {})}
    if "broker" not in values and draft.name in registry.names():
        values["broker"] = draft.name
    unnamed = "name" not in values
    values.setdefault("name", draft.name or "unnamed")
    places |= {member: name for member, name in SHARED.items() if member not in values}
    try:
        accounts.sound.append(AccountSettings.placed(places, values))
    except ValidationError as error:
        for detail in error.errors():
            member = str(detail["loc"][0])
            if detail["type"] == "extra_forbidden":
                accounts.faults.append(stranger(f"{draft.table}.{member}", member, _MEMBERS, draft.table))
            elif not (unnamed and member == "name"):
                accounts.faults.append(fault(AccountSettings, detail, places[member]))


def _orders(given: Mapping[str, Any], accounts: Accounts, names: list[str]) -> None:
    """Settle which account carries orders; two of them are a fault."""
    named = given.get(ORDERS, "")
    if named and named not in (names if accounts.given else [given.get(FLAT["broker"], "zerodha")]):
        accounts.faults.append(f"{ORDERS} is the name of no account")
    marked = [account for account in accounts.sound if account.orders]
    first = named or (marked[0].name if marked else "")
    for account in marked:
        if account.name != first:
            accounts.faults.append(
                f"{account.setting('orders')}: orders go to one account, and another one is named for them"
            )
    accounts.orders = first if isinstance(first, str) else ""
    accounts.sound = [
        account.model_copy(update={"orders": account.name == first}) for account in accounts.sound
    ]
