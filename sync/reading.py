"""Reading: page after page of a list, the next ones while these are stored.

A transaction costs as much as storing a hundred records. So the small pages of a quick vendor are gathered and
land together, with the position behind the last of them; a slow vendor's land one by one.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from connectors import Ask, Page, Rows
from sync.answer import Answer
from sync.store.database import engine
from sync.store.runs import total
from sync.trail import Trail

if TYPE_CHECKING:
    from sync.pull import Pass

WORTHWHILE = 0.003  # seconds of waiting for pages from which on fetching ahead pays
SPAN = 0.2  # seconds for which pages are gathered at most: progress stays visible
AHEAD = 2  # transactions' worth of pages that are fetched ahead
MOST_BYTES = 2**20  # that are gathered: large pages land alone


class Reading:
    """The pages of a pass, from where it stands."""

    def __init__(self, held: "Pass") -> None:
        self.held = held
        self._ahead: deque[Future[Answer | None]] = deque()

    def answers(self) -> Iterator[Answer]:
        """Until the list ends or the time is up."""
        answer = self._gathered(self.held.ask, self.held.trail)
        while True:
            self._go_on(answer)
            yield answer
            if self._late():
                return
            ahead = self._ahead.popleft().result() if self._ahead else None
            answer = ahead or self._gathered(self.held.ask, self.held.trail)

    def rest(self) -> None:
        """Wait until nothing is being fetched: the door serves one thread at a time."""
        wait(self._ahead)

    def _go_on(self, answer: Answer) -> None:
        """Fetch ahead of this answer. The thread goes from the first pages to the second without waiting for us."""
        if not self._ahead and self._goes_on(answer):
            self._ahead.append(_fetcher.submit(self._behind, answer))
        while self._ahead and len(self._ahead) < AHEAD:
            self._ahead.append(_fetcher.submit(self._behind_those, self._ahead[-1]))

    def _goes_on(self, answer: Answer) -> bool:
        """Whether there is more, and waiting for it is worth a thread."""
        return answer.page.next is not None and not answer.failure and _waited(answer) and not self._late()

    def _behind(self, answer: Answer | None) -> Answer | None:
        """The pages behind these; None where there are none to be fetched ahead."""
        if answer is None or not self._goes_on(answer):
            return None
        return self._gathered(self._next(self.held.ask, answer), answer.trail)

    def _behind_those(self, before: Future[Answer | None]) -> Answer | None:
        return self._behind(before.result())

    def _late(self) -> bool:
        return time.monotonic() >= self.held.until

    def _gathered(self, ask: Ask, trail: Trail) -> Answer:
        """As many pages as shall land together; what fails behind the first of them is raised after they landed."""
        answers: list[Answer] = []
        begun = time.monotonic()
        while not answers or self._room(answers, begun):
            try:
                answer = self._fetch(ask, trail)
            except Exception as error:
                if not answers:
                    raise
                return replace(_together(answers), failure=error)
            answers.append(answer)
            ask, trail = self._next(ask, answer), answer.trail
        return _together(answers)

    def _room(self, answers: Sequence[Answer], begun: float) -> bool:
        """Whether another page like the last one belongs to these."""
        last = answers[-1]
        if last.page.next is None or last.unchanged or self._late() or time.monotonic() - begun >= SPAN:
            return False
        rows = sum(len(one.rows) for one in answers) + max(len(last.rows), 1)
        size = sum(len(one.rows.array) for one in answers) + len(last.rows.array)
        return rows <= self.held.landing.most and size <= MOST_BYTES

    def _fetch(self, ask: Ask, trail: Trail) -> Answer:
        held, api = self.held, self.held.api
        asked_at, begun, before = held.clock(), time.monotonic(), self._spent()
        page = held.landing.limit(held.stream.pull(api, held.stream, ask))
        return Answer(
            page,
            rows=Rows.of(page.rows),  # once: it may be an iterator
            as_of=api.as_of or 0,
            asked_at=asked_at,
            took=time.monotonic() - begun,
            cost={name: value - before[name] for name, value in self._spent().items()},
            etag=api.seen_etag,
            unchanged=api.unchanged,
            trail=trail if page.next is None else trail.step(page.next),
        )

    def _spent(self) -> dict[str, int]:
        api = self.held.api
        return {"requests": api.requests, "bytes": api.bytes, "waited_ms": round(api.waited * 1000)}

    def _next(self, ask: Ask, answer: Answer) -> Ask:
        return replace(ask, page=answer.page.next)


def _waited(answer: Answer) -> bool:
    """Whether waiting was most of it. SQLite stores in this very process: beside it, only a slow vendor's pages are
    fetched for nothing."""
    turns = answer.pages if engine().dialect.name == "sqlite" else 1
    return answer.took / turns >= WORTHWHILE


def _together(answers: Sequence[Answer]) -> Answer:
    """Several pages as one: as old as the oldest, going on behind the last."""
    if len(answers) == 1:
        return answers[0]
    cursors = [answer.page.cursor for answer in answers if answer.page.cursor is not None]
    rows = Rows.joined(answer.rows for answer in answers)
    return replace(
        answers[0],
        page=Page(rows, answers[-1].page.next, cursors[-1] if cursors else None),
        rows=rows,
        as_of=min(answer.as_of for answer in answers),
        took=sum(answer.took for answer in answers),
        cost=total(answer.cost for answer in answers),
        unchanged=answers[-1].unchanged,
        trail=answers[-1].trail,
        pages=len(answers),
    )


_fetcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fetch")
