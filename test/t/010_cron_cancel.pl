# Cancelling runs: in one database while another one has runs with the same ids, a command that catches
# its cancellation, and a run that has ended.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('cancel', max_worker_processes => 20, init => { allows_streaming => 1 });
$node->start;
install($node);
$node->safe_psql('postgres', 'CREATE DATABASE other; CREATE ROLE anna LOGIN; CREATE ROLE bert LOGIN');
install($node, 'other');
$node->safe_psql($_, 'GRANT USAGE ON SCHEMA cron TO anna, bert') for qw(postgres other);

sub sleeping
{
	my ($database) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity
		WHERE datname = '$database' AND backend_type = 'securatlas_sched job worker' AND state = 'active'");
}

# A run of bert's that goes on, in the other database, and its number.
sub endless_run
{
	my ($database, $role, $name) = @_;
	$node->safe_psql($database, "SELECT cron.schedule('$name', '0 0 1 1 *', 'SELECT pg_sleep(3600)')",
		extra_params => [ '-U', $role ]);
	my $run = $node->safe_psql($database, "SELECT cron.run_job('$name')", extra_params => [ '-U', $role ]);
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'running',
		"run $run of $role goes on in $database", $database);
	return $run;
}

# ---- a run that has ended long ago ----------------------------------------------------------

my @mine;
for my $i (1 .. 3)
{
	$node->safe_psql('postgres', "SELECT cron.schedule('short $i', '0 0 1 1 *', 'SELECT 1')",
		extra_params => [ '-U', 'anna' ]);
	push @mine, $node->safe_psql('postgres', "SELECT cron.run_job('short $i')", extra_params => [ '-U', 'anna' ]);
}
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'}, '3', 'three runs of anna end');

my @theirs = map { endless_run('other', 'bert', "endless $_") } 1 .. 3;
is("@mine", "@theirs", 'the runs of both databases have the same numbers');
for my $run (@mine)
{
	is($node->safe_psql('postgres', "SELECT cron.cancel_run($run)", extra_params => [ '-U', 'anna' ]), 'f',
		"there is no run $run to cancel any more");
}

# ---- a run that goes on in both -------------------------------------------------------------

my $here = endless_run('postgres', 'anna', 'endless');
my $there = endless_run('other', 'bert', 'endless');
is($here, $there, 'one more of the same number');
is($node->safe_psql('postgres', "SELECT cron.cancel_run($here)", extra_params => [ '-U', 'anna' ]), 't',
	'the own run can be cancelled');
wait_for($node, "SELECT status, reason FROM cron.job_run_details WHERE runid = $here", 'failed|cancelled',
	'it is the one that ends');

# ---- overlap_policy = cancel_other ----------------------------------------------------------

# Its first run has a number that a run of the other database has, too.
$node->safe_psql('postgres', "SELECT setval('cron.runid_seq', $theirs[0], false)");
$node->safe_psql('postgres', 'DELETE FROM cron.job_run_details');
$node->safe_psql('postgres', q{
	SELECT cron.schedule('next', '1 second', 'SELECT pg_sleep(3600)');
	SELECT cron.configure_job('next', overlap_policy => 'cancel_other')});
wait_for($node, q{SELECT count(*) >= 3 FROM cron.job_run_details WHERE reason = 'cancelled'}, 't',
	'each run of the job ends the one before');
$node->safe_psql('postgres', q{SELECT cron.unschedule('next')});

# ---- nothing of that was the other database's -----------------------------------------------

is($node->safe_psql('other', q{SELECT string_agg(DISTINCT status, ',') || ' ' || count(*) FROM cron.job_run_details}),
	'running 4', 'the runs of the other database go on');
is(sleeping('other'), '4', 'and their workers');

# A run in another database belongs to the database that scheduled it.
$node->safe_psql('postgres', q{SELECT cron.schedule_in_database('away', '0 0 1 1 *', 'SELECT pg_sleep(3600)', 'other')});
my $away = $node->safe_psql('postgres', q{SELECT cron.run_job('away')});
wait_for($node, q{SELECT count(*) FROM pg_stat_activity
	WHERE datname = 'other' AND backend_type = 'securatlas_sched job worker' AND state = 'active'}, '5',
	'a run in the other database starts');
is($node->safe_psql('postgres', "SELECT cron.cancel_run($away)"), 't', 'it can be cancelled where it was scheduled');
wait_for($node, "SELECT status, reason FROM cron.job_run_details WHERE runid = $away", 'failed|cancelled',
	'and says so there');
is($node->safe_psql('other', q{SELECT string_agg(DISTINCT status, ',') || ' ' || count(*) FROM cron.job_run_details}),
	'running 4', 'the runs of the other database go on all the same');

# ---- a command that does not want to end ----------------------------------------------------

sub run_of
{
	my ($name, $command, $wait) = @_;
	$node->safe_psql('postgres', "SET synchronous_commit = local;
		SELECT cron.schedule('$name', '0 0 1 1 *', \$c\$$command\$c\$);
		SELECT cron.configure_job('$name', max_retries => 5, retry_period => '1 ms')");
	my $run = $node->safe_psql('postgres', "SET synchronous_commit = local; SELECT cron.run_job('$name')");
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cron: $name [$run]' AND wait_event = '$wait'",
		'1', "$name: it has begun");
	return $run;
}
my $ended = 'SELECT status, reason, sqlstate, return_message FROM cron.job_run_details WHERE runid =';
my $cancelled = 'failed|cancelled|57014|ERROR: canceling statement due to cron.cancel_run()';
my $run = run_of('goes on', q{DO $$BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END;
	END LOOP; END$$}, 'PgSleep');
is($node->safe_psql('postgres', "SELECT cron.cancel_run($run)"), 't', 'a run that catches its cancellation is cancelled');
wait_for($node, "$ended $run", $cancelled, 'it is asked again until it ends');
$run = run_of('has its own error', q{DO $$BEGIN
	PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN RAISE 'no, thanks'; END$$}, 'PgSleep');
is($node->safe_psql('postgres', "SELECT cron.cancel_run($run)"), 't', 'one that raises another error is cancelled');
wait_for($node, "$ended $run", $cancelled, 'and its row says so');
$run = $node->safe_psql('postgres', "SELECT cron.run_job('short 1')");
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', 'another job runs');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.job_run_details WHERE attempt > 1}), '0',
	'a cancelled run has no retry');

# ---- a run that commits ---------------------------------------------------------------------

$node->safe_psql('postgres', q{CREATE TABLE written (i int); ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
$run = run_of('commits', 'SET synchronous_commit = on; INSERT INTO written VALUES (1)', 'SyncRep');
is($node->safe_psql('postgres', "SELECT cron.cancel_run($run)"), 'f', 'a run that commits its end cannot be cancelled');

# ---- a run that has written nothing -----------------------------------------------------------

# Its record waits for neither the disk nor a standby, unless somebody has said so.
$node->safe_psql('postgres', q{SET synchronous_commit = local;
	CREATE ROLE careful LOGIN; ALTER ROLE careful SET synchronous_commit = on; GRANT USAGE ON SCHEMA cron TO careful;
	SELECT cron.schedule('reads', '0 0 1 1 *', 'SELECT count(*) FROM pg_class')});
my @waiting = ($run);
$run = $node->safe_psql('postgres', "SET synchronous_commit = local; SELECT cron.run_job('reads')");
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', 'a run that only reads waits for nobody');
push @waiting, run_of('writes', 'SET LOCAL search_path = public; INSERT INTO written VALUES (2)', 'SyncRep');
push @waiting, run_of('wants to wait', 'SET synchronous_commit = on; SELECT 1', 'SyncRep');
$node->safe_psql('postgres', q{SET synchronous_commit = local;
	SELECT cron.schedule_in_database('of a role', '0 0 1 1 *', 'SELECT 1', 'postgres', 'careful')});
push @waiting, $node->safe_psql('postgres', "SET synchronous_commit = local; SELECT cron.run_job('of a role')");
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'careful' AND wait_event = 'SyncRep'}, '1',
	'the synchronous_commit of its role goes first');
$node->safe_psql('postgres', 'ALTER SYSTEM SET cron.sync_read_only_runs = on; SELECT pg_reload_conf()');
wait_for($node, 'SHOW cron.sync_read_only_runs', 'on', 'a setting');
push @waiting, run_of('is told to wait', 'SELECT 1', 'SyncRep');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET cron.sync_read_only_runs; ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()');
wait_for($node, 'SELECT DISTINCT status FROM cron.job_run_details WHERE runid IN (' . join(', ', @waiting) . ')',
	'succeeded', 'all that waited have succeeded');

invariants_hold($node, 'at the end');
$node->stop;
done_testing();
