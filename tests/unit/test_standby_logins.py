"""A feed node that stands by for an account judges its own login, though nobody dials with it."""

from __future__ import annotations

import pytest

from brokerpool.brokers.login import Credentials, Login
from brokerpool.gateway.process_health import unusable

NOW = 1_790_000_000.0


def refused() -> Login:
    login = Login(Credentials("token", expires_at=NOW + 3600))
    login.refuse(login.version)
    return login


@pytest.mark.parametrize(
    ("login", "told"),
    [
        (Login(Credentials("token")), False),
        (Login(Credentials("token", expires_at=NOW + 1)), False),
        (Login(Credentials("token", expires_at=NOW)), True),
        (refused(), True),
    ],
)
def test_a_login_is_of_no_use_once_it_is_refused_or_over(login: Login, told: bool) -> None:
    assert unusable(login, NOW) is told
