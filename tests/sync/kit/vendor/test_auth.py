"""Credentials in every scheme."""

import pytest

from sync.kit.vendor import Auth


@pytest.mark.parametrize(
    ("auth", "headers", "query"),
    [
        (Auth(tokens=("k",)), {"Authorization": "Bearer k"}, {}),
        (Auth(scheme="header", name="X-Api-Key", tokens=("k",)), {"X-Api-Key": "k"}, {}),
        (Auth(scheme="query", name="key", tokens=("k",)), {}, {"key": "k"}),
        (Auth(scheme="basic", tokens=("me:k",)), {"Authorization": "Basic bWU6aw=="}, {}),
    ],
)
def test_only_a_known_credential_is_admitted(notes, asker, auth, headers, query):
    vendor = notes(1, vendor={"auth": auth})
    client = asker(vendor)
    assert client.get("/v1/notes", headers=headers, params=query).status_code == 200
    wrong = {name: value + "x" for name, value in (headers or query).items()}
    refused = client.get("/v1/notes", headers=wrong if headers else {}, params={} if headers else wrong)
    assert refused.status_code == 401
    assert "www-authenticate" in refused.headers
    assert client.get("/v1/notes").status_code == 401
    assert vendor.log.since()[0].credential == auth.tokens[0]


def test_a_revoked_credential_is_refused_until_restored(notes, asker):
    vendor = notes(1, vendor={"auth": Auth(tokens=("k",))})
    client = asker(vendor, Authorization="Bearer k")
    vendor.gate.revoke("k")
    assert client.get("/v1/notes").status_code == 401
    vendor.gate.restore("k")
    assert client.get("/v1/notes").status_code == 200
