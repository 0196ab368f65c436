"""Limits by credential, and every way of saying "too often"."""

from email.utils import parsedate_to_datetime

import pytest

from sync.kit.vendor import Auth, Clock, Limit
from sync.kit.vendor.limits import SPELLINGS, Limiter
from tests.sync.kit.vendor.conftest import START

# Spelling → status, the header that tells the wait, its value 60 s before the reset.
SAID = {
    "seconds": (429, "retry-after", "60"),
    "date": (429, "retry-after", "Sun, 01 Mar 2026 01:01:00 GMT"),
    "reset": (429, "x-ratelimit-reset", "1772326860"),
    "reset_ms": (400, "x-ratelimit-requests-reset", "1772326860000"),
    "reset_iso": (429, "x-ratelimit-reset", "2026-03-01T01:01:01Z"),
    "secondary": (403, "retry-after", "60"),
    "body": (200, "retry-after", "60"),
    "graphql": (200, "", ""),
    "bare": (429, "", ""),
}


def test_every_spelling_is_proved_here():
    assert SAID.keys() == SPELLINGS.keys()


@pytest.mark.parametrize("spelling", SAID)
def test_too_often_is_said_so(notes, asker, clock, monkeypatch, spelling):
    monkeypatch.setattr(Clock, "elapsed_s", lambda clock: 0.0)
    limit = Limit(rate=1, window_s=60, shape="window", spelling=spelling)
    client = asker(notes(1, vendor={"limit": limit}))
    assert client.get("/v1/notes").json()["data"]
    refused = client.get("/v1/notes")
    status, header, value = SAID[spelling]
    assert refused.status_code == status
    assert "data" not in refused.json() or refused.json()["data"] is None
    told = {name for name in refused.headers if "ratelimit" in name or name == "retry-after"}
    assert refused.headers.get(header, "") == value
    assert bool(told) == bool(header)


def test_the_words_of_the_odd_ones_can_be_matched(notes, asker):
    for spelling, word in (
        ("secondary", "secondary rate limit"),
        ("body", "ratelimited"),
        ("graphql", "THROTTLED"),
    ):
        client = asker(notes(1, vendor={"limit": Limit(rate=1, window_s=60, spelling=spelling)}))
        client.get("/v1/notes")
        assert word in client.get("/v1/notes").text


def test_good_answers_tell_what_is_left(notes, asker):
    client = asker(notes(1, vendor={"limit": Limit(rate=3, window_s=3600, shape="window")}))
    left = [client.get("/v1/notes").headers["x-ratelimit-remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]


def test_a_bucket_fills_with_time_and_no_further_than_the_burst():
    clock = Clock()
    limiter = Limiter(Limit(rate=1, window_s=100, burst=2), clock)

    def grants() -> list[bool]:
        quotas = [limiter.take("a") for _ in range(3)]
        return [quota.allowed for quota in quotas if quota]

    assert grants() == [True, True, False]
    clock.advance(100)
    assert grants() == [True, False, False]
    clock.advance(10_000)
    assert grants() == [True, True, False]


def test_a_window_begins_anew_when_it_is_over(notes, asker, clock):
    client = asker(notes(1, vendor={"limit": Limit(rate=1, window_s=60, shape="window")}))
    assert [client.get("/v1/notes").status_code for _ in range(2)] == [200, 429]
    clock.advance(60)
    assert client.get("/v1/notes").status_code == 200


def test_credentials_are_counted_apart(notes, asker):
    client = asker(notes(1, vendor={"auth": Auth(tokens=("a", "b")), "limit": Limit(rate=1, window_s=60)}))
    asked = [client.get("/v1/notes", headers={"Authorization": f"Bearer {one}"}).status_code for one in "aab"]
    assert asked == [200, 429, 200]


def test_the_date_header_is_the_vendors_clock(notes, asker, clock):
    client = asker(notes(1))
    clock.stop(START)
    assert parsedate_to_datetime(client.get("/v1/notes").headers["date"]).isoformat() == "2026-03-01T00:00:00+00:00"


def test_more_at_once_than_allowed_is_refused():
    limiter = Limiter(Limit(concurrency=1), Clock())
    with limiter.underway("a") as first, limiter.underway("a") as second, limiter.underway("b") as other:
        assert (first, second, other) == (True, False, True)
    with limiter.underway("a") as again:
        assert again


def test_not_modified_can_be_free(notes, asker):
    client = asker(notes(1, etag=True, vendor={"limit": Limit(rate=2, window_s=3600, shape="window", free_304=True)}))
    known = {"If-None-Match": client.get("/v1/notes").headers["etag"]}
    assert [client.get("/v1/notes", headers=known).status_code for _ in range(4)] == [304] * 4
    assert [client.get("/v1/notes").status_code for _ in range(2)] == [200, 429]
