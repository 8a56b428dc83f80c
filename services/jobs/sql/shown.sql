-- What the owner of job j, which is in lane l, sees of it.
j.id::text, j.tenant_id, j.prompt, j.model, j.parameters::text AS parameters, j.request::text AS request, j.priority,
    j.state, j.status, j.version, j.retry_count, j.media_path, j.outputs::text AS outputs, j.error_code, j.error_message,
    j.progress, j.provider_status, j.wait_reason, j.not_before, j.created_at, j.updated_at, j.started_at, j.finished_at,
    j.deadline_at, j.cancel_requested_at,
    CASE WHEN l.paused_until > now() THEN l.paused_until END AS lane_paused_until,
    l.paused_reason, now() AS now,
    (SELECT json_agg(json_build_object(
        'number', s.attempt, 'state', s.state, 'prediction_id', s.prediction_id, 'error_code', s.error_code,
        'error_message', s.error_message, 'predict_seconds', s.predict_seconds,
        'created_at', extract(epoch FROM s.created_at), 'finished_at', extract(epoch FROM s.finished_at)
    ) ORDER BY s.created_at)::text FROM submissions s WHERE s.job_id = j.id) AS attempts
