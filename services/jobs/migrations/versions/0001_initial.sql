-- Tenants own jobs; everything that is read or written is scoped by one.
CREATE TABLE tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    -- Signs the access tokens of outputs: changing it ends every link that was given out.
    signing_secret bytea NOT NULL,
    -- How many jobs may wait at once; NULL means the service's setting.
    max_waiting integer,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    name text NOT NULL,
    -- The first characters, for people to tell keys apart.
    prefix text NOT NULL,
    -- SHA-256 of the key. The key has 190 random bits, so a slow hash would protect nothing.
    sha256 bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- A lane is one account at the provider, with its budget. Rates are per minute, 0 means unlimited.
CREATE TABLE lanes (
    name text PRIMARY KEY,
    creates_per_minute integer NOT NULL,
    reads_per_minute integer NOT NULL,
    create_tokens double precision NOT NULL,
    read_tokens double precision NOT NULL,
    creates_refilled_at timestamptz NOT NULL DEFAULT now(),
    reads_refilled_at timestamptz NOT NULL DEFAULT now(),
    -- No create is granted before this time; the reason is `rate_limit` or the account's error code.
    paused_until timestamptz,
    paused_reason text,
    -- Pauses in a row; each is longer than the one before.
    pauses integer NOT NULL DEFAULT 0
);

CREATE TABLE workers (
    id uuid PRIMARY KEY,
    slots integer NOT NULL,
    free_slots integer NOT NULL,
    no_creates boolean NOT NULL,
    heartbeat_at timestamptz NOT NULL
);

CREATE TABLE jobs (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    lane text NOT NULL DEFAULT 'default' REFERENCES lanes (name),
    -- What was asked for.
    prompt text NOT NULL,
    model text NOT NULL,
    parameters jsonb NOT NULL,
    request jsonb NOT NULL,
    priority smallint NOT NULL DEFAULT 0,
    -- SHA-256 over model and input: equal requests are interchangeable where a lost create is looked up.
    fingerprint bytea NOT NULL,
    -- The request that brought it, for log lines and traces.
    request_id text,
    traceparent text,
    -- Where it is.
    state text NOT NULL DEFAULT 'queued' CHECK (state IN (
        'queued', 'claimed', 'submitting', 'submitted', 'unknown', 'succeeded', 'failed', 'canceled')),
    status text NOT NULL GENERATED ALWAYS AS (CASE state
        WHEN 'queued' THEN 'pending' WHEN 'succeeded' THEN 'completed'
        WHEN 'failed' THEN 'failed' WHEN 'canceled' THEN 'canceled' ELSE 'processing' END) STORED,
    -- Grows with every visible change.
    version bigint NOT NULL DEFAULT 1,
    -- The fencing token: grows with every claim, and a report of an older one changes nothing.
    epoch bigint NOT NULL DEFAULT 0,
    lease_worker uuid,
    lease_until timestamptz,
    -- Paid attempts that were authorised.
    attempt integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    retry_count integer NOT NULL GENERATED ALWAYS AS (GREATEST(attempt - 1, 0)) STORED,
    -- Claims since the last progress: a job that kills its workers is stopped.
    claims integer NOT NULL DEFAULT 0,
    -- Returns to the queue in a row at no cost, for the backoff.
    setbacks integer NOT NULL DEFAULT 0,
    -- The create under way or made.
    intent_id uuid,
    settle_at timestamptz,
    lookup_begun_at timestamptz,
    first_empty_at timestamptz,
    unknown_since timestamptz,
    prediction_id text,
    provider_status text,
    progress real,
    -- When it may be claimed, when it is to be rung for next, and how often it was since.
    not_before timestamptz NOT NULL DEFAULT now(),
    next_dispatch_at timestamptz,
    rings smallint NOT NULL DEFAULT 0,
    -- Why it went back to the queue, for its owner.
    wait_reason text,
    cancel_requested_at timestamptz,
    cancel_reason text,
    deadline_at timestamptz NOT NULL,
    -- How it ended.
    outputs jsonb,
    media_path text,
    error_code text,
    error_message text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    CHECK ((state IN ('succeeded', 'failed', 'canceled')) = (finished_at IS NOT NULL)),
    CHECK (state <> 'succeeded' OR outputs IS NOT NULL),
    CHECK ((lease_worker IS NULL) = (lease_until IS NULL)),
    -- A waiting row has a time to be rung for, and a held or finished one has none.
    CHECK ((next_dispatch_at IS NOT NULL) = (state = 'queued' OR (state IN ('submitted', 'unknown') AND lease_worker IS NULL)))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- The owner's lists: newest first, by status, by model.
CREATE INDEX jobs_by_tenant ON jobs (tenant_id, created_at DESC, id DESC);
CREATE INDEX jobs_by_status ON jobs (tenant_id, status, created_at DESC, id DESC);
CREATE INDEX jobs_by_model ON jobs (tenant_id, model, created_at DESC, id DESC);
-- Who is next: a million rows of one tenant cost another nothing, as each tenant is entered by itself.
CREATE INDEX jobs_waiting ON jobs (lane, tenant_id, priority DESC, next_dispatch_at) WHERE state = 'queued';
-- Predictions that nobody follows, and creates that nobody looks up.
CREATE INDEX jobs_unattended ON jobs (next_dispatch_at)
    WHERE next_dispatch_at IS NOT NULL AND state IN ('submitted', 'unknown');
-- What was rung for and not claimed yet.
CREATE INDEX jobs_rung ON jobs (lane, next_dispatch_at) WHERE state = 'queued' AND rings > 0;
-- What is held. It names no column that a heartbeat writes, so that heartbeats stay heap-only updates.
CREATE INDEX jobs_held ON jobs (id) WHERE lease_worker IS NOT NULL;
CREATE INDEX jobs_deadline ON jobs (deadline_at) WHERE finished_at IS NULL AND cancel_requested_at IS NULL;
CREATE INDEX jobs_unknown ON jobs (lane, fingerprint) WHERE state IN ('submitting', 'unknown');

CREATE TABLE submissions (
    -- One intent authorises one POST.
    intent_id uuid PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    lane text NOT NULL,
    attempt integer NOT NULL,
    epoch bigint NOT NULL,
    fingerprint bytea NOT NULL,
    state text NOT NULL DEFAULT 'intent' CHECK (state IN (
        'intent', 'created', 'unknown', 'refused', 'not_sent', 'not_created', 'orphan_canceled',
        'succeeded', 'failed', 'canceled', 'aborted')),
    prediction_id text,
    http_status integer,
    error_code text,
    error_message text,
    predict_seconds double precision,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
-- A prediction belongs to one intent, and a paid attempt to one submission.
CREATE UNIQUE INDEX submissions_prediction ON submissions (lane, prediction_id) WHERE prediction_id IS NOT NULL;
CREATE UNIQUE INDEX submissions_attempt ON submissions (job_id, attempt)
    WHERE state NOT IN ('refused', 'not_sent', 'not_created', 'aborted', 'orphan_canceled');
CREATE INDEX submissions_by_job ON submissions (job_id, created_at);

-- The history, append only.
CREATE TABLE job_events (
    job_id uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    from_state text,
    to_state text NOT NULL,
    epoch bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (job_id, version)
);

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    key text NOT NULL,
    request_sha256 bytea NOT NULL,
    job_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- The promises of finality and fencing, kept against our own mistakes too.
CREATE FUNCTION guard_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.finished_at IS NOT NULL AND (NEW.state IS DISTINCT FROM OLD.state OR NEW.outputs IS DISTINCT FROM OLD.outputs) THEN
        RAISE EXCEPTION 'job % is %, which is final', OLD.id, OLD.state USING ERRCODE = 'MG001';
    END IF;
    IF NEW.epoch < OLD.epoch OR NEW.version < OLD.version THEN
        RAISE EXCEPTION 'epoch and version of job % never go back', OLD.id USING ERRCODE = 'MG002';
    END IF;
    IF NEW.state IS DISTINCT FROM OLD.state AND NEW.version = OLD.version THEN
        RAISE EXCEPTION 'job % changed its state without a new version', OLD.id USING ERRCODE = 'MG003';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_job BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION guard_job();
