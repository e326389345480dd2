# Workers have runs waiting behind the one they execute: none is lost, doubled or late by that.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('queues', log_min_messages => 'fatal');
$node->start;
my $scheduler = install($node);
make_effects($node);
my $unfinished = "SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')";

# ---- a long run ------------------------------------------------------------------------------

# Thirty-two are asked for by one transaction, the long one first.
$node->safe_psql('postgres', q{
	SELECT cron.schedule('short ' || i, '0 0 1 1 *', 'SELECT 1') FROM generate_series(1, 31) i;
	SELECT cron.schedule('long', '0 0 1 1 *', 'SELECT pg_sleep(3600)');
	SELECT cron.run_job('short 1')});
wait_for($node, $unfinished, '0', 'a worker is there');
for my $round (1 .. 3)
{
	$node->safe_psql('postgres', q{BEGIN; SELECT cron.run_job('long');
		SELECT cron.run_job('short ' || i) FROM generate_series(1, 31) i; COMMIT});
	wait_for($node, "SELECT count(*), min(jobname) FROM cron.job_run_details WHERE status IN ('starting', 'running')",
		'1|long', "what was behind a long run has ended ($round)");
	is($node->safe_psql('postgres', "SELECT cron.cancel_run(max(runid)) FROM cron.job_run_details WHERE jobname = 'long'"),
		't', "and that goes on ($round)");
	wait_for($node, $unfinished, '0', "until it is cancelled ($round)");
}
is($node->safe_psql('postgres', "SELECT status, count(*) FROM cron.job_run_details WHERE jobname LIKE 'short%' GROUP BY 1"),
	'succeeded|94', 'each has run once');
$node->safe_psql('postgres', 'SELECT cron.unschedule(jobid) FROM cron.job; DELETE FROM cron.job_run_details');

# ---- workers and schedulers that end, runs that are cancelled ----------------------------------

my $command = effect();
$node->safe_psql('postgres', qq{
	CREATE TABLE cancelled (runid bigint, answer boolean);
	SELECT cron.schedule('job ' || i, '1 second', \$c\$$command\$c\$) FROM generate_series(1, 300) i;
	SELECT cron.configure_job(jobid, missed => 'all', catchup_window => '1 hour', overlap_policy => 'buffer_all',
		max_retries => 100, retry_period => '1 ms') FROM cron.job});
my $succeeded = "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'";
wait_for($node, "SELECT ($succeeded) > 600", 't', 'runs are made');
for my $round (1 .. 8)
{
	my $before = $node->safe_psql('postgres', $succeeded);
	if ($round % 4 == 0)
	{
		kill 'TERM', $scheduler;
		wait_until(sub { is_gone($scheduler) }, 'the scheduler ends');
		$scheduler = scheduler_pid($node);
	}
	else
	{
		$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE backend_type = 'securatlas_sched job worker'");
	}
	# Those of the next second, wherever they are.
	$node->safe_psql('postgres', q{DO $$
		DECLARE run bigint;
		BEGIN
			FOR i IN 1 .. 1000 LOOP
				SELECT runid INTO run FROM cron.job_run_details WHERE status = 'starting' ORDER BY runid DESC LIMIT 1;
				IF run IS NOT NULL THEN
					INSERT INTO cancelled VALUES (run, cron.cancel_run(run));
					COMMIT;
				END IF;
				EXIT WHEN (SELECT count(*) FROM cancelled WHERE answer) >= 5 * } . $round . q{;
				PERFORM pg_sleep(0.001);
			END LOOP;
		END $$});
	wait_for($node, "SELECT ($succeeded) > $before + 300", 't', "runs go on ($round)");
}
settle($node);
is($node->safe_psql('postgres', q{SELECT jobid, scheduled_at FROM effects GROUP BY 1, 2 HAVING count(*) > 1}), '',
	'nothing has run twice');
is($node->safe_psql('postgres', q{
	SELECT d.runid FROM cron.job_run_details d FULL JOIN effects e USING (jobid, scheduled_at)
	 WHERE d.status = 'succeeded' AND e.jobid IS NULL OR d.jobid IS NULL}), '', 'outcomes and effects are the same');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM cancelled WHERE answer'), '>', 0, 'runs were cancelled');
is($node->safe_psql('postgres', q{SELECT c.answer, d.status, d.reason, d.sqlstate, count(*) FROM cancelled c
	LEFT JOIN cron.job_run_details d USING (runid) WHERE c.answer
	GROUP BY 1, 2, 3, 4}), 't|failed|cancelled|57014|' . $node->safe_psql('postgres', 'SELECT count(*) FROM cancelled WHERE answer'),
	'those of which cron.cancel_run() said so have failed, and say why');
is($node->safe_psql('postgres', q{
	SELECT j.jobid, r.run_at
	  FROM (SELECT jobid, min(scheduled_at) AS first, max(scheduled_at) AS last FROM cron.job_run_details GROUP BY 1) j,
	       LATERAL cron.next_runs('1 second', 10000, j.first) AS r(run_at)
	 WHERE r.run_at < j.last AND NOT EXISTS (
	       SELECT FROM cron.job_run_details d WHERE (d.jobid, d.scheduled_at) = (j.jobid, r.run_at)
	          AND (d.status = 'succeeded' OR d.reason = 'cancelled'))}), '', 'no occurrence is lost');
is($node->safe_psql('postgres', q{SELECT DISTINCT reason, sqlstate FROM cron.job_run_details
	WHERE status <> 'succeeded' AND coalesce(reason, '') NOT IN ('cancelled', 'server restarted', 'job is paused')
	  AND coalesce(sqlstate, '') <> '57P01'}), '', 'and none has failed for another reason');

$node->stop;
done_testing();
