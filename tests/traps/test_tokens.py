"""Access tokens that end while many workers hold them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from connectors import OAuth2, Stream
from sync import pull
from sync.api import tokens
from sync.kit.vendor import Auth, Fault, Latency, OAuthApp
from sync.store import credentials
from tests.traps.rig import killed_on, notes, rigged, stream

SECRETS = {"client_id": "demo-client", "client_secret": "demo-client-secret", "refresh_token": "refresh-000001"}
WORKERS = 10


def signed(world, monkeypatch, *streams: Stream):
    """A vendor that lets in by access tokens which last an hour; each refresh token works once."""
    return rigged(
        world,
        monkeypatch,
        notes(),
        *(streams or (stream(),)),
        secrets=SECRETS,
        auth=OAuth2(token_url="/oauth/token"),
        vendor={"auth": Auth(scheme="oauth2"), "oauth": OAuthApp()},
        connection={"parallel": WORKERS},
        at=None,
    )


def granted(rig) -> list[str]:
    return [grant.result for grant in rig.vendor.oauth.grants]


def test_refresh_race(world, monkeypatch):
    """Ten workers whose token has expired: one of them renews it, once, and all go on."""
    streams = [replaced(f"notes_{number}") for number in range(WORKERS)]
    with signed(world, monkeypatch, *streams) as rig:
        rig.vendor.oauth.issue()
        rig.make(25)
        rig.sync()
        assert granted(rig) == ["ok"]

        rig.vendor.latency = Latency(fixed_s=0.05)
        rig.vendor.oauth.expire()
        rig.open(full=True)
        rig.world.ring()
        units = [unit for unit, _ in rig.world.sent]
        rig.world.sent.clear()
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(pull.slice_, units))
        rig.until_settled(3)
        assert granted(rig) == ["ok", "ok"]
        assert not rig.slices("state <> 'done'")
        for name in (one.name for one in streams):
            assert rig.held(name) == rig.truth()


def replaced(name: str) -> Stream:
    base = stream()
    return Stream(name, base.path, base.pull, version=base.version, cursor=base.cursor, get=base.get)


def test_crash_between_refresh_and_save(world, monkeypatch):
    """A worker that dies with the vendor's answer in hand has lost the rotated token for good: the connection says
    that the account must be connected again, and nobody asks the token endpoint for ever."""
    with signed(world, monkeypatch) as rig:
        rig.vendor.oauth.issue()
        rig.make(25)
        rig.open()
        with killed_on(monkeypatch, credentials, "save_renewed"):
            rig.world.settle()
        assert granted(rig) == ["ok"]

        rig.kill()
        rig.until_settled(2)
        assert granted(rig) == ["ok"]  # the turn to renew is not over yet
        turn_ends(rig)
        rig.until_settled(2)
        assert granted(rig) == ["ok", "invalid_grant"]
        assert reconnect(rig)

        rig.world.execute("UPDATE connections SET state = 'active', reason = NULL")
        turn_ends(rig)
        rig.until_settled(3)
        assert granted(rig) == ["ok", "invalid_grant"]
        assert reconnect(rig)


@pytest.mark.parametrize("lost", ["answer", "process"])
def test_crash_between_refresh_and_save_is_no_loss_after_it(world, monkeypatch, lost):
    """A token that was stored is used by the next worker, though the one that renewed it died at once. Where the
    answer itself was lost, the next one learns that it must connect again."""
    with signed(world, monkeypatch) as rig:
        rig.vendor.oauth.issue()
        rig.make(25)
        rig.open()
        if lost == "answer":
            rig.vendor.faults.set([Fault(kind="lost", path="/oauth/token", nth=(1,))])
            rig.world.settle()
            turn_ends(rig)
            rig.until_settled(3)
            assert granted(rig) == ["ok", "invalid_grant"]
            assert reconnect(rig)
            return
        with killed_on(monkeypatch, tokens.Tokens, "_use"):
            rig.world.settle()
        rig.kill()
        rig.until_settled(2)
        assert granted(rig) == ["ok"]
        assert rig.held() == rig.truth()


def turn_ends(rig):
    rig.world.execute("UPDATE credentials SET renewed_by = '2020-01-01 00:00:00.000000' WHERE renewed_by IS NOT NULL")


def reconnect(rig) -> bool:
    (row,) = rig.world.rows("connections")
    return row["state"] == "failing" and "connect the account again" in row["reason"]
