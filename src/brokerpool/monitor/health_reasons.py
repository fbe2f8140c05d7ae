"""What may be wrong with a process, in words that `/health`, the log, the dashboard and `check` share; pure.

Each condition has a code, a sentence with the numbers of the moment, and the next step with the setting.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from brokerpool.monitor import account_conditions, cluster_conditions
from brokerpool.monitor.account_conditions import AccountFacts
from brokerpool.monitor.cluster_conditions import ClusterFacts

#: An event loop that came so late has held up ticks for everybody.
LAG_SECONDS = 0.5
#: What is left of a certificate when that begins to count: three days.
CERTIFICATE_SECONDS = 3 * 86_400.0


class Facts(NamedTuple):
    """What is known at one moment."""

    instruments: int
    #: Why a newer list of them is not in use, empty when there is none.
    instruments_fault: str
    #: Whether no account has a login that the broker has not refused.
    login_refused: bool
    #: Symbols that are wanted, and those of them that no live connection carries.
    symbols: int
    unserved: int
    gaps_open: int
    connections_allowed: int
    max_connections: int
    #: "host group" of every breaker that is not closed.
    breakers: tuple[str, ...]
    #: The longest lag of the event loop within the last minute, in seconds.
    lag: float
    stopping: bool
    #: The error code for which the database is not read or not written; empty while it is, or there is none.
    database: str = ""
    #: Whether it was open since the start; without that no stored key was ever read.
    database_opened: bool = True
    #: Seconds until the certificate ends; None where there is no TLS.
    certificate_left: float | None = None
    #: Every account, in order of preference; where there is one, what is above tells all of it.
    accounts: tuple[AccountFacts, ...] = ()
    #: Whether instruments can be asked for that no list has.
    unlisted_taken: bool = False
    #: The cluster that it belongs to, None where there is none.
    cluster: ClusterFacts | None = None
    #: Accounts that a feed node does not hold, and could not serve: their login here is refused or over.
    standby_logins: tuple[str, ...] = ()


class Code(Enum):
    """What may speak against health; the value is what readers see."""

    STOPPING = "stopping"
    BUS_AWAY = "bus_away"
    ACCOUNT_UNHELD = "account_unheld"
    INSTRUMENTS_MISSING = "instruments_missing"
    INSTRUMENTS_STALE = "instruments_stale"
    LOGIN_REFUSED = "login_refused"
    LOGIN_ENDS = "login_ends"
    STANDBY_LOGIN = "standby_login"
    ACCOUNT_OUT = "account_out"
    ACCOUNTS_FULL = "accounts_full"
    DEMAND_NOT_SERVED = "demand_not_served"
    DATA_STALE = "data_stale"
    CONNECTIONS_TAKEN = "connections_taken"
    BREAKER_OPEN = "breaker_open"
    LOOP_LATE = "loop_late"
    DATABASE_ABSENT = "database_absent"
    DATABASE_AWAY = "database_away"
    CERTIFICATE_ENDS = "certificate_ends"

    @property
    def action(self) -> str:
        """What to do about it, in a sentence."""
        return _ACTIONS[self]


class Condition(NamedTuple):
    """One thing that may be wrong, and of which account."""

    code: Code
    #: Empty for what is about the gateway as a whole, and where there is one account only.
    account: str = ""

    @property
    def action(self) -> str:
        """What to do about it, in a sentence."""
        if not self.account:
            return self.code.action
        return _ACTIONS_OF_AN_ACCOUNT.get(self.code, self.code.action).format(account=self.account)

    def __str__(self) -> str:
        return f"{self.code.value} of {self.account}" if self.account else self.code.value


_ACTIONS = {
    Code.STOPPING: "Nothing: it will be back, or another one is.",
    Code.BUS_AWAY: (
        "Nothing at first: every server of BROKERPOOL_NATS_URL is redialled four times a second, and all"
        " comes back by itself. If it takes long, see the log for what each server answers, and the servers."
    ),
    Code.ACCOUNT_UNHELD: (
        "Start a feed node that has its credentials; `brokerpool accounts` shows those that live, and their"
        " logs what keeps them from it."
    ),
    Code.INSTRUMENTS_MISSING: (
        "Where the login is refused, log in: that brings the list. Else check the broker's status page and"
        " BROKERPOOL_BROKER_HTTP_URL; it is asked for again on SIGHUP."
    ),
    Code.INSTRUMENTS_STALE: (
        "Nothing at first: it is asked for again, on SIGHUP at once. If the broker lists no more, restart."
    ),
    Code.LOGIN_REFUSED: (
        "Log in at the broker, and run `brokerpool login` or put the new access token into the .env file as"
        " BROKERPOOL_BROKER_ACCESS_TOKEN; no restart."
    ),
    Code.LOGIN_ENDS: "Log in at the broker, and run `brokerpool login`; in time, nothing is interrupted.",
    Code.STANDBY_LOGIN: "Log in at the broker, and run `brokerpool login` on this machine; no restart.",
    Code.ACCOUNT_OUT: (
        "Nothing at first: it is dialled again by itself, and its symbols go home. If it takes long, see its"
        " connections' last faults in `brokerpool stats`, and the broker's status page."
    ),
    Code.ACCOUNTS_FULL: (
        "Ask clients to unsubscribe what they do not use, raise the limits of an account, or add one;"
        " `brokerpool plan SYMBOLS` tells what fits."
    ),
    Code.DEMAND_NOT_SERVED: "See the connections' last faults in `brokerpool stats`, and check the network.",
    Code.DATA_STALE: "Ask `brokerpool explain SYMBOL`; a quiet symbol is normal, many at once are not.",
    Code.CONNECTIONS_TAKEN: "Find the other program that uses the account's connections, and stop it.",
    Code.BREAKER_OPEN: "Check the broker's status page; calls are tried again by themselves.",
    Code.DATABASE_ABSENT: (
        "Run `brokerpool db check`, and mend DATABASE_URL or what it names; it is tried every 5 s. A new"
        " DATABASE_URL needs a restart."
    ),
    Code.LOOP_LATE: "Give the gateway a processor of its own, or fewer clients.",
    Code.DATABASE_AWAY: (
        "Run `brokerpool db check`, which looks at DATABASE_URL, and look up the code with `brokerpool"
        " errors`."
    ),
    Code.CERTIFICATE_ENDS: (
        "Put a new one into BROKERPOOL_TLS_CERT_FILE and BROKERPOOL_TLS_KEY_FILE; it is noticed, no restart."
    ),
}

#: What names the account where there are several.
_ACTIONS_OF_AN_ACCOUNT = {
    Code.LOGIN_REFUSED: (
        "Log in at the broker, and run `brokerpool login {account}` or put the new access token into the"
        " settings of the account; no restart."
    ),
    Code.LOGIN_ENDS: (
        "Log in at the broker, and run `brokerpool login {account}`; in time, nothing is interrupted."
    ),
    Code.STANDBY_LOGIN: (
        "Log in at the broker, and run `brokerpool login {account}` on this machine; no restart."
    ),
}


def found(facts: Facts) -> dict[Condition, str]:
    """Return what speaks against health at this moment, causes first, each with its numbers in a sentence."""
    told = {Condition(code): text for code, text in _of_the_gateway(facts).items()}
    if facts.cluster is not None:
        told |= _of_the_cluster(facts.cluster)
        for name in facts.standby_logins:
            told[Condition(Code.STANDBY_LOGIN, name)] = cluster_conditions.unable(name)
    if len(facts.accounts) > 1:
        told.pop(Condition(Code.LOGIN_REFUSED), None)  # told of each account by its name
        told |= _of_accounts(facts.accounts)
    order = list(Code)
    return dict(sorted(told.items(), key=lambda item: order.index(item[0].code)))


def _of_accounts(accounts: tuple[AccountFacts, ...]) -> dict[Condition, str]:
    """Return what is wrong with each account, one thing for each: a refused login tells the rest."""
    told: dict[Condition, str] = {}
    for account in accounts:
        if account.login_refused:
            told[Condition(Code.LOGIN_REFUSED, account.name)] = account_conditions.refused(account, accounts)
        elif account.out:
            told[Condition(Code.ACCOUNT_OUT, account.name)] = account_conditions.out(account, accounts)
        elif account.login_ends:
            told[Condition(Code.LOGIN_ENDS, account.name)] = account_conditions.login_ends(account)
    if all(account.full for account in accounts):
        told[Condition(Code.ACCOUNTS_FULL)] = account_conditions.full(accounts)
    return told


def _of_the_cluster(cluster: ClusterFacts) -> dict[Condition, str]:
    """Return what is wrong with the bus, else with what is heard over it."""
    if not cluster.connected:
        return {Condition(Code.BUS_AWAY): cluster_conditions.bus_away(cluster)}
    if cluster.unheld:
        return {Condition(Code.ACCOUNT_UNHELD): cluster_conditions.unheld(cluster)}
    return {}


def _of_the_gateway(facts: Facts) -> dict[Code, str]:
    told: dict[Code, str] = {}
    if facts.stopping:
        told[Code.STOPPING] = "The process is stopping."
    if not facts.instruments and not facts.unlisted_taken:
        told[Code.INSTRUMENTS_MISSING] = "The broker's instrument list is empty, so no symbol can be had."
    if facts.instruments_fault:
        told[Code.INSTRUMENTS_STALE] = (
            f"The instrument list in use is not the newest: {facts.instruments_fault.removesuffix('.')}."
        )
    if facts.login_refused:
        told[Code.LOGIN_REFUSED] = "The broker refused the access token, and is not asked again with it."
    if facts.unserved:
        told[Code.DEMAND_NOT_SERVED] = (
            f"{facts.unserved} of {facts.symbols} wanted symbols are on no live connection."
        )
    if facts.gaps_open:
        told[Code.DATA_STALE] = f"The data of {facts.gaps_open} symbols has stopped."
    if facts.connections_allowed < facts.max_connections:
        told[Code.CONNECTIONS_TAKEN] = (
            f"The broker closed connections in favour of others: {facts.connections_allowed} of"
            f" {facts.max_connections} are used for now."
        )
    if facts.breakers:
        told[Code.BREAKER_OPEN] = f"The broker failed several calls in a row: {', '.join(facts.breakers)}."
    if facts.lag >= LAG_SECONDS:
        told[Code.LOOP_LATE] = f"The event loop came {facts.lag:.2f} s late within the last minute."
    if facts.database and not facts.database_opened:
        told[Code.DATABASE_ABSENT] = (
            f"The database has not been open since the start ({facts.database}); no other key than"
            " BROKERPOOL_API_KEY is valid, and nothing is kept."
        )
    elif facts.database:
        told[Code.DATABASE_AWAY] = (
            f"The database is not read or not written ({facts.database}); keys that are known stay valid, and"
            " what is to be kept waits in memory."
        )
    if facts.certificate_left is not None and facts.certificate_left < CERTIFICATE_SECONDS:
        days = facts.certificate_left / 86_400
        told[Code.CERTIFICATE_ENDS] = (
            f"The certificate of both listeners ends in {days:.1f} days."
            if days > 0
            else f"The certificate of both listeners ended {-days:.1f} days ago; clients refuse it."
        )
    return told
