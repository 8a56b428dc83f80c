"""RabbitMQ: the queue as the services see it, and the broker as it sees itself."""

from grafana import Dashboard, Panel, Query, Row, quantiles

QUEUE = 'queue="mediagen.jobs.v1.JobsReady"'
DEAD_LETTERS = 'queue="mediagen.jobs.v1.JobsReady.dead"'

DASHBOARD = Dashboard(
    "queue",
    "Queue",
    "The bell. The backlog is in PostgreSQL; RabbitMQ holds only what generators are about to take. The lower rows "
    "need RabbitMQ's own "
    "metrics (the plugin rabbitmq_prometheus), and show every broker that Prometheus scrapes.",
    [
        Row(
            "As the services see it",
            [
                Panel(
                    "Messages that wait",
                    "Messages in the queue, each of up to 20 jobs. Good: a few; jobs are rung for only as far ahead "
                    "as slots are free.",
                    "short",
                    [Query(f"max(mediagen_rabbitmq_queue_messages{{SCOPE,{QUEUE}}})", "messages")],
                ),
                Panel(
                    "Dead letters",
                    "Messages that nobody could make anything of. Good: 0.",
                    "short",
                    [Query(f"max(mediagen_rabbitmq_queue_messages{{SCOPE,{DEAD_LETTERS}}})", "messages")],
                    "stat",
                    limits=(1, 1),
                ),
                Panel(
                    "Consumers",
                    "Who listens to the queue. Good: as many as there are generators.",
                    "short",
                    [
                        Query(f"max(mediagen_rabbitmq_queue_consumers{{SCOPE,{QUEUE}}})", "consumers"),
                        Query("max(mediagen_workers{SCOPE})", "generators"),
                    ],
                ),
                Panel(
                    "Connections",
                    "Share of the instances that are connected, by role. Good: all.",
                    "percentunit",
                    [Query("avg by (role) (mediagen_rabbitmq_up{SCOPE})", "{{role}}")],
                    limits=(1, 0.5),
                ),
            ],
        ),
        Row(
            "Publishing",
            [
                Panel(
                    "Rings",
                    "Jobs that were rung for, the messages that named them, and the jobs that began at once and need no ring. "
                    "Good: begun at once and rung for are together as many as accepted; more rings are repetitions.",
                    "ops",
                    [
                        Query("sum(rate(mediagen_jobs_begun_at_once_total{SCOPE}[$__rate_interval]))", "jobs begun at once"),
                        Query("sum(rate(mediagen_jobs_rung_total{SCOPE}[$__rate_interval]))", "jobs rung for"),
                        Query("sum(rate(mediagen_rabbitmq_published_total{SCOPE}[$__rate_interval]))", "messages"),
                        Query("sum(rate(mediagen_jobs_accepted_total{SCOPE}[$__rate_interval]))", "jobs accepted"),
                    ],
                ),
                Panel(
                    "Until a message is confirmed",
                    "Seconds from publication to the broker's confirm. Good: p99 below 0.1; above 1 the broker is "
                    "short of something.",
                    "s",
                    quantiles("mediagen_rabbitmq_confirm_seconds"),
                    limits=(0.1, 1),
                ),
            ],
        ),
        Row(
            "The broker",
            [
                Panel(
                    "Alarms",
                    "1 while RabbitMQ blocks publishers, by what it is short of. Good: 0.",
                    "none",
                    [
                        Query("max by (instance) (rabbitmq_alarms_memory_used_watermark)", "memory {{instance}}"),
                        Query("max by (instance) (rabbitmq_alarms_free_disk_space_watermark)", "disk {{instance}}"),
                    ],
                    limits=(1, 1),
                ),
                Panel(
                    "Memory",
                    "Memory of the broker, and where it raises its alarm. Good: far below the limit.",
                    "bytes",
                    [
                        Query("sum by (instance) (rabbitmq_process_resident_memory_bytes)", "used {{instance}}"),
                        Query("sum by (instance) (rabbitmq_resident_memory_limit_bytes)", "limit {{instance}}"),
                    ],
                ),
                Panel(
                    "Disk space",
                    "Free space, and where the broker raises its alarm. Good: far above the limit.",
                    "bytes",
                    [
                        Query("sum by (instance) (rabbitmq_disk_space_available_bytes)", "free {{instance}}"),
                        Query("sum by (instance) (rabbitmq_disk_space_available_limit_bytes)", "limit {{instance}}"),
                    ],
                ),
            ],
        ),
        Row(
            "Messages of the broker",
            [
                Panel(
                    "Messages",
                    "Messages that came, were delivered and were acknowledged. Good: all three alike.",
                    "ops",
                    [
                        Query("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "received"),
                        Query("sum(rate(rabbitmq_global_messages_delivered_total[$__rate_interval]))", "delivered"),
                        Query("sum(rate(rabbitmq_global_messages_acknowledged_total[$__rate_interval]))", "acknowledged"),
                    ],
                ),
                Panel(
                    "Redelivered",
                    "Messages that came to a generator a second time. Good: none but when a generator ends.",
                    "ops",
                    [Query("sum(rate(rabbitmq_global_messages_redelivered_total[$__rate_interval]))", "redelivered")],
                ),
                Panel(
                    "Ready and unacknowledged",
                    "Messages of all queues. Good: few; generators acknowledge at once, so that what stays "
                    "unacknowledged waits for a slot.",
                    "short",
                    [
                        Query("sum(rabbitmq_queue_messages_ready)", "ready"),
                        Query("sum(rabbitmq_queue_messages_unacked)", "unacknowledged"),
                    ],
                ),
            ],
        ),
    ],
)
