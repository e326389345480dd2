# securatlas_sched_migrate where the originals are not installed any more, since this project's pg_cron and pg_net
# have their names: their tables are in the database, as pg_cron 1.6 and pg_net 0.20 have them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

plan skip_all => 'make install-compat was not run, or another pg_cron is installed' if !names_are_installed();

my $node = new_node('names', shared_preload_libraries => "'pg_cron, pg_net'", max_worker_processes => 40,
	'net.send_requests' => 'off');
$node->start;
sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql) }
sub migrate
{
	my ($database, @options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'securatlas_sched_migrate', @options, '-d', $database, '-h', $node->host, '-p', $node->port ],
		'<', \undef, '>', \$out, '2>', \$err);
	return ($out, $err);
}

sql(q{CREATE ROLE app LOGIN; CREATE DATABASE elsewhere; CREATE DATABASE "a = 'b'"; CREATE DATABASE plain});
for my $database (qw(postgres plain))
{
	sql(q{
	CREATE SCHEMA cron; CREATE SCHEMA net;
	CREATE SEQUENCE cron.jobid_seq; CREATE SEQUENCE cron.runid_seq;
	CREATE TABLE cron.job (jobid bigint PRIMARY KEY DEFAULT nextval('cron.jobid_seq'), schedule text NOT NULL, command text NOT NULL,
		nodename text NOT NULL DEFAULT 'localhost', nodeport int NOT NULL DEFAULT 5432, database text NOT NULL DEFAULT current_database(),
		username text NOT NULL DEFAULT CURRENT_USER, active boolean NOT NULL DEFAULT true, jobname text);
	CREATE TABLE cron.job_run_details (jobid bigint, runid bigint PRIMARY KEY DEFAULT nextval('cron.runid_seq'), job_pid int,
		database text, username text, command text, status text, return_message text, start_time timestamptz, end_time timestamptz);
	CREATE UNLOGGED TABLE net.http_request_queue (id bigserial, method text NOT NULL, url text NOT NULL, headers jsonb, body bytea,
		timeout_milliseconds int NOT NULL);
	CREATE UNLOGGED TABLE net._http_response (id bigint, status_code int, content_type text, headers jsonb, content text,
		timed_out bool, error_msg text, created timestamptz NOT NULL DEFAULT now());
	INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
	VALUES (99998, 'pg_cron', 10, 'pg_catalog'::regnamespace, false, '1.6'), (99999, 'pg_net', 10, 'public'::regnamespace, false, '0.20.0');
	ALTER EXTENSION pg_cron ADD SCHEMA cron; ALTER EXTENSION pg_cron ADD TABLE cron.job; ALTER EXTENSION pg_cron ADD TABLE cron.job_run_details;
	ALTER EXTENSION pg_cron ADD SEQUENCE cron.jobid_seq; ALTER EXTENSION pg_cron ADD SEQUENCE cron.runid_seq;
	ALTER EXTENSION pg_net ADD SCHEMA net; ALTER EXTENSION pg_net ADD TABLE net.http_request_queue; ALTER EXTENSION pg_net ADD TABLE net._http_response;
	GRANT USAGE ON SCHEMA cron TO app;
	GRANT UPDATE ON cron.job TO app;
	INSERT INTO cron.job (schedule, command, database, jobname, username, active) VALUES
		('30 seconds', 'SELECT 1', current_database(), 'seconds', 'app', true), ('0 0 $ * *', 'SELECT 2', current_database(), 'month', 'app', true),
		('+5 seconds', 'SELECT 3', current_database(), 'plus', 'app', false), ('0 0 30 2 *', 'SELECT 4', current_database(), 'no day', 'app', true),
		('0 0,12 1-7 * */2', 'SELECT 5', current_database(), 'star', 'app', true), ('*/90 * * * *', 'SELECT 6', current_database(), 'long', 'app', true),
		('@daily twice', 'SELECT 7', current_database(), 'twice', 'app', true), (E'\n0 3 * * *\n', 'SELECT 8', current_database(), 'lines', 'app', true),
		(E'5 3 * * *\n6 * * * *', 'SELECT 9', current_database(), 'two', 'app', true), ('*10,5-1 * * * *', 'SELECT 10', current_database(), 'star ten', 'app', true),
		('0 0 1 1 *', $c$SELECT '"x" \ y', E'\\n'$c$, 'elsewhere', 'far', 'app', true), ('0 0 1 1 *', 'SELECT 12', 'elsewhere', NULL, 'app', false),
		('0 0 1 1 *', 'SELECT 13', 'a = ''b''', 'odd', 'app', true), ('0 0 1 1 *', 'SELECT 14', 'no such', 'nowhere', 'app', true);
	INSERT INTO net.http_request_queue (method, url, timeout_milliseconds) VALUES ('GET', 'http://localhost:1/', 1000);
	INSERT INTO cron.job_run_details (jobid, status, return_message, username, command, start_time, end_time)
	SELECT 1, 'succeeded', n::text, 'app', 'SELECT 1', now() - n * interval '1 h', now() - n * interval '1 h' FROM generate_series(1, 100) n}, $database);
}

# ---- what it says of each schedule ----------------------------------------------------------------
my ($out, $err) = migrate('postgres');
is($err, '', 'a dry run has no errors');
like($out, qr/^Jobs: 14, 7 of them active, and 100 rows of history\. The next job is number 15 or later, the next run 101\.$/m, 'it counts');
my %says;
$says{$1} = "$2 / $3" while $out =~ /^  job \d+ \(([^)]*)\), .*\n    here:    (.*)\n    pg_cron: (.*)$/mg;
is(join(', ', sort keys %says), 'long, no day, star ten, twice, two', 'what differs, and no more');
like($says{'long'}, qr/^cannot be read: .*out of range.* \/ as 0 \* \* \* \*: \S+ \d\d:00:00, /, 'a step that is too long');
like($says{'no day'}, qr/^(?:never|cannot be read: .*no day of any year matches.*) \/ as 0 0 30 2 \*: never$/, 'a day that never comes');
like($says{'star ten'}, qr/^cannot be read: .* \/ as \* \* \* \* \*: /, 'the rest of a field that pg_cron skips');
like($says{'twice'}, qr/^cannot be read: .* \/ as \@daily: \S+ 00:00:00, /, 'text after a macro');
like($says{'two'}, qr/^cannot be read: .* \/ as 5 3 \* \* \*: \S+ 03:05:00, /, 'a second line');
like($out, qr/^  GRANT USAGE ON SCHEMA cron TO app$/m, 'grants');

# ---- under the names ---------------------------------------------------------------------------------
($out, $err) = migrate('postgres', '--names', '--apply', '--per-database');
is($err, '', 'moved under the names');
scheduler_pid($node);
is(sql(q{SELECT string_agg(extname || ' ' || (extversion ~ '[.][1-9][0-9][0-9]$'), ', ' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'}),
	'pg_cron true, pg_net true', 'the names are this project\'s');
is(sql(q{SELECT string_agg(jobname, ',' ORDER BY jobid) FROM cron.job WHERE active}), 'seconds,month,star,lines,nowhere', 'jobs that can run are active');
is(sql(q{SELECT count(*) FROM cron.job_run_details WHERE runid <= 100 AND jobname = 'seconds'}), '100', 'history');
is(sql(q{SELECT method, url, headers FROM net.http_request_queue}), 'GET|http://localhost:1/|{}', 'requests');
is(sql(q{SELECT has_table_privilege('app', 'cron.job', 'UPDATE')}), 't', 'grants are there');
my $arrived = q{SELECT jobid, COALESCE(jobname, '-'), command, active, username, database FROM cron.job ORDER BY jobid};
is(sql($arrived, 'elsewhere'), qq{11|far|SELECT '"x" \\ y', E'\\n'|t|app|elsewhere\n12|-|SELECT 12|f|app|elsewhere}, 'jobs for another database');
is(sql($arrived, "a = 'b'"), "13|odd|SELECT 13|t|app|a = 'b'", 'whatever its name');
is(sql(q{SELECT string_agg(extname, ',') FROM pg_extension WHERE extname <> 'plpgsql'}, 'elsewhere'), 'pg_cron', 'which holds what it needs');

# ---- apart -----------------------------------------------------------------------------------------
# To databases that have jobs of these numbers.
sql(q{UPDATE cron.job SET command = command || ' -- plain', jobname = jobname || ' 2' WHERE database <> 'plain'}, 'plain');
($out, $err) = migrate('plain', '--apply');
is($err, '', 'moved');
like($out, qr/^  job 11 \(far 2\) stays here, for database "elsewhere"$/m, 'jobs for other databases stay');
($out, $err) = migrate('plain', '--per-database');
like($out, qr/^job 11 is for database "elsewhere"$/m, 'what would move');
is(sql(q{SELECT count(*) FROM cron.job WHERE database <> 'plain'}, 'plain'), '4', 'and has not');
sql(q{CREATE TABLE kept AS SELECT jobid, schedule, command, database, username, jobname, planned_from FROM cron.job WHERE jobid = 11}, 'plain');
($out, $err) = migrate('plain', '--per-database', '--apply');
is($err, '', 'moved later');
is(sql(q{SELECT string_agg(jobname, ',') FROM cron.job WHERE database <> 'plain'}, 'plain'), 'nowhere 2', 'a job for no database stays');
my $all = q{SELECT jobid, COALESCE(jobname, '-'), active FROM cron.job ORDER BY jobid};
is(sql($all, 'elsewhere'), "11|far|t\n12|-|f\n13|far 2|t\n14|-|f", 'numbers that are taken become others');
# As if it had been interrupted when one had arrived.
sql(q{INSERT INTO cron.job (jobid, schedule, command, database, username, jobname, planned_from, active, note)
	SELECT *, false, 'moves to database "elsewhere", where it is active' FROM kept}, 'plain');
($out, $err) = migrate('plain', '--per-database', '--apply');
is($err, '', 'once more');
is(sql($all, 'elsewhere'), "11|far|t\n12|-|f\n13|far 2|t\n14|-|f", 'what has arrived is passed over');
is(sql(q{SELECT string_agg(jobname, ',') FROM cron.job WHERE database <> 'plain'}, 'plain'), 'nowhere 2', 'and is gone where it came from');
$node->stop;
done_testing;
