-- Extends the leases that workers name. Progress makes a new version, a bare heartbeat does not; neither is a transition.
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::real[], $5::text[])
        AS i (worker, job_id, epoch, progress, provider_status)
),
held AS MATERIALIZED (
    SELECT j.id, j.epoch, j.state, j.lease_worker, j.cancel_requested_at, j.progress, j.provider_status
    FROM jobs j WHERE j.id IN (SELECT job_id FROM input) ORDER BY j.id FOR UPDATE
),
-- One row a heartbeat, before the jobs are joined again: PostgreSQL would otherwise compare every one with every job that is held.
beats AS MATERIALIZED (
    SELECT i.*, (coalesce(i.progress, h.progress) IS DISTINCT FROM h.progress
        OR coalesce(i.provider_status, h.provider_status) IS DISTINCT FROM h.provider_status)::int AS new
    FROM input i JOIN held h ON h.id = i.job_id
),
extended AS (
    UPDATE jobs j SET
        lease_until = now() + make_interval(secs => $6),
        progress = coalesce(b.progress, j.progress),
        provider_status = coalesce(b.provider_status, j.provider_status),
        version = j.version + b.new,
        updated_at = CASE b.new WHEN 1 THEN now() ELSE j.updated_at END
    FROM beats b
    -- A lease that lapsed or was given back is nobody's until the next claim: a heartbeat that was under way must not revive it.
    WHERE j.id = b.job_id AND j.epoch = b.epoch AND j.lease_worker = b.worker
)
SELECT i.worker, i.job_id,
    h.id IS NULL OR h.epoch <> i.epoch OR h.state NOT IN ('claimed', 'submitting', 'submitted', 'unknown') AS lost,
    h.cancel_requested_at IS NOT NULL AS cancel
FROM input i LEFT JOIN held h ON h.id = i.job_id
