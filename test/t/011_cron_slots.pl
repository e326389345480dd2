# Ownership of worker slots: databases that are dropped while their runs are in progress, and
# schedulers that are not running when a run ends.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('slots', max_worker_processes => 20, 'cron.max_running_jobs' => 4,
	'cron.worker_idle_timeout' => "'1 h'");
$node->start;
install($node);

sub workers
{
	my ($database) = @_;
	return "SELECT count(*) FROM pg_stat_activity
		WHERE datname = '$database' AND backend_type = 'securatlas_sched job worker'";
}

sub run_now
{
	my ($database, $name, $command, $in) = @_;
	$in //= $database;
	$node->safe_psql($database,
		"SELECT cron.schedule_in_database('$name', '0 0 1 1 *', \$c\$$command\$c\$, '$in')");
	return $node->safe_psql($database, "SELECT cron.run_job('$name')");
}

# Until the process with this pid sleeps by this wait.
sub asleep
{
	my ($pid, $wait, $database) = @_;
	wait_for($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", wait_name($wait), 'it sleeps', $database);
	return;
}

# ---- a database that is dropped with a run in progress ---------------------------------------

# More often than there are slots.
for my $i (1 .. 4)
{
	$node->safe_psql('postgres', 'CREATE DATABASE doomed');
	install($node, 'doomed');
	run_now('doomed', 'endless', 'SELECT pg_sleep(3600)');
	wait_for($node, workers('doomed') . " AND state = 'active'", '1', "run in progress in database number $i");
	$node->safe_psql('postgres', 'DROP DATABASE doomed');
}
run_now('postgres', "three $_", 'SELECT pg_sleep(3600)') for 1 .. 3;
wait_for($node, workers('postgres') . " AND state = 'active'", '3', 'all slots can be used afterwards');
$node->safe_psql('postgres', 'SELECT cron.cancel_run(runid) FROM cron.job_run_details WHERE end_time IS NULL');
wait_for($node, 'SELECT count(*) FROM cron.job_run_details WHERE end_time IS NULL', '0', 'they are cancelled');

# ---- a database that is dropped while its run is in progress in another one ------------------

$node->safe_psql('postgres', 'CREATE DATABASE owner; CREATE DATABASE target');
install($node, 'owner');
run_now('owner', 'away', 'SELECT pg_sleep(3600)', 'target');
wait_for($node, workers('target') . " AND state = 'active'", '1', 'a run in progress in another database');
$node->safe_psql('postgres', 'DROP DATABASE owner');
wait_for($node, workers('target'), '0', 'its worker ends with the database that it works for');

# ---- no idle time ----------------------------------------------------------------------------

my $scheduler = scheduler_pid($node);
$node->safe_psql('postgres', "ALTER SYSTEM SET cron.worker_idle_timeout = 0; SELECT pg_reload_conf()");
wait_for($node, workers('postgres'), '0', 'idle workers learn of it and end');
my $lock = $node->background_psql('target');
$lock->query_safe('SELECT pg_advisory_lock(1)');
run_now('postgres', 'waits', 'SELECT pg_advisory_xact_lock(1)', 'target');
wait_for($node, "SELECT status FROM cron.job_run_details WHERE command LIKE '%advisory%'", 'running', 'a run waits');
my $worker = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity
	WHERE backend_type = 'securatlas_sched job worker'");
asleep($scheduler, 'CronSchedulerMain');
kill 'STOP', $scheduler;
$lock->query_safe('SELECT pg_advisory_unlock(1)');
# Of a run in another database, whose outcome the scheduler writes.
wait_for($node, "SELECT state, wait_event FROM pg_stat_activity WHERE pid = $worker", 'idle|' . wait_name('CronWorkerIdle'),
	'a worker whose report nobody collects sleeps');
kill 'TERM', $worker;
wait_until(sub { is_gone($worker) }, 'such a worker ends when asked to');
pass('and ends when it is asked to');
kill 'CONT', $scheduler;
wait_for($node, "SELECT status FROM cron.job_run_details WHERE command LIKE '%advisory%'", 'succeeded',
	'its report is collected all the same');
# A recorded one needs nobody.
my $local = $node->background_psql('postgres');
$local->query_safe('SELECT pg_advisory_lock(2)');
run_now('postgres', 'recorded', 'SELECT pg_advisory_xact_lock(2)');
wait_for($node, "SELECT status FROM cron.job_run_details WHERE jobname = 'recorded'", 'running', 'another run waits');
asleep($scheduler, 'CronSchedulerMain');
kill 'STOP', $scheduler;
$local->query_safe('SELECT pg_advisory_unlock(2)');
wait_for($node, workers('postgres'), '0', 'a worker that has recorded its run leaves although nobody collects its report');
kill 'CONT', $scheduler;
run_now('postgres', 'short', 'SELECT 1');
wait_for($node, "SELECT status FROM cron.job_run_details WHERE command = 'SELECT 1'", 'succeeded', 'a run without idle time');
wait_for($node, workers('postgres'), '0', 'its worker leaves as soon as its report is collected');
$node->safe_psql('postgres', "ALTER SYSTEM RESET cron.worker_idle_timeout; SELECT pg_reload_conf()");

# ---- a run that ends while the scheduler is away ---------------------------------------------

my ($launcher) = our_pids($node, 'launcher');
$node->safe_psql('target', 'CREATE TABLE done (run text)');
sub waiting_for_lock
{
	return $node->safe_psql('target', "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
}
my %end = (good => '', bad => q{; DO 'BEGIN RAISE EXCEPTION ''bad''; END'});
my $there = $node->background_psql('target');
$there->query_safe('SELECT pg_advisory_lock(2)');
for my $name (qw(good bad))
{
	run_now('postgres', $name, "SELECT pg_advisory_xact_lock(2); INSERT INTO done VALUES ('$name')$end{$name}", 'target');
	$node->safe_psql('postgres', "SELECT cron.configure_job('$name', max_retries => 3, retry_period => '1 hour', catchup_window => '1 hour', missed => 'all')");
}
wait_until(sub { waiting_for_lock() == 2 }, 'both runs wait');
wait_for($node, "SELECT string_agg(status, ',') FROM cron.job_run_details WHERE jobname IN ('good', 'bad')", 'running,running',
	'two runs in another database');
asleep($launcher, 'CronLauncherMain');
kill 'STOP', $launcher;    # nobody starts a scheduler
kill 'TERM', $scheduler;
wait_until(sub { is_gone($scheduler) }, 'the scheduler ends');
$there->query_safe('SELECT pg_advisory_unlock(2)');
wait_for($node, workers('target') . " AND state = 'idle'", '2', 'they end while no scheduler is there');
kill 'CONT', $launcher;
$scheduler = scheduler_pid($node);
wait_for($node, "SELECT string_agg(jobname || ' ' || status || ' ' || sqlstate || ' ' || attempt, ', ' ORDER BY jobname)
	  FROM cron.job_run_details WHERE jobname IN ('good', 'bad') AND end_time IS NOT NULL",
	'bad failed P0001 1, good succeeded 00000 1', 'both keep their outcomes');
wait_for($node, "SELECT jobname, attempt, status FROM cron.job_run_details
	 WHERE jobname IN ('good', 'bad') AND end_time IS NULL", 'bad|2|starting', 'the one that failed waits for its retry');
is($node->safe_psql('target', 'SELECT string_agg(run, $$,$$) FROM done'), 'good', 'none was run twice');
$node->safe_psql('postgres', "SELECT cron.unschedule('bad')");

# ---- a launcher that ended while it was starting a scheduler ---------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE slow; CREATE DATABASE dead');
my $in_slow = $node->background_psql('slow');
my $elsewhere = $node->background_psql('postgres');

sub naps
{
	my ($pid) = @_;
	my ($count) = slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	return $count;
}
asleep($launcher, 'CronLauncherMain');
my $naps = naps($launcher);
my $postmaster = $node->{_pid};
kill 'STOP', $postmaster;    # it starts no process
$in_slow->query_safe('CREATE EXTENSION securatlas_sched');
wait_until(sub { naps($launcher) > $naps }, 'the launcher has asked for a scheduler');
is($elsewhere->query_safe("SELECT wait_event FROM pg_stat_activity WHERE pid = $launcher"), wait_name('CronLauncherMain'),
	'the launcher waits for the scheduler');
$elsewhere->query_safe('ALTER DATABASE slow ALLOW_CONNECTIONS false');
kill 'TERM', $launcher;
wait_until(sub { is_gone($launcher) }, 'the launcher ends');
kill 'CONT', $postmaster;
wait_until(sub { log_count($node, 'database "slow" is not currently accepting connections') > 0 },
	'the scheduler cannot start');
$elsewhere->query_safe('ALTER DATABASE slow ALLOW_CONNECTIONS true');
scheduler_pid($node, 'slow');
pass('the next launcher starts it, as soon as the database accepts connections');
$in_slow->quit;
$elsewhere->quit;

# ---- a scheduler that finds no room --------------------------------------------------------------

# All background workers of the server are job workers that always have work: each has a role of its
# own, because a role that has a worker already leaves the last free one to others.
$_->quit for $lock, $there;
$node->safe_psql('postgres', q{ALTER SYSTEM SET max_worker_processes = 7; CREATE ROLE busy1 LOGIN; CREATE ROLE busy2 LOGIN; CREATE ROLE busy3 LOGIN; CREATE ROLE busy4 LOGIN;
	GRANT USAGE ON SCHEMA cron TO busy1, busy2, busy3, busy4; DROP DATABASE slow; DROP DATABASE target; CREATE DATABASE late});
$node->restart;
scheduler_pid($node);
for my $role (qw(busy1 busy2 busy3 busy4))
{
	$node->safe_psql('postgres', qq{SET ROLE $role; SELECT cron.schedule('busy', '0 0 1 1 *', 'SELECT pg_sleep(1)');
		SELECT cron.configure_job('busy', overlap_policy => 'allow'); SELECT cron.run_job('busy') FROM generate_series(1, 50)});
}
my $left = "SELECT count(*) FROM cron.job_run_details WHERE jobname = 'busy' AND end_time IS NULL";
wait_for($node, workers('postgres') . " AND state = 'active' HAVING count(DISTINCT usename) = 4", '4', 'job workers have all background workers of the server');
$node->safe_psql('late', 'CREATE EXTENSION securatlas_sched');
scheduler_pid($node, 'late');
cmp_ok(log_count($node, 'no background worker slot is free for a scheduler'), '>', 0, 'the server had no room for the scheduler of another database');
cmp_ok($node->safe_psql('postgres', $left), '>', 100, 'the scheduler of another database starts while the workers still have most of their work');
my $before_that = $node->safe_psql('postgres', $left);
wait_for($node, "SELECT ($left) < $before_that", 't', 'the runs go on beside that scheduler');
$node->safe_psql('postgres', 'SELECT cron.cancel_run(runid) FROM cron.job_run_details WHERE end_time IS NULL');
wait_for($node, $left, '0', 'the runs that wait for a worker can be cancelled');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE jobname = 'busy' AND status = 'failed' AND sqlstate <> '57014'"), '0',
	'no run fails because its worker made room for a scheduler');
$node->safe_psql('postgres', q{DROP DATABASE late; ALTER SYSTEM RESET max_worker_processes});

# ---- the remains of DROP DATABASE ------------------------------------------------------------

$node->safe_psql('postgres', "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'dead'");
$node->safe_psql('postgres', 'CREATE DATABASE last');
install($node, 'last');
$node->restart;
scheduler_pid($node, $_) for qw(postgres last);
is(log_count($node, 'invalid database "dead"'), 0, 'nobody tries to connect to a database whose DROP was interrupted');

$node->stop;
done_testing();
