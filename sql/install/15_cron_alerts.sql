-- ==== schema cron: alerts ====================================================================
-- Whoever records an outcome inserts what is to be told of it in the same transaction, one row for
-- each alert that wants it. A job worker of the alert's role tells it, and deletes the row in the
-- transaction that tells it.

CREATE SEQUENCE cron.alertid_seq;
COMMENT ON SEQUENCE cron.alertid_seq IS 'Source of alertid.';
CREATE SEQUENCE cron.alert_event_id_seq;
COMMENT ON SEQUENCE cron.alert_event_id_seq IS 'Source of ids of events.';

CREATE TABLE cron.alert (
    alertid         bigint PRIMARY KEY DEFAULT pg_catalog.nextval('cron.alertid_seq'),
    name            text NOT NULL,
    username        text NOT NULL DEFAULT CURRENT_USER,
    roleid          oid,
    events          text[] NOT NULL,
    jobs            text NOT NULL DEFAULT '%'
                    CHECK ((pg_catalog.length(jobs) - pg_catalog.length(pg_catalog.rtrim(jobs, '\'))) % 2 = 0),
    channel         text,
    function        text,
    function_owner  oid,
    url             text,
    format          text NOT NULL DEFAULT 'cloudevents' CHECK (format IN ('cloudevents', 'text')),
    headers         jsonb NOT NULL DEFAULT '{}',
    remind_after    interval NOT NULL DEFAULT '5 minutes' CHECK (remind_after >= '0'),
    late_after      interval NOT NULL DEFAULT '1 minute' CHECK (late_after >= '0'),
    active          boolean NOT NULL DEFAULT true,
    told            bigint NOT NULL DEFAULT 0,
    last_told_at    timestamptz,
    last_error      text,
    last_error_at   timestamptz,
    jobid           bigint,
    UNIQUE (name, roleid),
    CHECK (channel IS NOT NULL OR function IS NOT NULL OR url IS NOT NULL)
);
COMMENT ON TABLE cron.alert IS 'Who is told what: see cron.add_alert().';
COMMENT ON COLUMN cron.alert.alertid IS 'Id of the alert.';
COMMENT ON COLUMN cron.alert.name IS 'Its name, unique for its role.';
COMMENT ON COLUMN cron.alert.username IS 'Name of the role that it belongs to; updated when the role is renamed.';
COMMENT ON COLUMN cron.alert.roleid IS 'Oid of that role, looked up by name when the row is written; NULL: there is none, and nothing is told.';
COMMENT ON COLUMN cron.alert.events IS 'What it tells of.';
COMMENT ON COLUMN cron.alert.jobs IS 'Pattern (LIKE) of the names of the jobs that it tells of.';
COMMENT ON COLUMN cron.alert.channel IS 'NOTIFY channel; NULL: none.';
COMMENT ON COLUMN cron.alert.function IS 'Function that is called with the event, as regprocedure prints it; NULL: none.';
COMMENT ON COLUMN cron.alert.function_owner IS 'Role that owned the function when the alert was made. The function that has its name now is called only if it belongs to that role, to the role of the alert, or to a superuser.';
COMMENT ON COLUMN cron.alert.url IS 'URL that the event is posted to; NULL: none.';
COMMENT ON COLUMN cron.alert.format IS 'What is posted: cloudevents, or text ({"text": ...}) for chat webhooks.';
COMMENT ON COLUMN cron.alert.headers IS 'Headers of the request.';
COMMENT ON COLUMN cron.alert.remind_after IS 'What goes on is told again after this time, and then after twice as long each time, up to a day; 0: each event is told.';
COMMENT ON COLUMN cron.alert.late_after IS 'A run is late if it starts longer than this after it was due.';
COMMENT ON COLUMN cron.alert.active IS 'False: nothing is told.';
COMMENT ON COLUMN cron.alert.jobid IS 'The only job that it tells of, made by cron.configure_job(), and deleted with the job; NULL: it tells of those that jobs means.';
COMMENT ON COLUMN cron.alert.told IS 'How often it has told something.';
COMMENT ON COLUMN cron.alert.last_told_at IS 'When it last did.';
COMMENT ON COLUMN cron.alert.last_error IS 'Why it could last not tell something.';
COMMENT ON COLUMN cron.alert.last_error_at IS 'When that was.';

-- jobid 0 and host '' stand for none.
CREATE TABLE cron.alert_event (
    id              bigint PRIMARY KEY DEFAULT pg_catalog.nextval('cron.alert_event_id_seq'),
    alertid         bigint NOT NULL,
    event           text NOT NULL,
    jobid           bigint NOT NULL DEFAULT 0,
    host            text NOT NULL DEFAULT '' COLLATE "C",
    subject         text NOT NULL,
    count           bigint NOT NULL DEFAULT 1,
    at              timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    runid           bigint,
    request_id      bigint,
    scheduled_at    timestamptz,
    sqlstate        text,
    detail          text,
    attempts        int NOT NULL DEFAULT 0,
    due_at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (vacuum_truncate = false);
CREATE INDEX alert_event_subject_idx ON cron.alert_event (alertid, jobid, host, id);
CREATE INDEX alert_event_jobid_idx ON cron.alert_event (jobid);
COMMENT ON TABLE cron.alert_event IS 'Events that alerts have to tell. A row is deleted by the transaction that tells it.';
COMMENT ON COLUMN cron.alert_event.id IS 'Id of the event.';
COMMENT ON COLUMN cron.alert_event.alertid IS 'The alert that tells it.';
COMMENT ON COLUMN cron.alert_event.event IS 'What happened: failed, recovered, ...';
COMMENT ON COLUMN cron.alert_event.jobid IS 'Id of the job; 0: it is not about a job.';
COMMENT ON COLUMN cron.alert_event.host IS 'Scheme, host and port of a request; empty: it is not about requests.';
COMMENT ON COLUMN cron.alert_event.subject IS 'What the message calls it: the name of the job, the host, or the database.';
COMMENT ON COLUMN cron.alert_event.count IS 'How often it happened.';
COMMENT ON COLUMN cron.alert_event.at IS 'When it happened.';
COMMENT ON COLUMN cron.alert_event.runid IS 'Id of the run.';
COMMENT ON COLUMN cron.alert_event.request_id IS 'Id of the request.';
COMMENT ON COLUMN cron.alert_event.scheduled_at IS 'When the run was due.';
COMMENT ON COLUMN cron.alert_event.sqlstate IS 'SQLSTATE that the run ended with.';
COMMENT ON COLUMN cron.alert_event.detail IS 'Its error, or the reason.';
COMMENT ON COLUMN cron.alert_event.attempts IS 'How often telling it was tried.';
COMMENT ON COLUMN cron.alert_event.due_at IS 'It is not told before this time.';

CREATE TABLE cron.alert_incident (
    alertid         bigint NOT NULL,
    jobid           bigint NOT NULL,
    host            text NOT NULL COLLATE "C",
    event           text NOT NULL,
    since           timestamptz NOT NULL,
    count           bigint NOT NULL,
    told            int NOT NULL,
    told_at         timestamptz,
    PRIMARY KEY (jobid, host, alertid, event)
) WITH (vacuum_truncate = false);
COMMENT ON TABLE cron.alert_incident IS 'What an alert has told and has not ended: what happens again is counted here.';
COMMENT ON COLUMN cron.alert_incident.alertid IS 'The alert.';
COMMENT ON COLUMN cron.alert_incident.jobid IS 'Id of the job; 0: it is not about a job.';
COMMENT ON COLUMN cron.alert_incident.host IS 'Scheme, host and port of requests; empty: it is not about requests.';
COMMENT ON COLUMN cron.alert_incident.event IS 'What happens: failed, missed, ...';
COMMENT ON COLUMN cron.alert_incident.since IS 'When it happened first.';
COMMENT ON COLUMN cron.alert_incident.count IS 'How often it has happened since.';
COMMENT ON COLUMN cron.alert_incident.told IS 'How often it was told.';
COMMENT ON COLUMN cron.alert_incident.told_at IS 'When it was last told.';

-- Events and incidents are not dumped: a copy would tell again what the original has told.
SELECT pg_catalog.pg_extension_config_dump('cron.alert', '');
SELECT pg_catalog.pg_extension_config_dump('cron.alertid_seq', '');

-- ==== who may see and change what ============================================================

ALTER TABLE cron.alert ENABLE ROW LEVEL SECURITY;
CREATE POLICY alert_see ON cron.alert FOR SELECT USING (cron._may_see(roleid));
ALTER TABLE cron.alert_event ENABLE ROW LEVEL SECURITY;
CREATE POLICY alert_event_see ON cron.alert_event FOR SELECT
    USING (EXISTS (SELECT FROM cron.alert a WHERE a.alertid = alert_event.alertid));
ALTER TABLE cron.alert_incident ENABLE ROW LEVEL SECURITY;
CREATE POLICY alert_incident_see ON cron.alert_incident FOR SELECT
    USING (EXISTS (SELECT FROM cron.alert a WHERE a.alertid = alert_incident.alertid));
GRANT SELECT ON cron.alert, cron.alert_event, cron.alert_incident TO PUBLIC;
-- For pg_dump, which reads it.
GRANT SELECT ON SEQUENCE cron.alertid_seq TO PUBLIC;

-- What an alert may tell of: what its role sees.
CREATE FUNCTION cron._alert_sees(alert_role oid, job_role oid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN pg_catalog.pg_has_role(alert_role, 'pg_monitor', 'USAGE')
        OR pg_catalog.pg_has_role(alert_role, 'pg_read_all_data', 'USAGE')
        OR COALESCE(pg_catalog.pg_has_role(alert_role, job_role, 'USAGE'), false);
COMMENT ON FUNCTION cron._alert_sees(oid, oid) IS 'Whether an alert of one role may tell of a job of another.';

-- ==== what is replicated is not told here ====================================================

CREATE FUNCTION cron._alert_check() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_alert_check';
COMMENT ON FUNCTION cron._alert_check() IS 'Looks up the role of an alert. Drops events and incidents that are replicated from another server, and takes the role from replicated alerts, so that they tell nothing here.';
CREATE TRIGGER alert_check BEFORE INSERT OR UPDATE ON cron.alert
    FOR EACH ROW EXECUTE FUNCTION cron._alert_check();
CREATE TRIGGER alert_event_check BEFORE INSERT ON cron.alert_event
    FOR EACH ROW EXECUTE FUNCTION cron._alert_check();
CREATE TRIGGER alert_incident_check BEFORE INSERT ON cron.alert_incident
    FOR EACH ROW EXECUTE FUNCTION cron._alert_check();
SELECT cron._arm_triggers('cron.alert');
SELECT cron._arm_triggers('cron.alert_event');
SELECT cron._arm_triggers('cron.alert_incident');

-- ==== functions and view =====================================================================

CREATE FUNCTION cron.add_alert(
        alert_name text,
        events text[],
        jobs text DEFAULT '%',
        channel text DEFAULT NULL,
        function regprocedure DEFAULT NULL,
        url text DEFAULT NULL,
        format text DEFAULT 'cloudevents',
        headers jsonb DEFAULT '{}',
        remind_after interval DEFAULT '5 minutes',
        late_after interval DEFAULT '1 minute',
        active boolean DEFAULT true)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_add_alert';
COMMENT ON FUNCTION cron.add_alert(text, text[], text, text, regprocedure, text, text, jsonb, interval, interval, boolean) IS 'Creates an alert, or replaces the caller''s alert of this name: it tells a NOTIFY channel, a function or a URL what happens to jobs and requests; returns its id.
alert_name: 1 to 1,000 bytes; unique among the alerts of a role.
events: what is told: failed, missed, late, overran, paused, recovered, succeeded, request_failed, scheduler_restarted.
jobs: pattern (LIKE) of the names of the jobs; a job without a name has its id as name.
channel: NOTIFY channel; the payload is a JSON object.
function: called with a JSON object, in a session of the caller''s role.
url: where the event is posted to.
format: of the request: cloudevents (CloudEvents 1.0), or text ({"text": ...}) for chats.
headers: of the request; credentials must be references to secrets, and one in webhook-signature signs the request.
remind_after: what goes on is told again after this time, and then after twice as long each time, up to a day; 0: each event is told.
late_after: a run is late if it starts longer than this after it was due.
active: false: nothing is told.
Error 22004: an argument other than channel, function and url is NULL.
Error 22025: jobs ends with an escape character.
Error 22023: an argument is not valid, or there is nobody to tell.
Error 42883: the function does not exist.
Error 42P13: the function cannot be called with a jsonb.
Error 42P16: the function is temporary.
Error 42501: the role may not execute the function, use a secret, or send to the host.
Error 54000: the role has 1,000 alerts.
Error 28000: the role may not log in.';
CREATE FUNCTION cron.drop_alert(alert_name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'securatlas_drop_alert';
COMMENT ON FUNCTION cron.drop_alert(text) IS 'Deletes the caller''s alert of this name, and what it has not told yet.
alert_name: its name.
Error 22004: alert_name is NULL.
Error 42704: the caller has no alert of this name.';

CREATE VIEW cron.alerts WITH (security_invoker = true) AS
SELECT a.alertid, a.name, a.username, a.events, a.jobs, a.channel, a.function, a.url, a.format,
       a.remind_after, a.late_after, a.active,
       (SELECT pg_catalog.count(*) FROM cron.alert_incident i WHERE i.alertid = a.alertid) AS incidents,
       (SELECT pg_catalog.count(*) FROM cron.alert_event e WHERE e.alertid = a.alertid) AS waiting,
       a.told, a.last_told_at, a.last_error, a.last_error_at,
       CASE WHEN NOT a.active THEN 'inactive'
            WHEN a.roleid IS NULL OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = a.roleid)
            THEN 'its role does not exist here' END AS held,
       a.jobid
  FROM cron.alert a;
COMMENT ON VIEW cron.alerts IS 'The alerts that the caller may see, and what they have told.';
COMMENT ON COLUMN cron.alerts.alertid IS 'Id of the alert.';
COMMENT ON COLUMN cron.alerts.name IS 'Its name.';
COMMENT ON COLUMN cron.alerts.username IS 'The role that it belongs to.';
COMMENT ON COLUMN cron.alerts.events IS 'What it tells of.';
COMMENT ON COLUMN cron.alerts.jobs IS 'Pattern of the names of the jobs that it tells of.';
COMMENT ON COLUMN cron.alerts.channel IS 'NOTIFY channel.';
COMMENT ON COLUMN cron.alerts.function IS 'Function that is called.';
COMMENT ON COLUMN cron.alerts.url IS 'URL that is posted to.';
COMMENT ON COLUMN cron.alerts.format IS 'What is posted.';
COMMENT ON COLUMN cron.alerts.remind_after IS 'When it is told again that something goes on.';
COMMENT ON COLUMN cron.alerts.late_after IS 'When a run is late.';
COMMENT ON COLUMN cron.alerts.active IS 'False: nothing is told.';
COMMENT ON COLUMN cron.alerts.incidents IS 'Number of things that have been told and have not ended.';
COMMENT ON COLUMN cron.alerts.waiting IS 'Number of events that have not been told or counted yet.';
COMMENT ON COLUMN cron.alerts.told IS 'How often it has told something.';
COMMENT ON COLUMN cron.alerts.last_told_at IS 'When it last did.';
COMMENT ON COLUMN cron.alerts.last_error IS 'Why it could last not tell something.';
COMMENT ON COLUMN cron.alerts.last_error_at IS 'When that was.';
COMMENT ON COLUMN cron.alerts.held IS 'Why it tells nothing; NULL: it does.';
COMMENT ON COLUMN cron.alerts.jobid IS 'The only job that it tells of: it is on_failure or on_success of cron.configure_job(); NULL: it tells of those that jobs means.';
GRANT SELECT ON cron.alerts TO PUBLIC;
