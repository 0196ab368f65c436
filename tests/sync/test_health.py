"""Health: a sentence for what is missing, without the password that was given for it."""

import pytest

from sync.health import database_problem, redis_problem, shown
from sync.store import migrations
from sync.store.database import connect


def test_a_server_that_answers_is_no_problem(redis_server):
    assert redis_problem(redis_server.redis_url) == ""
    assert redis_problem(redis_server.broker_url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "redis://:geheim@127.0.0.1:9/0",
        "unix://:geheim@/nowhere/redis.sock?db=0",
        "redis+socket://:geheim@/nowhere/redis.sock?virtual_host=0",
        "amqp://me:geheim@127.0.0.1:9//",
        "redis://:geheim@127.0.0.1:port/0",
        "nonsense",
    ],
)
def test_a_server_that_does_not_answer_is_named(url):
    problem = redis_problem(url)
    assert "does not answer" in problem
    assert "geheim" not in problem


def test_an_address_is_shown_without_its_password():
    assert shown("amqp://me:geheim@rabbit:5672/v") == "amqp://rabbit:5672/v"


def test_the_database_is_no_problem_once_it_is_migrated(database_url):
    engine = connect(database_url)
    assert "tidelock init" in database_problem(engine)
    migrations.upgrade(database_url)
    assert database_problem(engine) == ""
    engine.dispose()
