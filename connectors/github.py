"""GitHub REST API. https://docs.github.com/en/rest

The repositories of an organization or a user, their issues and the comments on them. To GitHub every pull
request is an issue too; here they are told apart by the column `pull_request`.
"""

from collections.abc import Mapping

from connectors import (
    Bearer,
    Body,
    Concurrency,
    Connector,
    ContractError,
    FixedWindow,
    Headers,
    Json,
    Option,
    Outcome,
    Rule,
    Stream,
    Sweep,
    Timestamp,
    Wait,
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
CHANGED = Timestamp(field=iso("updated_at"), wire_format="iso_seconds", granularity="1 second")
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
            version=iso("updated_at"),
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
            version=iso("updated_at"),
            cursor=CHANGED,
            etag=True,
            deletes=(Sweep(every="7 days", confirm="pass"), WithParent()),
            columns=(text("issue_url"), text("user.login", name="author"), text("body"), iso("created_at"),
                     iso("updated_at")),
        ),
    )  # fmt: skip


def _repositories(config: Mapping[str, Json]) -> str:
    owner = str(config.get("owner", ""))
    if not owner.replace("-", "").replace("_", "").isalnum():
        raise ContractError(f"option owner: {owner!r} is not the login of a GitHub user or organization")
    return REPOSITORIES[config.get("account", "organization")].format(owner=owner)


connector = Connector(
    base_url="{api_url}",
    auth=Bearer("token"),
    owner="engineering",
    docs="https://docs.github.com/en/rest",
    options={
        "owner": Option("the login of the organization or user whose repositories are read", required=True),
        "account": Option("what kind of account the owner is; of a user, public repositories only",
                          default="organization", choices=tuple(REPOSITORIES)),
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
)  # fmt: skip
