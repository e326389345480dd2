# ALTER EXTENSION UPDATE from the version that was released: the catalogs are those of a fresh
# installation, everything that was there is there, and what runs meanwhile goes on. And the other
# way round: an extension that is newer than the library.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Catalog;
use HttpStub;
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('update', autovacuum => 'on');
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	CREATE ROLE owner LOGIN;
	CREATE DATABASE old OWNER owner;
	CREATE DATABASE restored;
	CREATE DATABASE revoked;});
install($node);
my $version = $node->safe_psql('postgres',
	"SELECT extversion FROM pg_extension WHERE extname = 'securatlas_sched'");

sub old { return $node->safe_psql('old', $_[0]) }

# What psql says to a statement that fails.
sub error_of
{
	my ($database, $sql, @options) = @_;
	my ($rc, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$sql", @options);
	return $err;
}

# ---- what version 0.1 has -------------------------------------------------------------------

old("CREATE EXTENSION securatlas_sched VERSION '0.1'");
is(old("SELECT extversion FROM pg_extension WHERE extname = 'securatlas_sched'"), '0.1',
	'the released version can be created with the new library');

# Sealed texts are those of this cluster, wherever in it they were sealed.
my $url = $stub->url('/queued');
$node->safe_psql('postgres', qq{
	GRANT USAGE ON SCHEMA cron, net TO app;
	SET ROLE app;
	SELECT net.set_secret('token', 'HiddenWord');
	SELECT net.http_request('GET', '$url', not_before => now() + '1 day',
		headers => '{"Authorization": "Bearer SealedWord", "X-Token": "{{secret:token}}"}');});
my ($id, $sealed_headers, $headers, $header_secrets, $sealed) = split /\|/, $node->safe_psql('postgres', q{
	SELECT q.id, q.sealed_headers, q.headers, q.header_secrets, s.sealed
	  FROM net.http_request_queue q, net.secret s});

# The new library refuses the functions of the old version, and with them its triggers. For the rows
# that are computed when they are written the version says for a moment what it is not.
old(qq{
	CREATE SCHEMA app AUTHORIZATION app;
	GRANT USAGE ON SCHEMA cron, net TO app;
	SET ROLE app;
	CREATE TABLE app.effects (jobid bigint, scheduled_at timestamptz, at timestamptz DEFAULT clock_timestamp());
	CREATE TABLE app.answers (id bigint, body text);
	CREATE FUNCTION app.answered(r net._http_response) RETURNS void LANGUAGE sql AS
		'INSERT INTO app.answers VALUES (r.id, r.content)';
	RESET ROLE;
	BEGIN;
	ALTER TABLE cron.job DISABLE TRIGGER USER;
	ALTER TABLE cron.job_dependency DISABLE TRIGGER USER;
	ALTER TABLE net.http_request_queue DISABLE TRIGGER USER;
	UPDATE pg_extension SET extversion = '$version' WHERE extname = 'securatlas_sched';
	INSERT INTO cron.job (jobid, jobname, schedule, command, username, max_retries, note) VALUES
		(nextval('cron.jobid_seq'), 'every second', '1 second', 'INSERT INTO app.effects VALUES (current_setting(''cron.job_id'')::bigint, current_setting(''cron.scheduled_at'')::timestamptz)', 'app', 3, 'a remark'),
		(nextval('cron.jobid_seq'), 'yearly', '0 0 1 1 *', 'SELECT 1', 'postgres', 0, NULL),
		(nextval('cron.jobid_seq'), 'of nobody', '1 second', 'SELECT 1', 'gone', 0, NULL);
	INSERT INTO cron.job_dependency SELECT 2, 1, 'succeeded';
	INSERT INTO cron.job_run_details (jobid, jobname, database, username, command, status, return_message, start_time, end_time, scheduled_at, trigger)
		SELECT 1 + (i % 3 = 0)::int, 'a job', 'old', CASE i % 3 WHEN 0 THEN 'app' WHEN 1 THEN 'postgres' ELSE 'gone' END,
		       'SELECT 1', 'succeeded', 'SELECT 1', t, t, t, 'schedule'
		  FROM generate_series(1, 1000) i, LATERAL (SELECT now() - i * interval '1 minute') x(t);
	INSERT INTO net.http_request_queue (id, method, url, headers, sealed_headers, header_secrets, created_by, on_response, timeout_milliseconds)
		VALUES ($id, 'GET', '$url', '$headers', '$sealed_headers', '$header_secrets', 'app'::regrole, 'app.answered(net._http_response)', 60000);
	SELECT setval('net.http_request_queue_id_seq', 1000);
	INSERT INTO net.http_request_queue (method, url, created_by, ready_at)
		SELECT 'POST', 'http://localhost:1/' || i, 'app'::regrole, now() + '1 day' FROM generate_series(1, 100) i;
	INSERT INTO net._http_response (id, status_code, method, url, content, created_by, state, attempts)
		SELECT 500 + i, 200, 'GET', 'http://Example.COM/' || i, 'körper', 'app'::regrole, 'succeeded', 1 FROM generate_series(1, 100) i;
	INSERT INTO net.secret (name, sealed, owner) VALUES ('token', '$sealed', 'app');
	INSERT INTO net.secret_grant VALUES ('token', 'owner');
	UPDATE securatlas.risk_rule SET value = 20 WHERE name = 'critical';
	UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'securatlas_sched';
	COMMIT;});
old(q{
	ALTER TABLE cron.job ENABLE TRIGGER USER;
	ALTER TABLE cron.job_dependency ENABLE TRIGGER USER;
	ALTER TABLE net.http_request_queue ENABLE TRIGGER USER;
	ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_check;
	ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_changed;
	ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_truncated;
	ALTER TABLE cron.job_dependency ENABLE ALWAYS TRIGGER dependency_changed;
	ALTER TABLE cron.job_dependency ENABLE ALWAYS TRIGGER dependency_truncated;});

# Digests of all rows of the old version's columns.
my @tables = qw(cron.job cron.job_run_details cron.job_dependency net.http_request_queue
  net._http_response net.secret net.secret_grant securatlas.risk_rule);
my %columns = map { my $table = $_; $table => old(qq{
	SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
	 WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped}) } @tables;
sub rows_of
{
	my ($table) = @_;
	# The job of nobody is paused by the update, with a note.
	my $except = $table eq 'cron.job' ? q{WHERE jobname <> 'of nobody'} : '';
	return old("SELECT count(*), md5(string_agg(r::text, ' ' ORDER BY r::text)) FROM (SELECT $columns{$table} FROM $table $except) r");
}
my $catalog = catalog($node, 'old');
my %before = map { $_ => rows_of($_) } @tables;
my $dump = $node->basedir . '/old.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('old') ], 'it is dumped');

# ---- before the update ----------------------------------------------------------------------

my $mismatch = qr/the loaded library is for version \Q$version\E of extension "securatlas_sched", but this database has version 0\.1/;
my $waits = qr/securatlas_sched scheduler: $mismatch; nothing runs here/;
like(error_of('old', "SELECT cron.schedule('* * * * *', 'SELECT 1')"),
	qr/55000: $mismatch\nHINT:  Run ALTER EXTENSION securatlas_sched UPDATE\.\n/, 'functions of the old version say 55000 and what to do');
like(error_of('old', 'SET ROLE app; SELECT * FROM cron.job'), qr/55000: $mismatch/, 'policies of the old version say 55000');
like(error_of('old', 'DROP OWNED BY app'), qr/55000: $mismatch/, 'DROP OWNED does not forget its jobs');
like(error_of('old', "INSERT INTO net.http_request_queue (method, url) VALUES ('GET', 'http://localhost/')"),
	qr/55000: $mismatch/, 'no request is queued before the update');
wait_until(sub { log_count($node, $waits) > 0 }, 'the scheduler of a database with the old version says so');
my $scheduler = old(q{SELECT pid FROM pg_stat_activity WHERE datname = 'old' AND backend_type = 'securatlas_sched scheduler'});
like($scheduler, qr/^\d+$/, 'the scheduler of a database with the old version waits');

# Two runs that do not end before they are allowed to: of another database, in that and in this one.
my %gate = map { $_ => $node->background_psql($_) } qw(postgres old);
$_->query_safe('SELECT pg_advisory_lock(1)') for values %gate;
make_effects($node);
make_effects($node, 'old');
my $long = 'SELECT pg_advisory_lock(1), pg_advisory_unlock(1); INSERT INTO public.effects (jobid) VALUES (0)';
$node->safe_psql('postgres', qq{
	SELECT cron.schedule_once('there', now(), '$long');
	SELECT cron.schedule_in_database('here', '1 second', '$long', 'old')});
my $held = q{SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted};
ok($node->poll_query_until('postgres', $held), 'runs of another database are under way');

my $update = 'ALTER EXTENSION securatlas_sched UPDATE';
like(error_of('old', $update, extra_params => [ '-U', 'owner' ]), qr/42501: must be owner of extension securatlas_sched/,
	'the owner of the database may not update it');
old("BEGIN; $update; ROLLBACK");
is(differences('now', catalog($node, 'old'), 'before', $catalog), '', 'an update that is rolled back leaves no trace');
is(rows_of($_), $before{$_}, "nor in $_") for @tables;

my $reader = $node->background_psql('old');
$reader->query_safe('BEGIN; SELECT count(*) FROM cron.job_run_details');
like(error_of('old', "SET lock_timeout = '100ms'; $update"), qr/55P03: canceling statement due to lock timeout/,
	'a session that has read the history makes it wait');
is(differences('now', catalog($node, 'old'), 'before', $catalog), '', 'one that gave up has changed nothing');
is(log_count($node, $waits), 1, 'the scheduler has said once what it waits for');

# ---- the update -----------------------------------------------------------------------------

my $updater = $node->background_psql('old');
$updater->query_until(qr/begins/, "\\echo begins\n$update;\n\\echo ends\n");
ok($node->poll_query_until('old', q{
	SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'old' AND wait_event_type = 'Lock' AND query LIKE 'ALTER EXTENSION%')}),
	'it waits for that session');
$reader->query_safe('COMMIT');
$reader->quit;
$updater->quit;
is(old("SELECT extversion FROM pg_extension WHERE extname = 'securatlas_sched'"), $version, 'and then it updates');

is(differences('after the update', catalog($node, 'old'), 'in a fresh extension', catalog($node, 'postgres')),
	'', 'the catalogs are those of a fresh extension');
cmp_ok(scalar(@$catalog), '>', 1000, 'which are many facts');

wait_for($node, 'SELECT count(*) > 0 FROM app.effects', 't', 'jobs run without a restart', 'old');
is(scheduler_pid($node, 'old'), $scheduler, 'by the scheduler that has waited');
is(old(q{SELECT jobname, active, roleid = 'app'::regrole, roleid IS NULL, note FROM cron.job WHERE jobname <> 'yearly' ORDER BY jobid}),
	"every second|t|t|f|a remark\nof nobody|f||t|paused: role \"gone\" does not exist. Create it, or give the job to another role with cron.alter_job(); then call cron.resume().",
	'a job has its role, and one without a role is paused');
is(old(q{SELECT min(username), max(username), roleid::regrole, count(*) FROM cron.job_run_details
	      WHERE scheduled_at < pg_postmaster_start_time() AND jobname = 'a job' GROUP BY roleid ORDER BY 1}),
	"app|app|app|333\ngone|gone||333\npostgres|postgres|postgres|334", 'runs have theirs');
is($node->safe_psql('old', q{SELECT (SELECT count(*) FROM cron.job), (SELECT count(*) > 0 FROM cron.job_run_details),
		(SELECT count(*) FROM net._http_response WHERE id < 1000 AND host LIKE 'http://example.com%' AND requested_at IS NULL),
		(SELECT count(*) FROM net.http_request_queue WHERE id > 1000)},
	extra_params => [ '-U', 'app' ]), '1|t|100|100', 'a role sees what is its own');

# The request that waited is sent with its secrets, and its function is called.
wait_for($node, 'SELECT count(*) FROM app.answers', '1', 'a request that waited is sent, and its function called', 'old');
my ($request) = $stub->requests('/queued');
is($request->{headers}{authorization}, 'Bearer SealedWord', 'with its sealed header');
is($request->{headers}{'x-token'}, 'HiddenWord', 'a request that waited for the update is sent with its secret');
is(scalar($stub->requests('/queued')), 1, 'once');

$_->query_safe('SELECT pg_advisory_unlock_all()') for values %gate;
wait_for($node, q{SELECT count(DISTINCT jobname) FROM cron.job_run_details
	WHERE jobname IN ('here', 'there') AND status = 'succeeded'}, '2', 'the runs of the other database go on');
is($node->safe_psql('postgres', 'SELECT count(*) FROM effects WHERE jobid = 0'), '1', 'with their effects');
$node->safe_psql('postgres', q{SELECT cron.unschedule('here')});
settle($node, 'old');
old(q{DELETE FROM cron.job_run_details WHERE jobname <> 'a job';
	DELETE FROM net._http_response WHERE id >= 1000 OR id < 500});
# Of the queue one is sent, and a job that runs is planned from another time: these are looked at apart.
is(rows_of($_), $before{$_}, "all that was in $_ is there")
  for grep { $_ !~ /^(?:cron\.job|net\.http_request_queue)$/ } @tables;
is(old('SELECT jobid, jobname, schedule, username, max_retries FROM cron.job ORDER BY 1'),
	"1|every second|1 second|app|3\n2|yearly|0 0 1 1 *|postgres|0\n3|of nobody|1 second|gone|0", 'all jobs are there after the update');
is(log_count($node, $waits), 1, 'nothing was said twice');
# CREATE DATABASE ends what autovacuum does in its template.
unlike(slurp_file($node->logfile), qr/PANIC|FATAL:  (?!terminating autovacuum process)|terminated by signal/,
	'nothing has failed during the update');

old('SELECT cron.resume(1)');

# ---- what an administrator has revoked, and a dump of the old version -------------------------

$node->safe_psql('revoked', q{
	CREATE EXTENSION securatlas_sched VERSION '0.1';
	REVOKE SELECT ON net.requests, cron.job FROM PUBLIC;
	REVOKE EXECUTE ON FUNCTION cron.schedule(text, text) FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) TO app;
	DO $$ DECLARE f regprocedure; BEGIN
		FOR f IN SELECT oid FROM pg_proc WHERE proname = 'configure_job' LOOP
			EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC; GRANT EXECUTE ON FUNCTION %1$s TO app WITH GRANT OPTION', f);
		END LOOP;
	END $$;
	ALTER EXTENSION securatlas_sched UPDATE;});
my ($acl) = run_command([ 'pg_dump', '-d', $node->connstr('revoked') ]);
like($acl, $_, "the dump has: $_") for (
	qr/REVOKE SELECT ON TABLE net\.requests FROM PUBLIC/, qr/REVOKE SELECT ON TABLE cron\.job FROM PUBLIC/,
	qr/REVOKE ALL ON FUNCTION cron\.schedule\(schedule text, command text\) FROM PUBLIC/,
	qr/GRANT ALL ON FUNCTION cron\.schedule_in_database\(.*\) TO app/,
	map { (qr/REVOKE ALL ON FUNCTION cron\.configure_job\($_, .*\) FROM PUBLIC/,
		qr/GRANT ALL ON FUNCTION cron\.configure_job\($_, .*\) TO app WITH GRANT OPTION/) } 'job_id bigint', 'job_name text');

$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ],
	'a dump of the old version is restored into the new one');
is($node->safe_psql('restored', q{
	SELECT string_agg(jobname || ' ' || coalesce(roleid::regrole::text, '-'), ', ' ORDER BY jobid) FROM cron.job
	UNION ALL SELECT name || ' ' || owner FROM net.secret
	UNION ALL SELECT value::text FROM securatlas.risk_rule WHERE name = 'critical'}),
	"every second app, yearly postgres, of nobody -\ntoken app\n20", 'with its jobs, secrets and rule');

# ---- an extension that is newer than the library ----------------------------------------------

like(error_of('old', 'ALTER EXTENSION securatlas_sched UPDATE TO \'0.1\''),
	qr/22023: extension "securatlas_sched" has no update path from version "\Q$version\E" to version "0\.1"/,
	'there is no way back');

# A run that the version before has begun.
$gate{old}->query_safe('SELECT pg_advisory_lock(1)');
my $run = old(qq{SELECT cron.run_job(cron.schedule('begun', '0 0 1 1 *', '$long'))});
ok($node->poll_query_until('old', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}),
	'a run is under way');
old('CREATE FUNCTION public.member() RETURNS int LANGUAGE sql AS $$SELECT 1$$');
sub set_version
{
	my ($to, $change) = @_;
	old(qq{BEGIN; UPDATE pg_extension SET extversion = '$to' WHERE extname = 'securatlas_sched';
		ALTER EXTENSION securatlas_sched $change FUNCTION public.member(); COMMIT});
	return;
}
set_version('1.0.1', 'ADD');
my $newer = qr/the loaded library is for version \Q$version\E of extension "securatlas_sched", but this database has version 1\.0\.1/;
like(error_of('old', 'SELECT cron.next_runs(\'* * * * *\')'),
	qr/55000: $newer\nHINT:  Install version 1\.0\.1 and restart the server\. An extension cannot go back to an older version\.\n/,
	'a library that is older than the extension says what to do');
wait_until(sub { log_count($node, qr/scheduler: $newer; nothing runs here/) == 1 }, 'so does the scheduler');
like(error_of('old', $update), qr/has no update path from version "1\.0\.1" to version "\Q$version\E"/,
	'nor is there a way back by the default version');
$gate{old}->query_safe('SELECT pg_advisory_unlock_all()');
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded',
	'the run that was under way succeeds', 'old');
set_version($version, 'DROP');
isnt(scheduler_pid($node, 'old'), '', 'with the right version the scheduler goes on');
wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE jobid = 1 AND status = 'succeeded'
	AND scheduled_at > pg_postmaster_start_time()}, 't', 'jobs run after the update and a restart', 'old');
is(old("SELECT count(*) FROM cron.job_run_details WHERE jobname = 'begun'"), '1', 'the run that was under way has run once');

$_->quit for values %gate;
$node->stop;
done_testing();
