# Runs of one command after another in one worker, which keeps the command's plan: each means what it
# would mean in a new session, and finds nothing of the one before.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $with_statements = -e `pg_config --pkglibdir` =~ s/\n//r . '/pg_stat_statements.so';
my $node = new_node('same_command', 'cron.max_running_jobs' => 1,
	$with_statements
	? (shared_preload_libraries => q{'pg_stat_statements, securatlas_sched'}, 'pg_stat_statements.track_planning' => 'on')
	: ());
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA cron TO app;
	CREATE SCHEMA first AUTHORIZATION app; CREATE SCHEMA second AUTHORIZATION app;
	ALTER ROLE app SET search_path = first, second});

sub as_app { my ($sql) = @_; return $node->safe_psql('postgres', $sql, extra_params => [ '-U', 'app' ]); }
my $unfinished = 'SELECT count(*) FROM cron.job_run_details WHERE end_time IS NULL';

# Asks for runs of the job by one transaction, so that they wait in the worker's queue, and waits for their ends.
sub run
{
	my ($job, $times) = @_;
	as_app("SELECT cron.run_job('$job') FROM generate_series(1, $times)");
	wait_for($node, $unfinished, '0', "runs of $job have ended");
	return;
}
sub failures { return $node->safe_psql('postgres', q{SELECT jobname, return_message FROM cron.job_run_details WHERE status <> 'succeeded'}); }
sub schedule { my ($name, $sql) = @_; as_app("SELECT cron.schedule('$name', '0 0 1 1 *', \$c\$$sql\$c\$)"); return; }

# ---- what a command means ----------------------------------------------------------------------

as_app(q{
	CREATE TABLE second.moments (at timestamptz, since timestamptz DEFAULT 'now', day date, spans tstzrange, times timestamptz[]);
	CREATE TABLE second.t (n int, by text DEFAULT current_user);
	CREATE FUNCTION second.number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
	CREATE FUNCTION second.pick(numeric) RETURNS text LANGUAGE sql AS $$SELECT 'numeric'$$;
	CREATE TABLE second.picked (what text)});
schedule('moment', q{INSERT INTO moments (at, day, spans, times) VALUES ('now', 'today', '[now,)', ARRAY['now']::timestamptz[])});
schedule('escaped', q{INSERT INTO moments (at) VALUES (U&'\006Eow')});
schedule('t', q{INSERT INTO t VALUES (number())});
schedule('pick', q{INSERT INTO picked SELECT pick(1)});

run('moment', 4);
run('escaped', 4);
is(as_app(q{SELECT count(DISTINCT at), count(*) FROM moments}), '8|8', q{'now' is the time of each run});
is(as_app(q{SELECT count(DISTINCT lower(spans)), count(DISTINCT times) FROM moments WHERE spans IS NOT NULL}), '4|4', 'in a range and an array, too');

run('t', 4);
as_app('CREATE OR REPLACE FUNCTION second.number() RETURNS int IMMUTABLE LANGUAGE sql AS $$SELECT 2$$');
run('t', 3);
is(as_app('SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1'), "1|4\n2|3", 'a function that was replaced counts at once');
as_app('CREATE TABLE first.t (n int, more int DEFAULT 7)');
run('t', 3);
is(as_app('SELECT n, more, count(*) FROM first.t GROUP BY 1, 2'), '2|7|3', 'so does a table that comes first on the search_path');
as_app('ALTER TABLE first.t ALTER more SET DEFAULT 8');
run('t', 3);
is(as_app('SELECT count(*) FROM first.t WHERE more = 8'), '3', 'and a default');
as_app('DROP TABLE first.t');
run('t', 3);
is(as_app('SELECT count(*) FROM t'), '10', 'and that it was dropped');

run('pick', 3);
as_app(q{CREATE FUNCTION first.pick(int) RETURNS text LANGUAGE sql AS $$SELECT 'int'$$});
run('pick', 3);
is(as_app('SELECT what, count(*) FROM picked GROUP BY 1 ORDER BY 1'), "int|3\nnumeric|3", 'and a function that fits better');
is(failures(), '', 'no run has failed');

as_app('DROP TABLE second.t');
run('t', 2);
is($node->safe_psql('postgres', q{SELECT DISTINCT sqlstate, return_message ~ 'relation "t" does not exist' FROM cron.job_run_details WHERE status = 'failed'}),
	'42P01|t', 'without a table the runs fail');
as_app('CREATE TABLE second.t (n int); DELETE FROM cron.job_run_details');
run('t', 3);
is(as_app('SELECT count(*) FROM t'), '3', 'and succeed again with another one');

# Rights are looked at for each run.
$node->safe_psql('postgres', 'CREATE TABLE second.lent (n int); GRANT INSERT ON second.lent TO app');
schedule('lent', 'INSERT INTO lent VALUES (1)');
run('lent', 4);
$node->safe_psql('postgres', 'REVOKE INSERT ON second.lent FROM app');
run('lent', 1);
is($node->safe_psql('postgres', q{SELECT status, sqlstate, count(*) FROM cron.job_run_details WHERE jobname = 'lent' GROUP BY 1, 2 ORDER BY 1}),
	"failed|42501|1\nsucceeded|00000|4", 'a right that was revoked is missing');

SKIP:
{
	skip 'pg_stat_statements is not installed', 1 unless $with_statements;
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');
	run('pick', 30);
	is($node->safe_psql('postgres', q{SELECT plans < calls, calls >= 30 FROM pg_stat_statements WHERE query ~ 'INSERT INTO picked' ORDER BY calls DESC LIMIT 1}),
		't|t', 'a command that is executed again and again is not planned each time');
}

# ---- what a run leaves -------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	DELETE FROM cron.job_run_details;
	CREATE ROLE other; GRANT other TO app; GRANT CREATE ON DATABASE postgres TO app});
as_app(q{
	CREATE SEQUENCE second.numbers;
	CREATE TABLE second.seen (runid bigint, jobid bigint, scheduled_at timestamptz, shown text);
	CREATE FUNCTION second.leave() RETURNS void LANGUAGE plpgsql AS $$BEGIN
		PERFORM set_config('work_mem', '1MB', false), set_config('search_path', 'pg_catalog', false),
			set_config('my.setting', 'left', false), set_config('role', 'other', false);
		PERFORM pg_advisory_lock(7), nextval('second.numbers');
		CREATE TEMP TABLE left_behind (n int);
		EXECUTE 'PREPARE left_behind AS SELECT 1';
		EXECUTE 'DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1';
	END$$;
	CREATE FUNCTION second.find() RETURNS void LANGUAGE plpgsql AS $$DECLARE found text; BEGIN
		found := concat_ws(' ', nullif(current_setting('work_mem'), '4MB'), nullif(current_setting('my.setting', true), ''),
			nullif(current_user, 'app'), nullif(current_setting('role'), 'none'), nullif(current_setting('search_path'), 'first, second'),
			(SELECT string_agg(locktype, ' ') FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
			to_regclass('left_behind')::text, (SELECT string_agg(name, ' ') FROM pg_cursors WHERE name = 'left_behind'),
			(SELECT string_agg(name, ' ') FROM pg_prepared_statements));
		BEGIN
			found := found || currval('second.numbers');
		EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL;
		END;
		IF found <> '' THEN RAISE EXCEPTION 'found: %', found; END IF;
	END$$});
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA second TO other; GRANT ALL ON ALL SEQUENCES IN SCHEMA second TO other; GRANT TEMP ON DATABASE postgres TO other');
schedule('leaves', 'SELECT leave()');
schedule('finds', 'SELECT find()');
schedule('sees', q{INSERT INTO seen VALUES (current_setting('cron.run_id')::bigint, current_setting('cron.job_id')::bigint,
	current_setting('cron.scheduled_at')::timestamptz, current_setting('application_name') || ' ' || current_setting('cron.job_name'))});
as_app(q{SELECT cron.run_job(name) FROM generate_series(1, 6), unnest('{leaves,finds,sees,sees}'::text[]) name});
wait_for($node, $unfinished, '0', 'runs have ended that leave something behind, and such that look for it');
is(failures(), '', 'nothing is found');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT r.job_pid),
		bool_and(s.jobid = r.jobid AND s.scheduled_at = r.scheduled_at AND s.shown = format('cron: sees [%s] sees', r.runid))
	FROM second.seen s JOIN cron.job_run_details r USING (runid)}), '12|1|t', 'each sees the settings of its own run');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'and when the worker is idle nothing is left of the last');

done_testing();
