# securatlas_sched_migrate: from the original pg_cron and pg_net to this extension and back. pg_cron is Debian's;
# of pg_net there are the tables, as its version 0.20 has them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my ($share) = run_command([ 'pg_config', '--sharedir' ]);
my $control = "$share/extension/pg_cron.control";
plan skip_all => 'the original pg_cron is not installed' if !-e $control || names_are_installed();

my $stub = HttpStub->new;
my $node = new_node('moved', shared_preload_libraries => "'pg_cron'", max_worker_processes => 40,
	'cron.database_name' => "'postgres'", 'cron.use_background_workers' => 'on');
$node->start;
sub migrate
{
	my ($database, @options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'securatlas_sched_migrate', @options, '-d', $database, '-h', $node->host, '-p', $node->port ], '<', \undef, '>', \$out, '2>', \$err);
	return ($out, $err);
}
sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql) }
sub preload
{
	my ($libraries) = @_;
	sql("ALTER SYSTEM SET shared_preload_libraries = $libraries");
	$node->restart;
	return;
}

# ---- as they are before ------------------------------------------------------------------------
sql(q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE watcher; CREATE ROLE gone;
	CREATE DATABASE elsewhere;});
sql(q{
	CREATE EXTENSION pg_cron;
	GRANT USAGE ON SCHEMA cron TO app, other, gone;
	GRANT USAGE ON SCHEMA cron TO watcher WITH GRANT OPTION;
	GRANT EXECUTE ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) TO app;
	REVOKE DELETE ON cron.job_run_details FROM PUBLIC;
	ALTER DEFAULT PRIVILEGES IN SCHEMA cron GRANT SELECT ON TABLES TO watcher;
	CREATE TABLE ran (jobid int, at timestamptz DEFAULT clock_timestamp());
	GRANT INSERT ON ran TO PUBLIC;});
sub as { my ($role, $sql) = @_; return sql("SET ROLE $role; $sql") }
my %job;
$job{nightly} = as('app', q{SELECT cron.schedule('nightly', '0 3 * * *', 'INSERT INTO ran VALUES (1)')});
$job{same} = as('other', q{SELECT cron.schedule('nightly', '0 4 * * * # of another role', 'SELECT $x$ '' "$x$')});
$job{six} = as('app', q{SELECT cron.schedule('six fields', '0 0 12 * * *', 'SELECT 4')});
$job{around} = as('app', q{SELECT cron.schedule('around', '0 22-2,5 * * *', 'SELECT 5')});
$job{never} = as('app', q{SELECT cron.schedule('never', '0 12 * * fri-mon', 'SELECT 6')});
$job{paused} = as('app', q{SELECT cron.schedule('paused', '15 10 * * 1-5', 'SELECT 7')});
sql("SELECT cron.alter_job($job{paused}, active => false)");
$job{far} = sql(q{SELECT cron.schedule_in_database('far', '30 6 1 * *', 'SELECT 8', 'elsewhere', 'app')});
$job{gone} = as('gone', q{SELECT cron.schedule('of nobody', '@daily', 'SELECT 9')});
$job{boot} = as('app', q{SELECT cron.schedule('boot', '@reboot', 'INSERT INTO ran VALUES (10)')});
sql("SELECT cron.schedule('last', '0 0 1 1 *', 'SELECT 1'); SELECT cron.unschedule('last')");
sql('REVOKE USAGE ON SCHEMA cron FROM gone; DROP ROLE gone');
# pg_net, as an extension, though nothing of it was installed.
sql(q{
	CREATE SCHEMA net;
	CREATE DOMAIN net.http_method AS text CHECK (VALUE IN ('GET', 'POST', 'DELETE'));
	CREATE UNLOGGED TABLE net.http_request_queue (id bigserial, method net.http_method NOT NULL, url text NOT NULL,
		headers jsonb, body bytea, timeout_milliseconds int NOT NULL);
	CREATE UNLOGGED TABLE net._http_response (id bigint, status_code int, content_type text, headers jsonb, content text,
		timed_out bool, error_msg text, created timestamptz NOT NULL DEFAULT now());
	GRANT USAGE ON SCHEMA net TO PUBLIC;
	INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
	VALUES (99999, 'pg_net', 10, 'public'::regnamespace, false, '0.20.0');
	ALTER EXTENSION pg_net ADD SCHEMA net;
	ALTER EXTENSION pg_net ADD DOMAIN net.http_method;
	ALTER EXTENSION pg_net ADD TABLE net.http_request_queue;
	ALTER EXTENSION pg_net ADD TABLE net._http_response;
	ALTER EXTENSION pg_net ADD SEQUENCE net.http_request_queue_id_seq;});
sql(qq{
	INSERT INTO net.http_request_queue (method, url, headers, body, timeout_milliseconds) VALUES
		('GET', '@{[ $stub->url('/echo/waiting') ]}', NULL, NULL, 1000),
		('POST', '@{[ $stub->url('/echo/posted') ]}', '{"X-Kept": "yes"}', '{"a": 1}', 0);
	SELECT setval('net.http_request_queue_id_seq', 77);
	INSERT INTO net._http_response VALUES (50, 200, 'text/plain', '{}', 'an answer', false, NULL, now()),
		(51, NULL, NULL, NULL, NULL, true, 'Timeout', now()), (50, 500, 'text/plain', '{}', 'older', false, NULL, now() - interval '1 hour')});

# ---- without this extension in the server ----------------------------------------------------
my ($out, $err) = migrate('postgres');
like($err, qr/does not preload this extension.*It preloads: pg_cron.*shared_preload_libraries = 'securatlas_sched'/s,
	'a server that preloads pg_cron: what to do');
my $boot_job = sql("SELECT count(*) FROM ran WHERE jobid = 10");
preload('securatlas_sched');

# What pg_cron has recorded, now that it runs nothing. The job of every five minutes
# has not run for a day; that of every minute has just.
$job{unnamed} = sql(q{
	SET session_replication_role = replica;
	INSERT INTO cron.job (schedule, command, nodeport, username) VALUES ('*/5 * * * *', 'INSERT INTO ran VALUES (3)', 5432, 'app') RETURNING jobid});
$job{just} = sql(q{
	SET session_replication_role = replica;
	INSERT INTO cron.job (schedule, command, nodeport, username) VALUES ('* * * * *', 'INSERT INTO ran VALUES (12)', 5432, 'app') RETURNING jobid});
sql(qq{
	INSERT INTO cron.job_run_details
	SELECT $job{unnamed}, 100 + n, 4711, 'postgres', 'app', 'INSERT INTO ran VALUES (3)', s, s || ' it is',
	       now() - n * interval '1 day', now() - n * interval '1 day'
	  FROM unnest('{succeeded,failed}'::text[]) WITH ORDINALITY AS u (s, n);
	INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, start_time)
	SELECT $job{nightly}, 110 + n, 'postgres', 'app', 'INSERT INTO ran VALUES (1)', s, now()
	  FROM unnest('{starting,running,sending,connecting}'::text[]) WITH ORDINALITY AS u (s, n);
	INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time)
	VALUES ($job{just}, 120, 'postgres', 'app', 'INSERT INTO ran VALUES (12)', 'succeeded', now(), now());
	SELECT setval('cron.runid_seq', 4999)});

my ($rc, $ignored, $said) = $node->psql('postgres', 'CREATE EXTENSION securatlas_sched');
like($said, qr/schema "cron" already exists.*securatlas_sched_migrate/s, 'CREATE EXTENSION beside the original says what to do');
($out, $err) = migrate('template1');
like($err, qr/nothing to move/, 'a database without the originals');

# ---- how far it is ----------------------------------------------------------------------------

# Other databases show it: what this one has of the extension is not committed yet. The move stops at a lock.
sql('CREATE DATABASE shown');
install($node, 'shown');
sql(q{
	CREATE SEQUENCE moved;
	CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('public.moved') = 3 THEN PERFORM pg_advisory_lock(1), pg_advisory_unlock(1); END IF;
		RETURN NEW;
	END $$;
	CREATE FUNCTION add_stop() RETURNS event_trigger LANGUAGE plpgsql AS $$
	BEGIN
		CREATE TRIGGER stop BEFORE INSERT ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION public.stop();
	END $$;
	CREATE EVENT TRIGGER add_stop ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION add_stop()});
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
my ($said_then, $failed_then) = ('', '');
my $move = IPC::Run::start([ 'securatlas_sched_migrate', '-d', 'postgres', '-h', $node->host, '-p', $node->port ],
	'<', \undef, '>', \$said_then, '2>', \$failed_then);
wait_for($node, 'SELECT work, phase, done, total, datname, pid IS NOT NULL FROM cron_stat.progress', 'migration|history|3|7|postgres|t',
	'the migration shows how many rows of all it has moved', 'shown');
$gate->query_safe('SELECT pg_advisory_unlock(1)');
$move->finish;
like($said_then, qr/Nothing was changed/, 'it ends');
is(sql('SELECT count(*) FROM cron_stat.progress', 'shown'), '0', 'and is not shown any more');
$gate->quit;
sql('DROP EVENT TRIGGER add_stop; DROP FUNCTION add_stop, stop; DROP SEQUENCE moved; DROP DATABASE shown');

# ---- what will happen -------------------------------------------------------------------------
my $before = sql('SELECT j::text FROM cron.job j ORDER BY jobid');
($out, $err) = migrate('postgres');
is($err, '', 'a dry run has no errors');
like($out, qr/^Jobs: 11, 8 of them active, and 7 rows of history\. The next job is number 13 or later, the next run 5000\.$/m, 'it counts');
like($out, qr/job $job{six} \(six fields\), "0 0 12 \* \* \*"\n +here: +cannot be read: .*\n +pg_cron: as 0 0 12 \* \*: \d{4}-\d\d-12 00:00:00, /,
	'a schedule that cannot be read, and what pg_cron does');
like($out, qr/mean something else now.*job $job{around} \(around\), "0 22-2,5 \* \* \*"\n +here: .*\n +pg_cron: as 0 5 \* \* \*: \S+ 05:00:00, \S+ 05:00:00, \S+ 05:00:00$/ms,
	'one that means something else, with three times of both');
like($out, qr/job $job{never} \(never\).*\n +here: +\d{4}.*12:00:00\n +pg_cron: never$/m, 'one that pg_cron never runs');
unlike($out, qr/^  job $job{same} .*\n +here/m, 'a comment is no difference');
like($out, qr/job $job{far} \(far\) stays here, for database "elsewhere"/, 'jobs for other databases');
like($out, qr/^Requests that wait: 2\. Responses: 2\.$/m, 'requests');
like($out, qr/GRANT USAGE ON SCHEMA cron TO watcher WITH GRANT OPTION/, 'grants');
like($out, qr/Nothing was changed/, 'nothing was changed');
is(sql('SELECT j::text FROM cron.job j ORDER BY jobid'), $before, 'and so it is');

# ---- it happens ---------------------------------------------------------------------------------
($out, $err) = migrate('postgres', '--apply', '--per-database');
is($err, '', 'moved without an error');
like($out, qr/^Done\.$/m, 'done');
scheduler_pid($node);
is(sql(q{SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'}), 'securatlas_sched', 'the originals are gone');
is(sql('SELECT jobid, jobname, schedule, command, database, username FROM cron.job ORDER BY jobid'),
	join("\n", map { join '|', @$_ }
		[ $job{nightly}, 'nightly', '0 3 * * *', 'INSERT INTO ran VALUES (1)', 'postgres', 'app' ],
		[ $job{same}, 'nightly', '0 4 * * * # of another role', q{SELECT $x$ ' "$x$}, 'postgres', 'other' ],
		[ $job{six}, 'six fields', '0 0 12 * * *', 'SELECT 4', 'postgres', 'app' ],
		[ $job{around}, 'around', '0 22-2,5 * * *', 'SELECT 5', 'postgres', 'app' ],
		[ $job{never}, 'never', '0 12 * * fri-mon', 'SELECT 6', 'postgres', 'app' ],
		[ $job{paused}, 'paused', '15 10 * * 1-5', 'SELECT 7', 'postgres', 'app' ],
		[ $job{gone}, 'of nobody', '@daily', 'SELECT 9', 'postgres', 'gone' ],
		[ $job{boot}, 'boot', '@reboot', 'INSERT INTO ran VALUES (10)', 'postgres', 'app' ],
		[ $job{unnamed}, '', '*/5 * * * *', 'INSERT INTO ran VALUES (3)', 'postgres', 'app' ],
		[ $job{just}, '', '* * * * *', 'INSERT INTO ran VALUES (12)', 'postgres', 'app' ]),
	'jobs with ids, names, owners and databases');
is(sql('SELECT string_agg(jobid::text, \',\' ORDER BY jobid) FROM cron.job WHERE NOT active'),
	join(',', sort { $a <=> $b } @job{qw(six paused gone)}), 'paused are those that were, and those that cannot be read');
like(sql("SELECT note FROM cron.job WHERE jobid = $job{six}"), qr/^paused: invalid schedule.*pg_cron ignores it/, 'with a note');
is(sql(q{SELECT string_agg(jobid || ' ' || database || ' ' || active || ' ' || username, ',') FROM cron.job}, 'elsewhere'),
	"$job{far} elsewhere true app", 'the job for another database is there');
is(sql('SELECT runid, status, return_message, transactional FROM cron.job_run_details WHERE runid < 200 ORDER BY runid'), join("\n",
	'101|succeeded|succeeded it is|f', '102|failed|failed it is|f', (map { "$_|failed|server restarted|f" } 111 .. 114), '120|succeeded||f'), 'the history');

# Nothing twice, nothing lost.
wait_for($node, "SELECT count(*) FROM ran WHERE jobid = 10", $boot_job + 1, 'the start of the server was due meanwhile');
is(sql("SELECT planned_from = (SELECT max(start_time) FROM cron.job_run_details WHERE jobid = $job{unnamed} AND runid < 200) FROM cron.job WHERE jobid = $job{unnamed}"),
	't', 'a job is planned from its last start on');
is(sql("SELECT planned_from < pg_postmaster_start_time() AND planned_from > pg_postmaster_start_time() - interval '1 s' FROM cron.job WHERE jobid = $job{same}"),
	't', 'one without from the start of the server on, in which no pg_cron has run');
wait_for($node, "SELECT count(*) > 0 FROM cron.job_run_details WHERE jobid = $job{unnamed} AND trigger = 'catchup' OR reason LIKE '%missed%' OR status = 'skipped'", 't',
	'what a job has missed is up to its rule');
is(sql("SELECT count(*) FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE d.runid > 200 AND d.trigger <> 'manual' AND scheduled_at <= j.planned_from"),
	'0', 'what has run does not run again');

is(as('app', "SELECT cron.alter_job($job{around}, schedule => '0 22-2 * * *')"), '', 'privileges came along');
like(($node->psql('postgres', 'SET ROLE app; DELETE FROM cron.job_run_details'))[2], qr/permission denied/, 'a privilege that was revoked before the move is not there after it');
is(sql(q{SELECT has_schema_privilege('watcher', 'cron', 'USAGE WITH GRANT OPTION'), has_schema_privilege('app', 'net', 'USAGE'),
	has_function_privilege('other', 'cron.alter_job(bigint, text, text, text, text, boolean)', 'EXECUTE')}), 't|t|f', 'of schemas too, and no others');
is(sql(q{SELECT defaclacl::text ~ 'watcher=r' FROM pg_default_acl}), 't', 'default privileges');
is(as('app', "SELECT cron.schedule('nightly', '0 3 * * *', 'SELECT 1')"), $job{nightly}, 'the name is the same job\'s');
cmp_ok(as('app', "SELECT cron.schedule('new', '0 0 1 1 *', 'SELECT 1')"), '>', 12, 'numbers go on');
cmp_ok(as('app', "SELECT cron.run_job('new')"), '>', 4999, 'of runs too');

wait_for($node, 'SELECT count(*) FROM net._http_response WHERE id < 50 AND status_code = 200', '2', 'requests that waited are sent');
is(($stub->requests('/echo/posted'))[0]{headers}{'x-kept'}, 'yes', 'with their headers');
is(sql('SELECT id, status_code, state, content FROM net._http_response WHERE id >= 50 ORDER BY id'), "50|200|succeeded|an answer\n51||failed|", 'responses are kept');
cmp_ok(sql("SELECT net.http_get('@{[ $stub->url('/echo/next') ]}')"), '>', 77, 'numbers of requests go on');

# ---- and back ------------------------------------------------------------------------------------
$job{every} = as('app', q{SELECT cron.schedule('every', '@every 2 hours', 'SELECT 11')});
sql(qq{
	SELECT cron.configure_job('every', max_retries => 3, timezone => 'Europe/Berlin');
	SELECT cron.run_after('new', 'every');
	SELECT cron.configure_job('new', overlap_policy => 'skip')});
($out, $err) = migrate('postgres', '--back');
like($err, qr/the server preloads this extension.*shared_preload_libraries = 'pg_cron, pg_net'/s, 'back, with this extension preloaded: what to do');
settle($node);
sql("UPDATE cron.job SET active = true WHERE jobid IN ($job{nightly}, $job{never}, $job{every})");
preload('pg_cron');
$before = sql('SELECT jobid, schedule, command, database, username, jobname FROM cron.job ORDER BY jobid');
my $runs = sql('SELECT runid, jobid, status, start_time FROM cron.job_run_details ORDER BY runid');
my $next_job = sql('SELECT last_value FROM cron.jobid_seq');
($out, $err) = migrate('postgres', '--back');
is($err, '', 'a dry run back has no errors');
like($out, qr/^  job $job{every} \(every\), "\@every 2 hours": pg_cron refuses it$/m, 'a schedule that pg_cron refuses');
like($out, qr/^  job $job{never} \(never\), .*: pg_cron takes it for never$/m, 'one that it takes for another');
like($out, qr/^  job $job{every} \(every\): timezone Europe\/Berlin; max_retries 3, retry_period 00:01:00$/m, 'rules that it has not');
like($out, qr/^  job \d+ \(new\): overlap_policy skip; .*runs after $job{every}/m, 'and orders');
like($out, qr/pg_net is not available on this server: 0 requests that wait and 5 responses are lost/, 'what is lost without pg_net');
like($out, qr/Nothing was changed/, 'nothing was changed');
sql(q{ALTER SYSTEM SET log_statement = 'all'; ALTER SYSTEM SET log_line_prefix = '%a: '; SELECT pg_reload_conf()});
($out, $err) = migrate('postgres', '--back', '--apply');
my ($moved, $all) = slurp_file($node->logfile) =~ /^securatlas_sched_migrate: (\d+) of (\d+) rows: LOG:/m;
is("$moved of $all", join(' of ', (scalar(split /\n/, $runs)) x 2), 'its sessions show how far it is');
is($err, '', 'moved back without an error');
is(sql(q{SELECT string_agg(extname || ' ' || extversion, ',') FROM pg_extension WHERE extname <> 'plpgsql'}), 'pg_cron 1.4-1', 'the original is there');
is(sql('SELECT jobid, schedule, command, database, username, jobname FROM cron.job ORDER BY jobid'), $before, 'after the way back the original has all jobs');
is(sql('SELECT string_agg(jobid::text, \',\') FROM cron.job WHERE active'), $job{nightly}, 'active are those that it can run');
is(sql('SELECT runid, jobid, status, start_time FROM cron.job_run_details ORDER BY runid'), $runs, 'the history is the same after the way back');
is(as('app', "SELECT cron.schedule('more', '0 0 1 1 *', 'SELECT 1')"), $next_job + 1, 'numbers go on, and privileges are there');
is(sql(q{SELECT has_schema_privilege('watcher', 'cron', 'USAGE WITH GRANT OPTION'), has_table_privilege('other', 'cron.job_run_details', 'DELETE')}),
	't|f', 'as they were');

# ---- obstacles --------------------------------------------------------------------------------------
# pg_dump's COPY of what pg_cron holds, into a database that has this extension.
my $dump = $node->basedir . '/pg_cron.sql';
sql("UPDATE cron.job SET active = true WHERE jobid = $job{six}");
$node->command_ok([ 'pg_dump', '--data-only', '-f', $dump, 'postgres' ], 'pg_cron is dumped');
preload('securatlas_sched');
sql('CREATE DATABASE restored');
install($node, 'restored');
sql('CREATE TABLE ran (jobid int, at timestamptz)', 'restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'a dump is restored where this extension is');
is(sql('SELECT count(*) FROM cron.job', 'restored'), sql('SELECT count(*) FROM cron.job'), 'with all jobs');
is(sql("SELECT active, note ~ '^paused: invalid schedule' FROM cron.job WHERE jobid = $job{six}", 'restored'), 'f|t', 'that of a bad schedule, paused');

$node->stop;
for my $libraries ('pg_cron, securatlas_sched', 'securatlas_sched, pg_cron')
{
	$node->append_conf('postgresql.auto.conf', "shared_preload_libraries = '$libraries'");
	my $from = -s $node->logfile;
	ok(!$node->start(fail_ok => 1), "$libraries: the server does not start");
	like(slurp_file($node->logfile, $from), qr/FATAL:  pg_cron and securatlas_sched cannot be loaded together.*Remove one of them/s, 'a server that preloads both says why it does not start');
}
done_testing;
