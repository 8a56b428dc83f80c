-- Who is next, at most {limit} creates: every tenant's first before any tenant's second, by priority and time within a tenant.
-- Each tenant is entered by one step down an index, so a million waiting rows of one cost the others nothing.
{lane}
tenants_waiting (tenant_id) AS (
    (SELECT j.tenant_id FROM jobs j WHERE j.lane = 'default' AND j.state = 'queued' ORDER BY j.tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT j.tenant_id FROM jobs j
        WHERE j.lane = 'default' AND j.state = 'queued' AND j.tenant_id > t.tenant_id ORDER BY j.tenant_id LIMIT 1)
    FROM tenants_waiting t WHERE t.tenant_id IS NOT NULL
),
due_creates AS (
    SELECT n.id, row_number() OVER (PARTITION BY t.tenant_id ORDER BY n.priority DESC, n.next_dispatch_at) AS place
    FROM tenants_waiting t CROSS JOIN LATERAL (
        SELECT j.id, j.priority, j.next_dispatch_at FROM jobs j
        WHERE j.lane = 'default' AND j.state = 'queued' AND j.tenant_id = t.tenant_id AND j.next_dispatch_at <= now()
        ORDER BY j.priority DESC, j.next_dispatch_at LIMIT {limit}
    ) n
    WHERE t.tenant_id IS NOT NULL
),
due_unattended AS (
    SELECT j.id, j.next_dispatch_at FROM jobs j
    WHERE j.next_dispatch_at IS NOT NULL AND j.state IN ('submitted', 'unknown') AND j.next_dispatch_at <= now()
    ORDER BY j.next_dispatch_at, j.id LIMIT {unattended}
),
due AS MATERIALIZED (
    SELECT j.id, j.state, j.request_id, n.turn FROM (
        SELECT id, 1 - row_number() OVER (ORDER BY next_dispatch_at DESC, id DESC) AS turn FROM due_unattended
        UNION ALL
        -- Chance decides between equal places: with one token at a time the first place is all that there is.
        (SELECT id, row_number() OVER (ORDER BY place, random()) FROM due_creates ORDER BY 2 LIMIT {limit})
    ) n JOIN jobs j ON j.id = n.id
    WHERE j.next_dispatch_at <= now() AND j.lease_worker IS NULL{room}
    FOR UPDATE OF j SKIP LOCKED
),
