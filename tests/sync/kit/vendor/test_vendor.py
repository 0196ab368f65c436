"""Permissions that come and go."""

import pytest


@pytest.mark.parametrize(("how", "status"), [("forbidden", 403), ("missing", 404), ("empty", 200)])
def test_a_withdrawn_permission_shows_as_declared_until_given_back(notes, asker, how, status):
    vendor = notes(10)
    client = asker(vendor)
    vendor.withdraw("notes", how)
    reply = client.get("/v1/notes")
    assert reply.status_code == status
    assert not reply.json().get("data")
    vendor.withdraw("notes", "")
    assert len(client.get("/v1/notes").json()["data"]) == 10
