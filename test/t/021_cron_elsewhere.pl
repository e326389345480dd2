# Waiting runs in another database: their rows say why they wait, they can be cancelled and then
# leave nothing behind, and if one cannot start the others still do.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('elsewhere', 'cron.max_running_jobs' => 1, dynamic_shared_memory_type => 'mmap',
	autovacuum => 'on', autovacuum_naptime => 1);
$node->start;
my $scheduler = install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE anna LOGIN; CREATE ROLE bert LOGIN; CREATE DATABASE elsewhere;
	GRANT USAGE ON SCHEMA cron TO anna, bert;
	GRANT EXECUTE ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) TO anna, bert;
	SELECT cron.schedule('blocker', '0 0 1 1 *', 'SELECT pg_sleep(3600)');});

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

sub make_job
{
	my ($role, $name, $schedule) = @_;
	$schedule //= '0 0 1 1 *';
	as($role, "SELECT cron.schedule_in_database('$name', '$schedule', 'SELECT 1', 'elsewhere')");
	return;
}

sub is_row
{
	my ($run, $expected, $what) = @_;
	wait_for($node, "SELECT status, coalesce(reason, '-') FROM cron.job_run_details WHERE runid = $run", $expected, $what);
	return;
}

# Segments of dynamic shared memory, as files. Counters of jobs have some of their own, which stay.
sub segments { return scalar(my @found = glob($node->data_dir . '/pg_dynshmem/*')); }

# Takes the only slot.
sub block
{
	my $run = $node->safe_psql('postgres', "SELECT cron.run_job('blocker')");
	is_row($run, 'running|-', 'the only slot is taken');
	return $run;
}

sub unblock
{
	my ($run) = @_;
	is($node->safe_psql('postgres', "SELECT cron.cancel_run($run)"), 't', 'the slot becomes free');
	return;
}

my $reason = 'waiting for a worker: cron.max_running_jobs (1) is reached';
as('anna', "SELECT cron.schedule('counted', '0 0 1 1 *', 'SELECT 1')");
is_row(as('anna', "SELECT cron.run_job('counted')"), 'succeeded|-', 'a run whose counters need memory');
my $at_first = segments();

# ---- one that waits for a slot --------------------------------------------------------------

make_job('anna', 'theirs');
make_job('bert', 'other');
my $blocker = block();
my $run = as('anna', "SELECT cron.run_job('theirs')");
is_row($run, "starting|$reason", 'a run in another database that waits for a slot says so');
is(as('anna', "SELECT cron.cancel_run($run)"), 't', 'it can be cancelled');
is_row($run, 'failed|cancelled', 'and its row says so at once');

as('anna', "SELECT cron.schedule_in_database('replaced', '1 second', 'SELECT 1', 'elsewhere')");
as('anna', "SELECT cron.configure_job('replaced', overlap_policy => 'cancel_other')");
wait_for($node, q{SELECT count(*) > 2 FROM cron.job_run_details
	WHERE jobname = 'replaced' AND status = 'skipped' AND reason LIKE 'cancelled: the next run%'}, 't',
	'the next run takes the place of one that waits');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.job_run_details
	WHERE database = 'elsewhere' AND (status = 'running' OR NOT transactional)}), '0',
	'none says that it runs, or that it has begun');
as('anna', "SELECT cron.unschedule('replaced')");
as('anna', "SELECT cron.cancel_run(runid) FROM cron.job_run_details WHERE jobname = 'replaced' AND status = 'starting'");
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE jobname = 'replaced' AND status = 'starting'", '0',
	'none of them is left over');
is(segments(), $at_first, 'and no shared memory');

# ---- one whose row is locked ----------------------------------------------------------------

$run = as('anna', "SELECT cron.run_job('theirs')");
my $other = as('bert', "SELECT cron.run_job('other')");
is_row($run, "starting|$reason", 'two runs wait');
is_row($other, "starting|$reason", 'of two roles');
my $locker = $node->background_psql('postgres', extra_params => [ '-U', 'anna' ]);
$locker->query("BEGIN; DELETE FROM cron.job_run_details WHERE runid = $run");
unblock($blocker);
is_row($other, 'succeeded|-', 'a run whose row is locked keeps no younger one of another role from starting');
is($node->safe_psql('postgres', "SELECT status FROM cron.job_run_details WHERE runid = $run"), 'starting',
	'it waits');
is($node->safe_psql('postgres', 'SELECT waiting FROM cron.scheduler_status'), '1', 'and is counted');
$other = as('bert', "SELECT cron.run_job('other')");
is_row($other, 'succeeded|-', 'also one that is asked for now');
$locker->query('ROLLBACK');
$locker->quit;
is_row($run, 'succeeded|-', 'it starts when its row is free');
is($node->safe_psql('postgres', "SELECT transactional FROM cron.job_run_details WHERE runid = $run"), 'f',
	'its row says that effects and outcome were not one transaction');

# Locked before the scheduler has looked at it at all, and the oldest.
wait_for($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $scheduler", wait_name('CronSchedulerMain'), 'the scheduler sleeps');
kill 'STOP', $scheduler;
$run = as('anna', "SELECT cron.run_job('theirs')");
$locker = $node->background_psql('postgres', extra_params => [ '-U', 'anna' ]);
$locker->query("BEGIN; DELETE FROM cron.job_run_details WHERE runid = $run");
$other = as('bert', "SELECT cron.run_job('other')");
kill 'CONT', $scheduler;
is_row($other, 'succeeded|-', 'a run whose row was locked from the beginning keeps no other one from starting');
$locker->query('ROLLBACK');
$locker->quit;
is_row($run, 'succeeded|-', 'it starts, too, when its row is free');

# ---- no shared memory -----------------------------------------------------------------------

chmod 0500, $node->data_dir . '/pg_dynshmem' or die $!;
$run = as('anna', "SELECT cron.run_job('theirs')");
wait_for($node, "SELECT status, reason LIKE 'could not be handed out yet: %' FROM cron.job_run_details
	WHERE runid = $run", 'starting|t', 'a run that cannot be handed out says why');
$node->safe_psql('postgres', "SELECT cron.schedule('here', '0 0 1 1 *', 'SELECT 1')");
my $here = $node->safe_psql('postgres', "SELECT cron.run_job('here')");
is_row($here, 'succeeded|-', 'others go on');
is($node->safe_psql('postgres', "SELECT transactional FROM cron.job_run_details WHERE runid = $run"), 't',
	'it has not begun');
chmod 0700, $node->data_dir . '/pg_dynshmem' or die $!;
is_row($run, 'succeeded|-', 'with shared memory it runs');
wait_until(sub { segments() == $at_first }, 'segments are released');
pass('and all segments are released');
cmp_ok(log_count($node, 'could not hand out'), '<=', 1, 'the log says it once');
is(scheduler_pid($node), $scheduler, 'the scheduler is the same');

invariants_hold($node, 'at the end');
$node->stop;
done_testing();
