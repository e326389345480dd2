# What a scheduler finds when it starts: locked rows, for which it does not wait, and rows of other
# servers.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('former', autovacuum => 'on', max_worker_processes => 30);
$node->start;
install($node);
make_effects($node);
sub sql { return $node->safe_psql('postgres', $_[0]) }
sql(q{CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT USAGE ON SCHEMA cron TO alice, bob;
	SET ROLE alice; SELECT cron.schedule('yearly', '0 0 1 1 *', $c$} . effect() . q{$c$);
	SELECT cron.schedule('each second', '1 second', $c$} . effect() . q{$c$);
	SELECT cron.configure_job('each second', missed => 'all');
	RESET ROLE; SET ROLE bob; SELECT cron.schedule('each second', '1 second', $c$} . effect() . q{$c$);
	SELECT cron.configure_job('each second', missed => 'all')});
my ($yearly, $often) = map { sql("SELECT jobid FROM cron.job WHERE username = 'alice' AND jobname = '$_'") } 'yearly', 'each second';
my $bob = sql("SELECT jobid FROM cron.job WHERE username = 'bob'");

sub jobs_run
{
	my ($what) = @_;
	my $now = sql('SELECT clock_timestamp()');
	wait_for($node, "SELECT count(*) > 1 FROM effects WHERE at > '$now' AND jobid = $bob", 't', $what);
	return;
}
# A scheduler ends and another one comes. Sessions stay.
sub new_scheduler
{
	my ($pid) = our_pids($node, 'scheduler');
	kill('TERM', $pid);
	wait_until(sub { my ($new) = our_pids($node, 'scheduler'); return defined $new && $new != $pid }, 'another scheduler');
	return;
}
sub session
{
	my ($sql) = @_;
	my $session = $node->background_psql('postgres');
	$session->query_safe($sql);
	return $session;
}
jobs_run('jobs run before anything is locked');

# ---- locked rows ------------------------------------------------------------------------------

# A run that nobody has finished, as a crash leaves it.
sub unfinished
{
	my ($values) = @_;
	sql("SET session_replication_role = replica;
		INSERT INTO cron.job_run_details (jobid, database, username, command, status, scheduled_at, trigger) VALUES $values");
	return;
}
unfinished("($yearly, 'postgres', 'alice', 'SELECT 1', 'running', now(), 'schedule'),
	($yearly, 'postgres', 'alice', 'SELECT 1', 'starting', pg_postmaster_start_time() - interval '1 ms', 'manual')");
my $alice = session("SET ROLE alice; BEGIN; DELETE FROM cron.job_run_details WHERE jobid = $yearly");
my $super = session('BEGIN; SELECT FROM cron.scheduler_state FOR UPDATE');
new_scheduler();
jobs_run('a new scheduler runs jobs while rows of interrupted runs and of its state are locked');
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE jobid = $yearly AND attempt = 2 AND status = 'succeeded'",
	'2', 'interrupted runs whose rows are locked are repeated before the rows are unlocked');
$alice->query_safe('ROLLBACK');
$super->query_safe('ROLLBACK');
wait_for($node, "SELECT string_agg(attempt || ' ' || status, ', ' ORDER BY scheduled_at, attempt) FROM cron.job_run_details
	WHERE jobid = $yearly", '1 failed, 2 succeeded, 1 failed, 2 succeeded', 'the rows of interrupted runs end when they are unlocked');
is(sql("SELECT count(*) FROM effects WHERE jobid = $yearly"), '2', 'each interrupted run is repeated once');
new_scheduler();
jobs_run('jobs run with the scheduler that starts after the rows are unlocked');
is(sql("SELECT count(*) FROM cron.scheduler_state"), '1', 'cron.scheduler_state has one row again after the next start');

# An interrupted run of a job that cannot be loaded yet: as if the database had been renamed, and
# somebody locked the job.
sql("DELETE FROM cron.job_run_details WHERE jobid = $yearly");
unfinished("($yearly, 'postgres', 'alice', 'SELECT 1', 'running', now(), 'schedule')");
sql("UPDATE cron.job SET database = 'former' WHERE jobid = $yearly");
$super->query_safe("BEGIN; SELECT FROM cron.job WHERE jobid = $yearly FOR UPDATE");
sql("UPDATE cron.scheduler_state SET database_name = 'former'");
my $attempts = "SELECT string_agg(attempt || ' ' || status, ', ' ORDER BY attempt) FROM cron.job_run_details WHERE jobid = $yearly";
for my $which ('first', 'second')
{
	new_scheduler();
	jobs_run("other jobs run with the $which scheduler that cannot load a job with an interrupted run");
	is(sql($attempts), '1 running', "the interrupted run of a job that cannot be loaded stays unfinished with the $which scheduler");
}
$super->query_safe('ROLLBACK');
wait_for($node, $attempts, '1 failed, 2 succeeded', 'an interrupted run is repeated when its job can be loaded');
is(sql("SELECT count(*) FROM effects WHERE jobid = $yearly"), '3', 'an interrupted run of a job that is loaded late is repeated once');

# ---- claims of what somebody is deleting ------------------------------------------------------

# As if the server had crashed when these claims were written, and the state was not yet.
$alice->query_safe("BEGIN; DELETE FROM cron.job_run_details WHERE jobid = $often");
$super->query_safe('BEGIN; LOCK cron.scheduler_state; UPDATE cron.scheduler_state SET planned_until = (
	SELECT max(scheduled_at) - interval \'2.5 s\' FROM cron.job_run_details)');
new_scheduler();
$super->query_safe('COMMIT');
jobs_run('jobs run while somebody deletes rows of the occurrences that are claimed again');
$alice->query_safe('ROLLBACK');

# ---- jobs of another database -----------------------------------------------------------------

# A dump that is restored beside its original: its jobs are paused, but not before they are free.
$node->safe_psql('postgres', 'CREATE DATABASE restored');
install($node, 'restored');
$node->safe_psql('restored', q{SELECT cron.schedule_in_database(name, '1 second', 'SELECT 1', 'postgres')
	FROM unnest('{free,locked}'::text[]) AS name});
wait_for($node, 'SELECT jobs FROM cron.scheduler_status', '2', 'the scheduler of the restored database has read both jobs', 'restored');
my $locker = $node->background_psql('restored');
$locker->query_safe(q{BEGIN; SELECT FROM cron.job WHERE jobname = 'locked' FOR UPDATE});
$node->safe_psql('restored', q{INSERT INTO cron.scheduler_state SELECT now(), d.oid, d.datname, c.system_identifier
	FROM pg_database d, pg_control_system() c WHERE d.datname = 'postgres'});
my $jobs = q{SELECT string_agg(concat_ws(' ', jobname, database, active, left(note, 31)), ', ' ORDER BY jobname) FROM cron.job};
wait_for($node, $jobs, 'free restored f paused: this database is a copy, locked postgres t', 'of the jobs of the original the one that is not locked is moved to the restored database and paused', 'restored');
wait_for($node, 'SELECT jobs FROM cron.scheduler_status', '1', 'a job of the original that is locked does not run before it is moved', 'restored');
$locker->query_safe('ROLLBACK');
wait_for($node, $jobs, 'free restored f paused: this database is a copy, locked restored f paused: this database is a copy',
	'a locked job is moved when it is unlocked', 'restored');
wait_for($node, 'SELECT jobs FROM cron.scheduler_status', '2', 'the scheduler has both jobs after they are moved', 'restored');
wait_for($node, q{SELECT string_agg(database_name, ', ') FROM cron.scheduler_state}, 'restored', 'after all jobs are moved the planning state is that of the restored database', 'restored');
$locker->quit;

# ---- rows of another server -------------------------------------------------------------------

sql("INSERT INTO cron.job_run_details (jobid, username, command, status, scheduled_at, trigger, return_message, start_time) VALUES
	($yearly, 'alice', '1', 'starting', NULL, NULL, NULL, NULL), ($yearly, 'alice', '2', 'running', clock_timestamp(), 'schedule', NULL, now()),
	($yearly, 'alice', '3', 'starting', clock_timestamp(), 'manual', NULL, NULL), ($yearly, 'alice', '4', 'running', NULL, NULL, 'what it said', now()),
	($yearly, 'alice', '5', 'connecting', NULL, NULL, NULL, NULL), ($yearly, 'alice', '6', 'succeeded', NULL, NULL, 'SELECT 1', now())");
my $copied = sql(q{SELECT string_agg(concat_ws(' ', command, status, reason, start_time IS NOT NULL, end_time IS NOT NULL), ', ' ORDER BY command)
	FROM cron.job_run_details WHERE command BETWEEN '1' AND '6'});
is($copied, join(', ', (map { "$_ failed copied t t" } 1 .. 4), '5 connecting f f', '6 succeeded t f'), 'unfinished rows of runs that are copied from another server end as failed, copied');
is(sql(q{SELECT string_agg(DISTINCT return_message, ', ' ORDER BY return_message) FROM cron.job_run_details WHERE reason = 'copied'}),
	'copied from another server before it had ended, what it said', 'the message of a copied row says that it was copied, and what it said before');
# Past the trigger, and without what this extension's rows have.
unfinished("($yearly, 'postgres', 'alice', '7', 'starting', NULL, NULL), ($yearly, 'postgres', 'alice', '8', 'starting', now(), NULL)");
new_scheduler();
wait_for($node, q{SELECT string_agg(concat_ws(' ', status, reason), ', ') FROM cron.job_run_details WHERE command BETWEEN '7' AND '8' AND attempt = 1},
	'failed server restarted, failed server restarted', 'unfinished rows that were loaded without the trigger are ended by the next scheduler');
jobs_run('jobs run beside rows that were copied');
is(sql(q{SELECT count(*) FROM cron.job_run_details WHERE jobid = } . $yearly . q{ AND command BETWEEN '1' AND '6'}), '6',
	'no copied run is executed');
my $run = sql("SELECT cron.run_job($yearly)");
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', 'cron.run_job() is not taken for a copy');

$_->quit for $alice, $super;
sql("DELETE FROM effects WHERE jobid = $yearly; DELETE FROM cron.job_run_details WHERE jobid = $yearly; SELECT cron.unschedule($yearly)");
settle($node);
exactly_once($node, 'at the end');
$node->stop;
done_testing();
