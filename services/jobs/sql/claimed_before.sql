-- Jobs that these workers hold already and have done nothing with: the grant whose answer was lost, once more, at the same epoch.
SELECT j.id AS job_id, 'claim' AS verb, j.epoch, j.prediction_id, j.intent_id, j.model,
    (j.parameters || jsonb_build_object('prompt', j.prompt))::text AS input,
    j.request_id, j.traceparent,
    j.cancel_requested_at IS NOT NULL AS cancel_requested,
    extract(epoch FROM j.deadline_at - now())::float8 AS deadline_in,
    NULL::float8 AS intent_age, NULL::float8 AS settle_in, NULL::bigint AS lookup_begun_at
FROM unnest($1::uuid[], $2::uuid[]) AS a (worker, job_id)
JOIN jobs j ON j.id = a.job_id AND j.state = 'claimed' AND j.lease_worker = a.worker
