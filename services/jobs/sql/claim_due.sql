-- A claim of whatever is due, by a worker that heard no bell.
{due}
candidates AS MATERIALIZED (
    SELECT d.turn::int AS ord, $1::uuid AS worker, d.id AS job_id, $2::int AS slots, $3::bool AS no_creates, d.state
    FROM due d
),
{granted}
