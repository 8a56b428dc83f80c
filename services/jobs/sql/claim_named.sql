-- Claims of the jobs that messages named: within each worker's slots, and creates within the lane's tokens. The rest is due at once.
{lane}
asked AS (
    SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], $5::bool[], $6::uuid[])
        AS a (ord, worker, job_id, slots, no_creates, intent_id)
),
candidates AS MATERIALIZED (
    SELECT a.*, j.state FROM jobs j JOIN asked a ON a.job_id = j.id
    WHERE j.lease_worker IS NULL AND j.state IN ('queued', 'submitted', 'unknown') AND j.not_before <= now()
        AND (j.state <> 'queued' OR j.deadline_at > now())
    FOR UPDATE OF j SKIP LOCKED
),
{granted}
