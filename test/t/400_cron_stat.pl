# Statistics: they count what has happened, stay over a restart, begin anew after a crash, and go with
# their job and their database.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('stat', log_min_messages => 'warning');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	SELECT cron.schedule('good', '0 0 1 1 *', 'SELECT pg_sleep(0.02)');
	SELECT cron.schedule('bad', '0 0 1 1 *', 'SELECT 1/0');
	SELECT cron.schedule('long', '0 0 1 1 *', 'SELECT pg_sleep(3600)');
	SELECT cron.schedule('often', '1 second', $$DO 'BEGIN RAISE ''no''; END'$$);
	SELECT cron.configure_job('often', max_retries => 1, retry_period => '1 ms')});

sub figures
{
	my ($columns, $job) = @_;
	return "SELECT $columns FROM cron_stat.jobs WHERE jobname = '$job'";
}

# ---- runs ------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT cron.run_job('good') FROM generate_series(1, 3);
	SELECT cron.run_job('bad'); SELECT cron.run_job('long')});
wait_for($node, figures('runs, succeeded, failed, last_status', 'good'), '3|3|0|succeeded', 'runs that succeed are counted');
is($node->safe_psql('postgres', figures('total_time >= 0.06, max_time >= 0.02, max_time <= total_time,
	last_success > last_start, total_lag > 0, max_lag <= total_lag, overdue_by IS NULL, stats_reset IS NOT NULL', 'good')),
	't|t|t|t|t|t|t|t', 'with their times');
wait_for($node, figures('runs, succeeded, failed, last_status, consecutive_failures', 'bad'), '1|0|1|failed|0',
	'so is one that fails; one that was asked for is no failure of the schedule');
wait_for($node, "SELECT count(*) FROM cron_stat.workers w JOIN cron_stat.jobs j USING (jobid)
	WHERE j.jobname = 'long' AND w.state = 'busy' AND w.pid IS NOT NULL AND w.started IS NOT NULL", '1',
	'the worker of a run is shown');
$node->safe_psql('postgres', q{SELECT cron.cancel_run(max(runid)) FROM cron.job_run_details WHERE jobname = 'long'});
wait_for($node, figures('runs, cancelled, last_status', 'long'), '1|1|cancelled', 'one that was cancelled');
wait_for($node, figures('retries >= 2 AND failed = retries + consecutive_failures', 'often'), 't',
	'retries are runs, and attempts of one occurrence are one failure');
$node->safe_psql('postgres', q{SELECT cron.pause('often')});
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}, '0', 'no run is left');
wait_for($node, q{SELECT (SELECT sum(runs) FROM cron_stat.jobs)
	= (SELECT count(*) FROM cron.job_run_details WHERE status IN ('succeeded', 'failed'))}, 't',
	'the counters agree with the history');

# Overlap is a reason.
$node->safe_psql('postgres', q{SELECT cron.schedule('slow', '1 second', 'SELECT pg_sleep(3600)')});
wait_for($node, "SELECT skipped > 0 FROM cron_stat.reasons WHERE reason = 'overlap'", 't', 'occurrences that are skipped count for their reason');
wait_for($node, figures(q{skipped > 0 AND lost_by_reason = jsonb_build_object('overlap', skipped)}, 'slow'), 't', 'and for their job');
$node->safe_psql('postgres', q{SELECT cron.unschedule('slow')});
wait_for($node, q{SELECT count(*) FROM cron_stat.workers WHERE state = 'busy'}, '0', 'its run ends')
	if $node->safe_psql('postgres', q{SELECT cron.cancel_run(max(runid)) FROM cron.job_run_details WHERE jobname = 'slow' AND status IN ('starting', 'running')});

# ---- who sees what -----------------------------------------------------------------------------

is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.jobs', extra_params => [ '-U', 'watcher' ]), '4',
	'a member of pg_monitor sees all jobs');
isnt($node->psql('postgres', 'SELECT cron_stat.reset()', extra_params => [ '-U', 'watcher' ]), 0, 'and resets nothing');
like($node->safe_psql('postgres', 'SELECT cron_stat.openmetrics()', extra_params => [ '-U', 'watcher' ]),
	qr/^cron_job_runs_total\{job="good",jobid="\d+",status="succeeded",database="postgres"\} 3$/m, 'and sees them as OpenMetrics');

# ---- a restart, and reset ------------------------------------------------------------------------

my $all = 'SELECT jobname, runs, succeeded, failed, cancelled, retries, skipped, total_time, last_success, stats_reset
	FROM cron_stat.jobs ORDER BY jobname';
my $before = $node->safe_psql('postgres', $all);
# By failures in a row, then by runs, then the older one.
my $top = q{SELECT string_agg(jobname, ' ') FROM cron_stat.top_jobs(%d)};
is($node->safe_psql('postgres', sprintf($top, 2)), 'often good', 'the job that fails comes first, then the busiest');
my $files = $node->data_dir . '/pg_stat/securatlas_sched.*';
$node->stop;
is(scalar(my @kept = glob $files), 1, 'while the server is down, a file keeps them');
$node->start;
scheduler_pid($node);
wait_for($node, "SELECT restarts FROM cron_stat.schedulers", '1', 'the restart is counted');
is($node->safe_psql('postgres', $all), $before, 'a clean restart changes no counter');
is($node->safe_psql('postgres', sprintf($top, 2)), 'often good', 'nor the order of jobs');
is(scalar(my @left = glob $files), 0, 'and the file is gone');

$node->safe_psql('postgres', q{SELECT cron_stat.reset_job(jobid) FROM cron.job WHERE jobname = 'good'});
is($node->safe_psql('postgres', figures('runs, total_time, last_success, stats_reset > now() - interval \'1 hour\'', 'good')),
	'0|0||t', 'the counters of one job are set to 0');
is($node->safe_psql('postgres', figures('runs', 'bad')), '1', 'and those of no other');
is($node->safe_psql('postgres', sprintf($top, 10)), 'often bad long good', 'and it is the last one');
$node->safe_psql('postgres', 'SELECT cron_stat.reset()');
is($node->safe_psql('postgres', 'SELECT sum(runs), sum(skipped) FROM cron_stat.jobs'), '0|0', 'then all of them');
is($node->safe_psql('postgres', 'SELECT sum(skipped), sum(missed) FROM cron_stat.reasons'), '0|0', 'and those of reasons');

# ---- jobs and databases that go --------------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT cron.run_job('good')});
wait_for($node, figures('runs', 'good'), '1', 'it is counted again');
my $id = $node->safe_psql('postgres', q{SELECT jobid FROM cron.job WHERE jobname = 'good'});
$node->safe_psql('postgres', q{SELECT cron.unschedule('good')});
wait_for($node, "SELECT (cron_stat._job($id)).succeeded", '0', 'what was counted of a job goes with it');
is($node->safe_psql('postgres', "SELECT $id = ANY (cron_stat._top_jobs(10))"), 'f', 'so that it is not among the busiest');
$node->safe_psql('postgres', q{SELECT cron.schedule('newer', '0 0 1 1 *', 'SELECT 1'); SELECT cron.run_job('newer') FROM generate_series(1, 2)});
wait_for($node, figures('runs', 'newer'), '2', 'another job is counted');
is($node->safe_psql('postgres', sprintf($top, 10)), 'newer bad long often', 'and is among them');
$node->safe_psql('postgres', q{SELECT cron.unschedule('newer')});

$node->safe_psql('postgres', 'CREATE DATABASE other');
install($node, 'other');
$node->safe_psql('other', q{SELECT cron.schedule('theirs', '0 0 1 1 *', 'SELECT 1'); SELECT cron.run_job('theirs')});
wait_for($node, 'SELECT runs FROM cron_stat.jobs', '1', 'another database counts for itself', 'other');
is($node->safe_psql('other', 'SELECT count(*) FROM cron_stat.schedulers'), '2', 'the schedulers of all databases are shown');
$node->safe_psql('postgres', 'DROP DATABASE other');
wait_for($node, 'SELECT count(*) FROM cron_stat.schedulers', '1', 'a database that is dropped is not shown');
$node->stop;
is(scalar(@kept = glob $files), 1, 'and nothing of it is kept');
$node->start;
scheduler_pid($node);

# ---- crashes ---------------------------------------------------------------------------------------

wait_for($node, figures('runs', 'bad'), '0', 'before the crash');
$node->safe_psql('postgres', q{SELECT cron.run_job('bad')});
wait_for($node, figures('failed', 'bad'), '1', 'a run is counted');
my $reset = $node->safe_psql('postgres', 'SELECT stats_reset FROM cron_stat.schedulers');
# A scheduler that ends alone leaves a file, which must not outlive a crash.
my $pid = scheduler_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for($node, "SELECT pid <> $pid FROM cron_stat.schedulers", 't', 'the scheduler is replaced');
is($node->safe_psql('postgres', figures('failed', 'bad')), '1', 'and the counters stay');
kill_server($node);
$node->start;
scheduler_pid($node);
is($node->safe_psql('postgres', figures('failed', 'bad')), '0', 'after a crash they begin anew');
is($node->safe_psql('postgres', "SELECT stats_reset > '$reset' FROM cron_stat.schedulers"), 't', 'and stats_reset says since when');
is(scalar(my @none = glob $files), 0, 'no file is left');

$node->stop;
done_testing();
