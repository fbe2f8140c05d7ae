"""Every setting: from TOML, an `.env` file and the environment, validated, all faults reported at once.

Each group has a module of its own, named as the group is.
"""

from brokerpool.settings.accounts import AccountSettings
from brokerpool.settings.broker import BrokerSettings
from brokerpool.settings.client_access import AccessSettings
from brokerpool.settings.cluster import ClusterSettings
from brokerpool.settings.database import DatabaseSettings
from brokerpool.settings.egress import EgressSettings
from brokerpool.settings.field_types import words
from brokerpool.settings.gateway import GatewaySettings
from brokerpool.settings.gateway_target import TargetSettings
from brokerpool.settings.http import HttpSettings
from brokerpool.settings.orders import OrderSettings
from brokerpool.settings.settings_group import known_names
from brokerpool.settings.settings_in_words import Described, describe
from brokerpool.settings.several_accounts import AccountsSettings, NamedAccounts, SeveralAccounts
from brokerpool.settings.websocket_pool import PoolSettings

__all__ = [
    "NAMES",
    "AccessSettings",
    "AccountSettings",
    "AccountsSettings",
    "BrokerSettings",
    "ClusterSettings",
    "DatabaseSettings",
    "Described",
    "EgressSettings",
    "GatewaySettings",
    "HttpSettings",
    "NamedAccounts",
    "OrderSettings",
    "PoolSettings",
    "Settings",
    "SeveralAccounts",
    "TargetSettings",
    "describe",
    "words",
]


class Settings(
    AccountsSettings,
    EgressSettings,
    HttpSettings,
    GatewaySettings,
    AccessSettings,
    DatabaseSettings,
    ClusterSettings,
):
    """Everything that `brokerpool serve` needs."""


#: The name of every setting.
NAMES = known_names()
