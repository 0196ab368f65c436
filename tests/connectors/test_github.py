"""GitHub: whose repositories, which of them, and the order of their issues."""

from typing import Any

import pytest

from connectors import Ask, ContractError, Stream
from connectors.github import connector, has_issues
from sync.kit import vendor as simulator
from sync.kit.vendor import Collection, Since, moment
from tests.connectors.vendors import Door, keys, vendor, walk


def stream(name: str, **config: Any) -> Stream:
    return next(one for one in connector.streams_for({"owner": "octo-org", **config}) if one.name == name)


@pytest.mark.parametrize(
    ("config", "path"),
    [({}, "/orgs/octo-org/repos"), ({"account": "organization"}, "/orgs/octo-org/repos"),
     ({"account": "user"}, "/users/octo-org/repos")],
)  # fmt: skip
def test_owner_is_an_organization_or_a_user(config: dict[str, str], path: str) -> None:
    """Only an organization lists its private repositories."""
    assert stream("repositories", **config).path == path


@pytest.mark.parametrize("owner", ["", "octo org", "../admin", "o/r", "x?y"])
def test_owner_that_is_no_login_is_named(owner: str) -> None:
    """It becomes part of a path."""
    with pytest.raises(ContractError, match=r"option owner: .* is not the login"):
        stream("repositories", owner=owner)


def test_repositories_without_issues_make_no_partition() -> None:
    """GitHub answers 410 there, and 403 for those that it disabled."""
    sound = {"has_issues": True, "disabled": False}
    assert has_issues(sound)
    assert not has_issues({**sound, "has_issues": False})
    assert not has_issues({**sound, "disabled": True})
    assert stream("issues").where is has_issues


def test_issue_edited_under_way_hides_no_other() -> None:
    """The list rises by `updated_at`, to the second, and its numbered pages shift; keys are asked for instead."""
    issues = Collection(name="issues", path="/repos/o/r/issues", rows="", stamps="iso_seconds",
                        paging=simulator.link(maximum=100), since=Since(param="since", granularity_s=1))  # fmt: skip
    made = vendor(issues)
    for number in range(1, 501):
        made.create("issues", number, {}, at=moment(2026, 1, 1) + number // 60 * 1_000_000)
    edited = iter(range(1, 100))
    found = keys(walk(Door(made), stream("issues"), Ask(parent={"full_name": "o/r"}),
                      between=lambda _: made.update("issues", next(edited), {"title": "x"})))  # fmt: skip
    assert set(found) == set(range(1, 501))


def test_cursor_is_told_to_the_second() -> None:
    """As GitHub writes and reads it."""
    cursor = stream("issues").cursor
    assert cursor
    assert cursor.wire(1_750_000_005_999_999) == "2025-06-15T15:06:45Z"
