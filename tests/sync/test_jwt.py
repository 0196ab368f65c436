"""JSON Web Tokens: signed as the connector says, by the one who says so, for now and for this body; else refused."""

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, SECP256R1, SECP384R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import InBody, InHeader, Jwt
from sync.verify import Refused, verify
from tests.sync.verifiers import request

NOW = 1_700_000_000.0
SECRET = "k" * 64
RSA = rsa_key(65537, 2048)
EC = ec_key(SECP256R1())
SHA = hashlib.sha256(b"{}").hexdigest()


def pem(private):
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEYS: dict[str, Any] = {"HS256": (SECRET, SECRET), "HS384": (SECRET, SECRET), "HS512": (SECRET, SECRET)}
KEYS |= {"RS256": (RSA, pem(RSA)), "ES256": (EC, pem(EC))}


def why(verifier, token, *secrets, now=NOW, body=b"{}", scheme="Bearer "):
    """The reason of the refusal; "" where it is believed."""
    received = request(body, {"Authorization": f"{scheme}{token}"})
    try:
        verify(verifier, received, {"webhook_secret": secrets or (SECRET,)}, now)
    except Refused as refused:
        return refused.reason
    return ""


def part(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(head, claims, key=b"k" * 64):
    """A token whose head says what it likes, with an HMAC that is right."""
    message = f"{part(head)}.{part(claims)}"
    return f"{message}.{part(hmac.digest(key, message.encode(), 'sha256'))}"


# --- who signed


@pytest.mark.parametrize("algorithm", KEYS)
def test_what_the_library_signs(algorithm):
    private, public = KEYS[algorithm]
    token = jwt.encode({"iss": "vendor"}, private, algorithm=algorithm)
    verifier = Jwt(algorithm=algorithm)
    assert why(verifier, token, public) == ""
    assert why(verifier, token, public, scheme="JWT ") == why(verifier, token, public, scheme="") == ""
    head, claims, signature = token.split(".")
    assert why(verifier, f"{head}.{part({'iss': 'me'})}.{signature}", public) == "wrong signature"
    assert why(verifier, f"{head}.{claims}.{signature[:-4]}", public) == "wrong signature"
    assert why(verifier, f"{head}.{claims}.{'A' * len(signature)}", public) == "wrong signature"


@pytest.mark.parametrize("algorithm", KEYS)
def test_two_secrets_are_valid_while_it_changes(algorithm):
    private, public = KEYS[algorithm]
    others = {"R": pem(rsa_key(65537, 2048)), "E": pem(ec_key(SECP256R1())), "H": "o" * 64}
    other = others[algorithm[0]]
    token = jwt.encode({}, private, algorithm=algorithm)
    assert why(Jwt(algorithm=algorithm), token, other, public) == ""
    assert why(Jwt(algorithm=algorithm), token, public, other) == ""
    assert why(Jwt(algorithm=algorithm), token, other) == "wrong signature"


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("other", KEYS)
def test_the_token_does_not_choose_its_algorithm(algorithm, other):
    token = jwt.encode({}, KEYS[other][0], algorithm=other)
    reason = why(Jwt(algorithm=algorithm), token, KEYS[algorithm][1])
    assert reason == ("" if algorithm == other else "another algorithm")


@pytest.mark.parametrize("algorithm", KEYS)
def test_an_unsigned_token_is_none(algorithm):
    token = jwt.encode({}, "", algorithm="none")
    assert why(Jwt(algorithm=algorithm), token, KEYS[algorithm][1]) == "malformed token"
    assert why(Jwt(algorithm=algorithm), f"{token}AAAA", KEYS[algorithm][1]) == "another algorithm"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_public_key_is_no_shared_secret(algorithm):
    """Everybody knows it, and can make an HMAC with it."""
    public = KEYS[algorithm][1]
    token = forged({"alg": "HS256"}, {}, public.encode())
    assert why(Jwt(algorithm=algorithm), token, public) == "another algorithm"
    assert why(Jwt(), token, public) == "wrong signature"
    assert why(Jwt(), forged({"alg": "HS256"}, {}, b"\n" + public.encode()), f"\n{public}") == "wrong signature"


@pytest.mark.parametrize("key", [pem(ec_key(SECP384R1())), pem(RSA), SECRET, "é", "-----BEGIN PUBLIC KEY-----"])
def test_keys_of_another_kind_believe_nothing(key):
    assert why(Jwt(algorithm="ES256"), jwt.encode({}, EC, algorithm="ES256"), key) == "wrong signature"
    if key != pem(RSA):
        assert why(Jwt(algorithm="RS256"), jwt.encode({}, RSA, algorithm="RS256"), key) == "wrong signature"


@pytest.mark.parametrize(
    "head", [{}, {"alg": None}, {"alg": ["HS256"]}, {"alg": "hs256"}, {"alg": "HS256", "crit": []}]
)
def test_heads_that_say_something_else(head):
    assert why(Jwt(), forged(head, {})) == "another algorithm"


def raw_signature(key, message):
    return b"".join(
        half.to_bytes(32, "big") for half in decode_dss_signature(key.sign(message.encode(), ECDSA(SHA256())))
    )


def test_es256_is_one_curve():
    """secp256k1 has numbers of the same length, and is another algorithm."""
    key, message = ec_key(SECP256K1()), f"{part({'alg': 'ES256'})}.{part({})}"
    token = f"{message}.{part(raw_signature(key, message))}"
    assert why(Jwt(algorithm="ES256"), token, pem(key)) == "wrong signature"


def test_es256_signatures_have_one_length():
    """A number that begins with a zero is not cut."""
    message = f"{part({'alg': 'ES256'})}.{part({})}"
    cut = next(one for _ in range(10_000) if (one := raw_signature(EC, message))[32] == 0)
    assert why(Jwt(algorithm="ES256"), f"{message}.{part(cut)}", pem(EC)) == ""
    assert why(Jwt(algorithm="ES256"), f"{message}.{part(cut[:32] + cut[33:])}", pem(EC)) == "wrong signature"


@pytest.mark.parametrize(
    "token",
    [
        "a",
        "a.b",
        "a.b.c.d",
        "..",
        "é.é.é",
        forged({"alg": "HS256"}, {}) + "=",
        forged({"alg": "HS256"}, {}) + "\n",
        forged(["HS256"], {}),
        forged({"alg": "HS256"}, []),
        forged({"alg": "HS256"}, b"{"),
        forged({"alg": "HS256"}, b"\xff"),
        forged({"alg": "HS256"}, b'{"exp": NaN}'),
        forged({"alg": "HS256"}, b'{"exp": 1e999}'),
        forged({"alg": "HS256"}, b'{"a":' + b"[" * 5000),
        forged({"alg": "HS256"}, {"a": "a" * 20_000}),
        "A" * 5 + ".e30.e30",
    ],
)
def test_what_is_no_token(token):
    assert why(Jwt(), token) == "malformed token"


def test_tokens_in_the_body():
    token = jwt.encode({}, SECRET, algorithm="HS256")
    verifier = Jwt(token=InBody("token"))
    verify(verifier, request(json.dumps({"token": token}).encode()), {"webhook_secret": [SECRET]}, NOW)
    with pytest.raises(Refused, match="no token"):
        verify(verifier, request(b'{"token": []}'), {"webhook_secret": [SECRET]}, NOW)
    with pytest.raises(Refused, match="no token"):
        verify(Jwt(token=InHeader("X")), request(), {"webhook_secret": [SECRET]}, NOW)


# --- what it claims


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, ""),
        ({"exp": NOW}, ""),
        ({"exp": NOW - 59}, ""),
        ({"exp": NOW - 60}, "too old"),
        ({"nbf": NOW + 60}, ""),
        ({"nbf": NOW + 61}, "too early"),
        ({"exp": None, "nbf": None}, ""),
        ({"exp": "1700000100"}, "malformed timestamp"),
        ({"exp": True}, "malformed timestamp"),
        ({"nbf": [1]}, "malformed timestamp"),
        ({"exp": 10**400}, ""),
        ({"exp": -(10**400)}, "too old"),
        ({"nbf": 1e300}, "too early"),
        ({"iat": NOW + 1e6}, ""),
        ({"iat": "now"}, "malformed timestamp"),
    ],
)
def test_its_times_count(claims, reason):
    assert why(Jwt(), forged({"alg": "HS256"}, claims)) == reason


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iat": NOW - 300}, ""),
        ({"iat": NOW - 301}, "too old"),
        ({"iat": NOW + 60}, ""),
        ({"iat": NOW + 61}, "too early"),
        ({}, "no timestamp"),
    ],
)
def test_a_token_may_have_an_age(claims, reason):
    assert why(Jwt(max_age=300), forged({"alg": "HS256"}, claims)) == reason


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "vendor", "aud": "us"}, ""),
        ({"iss": "vendor", "aud": ["them", "us"]}, ""),
        ({"iss": "vendor", "aud": ["them"]}, "other claims"),
        ({"iss": "vendor"}, "other claims"),
        ({"iss": "vendors", "aud": "us"}, "other claims"),
        ({"iss": 1, "aud": "us"}, "other claims"),
    ],
)
def test_it_must_claim(claims, reason):
    assert why(Jwt(claims=(("iss", "vendor"), ("aud", "us"))), forged({"alg": "HS256"}, claims)) == reason


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (SHA, ""),
        (SHA.upper(), ""),
        (SHA[:-1], "another body"),
        ("é", "another body"),
        ("\ud800", "malformed token"),
        (None, "another body"),
        (1, "another body"),
    ],
)
def test_it_may_cover_the_body(claim, reason):
    """As Plaid's and Vonage's do."""
    token = forged({"alg": "HS256"}, {"payload_hash": claim})
    assert why(Jwt(body_hash="payload_hash"), token) == reason
    assert why(Jwt(body_hash="payload_hash"), token, body=b"[]")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
CLAIMS = st.dictionaries(st.sampled_from(["exp", "nbf", "iat", "iss", "hash", "crit", "alg"]), ANY)


@settings(max_examples=200, deadline=None)
@given(head=CLAIMS, claims=CLAIMS)
def test_whatever_a_signer_claims(head, claims):
    """Even who holds the secret can do no more than be refused."""
    verifier = Jwt(claims=(("iss", "vendor"),), body_hash="hash", max_age=300)
    for token in (forged(head, claims), forged({"alg": "HS256"}, claims)):
        reason = why(verifier, token)
        assert reason
        assert not reason.startswith("the check failed")
