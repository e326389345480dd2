-- ==== schema net: tables =====================================================================

--- only when installed
CREATE SCHEMA net;
--- also when updated
COMMENT ON SCHEMA net IS 'HTTP requests that are sent when their transaction commits, and the responses. USAGE is the right to use it.';

--- only when installed
CREATE SEQUENCE net.http_request_queue_id_seq;
--- also when updated
COMMENT ON SEQUENCE net.http_request_queue_id_seq IS 'Numbers of requests.';

CREATE FUNCTION net._origin(url text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_origin';
COMMENT ON FUNCTION net._origin(text) IS 'Scheme, host and port of a URL; "invalid" if it is none that can be requested.';

-- The functions of this schema insert into it past the executor: no trigger sees these rows, and
-- constraints are what the functions check. Later columns are to be added at the end.
--- only when installed
CREATE TABLE net.http_request_queue (
    id                      bigint PRIMARY KEY DEFAULT pg_catalog.nextval('net.http_request_queue_id_seq'),
    method                  text NOT NULL,
    url                     text NOT NULL,
    headers                 jsonb NOT NULL DEFAULT '{}',
    body                    bytea,
    timeout_milliseconds    int NOT NULL DEFAULT 5000,
    sealed_headers          bytea,
    created                 timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by              oid,
    runid                   bigint,
    attempts                int NOT NULL DEFAULT 0,
    max_attempts            int NOT NULL DEFAULT pg_catalog.current_setting('net.max_attempts')::int,
    retry                   text NOT NULL DEFAULT 'unsent',
    ready_at                timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    expires_at              timestamptz,
    idempotency_key         text DEFAULT pg_catalog.gen_random_uuid()::text,
    on_response             text,
    store_response          text NOT NULL DEFAULT 'full',
    last_error              text,
    host                    text COLLATE "C" GENERATED ALWAYS AS (net._origin(url)) STORED,
    own_key                 boolean NOT NULL DEFAULT false,
    header_secrets          text[],
    form_secrets            text[],
    on_response_owner       oid,
    replicated_ready_at     timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
        autovacuum_analyze_threshold = 10000);
CREATE INDEX http_request_queue_host_idx ON net.http_request_queue (host, ready_at, id);
--- also when updated
COMMENT ON TABLE net.http_request_queue IS 'Requests that wait or are being sent. A row goes when its response is recorded.';
COMMENT ON COLUMN net.http_request_queue.id IS 'Number of the request; its response has the same.';
COMMENT ON COLUMN net.http_request_queue.method IS 'GET, POST, DELETE, ....';
COMMENT ON COLUMN net.http_request_queue.url IS 'Where it is sent to, query included.';
COMMENT ON COLUMN net.http_request_queue.headers IS 'Its headers, one member each.';
COMMENT ON COLUMN net.http_request_queue.body IS 'Its body; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.timeout_milliseconds IS 'Time that an attempt may take, 1 to 3600000.';
COMMENT ON COLUMN net.http_request_queue.sealed_headers IS 'Headers whose values are secret, encrypted; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.created IS 'When it was made.';
COMMENT ON COLUMN net.http_request_queue.created_by IS 'Role that made it.';
COMMENT ON COLUMN net.http_request_queue.runid IS 'Run of a job that made it; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.attempts IS 'Attempts that have ended.';
COMMENT ON COLUMN net.http_request_queue.max_attempts IS 'Attempts that are made at most.';
COMMENT ON COLUMN net.http_request_queue.retry IS 'Which attempts are followed by another: never, unsent, idempotent, always.';
COMMENT ON COLUMN net.http_request_queue.ready_at IS 'It is not sent before.';
COMMENT ON COLUMN net.http_request_queue.expires_at IS 'It is not sent after.';
COMMENT ON COLUMN net.http_request_queue.idempotency_key IS 'Sent as Idempotency-Key with every attempt.';
COMMENT ON COLUMN net.http_request_queue.on_response IS 'Function to be called with the response, as regprocedure prints it: a column of that type would keep pg_upgrade from working.';
COMMENT ON COLUMN net.http_request_queue.store_response IS 'What is recorded of the response: full, headers (no body), status (neither), sealed (the body encrypted).';
COMMENT ON COLUMN net.http_request_queue.last_error IS 'Why the last attempt failed.';
COMMENT ON COLUMN net.http_request_queue.host IS 'Scheme, host and port of the URL: what limits for each host go by.';
COMMENT ON COLUMN net.http_request_queue.own_key IS 'The idempotency key was given by the caller, who knows that the receiver heeds it.';
COMMENT ON COLUMN net.http_request_queue.header_secrets IS 'Secrets that are put into its headers when it is sent; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.form_secrets IS 'Secrets that are put into its form when it is sent; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.on_response_owner IS 'Role that owned on_response when the request was made.';
COMMENT ON COLUMN net.http_request_queue.replicated_ready_at IS 'Not NULL: the row came by replication, and is not sent here before cron.take_over(), which makes this its ready_at.';

--- only when installed
CREATE TABLE net._http_response (
    id              bigint PRIMARY KEY,
    status_code     int,
    content_type    text,
    headers         jsonb,
    content         text,
    timed_out       boolean,
    error_msg       text,
    created         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    content_bytes   bytea,
    truncated       boolean,
    attempts        int,
    duration_ms     double precision,
    method          text,
    url             text,
    runid           bigint,
    created_by      oid,
    callback_state  text,
    callback_error  text,
    state           text,
    idempotency_key text,
    sealed          boolean NOT NULL DEFAULT false,
    on_response     text,
    callback_attempts int NOT NULL DEFAULT 0,
    callback_at     timestamptz,
    on_response_owner oid,
    host            text COLLATE "C",
    requested_at    timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
CREATE INDEX _http_response_created_idx ON net._http_response (created);
CREATE INDEX _http_response_callback_idx ON net._http_response (created_by, callback_at, id)
    WHERE callback_state = 'waiting';
CREATE INDEX _http_response_runid_idx ON net._http_response (runid) WHERE runid IS NOT NULL;
--- also when updated
COMMENT ON TABLE net._http_response IS 'How requests ended. Rows older than net.ttl are removed.';
COMMENT ON COLUMN net._http_response.id IS 'Number of the request.';
COMMENT ON COLUMN net._http_response.status_code IS 'HTTP status; NULL: there was no response.';
COMMENT ON COLUMN net._http_response.content_type IS 'Content-Type of the response.';
COMMENT ON COLUMN net._http_response.headers IS 'Headers of the response; those that came more than once are arrays.';
COMMENT ON COLUMN net._http_response.content IS 'Body of the response, if it is text that the encoding of the database can hold: converted from the charset of its Content-Type, which is UTF-8 if it names none.';
COMMENT ON COLUMN net._http_response.timed_out IS 'The time was up.';
COMMENT ON COLUMN net._http_response.error_msg IS 'Why there was no response; NULL: there was one.';
COMMENT ON COLUMN net._http_response.created IS 'When it was recorded.';
COMMENT ON COLUMN net._http_response.content_bytes IS 'Body of the response, if it is no such text.';
COMMENT ON COLUMN net._http_response.truncated IS 'The body was longer than net.max_response_bytes; the rest is missing.';
COMMENT ON COLUMN net._http_response.attempts IS 'Attempts that were made.';
COMMENT ON COLUMN net._http_response.duration_ms IS 'Time that the last attempt took.';
COMMENT ON COLUMN net._http_response.method IS 'Method of the request.';
COMMENT ON COLUMN net._http_response.url IS 'URL of the request.';
COMMENT ON COLUMN net._http_response.runid IS 'Run of a job that made the request; NULL: none.';
COMMENT ON COLUMN net._http_response.created_by IS 'Role that made the request.';
COMMENT ON COLUMN net._http_response.host IS 'Scheme, host and port of the URL.';
COMMENT ON COLUMN net._http_response.requested_at IS 'When the request was made.';
COMMENT ON COLUMN net._http_response.callback_state IS 'State of the call of on_response: waiting, done, failed; NULL: there is none to call.';
COMMENT ON COLUMN net._http_response.callback_error IS 'Why the last call of on_response failed.';
COMMENT ON COLUMN net._http_response.state IS 'How the request ended: succeeded (a status below 400), failed, expired, cancelled.';
COMMENT ON COLUMN net._http_response.idempotency_key IS 'Idempotency-Key of the request.';
COMMENT ON COLUMN net._http_response.sealed IS 'content_bytes is the body encrypted, which on_response alone gets to see.';
COMMENT ON COLUMN net._http_response.on_response IS 'Function that is called with the response.';
COMMENT ON COLUMN net._http_response.callback_attempts IS 'Calls of on_response that have failed.';
COMMENT ON COLUMN net._http_response.callback_at IS 'on_response is not called before.';
COMMENT ON COLUMN net._http_response.on_response_owner IS 'Role that owned on_response when the request was made: what has its name now is called only if it belongs to that role, to the one that made the request, or to a superuser.';

-- Neither table is dumped: a restored database would send again what the original has sent.

-- Values are encrypted with the key in net.secret_key_file: dumped, and of use where that file is.
--- only when installed
CREATE TABLE net.secret (
    name            text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_.:/-]{1,200}$'),
    sealed          bytea NOT NULL,
    owner           regrole NOT NULL,
    created         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
--- also when updated
COMMENT ON TABLE net.secret IS 'Texts that are put into requests when they are sent, encrypted.';
COMMENT ON COLUMN net.secret.name IS 'What {{secret:name}} calls it.';
COMMENT ON COLUMN net.secret.sealed IS 'Its value, encrypted.';
COMMENT ON COLUMN net.secret.owner IS 'Role that made it: it and its members may use, replace and drop it, and grant its use. A superuser may do the latter three.';
COMMENT ON COLUMN net.secret.created IS 'When it was made.';
COMMENT ON COLUMN net.secret.updated IS 'When it was given its value.';

--- only when installed
CREATE TABLE net.secret_grant (
    name            text COLLATE "C" NOT NULL REFERENCES net.secret ON DELETE CASCADE,
    role            regrole NOT NULL,
    PRIMARY KEY (name, role)
);
--- also when updated
COMMENT ON TABLE net.secret_grant IS 'Roles that may use a secret beside its owner.';
COMMENT ON COLUMN net.secret_grant.name IS 'The secret.';
COMMENT ON COLUMN net.secret_grant.role IS 'Role that may use it, and its members.';
SELECT pg_catalog.pg_extension_config_dump('net.secret', '');
SELECT pg_catalog.pg_extension_config_dump('net.secret_grant', '');

-- ==== who sees what ==========================================================================
-- USAGE on the schema is the gate. Behind it everybody may read, and sees what he, or a role that
-- he is a member of, has made: bodies and headers are not for pg_monitor. Nobody but a superuser
-- writes the tables; the functions check and insert.

--- only when installed
ALTER TABLE net.http_request_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY request_see ON net.http_request_queue FOR SELECT
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
ALTER TABLE net._http_response ENABLE ROW LEVEL SECURITY;
CREATE POLICY response_see ON net._http_response FOR SELECT
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
GRANT SELECT ON net.http_request_queue, net._http_response TO PUBLIC;
--- also when updated
-- Whoever dumps the database reads these two, and would be refused without the right. A sealed value
-- is of no use without the key, and others see none.
ALTER TABLE net.secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY secret_see ON net.secret FOR SELECT
    USING (pg_catalog.pg_has_role(owner, 'USAGE'));
ALTER TABLE net.secret_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY secret_grant_see ON net.secret_grant FOR SELECT
    USING (EXISTS (SELECT FROM net.secret s WHERE s.name = secret_grant.name));
GRANT SELECT ON net.secret, net.secret_grant TO PUBLIC;

-- The numbers of roles in it are those of another cluster.
CREATE FUNCTION net._row_replicated() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_row_replicated';
COMMENT ON FUNCTION net._row_replicated() IS 'A request or response that comes by replication belongs to nobody here, and does not act.';
CREATE TRIGGER request_replicated BEFORE INSERT OR UPDATE ON net.http_request_queue
    FOR EACH ROW EXECUTE FUNCTION net._row_replicated();
CREATE TRIGGER response_replicated BEFORE INSERT OR UPDATE ON net._http_response
    FOR EACH ROW EXECUTE FUNCTION net._row_replicated();
SELECT cron._arm_triggers('net.http_request_queue');
SELECT cron._arm_triggers('net._http_response');

CREATE FUNCTION net._request_inserted() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_request_inserted';
COMMENT ON FUNCTION net._request_inserted() IS 'Wakes the http worker at commit, for rows that a superuser writes himself.';
CREATE TRIGGER request_inserted AFTER INSERT OR UPDATE ON net.http_request_queue
    FOR EACH STATEMENT EXECUTE FUNCTION net._request_inserted();
