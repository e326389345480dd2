# Claims and skipped occurrences are written past the executor, or by statements if somebody has added something to the
# tables. Both write the same rows, and neither writes one for an occurrence that has a row.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('new_rows');
$node->start;
install($node);
sub sql { return $node->safe_psql('postgres', $_[0]) }

# The statement looks in the history for each occurrence, and not at all runs of the job.
sub lookups
{
	return sql(q{SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'job_run_details_jobid_scheduled_at_attempt_key'});
}
sub inserted { return sql(q{SELECT n_tup_ins FROM pg_stat_user_tables WHERE relid = 'cron.job_run_details'::regclass}) }

# Makes everything written by statement.
sql(q{CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'});
my %by = (
	'past the executor' => 'DROP TRIGGER IF EXISTS keeps ON cron.job_run_details',
	'by statement' => 'CREATE TRIGGER keeps BEFORE INSERT ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION keep();
		ALTER TABLE cron.job_run_details ENABLE ALWAYS TRIGGER keeps');
my @ways = ('past the executor', 'by statement');

# ---- the same rows ----------------------------------------------------------------------------

my $many = 120;
sql(q{CREATE ROLE alice LOGIN; GRANT USAGE ON SCHEMA cron TO alice; CREATE TABLE effect (note text); GRANT ALL ON effect TO alice});
my $ago = sql(q{SELECT to_char(now() AT TIME ZONE 'UTC' - interval '5 minutes', 'MI HH24') || ' * * *'});
sql(qq{
	SELECT cron.schedule('job ' || i, '$ago', 'SELECT ' || i) FROM generate_series(1, $many) i;
	SELECT cron.schedule('$ago', 'SELECT ''unnamed''');
	SELECT cron.schedule('huge', '$ago', format('SELECT length(%L)', string_agg(md5(i::text), ''))) FROM generate_series(1, 65536) i;
	SELECT cron.schedule('long', '$ago', format('SELECT length(%L)', repeat('x', 100000)));
	SELECT cron.schedule('medium ' || i, '$ago', format('SELECT length(%L)', (SELECT string_agg(md5(i || ' ' || n), '') FROM generate_series(1, 55) n)))
	  FROM generate_series(1, 50) i;
	SELECT cron.schedule('fails', '$ago', 'SELECT 1/0');
	SELECT cron.schedule('failures', '$ago', 'INSERT INTO effect VALUES (''failures'')');
	SELECT cron.schedule('none', '$ago', 'INSERT INTO effect VALUES (''none'')');
	SELECT cron.schedule('skipped ' || i, '$ago', 'SELECT 0') FROM generate_series(1, 30) i;
	SET ROLE alice;
	SELECT cron.schedule('of alice', '$ago', 'SELECT 2');
	RESET ROLE;
	SELECT cron.configure_job(jobid, timezone => 'UTC', missed => CASE WHEN jobname LIKE 'skipped%' THEN 'skip' ELSE 'once' END,
		catchup_window => '1 day', log_runs => CASE WHEN jobname IN ('failures', 'none') THEN jobname ELSE 'all' END) FROM cron.job});
my $jobs = sql('SELECT count(*) FROM cron.job');

# A scheduler ends, which writes its statistics, and another one comes.
sub new_scheduler
{
	my ($pid) = our_pids($node, 'scheduler');
	kill('TERM', $pid);
	wait_until(sub { my ($new) = our_pids($node, 'scheduler'); return defined $new && $new != $pid }, 'another scheduler');
	return;
}

# Everything is due again.
sub due_again
{
	my $session = $node->background_psql('postgres');
	$session->query_safe(q{BEGIN; LOCK cron.scheduler_state; DELETE FROM cron.job_run_details;
		UPDATE cron.job SET planned_from = now() - interval '1 hour';
		UPDATE cron.scheduler_state SET planned_until = now() - interval '1 hour'});
	new_scheduler();
	$session->query_safe('COMMIT');
	$session->quit;
	return;
}

my %rows;
for my $way (@ways)
{
	sql("$by{$way}; TRUNCATE effect");
	my ($inserted, $lookups) = (inserted(), lookups());
	due_again();
	# But for the runs without a row.
	wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('succeeded', 'failed', 'skipped')}, $jobs - 2, "all have ended ($way)");
	wait_for($node, 'SELECT string_agg(note, \', \' ORDER BY note) FROM effect', 'failures, none', "runs without a row have ended ($way)");
	new_scheduler();
	wait_until(sub { inserted() >= $inserted + $jobs - 2 }, 'the statistics have arrived');
	my $looked = lookups() - $lookups;
	cmp_ok($looked, $way eq 'by statement' ? '>=' : '<', $many, "written $way");
	$rows{$way} = sql(q{SELECT jobid, job_pid IS NULL, database, username, length(command), md5(command), status, return_message, start_time IS NOT NULL,
		end_time = start_time, jobname, scheduled_at, attempt, trigger, reason, sqlstate, transactional, roleid
		FROM cron.job_run_details ORDER BY jobid} =~ s/end_time = start_time/CASE status WHEN 'skipped' THEN end_time = start_time END/r);
}
is($rows{'past the executor'}, $rows{'by statement'}, 'the rows are the same in all columns');
like($rows{'past the executor'}, qr/^\d+\|t\|postgres\|postgres\|8\|\w+\|skipped\|\|t\|t\|skipped 1\|.*\|1\|catchup\|missed[^|]*\|\|t\|10$/m, 'a skipped occurrence');
is(sql(q{SELECT count(*) FROM cron.job_run_details d JOIN cron.job j USING (jobid) WHERE d.command <> j.command}), '0', 'commands of any length are those of the jobs');

# ---- whose they are ---------------------------------------------------------------------------

# As the rows of cron.job say at the time of the claim, whatever the scheduler has read.
my %role = (stale => "'alice'::regrole, 'stale'", gone => "4000000, 'gone'", unknown => "NULL, 'nobody'", named => "NULL, 'alice'");
for my $way (@ways)
{
	sql($by{$way});
	sql("SELECT cron.schedule('$_', '1 second', 'SELECT -1')") for sort keys %role;
	my $claimed = q{SELECT count(DISTINCT jobname) FROM cron.job_run_details WHERE command = 'SELECT -1'};
	wait_for($node, $claimed, 4, "jobs run each second ($way)");
	my $last = sql(join(';', 'BEGIN', (map { "ALTER TABLE cron.job DISABLE TRIGGER $_" } qw(job_check job_changed)),
			(map { "UPDATE cron.job SET (roleid, username) = ($role{$_}) WHERE jobname = '$_'" } sort keys %role),
			'LOCK cron.job_run_details', 'SELECT last_value FROM cron.runid_seq', 'COMMIT'));
	wait_for($node, "$claimed AND runid > $last", 4, "jobs run again ($way)");
	is(sql("SELECT DISTINCT jobname, username, roleid::regrole FROM cron.job_run_details WHERE command = 'SELECT -1' AND runid > $last ORDER BY 1"),
		join("\n", 'gone|unknown (OID=4000000)|', 'named|alice|alice', 'stale|alice|alice', 'unknown|nobody|'), "whose the runs are ($way)");
	sql(join(';', (map { "ALTER TABLE cron.job ENABLE ALWAYS TRIGGER $_" } qw(job_check job_changed)),
			'SELECT cron.unschedule(jobid) FROM cron.job', q{DELETE FROM cron.job_run_details WHERE command = 'SELECT -1'}));
}
sql($by{'past the executor'});

# ---- occurrences that have a row --------------------------------------------------------------

sql(q{SELECT cron.schedule(name, '1 second', 'INSERT INTO effect VALUES (''' || name || ''')') FROM unnest('{taken,other}'::text[]) name});
my $taken = sql(q{SELECT jobid FROM cron.job WHERE jobname = 'taken'});
# A row of somebody else for the occurrence in some seconds.
my $take = qq{INSERT INTO cron.job_run_details (jobid, scheduled_at, status, return_message)
	SELECT $taken, to_timestamp(ceil(extract(epoch FROM clock_timestamp())) + 2), 'succeeded', 'somebody else''s' RETURNING scheduled_at};
sub runs_after
{
	my ($at, $what) = @_;
	wait_for($node, "SELECT count(DISTINCT jobid) FROM cron.job_run_details WHERE status = 'succeeded' AND trigger = 'schedule' AND scheduled_at > '$at'", 2, $what);
	return;
}
my $at = sql($take);
runs_after($at, 'after an occurrence that had a row both jobs go on');
is(sql("SELECT return_message, trigger FROM cron.job_run_details WHERE jobid = $taken AND scheduled_at = '$at'"), "somebody else's|", 'which does not run');
is(sql("SELECT count(*) FROM cron.job_run_details WHERE jobid <> $taken AND scheduled_at = '$at'"), '1', 'but the other job');
ok(!log_count($node, qr/may have a row already|duplicate key/), 'nothing is logged of it');

for my $end ('COMMIT', 'ROLLBACK')
{
	my $waits = log_count($node, qr/canceling statement due to lock timeout/);
	my $session = $node->background_psql('postgres');
	($at) = $session->query_safe("BEGIN; $take") =~ /(\d{4}-.*)/;
	wait_until(sub { log_count($node, qr/canceling statement due to lock timeout/) > $waits }, 'the scheduler has waited for the row');
	$session->query_safe($end);
	$session->quit;
	runs_after($at, "both jobs go on after the $end of a row that was not there yet");
	is(sql("SELECT COALESCE(trigger, return_message) FROM cron.job_run_details WHERE jobid = $taken AND scheduled_at = '$at'"),
		$end eq 'COMMIT' ? "somebody else's" : 'schedule', "whose the row is ($end)");
}
wait_until(sub {
	my ($inserted, $lookups) = (inserted(), lookups());
	wait_until(sub { inserted() > $inserted + 3 }, 'some more runs');
	return lookups() == $lookups }, 'later rows are written past the executor again');
ok(!log_count($node, qr/may have a row already|duplicate key/), 'nothing else is logged of it');

# ---- what is added to the history -------------------------------------------------------------

# All new rows of the jobs that follow have it at once, whichever way they are written.
sub next_rows
{
	my ($change, $column, $expected, $what) = @_;
	my $last = sql("BEGIN; $change; SELECT last_value FROM cron.runid_seq; COMMIT");
	wait_for($node, "SELECT count(DISTINCT jobname) FROM cron.job_run_details WHERE runid > $last", 2, "both jobs run: $what");
	is(sql("SELECT DISTINCT $column FROM cron.job_run_details WHERE runid > $last"), $expected, $what);
	return;
}
my $history = 'ALTER TABLE cron.job_run_details';
next_rows("$history ADD COLUMN added text DEFAULT 'x'", 'added', 'x', 'a column with a default');
next_rows("$history ALTER added SET DEFAULT 'y'", 'added', 'y', 'another default');
next_rows("$history DROP COLUMN added, ADD COLUMN other int GENERATED ALWAYS AS (length(jobname) + 1) STORED", 'other', '6', 'a generated column');
next_rows("$history DROP COLUMN other; CREATE FUNCTION tell() RETURNS text LANGUAGE sql AS \$\$SELECT 'told'::text\$\$; $history ALTER reason SET DEFAULT 'never', ADD COLUMN added text DEFAULT public.tell()",
	'added', 'told', "a default of somebody's function");
next_rows("$history DROP COLUMN added, ALTER reason DROP DEFAULT", 'attempt', '1', 'the default is dropped');
next_rows(q{CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.sqlstate := 'MARK'; RETURN NEW; END$$;
	CREATE TRIGGER marks BEFORE INSERT ON cron.job_run_details FOR EACH ROW WHEN (NEW.jobname IS NOT NULL) EXECUTE FUNCTION mark()},
	q{COALESCE(sqlstate, '') = 'MARK'}, 'f', 'a trigger that does not fire for the scheduler');
next_rows('CREATE UNIQUE INDEX again ON cron.job_run_details (attempt, scheduled_at, jobid); CREATE INDEX by_command ON cron.job_run_details (length(command), reason);
	DROP INDEX cron.job_run_details_roleid_idx', 'attempt', '1', 'other indexes');
# What it is refused with is tried again.
for my $refusal ([ "$history ADD CONSTRAINT nothing CHECK (jobname <> 'taken') NOT VALID", "$history DROP CONSTRAINT nothing", 'check constraint "nothing"' ],
	[ "$history ALTER sqlstate SET NOT NULL", "$history ALTER sqlstate DROP NOT NULL", 'not-null constraint' ])
{
	my ($add, $drop, $message) = @$refusal;
	sql("BEGIN; LOCK cron.job_run_details; UPDATE cron.job_run_details SET sqlstate = '' WHERE sqlstate IS NULL; $add; COMMIT");
	wait_until(sub { log_count($node, qr/violates $message/) }, "a new row is refused by a $message");
	next_rows($drop, 'attempt', '1', "and the rows are written without the $message");
}

sql('SELECT cron.unschedule(jobid) FROM cron.job');
SKIP:
{
	skip 'no amcheck here', 1 unless sql(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'});
	sql('CREATE EXTENSION amcheck');
	is(sql(q{SELECT count(bt_index_check(indexrelid, true)) FROM pg_index WHERE indrelid = 'cron.job_run_details'::regclass}),
		sql(q{SELECT count(*) FROM pg_index WHERE indrelid = 'cron.job_run_details'::regclass}), 'each index has all rows');
}

$node->stop;
done_testing();
