"""Positions that are made up, too old, used up or repeated."""

import pytest

from sync.kit.vendor import cursor, last_id


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"cursor": "nonsense"}, {"cursor": "WzFd"}])
def test_a_question_that_makes_no_sense_is_a_400(notes, asker, query):
    assert asker(notes(3)).get("/v1/notes", params=query).status_code == 400


def test_a_token_expires_with_time(notes, asker, clock):
    client = asker(notes(30, paging=cursor(expires_s=60)))
    token = client.get("/v1/notes", params={"limit": 5}).json()["next_cursor"]
    assert client.get("/v1/notes", params={"cursor": token}).status_code == 200
    clock.advance(61)
    assert client.get("/v1/notes", params={"cursor": token}).status_code == 410


def test_a_token_expires_with_use(notes, asker):
    client = asker(notes(30, paging=cursor(uses=1, expired_status=422)))
    token = client.get("/v1/notes", params={"limit": 5}).json()["next_cursor"]
    replies = [client.get("/v1/notes", params={"cursor": token}).status_code for _ in range(2)]
    assert replies == [200, 422]


def test_a_looping_token_repeats_forever(notes, asker):
    client = asker(notes(30, paging=cursor(loop=True, default=5)))
    tokens = [client.get("/v1/notes").json()["next_cursor"]]
    tokens += [client.get("/v1/notes", params={"cursor": tokens[0]}).json()["next_cursor"] for _ in range(3)]
    assert len(set(tokens)) == 1


def test_an_unknown_last_id_is_refused(notes, asker):
    client = asker(notes(3, paging=last_id()))
    assert client.get("/v1/notes", params={"starting_after": 99}).status_code == 400
