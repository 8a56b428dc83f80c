-- Jobs that these workers hold already and have done nothing with: the grant whose answer was lost, once more, at the same epoch. One
-- with its intent is granted again to the claim that brought this intent, and to no other: its POST may be on its way.
SELECT j.id AS job_id, CASE j.state WHEN 'claimed' THEN 'claim' ELSE 'begin' END AS verb, j.epoch, j.prediction_id, j.intent_id, j.model,
    (j.parameters || jsonb_build_object('prompt', j.prompt))::text AS input,
    j.request_id, j.traceparent,
    CASE j.state WHEN 'submitting' THEN (SELECT t.signing_secret FROM tenants t WHERE t.id = j.tenant_id) END AS signing_secret,
    j.cancel_requested_at IS NOT NULL AS cancel_requested,
    extract(epoch FROM j.deadline_at - now())::float8 AS deadline_in,
    extract(epoch FROM now() - (SELECT s.created_at FROM submissions s WHERE s.intent_id = j.intent_id))::float8 AS intent_age,
    NULL::float8 AS settle_in, NULL::bigint AS lookup_begun_at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS a (worker, job_id, intent_id)
JOIN jobs j ON j.id = a.job_id AND j.lease_worker = a.worker
    AND (j.state = 'claimed' OR j.state = 'submitting' AND j.intent_id = a.intent_id)
