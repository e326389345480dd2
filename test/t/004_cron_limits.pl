# Runs that exceed a limit wait: their rows say why, they start in order, none is lost, and waiting
# costs no CPU time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

# The scheduler's CPU time, in ticks of 10 ms, while the server sleeps for two seconds.
sub ticks_while_waiting
{
	my ($node, $pid) = @_;
	my $before = cpu_ticks($pid);
	$node->safe_psql('postgres', 'SELECT pg_sleep(2)');
	return cpu_ticks($pid) - $before;
}

# ---- cron.max_running_jobs ------------------------------------------------------------------

my $node = new_node('one_at_a_time', 'cron.max_running_jobs' => 1);
$node->start;
my $scheduler = install($node);
make_effects($node);
$node->safe_psql('postgres', 'CREATE ROLE anna LOGIN; GRANT USAGE ON SCHEMA cron TO anna');

# Two long ones first, then short ones, of two roles, a millisecond apart.
$node->safe_psql('postgres', q{
	SELECT cron.schedule_in_database('run ' || i, '@at ' || (now() + interval '1 second' + i * interval '1 ms')::text,
	           CASE WHEN i <= 2 THEN 'SELECT pg_sleep(4); ' ELSE '' END || $c$} . effect() . q{$c$,
	           'postgres', CASE WHEN i % 2 = 0 THEN 'anna' ELSE current_user END)
	  FROM generate_series(1, 8) AS i});
wait_for($node, q{
	SELECT count(*) FROM cron.job_run_details
	 WHERE status = 'starting'
	   AND reason = 'waiting for a worker: cron.max_running_jobs (1) is reached'}, '7',
	'those that wait say why');
is($node->safe_psql('postgres', q{
	SELECT waiting, oldest_wait IS NOT NULL, workers_busy, workers_limit FROM cron.scheduler_status}),
	'7|t|1|1', 'cron.scheduler_status counts them');
my $ticks = ticks_while_waiting($node, $scheduler);
cmp_ok($ticks, '<=', 10, "the scheduler does not spin while runs wait ($ticks ticks in 2 s)");

wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'", '8', 'none is lost');
is($node->safe_psql('postgres', q{
	SELECT string_agg(jobname, ',' ORDER BY start_time) FROM cron.job_run_details}),
	join(',', map { "run $_" } 1 .. 8), 'they start in the order of their schedules');
is($node->safe_psql('postgres', q{
	SELECT a.jobname, b.jobname FROM cron.job_run_details a
	  JOIN cron.job_run_details b ON a.runid < b.runid
	   AND (a.start_time, a.end_time) OVERLAPS (b.start_time, b.end_time)}), '', 'one at a time');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE reason IS NOT NULL"), '0',
	'the reason to wait goes when the wait is over');
is($node->safe_psql('postgres', 'SELECT count(*) FROM effects'), '8', 'with their effects');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), '0', 'jobs that ran once are gone');
wait_for($node, q{SELECT waiting || ' ' || coalesce(oldest_wait::text, '-') FROM cron.scheduler_status},
	'0 -', 'nothing waits');
$node->stop;

# ---- worker slots of the server -------------------------------------------------------------

# Launcher and two schedulers have all slots.
my $full = new_node('no_slots', max_worker_processes => 3, max_logical_replication_workers => 0);
$full->start;
$scheduler = install($full);
make_effects($full);
$full->safe_psql('postgres', 'CREATE DATABASE other');
install($full, 'other');
my $no_slot = 'no background worker slot is free; runs wait';
is(log_count($full, $no_slot), 0, 'no warning before there is a run');

$full->safe_psql('postgres',
	"SELECT cron.schedule('each second', '1 second', \$c\$" . effect() . "\$c\$)");
$full->safe_psql('postgres', "SELECT cron.configure_job('each second', overlap_policy => 'buffer_all')");
wait_for($full, q{
	SELECT count(*) > 1 FROM cron.job_run_details
	 WHERE status = 'starting'
	   AND reason IN ('waiting for a worker: all worker slots of the server are in use',
	                  'waiting for the previous run')}, 't', 'runs wait for a slot and say so');
$ticks = ticks_while_waiting($full, $scheduler);
cmp_ok($ticks, '<=', 10, "the scheduler does not spin without slots ($ticks ticks in 2 s)");
is(log_count($full, $no_slot), 1, 'the log says it once');
is($full->safe_psql('postgres', 'SELECT count(*) FROM effects'), '0', 'nothing has run');

$full->safe_psql('other', 'DROP EXTENSION securatlas_sched');
wait_for($full, q{
	SELECT count(*) FROM cron.job_run_details r
	 WHERE status = 'starting' AND scheduled_at < (SELECT max(scheduled_at) FROM effects)}, '0',
	'with a slot they run, oldest first');
wait_for($full, "SELECT count(*) > 3 FROM effects", 't', 'runs have effects');
settle($full);
exactly_once($full, 'after the shortage');
is(log_count($full, $no_slot), 1, 'still one line');
$full->stop;

# ---- worker slots that warm workers have ----------------------------------------------------

# Launcher, scheduler, and one worker, which has always more to do for its own role.
my $one = new_node('one_slot', max_worker_processes => 3, max_logical_replication_workers => 0,
	'cron.worker_idle_timeout' => "'1 h'");
$one->start;
$scheduler = install($one);
make_effects($one);
$one->safe_psql('postgres', 'CREATE ROLE anna LOGIN; CREATE ROLE bert LOGIN');
$one->safe_psql('postgres', "SELECT cron.schedule_in_database('anna ' || i, '1 second',
	\$c\$SELECT pg_sleep(0.2); " . effect() . "\$c\$, 'postgres', 'anna') FROM generate_series(1, 8) AS i");
wait_for($one, 'SELECT count(*) > 8 FROM effects', 't', 'a worker is busy without a pause');
$one->safe_psql('postgres', "SELECT cron.schedule_in_database('bert', '1 second',
	\$c\$" . effect() . "\$c\$, 'postgres', 'bert')");
wait_for($one, "SELECT count(*) > 2 FROM effects JOIN cron.job USING (jobid) WHERE jobname = 'bert'", 't',
	'it makes room for the runs of another role');
my $now = $one->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($one, "SELECT count(DISTINCT jobname) FROM effects JOIN cron.job USING (jobid) WHERE at > '$now'", '9',
	'and gets it back');

# A scheduler needs a slot, too.
settle($one);
is(scalar(our_pids($one, 'job worker')), 1, 'an idle worker stays');
$one->safe_psql('postgres', 'CREATE DATABASE other');
install($one, 'other');
pass('a scheduler gets the place of an idle worker');
$one->stop;

done_testing();
