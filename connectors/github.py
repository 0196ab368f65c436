"""GitHub REST API. https://docs.github.com/en/rest

The repositories of an organization or a user, their issues and the comments on them. To GitHub every pull
request is an issue too; here they are told apart by the column `pull_request`.
"""

from collections.abc import Iterable, Mapping

from connectors import (
    Api,
    Bearer,
    Body,
    Concurrency,
    Connector,
    ContractError,
    Delete,
    Effect,
    Event,
    FixedWindow,
    Headers,
    Hmac,
    InHeader,
    Json,
    Option,
    Outcome,
    Ping,
    Prefix,
    Pull,
    Refetch,
    Rule,
    Stream,
    Subscription,
    Subscriptions,
    Sweep,
    Timestamp,
    Wait,
    Wanted,
    Webhook,
    WithParent,
    boolean,
    get_one,
    integer,
    iso,
    keyset,
    link_header,
    text,
)

REPOSITORIES = {"organization": "/orgs/{owner}/repos", "user": "/users/{owner}/repos"}
SECOND = 1_000_000
UPDATED = iso("updated_at")
CHANGED = Timestamp(field=UPDATED, wire_format="iso_seconds", granularity="1 second")
BY_CHANGE = {"sort": "updated", "direction": "asc"}
SINCE = keyset("updated_at", since="since", size=("per_page", 100))


def has_issues(repository: Mapping[str, Json]) -> bool:
    """Where they are switched off, the list answers 410; a repository that GitHub disabled answers 403 or
    451."""
    return bool(repository["has_issues"]) and not repository["disabled"]


def streams(config: Mapping[str, Json]) -> tuple[Stream, ...]:
    """The streams of one owner.

    Nothing in a repository moves when one of its issues does (`updated_at` follows the settings, `pushed_at`
    the code), so every run asks every repository: with an ETag, which costs nothing while the answer is the
    same.
    """
    return (
        # No `version`: stars, pushes and issue counts change a repository without moving its `updated_at`.
        Stream(
            "repositories",
            _repositories(config),
            link_header(size=("per_page", 100)),
            params={"sort": "created", "direction": "asc"},
            get=get_one("/repositories/{key}"),
            etag=True,
            deletes=(Sweep(every=None, confirm="pass"),),
            columns=(text("full_name"), boolean("private"), boolean("archived"), text("default_branch"),
                     integer("open_issues_count"), iso("pushed_at"), iso("updated_at")),
        ),
        # https://docs.github.com/en/rest/issues/issues#list-repository-issues
        Stream(
            "issues",
            "/repos/{full_name}/issues",
            SINCE,
            params={"state": "all", **BY_CHANGE},
            parent="repositories",
            where=has_issues,
            version=UPDATED,
            cursor=CHANGED,
            etag=True,
            deletes=(Sweep(every="7 days", confirm="pass"), WithParent()),
            columns=(integer("number"), text("title"), text("state"), text("user.login", name="author"),
                     text("pull_request.url", name="pull_request"), iso("created_at"), iso("updated_at"),
                     iso("closed_at")),
        ),
        # https://docs.github.com/en/rest/issues/comments#list-issue-comments-for-a-repository
        Stream(
            "comments",
            "/repos/{full_name}/issues/comments",
            SINCE,
            params=BY_CHANGE,
            parent="repositories",
            where=has_issues,
            version=UPDATED,
            cursor=CHANGED,
            etag=True,
            deletes=(Sweep(every="7 days", confirm="pass"), WithParent()),
            columns=(text("issue_url"), text("user.login", name="author"), text("body"), iso("created_at"),
                     iso("updated_at")),
        ),
    )  # fmt: skip


def _repositories(config: Mapping[str, Json]) -> str:
    return REPOSITORIES[config.get("account", "organization")].format(owner=_owner(config))


def _owner(config: Mapping[str, Json]) -> str:
    owner = str(config.get("owner", ""))
    if not owner.replace("-", "").replace("_", "").isalnum():
        raise ContractError(f"option owner: {owner!r} is not the login of a GitHub user or organization")
    return owner


def effects(event: Event) -> Iterable[Effect]:
    """What an event means.

    The issue and the comment in it are whole, and yet not what the lists show: they lack fields of theirs (`closed_by`,
    `sub_issues_summary`), and a row would change its shape with every event and back with every run. One issue can't be
    asked for by its id either, only by a number within its repository. So the list is asked for what changed in that
    repository, once for many events. A deletion names what is gone for good: ids are never given again.
    """
    repository, action = str(event["repository"]["id"]), event.get("action")
    if event.name == "repository":
        yield Refetch("repositories", repository)
        return
    if event.name == "issue_comment":
        comment = event["comment"]
        yield _gone("comments", comment) if action == "deleted" else Pull("comments", repository)
    if event.name == "issues" and action in GONE:
        yield _gone("issues", event["issue"])
    else:
        yield Pull("issues", repository)


GONE = ("deleted", "transferred")


def _gone(stream: str, last: Mapping[str, Json]) -> Delete:
    """No event tells its time. It was after the last change, which is known to the second."""
    return Delete(stream, str(last["id"]), UPDATED.instant(last["updated_at"]) + SECOND)


def hooks(config: Mapping[str, Json]) -> str:
    """Where webhooks are kept: of the organization, or of one repository."""
    owner, repository = _owner(config), str(config.get("webhook_repository") or "")
    if not repository and config.get("account", "organization") != "organization":
        raise ContractError("option webhook_repository: only organizations have webhooks; name a repository for them")
    if not repository.replace("-", "").replace("_", "").replace(".", "").isalnum() and repository:
        raise ContractError(f"option webhook_repository: {repository!r} is no repository's name")
    return f"/repos/{owner}/{repository}/hooks" if repository else f"/orgs/{owner}/hooks"


def hook(found: Mapping[str, Json], at: str) -> Subscription:
    """A webhook; its secret is never shown."""
    return Subscription(
        id=str(found["id"]),
        url=found["config"].get("url") or "",
        events=tuple(found["events"]),
        enabled=found["active"],
        why="" if found["active"] else "it is not active",
        data={"at": at},
    )


def listed(api: Api, config: Mapping[str, Json]) -> Iterable[Subscription]:
    """All webhooks there, whoever made them."""
    at = hooks(config)
    reply = api.get(at, {"per_page": 100})
    while True:
        yield from (hook(found, at) for found in reply.rows())
        if "next" not in reply.link:
            return
        reply = api.get(reply.link["next"])


def settings(url: str, secret: str) -> Mapping[str, Json]:
    """Whole, since what is left out is taken away."""
    return {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}


def subscribe(api: Api, wanted: Wanted) -> Subscription:
    """A new webhook."""
    at = hooks(wanted.config)
    about = {"name": "web", "active": True, "events": wanted.events, "config": settings(wanted.url, wanted.secret)}
    return hook(api.send("POST", at, json=about)[""], at)


def change(api: Api, one: Subscription, wanted: Wanted) -> Subscription:
    """Its events and secret as wanted, and active."""
    at = str(one.data["at"])
    about = {"active": True, "events": wanted.events, "config": settings(wanted.url, wanted.secret)}
    return hook(api.send("PATCH", f"{at}/{one.id}", json=about)[""], at)


def rotate(api: Api, one: Subscription, secret: str) -> Subscription:
    """Signed with another secret from now on."""
    at = str(one.data["at"])
    return hook(api.send("PATCH", f"{at}/{one.id}", json={"config": settings(one.url, secret)})[""], at)


def unsubscribe(api: Api, one: Subscription) -> None:
    """Deleted for good."""
    api.send("DELETE", f"{one.data['at']}/{one.id}")


connector = Connector(
    base_url="{api_url}",
    auth=Bearer("token"),
    owner="engineering",
    docs="https://docs.github.com/en/rest",
    options={
        "owner": Option("the login of the organization or user whose repositories are read", required=True),
        "account": Option("what kind of account the owner is; of a user, public repositories only",
                          default="organization", choices=tuple(REPOSITORIES)),
        "webhook_repository": Option("the repository that the webhook is made at, by `tidelock webhooks sync`; none = "
                                     "the organization", default=""),
        "api_url": Option("GitHub, or https://<host>/api/v3 of an enterprise server",
                          default="https://api.github.com"),
    },
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
    # https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    limits={
        "default": (
            FixedWindow(5000, 3600, feedback=Headers(limit="x-ratelimit-limit")),
            "900/minute",
            Concurrency(10),
        ),
    },
    rules=(
        Rule(status=401, then=Outcome.FAIL_CONNECTION, why="GitHub refuses the token: give a valid one"),
        Rule(status=(403, 429), header=("retry-after", r"\d"), then=Outcome.RATE_LIMITED,
             wait=Wait(header="retry-after", format="seconds")),
        Rule(status=(403, 429), header=("x-ratelimit-remaining", "^0$"), then=Outcome.RATE_LIMITED,
             wait=Wait(header="x-ratelimit-reset", format="epoch_s")),
        Rule(status=(403, 429), body=Body("message", matches="(?i)secondary rate limit|abuse detection"),
             then=Outcome.RATE_LIMITED, wait=Wait(default=60)),
        Rule(status=403, header=("x-github-sso", "required"), then=Outcome.FAIL_STREAM,
             why="the organization wants the token to be authorized for its single sign-on"),
        Rule(status=404, method="GET", then=Outcome.GONE, why="it is gone, or hidden from the token"),
        Rule(status=451, then=Outcome.FAIL_STREAM, why="GitHub may not show this for legal reasons"),
    ),
    streams=streams,
    # https://docs.github.com/en/webhooks. A token needs admin:org_hook, or admin:repo_hook at a repository.
    webhook=Webhook(
        verify=Hmac(signature=InHeader("X-Hub-Signature-256"), form=Prefix("sha256=")),
        effects=effects,
        name=InHeader("X-GitHub-Event"),
        events=("issues", "issue_comment", "pull_request", "repository"),
        delivery=InHeader("X-GitHub-Delivery"),
        handshakes=(Ping(InHeader("X-GitHub-Event"), "ping"),),
        subscriptions=Subscriptions(
            list=listed, create=subscribe, update=change, rotate=rotate, remove=unsubscribe, chooses=True
        ),
        max_body=25 * 1024 * 1024,
    ),
)  # fmt: skip
