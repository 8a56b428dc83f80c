-- How things stand, for the gauges: a few steps down indexes and the rows at work, however many rows wait or are finished.
WITH RECURSIVE {lane}
-- The first of each tenant's each priority, in the order that they are rung in.
heads (tenant_id, priority, next_dispatch_at, not_before) AS (
    (SELECT j.tenant_id, j.priority, j.next_dispatch_at, j.not_before FROM jobs j
        WHERE j.lane = 'default' AND j.state = 'queued' ORDER BY j.tenant_id, j.priority DESC, j.next_dispatch_at LIMIT 1)
    UNION ALL
    SELECT n.tenant_id, n.priority, n.next_dispatch_at, n.not_before FROM heads h CROSS JOIN LATERAL (
        (SELECT 1 AS step, j.tenant_id, j.priority, j.next_dispatch_at, j.not_before FROM jobs j
            WHERE j.lane = 'default' AND j.state = 'queued' AND j.tenant_id = h.tenant_id AND j.priority < h.priority
            ORDER BY j.priority DESC, j.next_dispatch_at LIMIT 1)
        UNION ALL
        (SELECT 2, j.tenant_id, j.priority, j.next_dispatch_at, j.not_before FROM jobs j
            WHERE j.lane = 'default' AND j.state = 'queued' AND j.tenant_id > h.tenant_id
            ORDER BY j.tenant_id, j.priority DESC, j.next_dispatch_at LIMIT 1)
        ORDER BY step LIMIT 1
    ) n
),
first AS MATERIALIZED (SELECT * FROM heads LIMIT 1000),
rung AS (
    SELECT j.not_before FROM jobs j WHERE j.lane = 'default' AND j.state = 'queued' AND j.rings > 0
    ORDER BY j.next_dispatch_at LIMIT 1000
),
running AS MATERIALIZED (
    SELECT j.state, j.started_at, j.unknown_since, j.settle_at FROM jobs j WHERE j.lease_worker IS NOT NULL
    UNION ALL
    SELECT j.state, j.started_at, j.unknown_since, j.settle_at FROM jobs j
    WHERE j.next_dispatch_at IS NOT NULL AND j.state IN ('submitted', 'unknown')
),
at_work AS (
    SELECT count(*) FILTER (WHERE state = 'claimed') AS claimed, count(*) FILTER (WHERE state = 'submitting') AS submitting,
        count(*) FILTER (WHERE state = 'submitted') AS submitted, count(*) FILTER (WHERE state = 'unknown') AS unknown,
        min(started_at) AS started_at, min(unknown_since) AS unknown_since,
        min(settle_at) FILTER (WHERE state = 'submitted') AS settle_at
    FROM running
),
waiting AS (
    -- In the index's own order: a table of finished jobs would else be read from its beginning.
    SELECT count(*) AS counted FROM (SELECT FROM jobs j WHERE j.lane = 'default' AND j.state = 'queued'
        ORDER BY j.tenant_id, j.priority DESC, j.next_dispatch_at LIMIT {most}) c
),
alive AS (
    SELECT count(*) AS workers, coalesce(sum(slots), 0)::int AS slots, coalesce(sum(free_slots), 0)::int AS free_slots,
        count(*) FILTER (WHERE no_creates) AS no_creates
    FROM workers WHERE heartbeat_at > now() - make_interval(secs => {lease})
)
SELECT a.claimed, a.submitting, a.submitted, a.unknown,
    -- Beyond what is counted, PostgreSQL's own estimate of the index that holds them.
    CASE WHEN w.counted < {most} THEN w.counted
        ELSE greatest(w.counted, (SELECT c.reltuples FROM pg_class c WHERE c.oid = to_regclass('jobs_waiting'))) END::float8 AS queued,
    greatest(0, coalesce(extract(epoch FROM now() - least(
        (SELECT min(not_before) FROM first), (SELECT min(not_before) FROM rung))), 0))::float8 AS waiting_age,
    greatest(0, coalesce(extract(epoch FROM now() - (SELECT min(next_dispatch_at) FROM first)), 0))::float8 AS relay_lag,
    coalesce(extract(epoch FROM now() - a.started_at), 0)::float8 AS running_age,
    coalesce(extract(epoch FROM now() - a.unknown_since), 0)::float8 AS unknown_age,
    -- It was intended so long before it settles; started_at is of the first attempt, however many were refused.
    coalesce(extract(epoch FROM now() - a.settle_at) + {settle}, 0)::float8 AS prediction_age,
    v.workers, v.slots, v.free_slots, v.no_creates,
    l.rate, l.paused, l.tokens::float8 AS tokens, b.paused_reason, b.reads_per_minute,
    least(b.reads_per_minute / 6.0, b.read_tokens + b.reads_per_minute / 60.0 * extract(epoch FROM now() - b.reads_refilled_at))::float8
        AS read_tokens,
    pg_stat_get_dead_tuples(to_regclass('jobs')) AS dead_tuples,
    pg_stat_get_live_tuples(to_regclass('jobs')) AS live_tuples,
    (SELECT version_num FROM alembic_version) AS schema_revision
FROM at_work a CROSS JOIN waiting w CROSS JOIN alive v CROSS JOIN lane l JOIN lanes b ON b.name = l.name
