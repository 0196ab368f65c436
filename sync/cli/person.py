"""Who is at the keyboard, for the history."""

import getpass


def person() -> str:
    """The login's name; "a person" where it has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "a person"
