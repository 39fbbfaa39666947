"""A rate limiter against a limited server, in virtual time."""

import heapq
import random
from dataclasses import dataclass, field

from aidsafe_dagster.engines.driver.rate_limiter import Limit, Mode, RateLimiter, Send
from tests.engines.driver.limited_servers import LimitedServer

START = 1_000_000.0


@dataclass
class Outcome:
    seconds: float = 0.0
    sent: int = 0
    rejected: int = 0
    sent_later: int = 0
    """Calls sent after the limit was known: set, or learned from the first half of the calls."""
    rejected_later: int = 0
    modes: list[str] = field(default_factory=list)

    @property
    def later_share(self) -> float:
        """Share of the later calls that were rejected."""
        return self.rejected_later / max(1, self.sent_later)


def run_limited(
    server: LimitedServer,
    limit: Limit,
    calls: int,
    slots: int = 64,
    answer_s: float = 0.05,
    trip_s: float = 0.005,
    tokens: float = 100.0,
    seed: int = 0,
    trace: bool = False,
) -> Outcome:
    """Bring `calls` independent calls to their ends, and return what that took.

    A call is rejected within `trip_s` or answered after `answer_s`, give or take. Timers ring up
    to 2 ms late.
    """
    draw = random.Random(seed)
    limiter = RateLimiter(limit)
    outcome = Outcome()
    now = START
    waiting, in_flight, done = calls, 0, 0
    failures: dict[int, int] = {}
    events: list[tuple[float, int, str, Send | None, float | None]] = []
    number = 0
    next_wake = now
    while done < calls:
        while waiting and in_flight < slots:
            wait = limiter.wait_s(now)
            if wait > 0:
                wakes_at = now + wait + draw.uniform(0, 0.002)
                if wakes_at < next_wake or next_wake <= now:
                    number += 1
                    next_wake = wakes_at
                    heapq.heappush(events, (wakes_at, number, "wake", None, None))
                break
            waiting -= 1
            in_flight += 1
            actual = tokens * draw.uniform(0.7, 1.3)
            send = limiter.take(now, tokens)
            outcome.sent += 1
            is_later = done > calls / 2
            outcome.sent_later += is_later
            reply = server.admit(now - START + draw.uniform(0, trip_s / 2), actual)
            number += 1
            if reply.is_admitted:
                at = now + answer_s * draw.uniform(0.8, 1.2)
                heapq.heappush(events, (at, number, "answer", send, actual))
            else:
                outcome.rejected += 1
                outcome.rejected_later += is_later
                at = now + trip_s * draw.uniform(0.5, 1.0)
                entry = (at, number, "reject", send, reply.retry_after_s)
                heapq.heappush(events, entry)
            if trace:
                s = limiter.state
                print(f"{now-START:8.2f} {'ok ' if reply.is_admitted else 'REJ'} {s.mode} rate={s.rate and round(s.rate,3)} acc={s.accepted:.0f} ramped={s.ramped:.0f}/{s.allowance} batch={s.batch} rej={s.rejections} gap={s.gap:.2f} per={s.period}")
        now, _, kind, sent, value = heapq.heappop(events)
        while True:
            if kind == "answer" and sent:
                limiter.answer(now, sent, value)
                in_flight -= 1
                done += 1
            elif kind == "reject" and sent:
                limiter.reject(now, sent, value)
                in_flight -= 1
                if limiter.state.mode is Mode.FREE:
                    number += 1
                    back = now + max(2 * draw.uniform(0.5, 1), value or 0)
                    heapq.heappush(events, (back, number, "back", None, None))
                else:
                    waiting += 1
            elif kind == "back":
                waiting += 1
            if events and events[0][0] <= now:
                now, _, kind, sent, value = heapq.heappop(events)
            else:
                break
    outcome.seconds = now - START
    return outcome
