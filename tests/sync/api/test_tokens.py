"""OAuth 2: one renewal for all workers, stored before it is used; no loop, and nobody deletes."""

import subprocess
import sys
import textwrap
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from connectors import OAuth2, Outcome
from models import Base
from sync.api import tokens
from sync.door import Means, OutcomeError
from sync.store import credentials
from sync.store.database import connect, write
from tests.sync.api.conftest import CANARY
from tests.sync.api.talker import answer

APP = {"client_id": "our-app", "client_secret": CANARY}
AUTH = OAuth2(token_url="/oauth/token", scopes=("read", "list"))
MACHINE = OAuth2(token_url="/oauth/token", grant="client_credentials")


@dataclass
class Vendor:
    """Renews with rotating refresh tokens, each of which works once; answers data for the newest access token."""

    refresh: str = "refresh-0"
    lifetime: object = 3600
    rotates: bool = True
    broken: bytes | None = None
    grants: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    before: Callable[[], object] | None = None

    def __call__(self, heard, connection):
        if heard.target != "/oauth/token":
            good = heard.headers.get("authorization") == f"Bearer access-{len(self.grants)}"
            return answer(b"[]") if good else answer(status="401 No")
        with self.lock:
            form = dict(parse_qsl(heard.body.decode())) or msgspec.json.decode(heard.body)
            if self.broken:
                self.grants.append(form)
                return self.broken
            if form["grant_type"] == "refresh_token" and form["refresh_token"] != self.refresh:
                return answer(b'{"error":"invalid_grant","error_description":"token was used"}', "400 Bad")
            self.grants.append(form)
            self.headers.append(heard.headers)
            if self.before:
                self.before()
            given = {"access_token": f"access-{len(self.grants)}", "expires_in": self.lifetime}
            if self.rotates and form["grant_type"] == "refresh_token":
                self.refresh = given["refresh_token"] = f"refresh-{len(self.grants)}"
            return answer(msgspec.json.encode(given))


@pytest.fixture
def vendor():
    return Vendor()


@pytest.fixture
def server(talks, vendor):
    return talks(vendor)


def test_the_first_request_gets_a_token_and_the_next_ones_keep_it(server, opens, vendor, keep, means):
    credential = keep(**APP, refresh_token="refresh-0")
    for _ in range(2):
        api = opens(server.url, auth=AUTH, credential_id=credential)
        api.get("/a")
        api.get("/b")
    assert vendor.grants == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-0",
            "scope": "read list",
            "client_id": "our-app",
            "client_secret": CANARY,
        }
    ]
    stored = credentials.load(credential, target=means.engine, keys=means.vault)
    assert stored.secrets["access_token"] == "access-1"
    assert stored.secrets["refresh_token"] == "refresh-1"
    assert 3500 < (stored.left or 0) <= 3600


def test_client_credentials_need_no_refresh_token(server, opens, vendor):
    opens(server.url, auth=MACHINE, secrets=APP).get("/a")
    assert vendor.grants[0]["grant_type"] == "client_credentials"


def test_client_and_body_travel_as_declared(server, opens, vendor):
    auth = OAuth2(
        token_url=f"{server.url}/oauth/token",
        client_auth="basic",
        body_format="json",
        extra={"audience": "api"},
    )
    opens(server.url, auth=auth, secrets={**APP, "refresh_token": "refresh-0"}).get("/a")
    assert vendor.grants == [{"grant_type": "refresh_token", "refresh_token": "refresh-0", "audience": "api"}]
    pair = b64encode(f"our-app:{CANARY}".encode()).decode()
    assert vendor.headers[0]["authorization"] == f"Basic {pair}"
    assert vendor.headers[0]["content-type"] == "application/json"
    assert vendor.headers[0]["accept"] == "application/json"


def test_a_token_is_renewed_before_it_ends(server, opens, vendor, keep):
    vendor.lifetime = 2
    credential = keep(**APP, refresh_token="refresh-0")
    api = opens(server.url, auth=AUTH, credential_id=credential)
    api.get("/a")
    threading.Event().wait(1.2)  # half of its life is over, and it is asked for
    api.get("/b")
    assert len(vendor.grants) == 2


def test_a_refused_token_is_renewed_once(server, opens, vendor, keep):
    credential = keep(**APP, refresh_token="refresh-0", access_token="access-old")
    assert opens(server.url, auth=AUTH, credential_id=credential).get("/a").status == 200
    assert len(vendor.grants) == 1
    assert len(server.heard) == 3


def test_a_token_that_is_refused_again_stops_the_connection(talks, opens, vendor):
    server = talks(lambda heard, it: vendor(heard, it) if "oauth" in heard.target else answer(status="401 No"))
    error = refusal(opens(server.url, auth=AUTH, secrets={**APP, "refresh_token": "refresh-0", "access_token": "x"}))
    assert error.outcome is Outcome.FAIL_CONNECTION
    assert len(vendor.grants) == 1
    assert len([heard for heard in server.heard if heard.target == "/x"]) == 2


def test_a_vendor_that_does_not_rotate_leaves_the_refresh_token(server, opens, vendor, keep, means):
    vendor.rotates = False
    vendor.lifetime = None
    credential = keep(**APP, refresh_token="refresh-0")
    opens(server.url, auth=AUTH, credential_id=credential).get("/a")
    stored = credentials.load(credential, target=means.engine, keys=means.vault)
    assert stored.secrets["refresh_token"] == "refresh-0"
    assert 3500 < (stored.left or 0) <= 3600


@pytest.mark.parametrize("left", [3600, -1], ids=["refused", "expired"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_ten_workers_with_a_dead_token_renew_it_once(server, vendor, opens, means, database, left, request):
    """The vendor answers slowly, so all of them find it expired; each of them gets its data."""
    used = means
    if database == "postgresql":
        engine = connect(request.getfixturevalue("postgres_url"))
        request.addfinalizer(engine.dispose)
        Base.metadata.create_all(engine)
        used = Means(settings=means.settings, engine=engine, vault=means.vault)
    secrets = {**APP, "refresh_token": "refresh-0", "access_token": "access-old"}
    with write(used.engine) as connection:
        credential = credentials.create(connection, "acme", secrets, keys=used.vault)
    credentials.save_renewed(credential, 1, secrets, left, target=used.engine, keys=used.vault)
    vendor.before = lambda: threading.Event().wait(0.3)
    start = threading.Barrier(10)
    got = []

    def work():
        api = opens(server.url, auth=AUTH, credential_id=credential, means=used)
        start.wait(10)
        got.append(api.get("/a").status)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == [200] * 10
    assert len(vendor.grants) == 1


def test_who_waits_in_vain_comes_back_later(server, opens, vendor, keep, means):
    credential = keep(**APP, refresh_token="refresh-0")
    assert credentials.take_turn(credential, 1, 60, target=means.engine)
    error = refusal(opens(server.url, auth=AUTH, credential_id=credential))
    assert (error.outcome, error.wait) == (Outcome.RATE_LIMITED, tokens.RETRY_IN)
    assert not server.heard


def test_while_the_old_token_lives_nobody_waits_for_the_new_one(talks, opens, keep, means):
    server = talks(lambda heard, _: answer(b"[]"))
    credential = keep(**APP, refresh_token="refresh-0")
    secrets = {**APP, "refresh_token": "refresh-0", "access_token": "access-0", "expires_in": 3600}
    assert credentials.save_renewed(credential, 1, secrets, 30, target=means.engine, keys=means.vault)
    assert credentials.take_turn(credential, 2, 60, target=means.engine)
    opens(server.url, auth=AUTH, credential_id=credential).get("/a")
    assert [heard.headers["authorization"] for heard in server.heard] == ["Bearer access-0"]


def test_the_new_token_is_stored_before_it_is_used(server, opens, vendor, keep, means, monkeypatch):
    def fails(*_, **__):
        raise OperationalError("UPDATE", {}, Exception("disk full"))

    monkeypatch.setattr(credentials, "save_renewed", fails)
    with pytest.raises(OperationalError) as caught:
        opens(server.url, auth=AUTH, secrets={**APP, "refresh_token": "refresh-0"}).get("/a")
    assert "access-1" not in str(caught.value)
    assert [heard.target for heard in server.heard] == ["/oauth/token"]


def test_a_database_that_fails_for_a_moment_loses_no_token(server, opens, vendor, keep, monkeypatch):
    real, failures = credentials.save_renewed, iter([OperationalError("UPDATE", {}, Exception("gone away"))])

    def fails_once(*args, **named):
        for failure in failures:
            raise failure
        return real(*args, **named)

    monkeypatch.setattr(credentials, "save_renewed", fails_once)
    assert opens(server.url, auth=AUTH, secrets={**APP, "refresh_token": "refresh-0"}).get("/a").status == 200


def test_after_a_crash_between_answer_and_commit_the_account_must_be_connected_again(
    server, opens, vendor, keep, means, tmp_path
):
    """A worker dies there; its successor is refused once, says so, and asks the vendor no more."""
    credential = keep(**APP, refresh_token="refresh-0")
    dies = f"""
        import os
        from ipaddress import ip_network
        from connectors import Connector, OAuth2
        from sync.door import Account, Means
        from sync.doors import open_door
        from sync.settings import Settings
        from sync.store import credentials
        from sync.store.database import connect
        from sync.vault import Vault
        credentials.save_renewed = lambda *_, **__: os._exit(9)
        means = Means(settings=Settings(allow_private=(ip_network("127.0.0.0/8"),)),
                      engine=connect({str(means.engine.url)!r}), vault=Vault(b"v" * 32))
        auth = OAuth2(token_url="/oauth/token")
        account = Account(connection_id=1, connection="acme", credential_id={credential})
        open_door("acme", Connector(base_url={server.url!r}, streams=(), auth=auth), account, means).get("/a")
    """
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(dies)], cwd=Path.cwd(), timeout=60, check=False)
    assert died.returncode == 9
    assert len(vendor.grants) == 1
    asked = len(server.heard)
    for _ in range(3):
        with write(means.engine) as connection:  # the turn, or the pause, ends
            connection.exec_driver_sql("UPDATE credentials SET renewed_by = '2020-01-01 00:00:00.000000'")
        error = refusal(opens(server.url, auth=AUTH, credential_id=credential))
        assert error.outcome is Outcome.FAIL_CONNECTION
        assert "connect the account again" in error.why
    assert len(server.heard) == asked + 1
    stored = credentials.load(credential, target=means.engine, keys=means.vault)
    assert stored.secrets["refresh_token"] == "refresh-0"


def test_new_secrets_end_the_refusal(server, opens, vendor, keep, means):
    credential = keep(**APP, refresh_token="refresh-dead")
    refusal(opens(server.url, auth=AUTH, credential_id=credential))
    with write(means.engine) as connection:
        credentials.replace(connection, credential, {**APP, "refresh_token": "refresh-0"}, keys=means.vault)
    assert opens(server.url, auth=AUTH, credential_id=credential).get("/a").status == 200


def test_a_loser_uses_what_the_winner_stored(talks, opens, vendor, keep, means):
    """Ours is refused because another worker was faster: its token is in the store."""
    credential = keep(**APP, refresh_token="refresh-0")

    def say(heard, connection):
        if heard.target != "/oauth/token":
            return answer(b"[]")
        secrets = {**APP, "refresh_token": "refresh-9", "access_token": "access-9"}
        credentials.save_renewed(credential, 1, secrets, 3600, target=means.engine, keys=means.vault)
        return answer(b'{"error":"invalid_grant"}', "400 Bad")

    server = talks(say)
    assert opens(server.url, auth=AUTH, credential_id=credential).get("/a").status == 200
    assert server.heard[-1].headers["authorization"] == "Bearer access-9"
    stored = credentials.load(credential, target=means.engine, keys=means.vault)
    assert stored.refused is None
    assert stored.secrets["refresh_token"] == "refresh-9"


def test_a_token_that_came_too_late_is_not_used(server, opens, vendor, keep, means):
    """A person connected the account anew while the vendor answered: what is in the store counts."""
    credential = keep(**APP, refresh_token="refresh-0")
    late = {**APP, "refresh_token": "refresh-8", "access_token": "access-8"}

    def connect_anew():
        with write(means.engine) as connection:
            credentials.replace(connection, credential, late, keys=means.vault)

    vendor.before = connect_anew
    api = opens(server.url, auth=AUTH, credential_id=credential)
    assert api._keyring.secrets()["access_token"] == "access-8"
    stored = credentials.load(credential, target=means.engine, keys=means.vault)
    assert stored.secrets == late


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (answer(status="503 Busy"), Outcome.RETRY),
        (answer(status="429 Slow"), Outcome.RATE_LIMITED),
        (answer(b'{"error":"invalid_client"}', "401 No"), Outcome.FAIL_CONNECTION),
        (answer(b'{"ok":false,"error":"invalid_auth"}'), Outcome.FAIL_CONNECTION),
        (answer(b"<html>"), Outcome.FAIL_CONNECTION),
        (answer(status="302 Found", Location="https://evil.example/"), Outcome.FAIL_CONNECTION),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx", Outcome.RETRY),
    ],
    ids=["503", "429", "client", "ok-false", "html", "redirect", "cut"],
)
def test_a_failed_renewal_has_its_outcome_and_is_not_repeated_at_once(talks, opens, vendor, keep, said, outcome):
    vendor.broken = said
    server = talks(lambda heard, connection: connection.sendall(vendor(heard, connection)))
    credential = keep(**APP, refresh_token="refresh-0")
    error = refusal(opens(server.url, auth=AUTH, credential_id=credential))
    assert error.outcome is outcome
    assert refusal(opens(server.url, auth=AUTH, credential_id=credential)).outcome is Outcome.RATE_LIMITED
    assert len(vendor.grants) == 1


def test_what_the_token_endpoint_echoes_is_not_shown(talks, opens, vendor):
    said = f'{{"error":"invalid_grant","error_description":"secret {CANARY} of refresh-0 is off"}}'
    server = talks(lambda *_: answer(said.encode(), "400 Bad"))
    error = refusal(opens(server.url, auth=AUTH, secrets={**APP, "refresh_token": "refresh-0"}))
    assert CANARY not in str(error)
    assert "refresh-0" not in str(error)
    assert "invalid_grant" in str(error)


def refusal(api):
    with pytest.raises(OutcomeError) as caught:
        api.get("/x")
    return caught.value
