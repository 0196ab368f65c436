"""Quota: every request is asked of the limits, and the limits are told what came of it."""

import time

import pytest
from redis import Redis

from connectors import Concurrency, FixedWindow, Headers, MinInterval, Outcome, TokenBucket
from sync.door import Means, OutcomeError
from sync.limiter import Limiter, connect
from tests.sync.api.conftest import CANARY
from tests.sync.api.talker import answer


@pytest.fixture
def limited(means: Means, redis_url: str):
    client = connect(redis_url)
    yield Means(settings=means.settings, engine=means.engine, vault=means.vault, limiter=Limiter(client, "test"))
    client.close()


def test_a_short_wait_is_slept_and_counted(talks, opens, limited):
    server = talks(lambda *_: answer())
    api = opens(server.url, means=limited, limits={"default": MinInterval(0.2)})
    api.get("/a")
    api.get("/b")
    assert api.waited > 0
    assert len(server.heard) == 2


def test_a_long_wait_gives_the_worker_back_with_the_reason_and_the_time(talks, opens, limited):
    server = talks(lambda *_: answer())
    api = opens(server.url, means=limited, limits={"default": MinInterval(300)})
    api.get("/a")
    error = refusal(api)
    assert error.outcome is Outcome.RATE_LIMITED
    assert error.wait > 290
    assert "spent" in error.why
    assert (len(server.heard), api.requests, api.waited) == (1, 1, 0)


def test_a_call_in_flight_is_given_back_however_it_ended(talks, opens, limited):
    said = iter([answer(status="500 Sorry"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", answer()])
    server = talks(lambda heard, connection: next(said))
    api = opens(server.url, means=limited, limits={"default": Concurrency(1)}, request_seconds=0.5)
    assert refusal(api).status == 500
    assert refusal(api).outcome is Outcome.RETRY
    assert api.get("/x").status == 200


def test_what_the_answer_says_is_left_is_believed(talks, opens, limited):
    reset = str(int(time.time()) + 600)
    server = talks(lambda *_: answer(Date="", X_RateLimit_Remaining="0", X_RateLimit_Reset=reset))
    limit = FixedWindow(1000, 3600, feedback=Headers())
    api = opens(server.url, means=limited, limits={"default": limit})
    api.get("/a")
    assert refusal(api).outcome is Outcome.RATE_LIMITED
    assert len(server.heard) == 1


def test_a_refusal_stops_every_call_with_the_credential(talks, opens, limited, keep, means):
    server = talks(lambda *_: answer(status="429 Slow", Retry_After="300"))
    credential = keep(key=CANARY)
    limits = {"default": TokenBucket(100), "search": TokenBucket(10, scope="{credential}:search")}
    refusal(opens(server.url, means=limited, limits=limits, credential_id=credential))
    other = opens(server.url, means=limited, limits=limits, credential_id=credential, limit="search")
    assert refusal(other).outcome is Outcome.RATE_LIMITED
    assert len(server.heard) == 1


def test_the_block_in_redis_alone_stops_a_door_that_is_open(talks, opens, limited, keep):
    said = iter([answer(status="429 Slow", Retry_After="300")])
    server = talks(lambda *_: next(said, answer()))
    credential = keep(key=CANARY)
    first, second = (
        opens(server.url, means=limited, limits={"default": "100/second"}, credential_id=credential) for _ in "12"
    )
    refusal(first)
    error = refusal(second)
    assert "blocked by the vendor" in error.why
    assert len(server.heard) == 1


def test_limits_that_can_not_be_asked_put_the_work_off(talks, opens, means, redis_url):
    server = talks(lambda *_: answer())
    gone = Means(
        settings=means.settings, engine=means.engine, vault=means.vault,
        limiter=Limiter(Redis(port=1, socket_connect_timeout=0.2), "test"),
    )  # fmt: skip
    error = refusal(opens(server.url, means=gone, limits={"default": "100/second"}))
    assert error.outcome is Outcome.RATE_LIMITED
    assert "REDIS_URL" in error.why
    assert not server.heard


def test_a_scope_may_name_an_option_of_the_connection(talks, opens, limited):
    server = talks(lambda *_: answer())
    limits = {"default": MinInterval(300, scope="{base}")}
    for base in ("one", "two"):
        opens(server.url, means=limited, limits=limits, config={"base": base}).get("/x")
    assert refusal(opens(server.url, means=limited, limits=limits, config={"base": "one"})).outcome == "rate_limited"


def refusal(api, path="/x"):
    with pytest.raises(OutcomeError) as caught:
        api.get(path)
    return caught.value
