# The history is locked, and extensions and databases are created and dropped, while the scheduler
# is busy.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('databases', max_worker_processes => 30);
$node->start;
my $scheduler = install($node);
make_effects($node);

# As a role that is no superuser.
$node->safe_psql('postgres', 'CREATE ROLE worker LOGIN');
sub as_worker
{
	my ($database, $sql) = @_;
	$node->safe_psql($database, 'GRANT USAGE ON SCHEMA cron TO worker');
	$node->safe_psql($database, $sql, extra_params => [ '-U', 'worker' ]);
	return;
}

sub schedule_each_second
{
	my ($database, $name, $command) = @_;
	as_worker($database, "SELECT cron.schedule('$name', '1 second', \$c\$$command\$c\$);
		SELECT cron.configure_job('$name', missed => 'all', overlap_policy => 'buffer_all')");
	return;
}

# Another database with the extension, with short jobs and one that never ends by itself.
sub busy_database
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	install($node, $database);
	make_effects($node, $database);
	schedule_each_second($database, 'short', effect());
	as_worker($database, "SELECT cron.schedule('endless', '1 second', 'SELECT pg_sleep(3600)')");
	busy($database);
	return;
}

sub busy
{
	my ($database) = @_;
	my $now = $node->safe_psql($database, 'SELECT clock_timestamp()');
	wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE at > '$now')
		AND EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
		                AND backend_type = 'securatlas_sched job worker' AND state = 'active')",
		't', "$database is busy", $database);
	return;
}

# Users of this would give up otherwise.
sub fast_ok
{
	my ($sql) = @_;
	my $started = time();
	my ($rc, $out, $err) = $node->psql('postgres', $sql);
	my $took = time() - $started;
	is($err, '', "$sql succeeds although the database is busy");
	cmp_ok($took, '<', 5, "$sql does not wait for long");
	return;
}

# ---- a lock on the history ------------------------------------------------------------------

schedule_each_second('postgres', 'short', effect());
wait_for($node, 'SELECT count(*) > 1 FROM effects', 't', 'jobs run before the history is locked');
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE cron.job_run_details IN ACCESS EXCLUSIVE MODE');
my $locked_at = $locker->query_safe('SELECT clock_timestamp()');
my $ticks = cpu_ticks($scheduler);
$locker->query_safe('SELECT pg_sleep(10)');
$ticks = cpu_ticks($scheduler) - $ticks;
my $unlocked_at = $locker->query_safe('SELECT clock_timestamp()');
is($locker->query_safe("SELECT count(*) FROM effects WHERE scheduled_at > '$locked_at'::timestamptz + interval '1 s'"),
	'0', 'no run starts while the history is locked');
$locker->query_safe('COMMIT');
$locker->quit;
cmp_ok($ticks, '<=', 50, "the scheduler does not spin meanwhile ($ticks ticks in 10 s)");
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE scheduled_at > '$unlocked_at')", 't', 'runs continue when the history is unlocked');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM effects
	WHERE scheduled_at BETWEEN '$locked_at' AND '$unlocked_at'"), '>=', 9, 'the occurrences that passed while the history was locked are made up for');
settle($node);
exactly_once($node, 'after the lock');
is(scheduler_pid($node), $scheduler, 'a lock on the history does not end the scheduler');
# Counted again from here, because the pause was not missed.
$node->safe_psql('postgres', 'TRUNCATE effects; DELETE FROM cron.job_run_details');
$node->safe_psql('postgres', "SELECT cron.resume('short')");

# ---- DROP EXTENSION -------------------------------------------------------------------------

busy_database('twin');
my $twin = scheduler_pid($node, 'twin');
isnt($twin, $scheduler, 'two databases have two schedulers');
my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('twin', 'DROP EXTENSION securatlas_sched');
wait_for($node, q{
	SELECT count(*) FROM pg_stat_activity
	 WHERE datname = 'twin' AND backend_type LIKE 'securatlas_sched%'}, '0',
	'DROP EXTENSION ends the processes of the extension and the runs in progress');
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE scheduled_at > '$before')", 't',
	'DROP EXTENSION in one database leaves the jobs of another running');
is(scheduler_pid($node), $scheduler, 'DROP EXTENSION in one database does not end the scheduler of another');
install($node, 'twin');
pass('the extension can be created again after DROP EXTENSION');
is($node->safe_psql('twin', 'SELECT count(*) FROM cron.job'), '0', 'the new extension does not have the jobs of the dropped one');

# ---- CREATE EXTENSION -----------------------------------------------------------------------

$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(not_yet now);
$node->safe_psql('not_yet', 'BEGIN; CREATE EXTENSION securatlas_sched; ROLLBACK');
install($node, 'now');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_stat_activity
	 WHERE datname = 'not_yet' AND backend_type LIKE 'securatlas_sched%'}), '0',
	'a CREATE EXTENSION that is rolled back starts no scheduler');
install($node, 'not_yet');
pass('a CREATE EXTENSION that is committed starts a scheduler');

# ---- a job in another database --------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
make_effects($node, 'elsewhere');
$node->safe_psql('postgres', "SELECT cron.schedule_in_database('there', '1 second', \$c\$" . effect()
	  . "\$c\$, 'elsewhere')");
$node->safe_psql('postgres', "SELECT cron.schedule_in_database('fails there', '1 second', 'SELECT 1/0', 'elsewhere')");
wait_for($node, 'SELECT count(*) > 1 FROM effects', 't', 'a job for another database runs there', 'elsewhere');
wait_for($node, q{
	SELECT count(*) > 1 FROM cron.job_run_details
	 WHERE jobname = 'there' AND database = 'elsewhere' AND status = 'succeeded'
	   AND NOT transactional AND job_pid IS NOT NULL AND sqlstate = '00000'}, 't',
	'the outcome of a run in another database is recorded in the database of its job');
wait_for($node, q{
	SELECT DISTINCT status, sqlstate, return_message FROM cron.job_run_details
	 WHERE jobname = 'fails there' AND end_time IS NOT NULL},
	'failed|22012|ERROR: division by zero', 'the error of a run in another database is recorded in the database of its job');
fast_ok('DROP DATABASE elsewhere');
wait_for($node, q{
	SELECT EXISTS (SELECT FROM cron.job_run_details
	                WHERE jobname = 'there' AND status = 'failed' AND sqlstate = '3D000')}, 't',
	'a job whose database is dropped says so');
$node->safe_psql('postgres', "SELECT cron.unschedule('there'), cron.unschedule('fails there')");

# ---- DROP, RENAME and copy of a busy database -----------------------------------------------

busy_database('busy');
fast_ok('ALTER DATABASE busy RENAME TO renamed');
scheduler_pid($node, 'renamed');
wait_for($node, q{
	SELECT count(DISTINCT jobname) FROM cron.job_run_details
	 WHERE database = 'renamed' AND jobname IN ('short', 'endless')}, '2',
	'the jobs of a renamed database go on', 'renamed');
busy('renamed');
is($node->safe_psql('renamed', q{SELECT DISTINCT database, active, note IS NULL FROM cron.job}),
	'renamed|t|t', 'the jobs of a renamed database have its new name');

fast_ok('CREATE DATABASE copy TEMPLATE renamed');
my $copied = $node->safe_psql('renamed', 'SELECT clock_timestamp()');
scheduler_pid($node, 'copy');
wait_for($node, q{
	SELECT count(*) FROM cron.job
	 WHERE NOT active AND note LIKE 'paused: this database is a copy of "renamed"%cron.resume()%'}, '2',
	'the jobs in the copy of a database are paused, with a note', 'copy');
busy('renamed');
is($node->safe_psql('copy', "SELECT count(*) FROM cron.job_run_details
	WHERE status = 'succeeded' AND scheduled_at > '$copied'"), '0', 'the jobs in the copy of a database do not run');
is($node->safe_psql('copy', "SELECT count(*) FROM effects WHERE at > '$copied'"), '0', 'the jobs in the copy of a database have no effects');
$node->safe_psql('copy', "SELECT cron.resume('short')");
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE at > '$copied')", 't',
	'a job in the copy of a database runs when it is resumed', 'copy');

fast_ok('DROP DATABASE renamed');
fast_ok('DROP DATABASE copy');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'securatlas_sched scheduler'}, '4', 'the schedulers of dropped databases are gone');
is(scheduler_pid($node), $scheduler, 'what happens to other databases does not end a scheduler');
$before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE scheduled_at > '$before')", 't', 'what happens to other databases leaves the jobs of this one running');
settle($node);
$node->safe_psql('postgres', "DELETE FROM cron.job_run_details WHERE jobname <> 'short'");
exactly_once($node, 'in the end');

$node->stop;
done_testing();
