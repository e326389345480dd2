# What waits for a worker starts by its job's priority, and waiting makes up for priority.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('priority', 'cron.max_running_jobs' => 1);
$node->start;
my $scheduler = install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; CREATE ROLE other LOGIN;
	GRANT USAGE ON SCHEMA cron TO app, other});

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

# The one worker executes this run until the lock is released.
as('app', q{SELECT cron.schedule('gate', '0 0 1 1 *', 'SELECT pg_advisory_lock(1), pg_advisory_unlock(1)')});
my $gate = $node->background_psql('postgres');
sub close_gate
{
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	as('app', "SELECT cron.run_job('gate')");
	wait_for($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}, '1', 'the worker is busy');
	return;
}
sub open_gate
{
	my ($waiting) = @_;
	wait_for($node, 'SELECT waiting FROM cron.scheduler_status', $waiting, "$waiting wait for it");
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE end_time IS NULL}, '0', 'and are executed');
	return;
}
my $order = q{SELECT string_agg(jobname, ' ' ORDER BY start_time) FROM cron.job_run_details WHERE jobname <> 'gate'};

# ---- higher first ------------------------------------------------------------------------------

as('app', q{
	SELECT cron.schedule(name, '0 0 1 1 *', 'SELECT 1') FROM unnest('{lowest,low,usual,high}'::text[]) name;
	SELECT cron.configure_job('lowest', priority => -100), cron.configure_job('low', priority => -1), cron.configure_job('high', priority => 3)});
close_gate();
as('app', q{SELECT cron.run_job(name) FROM unnest('{lowest,low,usual,high}'::text[]) name});
open_gate(4);
is($node->safe_psql('postgres', $order), 'high usual low lowest', 'the run of the higher priority starts first');
$node->safe_psql('postgres', 'DELETE FROM cron.job_run_details');

# A run keeps the place that it has: a change is for those that become due later.
close_gate();
as('app', q{SELECT cron.run_job(name) FROM unnest('{low,usual}'::text[]) name});
wait_for($node, 'SELECT waiting FROM cron.scheduler_status', '2', 'two wait');
as('app', q{SELECT cron.configure_job('low', priority => 100)});
wait_for($node, q{SELECT cron.run_job('low') > 0}, 't', 'a third is asked for');
open_gate(2);
is($node->safe_psql('postgres', $order), 'usual low low', 'what waits keeps its place');
$node->safe_psql('postgres', 'DELETE FROM cron.job_run_details');

# ---- waiting makes up for it ---------------------------------------------------------------------

close_gate();
as('app', q{BEGIN;
	SELECT cron.schedule_once('old', now() - interval '20 seconds', 'SELECT 1');
	SELECT cron.schedule_once('one point', now(), 'SELECT 1'), cron.configure_job('one point', priority => 1);
	SELECT cron.schedule_once('three points', now(), 'SELECT 1'), cron.configure_job('three points', priority => 3);
	SELECT cron.schedule_once('three points, less old', now() - interval '5 seconds', 'SELECT 1'),
	       cron.configure_job('three points, less old', priority => 3);
	COMMIT});
open_gate(4);
is($node->safe_psql('postgres', q{SELECT string_agg(jobname, '; ' ORDER BY start_time) FROM cron.job_run_details WHERE jobname <> 'gate'}),
	'three points, less old; three points; old; one point', 'a point outweighs ten seconds of waiting');
$node->safe_psql('postgres', 'DELETE FROM cron.job_run_details');

# ---- other roles ---------------------------------------------------------------------------------

# Another role's run was asked for before, and the worker is free for it when its turn comes.
close_gate();
as('other', q{SELECT cron.schedule('of another', '0 0 1 1 *', 'SELECT 1'), cron.run_job('of another')});
as('app', q{SELECT cron.run_job('high')});
open_gate(2);
is($node->safe_psql('postgres', $order), 'of another high', 'a priority is worth nothing against other roles');
$node->safe_psql('postgres', 'DELETE FROM cron.job_run_details');

# ---- claims --------------------------------------------------------------------------------------

# The last ones have the higher priority.
as('app', q{BEGIN;
	SELECT count(cron.schedule_once('many ' || i, now(), 'SELECT 1')) FROM generate_series(1, 400) i;
	SELECT count(cron.configure_job('many ' || i, priority => 10)) FROM generate_series(351, 400) i;
	COMMIT});
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded' AND jobname LIKE 'many %'}, '400', 'many are executed');
is($node->safe_psql('postgres', q{
	SELECT min(split_part(jobname, ' ', 2)::int), count(*)
	  FROM (SELECT * FROM cron.job_run_details WHERE jobname LIKE 'many %' ORDER BY runid LIMIT 50) first}), '351|50',
	'of what is due at the same time that of the higher priority is claimed first');
is($node->safe_psql('postgres', q{
	SELECT min(split_part(jobname, ' ', 2)::int)
	  FROM (SELECT * FROM cron.job_run_details WHERE jobname LIKE 'many %' ORDER BY start_time LIMIT 50) first}), '351',
	'and starts first');
$node->safe_psql('postgres', 'DELETE FROM cron.job_run_details');

is(scheduler_pid($node), $scheduler, 'the scheduler is the same');
$gate->quit;
$node->stop;
done_testing();
