# How commands are executed: time limits, errors that leave session state behind, parallel plans,
# and roles and settings that change while a worker is idle.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IPC::Run ();
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('commands', autovacuum => 'on', wal_level => 'logical',
	'cron.worker_idle_timeout' => "'10min'");
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE plain LOGIN REPLICATION;
	CREATE ROLE ex LOGIN SUPERUSER;
	GRANT USAGE ON SCHEMA cron TO plain;
	GRANT CREATE ON SCHEMA public TO plain;});

# Runs a command once, as a role, and returns the run's row: status, SQLSTATE, reason, message.
sub run
{
	my ($command, %options) = @_;
	my $role = $options{role} // 'postgres';
	my $rules = $options{rules} ? "PERFORM cron.configure_job('once', $options{rules});" : '';
	my $id = $node->safe_psql($options{database} // 'postgres', qq{
		DO \$do\$ BEGIN
			PERFORM cron.schedule_in_database('once', '0 0 1 1 *', \$c\$$command\$c\$, current_database(), '$role');
			UPDATE cron.job SET max_runtime = NULL;
			$rules
		END \$do\$;
		SELECT cron.run_job(jobid) FROM cron.job WHERE jobname = 'once' AND username = '$role'});
	$node->poll_query_until($options{database} // 'postgres',
		"SELECT status NOT IN ('starting', 'running') FROM cron.job_run_details WHERE runid = $id")
	  or die "run $id does not end";
	return $node->safe_psql($options{database} // 'postgres', qq{
		SELECT concat_ws('|', status, sqlstate, reason, return_message)
		  FROM cron.job_run_details WHERE runid = $id});
}

sub last_run
{
	my ($expression) = @_;
	return $node->safe_psql('postgres', "SELECT $expression FROM cron.job_run_details ORDER BY runid DESC LIMIT 1");
}

# ---- time -----------------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	CREATE DATABASE hasty;
	CREATE PROCEDURE slow(seconds float8) LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(seconds); END';});
$node->safe_psql('hasty', q{
	CREATE PROCEDURE slow(seconds float8) LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(seconds); END'});
install($node, 'hasty');
$node->safe_psql('hasty', q{ALTER DATABASE hasty SET statement_timeout = '400ms'});
like(run('CALL slow(60)', database => 'hasty'), qr/^failed\|57014\|/, 'the timeout of the database holds');
like(run("SET statement_timeout = '1min'; CALL slow(0.8)", database => 'hasty'), qr/^succeeded/,
	'a command that gives itself more time has it for each statement that follows');
like(run('CALL slow(0.3); CALL slow(0.3)', database => 'hasty'), qr/^succeeded/,
	'statements do not share a timeout');
like(run("SET statement_timeout = '100ms'; CALL slow(60)", database => 'hasty'), qr/^failed\|57014\|/,
	'a command that gives itself less has less');

$node->safe_psql('postgres', q{
	CREATE TABLE deferred (seconds float8);
	CREATE FUNCTION sleep_at_commit() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_sleep(NEW.seconds); RETURN NULL; END';
	CREATE CONSTRAINT TRIGGER t AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION sleep_at_commit();});
is(run('INSERT INTO deferred VALUES (300)', rules => "max_runtime => '300 ms'"),
	'failed|57014|max_runtime|ERROR: canceling statement due to max_runtime', 'max_runtime holds for deferred triggers');
is(run('DECLARE c CURSOR WITH HOLD FOR SELECT pg_sleep(300)', rules => "max_runtime => '300 ms'"),
	'failed|57014|max_runtime|ERROR: canceling statement due to max_runtime', 'and for cursors WITH HOLD');
is($node->safe_psql('postgres', 'SELECT count(*) FROM deferred'), '0', 'what it did is rolled back');
like(run('INSERT INTO deferred VALUES (0.4); DECLARE c CURSOR WITH HOLD FOR SELECT 1'), qr/^succeeded\|00000/, 'a slow commit succeeds');
is(last_run("end_time - start_time >= '400 ms'"), 't', 'and counts for the duration');
$node->safe_psql('postgres', q{
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int CONSTRAINT child_parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)});
like(run('INSERT INTO child VALUES (1)'), qr/^failed\|23503\|ERROR: .*child_parent/, 'a deferred constraint fails the run');
like(run('INSERT INTO child VALUES (1); INSERT INTO parent VALUES (1)'), qr/^succeeded/, 'or is met at the end');

# ---- what a failed or ended run leaves to the next ---------------------------------------------

$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('changes', 'test_decoding')");
like(run(q{SELECT pg_logical_slot_get_changes('changes', NULL, NULL, 'no-such-option', 'x')}, role => 'plain'),
	qr/^failed\|22023/, 'logical decoding fails in a run');
like(run(q{SELECT pg_logical_slot_get_changes('changes', NULL, NULL)}), qr/^succeeded/,
	'the next run, in another worker, has the slot');
like(run(q{SELECT pg_create_logical_replication_slot('temporary', 'test_decoding', true)}), qr/^succeeded/,
	'a temporary slot');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'temporary'"), '0',
	'ends with its run');

# ---- parallel plans -------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	CREATE TABLE wide AS SELECT g AS a FROM generate_series(1, 20000) g;
	ALTER TABLE wide SET (parallel_workers = 2);
	CREATE TABLE seen (run text, job text, name text, at text, attempt text, rows bigint);});
my $tell = q{current_setting('cron.run_id')::bigint, current_setting('cron.job_id')::bigint,
	current_setting('cron.job_name'), current_setting('cron.scheduled_at')::timestamptz, current_setting('cron.attempt')::int};
my $force = $node->safe_psql('postgres', q{SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')});
like(run(qq{SET $force = on; SET parallel_setup_cost = 0; SET parallel_leader_participation = off;
	CREATE TEMP TABLE t (a, b, c, d, e, f) AS SELECT $tell, count(*) FROM wide GROUP BY 1, 2, 3, 4, 5;
	INSERT INTO seen SELECT * FROM t}), qr/^succeeded/, 'parallel workers read the settings of the run');
is($node->safe_psql('postgres', q{
	SELECT s.run::bigint = r.runid, s.job::bigint = r.jobid, s.name, s.at::timestamptz = r.scheduled_at, s.attempt, s.rows
	  FROM seen s, (SELECT * FROM cron.job_run_details ORDER BY runid DESC LIMIT 1) r}), 't|t|once|t|1|20000',
	'and all see the same');
for my $forgery (
	"SET cron.run_id = '1'", "SET LOCAL cron.run_id = '1'", "SELECT set_config('cron.job_id', '1', false)",
	"UPDATE pg_settings SET setting = '1' WHERE name = 'cron.attempt'",
	"ALTER ROLE postgres SET cron.job_name = 'x'",
	"CREATE FUNCTION forge() RETURNS text LANGUAGE sql SET cron.run_id = '1' AS 'SELECT 1::text'")
{
	like(run($forgery), qr/^failed\|55P02\|ERROR: parameter "cron\.\w+" cannot be changed/, "no forgery: $forgery");
}
like(run(q{RESET cron.run_id; RESET ALL; SET cron.run_id TO DEFAULT;
	DO $$ BEGIN ASSERT current_setting('cron.run_id') <> ''; END $$}), qr/^succeeded/, 'RESET leads to the run itself');
{
	local $ENV{PGOPTIONS} = '-c cron.run_id=1';
	my $err;
	# The query is an argument: psql ends before it would read it from a pipe.
	IPC::Run::run([ 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'SELECT 1' ], '<', \undef, '>', \my $out, '2>', \$err);
	like($err, qr/parameter "cron.run_id" cannot be changed/, 'nor by the options of a connection');
}
is($node->safe_psql('postgres', "SELECT current_setting('cron.run_id')"), '', 'outside of a run they are empty');

# ---- a kept worker whose role has changed -----------------------------------------------------

like(run('SELECT 1', role => 'ex'), qr/^succeeded/, 'the job of a superuser');
my $kept = last_run('job_pid');
like(run('SELECT 1', role => 'ex'), qr/^succeeded/, 'its next run');
is(last_run('job_pid'), $kept, 'is executed by the same worker');
$node->safe_psql('postgres', 'ALTER ROLE ex NOSUPERUSER');
like(run('SET SESSION AUTHORIZATION postgres; CREATE ROLE owned SUPERUSER', role => 'ex'),
	qr/^failed\|42501\|/, 'once it is no superuser, its job is none either');
isnt(last_run('job_pid'), $kept, 'the worker from before is not used');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_roles WHERE rolname = 'owned'"), '0', 'and it made no role');
like(run('SELECT 1', role => 'ex'), qr/^succeeded/, 'the job goes on');

# All of these, and of the settings once more when there are so many that the catalog has several pages.
my @settings = (
	[ "ALTER ROLE ex SET search_path = 'of_role'", q{ASSERT current_setting('search_path') = 'of_role'} ],
	[ "ALTER ROLE ex RESET search_path; ALTER DATABASE postgres SET search_path = 'of_database'", q{ASSERT current_setting('search_path') = 'of_database'} ],
	[ "ALTER ROLE ex IN DATABASE postgres SET search_path = 'of_both'", q{ASSERT current_setting('search_path') = 'of_both'} ],
	[ "ALTER ROLE ex IN DATABASE postgres RESET ALL; ALTER DATABASE postgres RESET ALL; ALTER ROLE ALL SET search_path = 'of_all'",
		q{ASSERT current_setting('search_path') = 'of_all'} ],
	[ 'ALTER ROLE ALL RESET ALL', q{ASSERT current_setting('search_path') NOT LIKE 'of%'} ]);
my $many = q{DO $$ BEGIN FOR i IN 1 .. 200 LOOP EXECUTE format('CREATE ROLE many_%s', i);
	EXECUTE format('ALTER ROLE many_%s SET search_path = %L', i, repeat('x', 40)); END LOOP; END $$};
for my $change (@settings,
	[ "ALTER ROLE ex VALID UNTIL '2100-01-01'", 'NULL' ],
	[ 'GRANT pg_monitor TO ex', 'NULL' ],
	[ 'ALTER ROLE ex CONNECTION LIMIT 5', 'NULL' ],
	[ 'GRANT CONNECT ON DATABASE postgres TO ex', 'NULL' ],
	[ $many, undef ], @settings)
{
	my ($sql, $check) = @$change;
	my $before = last_run('job_pid');
	$node->safe_psql('postgres', $sql);
	if (!defined $check)
	{
		is($node->safe_psql('postgres', "SELECT pg_relation_size('pg_db_role_setting') > 8192"), 't', 'settings of many roles');
		like(run('SELECT 1', role => 'ex'), qr/^succeeded/, 'are of others');
		is(last_run('job_pid'), $before, 'and the worker stays');
		next;
	}
	like(run("DO \$\$ BEGIN $check; END \$\$", role => 'ex'), qr/^succeeded/, $sql);
	isnt(last_run('job_pid'), $before, 'and another worker');
}
$node->safe_psql('template1', "ALTER ROLE ex SET search_path = 'of_elsewhere'");
like(run(q{DO $$ BEGIN ASSERT current_setting('search_path') = 'of_elsewhere'; END $$}, role => 'ex'), qr/^succeeded/,
	'a session of another database changes a setting');
# Of a change that no statement has made nobody is told, but a look at the catalog is never older than a second.
$node->safe_psql('postgres', q{SET allow_system_table_mods = on;
	UPDATE pg_db_role_setting SET setconfig = '{search_path=by_hand}' WHERE setrole = 'ex'::regrole});
wait_until(sub { run(q{DO $$ BEGIN ASSERT current_setting('search_path') = 'by_hand'; END $$}, role => 'ex') =~ /^succeeded/ },
	'a change of the catalog itself is noticed');
$node->safe_psql('postgres', 'ALTER ROLE ex RESET ALL');
$node->safe_psql('postgres', 'ALTER ROLE ex NOLOGIN');
like(run('SELECT 1', role => 'ex'), qr/^failed\|28000\|/, 'NOLOGIN');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE attempt > 1 OR status IN ('starting', 'running')"), '0',
	'no run was repeated or lost');

$node->stop;
done_testing();
