"""The Celery app: doorbells, not storage.

A message carries ids and says "look now"; what there is to do stands in the database. Every setting below is
there because something was lost, doubled or hung without it; docs/decisions/ has the reasons at length.
"""

from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, task_postrun, task_prerun
from kombu import Queue

from sync.log import configure
from sync.settings import settings

LANES = ("interactive", "schedule", "backfill")
"""Queues, the first served first: live work has workers of its own that backfill can't take."""

_REDIS_OPTIONS = {
    "queue_order_strategy": "priority",  # in turn, a slot's time would go to backfill, whose slices are the long ones
    "visibility_timeout": 900,  # five times the hard limit: a slice never runs that long, so nothing runs twice
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,  # without it a hung Redis blocks a publisher for ever
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "global_keyprefix": "tidelock:",
}


def _transport(broker: str) -> dict[str, Any]:
    if broker.startswith(("amqp", "pyamqp")):
        # a publish that the broker did not confirm is rung again; quorum queues survive its kill -9
        return {
            "broker_transport_options": {"confirm_publish": True},
            "task_default_queue_type": "quorum",
            "worker_detect_quorum_queues": True,
        }
    return {"broker_transport_options": _REDIS_OPTIONS}


def create(broker: str) -> Celery:
    """The app on this broker."""
    made = Celery("tidelock", broker=broker, include=["sync.pull", "sync.receive", "sync.tending", "sync.watchdog"])
    made.conf.update(
        result_backend=None,  # state lives in the database
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],  # a message from a stranger can't run code
        event_serializer="json",
        task_acks_late=True,
        task_acks_on_failure_or_timeout=True,
        task_reject_on_worker_lost=False,  # an expired lease is the only reason to do work again
        worker_prefetch_multiplier=1,  # no hoarding behind a slow slice
        task_soft_time_limit=120,
        task_time_limit=180,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a broker's blip must not kill database work
        worker_enable_remote_control=True,  # its own socket notices a lost broker
        worker_soft_shutdown_timeout=20.0,
        worker_max_tasks_per_child=1000,
        worker_max_memory_per_child=400_000,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # the default gives up after 100
        task_publish_retry=False,  # the tick rings again; nobody waits for a broker
        task_create_missing_queues=False,
        task_queues=[Queue(lane) for lane in LANES],
        task_default_queue="schedule",
        worker_hijack_root_logger=False,
        timezone="UTC",
        **_transport(broker),
    )
    return made


app = create(settings().broker_url)


@setup_logging.connect
def _logging(**_: Any) -> None:
    configure(settings().log_level, settings().log_format)


@task_prerun.connect
def _bind(task: Any = None, args: Any = (), **_: Any) -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, unit=args[0] if args else None)


@task_postrun.connect
def _unbind(**_: Any) -> None:
    structlog.contextvars.clear_contextvars()
