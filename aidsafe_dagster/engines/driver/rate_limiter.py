"""RateLimiter: keeps the calls to one server within its limit, whether that is set or learned.

It computes with the times it is given and does no I/O. What it knows is one small `RateState`,
which processes share (`rate_file.py`).

FREE: no limit is known, and nothing is held back. Isolated rejections ("too many requests", 429)
change nothing. When most of the latest calls are rejected, there is a limit.

PROBING: one call at a time, at growing intervals, until one is accepted.

PACED: calls go at even intervals. What is accepted between two rejections is what the limit admits,
since a token bucket is empty at both. The rate is taken from there after each rejection, and rises
slowly until the next one, so that a few calls in a hundred are rejected and nothing is left unused.

RAMP: batches of 2, 4, 8 … calls, each once the one before it has met no rejection. So begins a
server whose limit is set, whose bucket may be full, and one that opens after a long closure: a
fixed window. The calls that a window admits and the time from opening to opening are kept, and the
next opening is predicted.

A server that rejects and accepts in turn, however slowly it is asked, has no limit that could be
kept to: its rejections depend on others. Then nothing is held back for a while, and each rejected
call waits by itself.

A call counts as accepted when it is sent, until it is rejected: an answer may take long, a
rejection comes within a round trip. Calls that are rejected and were sent before the latest
rejection belong to the same event.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from aidsafe_dagster.engines.driver.rate_state import (
    FIRST_GAP_S,
    Limit,
    Mode,
    RateState,
    Send,
)

_NEIGHBOURS = 10
_MANY = 6
"""So many rejections among `_NEIGHBOURS` calls that were sent in a row mean a limit."""
_FEW = 3
"""As do so many when nothing else was sent."""
_FEW_TO_MEASURE = 5
_REMEMBERED = 512
"""Latest calls whose neighbours are known."""
_FREE_SPAN_S = 60.0
_STEADY_S = 20.0
"""What was accepted over so long is a rate, and no burst."""
_LONGEST_GAP_S = 8.0
_CLOSED_S = 4.0
"""A server that rejects single probes for so long may have a fixed window."""
_MARGIN = 0.99
"""Of a known limit: arrivals jitter, and the smallest buckets hold one call."""
_SEARCH_STEP = 0.2
_SHORTEST_SEARCH_STEP = 0.05
_STEP = 0.0005
"""Growth of the rate per call after a rejection."""
_KNOWN_FACTOR = 4.0
"""Growth is faster up to a limit that is set."""
_FASTER_AFTER = 50.0
"""After so many calls the growth per call has doubled, then tripled …"""
_MOST_STEPS_PER_S = 2.0
"""At high rates the growth is per time and not per call."""
_JITTER_S = 0.01
"""How late a timer may ring without loss, at rates above ten calls a second."""
_WINDOW_S = 60.0
_LATE_S = 0.05
"""After the predicted opening of a window."""
_STALE_S = 3600.0
_IDLE_S = 10.0
"""After so long without a call, a bucket has filled again."""
_FORGET_S = 90.0
"""A ramp that meets no rejection for so long shows that there is no limit any more."""

_OUTCOMES = 12
"""Latest calls that were sent one by one."""
_REJECTED = 5
_TURNS = 3
"""So many rejections among them, and so many directly after an acceptance, say that the rate is not
the reason: a bucket that has a token for a call has one for the next at its pace."""
_FEW_ADMITTED = 20
_INDIFFERENT_S = 60.0
"""After so long, a limit is looked for again."""


@dataclass
class RateLimiter:
    """The limiter of one server."""

    limit: Limit = Limit()
    """What the settings say."""
    state: RateState = field(default_factory=RateState)
    _recent: deque[Send] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    wall_offset_s: float = 0.0
    """Added to the times that it is given, the time of day: windows open at full minutes."""
    _free_since: float = -math.inf
    _free_accepted: float = 0.0
    _sent: int = 0

    @property
    def _known(self) -> float | None:
        """The limit in units a second, if it is set."""
        return self.limit.tokens if self._counts_tokens else self.limit.calls

    @property
    def _counts_tokens(self) -> bool:
        return self.limit.calls is None and self.limit.tokens is not None

    @property
    def is_in_force(self) -> bool:
        """Whether calls may have to wait. If not, there is nothing to share."""
        return self.state.mode is not Mode.FREE or self._known is not None

    @property
    def calls_per_minute(self) -> float | None:
        """The rate in force. None where there is none, or not yet."""
        state = self.state
        if state.mode is Mode.FREE or state.rate is None:
            return None
        return 60 * state.rate / state.unit

    def allowance(self, now: float) -> int:
        """Return how many calls may be sent at this moment, 0 if they have to wait."""
        if self.wait_s(now):
            return 0
        return self.state.batch_left if self.state.mode is Mode.RAMP else 1

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next call may be sent, 0 if it may be sent now."""
        self._advance(now)
        state = self.state
        until = state.pause_until
        if state.mode is Mode.PACED:
            until = max(until, state.next_at, state.next_tokens_at)
        elif state.mode is Mode.PROBING:
            is_under_way = state.probe_at is not None
            until = max(until, self._verdict_at() if is_under_way else state.next_at)
        elif state.mode is Mode.RAMP and not state.batch_left:
            until = max(until, self._verdict_at())
        return max(0.0, until - now)

    def take(self, now: float, tokens: float = 0.0) -> Send:
        """Count a call that is sent now, with as many tokens as it will probably take."""
        self._advance(now)
        state = self.state
        units = tokens if self._counts_tokens else 1.0
        send = Send(now, units, tokens)
        if state.mode is Mode.FREE:
            self._count_free(send)
            return send
        if self._counts_tokens and state.unit == 1.0:
            state.unit = units
        state.accepted += units
        state.updated = now
        if state.mode is not Mode.RAMP:
            state.outcomes = f"{state.outcomes}a"[-_OUTCOMES:]
        if state.mode is Mode.PACED:
            self._pace(now, send)
        elif state.mode is Mode.PROBING:
            state.probe_at = now
        else:
            self._take_from_batch(now, units)
        return send

    def answer(self, now: float, send: Send, tokens: float | None = None) -> None:
        """Note an answer, or any other reply that is not a rejection, and the tokens it took."""
        state = self.state
        if state.mode is Mode.FREE:
            return
        self._advance(now)
        if tokens is not None:
            self._correct(send, tokens)
        if state.mode is Mode.PROBING and state.probe_at is not None:
            if send.at >= state.probe_at:
                self._open(now)
        elif state.mode is Mode.RAMP and send.at >= state.ramp_at:
            state.batch_answered += 1
            if not state.batch_left and state.batch_answered >= state.batch:
                self._next_batch(now)

    def reject(
        self,
        now: float,
        send: Send,
        retry_after_s: float | None = None,
        hint: Limit | None = None,
    ) -> None:
        """Note a rejection: how long the server asks to wait, and the limit that it names."""
        state = self.state
        self._advance(now)
        send.is_rejected = True
        if state.mode is Mode.FREE:
            self._free_accepted = max(0.0, self._free_accepted - 1)
            if now < state.indifferent_until or not self._is_limited(send):
                return
            self._leave_free(now, hint)
        elif send.at > state.event_at:
            self._note_rejected()
            if self._is_indifferent():
                self._set_free()
                state.indifferent_until = now + _INDIFFERENT_S
                return
            self._reject(now, send)
            if retry_after_s and retry_after_s >= self._closure_s():
                # No bucket takes so long for one call, so the server is closed until then.
                state.mode = Mode.PROBING
                self._probe_after(now, retry_after_s)
        if retry_after_s:
            state.pause_until = max(state.pause_until, now + retry_after_s)
        state.updated = now

    def _note_rejected(self) -> None:
        """Count the latest call that was sent one by one as rejected."""
        state = self.state
        latest = state.outcomes.rfind("a")
        if latest >= 0:
            before, after = state.outcomes[:latest], state.outcomes[latest + 1 :]
            state.outcomes = f"{before}r{after}"

    def _is_indifferent(self) -> bool:
        """Return whether rejections come however slowly the server is asked."""
        outcomes = self.state.outcomes
        # A limit that admitted many calls at first is one: sliding windows open by fits and starts.
        may_be = self.state.admitted <= _FEW_ADMITTED or self.state.indifferent_until
        return bool(
            may_be
            and self._known is None
            and len(outcomes) == _OUTCOMES
            and outcomes.count("r") >= _REJECTED
            and outcomes.count("ar") >= _TURNS
        )

    def _count_free(self, send: Send) -> None:
        self._sent += 1
        send.number = self._sent
        self._recent.append(send)
        elapsed = send.at - self._free_since
        if elapsed > _FREE_SPAN_S:
            kept_s = _FREE_SPAN_S / 2
            self._free_accepted *= kept_s / elapsed
            self._free_since = send.at - min(kept_s, elapsed)
            if self._free_accepted < 1:
                self._free_since = send.at
        self._free_accepted += 1

    def _is_limited(self, rejected: Send) -> bool:
        """Return whether a rejection is one of many. Later calls may not be decided yet."""
        if not self._recent:
            return False
        index = rejected.number - self._recent[0].number
        first = max(0, index - _NEIGHBOURS + 1)
        neighbours = list(islice(self._recent, first, index + 1))
        rejections = sum(send.is_rejected for send in neighbours)
        is_all = rejections == len(neighbours)
        return rejections >= _MANY or (is_all and rejections >= _FEW)

    def _leave_free(self, now: float, hint: Limit | None) -> None:
        state = self.state
        elapsed = now - self._free_since
        self._close(now)
        state.is_window = False
        state.opened_after = state.period = None
        state.allowance = max(1.0, self._free_accepted)
        state.admitted = self._free_accepted
        state.outcomes = ""
        state.rate = None
        if hint and hint.calls:
            state.rate = hint.calls
        elif elapsed >= _STEADY_S and self._free_accepted:
            state.rate = self._free_accepted / elapsed
        if state.rate:
            self._begin_pacing(now + 1.2 / state.rate, state.rate)
        else:
            state.mode = Mode.PROBING
            state.search_step = _SEARCH_STEP
            self._probe_after(now, FIRST_GAP_S)

    def _set_free(self) -> None:
        state = self.state
        fresh = RateState(
            updated=state.updated,
            latency=state.latency,
            known=self._known,
            indifferent_until=state.indifferent_until,
        )
        # In place: it is the state that other processes share.
        vars(state).update(vars(fresh))
        self._recent.clear()
        self._free_since = -math.inf
        self._free_accepted = 0.0

    def _verdict_at(self) -> float:
        """When a call that is under way and was not rejected counts as accepted."""
        state = self.state
        sent_at = state.batch_at if state.mode is Mode.RAMP else (state.probe_at or 0.0)
        return sent_at + min(5.0, max(0.1, 3 * state.latency))

    def _advance(self, now: float) -> None:
        """Begin where a limit is set; take what was not rejected for accepted."""
        state = self.state
        is_stale = not -_IDLE_S < now - state.updated < _STALE_S
        if (is_stale and state.updated) or state.known != self._known:
            self._set_free()
        if state.mode is Mode.FREE:
            if self._known is not None:
                state.updated = now
                state.rate = state.base_rate = _MARGIN * self._known
                self._begin_ramp(now, 60 * self._known, batch=4)
            return
        if state.mode is Mode.PROBING and state.probe_at is not None:
            if now >= self._verdict_at():
                self._open(now)
        elif state.mode is Mode.RAMP and not state.batch_left:
            if now >= self._verdict_at():
                self._next_batch(now)
        elif state.mode is Mode.PACED and now - state.next_at > _IDLE_S:
            idle_s = min(_WINDOW_S, now - state.next_at)
            self._begin_ramp(now, idle_s * (state.rate or 1.0), batch=4)

    def _begin_pacing(self, next_at: float, rate: float) -> None:
        state = self.state
        state.mode = Mode.PACED
        if self._known is not None:
            rate = min(rate, _MARGIN * self._known)
        state.rate = state.base_rate = rate
        state.next_at = state.next_tokens_at = next_at
        state.probe_at = None

    def _pace(self, now: float, send: Send) -> None:
        state = self.state
        rate = self._grown(state.rate or 1.0)
        if self._known is not None:
            rate = min(rate, _MARGIN * self._known)
        elif rate > 2 * state.base_rate and not state.search_step:
            # Twice what was accepted before, and no rejection: the limit is gone.
            self._set_free()
            return
        state.rate = rate
        interval = send.units / rate
        tolerance = _JITTER_S if interval < 10 * _JITTER_S else 0.0
        state.next_at = max(state.next_at, now - tolerance) + interval
        if self.limit.calls is not None and self.limit.tokens is not None:
            slowed = rate / self.limit.calls
            interval = send.tokens / (self.limit.tokens * slowed)
            state.next_tokens_at = max(state.next_tokens_at, now) + interval

    def _grown(self, rate: float) -> float:
        """Return the rate after one more call."""
        state = self.state
        step = state.search_step
        if not step:
            calls = state.accepted / state.unit
            step = _STEP * (1 + calls / _FASTER_AFTER)
            if self._known is not None:
                step *= _KNOWN_FACTOR
        calls_per_s = rate / state.unit
        steps = min(1.0, _MOST_STEPS_PER_S / calls_per_s)
        return rate * (1 + step * steps)

    def _lowered(self, now: float) -> float:
        """Return the rate after a rejection."""
        state = self.state
        rate = state.rate or 1.0
        measured = state.accepted / max(1e-3, now - state.event_at)
        if state.search_step:
            # A small bucket overflows while the rate is low, so the truth is between the two.
            between = math.sqrt(max(measured, rate / 4) * rate)
            is_short = state.accepted < _FEW_TO_MEASURE * state.unit
            return min((0.6 if is_short else 0.97) * rate, between)
        lowest = 0.9 if state.accepted >= _FEW_TO_MEASURE * state.unit else 0.7
        if self._known is not None and state.accepted >= state.unit:
            # More likely a late arrival than a limit below the one that is set.
            lowest = 0.95
        return min(0.97 * rate, max(lowest * rate, measured))

    def _correct(self, send: Send, tokens: float) -> None:
        """Put the tokens that a call took in place of those it was taken for."""
        state = self.state
        excess = tokens - send.tokens
        if self._counts_tokens:
            state.unit += 0.1 * (tokens - state.unit)
            if state.mode is Mode.PACED and state.rate:
                state.next_at += excess / state.rate
            if send.at > state.event_at:
                state.accepted += excess
            if send.at >= state.ramp_at:
                state.ramped += excess
        elif self.limit.tokens is not None and state.mode is Mode.PACED:
            state.next_tokens_at += excess / self.limit.tokens

    def _reject(self, now: float, send: Send) -> None:
        state = self.state
        state.latency += 0.2 * (now - send.at - state.latency)
        state.accepted = max(0.0, state.accepted - send.units)
        if state.mode is Mode.RAMP:
            state.ramped = max(0.0, state.ramped - send.units)
            self._end_ramp(now)
        elif state.mode is Mode.PROBING:
            self._reject_probe(now)
        elif state.accepted < state.unit / 2 and state.rejections:
            # Nothing was accepted since the latest rejection, although a bucket would have had it.
            state.rejections += 1
            state.mode = Mode.PROBING
            self._probe_after(now, 2.4 * state.unit / (state.rate or 1.0))
            state.event_at = now
        else:
            rate = self._lowered(now)
            # Too few calls to measure a rate: it is sought again in smaller steps.
            is_short = state.accepted < _FEW_TO_MEASURE * state.unit
            state.search_step = state.search_step / 2 if is_short else 0.0
            if state.search_step < _SHORTEST_SEARCH_STEP:
                state.search_step = 0.0
            self._close(now)
            self._begin_pacing(now + 1.2 * state.unit / rate, rate)

    def _close(self, now: float) -> None:
        """Begin a row of rejections."""
        state = self.state
        state.event_at = state.closed_at = now
        state.accepted = 0.0
        state.rejections = 1

    def _probe_after(self, now: float, gap: float) -> None:
        state = self.state
        longest = _LONGEST_GAP_S
        if state.rate and not state.is_window:
            longest = max(longest, state.unit / state.rate)
        state.gap = min(gap, longest)
        state.next_at = now + state.gap
        if state.gap >= _CLOSED_S:
            state.next_at = min(state.next_at, self._likely_opening(now))
        state.probe_at = None

    def _likely_opening(self, now: float) -> float:
        """Return when a window of a minute may open, of which nothing else is known."""
        until_full_minute_s = _WINDOW_S - (now + self.wall_offset_s) % _WINDOW_S
        full_minute = now + until_full_minute_s
        minute_after = self.state.ramp_at + _WINDOW_S
        times = [at + _LATE_S for at in (full_minute, minute_after)]
        return min(at for at in [*times, full_minute + _WINDOW_S] if at > now)

    def _reject_probe(self, now: float) -> None:
        state = self.state
        state.rejections += 1
        state.event_at = now
        state.accepted = 0.0
        predicted = self._next_opening(now)
        if predicted is None:
            self._probe_after(now, 2 * state.gap)
        else:
            state.probe_at = None
            state.next_at = predicted
            # If the prediction fails, probes begin anew.
            state.gap = FIRST_GAP_S

    def _next_opening(self, now: float) -> float | None:
        """Return when to probe for the next opening. None if that is not known."""
        state = self.state
        if state.period is None or state.opened_after is None:
            return None
        earliest = state.opened_after + state.period
        latest = state.opened_at + state.period
        earliest = max(earliest, now)
        if latest + _LATE_S <= now:
            return None
        if latest - earliest > 1.0:
            return (earliest + latest) / 2
        return latest + _LATE_S

    def _open(self, now: float) -> None:
        """Go on after a probe was accepted."""
        state = self.state
        probe_at = state.probe_at or now
        closed_s = probe_at - state.closed_at
        if state.is_window and self._is_too_early(probe_at):
            # No fixed window: it lets calls in little by little.
            state.is_window = False
            state.rate = state.rate or (state.allowance or state.unit) / _WINDOW_S
            state.opened_after = state.period = None
        elif state.is_window or closed_s >= self._closure_s():
            if state.is_window:
                self._note_opening(state.event_at, probe_at)
            else:
                state.opened_after, state.opened_at = state.event_at, probe_at
            allowance = state.allowance
            if self._known is not None:
                allowance = _WINDOW_S * self._known
            self._begin_ramp(now, allowance, batch=2)
            state.ramped = state.unit
            return
        if state.rate is None or state.rejections > 1:
            # A bucket had its next token between the last two probes.
            between = (probe_at + state.event_at) / 2 - state.closed_at
            if state.rejections <= 1:
                between = closed_s
            rate = state.unit / max(0.05, between)
            if state.rate is not None:
                rate = min(state.rate, max(rate, state.rate / 2))
            state.rate = rate
            state.search_step = _SEARCH_STEP
        self._begin_pacing(probe_at + state.unit / state.rate, state.rate)

    def _await_opening(self, now: float) -> None:
        state = self.state
        state.mode = Mode.PROBING
        self._probe_after(now, 4 * FIRST_GAP_S)
        state.next_at = self._next_opening(now) or state.next_at

    def _is_too_early(self, probe_at: float) -> bool:
        """Return whether a window cannot have opened yet, and the closure was short."""
        state = self.state
        if probe_at - state.closed_at >= self._closure_s():
            return False
        if state.period is None or state.opened_after is None:
            return True
        return probe_at < state.opened_after + state.period - 1

    def _closure_s(self) -> float:
        """Return how long a bucket is never without a single token."""
        state = self.state
        expected_s = 3 * state.unit / state.rate if state.rate else 0.0
        return max(_CLOSED_S, expected_s)

    def _note_opening(self, after: float, at: float) -> None:
        state = self.state
        if state.opened_after is not None:
            shortest = after - state.opened_at
            longest = at - state.opened_after
            period = state.period or _WINDOW_S
            if not shortest - 0.5 <= period <= longest + 0.5:
                period = at - state.opened_at
            state.period = period
            # What was known before may be closer than what the probes have shown now.
            after = max(after, state.opened_after + period)
            if state.opened_at + period > after:
                at = min(at, state.opened_at + period)
        state.opened_after, state.opened_at = after, at

    def _begin_ramp(self, now: float, allowance: float | None, batch: int) -> None:
        state = self.state
        state.mode = Mode.RAMP
        state.ramp_at = now
        state.allowance = allowance
        state.ramped = 0.0
        state.batch = 0
        state.rejections = 0
        state.probe_at = None
        self._begin_batch(now, batch)

    def _begin_batch(self, now: float, size: int) -> None:
        state = self.state
        if state.allowance is not None:
            left = int((state.allowance - state.ramped) / state.unit)
            # Beyond what a window has admitted before, one call alone tries for more.
            size = min(size, left) if left >= 1 else 1
        state.batch = state.batch_left = size
        state.batch_answered = 0
        state.batch_at = now

    def _take_from_batch(self, now: float, units: float) -> None:
        state = self.state
        state.batch_left = max(0, state.batch_left - 1)
        state.batch_at = now
        state.ramped += units
        is_used_up = state.allowance is not None and (
            state.ramped + state.unit > state.allowance
        )
        if not is_used_up:
            return
        if not self._is_after_closure():
            rate = state.rate or 1.0
            self._begin_pacing(now + state.unit / rate, rate)
        elif self._known is not None:
            # A limit that is set is not tried out.
            state.is_window = True
            self._close(now)
            self._await_opening(now)

    def _is_after_closure(self) -> bool:
        return self.state.opened_after is not None

    def _next_batch(self, now: float) -> None:
        state = self.state
        if now - state.ramp_at > _FORGET_S and self._known is None:
            self._set_free()
            return
        size = 2 * max(1, state.batch)
        is_beyond = state.allowance is not None and state.ramped >= state.allowance
        if is_beyond:
            state.allowance = None
        self._begin_batch(now, size if not is_beyond or state.batch == 1 else 1)

    def _end_ramp(self, now: float) -> None:
        """Go on after a rejection in a ramp."""
        state = self.state
        admitted = state.ramped
        span = max(0.1, now - state.closed_at)
        rate = state.rate
        is_after_closure = self._is_after_closure()
        self._close(now)
        if not is_after_closure and rate:
            # The bucket was less full than it might have been.
            self._begin_pacing(now + 1.2 * state.unit / rate, rate)
        elif admitted <= _FEW * state.unit and not state.is_window:
            # A slow bucket, or a window that opens little by little.
            state.opened_after = None
            state.search_step = _SEARCH_STEP
            if rate:
                rate = max(rate / 2, admitted / span)
                self._begin_pacing(now + 1.2 * state.unit / rate, rate)
            else:
                state.mode = Mode.PROBING
                self._probe_after(now, FIRST_GAP_S)
        else:
            state.is_window = True
            state.allowance = admitted
            state.mode = Mode.PROBING
            # Whether it is a window shows if this probe is rejected.
            self._probe_after(now, max(1.0, 2 * state.unit / (rate or 1.0)))
