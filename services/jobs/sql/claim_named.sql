-- Claims of the jobs that messages named: within each worker's slots, and creates within the lane's tokens. The rest is due at once.
lane AS MATERIALIZED (
    SELECT l.name, l.creates_per_minute AS rate, coalesce(l.paused_until > now(), false) AS paused,
        least(greatest(1, l.creates_per_minute / 20.0), l.create_tokens + l.creates_per_minute / 60.0 * greatest(0, extract(
            epoch FROM now() - greatest(l.creates_refilled_at, coalesce(l.paused_until, '-infinity'))))) AS tokens
    FROM lanes l WHERE l.name = 'default' FOR NO KEY UPDATE
),
asked AS (
    SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], $5::bool[]) AS a (ord, worker, job_id, slots, no_creates)
),
candidates AS MATERIALIZED (
    SELECT a.*, j.state FROM jobs j JOIN asked a ON a.job_id = j.id
    WHERE j.lease_worker IS NULL AND j.state IN ('queued', 'submitted', 'unknown') AND j.not_before <= now()
        AND (j.state <> 'queued' OR j.deadline_at > now())
    FOR UPDATE OF j SKIP LOCKED
),
{granted}
