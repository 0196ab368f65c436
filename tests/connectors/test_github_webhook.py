"""GitHub's webhooks: what its own examples mean, its signature, and hooks at organizations and repositories."""

import json
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from connectors import ContractError, Delete, Event, Ping, Pull, Refetch, Subscription, Upsert, Wanted
from connectors.github import SECOND, UPDATED, connector, effects, hooks
from sync.kit.recording import Exchange, Request, Response
from sync.kit.replay import Replay
from sync.received import Received
from sync.verify import Refused, verify
from tests.connectors.vendors import hook_of

HOOK, SUBSCRIPTIONS = hook_of(connector)
EXAMPLES = "@octokit/webhooks-examples@7.6.1"
CONFIG = {"owner": "octo-org"}
URL = "https://sync.example.com/webhooks/code"
EVENTS = ("issues", "repository")
SETTINGS = {"url": URL, "content_type": "json", "secret": "s1", "insecure_ssl": "0"}
FOUND = {"id": 7, "name": "web", "active": True, "events": ["issues", "repository"],
         "config": {"url": URL, "content_type": "json", "secret": "********"}}  # fmt: skip
ONE = Subscription(id="7", url=URL, events=EVENTS, data={"at": "/orgs/octo-org/hooks"})
WANTED = Wanted(url=URL, events=EVENTS, secret="s1", config=CONFIG)


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """GitHub's own example payloads, as npm has them: {"name", "examples"} by event."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing: install Node, whose package holds GitHub's example payloads")
    folder = tmp_path_factory.mktemp("octokit")
    words = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", EXAMPLES]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, timeout=120, env=trusting())
    if done.returncode != 0:
        pytest.skip(f"npm could not fetch {EXAMPLES}: {done.stderr.strip()[-300:]}")
    file: Path = folder / "node_modules/@octokit/webhooks-examples/api.github.com/index.json"
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def trusting() -> dict[str, str]:
    """Our environment, in which Node trusts whom this machine trusts: by itself it knows only its own list."""
    authorities = ssl.get_default_verify_paths().cafile
    return {**({"NODE_EXTRA_CA_CERTS": authorities} if authorities else {}), **os.environ}


def test_every_example_of_a_declared_event_has_effects(examples: list[dict[str, Any]]) -> None:
    """On streams that are there, with keys that are texts."""
    streams = {stream.name for stream in connector.streams_for(CONFIG)}
    declared = [one for one in examples if HOOK.understands(one["name"])]
    assert {one["name"] for one in declared} == set(HOOK.events)
    for one in declared:
        for payload in one["examples"]:
            found = list(effects(Event(payload, one["name"])))
            assert found, (one["name"], payload.get("action"))
            for effect in found:
                assert effect.stream in streams
                assert not isinstance(effect, Upsert)
                key = effect.parent if isinstance(effect, Pull) else effect.key
                assert key
                assert type(key) is str


def test_every_deletion_among_the_examples_is_later_than_the_last_change(examples: list[dict[str, Any]]) -> None:
    """Else the record that was read within that second would outlive it."""
    gone = [
        (effect, payload.get("comment") or payload["issue"])
        for one in examples
        if one["name"] in ("issues", "issue_comment")
        for payload in one["examples"]
        for effect in effects(Event(payload, one["name"]))
        if isinstance(effect, Delete)
    ]
    assert {effect.stream for effect, _ in gone} == {"issues", "comments"}
    for effect, thing in gone:
        assert effect.key == str(thing["id"])
        assert effect.as_of == UPDATED.instant(thing["updated_at"]) + SECOND


REPOSITORY = {"repository": {"id": 5}}
THING = {"id": 9, "updated_at": "2026-03-01T10:00:00Z"}
LATER = UPDATED.instant("2026-03-01T10:00:01Z")


@pytest.mark.parametrize(
    ("name", "payload", "meaning"),
    [
        ("issues", {"action": "opened", "issue": THING}, [Pull("issues", "5")]),
        ("issues", {"action": "deleted", "issue": THING}, [Delete("issues", "9", LATER)]),
        ("issues", {"action": "transferred", "issue": THING}, [Delete("issues", "9", LATER)]),
        ("pull_request", {"action": "closed"}, [Pull("issues", "5")]),
        ("issue_comment", {"action": "created", "comment": THING}, [Pull("comments", "5"), Pull("issues", "5")]),
        ("issue_comment", {"action": "deleted", "comment": THING},
         [Delete("comments", "9", LATER), Pull("issues", "5")]),
        ("repository", {"action": "deleted"}, [Refetch("repositories", "5")]),
    ],
)  # fmt: skip
def test_event(name: str, payload: dict[str, Any], meaning: list[Any]) -> None:
    """An issue counts its comments, and a pull request is an issue."""
    assert list(effects(Event({**REPOSITORY, **payload}, name))) == meaning


def test_the_documented_signature_is_taken_and_another_is_not() -> None:
    """The example of https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries."""
    secrets = {"webhook_secret": ["It's a Secret to Everybody"]}
    signed = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    verify(HOOK.verify, Received("POST", URL, {}, signed, b"Hello, World!"), secrets, 0)
    with pytest.raises(Refused):
        verify(HOOK.verify, Received("POST", URL, {}, signed, b"Hello, World?"), secrets, 0)


def test_a_ping_is_no_delivery() -> None:
    """GitHub sends one when a hook is made."""
    (ping,) = HOOK.handshakes
    assert isinstance(ping, Ping)
    assert ping.equals == "ping"


# --- hooks


@pytest.mark.parametrize(
    ("config", "at"),
    [
        ({}, "/orgs/octo-org/hooks"),
        ({"webhook_repository": "site.js"}, "/repos/octo-org/site.js/hooks"),
        ({"account": "user", "webhook_repository": "dotfiles"}, "/repos/octo-org/dotfiles/hooks"),
    ],
)
def test_hooks_are_the_organizations_or_a_repositorys(config: dict[str, str], at: str) -> None:
    """Only an organization has some for all its repositories."""
    assert hooks({**CONFIG, **config}) == at


@pytest.mark.parametrize("config", [{"account": "user"}, {"webhook_repository": "../../user"}, {"owner": "a/b"}])
def test_where_there_can_be_no_hooks_the_option_is_named(config: dict[str, str]) -> None:
    """It becomes part of a path."""
    with pytest.raises(ContractError, match=r"option (webhook_repository|owner)"):
        hooks({**CONFIG, **config})


def test_hooks_are_listed_to_the_last_page() -> None:
    """Those of others too."""
    at = "/orgs/octo-org/hooks"
    link = {"link": f'<https://api.github.com{at}?page=2>; rel="next"'}
    other = {**FOUND, "id": 8, "active": False, "config": {}}
    door = Replay(
        [Exchange(Request.of("GET", at, {"per_page": 100}), Response(200, link, json.dumps([FOUND]).encode())),
         Exchange(Request.of("GET", at, {"page": 2}), Response(200, {}, json.dumps([other]).encode()))]
    )  # fmt: skip
    first, second = SUBSCRIPTIONS.list(door, CONFIG)
    assert first == ONE
    assert (second.id, second.url, second.enabled) == ("8", "", False)


def sends(method: str, path: str, asked: Any, status: int = 200) -> Replay:
    exchange = Exchange(Request.of(method, path, None, asked), Response(status, {}, json.dumps(FOUND).encode()))
    return Replay([exchange], connector.rules)


def test_a_hook_is_made_changed_rotated_and_deleted() -> None:
    """Its settings are sent whole: what is left out of them GitHub takes away."""
    at = "/orgs/octo-org/hooks"
    about = {"active": True, "events": ["issues", "repository"], "config": SETTINGS}
    assert SUBSCRIPTIONS.chooses
    assert SUBSCRIPTIONS.create(sends("POST", at, {"name": "web", **about}), WANTED) == ONE
    assert SUBSCRIPTIONS.update
    assert SUBSCRIPTIONS.update(sends("PATCH", f"{at}/7", about), ONE, WANTED) == ONE
    assert SUBSCRIPTIONS.rotate
    rotated = {"config": {**SETTINGS, "secret": "s2"}}
    assert SUBSCRIPTIONS.rotate(sends("PATCH", f"{at}/7", rotated), ONE, "s2") == ONE
    SUBSCRIPTIONS.remove(sends("DELETE", f"{at}/7", None, 204), ONE)
