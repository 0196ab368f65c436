"""Shared limits on a real Redis: counted at simulated instants, never timed."""

import logging
import multiprocessing
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import Queue
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors import Concurrency, ContractError, Cost, FixedWindow, Headers, Limit, MinInterval, TokenBucket, limit
from sync.limiter import Blocks, Grant, Limiter, LimiterUnavailable, Wait, connect
from sync.limiter.blocks import block_size

pytestmark = pytest.mark.servers

START = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
NAMES = {"credential": "7", "connection": "3", "stream": "issues"}
FAST = limit("100/second")  # a burst of 20


class Clock:
    """The instant at which all is asked, in whole microseconds; moved by hand."""

    def __init__(self, now: float = START) -> None:
        self.microseconds = round(now * 1e6)

    def __call__(self) -> float:
        return self.microseconds / 1e6

    def sleep(self, seconds: float) -> None:
        self.microseconds += round(seconds * 1e6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def prefix() -> str:
    return f"test:{uuid.uuid4().hex}"


@pytest.fixture
def client(redis_url: str, prefix: str) -> Iterator[Any]:
    with connect(redis_url) as connection:
        yield connection
        forget(connection, prefix)


@pytest.fixture
def limiter(client, prefix: str, clock: Clock) -> Limiter:
    """A limiter whose Redis began to count long ago."""
    client.set(f"{prefix}:born", 0)
    return Limiter(client, prefix, clock=clock)


def forget(client, prefix: str) -> None:
    """What FLUSHALL does, to our own keys."""
    for key in client.scan_iter(f"{prefix}:*"):
        client.delete(key)


def granted(limiter, limits: tuple[Limit, ...], lane: str = "interactive", most: int = 1000, cost: int = 1) -> int:
    """How many calls are granted at this instant."""
    for count in range(most):
        if isinstance(limiter.acquire(limits, NAMES, lane, cost), Wait):
            return count
    return most


def taken(limiter: Limiter, limits: tuple[Limit, ...], lane: str = "interactive") -> Grant:
    answer = limiter.acquire(limits, NAMES, lane)
    assert isinstance(answer, Grant), answer
    return answer


def refused(limiter: Limiter, limits: tuple[Limit, ...], lane: str = "interactive") -> Wait:
    answer = limiter.acquire(limits, NAMES, lane)
    assert isinstance(answer, Wait), answer
    return answer


# All workers together


def hammer(url: str, prefix: str, barrier: Barrier, counts: Queue[list[int]]) -> None:
    """One of several processes that ask all at once, instant by instant."""
    clock = Clock()
    limiter = Limiter(connect(url), prefix, clock=clock)
    mine = []
    for _ in range(21):
        barrier.wait(60)
        mine.append(granted(limiter, (FAST,), most=30))
        barrier.wait(60)
        clock.sleep(0.1)
    counts.put(mine)


def rush(url: str, prefix: str, barrier: Barrier, moments: Queue[list[float]]) -> None:
    """One of several processes that ask as fast as they can, half of them through blocks."""
    limiter = Limiter(connect(url), prefix)
    source = Blocks(limiter) if barrier.wait(60) % 2 else limiter
    answers = [source.acquire((TokenBucket(2000),), NAMES, "interactive") for _ in range(1500)]
    moments.put([answer.at for answer in answers if isinstance(answer, Grant)])


def in_four_processes(target, url: str, prefix: str) -> list[list[Any]]:
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(4), spawn.Queue()
    workers = [spawn.Process(target=target, args=(url, prefix, barrier, answers)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
    return found


def test_four_processes_together_get_the_burst_and_then_the_rate(redis_url, client, prefix):
    counts = in_four_processes(hammer, redis_url, prefix)
    assert [sum(instant) for instant in zip(*counts, strict=True)] == [20] + [10] * 20


def test_four_processes_never_pass_limit_and_burst_in_any_window_of_redis_time(redis_url, client, prefix):
    moments = sorted(at for each in in_four_processes(rush, redis_url, prefix) for at in each)
    assert len(moments) > 400, "they had the burst at least"
    for first, begin in enumerate(moments):
        for last in range(first, len(moments), 50):
            assert last - first + 1 <= 400 + 2000 * (moments[last] - begin) + 1


# Shares, scopes, costs


@pytest.mark.parametrize(("share", "burst", "total"), [(1.0, 20, 1020), (0.4, 8, 408)])
def test_a_share_gives_its_part_of_the_rate_and_of_the_burst(limiter, clock, share, burst, total):
    limits = (limit("100/second", share=share),)
    counts = [granted(limiter, limits)]
    for _ in range(200):
        clock.sleep(0.05)
        counts.append(granted(limiter, limits))
    assert counts[0] == burst
    assert sum(counts) == total


@pytest.mark.parametrize(
    ("one", "count"),
    [
        (FixedWindow(30, 60, share=0.4), 12),
        (Concurrency(5, share=0.4), 2),
        (FixedWindow(1, 60, share=0.1), 1),
    ],
)
def test_a_share_of_a_window_or_of_calls_in_flight_is_one_at_least(limiter, one, count):
    assert granted(limiter, (one,)) == count


def test_equal_limits_of_one_scope_are_one_and_of_two_scopes_are_two(limiter):
    assert granted(limiter, (limit("100/second"),)) == 20
    assert granted(limiter, (limit("100/second"),)) == 0
    assert granted(limiter, (limit("100/second", scope="{connection}"),)) == 20
    assert granted(limiter, (limit("100/second", scope="{credential}:search"),)) == 20


def test_another_credential_has_limits_of_its_own(limiter):
    granted(limiter, (FAST,))
    assert isinstance(limiter.acquire((FAST,), NAMES | {"credential": "8"}, "interactive"), Grant)


def test_a_scope_whose_name_the_call_lacks_is_refused_loudly(limiter):
    with pytest.raises(ContractError, match="'base'"):
        limiter.acquire((limit("5/second", scope="{base}"),), NAMES, "interactive")


def test_a_lane_that_is_none_and_a_cost_below_one_are_refused_loudly(limiter):
    with pytest.raises(ContractError, match="backfill"):
        limiter.acquire((FAST,), NAMES, "express")
    with pytest.raises(ContractError, match="cost"):
        limiter.acquire((FAST,), NAMES, "interactive", 0)


def test_points_and_calls_are_counted_apart(limiter):
    points, calls = TokenBucket(900, 60, 50), FixedWindow(80, 60, unit="call")
    assert granted(limiter, (points, calls), cost=5) == 10
    assert granted(limiter, (calls,), cost=5) == 70


def test_a_call_dearer_than_the_burst_is_late_but_not_refused_for_ever(limiter, clock):
    assert granted(limiter, (FAST,)) == 20
    wait = limiter.acquire((FAST,), NAMES, "backfill", 50)
    assert isinstance(wait, Wait)
    clock.sleep(wait.seconds)
    assert isinstance(limiter.acquire((FAST,), NAMES, "backfill", 50), Grant)
    assert refused(limiter, (FAST,)).seconds == pytest.approx(0.31, abs=1e-4)


def test_all_limits_grant_or_none_is_taken(limiter):
    few = FixedWindow(3, 60)
    assert granted(limiter, (FAST, few, Concurrency(9))) == 3
    assert granted(limiter, (FAST,)) == 17
    assert granted(limiter, (Concurrency(9),)) == 6


def test_intervals_keep_their_distance(limiter, clock):
    limits = (MinInterval(2),)
    assert granted(limiter, limits) == 1
    clock.sleep(1.999)
    assert refused(limiter, limits).seconds == pytest.approx(0.001, abs=1e-5)
    clock.sleep(0.001)
    assert granted(limiter, limits) == 1


# Waits


def test_a_wait_says_which_limit_whose_and_when(limiter):
    granted(limiter, (FAST,))
    assert refused(limiter, (FAST,)) == Wait(
        0.01, "100/second of credential 7 is spent; next at 2026-03-01T12:00:00.010+00:00"
    )


def test_of_several_waits_the_longest_is_told(limiter):
    limits = (limit("1/second"), FixedWindow(1, 60), MinInterval(2))
    granted(limiter, limits)
    assert refused(limiter, limits).seconds == 60
    assert refused(limiter, limits).reason.startswith("1 in each minute of credential 7 is spent")


def test_a_wait_for_a_reserve_says_so(limiter):
    granted(limiter, (FAST,), "backfill")
    assert "kept for work before backfill" in refused(limiter, (FAST,), "backfill").reason


LIMITS = (FAST, limit("3/second"), MinInterval(0.5), FixedWindow(10, 5), TokenBucket(50, 10, share=0.3))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(st.sampled_from(LIMITS), min_size=1),
    st.lists(
        st.tuples(st.sampled_from(["interactive", "schedule", "backfill"]), st.integers(1, 6), st.floats(0, 2)),
        max_size=25,
    ),
)
def test_who_waits_as_long_as_he_was_told_is_granted(client, limits, story):
    clock, prefix = Clock(), f"test:{uuid.uuid4().hex}"
    limiter = Limiter(client, prefix, clock=clock)
    for lane, cost, pause in story:
        answer = limiter.acquire(tuple(limits), NAMES, lane, cost)
        for _ in limits:  # the longest of several waits may be for a window that then is paced
            if isinstance(answer, Wait):
                clock.sleep(answer.seconds)
                answer = limiter.acquire(tuple(limits), NAMES, lane, cost)
        assert isinstance(answer, Grant)
        clock.sleep(pause)
    forget(client, prefix)


# Lanes


def test_interactive_calls_find_room_at_the_full_rate_while_backfill_hammers(limiter, clock):
    backfilled = granted(limiter, (FAST,), "backfill")
    assert backfilled == 15
    for _ in range(300):
        clock.sleep(0.01)
        backfilled += granted(limiter, (FAST,), "backfill")
        taken(limiter, (FAST,))
    assert backfilled <= 16, "backfill had what was idle and no more"


def test_an_interactive_burst_finds_the_whole_reserve(limiter):
    granted(limiter, (FAST,), "backfill")
    assert granted(limiter, (FAST,), "schedule") == 3
    assert granted(limiter, (FAST,), "webhook") == 2


def test_schedule_goes_before_backfill_when_both_hammer(limiter, clock):
    granted(limiter, (FAST,))
    counts = {"backfill": 0, "schedule": 0}
    for _ in range(300):
        clock.sleep(0.01)
        for lane in counts:
            counts[lane] += granted(limiter, (FAST,), lane)
    assert counts["backfill"] == 0
    assert counts["schedule"] >= 297


def test_backfill_alone_has_the_whole_rate(limiter, clock):
    count = granted(limiter, (FAST,), "backfill")
    for _ in range(1000):
        clock.sleep(0.01)
        count += granted(limiter, (FAST,), "backfill")
    assert count == 1015


def test_in_a_bucket_of_one_backfill_asks_later_than_others(limiter, clock):
    limits = (limit("1/second"),)
    taken(limiter, limits, "backfill")
    assert refused(limiter, limits, "backfill").seconds == pytest.approx(1.2)
    assert refused(limiter, limits, "schedule").seconds == pytest.approx(1.05)
    clock.sleep(1.1)
    refused(limiter, limits, "backfill")
    taken(limiter, limits)


@pytest.mark.parametrize("one", [FixedWindow(40, 60), Concurrency(40)])
def test_of_windows_and_calls_in_flight_each_lane_leaves_its_part(limiter, one):
    assert granted(limiter, (one,), "backfill") == 32
    assert granted(limiter, (one,), "schedule") == 6
    assert granted(limiter, (one,), "interactive") == 2


@pytest.mark.parametrize("one", [FixedWindow(1, 60), Concurrency(1), FixedWindow(2, 60), Concurrency(2)])
def test_no_lane_is_shut_out_of_a_small_limit(limiter, one):
    assert granted(limiter, (one,), "backfill") == 1


# Windows


def test_a_window_opens_with_its_first_call(limiter, clock):
    limits = (FixedWindow(30, 60),)
    taken(limiter, limits)
    clock.sleep(59)
    assert granted(limiter, limits) == 29
    assert refused(limiter, limits).seconds == pytest.approx(1)
    clock.sleep(1)
    assert granted(limiter, limits) == 30


def test_a_day_ends_at_midnight_of_the_vendors_zone(limiter, clock):
    almost_midnight = datetime(2026, 3, 28, 22, 59, tzinfo=UTC).timestamp()
    clock.sleep(almost_midnight - START)
    limits = (FixedWindow(30, 86_400, "Europe/Berlin"),)
    assert granted(limiter, limits) == 30
    assert refused(limiter, limits).seconds == pytest.approx(60)
    clock.sleep(60)
    assert granted(limiter, limits) == 30
    assert refused(limiter, limits).seconds == pytest.approx(23 * 3600), "the day on which summer time begins"


# Calls in flight


def test_a_released_call_makes_room_and_only_once(limiter):
    limits = (Concurrency(2),)
    first, _ = taken(limiter, limits), taken(limiter, limits)
    refused(limiter, limits)
    limiter.release(first)
    limiter.release(first)
    assert granted(limiter, limits) == 1


def test_a_dead_holders_lease_expires(limiter, clock):
    limits = (Concurrency(2, lease_seconds=60),)
    assert granted(limiter, limits) == 2
    clock.sleep(59.5)
    assert refused(limiter, limits).seconds == pytest.approx(0.5)
    clock.sleep(0.5)
    assert granted(limiter, limits) == 2


# Lost memory


def test_an_emptied_redis_costs_a_bucket_one_burst(limiter, client, prefix, clock):
    count = granted(limiter, (FAST,))
    for instant in range(100):
        if instant == 50:
            forget(client, prefix)
        count += granted(limiter, (FAST,))
        clock.sleep(0.01)
    assert count <= 100 + 2 * 20


def test_an_emptied_redis_costs_a_window_a_fifth(limiter, client, prefix, clock):
    limits = (FixedWindow(100, 60),)
    assert granted(limiter, limits) == 100
    clock.sleep(10)
    forget(client, prefix)
    assert granted(limiter, limits) == 20
    wait = refused(limiter, limits)
    assert "Redis is new or was emptied" in wait.reason
    clock.sleep(wait.seconds - 1)
    assert granted(limiter, limits) == 0
    clock.sleep(1)
    assert granted(limiter, limits) == 100


def test_where_headers_will_correct_it_the_rest_of_a_forgotten_window_comes_evenly(limiter, client, prefix, clock):
    limits = (FixedWindow(100, 60, feedback=Headers()),)
    forget(client, prefix)
    assert granted(limiter, limits) == 20
    clock.sleep(6)
    assert granted(limiter, limits) == 10
    limiter.observe(limits, NAMES, {"x-ratelimit-remaining": "0"}, now=clock())
    clock.sleep(6)
    assert granted(limiter, limits) == 0


def test_a_day_that_began_after_redis_is_granted_in_full(limiter, client, prefix, clock):
    forget(client, prefix)
    limits = (FixedWindow(100, 86_400),)
    assert granted(limiter, limits) == 20
    clock.sleep(12 * 3600)
    assert granted(limiter, limits) == 100


def test_scripts_that_redis_forgot_are_sent_again(limiter, client):
    taken(limiter, (FAST,))
    client.script_flush()
    taken(limiter, (FAST,))


# What the vendor says


def test_headers_lower_a_bucket_and_never_raise_it(limiter, clock):
    limits = (limit("100/second", feedback=Headers()),)
    limiter.observe(limits, NAMES, {"X-RateLimit-Remaining": "5"}, now=clock())
    assert granted(limiter, limits) == 5
    limiter.observe(limits, NAMES, {"X-RateLimit-Remaining": "19"}, now=clock())
    limiter.observe(limits, NAMES, {"X-RateLimit-Remaining": "5000"}, now=clock())
    assert granted(limiter, limits) == 0


def test_an_empty_bucket_waits_for_the_stated_reset(limiter, clock):
    limits = (limit("100/minute", feedback=Headers(format="delta_s")),)
    limiter.observe(limits, NAMES, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, now=clock())
    assert refused(limiter, limits).seconds == pytest.approx(30)


def test_a_reset_beyond_the_limits_own_period_is_a_misreading(limiter, clock):
    limits = (limit("100/minute", feedback=Headers(format="delta_s")),)
    limiter.observe(limits, NAMES, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1e9"}, now=clock())
    assert refused(limiter, limits).seconds == pytest.approx(60)


def test_headers_lower_a_window_and_put_off_its_end(limiter, clock):
    limits = (FixedWindow(100, 60, feedback=Headers()),)
    taken(limiter, limits)
    clock.sleep(30)
    answer = {"x-ratelimit-remaining": "4", "x-ratelimit-reset": str(clock() + 40)}
    limiter.observe(limits, NAMES, answer, now=clock())
    assert granted(limiter, limits) == 4
    assert refused(limiter, limits).seconds == pytest.approx(40)
    limiter.observe(limits, NAMES, {"x-ratelimit-remaining": "90"}, now=clock())
    assert granted(limiter, limits) == 0


def test_a_late_answer_from_a_window_that_is_over_changes_nothing(limiter, clock):
    limits = (FixedWindow(100, 60, feedback=Headers()),)
    answer = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(clock() - 1)}
    limiter.observe(limits, NAMES, answer, now=clock())
    assert granted(limiter, limits) == 100


@pytest.mark.parametrize(
    "one",
    [
        FixedWindow(100, 60, feedback=Headers(limit="x-limit")),
        TokenBucket(100, 1, 100, feedback=Headers(limit="x-limit")),
    ],
)
def test_a_vendor_that_grants_less_than_declared_is_believed_until_it_grants_more(limiter, clock, one):
    limiter.observe((one,), NAMES, {"x-limit": "25"}, now=clock())
    assert granted(limiter, (one,)) == 25
    clock.sleep(60)
    limiter.observe((one,), NAMES, {"x-limit": "1000"}, now=clock())
    assert granted(limiter, (one,)) == 100


def test_usage_of_the_form_used_of_limit_is_understood(limiter, clock):
    limits = (FixedWindow(5000, 86_400, feedback=Headers(usage="sforce-limit-info")),)
    limiter.observe(limits, NAMES, {"Sforce-Limit-Info": "api-usage=4990/5000"}, now=clock())
    assert granted(limiter, limits) == 10


def test_headers_that_are_absent_or_garbage_change_nothing(limiter, clock):
    limits = (
        limit("100/second", feedback=Headers(limit="x-limit")),
        FixedWindow(100, 60, feedback=Headers()),
    )
    for value in ("", "many", "nan", "inf"):
        limiter.observe(limits, NAMES, {"x-ratelimit-remaining": value, "x-limit": value}, now=clock())
    limiter.observe(limits, NAMES, {}, now=clock())
    assert granted(limiter, limits) == 20


COST = Cost(
    "throttle.available",
    "throttle.restore",
    "throttle.maximum",
    "actual",
    expected=10,
    per_second=50,
    burst=100,
)


def answer_of(**values: object):
    return lambda path: values.get(path.rpartition(".")[2])


def test_a_told_cost_charges_what_is_expected_and_gives_back_what_was_not_used(limiter, clock):
    assert granted(limiter, (COST,), most=9) == 9
    limiter.observe((COST,), NAMES, {}, answer_of(available=95, actual=2), clock())
    assert granted(limiter, (COST,)) == 1
    limiter.observe((COST,), NAMES, {}, answer_of(available=95, actual=32), clock(), cost=40)
    assert granted(limiter, (COST,)) == 1, "8 were left, 8 came back"


def test_a_told_cost_follows_the_vendors_size_and_refill(limiter, clock):
    limiter.observe((COST,), NAMES, {}, answer_of(available=1000, maximum=1000, restore=100), clock())
    assert granted(limiter, (COST,)) == 100
    clock.sleep(1)
    assert granted(limiter, (COST,)) == 10
    limiter.observe((COST,), NAMES, {}, answer_of(available=0, maximum=200, restore=10), clock())
    assert refused(limiter, (COST,)).seconds == pytest.approx(1)


def test_a_told_cost_is_lowered_to_what_is_available(limiter, clock):
    limiter.observe((COST,), NAMES, {}, answer_of(available=25), clock())
    assert granted(limiter, (COST,)) == 2


# Refusals


def test_a_refusal_that_states_nothing_halves_the_rate_and_empties_the_bucket(limiter, clock):
    limiter.penalise((FAST,), NAMES)
    wait = refused(limiter, (FAST,))
    assert wait.seconds == pytest.approx(0.02)
    assert "slowly" in wait.reason
    clock.sleep(1)
    assert granted(limiter, (FAST,)) == 10, "half the burst"
    clock.sleep(0.1)
    assert granted(limiter, (FAST,)) == 5


def test_refusals_of_calls_in_flight_together_count_once(limiter, clock):
    for _ in range(5):
        limiter.penalise((FAST,), NAMES)
    clock.sleep(1)
    assert granted(limiter, (FAST,)) == 10
    clock.sleep(5)
    limiter.penalise((FAST,), NAMES)
    assert refused(limiter, (FAST,)).seconds == pytest.approx(0.04, rel=0.05)


def test_a_halved_rate_comes_back_by_a_twentieth_a_minute(limiter, clock):
    limiter.penalise((FAST,), NAMES)
    clock.sleep(60 * 5)
    assert granted(limiter, (FAST,)) == 15
    clock.sleep(60 * 5)
    assert granted(limiter, (FAST,)) == 20


def test_a_penalty_slows_windows_and_calls_in_flight_too(limiter, clock):
    window, flight = FixedWindow(60, 60), Concurrency(10)
    limiter.penalise((window, flight), NAMES)
    assert granted(limiter, (flight,)) == 5
    assert refused(limiter, (window,)).seconds == pytest.approx(2)
    clock.sleep(60 * 10)
    assert granted(limiter, (window,)) == 60
    assert granted(limiter, (flight,)) == 10


def test_a_penalty_has_a_floor(limiter, clock):
    for _ in range(20):
        limiter.penalise((FAST,), NAMES)
        clock.sleep(5)
    limiter.penalise((FAST,), NAMES)
    assert refused(limiter, (FAST,)).seconds == pytest.approx(0.32)


def test_a_block_stops_its_scope_until_its_time(limiter, clock):
    limiter.block("{credential}", NAMES, clock() + 30, "429 asked for 30 seconds\nand more")
    wait = refused(limiter, ())
    assert wait.seconds == pytest.approx(30)
    assert "credential 7 is blocked by the vendor: 429 asked for 30 seconds" in wait.reason
    assert isinstance(limiter.acquire((FAST,), {"credential": "8"}, "interactive"), Grant)
    clock.sleep(30)
    taken(limiter, (FAST,))


def test_a_block_takes_from_no_limit(limiter, clock):
    limiter.block("{connection}", NAMES, clock() + 30, "quota")
    refused(limiter, (FAST,))
    limiter.unblock("{connection}", NAMES)
    assert granted(limiter, (FAST,)) == 20


def test_a_block_is_never_shortened(limiter, clock):
    for seconds in (30, 10, -10):
        limiter.block("{credential}", NAMES, clock() + seconds, "quota")
    assert refused(limiter, (FAST,)).seconds == pytest.approx(30)


def test_a_block_of_several_names_stops_the_calls_with_a_limit_of_that_scope(limiter, clock):
    search = limit("30/minute", scope="{credential}:{stream}")
    limiter.block("{credential}:{stream}", NAMES, clock() + 30, "search is spent")
    refused(limiter, (search,))
    taken(limiter, (FAST,))


# Redis


def test_without_redis_nothing_is_granted_and_the_error_names_the_setting(tmp_path, caplog):
    limiter = Limiter(connect(f"unix://{tmp_path}/nobody.sock"), "test")
    with pytest.raises(LimiterUnavailable, match="REDIS_URL"):
        limiter.acquire((FAST,), NAMES, "interactive")
    with caplog.at_level(logging.WARNING):
        limiter.penalise((FAST,), NAMES)
        limiter.block("{credential}", NAMES, START, "quota")
        limiter.release(Grant(at=0, name="x", held=("y",)))
    assert caplog.text.count("REDIS_URL") == 3


def test_a_redis_that_hangs_is_unavailable(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/mute.sock")
        server.listen()
        limiter = Limiter(connect(f"unix://{tmp_path}/mute.sock?socket_timeout=0.1"), "test")
        with pytest.raises(LimiterUnavailable, match="REDIS_URL"):
            limiter.acquire((FAST,), NAMES, "interactive")


def test_a_dropped_connection_is_opened_again(redis_url, prefix):
    with connect(redis_url) as mine, connect(redis_url) as other:
        limiter = Limiter(mine, prefix)
        taken(limiter, (FAST,))
        other.client_kill_filter(_id=mine.client_id())
        taken(limiter, (FAST,))
        forget(other, prefix)


def test_without_a_test_clock_it_is_redis_that_says_what_time_it_is(client, prefix):
    def now() -> float:
        seconds, microseconds = client.time()
        return float(seconds + microseconds / 1e6)

    before = now()
    grant = taken(Limiter(client, prefix), (FAST, Concurrency(3)), "backfill")
    assert before <= grant.at <= now()


# Blocks


class Counted(Limiter):
    """A limiter that remembers how many calls it was asked for each time."""

    asked: list[int]

    def acquire(self, limits, names, lane, cost=1, *, calls=1):
        self.asked.append(calls)
        return super().acquire(limits, names, lane, cost, calls=calls)


@pytest.fixture
def counted(limiter, client, prefix: str, clock: Clock) -> Counted:
    counted = Counted(client, prefix, clock=clock)
    counted.asked = []
    return counted


FASTER = limit("1000/second")  # a burst of 200, a block of 10


def test_blocks_grow_while_used_and_spare_the_way_to_redis(counted, clock):
    blocks = Blocks(counted, clock=clock)
    assert granted(blocks, (FASTER,), most=105) == 105
    assert counted.asked == [1, 2, 4, 8] + [10] * 9
    assert granted(blocks, (FASTER,)) == 95, "to the last one, one by one where a block is too much"


def test_blocks_grant_no_more_than_the_limiter(limiter, clock):
    blocks = Blocks(limiter, clock=clock)
    other = Blocks(limiter, clock=clock)
    count = granted(blocks, (FASTER,)) + granted(other, (FASTER,))
    for _ in range(100):
        clock.sleep(0.01)
        count += granted(blocks, (FASTER,)) + granted(other, (FASTER,))
    assert count == 200 + 1000


def test_what_is_left_of_a_block_is_lost(counted, clock):
    blocks = Blocks(counted, clock=clock)
    granted(blocks, (FASTER,), most=16)
    clock.sleep(0.1)
    granted(blocks, (FASTER,), most=1)
    assert counted.asked == [1, 2, 4, 8, 10, 1]


def test_blocks_are_for_one_credential_and_lane(counted, clock):
    blocks = Blocks(counted, clock=clock)
    granted(blocks, (FASTER,), most=3)
    granted(blocks, (FASTER,), "backfill", most=1)
    blocks.acquire((FASTER,), NAMES | {"credential": "8"}, "interactive")
    assert counted.asked == [1, 2, 1, 1]


@pytest.mark.parametrize(
    "limits",
    [
        (FASTER, Concurrency(50)),
        (MinInterval(0.001),),
        (FASTER, COST),
        (FAST,),
        (),
        (FixedWindow(100, 1), FASTER),
    ],
)
def test_calls_in_flight_intervals_costs_and_slow_limits_are_never_stored(limits):
    assert block_size(limits) == 1 + 4 * (limits[-1:] == (FASTER,))


def test_dear_calls_are_never_stored(counted, clock):
    assert granted(Blocks(counted, clock=clock), (FASTER,), most=5, cost=2) == 5
    assert counted.asked == [1] * 5
