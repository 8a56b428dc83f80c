-- The lane's budget as of now: its tokens come back with time, and none while it is paused.
lane AS MATERIALIZED (
    SELECT l.name, l.creates_per_minute AS rate, coalesce(l.paused_until > now(), false) AS paused,
        least(greatest(1, l.creates_per_minute / 20.0), l.create_tokens + l.creates_per_minute / 60.0 * greatest(0, extract(
            epoch FROM now() - greatest(l.creates_refilled_at, coalesce(l.paused_until, '-infinity'))))) AS tokens
    FROM lanes l WHERE l.name = 'default' {lock}
),
