"""Whether a time has passed since a moment that was noted by the clock on the wall.

That clock is set now and then. A moment that lies ahead was noted before it was set back, or by a
host whose clock is wrong.
"""

from datetime import UTC, datetime, timedelta

_CLOCKS_AGREE_WITHIN = timedelta(minutes=1)
"""Of the hosts of one project."""


def has_passed(span: timedelta, since: datetime) -> bool:
    """Tell whether this much time has passed, as far as the clock can tell.

    Of a moment that lies ahead nobody knows, so it counts as passed: waiting for the clock to get
    there again may take hours.
    """
    return datetime.now(UTC) - since > span or lies_ahead(since)


def lies_ahead(moment: datetime) -> bool:
    """Tell whether a moment that was noted is yet to come, and not only by clocks that differ."""
    return moment - datetime.now(UTC) > _CLOCKS_AGREE_WITHIN
