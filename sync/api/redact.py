"""Redaction: what may be shown of texts that could hold a secret."""

import re
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"
_SHORTEST = 4  # a shorter value would mask half of every text
_QUERY = re.compile(
    r"([?&](?:api[-_]?key|apikey|key|access[-_]token|refresh[-_]token|token|secret|client[-_]secret|signature|sig|"
    r"password|auth)=)[^&#\s]+",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r'("(?:access_token|refresh_token|id_token|client_secret|password|secret|api_key)"\s*:\s*)"[^"]*"?',
    re.IGNORECASE,
)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, in any spelling in which they travel, and without what looks like one."""
    spellings = {one for secret in secrets if len(secret) >= _SHORTEST for one in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return _FIELD.sub(rf'\1"{MASK}"', _QUERY.sub(rf"\1{MASK}", text))


def _spellings(secret: str) -> tuple[str, ...]:
    return secret, quote(secret, safe=""), quote_plus(secret), b64encode(secret.encode()).decode()
