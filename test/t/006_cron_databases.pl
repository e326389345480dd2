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
	is($err, '', "$sql");
	cmp_ok($took, '<', 5, sprintf('took %.2f s', $took));
	return;
}

# ---- a lock on the history ------------------------------------------------------------------

schedule_each_second('postgres', 'short', effect());
wait_for($node, 'SELECT count(*) > 1 FROM effects', 't', 'runs are made');
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE cron.job_run_details IN ACCESS EXCLUSIVE MODE');
my $locked_at = $locker->query_safe('SELECT clock_timestamp()');
my $ticks = cpu_ticks($scheduler);
$locker->query_safe('SELECT pg_sleep(10)');
$ticks = cpu_ticks($scheduler) - $ticks;
my $unlocked_at = $locker->query_safe('SELECT clock_timestamp()');
is($locker->query_safe("SELECT count(*) FROM effects WHERE scheduled_at > '$locked_at'::timestamptz + interval '1 s'"),
	'0', 'no run while the history is locked');
$locker->query_safe('COMMIT');
$locker->quit;
cmp_ok($ticks, '<=', 50, "the scheduler does not spin meanwhile ($ticks ticks in 10 s)");
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE scheduled_at > '$unlocked_at')", 't', 'runs continue');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM effects
	WHERE scheduled_at BETWEEN '$locked_at' AND '$unlocked_at'"), '>=', 9, 'those of that time have been made up');
settle($node);
exactly_once($node, 'after the lock');
is(scheduler_pid($node), $scheduler, 'the scheduler is the same');
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
	'with the extension its processes go, and what they were doing');
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE scheduled_at > '$before')", 't',
	'the other database goes on');
is(scheduler_pid($node), $scheduler, 'with the same scheduler');
install($node, 'twin');
pass('the extension can be created again');
is($node->safe_psql('twin', 'SELECT count(*) FROM cron.job'), '0', 'without the old jobs');

# ---- CREATE EXTENSION -----------------------------------------------------------------------

$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(not_yet now);
$node->safe_psql('not_yet', 'BEGIN; CREATE EXTENSION securatlas_sched; ROLLBACK');
install($node, 'now');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_stat_activity
	 WHERE datname = 'not_yet' AND backend_type LIKE 'securatlas_sched%'}), '0',
	'an extension that is rolled back starts nothing');
install($node, 'not_yet');
pass('one that is committed starts its scheduler');

# ---- a job in another database --------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
make_effects($node, 'elsewhere');
$node->safe_psql('postgres', "SELECT cron.schedule_in_database('there', '1 second', \$c\$" . effect()
	  . "\$c\$, 'elsewhere')");
$node->safe_psql('postgres', "SELECT cron.schedule_in_database('fails there', '1 second', 'SELECT 1/0', 'elsewhere')");
wait_for($node, 'SELECT count(*) > 1 FROM effects', 't', 'it runs there', 'elsewhere');
wait_for($node, q{
	SELECT count(*) > 1 FROM cron.job_run_details
	 WHERE jobname = 'there' AND database = 'elsewhere' AND status = 'succeeded'
	   AND NOT transactional AND job_pid IS NOT NULL AND sqlstate = '00000'}, 't',
	'and its outcome is recorded here');
wait_for($node, q{
	SELECT DISTINCT status, sqlstate, return_message FROM cron.job_run_details
	 WHERE jobname = 'fails there' AND end_time IS NOT NULL},
	'failed|22012|ERROR: division by zero', 'as is an error');
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
	'its jobs go on under the new name', 'renamed');
busy('renamed');
is($node->safe_psql('renamed', q{SELECT DISTINCT database, active, note IS NULL FROM cron.job}),
	'renamed|t|t', 'with their rows changed');

fast_ok('CREATE DATABASE copy TEMPLATE renamed');
my $copied = $node->safe_psql('renamed', 'SELECT clock_timestamp()');
scheduler_pid($node, 'copy');
wait_for($node, q{
	SELECT count(*) FROM cron.job
	 WHERE NOT active AND note LIKE 'paused: this database is a copy of "renamed"%cron.resume()%'}, '2',
	'the jobs of a copy are paused, with a note', 'copy');
busy('renamed');
is($node->safe_psql('copy', "SELECT count(*) FROM cron.job_run_details
	WHERE status = 'succeeded' AND scheduled_at > '$copied'"), '0', 'and do not run');
is($node->safe_psql('copy', "SELECT count(*) FROM effects WHERE at > '$copied'"), '0', 'nor have effects');
$node->safe_psql('copy', "SELECT cron.resume('short')");
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE at > '$copied')", 't',
	'a resumed job runs in the copy', 'copy');

fast_ok('DROP DATABASE renamed');
fast_ok('DROP DATABASE copy');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'securatlas_sched scheduler'}, '4', 'their schedulers are gone');
is(scheduler_pid($node), $scheduler, 'the first scheduler has lived through it all');
$before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, "SELECT EXISTS (SELECT FROM effects WHERE scheduled_at > '$before')", 't', 'and goes on');
settle($node);
$node->safe_psql('postgres', "DELETE FROM cron.job_run_details WHERE jobname <> 'short'");
exactly_once($node, 'in the end');

$node->stop;
done_testing();
