"""The token endpoint, with its refresh tokens that work once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sync.kit.vendor import Auth, Collection, OAuthApp, Vendor

CLIENT = {"client_id": "demo-client", "client_secret": "demo-client-secret"}


@pytest.fixture
def guarded(clock) -> Vendor:
    return Vendor([Collection(name="notes")], clock=clock, auth=Auth(scheme="oauth2"))


def test_an_access_token_works_until_it_expires(guarded, asker, clock):
    client = asker(guarded)
    pair = client.post("/oauth/token", data={"grant_type": "client_credentials", **CLIENT}).json()
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    assert "refresh_token" not in pair
    assert client.get("/v1/notes", headers=bearer).status_code == 200
    clock.advance(pair["expires_in"])
    assert client.get("/v1/notes", headers=bearer).status_code == 401


def test_a_refresh_token_works_once_and_brings_the_next(guarded, asker):
    client = asker(guarded)
    old = guarded.oauth.issue()
    form = {"grant_type": "refresh_token", "refresh_token": old["refresh_token"]}
    new = client.post("/oauth/token", data=form, auth=("demo-client", "demo-client-secret")).json()
    assert new["refresh_token"] != old["refresh_token"]
    again = client.post("/oauth/token", json={**form, **CLIENT})
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert [grant.result for grant in guarded.oauth.grants] == ["ok", "invalid_grant"]


def test_of_ten_refreshes_at_once_one_wins(guarded, asker):
    client = asker(guarded)
    form = {"grant_type": "refresh_token", **CLIENT, "refresh_token": guarded.oauth.issue()["refresh_token"]}
    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(lambda _: client.post("/oauth/token", data=form).status_code, range(10)))
    assert sorted(statuses) == [200] + [400] * 9


def test_without_rotation_a_refresh_token_stays(clock, asker):
    app = OAuthApp(rotates=False)
    vendor = Vendor([Collection(name="notes")], clock=clock, auth=Auth(scheme="oauth2"), oauth=app)
    client = asker(vendor)
    form = {"grant_type": "refresh_token", **CLIENT, "refresh_token": vendor.oauth.issue()["refresh_token"]}
    assert [client.post("/oauth/token", data=form).status_code for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (
            {"grant_type": "client_credentials", "client_id": "demo-client", "client_secret": "no"},
            "invalid_client",
        ),
        ({"grant_type": "password", **CLIENT}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token", "refresh_token": "made-up", **CLIENT}, "invalid_grant"),
    ],
)
def test_a_bad_token_request_names_the_oauth_error(guarded, asker, form, error):
    assert asker(guarded).post("/oauth/token", data=form).json()["error"] == error


def test_tokens_can_be_ended_from_the_vendors_side(guarded, asker):
    client = asker(guarded)
    pair = guarded.oauth.issue()
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    guarded.oauth.expire()
    assert client.get("/v1/notes", headers=bearer).status_code == 401
    form = {"grant_type": "refresh_token", **CLIENT, "refresh_token": pair["refresh_token"]}
    guarded.oauth.revoke()
    assert client.post("/oauth/token", data=form).status_code == 400
