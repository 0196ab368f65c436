"""URLs: the base, and what may be asked for below it."""

import pytest

from connectors import Connector, ContractError, Option
from sync.api.origin import Origin, filled, origin, plus, target, with_params, without_param
from sync.door import OutcomeError

BASE = Origin("https", "api.example.com", 443)


def connector(base_url, **options):
    return Connector(base_url=base_url, streams=(), options=options)


def test_the_base_is_filled_from_the_configuration_and_its_defaults():
    shop = connector("https://{shop}.example.com/{version}", version=Option("v", default="2026-10"))
    assert filled(shop, {"shop": "tea"}) == "https://tea.example.com/2026-10"


@pytest.mark.parametrize("config", [{}, {"shop": ""}, {"shop": None}])
def test_a_missing_option_is_named(config):
    with pytest.raises(ContractError, match="'shop'"):
        filled(connector("https://{shop}.example.com"), config)


@pytest.mark.parametrize("value", ["evil.com/", "evil.com#", "evil.com?", "x@evil.com", "a\\b", "a b", "a\nb"])
def test_an_option_can_not_move_the_end_of_the_host(value):
    with pytest.raises(ContractError, match="'shop'"):
        filled(connector("https://{shop}.example.com"), {"shop": value})


def test_a_whole_url_may_be_an_option():
    assert filled(connector("{url}"), {"url": "http://10.0.0.1:80/api"}) == "http://10.0.0.1:80/api"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://API.example.com", "https://api.example.com"),
        ("https://api.example.com:443/x", "https://api.example.com"),
        ("http://api.example.com:8080", "http://api.example.com:8080"),
        ("http://[2606:4700::1]/", "http://[2606:4700::1]"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, shown):
    assert str(origin(url)) == shown


@pytest.mark.parametrize("url", ["ftp://x", "https://", "https://x:99999", "x", "https://[::1"])
def test_what_is_no_http_url_is_refused(url):
    with pytest.raises(ContractError):
        origin(url)


def test_a_url_with_a_password_is_refused_without_quoting_it():
    with pytest.raises(ContractError) as caught:
        origin("https://me:hunter22@example.com")
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("/v1/x", "/api/v1/x"),
        ("v1/x", "/api/v1/x"),
        ("?page=2", "/api?page=2"),
        ("/v1/things:search", "/api/v1/things:search"),
        ("things:search", "/api/things:search"),
        ("https://api.example.com/api/v1/x?page=2#top", "/api/v1/x?page=2"),
        ("HTTPS://API.example.com:443/api/v1/x", "/api/v1/x"),
        ("//api.example.com/v1", "/v1"),
        ("https://api.example.com?page=2", "/?page=2"),
        ("https://api.example.com", "/"),
    ],
)
def test_a_target_is_a_path_below_the_base_or_a_url_of_the_same_origin(url, asked):
    assert target(BASE, "/api", url) == asked


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x",
        "http://api.example.com/x",
        "https://api.example.com:8443/x",
        "//evil.example/x",
        "https://api.example.com.evil.example/",
    ],
)
def test_another_origin_is_refused_with_both_named(url):
    with pytest.raises(OutcomeError, match=r"https://api\.example\.com") as caught:
        target(BASE, "", url)
    assert str(origin(url if ":" in url[:6] else f"https:{url}")) in str(caught.value)
    assert caught.value.outcome == "fail_connection"


def test_parameters_join_the_query_that_is_there():
    asked = with_params("/x?a=1", {"b": "ü&=", "none": None, "yes": True, "many": [1, 2], "zero": 0})
    assert asked == "/x?a=1&b=%C3%BC%26%3D&yes=true&many=1&many=2&zero=0"


@pytest.mark.parametrize("params", [None, {}, {"a": None}])
def test_without_parameters_there_is_no_question_mark(params):
    assert with_params("/x", params) == "/x"


def test_one_parameter_is_taken_out_and_the_others_stay_as_they_were():
    assert without_param("/x?a=%20&key=s&b=1+2&k%65y=t&key", "key") == "/x?a=%20&b=1+2"
    assert without_param("/x?key=s", "key") == "/x"
    assert without_param("/x", "key") == "/x"
    assert plus("/x?a=1", "k y", "s/1") == "/x?a=1&k+y=s%2F1"
