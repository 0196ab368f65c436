"""What became of a batch of records."""

from dataclasses import dataclass, field, fields

from sync.store.columns import Misfit
from sync.store.identity import Rejection

_COUNTED_AS = {"rejects": "rejected"}


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of a batch, by key where somebody may want to act on it.

    revived    tombstones that live again
    deleted    tombstones that lived before
    unknown    tombstones of records that were never held
    unchanged  stored as they are, and so left alone
    stale      older than what is stored
    tied       as new as what is stored, but different, and neither was asked for after the other was written:
               fetch them again
    repeated   older twins on the same page; dropped: `keep` said no
    misfits    values that a declared column couldn't hold
    """

    inserted: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    tied: list[str] = field(default_factory=list)
    rejects: list[Rejection] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    unchanged: int = 0
    stale: int = 0
    repeated: int = 0
    dropped: int = 0

    def counts(self) -> dict[str, int]:
        """How many of each, without the zeros; `rejects` are counted as rejected."""
        values = {_COUNTED_AS.get(each.name, each.name): getattr(self, each.name) for each in fields(self)}
        sizes = {name: value if isinstance(value, int) else len(value) for name, value in values.items()}
        return {name: size for name, size in sizes.items() if size}

    def add(self, other: "Tally") -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def wrote(self, key: str, *, gone: bool, inserted: bool, was_gone: bool) -> None:
        """Sort in a row that the upsert wrote."""
        if inserted:
            (self.unknown if gone else self.inserted).append(key)
        elif gone and not was_gone:
            self.deleted.append(key)
        elif was_gone and not gone:
            self.revived.append(key)
        else:
            self.updated.append(key)

    def left(self, key: str, *, version: int, held: int, same: bool) -> None:
        """Sort in a row that the upsert left alone, where version `held` is stored."""
        if same:
            self.unchanged += 1
        elif version < held:
            self.stale += 1
        else:
            self.tied.append(key)
