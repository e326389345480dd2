# A role with very many runs leaves other roles their share of workers and claims.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('shares', 'cron.max_running_jobs' => 8, max_worker_processes => 20,
	autovacuum => 'on', autovacuum_naptime => 1);
$node->start;
my $scheduler = install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE greedy LOGIN; CREATE ROLE modest LOGIN; CREATE ROLE third LOGIN;
	GRANT USAGE ON SCHEMA cron TO greedy, modest, third});

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

sub ends_well
{
	my ($run, $what) = @_;
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', $what);
	return;
}

# ---- workers --------------------------------------------------------------------------------

as('modest', "SELECT cron.schedule('modest', '0 0 1 1 *', 'SELECT 1')");
as('third', "SELECT cron.schedule('third', '0 0 1 1 *', 'SELECT 1')");
as('greedy', q{SELECT cron.schedule('long ' || i, '0 0 1 1 *', 'SELECT pg_sleep(3600)') FROM generate_series(1, 20) i;
	SELECT cron.run_job('long ' || i) FROM generate_series(1, 20) i});
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE username = 'greedy' AND status = 'running'", '7',
	'a role alone has seven eighths of the workers');
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE username = 'greedy' AND status = 'starting'
	AND reason = 'waiting for a worker: the role has its share of them, and others come first'}, '13',
	'what waits says why');
ends_well(as('modest', "SELECT cron.run_job('modest')"), 'another role finds a worker');
ends_well(as('third', "SELECT cron.run_job('third')"), 'and a third one, when that is idle');

# One that ends is followed by the next of the same role.
as('greedy', q{SELECT cron.cancel_run(min(runid)) FROM cron.job_run_details WHERE status = 'running'});
wait_for($node, q{SELECT count(*) FILTER (WHERE status = 'running'), count(*) FILTER (WHERE status = 'starting')
	FROM cron.job_run_details WHERE username = 'greedy'}, '7|12', 'the role keeps its share');
as('greedy', q{SELECT cron.unschedule(jobid) FROM cron.job});
as('greedy', q{SELECT cron.cancel_run(runid) FROM cron.job_run_details WHERE status IN ('starting', 'running')});
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')", '0', 'all end');

# ---- a limit of its own ------------------------------------------------------------------------

my ($rc, $out, $err) = $node->psql('postgres', 'SET cron.max_running_jobs_per_role = 100', extra_params => [ '-U', 'greedy' ]);
like($err, qr/permission denied to set parameter "cron.max_running_jobs_per_role"/, 'a role cannot give itself a limit');
$node->safe_psql('postgres', q{ALTER SYSTEM SET cron.max_running_jobs_per_role = 1; SELECT pg_reload_conf();
	ALTER ROLE greedy SET cron.max_running_jobs_per_role = 2});
wait_for($node, 'SHOW cron.max_running_jobs_per_role', '1', 'there is a limit for all');
as('greedy', q{SELECT cron.schedule('limited ' || i, '0 0 1 1 *', 'SELECT pg_sleep(3600)') FROM generate_series(1, 5) i;
	SELECT cron.run_job('limited ' || i) FROM generate_series(1, 5) i});
my $limited = q{SELECT count(*) FILTER (WHERE status = 'running'), count(*) FILTER (WHERE status = 'starting'),
	max(reason) FROM cron.job_run_details WHERE jobname LIKE 'limited%' AND end_time IS NULL};
wait_for($node, $limited, '2|3|waiting for a worker: cron.max_running_jobs_per_role (2) is reached',
	'a role has as many runs as are set for it');
ends_well(as('modest', "SELECT cron.run_job('modest')"), 'another role has its own');
$node->safe_psql('postgres', 'ALTER ROLE greedy SET cron.max_running_jobs_per_role = 4');
wait_for($node, $limited, '4|1|waiting for a worker: cron.max_running_jobs_per_role (4) is reached', 'a higher limit is heeded');
$node->safe_psql('postgres', 'ALTER ROLE greedy SET cron.max_running_jobs_per_role = 0');
wait_for($node, $limited, '5|0|', 'and that there is none');
as('greedy', q{SELECT cron.unschedule(jobid) FROM cron.job; SELECT cron.cancel_run(runid) FROM cron.job_run_details WHERE end_time IS NULL});
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE end_time IS NULL", '0', 'they end');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET cron.max_running_jobs_per_role; SELECT pg_reload_conf(); ALTER ROLE greedy RESET ALL');

# ---- claims ---------------------------------------------------------------------------------

# Ten thousand are due at the same instant, and one; which has the greatest job id, and would come last.
# The scheduler learns of all of them at once, however long it takes to make them.
my $at = $node->safe_psql('postgres', "SELECT now() + interval '5 seconds'");
$node->safe_psql('postgres', qq{BEGIN; SET ROLE greedy;
	SELECT count(cron.schedule('many ' || i, '\@at $at', 'SELECT 1')) FROM generate_series(1, 10000) i;
	SET ROLE modest; SELECT cron.schedule('one', '\@at $at', 'SELECT 1'); COMMIT});
wait_for($node, "SELECT status FROM cron.job_run_details WHERE jobname = 'one'", 'succeeded',
	'the one of another role runs');
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE jobname LIKE 'many %'", '10000',
	'and the ten thousand are claimed');
cmp_ok($node->safe_psql('postgres', q{
	SELECT count(*) FROM cron.job_run_details o, cron.job_run_details m
	 WHERE o.jobname = 'one' AND m.jobname LIKE 'many %' AND m.runid < o.runid}), '<=', 200,
	'it was claimed in the first portion');
wait_for($node, q{SELECT count(*) > 200 FROM cron.job_run_details m, cron.job_run_details o
	WHERE o.jobname = 'one' AND m.jobname LIKE 'many %' AND m.start_time > o.start_time}, 't',
	'and did not wait for them to run');
is(scheduler_pid($node), $scheduler, 'the scheduler is the same');

$node->stop('immediate');
done_testing();
