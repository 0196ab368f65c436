"""The configurations of webhook_vectors.json in the vocabulary, under their names there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from connectors import (
    STANDARD_WEBHOOKS,
    SVIX,
    EcdsaP256,
    Ed25519,
    HashConcat,
    Hmac,
    InBody,
    InHeader,
    InQuery,
    InSignature,
    Method,
    Pairs,
    Prefix,
    Request,
    SharedToken,
    Verifier,
    Versions,
    Window,
)
from sync.verify import Received

CALLED = "https://tidelock.example/webhooks/1"


def shopify_query(request: Request) -> bytes:
    """The parameters without the signature, sorted: what an install request's signature is made of."""
    query = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
    pairs = (_shopify_pair(name, values) for name, values in query.items() if name != "hmac")
    return "&".join(sorted(pairs)).encode()


def _shopify_pair(name: str, values: list[str]) -> str:
    value = json.dumps(values) if name.endswith("[]") else values[-1]  # the one that InQuery finds
    name = name.removesuffix("[]").replace("%", "%25").replace("=", "%3D")
    return f"{name}={value.replace('%', '%25')}".replace("&", "%26")


VERIFIERS: Mapping[str, Verifier] = {
    "github_sha256": Hmac(signature=InHeader("X-Hub-Signature-256"), form=Prefix("sha256=")),
    "websub_method": Hmac(signature=InHeader("X-Hub-Signature"), form=Method(("sha256",))),
    "intercom_sha1": Hmac(signature=InHeader("X-Hub-Signature"), form=Prefix("sha1="), algorithm="sha1"),
    "stripe_v1": Hmac(
        signature=InHeader("Stripe-Signature"),
        form=Pairs("v1"),
        signed="{timestamp}.{body}",
        window=Window(at=InSignature("t")),
    ),
    "slack_v0": Hmac(
        signature=InHeader("X-Slack-Signature"),
        form=Prefix("v0="),
        signed="v0:{timestamp}:{body}",
        window=Window(at=InHeader("X-Slack-Request-Timestamp"), future=300),
    ),
    "standard_webhooks_v1": STANDARD_WEBHOOKS,
    "svix_v1": SVIX,
    "standard_webhooks_v1a": Ed25519(
        signature=InHeader("webhook-signature"),
        form=Versions("v1a"),
        signed="{id}.{timestamp}.{body}",
        strip="whpk_",
        id=InHeader("webhook-id"),
        window=Window(at=InHeader("webhook-timestamp"), future=300),
    ),
    "shopify_b64": Hmac(signature=InHeader("X-Shopify-Hmac-Sha256"), encoding="base64"),
    "shopify_oauth_query": Hmac(
        signature=InQuery("hmac"), signed=shopify_query, window=Window(at=InQuery("timestamp"), past=90, future=90)
    ),
    "hubspot_v1": HashConcat(signature=InHeader("X-HubSpot-Signature"), signed="{secret}{body}"),
    "hubspot_v2": HashConcat(signature=InHeader("X-HubSpot-Signature"), signed="{secret}{method}{url}{body}"),
    "hubspot_v3": Hmac(
        signature=InHeader("X-HubSpot-Signature-v3"),
        encoding="base64",
        signed="{method}{url}{body}{timestamp}",
        window=Window(at=InHeader("X-HubSpot-Request-Timestamp"), unit="milliseconds"),
    ),
    "zendesk": Hmac(
        signature=InHeader("X-Zendesk-Webhook-Signature"),
        encoding="base64",
        signed="{timestamp}{body}",
        window=Window(at=InHeader("X-Zendesk-Webhook-Signature-Timestamp"), unit="opaque"),
    ),
    "linear": Hmac(
        signature=InHeader("Linear-Signature"),
        window=Window(at=InBody("webhookTimestamp"), unit="milliseconds", past=60, future=60),
    ),
    "notion": Hmac(signature=InHeader("X-Notion-Signature"), form=Prefix("sha256=")),
    "airtable": Hmac(signature=InHeader("X-Airtable-Content-MAC"), form=Prefix("hmac-sha256="), key="base64"),
    "mailgun_body": Hmac(
        signature=InBody("signature.signature"),
        signed="{timestamp}{id}",
        id=InBody("signature.token"),
        window=Window(at=InBody("signature.timestamp"), past=None),
    ),
    "sendgrid_ecdsa": EcdsaP256(
        signature=InHeader("X-Twilio-Email-Event-Webhook-Signature"),
        window=Window(at=InHeader("X-Twilio-Email-Event-Webhook-Timestamp"), past=None),
    ),
    "shared_token": SharedToken(token=InHeader("X-Goog-Channel-Token")),
}

FILE: Mapping[str, Any] = json.loads(Path(__file__).with_name("webhook_vectors.json").read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = FILE["vectors"]


def request(
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    url: str = CALLED,
    query: Mapping[str, str] | None = None,
) -> Received:
    """A request as the receiver would hand it over."""
    url = url if not query else f"{url}?{urlencode(query)}"
    named = {name.lower(): value for name, value in (headers or {}).items()}
    return Received(method, url, query or {}, named, body)


def of_vector(vector: Mapping[str, Any]) -> Received:
    """The request of a vector."""
    return request(
        vector["body"].encode(),
        vector["headers"],
        method=vector.get("method", "POST"),
        url=vector.get("url", CALLED),
        query=vector.get("query"),
    )
