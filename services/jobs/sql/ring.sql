-- Rings for jobs that are due: as many creates as generators have slots and the account has budget beyond what was rung for already.
-- Nothing where $1 is false: then this only tells how things stand.
-- Each ring of the same job rests twice as long as the one before, as a generator that is busy hears nothing sooner.
WITH RECURSIVE {due}
allowed AS MATERIALIZED (
    SELECT greatest(0, least(
        (SELECT coalesce(sum(slots), 0) FROM workers WHERE heartbeat_at > now() - make_interval(secs => {lease}) AND NOT no_creates),
        CASE WHEN lane.paused THEN 0 WHEN lane.rate = 0 THEN 1000000 ELSE floor(lane.tokens) END
    ) - (SELECT count(*) FROM jobs WHERE lane = 'default' AND state = 'queued' AND rings > 0 AND next_dispatch_at > now()))::int AS creates
    FROM lane
),
chosen AS (
    SELECT d.id, row_number() OVER (PARTITION BY d.state = 'queued' ORDER BY d.turn) AS n, d.state FROM due d
),
rung AS (
    UPDATE jobs j SET rings = least(10, j.rings + 1), next_dispatch_at = now() + make_interval(secs => {ring}) * power(2, least(j.rings, 5))
    FROM chosen c WHERE j.id = c.id AND (c.state <> 'queued' OR c.n <= (SELECT creates FROM allowed))
    RETURNING j.id::text, j.request_id, j.traceparent, j.state
)
SELECT a.creates - (SELECT count(*) FROM rung WHERE state = 'queued')::int AS credit,
    (SELECT count(*) FROM chosen) > (SELECT count(*) FROM rung) OR (SELECT count(*) FROM chosen) >= {limit}
        OR NOT $1 AND EXISTS (SELECT FROM due_creates) AS backlog,
    r.id, coalesce(r.request_id, '') AS request_id, coalesce(r.traceparent, '') AS traceparent
FROM allowed a LEFT JOIN rung r ON true
