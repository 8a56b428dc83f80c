ranked AS (
    SELECT c.*, row_number() OVER (PARTITION BY c.worker ORDER BY c.state = 'queued', c.ord) AS place,
        row_number() OVER (PARTITION BY c.state = 'queued' ORDER BY c.ord) AS create_place
    FROM candidates c WHERE NOT (c.state = 'queued' AND c.no_creates)
),
granted AS MATERIALIZED (
    SELECT r.ord, r.job_id, r.state, r.worker, {intent} AS intent_id FROM ranked r CROSS JOIN lane l
    WHERE r.place <= r.slots
        AND (r.state <> 'queued' OR (NOT l.paused AND (l.rate = 0 OR r.create_place <= floor(l.tokens))))
),
tokens_taken AS (
    UPDATE lanes l SET create_tokens = lane.tokens - (SELECT count(*) FROM granted WHERE state = 'queued'),
        creates_refilled_at = greatest(l.creates_refilled_at, now())
    FROM lane WHERE l.name = lane.name AND lane.rate > 0 AND NOT lane.paused AND EXISTS (SELECT FROM granted WHERE state = 'queued')
),
left_due AS (
    UPDATE jobs j SET next_dispatch_at = now(), rings = 0 FROM candidates c
    WHERE j.id = c.job_id AND j.next_dispatch_at > now() AND c.job_id NOT IN (SELECT job_id FROM granted)
),
