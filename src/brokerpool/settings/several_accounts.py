"""The settings that say which accounts there are, and all accounts as the rest of the program sees them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from brokerpool.settings.account_reading import ORDERS
from brokerpool.settings.accounts import FLAT, SHARED, AccountSettings, account_name
from brokerpool.settings.broker import BrokerSettings
from brokerpool.settings.field_types import Words, words
from brokerpool.settings.orders import OrderSettings
from brokerpool.settings.settings_group import PREFIX, Group
from brokerpool.settings.websocket_pool import PoolSettings


def _names(text: str) -> str:
    names = [account_name(word) for word in words(text)]
    if len(set(names)) < len(names):
        raise ValueError("one of the accounts is named twice")
    return text


class SeveralAccounts(Group):
    """Which accounts there are where there is more than one."""

    account_names: Annotated[Words, AfterValidator(_names)] = Field(
        "",
        alias="BROKERPOOL_ACCOUNTS",
        json_schema_extra={"allowed": "names of accounts separated by commas"},
        description="The accounts in order of preference; without it those of the TOML file, in its order.",
    )
    #: The accounts that are written as such; empty where the settings of the broker are the one account.
    account_tables: tuple[AccountSettings, ...] = Field((), alias="accounts")


class NamedAccounts(PoolSettings, SeveralAccounts):
    """The accounts by name, for what needs none of their secrets."""

    @property
    def names_of_accounts(self) -> list[str]:
        """The accounts in order of preference, at least one."""
        return [account.name for account in self.account_tables] or [self.broker]


class AccountsSettings(NamedAccounts, BrokerSettings, OrderSettings):
    """The accounts with all that is needed to use them."""

    def accounts(self) -> tuple[AccountSettings, ...]:
        """Return the accounts in order of preference, at least one.

        Without tables of accounts, the settings of the broker are the one account, called as its broker.
        """
        shared = {member: getattr(self, member) for member in SHARED}
        if not self.account_tables:
            # The fields of a setting are called as it is, without the prefix.
            flat = {m: getattr(self, name.removeprefix(PREFIX).lower()) for m, name in FLAT.items()}
            own = {"name": self.broker, "orders": self.orders_account == self.broker}
            places = {**FLAT, **SHARED, "orders": ORDERS}
            return (AccountSettings.unchecked(places, {**flat, **shared, **own}),)
        return tuple(
            account.model_copy(
                update={member: n for member, n in shared.items() if member not in account.model_fields_set}
            )
            for account in self.account_tables
        )
