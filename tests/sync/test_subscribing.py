"""Subscribing: whatever a vendor has, it is made what the connection wants; once, whoever fails on the way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors import ContractError, Outcome
from sync import catching_up, settings, tending
from sync.door import OutcomeError
from sync.kit.vendor import Fault, Latency, Limit, Posting, demo_vendor, serve
from sync.kit.vendor.demo import KEY
from sync.store import connections, subscriptions
from sync.store.database import read, write
from sync.subscriber import Done, Subscriber
from sync.subscribing import look, remove, rotate, sync
from sync.tending import Busy, tend
from tests.sync.subscribers import PUBLIC, URL, Scene, told_by_the_vendor, variant
from tests.world import World, planted

OTHER = "https://other.example.com/webhooks/acme"
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what doesn't depend on the database."""


@pytest.fixture
def posting() -> Posting:
    return Posting()


@pytest.fixture
def scene(world: World, posting: Posting, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A vendor without limits, and a connection to it; messages to workers are kept."""
    monkeypatch.setenv("TIDELOCK_PUBLIC_URL", PUBLIC)
    settings.settings.cache_clear()
    vendor = demo_vendor(scale=0.001, limit=Limit(rate=None), latency=Latency(), webhooks=posting)
    with serve(vendor) as server:
        made = Scene(world, vendor, server.url)
        made.connect()
        monkeypatch.setattr(catching_up, "send", world.sent.extend)
        monkeypatch.setattr(tending.tend, "apply_async", lambda args, queue: made.tended.append(args[0]))
        yield made


def done(scene: Scene) -> str:
    return sync(scene.account, pause=scene.pause).act


# --- as wanted


def test_a_subscription_is_made_with_our_secret_and_then_left_alone(scene: Scene) -> None:
    """The secret is valid here before the vendor can use it."""

    def look_at() -> None:
        assert scene.hooks == []
        assert len(scene.secrets) == 1

    scene.at_pause = look_at
    made = sync(scene.account, pause=scene.pause)
    (hook,) = scene.hooks
    assert (made.act, made.id, made.url, made.gap, made.runs) == ("create", hook.id, URL, False, [])
    assert (hook.url, hook.events) == (URL, ("customer.*", "project.*", "task.*", "order.*"))
    assert (hook.secret,) == scene.secrets
    assert len(scene.paused) == 1
    (row,) = scene.rows
    assert (row.remote, row.url, row.state, row.reason, row.attempts) == (hook.id, URL, "active", None, 0)
    assert scene.turn is None
    before = len(scene.asked())
    assert done(scene) == "keep"
    assert scene.asked()[before:] == ["GET /v1/webhooks"]
    assert scene.rows[0].id == row.id


@one_database
def test_what_would_be_done_is_said_and_not_done(scene: Scene) -> None:
    """Not even a row is written."""
    planned = sync(scene.account, dry_run=True)
    assert (planned.act, planned.why) == ("create", "there is none")
    assert scene.asked() == ["GET /v1/webhooks"]
    assert (scene.rows, scene.turn, scene.secrets) == ([], None, ())


@one_database
def test_without_a_public_address_the_variable_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows it but the operator."""
    monkeypatch.delenv("TIDELOCK_PUBLIC_URL")
    settings.settings.cache_clear()
    with pytest.raises(settings.SettingsError, match="TIDELOCK_PUBLIC_URL"):
        sync(scene.account)


@one_database
@pytest.mark.parametrize("webhook", [None, "by hand"])
def test_where_nothing_can_be_subscribed_to_it_says_what_to_do(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, webhook: str | None
) -> None:
    """On the vendor's own pages, if at all."""
    bare = variant()
    hook = bare.webhook_for({})
    assert hook
    planted(monkeypatch, "demo", replace(bare, webhook=replace(hook, subscriptions=None) if webhook else None))
    with pytest.raises(ContractError, match=f"deliver to {URL}" if webhook else "has no webhook"):
        sync(scene.account)


@one_database
def test_other_events_are_asked_for(scene: Scene) -> None:
    """An update, not another subscription."""
    sync(scene.account, pause=scene.pause)
    scene.hooks[0].events = ("order.*",)
    assert done(scene) == "update"
    (hook,) = scene.hooks
    assert hook.events == ("customer.*", "project.*", "task.*", "order.*")
    assert len(scene.asked("POST")) == 1


def test_doubled_ones_go_and_those_to_other_addresses_stay(scene: Scene) -> None:
    """Whoever made them."""
    sync(scene.account, pause=scene.pause)
    api = Subscriber(scene.account).api
    for url in (URL, OTHER, f"{URL}?x=1"):
        api.send("POST", "/v1/webhooks", json={"url": url})
    made = sync(scene.account, pause=scene.pause)
    assert (made.act, len(made.removed)) == ("keep", 2)
    assert [hook.url for hook in scene.hooks] == [URL, OTHER]
    assert len(scene.rows) == 1


@one_database
def test_one_that_somebody_made_is_given_our_secret(scene: Scene) -> None:
    """Instead of a second one."""
    Subscriber(scene.account).api.send("POST", "/v1/webhooks", json={"url": URL})
    assert done(scene) == "update"
    assert [hook.secret for hook in scene.hooks] == list(scene.secrets)


# --- a vendor that chooses the secret


@pytest.fixture
def choosy(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    planted(monkeypatch, "demo", told_by_the_vendor())
    return scene


@one_database
def test_the_vendors_secret_is_taken_from_the_answer(choosy: Scene) -> None:
    """Nobody waits for it, since nobody could have known it before."""
    assert done(choosy) == "create"
    assert [hook.secret for hook in choosy.hooks] == list(choosy.secrets)
    assert choosy.paused == []
    assert done(choosy) == "keep"


@one_database
def test_one_whose_secret_nobody_knows_is_made_anew(choosy: Scene) -> None:
    """And goes, once there is another."""
    Subscriber(choosy.account).api.send("POST", "/v1/webhooks", json={"url": URL})
    old = choosy.hooks[0].id
    made = sync(choosy.account)
    assert (made.act, made.removed) == ("create", [old])
    assert [hook.secret for hook in choosy.hooks] == list(choosy.secrets)


@one_database
def test_one_whose_secret_somebody_gave_us_is_kept(choosy: Scene) -> None:
    """It was set up on the vendor's pages."""
    made = Subscriber(choosy.account).api.send(
        "POST", "/v1/webhooks", json={"url": URL, "events": ["customer.*", "project.*", "task.*", "order.*"]}
    )
    choosy.give(str(made["secret"]))
    assert done(choosy) == "keep"
    assert [row.remote for row in choosy.rows] == [made["id"]]


# --- nobody knows


@one_database
@pytest.mark.parametrize("fault", ["lost", "cut", "failed"])
def test_a_create_that_nobody_knows_of_is_found_by_listing(scene: Scene, fault: str) -> None:
    """There is one, with our secret."""
    scene.vendor.faults.set([Fault(kind=fault, method="POST", path="/v1/webhooks", nth=(1,))], 0)
    assert done(scene) == "create"
    assert [hook.secret for hook in scene.hooks] == list(scene.secrets)
    assert [row.remote for row in scene.rows] == [hook.id for hook in scene.hooks]
    assert len(scene.asked("POST")) == 1


@one_database
def test_a_secret_that_was_lost_with_its_answer_costs_its_subscription(choosy: Scene) -> None:
    """It is never shown again."""
    choosy.vendor.faults.set([Fault(kind="lost", method="POST", path="/v1/webhooks", nth=(1,))], 0)
    assert done(choosy) == "create"
    assert [hook.secret for hook in choosy.hooks] == list(choosy.secrets)
    assert [row.remote for row in choosy.rows] == [hook.id for hook in choosy.hooks]
    assert len(choosy.asked("POST")) == 2


@one_database
@pytest.mark.parametrize("choosy", [False, True])
def test_a_create_that_did_not_arrive_is_sent_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, choosy: bool
) -> None:
    """The list shows that it didn't."""
    if choosy:
        planted(monkeypatch, "demo", told_by_the_vendor())
    fault = Fault(kind="reset", method="POST", path="/v1/webhooks", nth=(1,))
    scene.vendor.faults.set([fault], 0)
    assert done(scene) == "create"
    assert [hook.secret for hook in scene.hooks] == list(scene.secrets)


@pytest.mark.parametrize("choosy", [False, True])
def test_who_dies_after_the_vendors_answer_leaves_a_turn_that_another_finishes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, choosy: bool
) -> None:
    """The vendor has one of which nothing is stored; in the end there is one, whose secret is known."""
    if choosy:
        planted(monkeypatch, "demo", told_by_the_vendor())

    class Killed(BaseException):
        """As SIGKILL: nothing cleans up."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Subscriber, "_taken", die)
        with pytest.raises(Killed):
            sync(scene.account, pause=scene.pause)
    assert len(scene.hooks) == 1
    assert scene.rows == []
    assert scene.turn
    assert scene.turn.state == "pending"
    with pytest.raises(Busy):
        sync(scene.account, pause=scene.pause)
    scene.hasten()
    tend(scene.account_id)
    assert [hook.secret for hook in scene.hooks] == list(scene.secrets)
    assert [row.remote for row in scene.rows] == [hook.id for hook in scene.hooks]
    assert scene.turn is None


# --- failing


def test_what_fails_is_told_and_tried_again_with_patience(scene: Scene) -> None:
    """The reason stands at the row until it works."""
    sync(scene.account, pause=scene.pause)
    scene.vendor.faults.set([Fault(kind="status", status=503, path="/v1/webhooks", every=1)], 0)
    waits = []
    for attempt in (1, 2, 3):
        scene.hasten()
        tend(scene.account_id)
        turn = scene.turn
        assert turn
        assert (turn.state, turn.attempts) == ("failing", attempt)
        assert "503" in turn.reason
        assert [(row.state, row.reason) for row in scene.rows] == [("failing", turn.reason)]
        waits.append((turn.due_at - turn.updated_at).total_seconds())
    assert waits == pytest.approx([60, 120, 240], abs=5)
    scene.vendor.faults.set([], 0)
    scene.hasten()
    tend(scene.account_id)
    assert scene.turn is None
    assert [(row.state, row.reason) for row in scene.rows] == [("active", None)]


@one_database
def test_a_quota_is_no_failure(scene: Scene) -> None:
    """It waits for as long as the vendor says."""
    sync(scene.account, pause=scene.pause)
    scene.vendor.faults.set([Fault(kind="throttle", seconds=30, path="/v1/webhooks", every=1)], 0)
    scene.hasten()
    tend(scene.account_id)
    turn = scene.turn
    assert turn
    assert (turn.attempts, scene.rows[0].state) == (0, "active")
    assert (turn.due_at - turn.updated_at).total_seconds() == pytest.approx(30, abs=5)


@one_database
def test_what_was_refused_at_once_is_not_tried_for_ever(scene: Scene) -> None:
    """The person who asked was told, and there is nothing that could be out of order."""
    scene.vendor.gate.revoke(KEY)
    with pytest.raises(OutcomeError) as caught:
        sync(scene.account, pause=scene.pause)
    assert caught.value.outcome is Outcome.FAIL_CONNECTION
    assert (scene.turn, scene.rows) == (None, [])


@one_database
def test_what_can_be_tried_again_is_by_the_tick(scene: Scene) -> None:
    """A person asked while the vendor was down."""
    scene.vendor.faults.set([Fault(kind="status", status=503, path="/v1/webhooks", nth=(1,))], 0)
    with pytest.raises(OutcomeError):
        sync(scene.account, pause=scene.pause)
    scene.hasten()
    look()
    assert scene.tended == [scene.account_id]
    tend(scene.account_id)
    assert len(scene.rows) == len(scene.hooks) == 1
    assert scene.turn is None


def test_two_at_once_make_one(scene: Scene) -> None:
    """The second is told that somebody is at it."""

    def another() -> None:
        with pytest.raises(Busy):
            sync(scene.account)

    scene.at_pause = another
    sync(scene.account, pause=scene.pause)
    assert len(scene.hooks) == 1


# --- time


@pytest.mark.parametrize("posting", [Posting(expires_s=3000)])
def test_it_is_renewed_before_it_ends(scene: Scene) -> None:
    """The row knows when that is."""
    sync(scene.account, pause=scene.pause)
    before = scene.rows[0]
    assert before.expires_at
    assert (before.due_at - before.updated_at).total_seconds() < 60
    scene.hasten()
    tend(scene.account_id)
    assert "POST /v1/webhooks/wh_0001/renew" in scene.asked()
    assert scene.rows[0].expires_at > before.expires_at


@one_database
@pytest.mark.parametrize("posting", [Posting(expires_s=3000)])
def test_one_that_can_no_longer_be_renewed_is_made_anew(scene: Scene) -> None:
    """It went between the list and the request."""
    sync(scene.account, pause=scene.pause)
    scene.vendor.faults.set([Fault(kind="missing", method="POST", path="/v1/webhooks/wh_0001/renew", every=1)], 0)
    assert done(scene) == "renew"
    assert [hook.id for hook in scene.hooks] == ["wh_0002"]
    assert [row.remote for row in scene.rows] == ["wh_0002"]


def test_the_tick_sends_workers_to_what_is_due_and_to_nothing_else(scene: Scene) -> None:
    """Not to a paused connection, whose deliveries are refused."""
    sync(scene.account, pause=scene.pause)
    look()
    assert scene.tended == []
    scene.hasten()
    look()
    look()
    assert scene.tended == [scene.account_id] * 2
    before = len(scene.asked())
    tend(scene.account_id)
    tend(scene.account_id)
    assert len(scene.asked()) == before + 1
    scene.hasten()
    with write() as connection:
        connections.set_state(connection, scene.account_id, "paused", "a test")
    look()
    tend(scene.account_id)
    assert len(scene.tended) == 2
    assert len(scene.asked()) == before + 1
    tend(10**6)  # it was forgotten meanwhile


# --- gaps


def test_a_disabled_one_is_enabled_and_what_was_missed_is_pulled(scene: Scene) -> None:
    """In full, since nothing tells what was deleted meanwhile; the gap is closed when the runs are open."""
    sync(scene.account, pause=scene.pause)
    scene.disable("too many failures")
    scene.hasten()
    tend(scene.account_id)
    assert scene.hooks[0].enabled
    assert scene.rows[0].state == "active"
    assert scene.gap is not None
    look()
    assert scene.gap is None
    runs = scene.world.rows("runs")
    assert {(run["stream"], bool(run["full"]), run["cause"]) for run in runs if run["list"] == "rows"} == {
        (stream, True, "deliveries were missed") for stream in ("customers", "projects", "tasks", "orders")
    }
    look()
    assert len(scene.world.rows("runs")) == len(runs)


def test_a_gap_stays_open_while_the_vendor_refuses(scene: Scene) -> None:
    """What would be pulled now would be missed again."""
    sync(scene.account, pause=scene.pause)
    scene.disable()
    scene.vendor.faults.set([Fault(kind="status", status=500, method="PATCH", path="/v1/webhooks", every=1)], 0)
    scene.hasten()
    tend(scene.account_id)
    assert scene.rows[0].state == "failing"
    assert scene.gap is not None
    look()
    assert scene.world.rows("runs") == []


def test_one_that_is_gone_is_made_anew_and_a_gap(scene: Scene) -> None:
    """The gap began when it was last seen."""
    sync(scene.account, pause=scene.pause)
    Subscriber(scene.account).api.send("DELETE", f"/v1/webhooks/{scene.hooks[0].id}")
    made = sync(scene.account, pause=scene.pause)
    assert (made.act, made.gap) == ("create", True)
    assert made.runs
    assert len(scene.hooks) == len(scene.rows) == 1
    assert scene.gap is None


# --- rotation and removal


def test_a_secret_is_changed_without_a_delivery_refused(scene: Scene) -> None:
    """Both are valid before the vendor has the new one, and for a while after."""
    sync(scene.account, pause=scene.pause)
    (old,) = scene.secrets

    def look_at() -> None:
        assert len(scene.secrets) == 2
        assert scene.hooks[0].secret == old == scene.secrets[1]

    scene.at_pause = look_at
    made = rotate(scene.account, timedelta(hours=2), pause=scene.pause)
    assert made.act == "rotate"
    assert scene.secrets == (scene.hooks[0].secret, old)
    assert scene.hooks[0].secret != old
    assert len(scene.hooks) == 1
    assert scene.turn is None


@pytest.mark.parametrize("again", [sync, rotate])
def test_a_rotation_that_nobody_knows_of_ends_with_the_same_secret(scene: Scene, again: Callable[..., Done]) -> None:
    """Another one would push out the old one, with which the vendor may still sign."""
    sync(scene.account, pause=scene.pause)
    (old,) = scene.secrets
    scene.vendor.faults.set([Fault(kind="reset", method="PATCH", path="/v1/webhooks", every=1)], 0)
    with pytest.raises(OutcomeError):
        rotate(scene.account, pause=scene.pause)
    new = scene.secrets[0]
    assert scene.secrets == (new, old)
    scene.vendor.faults.set([], 0)
    assert again(scene.account, pause=scene.pause).act == "rotate"
    assert scene.secrets == (new, old)
    assert scene.hooks[0].secret == new
    assert scene.turn is None
    assert done(scene) == "keep"


@one_database
def test_where_the_vendor_chooses_a_rotation_is_a_new_subscription(choosy: Scene) -> None:
    """The old one delivers until the new one does."""
    sync(choosy.account)
    (old,) = choosy.secrets
    made = rotate(choosy.account)
    assert (made.act, made.removed) == ("replace", ["wh_0001"])
    assert choosy.secrets == (choosy.hooks[0].secret, old)
    assert len(choosy.hooks) == len(choosy.rows) == 1
    assert done(choosy) == "keep"
    with pytest.raises(ContractError, match="chooses the secret itself"):
        rotate(choosy.account, value="ours")


@one_database
def test_one_address_one_subscription_where_the_vendor_wants_it_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed first then, and that is a gap."""
    strict = told_by_the_vendor().webhook_for({})
    assert strict
    assert strict.subscriptions
    create = strict.subscriptions.create

    def only_one(api, wanted):
        if scene.hooks:
            raise OutcomeError(Outcome.FAIL_STREAM, "there is one for this address", status=422)
        return create(api, wanted)

    planted(monkeypatch, "demo", variant(create=only_one, update=None, renew=None, rotate=None, chooses=False))
    sync(scene.account)
    made = rotate(scene.account)
    assert made.act == "replace"
    assert len(scene.hooks) == len(scene.rows) == 1
    assert scene.secrets[0] == scene.hooks[0].secret
    assert scene.gap is not None


def test_it_is_removed_and_others_are_not(scene: Scene) -> None:
    """Nor is what we know of other connections."""
    sync(scene.account, pause=scene.pause)
    api = Subscriber(scene.account).api
    api.send("POST", "/v1/webhooks", json={"url": OTHER})
    made = remove(scene.account)
    assert made.removed == ["wh_0001"]
    assert [hook.url for hook in scene.hooks] == [OTHER]
    assert (scene.rows, scene.turn) == ([], None)
    assert remove(scene.account).removed == []


@one_database
def test_a_removal_that_was_interrupted_is_finished(scene: Scene) -> None:
    """Not turned into a new subscription."""
    sync(scene.account, pause=scene.pause)
    scene.vendor.faults.set([Fault(kind="status", status=503, method="DELETE", path="/v1/webhooks", nth=(1,))], 0)
    with pytest.raises(OutcomeError):
        remove(scene.account)
    scene.hasten()
    tend(scene.account_id)
    assert (scene.hooks, scene.rows, scene.turn) == ([], [], None)


@one_database
def test_what_others_do_is_seen_in_the_list_of_all(scene: Scene) -> None:
    """With the connection's name."""
    sync(scene.account, pause=scene.pause)
    with read() as connection:
        assert [(row.connection, row.url) for row in subscriptions.listed(connection)] == [("acme", URL)]
