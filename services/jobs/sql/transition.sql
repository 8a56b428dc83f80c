-- The only statement that changes a job's state. `input` is what is asked of which job, `rules` the table of states.py; store.py
-- fills both in, with the protocol's times and limits.
-- Everything that is decided here is decided on rows that are locked, in the order of their ids, and as they are now.
WITH RECURSIVE {before}input AS MATERIALIZED (
    {input}
),
rules (verb, source, target, fence, lease, attempts, claims, base, factor, cap, submission) AS (
    VALUES {rules}
),
held AS MATERIALIZED (
    SELECT j.* FROM jobs j WHERE j.id IN (SELECT job_id FROM input) ORDER BY j.id FOR UPDATE
),
-- What is true of each asked-for job: which prediction may be bound, and whether its reporter still holds it.
facts AS MATERIALIZED (
    SELECT i.*, h.epoch AS held_epoch, h.intent_id AS held_intent, h.lane, h.fingerprint,
        CASE WHEN i.verb IN ('created', 'found') THEN (
            SELECT c.id FROM unnest(string_to_array(i.prediction_ids, ',')) WITH ORDINALITY AS c (id, n)
            WHERE NOT EXISTS (
                SELECT FROM submissions s
                WHERE s.lane = h.lane AND s.prediction_id = c.id AND s.intent_id <> coalesce(i.intent_id, h.intent_id)
            )
            ORDER BY c.n LIMIT 1
        ) END AS bindable,
        -- An equal job that bound a match since the look-up began took what may have been ours: its own prediction may have been made
        -- after the list was read, and would be ours then.
        i.verb = 'found' AND EXISTS (
            SELECT FROM unnest(string_to_array(i.prediction_ids, ',')) AS c (id)
            JOIN submissions s ON s.lane = h.lane AND s.prediction_id = c.id AND s.intent_id <> h.intent_id
            JOIN job_events e ON e.job_id = s.job_id
            WHERE e.to_state = 'submitted' AND e.from_state IN ('submitting', 'unknown') AND e.at > b.begun_at
        ) AS taken_since,
        i.epoch = h.epoch AND NOT (h.state = 'unknown' AND h.lease_worker IS NOT NULL) AS holder,
        b.begun_at, b.begun_at >= h.settle_at AS settled,
        -- Replicate is told of the deadline in whole seconds, and ends a prediction up to one of them before it.
        h.deadline_at <= now() + interval '1 s' AS overdue,
        h.first_empty_at <= b.begun_at - make_interval(secs => {lookup_gap}) AS empty_before
    FROM input i JOIN held h ON h.id = i.job_id CROSS JOIN LATERAL (
        -- When the look-up that is reported began, as its worker was told. The row may know of a later one by now, begun by this very
        -- report: its answer was lost, and what the list showed back then would count as what it shows now.
        SELECT coalesce('epoch'::timestamptz + i.lookup_begun_at * interval '1 microsecond', h.lookup_begun_at) AS begun_at
    ) b
),
-- Which row of the table applies, if any.
chosen AS MATERIALIZED (
    SELECT f.*, r.verb AS rule, r.source, r.target AS wish, r.attempts, r.claims, r.submission,
        CASE WHEN r.verb = 'created' AND NOT f.holder THEN 'drop' ELSE r.lease END AS lease,
        -- It was claimed too often without a word: it kills its workers.
        r.verb IN ('expire', 'ruled_out') AND r.target = 'queued' AND h.claims >= {max_claims} AS crash_loop,
        greatest(
            coalesce(f.delay, 0),
            random() * least(r.cap, r.base * power(r.factor, least(10, CASE r.verb WHEN 'retry' THEN h.attempt - 1 ELSE h.setbacks END)))
                * {time_scale}
        ) AS rest
    FROM facts f
    JOIN held h ON h.id = f.job_id
    JOIN rules r ON r.source = h.state AND r.verb = CASE
        WHEN f.verb = 'intend' AND (h.cancel_requested_at IS NOT NULL OR h.deadline_at <= now()) THEN 'decline'
        WHEN f.verb = 'created' AND f.bindable IS NULL THEN 'taken'
        -- A match proves nothing before the intent's POST can no longer be on its way: until then it may be a twin's. Unless it is
        -- marked as this intent's own.
        WHEN f.verb = 'found' AND f.bindable IS NOT NULL AND NOT f.settled AND f.marked IS NOT TRUE THEN 'look_again'
        -- Matches that all belonged to other jobs are as good as none.
        WHEN f.verb IN ('empty', 'found') AND f.bindable IS NULL AND NOT f.taken_since AND f.settled AND f.empty_before
            THEN 'ruled_out'
        WHEN f.verb IN ('empty', 'unreadable') OR (f.verb = 'found' AND f.bindable IS NULL) THEN 'look_again'
        WHEN f.verb IN ('claim', 'begin') AND (h.not_before > now() OR h.deadline_at <= now()) THEN NULL
        WHEN f.verb = 'release' AND h.lease_worker IS NULL THEN NULL
        WHEN f.verb = 'expire' AND (h.lease_until IS NULL OR h.lease_until > now()) THEN NULL
        WHEN f.verb = 'give_up' AND (h.deadline_at > now() OR h.cancel_requested_at IS NOT NULL) THEN NULL
        WHEN f.verb = 'cancel' AND h.cancel_requested_at IS NOT NULL THEN NULL
        WHEN f.verb = 'outcome_unknown' AND h.unknown_since > now() - make_interval(secs => {unknown_limit}) THEN NULL
        ELSE f.verb END
    WHERE CASE r.fence
        WHEN 'none' THEN true
        WHEN 'epoch' THEN h.epoch = f.epoch
        WHEN 'intent' THEN h.intent_id = f.intent_id
        WHEN 'prediction' THEN h.epoch = f.epoch AND h.prediction_id = f.prediction_ids
        WHEN 'unleased' THEN h.lease_worker IS NULL
    END
),
-- What the job becomes: a wish to queue or to fail gives way to a cancellation, and to the end of its attempts.
decided AS MATERIALIZED (
    SELECT c.*,
        CASE
            WHEN c.source = c.wish THEN c.wish
            WHEN c.wish IN ('queued', 'failed') AND c.rule <> 'outcome_unknown' AND h.cancel_reason = 'deadline_exceeded' THEN 'failed'
            WHEN c.wish IN ('queued', 'failed') AND c.rule <> 'outcome_unknown' AND h.cancel_reason IS NOT NULL THEN 'canceled'
            WHEN c.wish = 'queued' AND h.attempt + c.attempts >= h.max_attempts THEN 'failed'
            WHEN c.crash_loop THEN 'failed'
            ELSE c.wish
        END AS target,
        CASE
            WHEN c.rule = 'outcome_unknown' THEN 'outcome_unknown'
            WHEN c.rule = 'give_up' OR h.cancel_reason = 'deadline_exceeded' OR c.rule = 'canceled' AND c.overdue
                THEN 'deadline_exceeded'
            WHEN c.crash_loop THEN 'crash_loop'
            WHEN c.rule = 'canceled' THEN coalesce(c.code, 'provider_timeout')
            WHEN c.rule IN ('reject', 'retry', 'fail', 'aborted', 'ruled_out') THEN coalesce(c.code, h.error_code)
        END AS failure_code,
        CASE
            WHEN c.rule = 'outcome_unknown' THEN
                'It could not be found out whether the prediction was created; to spare a second payment it was not repeated.'
            WHEN c.rule = 'give_up' OR h.cancel_reason = 'deadline_exceeded' OR c.rule = 'canceled' AND c.overdue
                THEN 'The job''s deadline passed before it was finished.'
            WHEN c.crash_loop THEN
                'Generators died while they held this job, again and again.'
            WHEN c.rule = 'canceled' THEN coalesce(c.message, 'Replicate canceled the prediction: it reached its time limit.')
            WHEN c.rule IN ('reject', 'retry', 'fail', 'aborted', 'ruled_out') THEN coalesce(c.message, h.error_message)
        END AS failure_message
    FROM chosen c JOIN held h ON h.id = c.job_id
),
written AS (
    UPDATE jobs j SET
        state = d.target,
        version = j.version + 1,
        updated_at = now(),
        epoch = j.epoch + CASE WHEN d.rule IN ('claim', 'begin', 'attach', 'reconcile') THEN 1 ELSE 0 END,
        lease_worker = CASE d.lease WHEN 'take' THEN d.worker WHEN 'keep' THEN j.lease_worker END,
        lease_until = CASE d.lease WHEN 'take' THEN now() + make_interval(secs => {lease}) WHEN 'keep' THEN j.lease_until END,
        attempt = j.attempt + d.attempts,
        claims = CASE WHEN d.claims IS NULL THEN 0 ELSE greatest(0, j.claims + d.claims) END,
        setbacks = CASE
            WHEN d.claims IS NULL THEN 0
            WHEN d.target = 'queued' AND d.source <> 'queued' AND d.rule <> 'release' THEN j.setbacks + 1
            ELSE j.setbacks END,
        intent_id = CASE WHEN d.rule IN ('begin', 'intend') THEN d.intent_id WHEN d.target = 'queued' THEN NULL ELSE j.intent_id END,
        settle_at = CASE WHEN d.rule IN ('begin', 'intend') THEN now() + make_interval(secs => {settle}) ELSE j.settle_at END,
        lookup_begun_at = CASE WHEN d.rule IN ('reconcile', 'look_again') THEN now() ELSE j.lookup_begun_at END,
        first_empty_at = CASE
            WHEN d.rule IN ('begin', 'intend') THEN NULL
            WHEN d.rule = 'look_again' AND d.verb IN ('empty', 'found') AND d.bindable IS NULL AND NOT d.taken_since
                THEN coalesce(j.first_empty_at, d.begun_at)
            ELSE j.first_empty_at END,
        unknown_since = CASE WHEN d.target = 'unknown' THEN coalesce(j.unknown_since, now()) END,
        prediction_id = CASE
            WHEN d.rule IN ('created', 'found') THEN d.bindable WHEN d.target = 'queued' THEN NULL ELSE j.prediction_id END,
        provider_status = CASE WHEN d.target = d.source THEN j.provider_status END,
        progress = CASE WHEN d.target = d.source THEN j.progress WHEN d.target = 'succeeded' THEN 1 END,
        not_before = CASE WHEN d.target = 'queued' AND d.source <> 'queued' THEN now() + make_interval(secs => d.rest) ELSE j.not_before END,
        next_dispatch_at = CASE
            WHEN d.target = 'queued' AND d.source = 'queued' THEN j.next_dispatch_at
            WHEN d.target = 'queued' OR (d.target IN ('submitted', 'unknown') AND d.lease = 'drop')
                THEN now() + make_interval(secs => d.rest)
            -- A flag on a row that nobody holds: whoever follows it next acts on it at once.
            WHEN d.lease = 'keep' AND j.lease_worker IS NULL THEN now()
        END,
        rings = 0,
        wait_reason = CASE WHEN d.target = 'queued' THEN CASE d.rule
            WHEN 'rate_limit' THEN 'rate_limit' WHEN 'account' THEN 'lane_paused' WHEN 'release' THEN NULL ELSE 'retry' END END,
        cancel_requested_at = CASE WHEN d.rule IN ('cancel', 'give_up') THEN now() ELSE j.cancel_requested_at END,
        cancel_reason = CASE d.rule WHEN 'cancel' THEN 'canceled' WHEN 'give_up' THEN 'deadline_exceeded' ELSE j.cancel_reason END,
        outputs = coalesce(d.outputs, j.outputs),
        media_path = coalesce(d.outputs -> 0 ->> 'object_key', j.media_path),
        error_code = CASE WHEN d.target IN ('succeeded', 'canceled') OR d.rule IN ('claim', 'begin') THEN NULL ELSE coalesce(d.failure_code, j.error_code) END,
        error_message = CASE WHEN d.target IN ('succeeded', 'canceled') OR d.rule IN ('claim', 'begin') THEN NULL ELSE coalesce(d.failure_message, j.error_message) END,
        started_at = CASE WHEN d.rule IN ('claim', 'begin') THEN coalesce(j.started_at, now()) ELSE j.started_at END,
        finished_at = CASE WHEN d.target IN ('succeeded', 'failed', 'canceled') THEN now() END
    FROM decided d
    -- By the id alone: `held` has the row locked and read as it is. A condition on its columns would be tried on the row as it was
    -- when the statement began, and where it has changed since, nothing would be written here and everything elsewhere.
    WHERE j.id = d.job_id
    -- With what was decided: to join `decided` again would compare every row with every other, as few are expected.
    RETURNING j.*, d.rule, d.source, d.actor, d.code, d.message, d.delay, d.submission, d.held_intent, d.bindable, d.http_status,
        d.predict_seconds
),
history AS (
    INSERT INTO job_events (job_id, version, from_state, to_state, epoch, actor, reason)
    SELECT w.id, w.version, w.source, w.state, w.epoch, w.actor, concat_ws(': ', w.rule, w.code) FROM written w
),
intents AS (
    INSERT INTO submissions (intent_id, job_id, lane, attempt, epoch, fingerprint)
    SELECT w.intent_id, w.id, w.lane, w.attempt, w.epoch, w.fingerprint FROM written w WHERE w.rule IN ('begin', 'intend')
),
-- A prediction whose intent can never bind it is marked so, unless it may be what an equal job is looking for.
orphans AS (
    UPDATE submissions s SET state = 'orphan_canceled', prediction_id = f.bindable, finished_at = now()
    FROM facts f
    WHERE f.verb = 'created' AND s.intent_id = f.intent_id AND s.prediction_id IS NULL AND f.bindable IS NOT NULL
        AND f.job_id NOT IN (SELECT job_id FROM decided) -- which is hashed, as NOT EXISTS of few expected rows is not
        AND NOT EXISTS (
            SELECT FROM jobs o
            WHERE o.lane = f.lane AND o.fingerprint = f.fingerprint AND o.state IN ('submitting', 'unknown')
        )
    RETURNING s.intent_id
),
submissions_written AS (
    UPDATE submissions s SET
        state = w.submission,
        prediction_id = CASE WHEN w.rule IN ('created', 'found') THEN w.bindable ELSE s.prediction_id END,
        http_status = coalesce(w.http_status, s.http_status),
        error_code = coalesce(w.code, s.error_code),
        error_message = coalesce(w.message, s.error_message),
        predict_seconds = coalesce(w.predict_seconds, s.predict_seconds),
        finished_at = CASE WHEN w.submission IN ('created', 'unknown') THEN s.finished_at ELSE now() END
    FROM written w
    WHERE w.submission IS NOT NULL AND s.intent_id = w.held_intent
),
pauses AS (
    SELECT w.lane, bool_or(w.rule = 'account') AS account, max(w.delay) AS asked, max(w.code) AS code,
        bool_or(w.rule IN ('account', 'rate_limit')) AS paused
    FROM written w
    WHERE w.rule IN ('account', 'rate_limit', 'created') GROUP BY w.lane
),
lanes_written AS (
    UPDATE lanes l SET
        paused_until = CASE WHEN p.paused THEN greatest(l.paused_until, now() + make_interval(secs => greatest(
            coalesce(p.asked, 0),
            CASE WHEN NOT p.account THEN 2 * {time_scale}
                WHEN n.account THEN 0 -- the refusals of one pause do not make it longer
                ELSE least({pause_limit}, {pause} * power(2, least(10, l.pauses))) END
        ))) ELSE l.paused_until END,
        paused_reason = CASE WHEN p.account THEN p.code WHEN p.paused AND NOT n.account THEN 'rate_limit' ELSE l.paused_reason END,
        -- After a pause one create goes first, and more follow at the lane's rate.
        create_tokens = CASE WHEN p.paused THEN 1 ELSE l.create_tokens END,
        pauses = CASE WHEN p.account AND NOT n.account THEN l.pauses + 1 WHEN p.paused OR n.account THEN l.pauses ELSE 0 END
    FROM pauses p JOIN LATERAL (
        SELECT coalesce(o.paused_until > now() AND o.paused_reason <> 'rate_limit', false) AS account FROM lanes o WHERE o.name = p.lane
    ) n ON true
    WHERE l.name = p.lane AND (p.paused OR l.pauses > 0)
)
SELECT f.ord,
    CASE
        WHEN d.rule = 'taken' THEN 'taken'
        WHEN d.rule = 'look_again' THEN CASE WHEN f.verb = 'found' AND f.bindable IS NULL THEN 'taken' ELSE 'too_early' END
        WHEN d.rule = 'decline' THEN 'canceled'
        WHEN d.rule = 'created' AND NOT f.holder THEN 'not_holder'
        WHEN w.id IS NOT NULL THEN 'ok'
        -- The effect is there already, by this very report.
        WHEN f.verb = 'intend' AND h.intent_id = f.intent_id AND h.state = 'submitting' AND h.epoch = f.epoch THEN 'ok'
        WHEN f.verb = 'created' AND h.intent_id = f.intent_id AND h.prediction_id = f.prediction_ids AND h.state = 'submitted'
            THEN CASE WHEN h.epoch = f.epoch AND h.lease_worker IS NOT DISTINCT FROM f.worker THEN 'ok' ELSE 'not_holder' END
        WHEN f.verb = 'found' AND h.epoch = f.epoch AND h.state = 'submitted' AND h.lease_worker = f.worker THEN 'ok'
        WHEN f.verb = 'lost' AND h.intent_id = f.intent_id AND h.state = 'unknown' THEN 'ok'
        WHEN f.verb IN ('reject', 'rate_limit', 'not_sent', 'account') AND EXISTS (
            SELECT FROM submissions s WHERE s.intent_id = f.intent_id AND s.state IN ('refused', 'not_sent')) THEN 'ok'
        WHEN f.verb = 'complete' AND h.epoch = f.epoch AND h.state = 'succeeded' AND h.prediction_id = f.prediction_ids THEN 'ok'
        WHEN f.verb IN ('retry', 'fail', 'aborted', 'canceled') AND h.epoch = f.epoch AND EXISTS (
            SELECT FROM submissions s WHERE s.lane = h.lane AND s.prediction_id = f.prediction_ids
                AND s.state IN ('failed', 'aborted', 'canceled')) THEN 'ok'
        WHEN f.verb = 'release' AND h.epoch = f.epoch AND h.lease_worker IS NULL AND h.finished_at IS NULL THEN 'ok'
        WHEN f.verb = 'cancel' AND (h.state = 'canceled' OR h.cancel_requested_at IS NOT NULL AND h.finished_at IS NULL) THEN 'ok'
        WHEN f.verb = 'created' AND f.bindable IS NULL AND h.intent_id = f.intent_id AND h.state = 'unknown' THEN 'taken'
        WHEN o.intent_id IS NOT NULL OR f.verb = 'created' AND EXISTS (
            SELECT FROM submissions s WHERE s.intent_id = f.intent_id AND s.state = 'orphan_canceled'
                AND s.prediction_id = f.prediction_ids) THEN 'orphan'
        ELSE 'stale'
    END AS result,
    f.job_id, f.verb,
    -- What has changed, for the metrics: by which row of the table, from which state, and how long that took.
    d.rule, h.state AS was, h.lease_worker AS holder, w.error_code,
    CASE WHEN d.rule IN ('claim', 'begin') THEN extract(epoch FROM now() - h.not_before) END::float8 AS waited,
    extract(epoch FROM w.finished_at - h.created_at)::float8 AS lasted,
    coalesce(w.epoch, h.epoch) AS epoch,
    coalesce(w.state, h.state) AS state,
    coalesce(w.prediction_id, h.prediction_id) AS prediction_id,
    coalesce(w.intent_id, h.intent_id) AS intent_id,
    h.model,
    (h.parameters || jsonb_build_object('prompt', h.prompt))::text AS input,
    h.request_id, h.traceparent,
    CASE WHEN f.verb IN ('begin', 'intend') THEN (SELECT t.signing_secret FROM tenants t WHERE t.id = h.tenant_id) END AS signing_secret,
    h.cancel_requested_at IS NOT NULL AS cancel_requested,
    extract(epoch FROM h.deadline_at - now())::float8 AS deadline_in,
    extract(epoch FROM now() - (SELECT s.created_at FROM submissions s WHERE s.intent_id = h.intent_id))::float8 AS intent_age,
    extract(epoch FROM h.settle_at - now())::float8 AS settle_in,
    extract(epoch FROM w.first_empty_at - now())::float8 AS first_empty_in,
    (extract(epoch FROM w.lookup_begun_at) * 1000000)::bigint AS lookup_begun_at,
    w.next_dispatch_at IS NOT NULL AS to_dispatch
FROM facts f
JOIN held h ON h.id = f.job_id
LEFT JOIN decided d ON d.job_id = f.job_id
LEFT JOIN written w ON w.id = f.job_id
LEFT JOIN orphans o ON o.intent_id = f.intent_id
ORDER BY f.ord
