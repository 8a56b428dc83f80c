"""The first design: Celery with prefork workers, on Redis, or on RabbitMQ with confirms, as the broker's URL says.

uvicorn celery_app:api                     the API, which calls `.delay` in the handler
celery -A celery_app:queue worker -c 2     two processes, which write the row twice through a session on psycopg2
"""

import uuid

from celery import Celery
from jobs_table import BROKER_URL, DATABASE_URL, Job, create_app
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from bench.starts import note_start

queue = Celery("first_design", broker=BROKER_URL)
queue.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=64,  # for tasks this short, as Celery's own guide has it
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True} if BROKER_URL.startswith("amqp") else {},
)
engine = create_engine(DATABASE_URL.replace("postgresql://", "postgresql+psycopg2://"), pool_size=2)


@queue.task
def generate(job_id: str) -> None:
    """A provider that answers at once."""
    with Session(engine) as session:
        job = session.get_one(Job, uuid.UUID(job_id))
        note_start(job.prompt)
        job.status = "processing"
        session.commit()
    with Session(engine) as session:
        job = session.get_one(Job, uuid.UUID(job_id))
        job.status, job.media_path = "completed", f"out/{job_id}.png"
        session.commit()


async def enqueue(job_id: str) -> None:
    """As handlers call it: Celery has no other way than to block the loop."""
    generate.delay(job_id)


api = create_app(enqueue)
