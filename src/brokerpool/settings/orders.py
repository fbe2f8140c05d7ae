"""The settings of orders: which account carries them, and whether the operator's key may send them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from brokerpool.settings.settings_group import Group


class OrderSettings(Group):
    """Orders that are passed through, which is off unless an account is named."""

    orders_account: Annotated[
        str,
        Field(pattern="^[a-z0-9][a-z0-9-]{0,31}$", json_schema_extra={"allowed": "the name of an account"}),
    ] = Field(
        "",
        alias="BROKERPOOL_ORDERS_ACCOUNT",
        description="Account that carries orders: calls below `/api/v1` that the gateway does not answer go"
        " to its REST. Without it they are answered with 404.",
    )
    api_key_orders: Literal["no", "yes"] = Field(
        "no",
        alias="BROKERPOOL_API_KEY_ORDERS",
        description="Whether `BROKERPOOL_API_KEY` has the scope `orders` too: may send orders and have order"
        " updates. Better is a key of its own: `brokerpool keys create NAME --scope data --scope orders`.",
    )
