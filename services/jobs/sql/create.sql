-- Accepts jobs: idempotency key, job and first event in one statement, which shows them to their owners as well. A known key inserts
-- nothing; store.py reads its job then.
WITH input AS (
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[], $9::smallint[],
        $10::float8[], $11::text[], $12::text[], $13::bool[]
    ) AS i (id, tenant_id, key, request_sha256, prompt, model, parameters, request, priority, deadline, request_id, traceparent, rung)
),
keys AS (
    INSERT INTO idempotency_keys (tenant_id, key, request_sha256, job_id)
    SELECT tenant_id, key, request_sha256, id FROM input WHERE key <> '' ORDER BY tenant_id, key
    ON CONFLICT DO NOTHING
    RETURNING job_id
),
accepted AS (
    INSERT INTO jobs (id, tenant_id, prompt, model, parameters, request, priority, fingerprint, request_id, traceparent,
        max_attempts, deadline_at, next_dispatch_at, rings)
    SELECT id, tenant_id, prompt, model, p.parameters, i.request::jsonb, priority,
        sha256(convert_to(model || E'\n' || (p.parameters || jsonb_build_object('prompt', prompt))::text, 'UTF8')),
        request_id, traceparent, $14, now() + make_interval(secs => deadline),
        CASE WHEN rung THEN now() + make_interval(secs => $15) ELSE now() END,
        CASE WHEN rung THEN 1 ELSE 0 END
    FROM input i CROSS JOIN LATERAL (SELECT i.parameters::jsonb AS parameters) p
    WHERE key = '' OR id IN (SELECT job_id FROM keys)
    RETURNING *
),
history AS (
    INSERT INTO job_events (job_id, version, to_state, epoch, actor, reason)
    SELECT id, 1, 'queued', 0, 'client', 'accept' FROM accepted
)
SELECT {shown}
FROM accepted j JOIN lanes l ON l.name = j.lane
