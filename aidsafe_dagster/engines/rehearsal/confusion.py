"""What was planted against what was found, as counts and shares."""

from collections.abc import Sequence

ConfusionRow = dict[str, object]


def line(what: str, fault: str, pairs: Sequence[tuple[bool, bool]]) -> ConfusionRow:
    """One line of a table, from (planted, found) of everything that was looked at.

    Shares are from 0 to 1: `precision`, `recall`, and `false_alarm_rate` (of all that was sound, what was found fault
    with); None where there is nothing to divide by.
    """
    planted, found = sum(true for true, _ in pairs), sum(said for _, said in pairs)
    both = sum(true and said for true, said in pairs)
    return {
        "what": what,
        "fault": str(fault),
        "planted": planted,
        "found": found,
        "true_positives": both,
        "precision": _share(both, found),
        "recall": _share(both, planted),
        "false_alarm_rate": _share(found - both, len(pairs) - planted),
    }


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
