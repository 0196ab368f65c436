"""Errors of the vocabulary.

TidelockError
└── ContractError    an answer or a declaration is not what the connector says it is
"""


class TidelockError(Exception):
    """Anything that Tidelock raises on purpose; the text is a sentence that names the thing to change."""


class ContractError(TidelockError):
    """The vendor's answer, or the connector's declaration, is not what the connector says it is."""
