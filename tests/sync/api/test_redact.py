"""Redaction: no spelling of a secret stays in a text."""

from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest

from sync.api.redact import redacted

SECRET = "s3cr/et +&ü"


@pytest.mark.parametrize(
    "spelled", [SECRET, quote(SECRET, safe=""), quote_plus(SECRET), b64encode(SECRET.encode()).decode()]
)
def test_every_spelling_of_a_secret_is_masked(spelled):
    assert redacted(f"before {spelled} after", [SECRET]) == "before *** after"


def test_the_longer_of_two_secrets_is_masked_whole():
    assert redacted("abcdef", ["abcd", "abcdef"]) == "***"


def test_what_looks_like_a_secret_is_masked_though_nobody_named_it():
    text = '/x?page=2&api_key=abc&cursor=d "access_token": "ey.1", "name": "Ann"'
    assert redacted(text, []) == '/x?page=2&api_key=***&cursor=d "access_token": "***", "name": "Ann"'


def test_a_secret_too_short_to_be_one_masks_nothing():
    assert redacted("a text", ["a"]) == "a text"
