"""The door for webhooks, the page of the people who run it, and what a load balancer asks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy import Engine

from sync.health import database_problem
from sync.overview import overview, worst
from sync.store.database import engine, read
from sync.web.reception import Application, lifespan
from sync.web.words import WORDS

app = Application(title="Tidelock", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
templates.env.filters.update(WORDS)

_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Database = Annotated[Engine, Depends(engine)]


@app.get("/", response_class=HTMLResponse)
def home(request: Request, database: Database) -> Response:
    """Every connection with its streams: state, records, freshness, last run, dead letters."""
    problem = database_problem(database)
    if problem:
        return templates.TemplateResponse(request, "problem.html", {"problem": problem}, 503, _SAFE)
    with read(database) as connection:
        views = overview(connection)
    groups: dict[str, list[Any]] = {}
    for view in views:
        groups.setdefault(view.connection, []).append(view)
    state = {name: worst(group) for name, group in groups.items()}
    return templates.TemplateResponse(request, "home.html", {"groups": groups, "state": state}, 200, _SAFE)


@app.get("/livez")
async def livez(request: Request, response: Response) -> Mapping[str, str]:
    """The event loop answers, and the thread lives that stores deliveries."""
    if not request.state.reception.writer.alive:
        response.status_code = 503
        return {"status": "dead", "writer": "it does not answer: start this process again"}
    return {"status": "alive"}


@app.get("/readyz")
async def readyz(request: Request, response: Response) -> Mapping[str, str]:
    """200 where deliveries can be stored: the database answers and is migrated, and there is room. Without Redis it is
    degraded and still 200, since what arrives is stored and done later."""
    wrong, missing = await request.state.reception.readiness.look()
    if wrong:
        response.status_code = 503
        return {"status": "not ready", **wrong}
    return {"status": "degraded" if missing else "ready", **missing}
