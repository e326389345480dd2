-- ==== schema net: tables =====================================================================

--- only when installed
CREATE SCHEMA net;
--- also when updated
COMMENT ON SCHEMA net IS 'HTTP requests that are sent when their transaction commits, and the responses. USAGE on the schema is the right to use it.';

--- only when installed
CREATE SEQUENCE net.http_request_queue_id_seq;
--- also when updated
COMMENT ON SEQUENCE net.http_request_queue_id_seq IS 'Source of request ids.';

CREATE FUNCTION net._origin(url text) RETURNS text
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'securatlas_origin';
COMMENT ON FUNCTION net._origin(text) IS 'Scheme, host and port of a URL; "invalid" if it is not a valid http or https URL.';

-- The functions of this schema insert into this table without the executor: no trigger fires for
-- these rows and no CHECK constraint is tested, because the functions check everything before. New
-- columns go to the end.
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
COMMENT ON TABLE net.http_request_queue IS 'Requests that wait or are being sent. A row is deleted when its response is recorded.';
COMMENT ON COLUMN net.http_request_queue.id IS 'Id of the request and of its response.';
COMMENT ON COLUMN net.http_request_queue.method IS 'GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.';
COMMENT ON COLUMN net.http_request_queue.url IS 'Where it is sent to, including the query.';
COMMENT ON COLUMN net.http_request_queue.headers IS 'Its headers, a JSON object with one member for each.';
COMMENT ON COLUMN net.http_request_queue.body IS 'Its body; NULL: it has none.';
COMMENT ON COLUMN net.http_request_queue.timeout_milliseconds IS 'Time limit of each attempt in milliseconds, 1 to 3600000.';
COMMENT ON COLUMN net.http_request_queue.sealed_headers IS 'Its headers that hold credentials, encrypted; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.created IS 'When the request was made.';
COMMENT ON COLUMN net.http_request_queue.created_by IS 'Role that made it.';
COMMENT ON COLUMN net.http_request_queue.runid IS 'The run that made it; NULL: it was not made by a run.';
COMMENT ON COLUMN net.http_request_queue.attempts IS 'Number of attempts that have ended.';
COMMENT ON COLUMN net.http_request_queue.max_attempts IS 'Maximal number of attempts.';
COMMENT ON COLUMN net.http_request_queue.retry IS 'After which failures it is tried again: never, unsent, idempotent, always.';
COMMENT ON COLUMN net.http_request_queue.ready_at IS 'It is not sent before this time.';
COMMENT ON COLUMN net.http_request_queue.expires_at IS 'It is not sent after this time; NULL: it does not expire.';
COMMENT ON COLUMN net.http_request_queue.idempotency_key IS 'Sent as Idempotency-Key with every attempt.';
COMMENT ON COLUMN net.http_request_queue.on_response IS 'Function to be called with the response, as regprocedure prints it; pg_upgrade refuses columns of that type.';
COMMENT ON COLUMN net.http_request_queue.store_response IS 'What is recorded of the response: full, headers (without the body), status (without headers and body), sealed (with the body encrypted).';
COMMENT ON COLUMN net.http_request_queue.last_error IS 'Why the last attempt failed.';
COMMENT ON COLUMN net.http_request_queue.host IS 'Scheme, host and port of the URL, to which the limits for each host apply.';
COMMENT ON COLUMN net.http_request_queue.own_key IS 'True: the caller gave the idempotency key, and so vouches that the receiver honours it.';
COMMENT ON COLUMN net.http_request_queue.header_secrets IS 'Names of the secrets that are inserted into its headers when it is sent; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.form_secrets IS 'Names of the secrets that are inserted into its form when it is sent; NULL: none.';
COMMENT ON COLUMN net.http_request_queue.on_response_owner IS 'Role that owned on_response when the request was made.';
COMMENT ON COLUMN net.http_request_queue.replicated_ready_at IS 'Not NULL: the row was replicated from another server and is not sent here until cron.take_over(), which copies this to ready_at.';

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
COMMENT ON TABLE net._http_response IS 'One row for each request that has ended. Rows older than net.ttl are deleted.';
COMMENT ON COLUMN net._http_response.id IS 'Id of the request.';
COMMENT ON COLUMN net._http_response.status_code IS 'HTTP status code; NULL: there was no response.';
COMMENT ON COLUMN net._http_response.content_type IS 'Content-Type of the response.';
COMMENT ON COLUMN net._http_response.headers IS 'Headers of the response, a JSON object; headers that came more than once are arrays.';
COMMENT ON COLUMN net._http_response.content IS 'Body of the response, if it is text that the database encoding can represent. It is converted from the charset that Content-Type names, or else from UTF-8.';
COMMENT ON COLUMN net._http_response.timed_out IS 'True: the time limit was reached.';
COMMENT ON COLUMN net._http_response.error_msg IS 'Why there was no response; NULL: there was one.';
COMMENT ON COLUMN net._http_response.created IS 'When the end of the request was recorded.';
COMMENT ON COLUMN net._http_response.content_bytes IS 'Body of the response, if it is not such text, or if it is encrypted.';
COMMENT ON COLUMN net._http_response.truncated IS 'True: the body was longer than net.max_response_bytes, and the rest is missing.';
COMMENT ON COLUMN net._http_response.attempts IS 'Number of attempts that were made.';
COMMENT ON COLUMN net._http_response.duration_ms IS 'Duration of the last attempt in milliseconds.';
COMMENT ON COLUMN net._http_response.method IS 'Method of the request.';
COMMENT ON COLUMN net._http_response.url IS 'URL of the request.';
COMMENT ON COLUMN net._http_response.runid IS 'The run that made the request; NULL: it was not made by a run.';
COMMENT ON COLUMN net._http_response.created_by IS 'Role that made the request.';
COMMENT ON COLUMN net._http_response.host IS 'Scheme, host and port of the URL.';
COMMENT ON COLUMN net._http_response.requested_at IS 'When the request was made.';
COMMENT ON COLUMN net._http_response.callback_state IS 'State of the callback: waiting, done, failed; NULL: there is none.';
COMMENT ON COLUMN net._http_response.callback_error IS 'Why the last call of the callback failed.';
COMMENT ON COLUMN net._http_response.state IS 'How the request ended: succeeded (a status below 400), failed, expired, cancelled.';
COMMENT ON COLUMN net._http_response.idempotency_key IS 'Idempotency-Key of the request.';
COMMENT ON COLUMN net._http_response.sealed IS 'True: content_bytes is the encrypted body, which is decrypted for the callback only.';
COMMENT ON COLUMN net._http_response.on_response IS 'The callback: function that is called with the response.';
COMMENT ON COLUMN net._http_response.callback_attempts IS 'Number of calls of the callback that have failed.';
COMMENT ON COLUMN net._http_response.callback_at IS 'The callback is not called before this time.';
COMMENT ON COLUMN net._http_response.on_response_owner IS 'Role that owned on_response when the request was made. The function that has its name now is called only if it belongs to that role, to the role that made the request, or to a superuser.';

-- Neither table is configuration that pg_dump dumps: a restored database would send again what the
-- original has sent.

-- Values are encrypted with the key in net.secret_key_file. They are dumped, and can be decrypted
-- wherever a server has that file.
--- only when installed
CREATE TABLE net.secret (
    name            text COLLATE "C" PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_.:/-]{1,200}$'),
    sealed          bytea NOT NULL,
    owner           regrole NOT NULL,
    created         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
--- also when updated
COMMENT ON TABLE net.secret IS 'Secrets, encrypted: texts that are inserted into requests when they are sent.';
COMMENT ON COLUMN net.secret.name IS 'Name of the secret, as {{secret:name}} refers to it.';
COMMENT ON COLUMN net.secret.sealed IS 'Its value, encrypted.';
COMMENT ON COLUMN net.secret.owner IS 'Role that made it. The role and its members may use, replace and drop it, and grant its use to others. Superusers may do all of that, but not use it.';
COMMENT ON COLUMN net.secret.created IS 'When the secret was made.';
COMMENT ON COLUMN net.secret.updated IS 'When its value was last set.';

--- only when installed
CREATE TABLE net.secret_grant (
    name            text COLLATE "C" NOT NULL REFERENCES net.secret ON DELETE CASCADE,
    role            regrole NOT NULL,
    PRIMARY KEY (name, role)
);
--- also when updated
COMMENT ON TABLE net.secret_grant IS 'Roles other than the owner that may use a secret.';
COMMENT ON COLUMN net.secret_grant.name IS 'Name of the secret.';
COMMENT ON COLUMN net.secret_grant.role IS 'Role that may use it; its members may too.';
SELECT pg_catalog.pg_extension_config_dump('net.secret', '');
SELECT pg_catalog.pg_extension_config_dump('net.secret_grant', '');

-- ==== who may see what =======================================================================
-- USAGE on the schema is required for everything. With it a role sees the rows that it, or a role
-- that it is a member of, has made, and may delete them; pg_monitor does not see others' rows,
-- because they hold bodies and headers. Only superusers may write the tables in other ways; for
-- everybody else the functions check and insert.

--- only when installed
ALTER TABLE net.http_request_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY request_see ON net.http_request_queue FOR SELECT
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
ALTER TABLE net._http_response ENABLE ROW LEVEL SECURITY;
CREATE POLICY response_see ON net._http_response FOR SELECT
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
GRANT SELECT ON net.http_request_queue, net._http_response TO PUBLIC;
--- also when updated
CREATE POLICY request_delete ON net.http_request_queue FOR DELETE
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
CREATE POLICY response_delete ON net._http_response FOR DELETE
    USING (pg_catalog.pg_has_role(created_by, 'USAGE'));
GRANT DELETE, TRUNCATE ON net.http_request_queue, net._http_response TO PUBLIC;
-- pg_dump reads these two tables and needs the privilege when a role that is no superuser runs it.
-- Row security hides others' rows, and a sealed value is useless without the key.
ALTER TABLE net.secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY secret_see ON net.secret FOR SELECT
    USING (pg_catalog.pg_has_role(owner, 'USAGE'));
ALTER TABLE net.secret_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY secret_grant_see ON net.secret_grant FOR SELECT
    USING (EXISTS (SELECT FROM net.secret s WHERE s.name = secret_grant.name));
GRANT SELECT ON net.secret, net.secret_grant TO PUBLIC;

-- A replicated row holds role oids of another cluster, which must not be taken for roles here.
CREATE FUNCTION net._row_replicated() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_row_replicated';
COMMENT ON FUNCTION net._row_replicated() IS 'Takes the owner from a request or response that is replicated from another server, and keeps it from being sent or from calling its callback.';
CREATE TRIGGER request_replicated BEFORE INSERT OR UPDATE ON net.http_request_queue
    FOR EACH ROW EXECUTE FUNCTION net._row_replicated();
CREATE TRIGGER response_replicated BEFORE INSERT OR UPDATE ON net._http_response
    FOR EACH ROW EXECUTE FUNCTION net._row_replicated();
-- They fire for every writer, also for replication and restores. See cron._arm_triggers().
CREATE FUNCTION net._arm_triggers(of_table regclass) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name name;
BEGIN
    FOR name IN
        SELECT t.tgname FROM pg_trigger t
         WHERE t.tgrelid = of_table AND t.tgenabled IN ('O', 'R')
           AND t.tgname IN ('request_replicated', 'response_replicated')
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', of_table, name);
    END LOOP;
END $$;
COMMENT ON FUNCTION net._arm_triggers(regclass) IS 'Makes the enabled triggers of a table of this schema fire for every writer (ENABLE ALWAYS).';
REVOKE ALL ON FUNCTION net._arm_triggers(regclass) FROM PUBLIC;
SELECT net._arm_triggers('net.http_request_queue');
SELECT net._arm_triggers('net._http_response');

CREATE FUNCTION net._requests_removed() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_requests_removed';
COMMENT ON FUNCTION net._requests_removed() IS 'Makes the http worker drop, at commit, requests that are not in the queue any more.';
CREATE TRIGGER requests_removed AFTER DELETE OR TRUNCATE ON net.http_request_queue
    FOR EACH STATEMENT EXECUTE FUNCTION net._requests_removed();

CREATE FUNCTION net._request_inserted() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_request_inserted';
COMMENT ON FUNCTION net._request_inserted() IS 'Wakes the http worker at commit, for rows that are written without the functions of this schema.';
CREATE TRIGGER request_inserted AFTER INSERT OR UPDATE ON net.http_request_queue
    FOR EACH STATEMENT EXECUTE FUNCTION net._request_inserted();
