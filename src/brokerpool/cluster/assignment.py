"""Which node is to hold which account: evenly, and with as few moves as that takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def assigned(
    candidates: Mapping[str, Collection[str]],
    holders: Mapping[str, str],
    wishes: Mapping[str, str],
) -> dict[str, str]:
    """Return the node of each account that any node can hold; all who know the same come to the same.

    `candidates` are the living nodes with the accounts for which they have credentials, `holders` who holds
    each account now, and `wishes` where an operator wants it. An operator's wish counts as long as that node
    lives; any other account stays where it is unless that node has two more than another one that can have
    it, and one without a node goes to the one with the fewest.
    """
    able = {
        account: sorted(node for node, accounts in candidates.items() if account in accounts)
        for account in sorted({account for accounts in candidates.values() for account in accounts})
    }
    nodes: dict[str, str] = {}
    fixed: set[str] = set()
    loads = dict.fromkeys(candidates, 0)
    for account, possible in able.items():
        wish = wishes.get(account)
        if wish in possible:
            fixed.add(account)
        held = wish if wish in possible else holders.get(account)
        if held in possible:
            nodes[account] = held
            loads[held] += 1
    for account, possible in able.items():
        if account not in nodes:
            least = nodes[account] = min(possible, key=lambda node: (loads[node], node))
            loads[least] += 1
    moved = True
    while moved:
        moved = False
        for account, possible in able.items():
            if account in fixed:
                continue
            least = min(possible, key=lambda node: (loads[node], node))
            if loads[nodes[account]] - loads[least] >= 2:
                loads[nodes[account]] -= 1
                loads[least] += 1
                nodes[account] = least
                moved = True
    return nodes
