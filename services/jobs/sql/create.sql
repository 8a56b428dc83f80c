-- Accepts jobs: idempotency key, job and first event in one statement, which shows them to their owners as well. A known key inserts
-- nothing; store.py reads its job then. A job that comes with a worker's intent is begun, too, where the lane lets it: the row is what
-- sql/transition.sql makes of a new one by `begin` (tests/integration/test_offers.py holds the two together).
WITH input AS MATERIALIZED (
    SELECT i.*, count(intent_id) OVER (ORDER BY ord) AS create_place FROM unnest(
        $1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::smallint[],
        $10::float8[], $11::text[], $12::text[], $13::bool[], $14::uuid[], $15::uuid[]
    ) WITH ORDINALITY AS i (id, tenant_id, key, request_sha256, prompt, model, parameters, request, priority, deadline, request_id,
        traceparent, rung, worker, intent_id, ord)
),
keys AS (
    INSERT INTO idempotency_keys (tenant_id, key, request_sha256, job_id)
    SELECT tenant_id, key, request_sha256, id FROM input WHERE key <> '' ORDER BY tenant_id, key
    ON CONFLICT DO NOTHING
    RETURNING job_id
),
{lane}
-- How many creates the lane allows: `lane` is there, and locked, only where they are counted.
allowed AS MATERIALIZED (
    SELECT coalesce(
        (SELECT CASE WHEN paused THEN 0 ELSE floor(tokens) END FROM lane),
        (SELECT CASE WHEN paused_until > now() THEN 0 ELSE 1000000 END FROM lanes WHERE name = 'default')
    ) AS creates
),
accepted AS (
    INSERT INTO jobs (id, tenant_id, prompt, model, parameters, request, priority, fingerprint, request_id, traceparent,
        max_attempts, deadline_at, next_dispatch_at, rings,
        state, version, epoch, attempt, claims, lease_worker, lease_until, intent_id, settle_at, started_at)
    SELECT id, tenant_id, prompt, model, p.parameters, i.request::jsonb, priority,
        sha256(convert_to(model || E'\n' || (p.parameters || jsonb_build_object('prompt', prompt))::text, 'UTF8')),
        request_id, traceparent, $16, now() + make_interval(secs => deadline),
        CASE WHEN b.begun THEN NULL WHEN rung THEN now() + make_interval(secs => {ring}) ELSE now() END,
        CASE WHEN rung AND NOT b.begun THEN 1 ELSE 0 END,
        CASE WHEN b.begun THEN 'submitting' ELSE 'queued' END,
        CASE WHEN b.begun THEN 2 ELSE 1 END,
        b.begun::int, b.begun::int, b.begun::int,
        CASE WHEN b.begun THEN worker END,
        CASE WHEN b.begun THEN now() + make_interval(secs => {lease}) END,
        CASE WHEN b.begun THEN intent_id END,
        CASE WHEN b.begun THEN now() + make_interval(secs => {settle}) END,
        CASE WHEN b.begun THEN now() END
    FROM input i
    CROSS JOIN LATERAL (SELECT i.parameters::jsonb AS parameters) p
    CROSS JOIN LATERAL (SELECT i.intent_id IS NOT NULL AND i.create_place <= (SELECT creates FROM allowed) AS begun) b
    WHERE key = '' OR id IN (SELECT job_id FROM keys)
    RETURNING *
),
history AS (
    INSERT INTO job_events (job_id, version, from_state, to_state, epoch, actor, reason)
    SELECT id, 1, NULL, 'queued', 0, 'client', 'accept' FROM accepted
    UNION ALL
    SELECT id, 2, 'queued', state, epoch, lease_worker::text, 'begin' FROM accepted WHERE state = 'submitting'
),
intents AS (
    INSERT INTO submissions (intent_id, job_id, lane, attempt, epoch, fingerprint)
    SELECT intent_id, id, lane, attempt, epoch, fingerprint FROM accepted WHERE state = 'submitting'
),
tokens_taken AS (
    UPDATE lanes l SET create_tokens = lane.tokens - (SELECT count(*) FROM accepted WHERE state = 'submitting'),
        creates_refilled_at = greatest(l.creates_refilled_at, now())
    FROM lane WHERE l.name = lane.name AND NOT lane.paused AND EXISTS (SELECT FROM accepted WHERE state = 'submitting')
)
SELECT {shown},
    CASE WHEN j.state = 'submitting' THEN (j.parameters || jsonb_build_object('prompt', j.prompt))::text END AS input
FROM accepted j JOIN lanes l ON l.name = j.lane
