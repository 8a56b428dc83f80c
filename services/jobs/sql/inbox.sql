-- What webhooks said and nobody has acted on, and what it leads to, where $1 are the workers that can be told from here.
SELECT * FROM (
    SELECT i.webhook_id, i.intent_id, i.prediction_id, i.received_at, s.job_id, j.lease_worker, j.model, j.request_id,
        (j.parameters || jsonb_build_object('prompt', j.prompt))::text AS input,
        CASE
            -- The POST's own answer may be on its way, or its loss; the webhook waits for either.
            WHEN j.state = 'submitting' AND j.intent_id = i.intent_id THEN 'wait'
            WHEN s.prediction_id IS NULL THEN CASE WHEN cardinality($1::uuid[]) > 0 THEN 'created' ELSE 'wait' END
            WHEN NOT i.ended OR j.state <> 'submitted' OR j.prediction_id <> i.prediction_id THEN 'none'
            WHEN j.lease_worker IS NULL THEN 'due'
            WHEN j.lease_worker = ANY($1::uuid[]) THEN 'ended'
            -- Whoever follows it may be told from another instance, or does not watch at all.
            ELSE 'elsewhere'
        END AS effect
    FROM provider_inbox i JOIN submissions s ON s.intent_id = i.intent_id JOIN jobs j ON j.id = s.job_id
    WHERE i.processed_at IS NULL
) n
WHERE n.effect <> 'wait' AND (n.effect <> 'elsewhere' OR n.received_at <= now() - make_interval(secs => $2))
ORDER BY n.received_at LIMIT 500
