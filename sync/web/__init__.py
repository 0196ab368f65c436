"""The web page of the people who run it, and what a load balancer asks. Nothing here changes anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy import Engine

from sync.health import database_problem, redis_problem
from sync.overview import overview, worst
from sync.settings import settings
from sync.store.database import engine, read
from sync.web.words import WORDS

app = FastAPI(title="Tidelock", docs_url=None, redoc_url=None, openapi_url=None)
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
def livez() -> Mapping[str, str]:
    """The process answers."""
    return {"status": "alive"}


@app.get("/readyz")
def readyz(response: Response, database: Database) -> Mapping[str, str]:
    """200 where the database answers and is migrated; without Redis it is degraded and still 200, since what
    arrives is stored and done later."""
    problem = database_problem(database)
    if problem:
        response.status_code = 503
        return {"status": "not ready", "database": problem}
    missing = {name: said for name, said in _brokers().items() if said}
    return {"status": "degraded" if missing else "ready", **missing}


def _brokers() -> Mapping[str, str]:
    held = settings()
    urls = {"redis": held.redis_url, "broker": held.broker_url}
    return {name: redis_problem(url) for name, url in urls.items()}
