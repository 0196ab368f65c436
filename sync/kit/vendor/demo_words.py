"""Names, titles and addresses for the demo's records, drawn from a random generator."""

import random
import unicodedata
from typing import Any

FIRST_NAMES = (
    "Ada", "Björn", "Chloé", "Dmitri", "Elif", "Fatima", "Grace", "Hiroshi", "Inés", "João",
    "Kwame", "Łukasz", "Mei", "Nadia", "Øystein", "Priya", "Quentin", "Rosa", "Søren", "Thandi",
    "Uma", "Věra", "Wanjiru", "Ximena", "Yusuf", "Zoë", "美咲", "Ольга",
)  # fmt: skip
LAST_NAMES = (
    "Lovelace", "Ångström", "Çelik", "Dvořák", "Eze", "Fernández", "Grün", "Hopper", "Ito", "Jørgensen",
    "Kowalczyk", "Lindqvist", "Müller", "Nguyễn", "O'Brien", "Petrova", "Quispe", "Rossi", "Sato", "Tremblay",
    "Ündar", "Vasquez", "Weiß", "Xu", "Yılmaz", "Zhang",
)  # fmt: skip
CITIES = (
    ("Berlin", "DE"), ("São Paulo", "BR"), ("Zürich", "CH"), ("Tōkyō", "JP"), ("Lagos", "NG"), ("Oslo", "NO"),
    ("Kraków", "PL"), ("Montréal", "CA"), ("İzmir", "TR"), ("Pune", "IN"), ("Boston", "US"), ("Málaga", "ES"),
)  # fmt: skip
STREETS = (
    "Hauptstraße",
    "Rue de l'Église",
    "High Street",
    "Calle Mayor",
    "Via Roma",
    "Lange Gasse",
    "Mill Lane",
)
COUNTRIES = tuple(country for _, country in CITIES)
TAGS = ("beta", "churned", "enterprise", "late-payer", "newsletter", "partner", "trial", "überwacht")
WORDS = (
    "align", "answer", "archive", "audit", "billing", "budget", "café", "check", "contract", "customer",
    "data", "deploy", "draft", "export", "façade", "fix", "for", "invoice", "launch", "market", "merge",
    "migration", "naïve", "news", "order", "page", "plan", "price", "quarterly", "rename", "report", "review",
    "schema", "search", "ship", "signup", "slow", "supplier", "tests", "the", "translate", "update", "with",
)  # fmt: skip


def person(rng: random.Random) -> str:
    """A full name, often not ASCII."""
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}"


def email(rng: random.Random, name: str) -> str:
    """An address made from a name; two people may share one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    local = ".".join("".join(letter for letter in word if letter.isalnum()) for word in plain.split())
    return f"{local.strip('.') or 'someone'}{rng.randrange(1000)}@example.{rng.choice(('com', 'org', 'net'))}"


def title(rng: random.Random, count: int) -> str:
    """A phrase of so many words."""
    return " ".join(rng.choices(WORDS, k=count)).capitalize()


def address(rng: random.Random) -> dict[str, Any]:
    """A postal address, nested two deep."""
    city, country = rng.choice(CITIES)
    return {
        "line1": f"{rng.choice(STREETS)} {rng.randrange(1, 200)}",
        "line2": None,
        "city": city,
        "postcode": f"{rng.randrange(10_000, 99_999)}",
        "country": country,
        "location": {"lat": round(rng.uniform(-60, 60), 5), "lon": round(rng.uniform(-180, 180), 5)},
    }


def date(rng: random.Random) -> str:
    """A day of 2026 or 2027."""
    return f"{rng.choice((2026, 2027))}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"


def line(rng: random.Random) -> dict[str, Any]:
    """One line of an order."""
    return {
        "sku": f"SKU-{rng.randrange(10_000):04d}",
        "quantity": rng.randrange(1, 9),
        "unit_cents": rng.randrange(99, 20_000),
        "tax_rate": rng.choice((None, 0.0, 0.07, 0.19)),
    }
