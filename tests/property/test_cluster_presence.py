"""Who lives, by signs of life and one's own clock: an outage counts against nobody, and for nobody twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.cluster.presence import Presence

LIFE = 5.0


@given(before=st.floats(0.0, LIFE - 0.1), away=st.floats(0.1, 60.0), heard=st.none() | st.floats(0.0, 1.0))
def test_after_an_outage_everybody_has_what_was_left_of_the_time_to_live_and_no_more_than_all_of_it(
    before: float, away: float, heard: float | None
) -> None:
    """A sign may have come just before the outage was known to be over, `heard` as a share of it."""
    presence = Presence(LIFE)
    presence.sign("g", 1, 0.0)
    back = before + away
    if heard is not None:
        presence.sign("g", 2, before + heard * away)
    presence.forgive(away, back)
    left = LIFE - before if heard is None else LIFE
    assert presence.lives("g", back + left - 0.01)
    assert not presence.lives("g", back + left + 0.01)


def test_the_same_sign_again_proves_nothing_and_who_leaves_is_gone_at_once() -> None:
    presence = Presence(LIFE)
    assert presence.sign("g", 1, 0.0)
    assert not presence.sign("g", 1, 4.0)
    assert presence.dead(5.0) == ["g"]
    assert presence.sign("g", 2, 5.0)
    presence.gone("g")
    assert list(presence.living(5.0)) == []
