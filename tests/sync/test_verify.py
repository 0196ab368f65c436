"""Verification: what a vendor signed is believed, all else is refused, and nothing that is sent can do more."""

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import stripe
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook

from connectors import (
    STANDARD_WEBHOOKS,
    SVIX,
    ContractError,
    EcdsaP256,
    Ed25519,
    FetchBack,
    HashConcat,
    Hmac,
    InBody,
    InHeader,
    InQuery,
    InSignature,
    Jwt,
    Method,
    Pairs,
    Request,
    SharedToken,
    Window,
)
from sync.verify import Received, Refused, verify
from tests.sync.verifiers import FILE, VECTORS, VERIFIERS, of_vector, request

quick = settings(max_examples=25, deadline=None)
NOW = 1_700_000_000.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY = '{"id":"evt_1","note":"Zoë 😀"}'
BY_ID = {one["id"]: one for one in VECTORS}
VALID = [one["id"] for one in VECTORS if one["expected"] == "valid"]

STRIPE = VERIFIERS["stripe_v1"]
SLACK = VERIFIERS["slack_v0"]
GITHUB = VERIFIERS["github_sha256"]
HUBSPOT = Hmac(
    signature=InHeader("X-HubSpot-Signature-v3"),
    encoding="base64",
    window=Window(at=InHeader("X-HubSpot-Request-Timestamp"), unit="milliseconds"),
)


def why(verifier, received, *secrets, now=NOW):
    """The reason of the refusal; "" where it is believed."""
    names = verifier.secrets or ("webhook_secret",)
    try:
        verify(verifier, received, dict.fromkeys(names, secrets), now)
    except Refused as refused:
        return refused.reason if refused.__context__ is None else "its context may quote what was sent"
    return ""


def why_vector(name, **changed):
    vector = BY_ID[name] | changed
    return why(VERIFIERS[vector["verifier"]], of_vector(vector), vector["secret"], now=vector["now"] or NOW)


def mac(message, key="key", algorithm="sha256"):
    return hmac.digest(key.encode(), message, algorithm).hex()


# --- the vectors


@pytest.mark.parametrize("name", BY_ID)
def test_vectors(name):
    """Signed by vendors, their libraries and their formulas: each is believed or refused as it must be."""
    reason = why_vector(name)
    assert bool(reason) == (BY_ID[name]["expected"] == "invalid"), reason
    assert not reason.startswith("the check failed")


def test_every_configuration_has_a_vector_that_is_believed():
    assert len(VECTORS) == 77
    assert set(VERIFIERS) == set(FILE["verifiers"]) == {BY_ID[name]["verifier"] for name in VALID}


@pytest.mark.parametrize("name", VALID)
def test_without_its_secret_no_vector_is_believed(name):
    for secret in ("", "  ", "whsec_", "whpk_"):
        reason = why_vector(name, secret=secret)
        assert reason in {"no secret is set", "the secret is unusable", "wrong signature", "wrong token"}
    vector = BY_ID[name]
    with pytest.raises(Refused, match="no secret is set"):
        verify(VERIFIERS[vector["verifier"]], of_vector(vector), {}, vector["now"] or NOW)


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_secret_is_none(blank):
    """It would sign as well as any."""
    received = request(b"{}", {"X-Hub-Signature-256": f"sha256={mac(b'{}', blank)}"})
    assert why(GITHUB, received, blank) == why(GITHUB, received) == "no secret is set"
    assert why(GITHUB, received, blank, "key") == "wrong signature"


@pytest.mark.parametrize("name", VALID)
def test_two_secrets_are_valid_while_it_changes(name):
    vector = BY_ID[name]
    verifier, received, now = VERIFIERS[vector["verifier"]], of_vector(vector), vector["now"] or NOW
    for other in (OTHER, "not a key", BY_ID["sendgrid-valid"]["secret"]):
        assert why(verifier, received, other, vector["secret"], now=now) == ""
        assert why(verifier, received, vector["secret"], other, now=now) == ""
        assert other == vector["secret"] or why(verifier, received, other, now=now)


@pytest.mark.parametrize("name", [name for name in VALID if BY_ID[name]["body"] and name != "mailgun-valid"])
@quick
@given(data=st.data())
def test_one_changed_byte_is_refused(name, data):
    """In every body but Mailgun's, which is not signed."""
    vector = BY_ID[name]
    received = of_vector(vector)
    at = data.draw(st.integers(0, len(received.body) - 1))
    flipped = received.body[at] ^ data.draw(st.integers(1, 255))
    received.body = received.body[:at] + bytes([flipped]) + received.body[at + 1 :]
    assert why(VERIFIERS[vector["verifier"]], received, vector["secret"], now=vector["now"] or NOW)


# --- the vendors' own libraries


@quick
@given(body=st.text(), secret=st.text("abcdef0123456789", min_size=1))
def test_what_stripe_signs(body, secret):
    header = stripe.WebhookSignature.generate_signature_header(body, secret, int(NOW))
    assert why(STRIPE, request(body.encode(), {"Stripe-Signature": header}), secret) == ""
    assert why(STRIPE, request(body.encode() + b" ", {"Stripe-Signature": header}), secret) == "wrong signature"
    assert why(STRIPE, request(body.encode(), {"Stripe-Signature": header}), f"{secret}0") == "wrong signature"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(body + " ", header, secret)


@quick
@given(body=st.text(), secret=st.text("abcdef0123456789", min_size=1))
def test_what_slack_signs(body, secret):
    signature = SignatureVerifier(secret).generate_signature(timestamp=str(int(NOW)), body=body)
    headers = {"X-Slack-Request-Timestamp": str(int(NOW)), "X-Slack-Signature": str(signature)}
    assert why(SLACK, request(body.encode(), headers), secret) == ""
    assert why(SLACK, request(body.encode() + b" ", headers), secret) == "wrong signature"
    assert why(SLACK, request(body.encode(), headers), f"{secret}0") == "wrong signature"
    earlier = headers | {"X-Slack-Request-Timestamp": str(int(NOW) - 1)}
    assert why(SLACK, request(body.encode(), earlier), secret) == "wrong signature"


@pytest.mark.parametrize(("verifier", "prefix"), [(STANDARD_WEBHOOKS, "webhook"), (SVIX, "svix")])
@quick
@given(body=st.text(), key=st.binary(min_size=1), id=st.text("abc_123", min_size=1))
def test_what_standard_webhooks_signs(verifier, prefix, body, key, id):
    secret = "whsec_" + base64.b64encode(key).decode()
    signature = Webhook(secret).sign(id, datetime.fromtimestamp(NOW, UTC), body)
    headers = {f"{prefix}-id": id, f"{prefix}-timestamp": str(int(NOW)), f"{prefix}-signature": signature}
    assert why(verifier, request(body.encode(), headers), secret) == ""
    assert why(verifier, request(body.encode(), headers), secret.removeprefix("whsec_").rstrip("=")) == ""
    assert why(verifier, request(body.encode() + b" ", headers), secret) == "wrong signature"
    assert why(verifier, request(body.encode(), headers | {f"{prefix}-id": f"{id}x"}), secret) == "wrong signature"
    another = base64.b64encode(key + b"x").decode()
    assert why(verifier, request(body.encode(), headers), another) == "wrong signature"


def test_both_agree_on_the_present():
    """Our clock and the libraries' is the same one."""
    now = time.time()
    header = stripe.WebhookSignature.generate_signature_header(BODY, SECRET)
    assert stripe.WebhookSignature.verify_header(BODY, header, SECRET, tolerance=300)
    assert why(STRIPE, request(BODY.encode(), {"Stripe-Signature": header}), SECRET, now=now) == ""
    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(now, UTC), BODY)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now)), "webhook-signature": signature}
    assert Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)
    assert why(STANDARD_WEBHOOKS, request(BODY.encode(), headers), SECRET, now=now) == ""


# --- when


def stripe_at(stamp, body=b"{}"):
    return request(body, {"Stripe-Signature": f"t={stamp},v1={mac(stamp.encode() + b'.' + body)}"})


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        ("1699999700", ""),
        ("1699999699", "too old"),
        ("1600000000", "too old"),
        ("0", "too old"),
        ("9999999999999999", ""),  # Stripe names no future bound
        ("1700000000.5", ""),
        ("", "malformed timestamp"),
        ("-1", "malformed timestamp"),
        ("nan", "malformed timestamp"),
        ("inf", "malformed timestamp"),
        ("1e9", "malformed timestamp"),
        ("1_700_000_000", "malformed timestamp"),
        ("١٧٠٠٠٠٠٠٠٠", "malformed timestamp"),
        ("9" * 400, "malformed timestamp"),
        ("0x6553f100", "malformed timestamp"),
    ],
)
def test_a_signature_has_its_time(stamp, reason):
    assert why(STRIPE, stripe_at(stamp), "key") == reason


def test_the_time_is_told_of_signed_deliveries_only():
    """A stranger's is a wrong signature, however old."""
    assert why(STRIPE, stripe_at("1600000000"), "another key") == "wrong signature"


def test_early_is_refused_where_the_scheme_says_so():
    for late in (-300, 0, 300):
        assert why(SLACK, signed_by_slack(NOW + late), "key") == ""
    assert why(SLACK, signed_by_slack(NOW + 301), "key") == "too early"
    assert why(SLACK, signed_by_slack(NOW - 301), "key") == "too old"


def signed_by_slack(at):
    headers = {"X-Slack-Request-Timestamp": f"{at:.0f}", "X-Slack-Signature": f"v0={mac(f'v0:{at:.0f}:{{}}'.encode())}"}
    return request(b"{}", headers)


ISO = Hmac(
    signature=InHeader("Signature"),
    signed="{id}{timestamp}{body}",
    id=InHeader("Id"),
    window=Window(at=InHeader("At"), unit="iso", past=600),
)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("2023-11-14T22:13:20.123456789Z", ""),
        ("2023-11-14T23:13:20+01:00", ""),
        ("2023-11-14T22:03:20Z", ""),
        ("2023-11-14T22:03:19Z", "too old"),
        ("2023-11-14T22:13:20", "malformed timestamp"),
        ("0001-01-01T00:00:00+23:59", "too old"),
        ("yesterday", "malformed timestamp"),
    ],
)
def test_times_as_text(at, reason):
    """As Twitch sends them."""
    signature = mac(f"7{at}{{}}".encode())
    assert why(ISO, request(b"{}", {"Signature": signature, "Id": "7", "At": at}), "key") == reason


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        ("1700000060000", ""),
        ("1700000060001", "too early"),
        ('"1700000000000"', ""),
        ("1.7e12", "malformed timestamp"),
        ("1e999", "malformed timestamp"),
        ("true", "malformed timestamp"),
        ("null", "no timestamp"),
        ("[]", "no timestamp"),
        ("{}", "no timestamp"),
        ('""', "no timestamp"),
        ("NaN", "no timestamp"),
    ],
)
def test_times_in_the_body(stamp, reason):
    body = f'{{"webhookTimestamp":{stamp}}}'.encode()
    assert why(VERIFIERS["linear"], request(body, {"Linear-Signature": mac(body)}), "key") == reason


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[" * 100_000, b'{"webhookTimestamp":' + b"[" * 1_000_000, b"\xff"]
)
def test_a_body_without_its_time(body):
    assert why(VERIFIERS["linear"], request(body, {"Linear-Signature": mac(body)}), "key") == "no timestamp"


# --- how it is written


RIGHT = mac(b"{}")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"sha256={RIGHT}", ""),
        (f"sha256={RIGHT.upper()}", ""),
        ("", "no signature"),
        ("sha256=", "malformed signature"),
        (RIGHT, "malformed signature"),
        (f"sha1={RIGHT}", "malformed signature"),
        (f"SHA256={RIGHT}", "malformed signature"),
        (f"sha256={RIGHT[:-2]}", "wrong signature"),
        (f"sha256={RIGHT}00", "wrong signature"),
        (f"sha256={RIGHT[:-1]}", "malformed signature"),
        (f"sha256={RIGHT}, sha256={RIGHT}", "malformed signature"),
        (f"sha256={RIGHT},sha256={'0' * 64}", "malformed signature"),
        (f"sha256= {RIGHT}", "malformed signature"),
        (f"sha256={RIGHT}\n", "malformed signature"),
        ("sha256=Zoë", "malformed signature"),
        ("sha256=" + "中" * 64, "malformed signature"),
        ("sha256=" + "0" * 10_000_000, "malformed signature"),
    ],
)
def test_one_signature_behind_its_prefix(header, reason):
    assert why(GITHUB, request(b"{}", {"X-Hub-Signature-256": header}), "key") == reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("t={t},v1={right}", ""),
        ("t={t}, v1={right}", ""),
        ("v1={right},t={t}", ""),
        ("t={t},v1={wrong},v1={right}", ""),
        ("t={t},v1=nothex,v1={right}", ""),
        ("t={t},t={t},v1={right}", ""),
        ("t={t},t=1699999999,v1={right}", "no timestamp"),
        ("t=1699999999,v1={right}", "wrong signature"),
        ("v1={right}", "no timestamp"),
        ("t={t}", "malformed signature"),
        ("t={t},v1", "malformed signature"),
        ("t={t},v1={wrong}", "wrong signature"),
        ("t={t},v0={right}", "malformed signature"),
        ("t={t},V1={right}", "malformed signature"),
        (",,,===,", "malformed signature"),
        ("t={t}" + ",v1={wrong}" * 14 + ",v1={right}", ""),
        ("t={t}" + ",v1={wrong}" * 16 + ",v1={right}", "too many signatures"),
        ("t={t}" + ",v1={wrong}" * 10_000 + ",v1={right}", "malformed signature"),
    ],
)
def test_pairs(header, reason):
    right = mac(b"1700000000.{}")
    sent = header.format(t=1700000000, right=right, wrong="0" * 64)
    assert why(STRIPE, request(b"{}", {"Stripe-Signature": sent}), "key") == reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("v1,{right}", ""),
        ("v1a,{right} v1,{wrong} v1,{right}", ""),
        ("v1,{right},v1,{right}", "malformed signature"),
        ("v1 {right}", "malformed signature"),
        ("v1,{right} v1", ""),
        ("v1,!!!! v1,{right}", ""),
        ("v1,!!!!", "malformed signature"),
        ("v1,{bare}", "malformed signature"),
        ("v1a,{right}", "malformed signature"),
        (" ", "malformed signature"),
        ("é,é", "malformed signature"),
    ],
)
def test_versions(header, reason):
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    right = base64.b64encode(hmac.digest(key, b"msg_1.1700000000.{}", "sha256")).decode()
    sent = header.format(right=right, wrong=base64.b64encode(bytes(32)).decode(), bare=right.rstrip("="))
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1700000000", "webhook-signature": sent}
    assert why(STANDARD_WEBHOOKS, request(b"{}", headers), SECRET) == reason
    del headers["webhook-id"]
    assert why(STANDARD_WEBHOOKS, request(b"{}", headers), SECRET) in {"no id", "malformed signature"}


def test_the_method_names_its_algorithm():
    verifier = Hmac(signature=InHeader("X-Hub-Signature"), form=Method(("sha256", "sha512")))
    for algorithm in ("sha256", "sha512"):
        header = {"X-Hub-Signature": f"{algorithm}={mac(b'{}', algorithm=algorithm)}"}
        assert why(verifier, request(b"{}", header), "key") == ""
    crossed = {"X-Hub-Signature": f"sha512={RIGHT}"}
    assert why(verifier, request(b"{}", crossed), "key") == "wrong signature"
    refused = {"X-Hub-Signature": f"sha1={mac(b'{}', algorithm='sha1')}"}
    assert why(verifier, request(b"{}", refused), "key") == "malformed signature"


@pytest.mark.parametrize("secret", ["6b6579", "6B6579", " 6b6579 "])
def test_keys_in_hex(secret):
    verifier = Hmac(signature=InHeader("Signature"), key="hex")
    assert why(verifier, request(b"{}", {"Signature": RIGHT}), secret) == ""
    assert why(verifier, request(b"{}", {"Signature": RIGHT}), "key") == "the secret is unusable"


def test_keys_in_either_base64():
    key = bytes([0xFB, 0xEF, 0xFF])
    header = {"X-Airtable-Content-MAC": f"hmac-sha256={hmac.digest(key, b'{}', 'sha256').hex()}"}
    for secret in ("++//", "--__"):
        assert why(VERIFIERS["airtable"], request(b"{}", header), secret) == ""


@pytest.mark.parametrize("secret", ["whsec_", "whsec_=", "whsec_é", "whsec_A"])
def test_an_empty_key_is_none(secret):
    """Whoever guesses that a key is empty can sign with it."""
    empty = base64.b64encode(hmac.digest(b"", b"msg_1.1700000000.{}", "sha256")).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1700000000", "webhook-signature": f"v1,{empty}"}
    assert why(STANDARD_WEBHOOKS, request(b"{}", headers), secret) == "the secret is unusable"


@pytest.mark.parametrize("value", ["Zoë", "中文", "naïve; q=1"])
def test_headers_are_signed_as_their_bytes(value):
    """A server hands headers over as Latin-1."""
    verifier = Hmac(signature=InHeader("Signature"), signed="{id}{body}", id=InHeader("Id"))
    sent = {"Id": value.encode().decode("latin-1"), "Signature": mac(value.encode() + b"{}")}
    assert why(verifier, request(b"{}", sent), "key") == ""
    assert why(verifier, request(b"{}", sent | {"Id": value}), "key") == ("" if value == "中文" else "wrong signature")


def test_numbers_are_signed_as_they_were_written():
    verifier = Hmac(signature=InHeader("Signature"), signed="{timestamp}", window=Window(at=InBody("a.at"), past=None))
    body = b'{"a": {"at": 1.700000000E+9 }}'
    assert why(verifier, request(body, {"Signature": mac(b"1.700000000E+9")}), "key") == ""


# --- what the connector arranges


def test_shopify_arranges_lists_and_escapes():
    """Several values of a name are one, and neither & nor = nor % can move from a value into a name."""
    url = "https://app.example/callback?ids[]=2&ids[]=1&a%26b=c%3Dd%26e&timestamp=1700000000&empty="
    message = b'a%26b=c=d%26e&empty=&ids=["2", "1"]&timestamp=1700000000'
    query = {"timestamp": "1700000000", "hmac": mac(message)}
    received = Received("GET", f"{url}&hmac={mac(message)}", query, {}, b"")
    assert why(VERIFIERS["shopify_oauth_query"], received, "key") == ""
    later = Received("GET", f"{received.url}&timestamp=1700000060", query | {"timestamp": "1700000060"}, {}, b"")
    assert why(VERIFIERS["shopify_oauth_query"], later, "key") == "wrong signature"
    received.url = received.url.replace("ids[]=2&ids[]=1", "ids[]=1&ids[]=2")
    assert why(VERIFIERS["shopify_oauth_query"], received, "key") == "wrong signature"


def test_hubspot_undoes_escapes_of_the_url():
    """As its page on v3 says; a vendor's rule is a function of its connector's."""

    def hubspot(request: Request) -> bytes:
        url = request.url
        for one in ":/?@!$'()*,;":
            url = url.replace(f"%{ord(one):02X}", one)
        stamp = request.headers["x-hubspot-request-timestamp"]
        return f"{request.method}{url}".encode() + request.body + stamp.encode()

    verifier = replace(HUBSPOT, signed=hubspot)
    signed = hmac.digest(b"key", b"POSThttps://app.example/?at=12:30&x=%25{}1700000000000", "sha256")
    headers = {
        "X-HubSpot-Request-Timestamp": "1700000000000",
        "X-HubSpot-Signature-v3": base64.b64encode(signed).decode(),
    }
    url = "https://app.example/?at=12%3A30&x=%25"
    assert why(verifier, request(b"{}", headers, url=url), "key") == ""
    del headers["X-HubSpot-Request-Timestamp"]
    assert why(verifier, request(b"{}", headers, url=url), "key") == "the check failed: KeyError"


# --- public keys


def test_ecdsa_keys_of_another_kind_are_unusable():
    verifier = EcdsaP256(signature=InHeader("Signature"), signed="{body}")
    private = generate_private_key(SECP256R1())
    signature = base64.b64encode(private.sign(b"{}", ECDSA(SHA256()))).decode()
    assert why(verifier, request(b"{}", {"Signature": signature}), spki(private)) == ""
    assert why(verifier, request(b"[]", {"Signature": signature}), spki(private)) == "wrong signature"
    other = spki(generate_private_key(SECP256R1()))
    assert why(verifier, request(b"{}", {"Signature": signature}), other) == "wrong signature"
    assert why(verifier, request(b"{}", {"Signature": signature}), other, spki(private)) == ""
    timed = replace(verifier, window=Window(at=InHeader("At")))
    assert why(timed, request(b"{}", {"Signature": signature, "At": "1700000000"}), spki(private)) == ""
    assert why(timed, request(b"{}", {"Signature": signature, "At": "1600000000"}), spki(private)) == "too old"
    for sent in (signature[4:], "AAAA", "MAA=", "MAYCAQACAQA="):
        assert why(verifier, request(b"{}", {"Signature": sent}), spki(private)) == "wrong signature"
    for key in ("AAAA", "é", "MFkw", spki(generate_private_key(SECP384R1())), spki(Ed25519PrivateKey.generate())):
        assert why(verifier, request(b"{}", {"Signature": signature}), key) == "the secret is unusable"


def spki(private):
    return base64.b64encode(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def test_ed25519_in_hex():
    """As Discord signs: the time, though told in a header, is covered."""
    verifier = Ed25519(
        signature=InHeader("X-Signature-Ed25519"),
        encoding="hex",
        key="hex",
        window=Window(at=InHeader("X-Signature-Timestamp")),
    )
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw().hex()
    headers = {
        "X-Signature-Ed25519": private.sign(b"1700000000{}").hex(),
        "X-Signature-Timestamp": "1700000000",
    }
    assert why(verifier, request(b"{}", headers), public) == ""
    assert why(verifier, request(b"{}", headers), public, now=NOW + 301) == "too old"
    assert why(verifier, request(b"{}", headers | {"X-Signature-Timestamp": "1700000001"}), public) == "wrong signature"
    assert why(verifier, request(b"{}", headers | {"X-Signature-Ed25519": "00" * 64}), public) == "wrong signature"
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    assert why(verifier, request(b"{}", headers), other) == "wrong signature"
    assert why(verifier, request(b"{}", headers), other, public) == why(
        verifier, request(b"{}", headers), public, other
    )
    assert why(verifier, request(b"{}", headers), other, public) == ""
    for key in (public[2:], f"{public}00", "key"):
        assert why(verifier, request(b"{}", headers), key) == "the secret is unusable"


# --- tokens


def test_shared_tokens():
    verifier = SharedToken(token=InHeader("Authorization"), prefix="Bearer ")
    assert why(verifier, request(b"{}", {"Authorization": "Bearer key"}), "key") == ""
    for sent in ("key", "bearer key", "Bearer ke", "Bearer keyy", "Bearer key, Bearer key", "Bearer"):
        assert why(verifier, request(b"{}", {"Authorization": sent}), "key") == "wrong token"
    assert why(verifier, request(b"{}"), "key") == "no token"
    assert why(verifier, request(b"{}", {"Authorization": "Bearer Zoë".encode().decode("latin-1")}), "Zoë") == ""


def test_tokens_in_the_body_and_the_query():
    assert why(SharedToken(token=InBody("auth.token")), request(b'{"auth":{"token":"Zo\\u00eb"}}'), "Zoë") == ""
    assert why(SharedToken(token=InQuery("token")), request(query={"token": "Zoë"}), "Zoë") == ""
    assert why(SharedToken(token=InQuery("token")), request(query={"token": "Zo"}), "Zoë") == "wrong token"


def test_fetching_back_asks_for_its_token_only():
    assert why(FetchBack(), request(b"anything")) == ""
    verifier = FetchBack(token=InQuery("token"))
    assert why(verifier, request(query={"token": "key"}), "key") == ""
    assert why(verifier, request(query={"token": "other"}), "key") == "wrong token"
    assert why(verifier, request(), "key") == "no token"
    assert why(verifier, request(query={"token": "key"})) == "no secret is set"


def test_a_hash_of_the_secret():
    verifier = HashConcat(signature=InHeader("Signature"), signed="{body}{secret}", algorithm="sha1", encoding="base64")
    sent = base64.b64encode(hashlib.sha1(b"{}key").digest()).decode()
    assert why(verifier, request(b"{}", {"Signature": sent}), "key") == ""
    assert why(verifier, request(b"[]", {"Signature": sent}), "key") == "wrong signature"
    assert why(verifier, request(b"{}", {"Signature": sent}), "other", "key") == ""


# --- declarations that prove nothing


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda: Hmac(signature=InHeader("S"), signed="{timestamp}{body}"), "{timestamp} stands for"),
        (lambda: Hmac(signature=InHeader("S"), signed="{id}{body}"), "{id} stands for"),
        (lambda: Hmac(signature=InHeader("S"), signed="{nonsense}"), "{nonsense} stands for"),
        (lambda: Hmac(signature=InHeader("S"), signed="{secret}{body}"), "{secret} stands for"),
        (lambda: Hmac(signature=InHeader("S"), algorithm="md5"), "one of sha256"),
        (lambda: Hmac(signature=InHeader("S"), encoding="text"), "one of hex"),
        (lambda: Hmac(signature=InHeader("S"), key="pem"), "one of text"),
        (lambda: Hmac(signature=InHeader("S"), form=Method(("md5",))), "one of sha256"),
        (lambda: Hmac(signature=InHeader("S"), window=Window(at=InSignature("t"))), "Pairs"),
        (lambda: Hmac(signature=InHeader("S"), form=Pairs("v1"), id=InHeader("I"), signed="{url}{id}{method}"), ""),
        (lambda: Window(at=InHeader("T"), unit="minutes"), "one of seconds"),
        (lambda: HashConcat(signature=InHeader("S"), signed="{body}"), "proves nothing"),
        (lambda: HashConcat(signature=InHeader("S"), signed="{secret}{timestamp}"), "{timestamp} stands for"),
        (lambda: EcdsaP256(signature=InHeader("S")), "{timestamp} stands for"),
        (lambda: Ed25519(signature=InHeader("S")), "{timestamp} stands for"),
        (lambda: Hmac(signature=InHeader("S"), id=InSignature("i"), signed="{id}"), "Pairs"),
        (lambda: SharedToken(token=InSignature("t")), "Pairs"),
        (lambda: Jwt(token=InSignature("t")), "Pairs"),
        (lambda: Jwt(algorithm="none"), "one of HS256"),
        (lambda: FetchBack(token=InSignature("t")), "Pairs"),
    ],
)
def test_declarations_are_checked(declare, sentence):
    if not sentence:
        assert declare()
        return
    with pytest.raises(ContractError, match=sentence):
        declare()


# --- whatever is sent

NAMES = sorted({name.lower() for one in VECTORS for name in one["headers"]} | {"authorization"})
TEXTS = sorted({value for one in VECTORS for value in one["headers"].values()})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(TEXTS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["signature", "timestamp", "token", "webhookTimestamp", "id"]) | st.text(max_size=5), inner
        )
    ),
    max_leaves=12,
)
TOKENS = st.builds(
    "{}.{}.{}".format, *[st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).decode())] * 3
)
VALUES = (
    st.text(max_size=60)
    | st.sampled_from(TEXTS)
    | st.text("tv01,= \t.-+eE;sha256%", max_size=60)
    | st.builds("{}{}".format, st.sampled_from(["sha256=", "v0=", "v1,", "t=1700000000,v1=", "Bearer "]), st.text())
    | TOKENS
)
BODIES = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
REQUESTS = st.builds(
    Received,
    st.text(max_size=8),
    st.text(max_size=60),
    st.dictionaries(st.sampled_from(["hmac", "timestamp", "token", "shop"]), VALUES, max_size=4),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    BODIES,
)
REASONS = {
    *("no secret is set", "the secret is unusable"),
    *("no signature", "malformed signature", "too many signatures", "wrong signature"),
    *("no token", "malformed token", "wrong token", "another algorithm", "other claims", "another body"),
    *("no id", "no timestamp", "malformed timestamp", "too old", "too early"),
}
KINDS = dict(VERIFIERS) | {
    "iso": ISO,
    "hs256": Jwt(claims=(("iss", "me"),), body_hash="hash", max_age=300),
    "rs256": Jwt(algorithm="RS256"),
    "es256": Jwt(algorithm="ES256", token=InBody("token")),
    "fetch_back": FetchBack(token=InQuery("token")),
}


@pytest.mark.parametrize("kind", KINDS)
@quick
@given(
    received=REQUESTS, secret=st.text(min_size=1) | st.sampled_from([one["secret"] for one in VECTORS]), now=st.floats()
)
def test_nothing_that_is_sent_does_more_than_be_refused(kind, received, secret, now):
    """Whatever the bytes: a refusal, for a reason of ours. The secret is no header's value, so none is believed."""
    assume(secret not in {*received.headers.values(), *received.query.values()} and secret not in str(received.body))
    assert why(KINDS[kind], received, secret, now=now) in REASONS


def test_nothing_of_the_request_is_shown():
    received = request(b"the body", {"Authorization": "Bearer canary"}, query={"token": "canary"})
    assert repr(received) == "Received(POST, 8 bytes)"
