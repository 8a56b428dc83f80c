-- Notes which workers live, and shares the account's reads among them: nobody gets more than twice an equal share.
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bool[], $5::int[], $6::bool[])
        AS i (id, slots, free_slots, no_creates, reads, leaving)
),
noted AS (
    INSERT INTO workers (id, slots, free_slots, no_creates, heartbeat_at)
    SELECT id, slots, free_slots, no_creates, now() FROM input WHERE NOT leaving ORDER BY id
    ON CONFLICT (id) DO UPDATE SET slots = excluded.slots, free_slots = excluded.free_slots,
        no_creates = excluded.no_creates, heartbeat_at = excluded.heartbeat_at
),
left_behind AS (
    DELETE FROM workers w USING input i WHERE w.id = i.id AND i.leaving
),
lane AS MATERIALIZED (
    SELECT name, reads_per_minute AS rate,
        least(reads_per_minute / 6.0, read_tokens + reads_per_minute / 60.0 * extract(epoch FROM now() - reads_refilled_at)) AS tokens,
        (SELECT greatest(1, count(*)) FROM workers WHERE heartbeat_at > now() - make_interval(secs => $7)) AS live
    FROM lanes WHERE name = 'default' FOR NO KEY UPDATE
),
wanted AS (
    SELECT i.id, CASE WHEN l.rate = 0 THEN i.reads
        ELSE greatest(0, least(i.reads, 2 * l.rate / 60.0 * $8 / l.live)) END AS reads
    FROM input i CROSS JOIN lane l
),
granted AS MATERIALIZED (
    SELECT w.id, floor(CASE WHEN l.rate = 0 THEN w.reads
        ELSE w.reads * least(1, greatest(0, l.tokens) / greatest(1, sum(w.reads) OVER ())) END)::int AS reads
    FROM wanted w CROSS JOIN lane l
),
taken AS (
    UPDATE lanes l SET read_tokens = lane.tokens - (SELECT sum(reads) FROM granted), reads_refilled_at = now()
    FROM lane WHERE l.name = lane.name AND lane.rate > 0
)
SELECT id, reads FROM granted
