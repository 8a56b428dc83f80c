-- Jobs as their owner sees them, each scoped by its tenant.
SELECT {shown}
FROM unnest($1::uuid[], $2::uuid[]) AS i (tenant_id, id)
JOIN jobs j ON j.id = i.id AND j.tenant_id = i.tenant_id
JOIN lanes l ON l.name = j.lane
