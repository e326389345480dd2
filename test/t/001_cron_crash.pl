# Processes are killed at random moments under load. Every run that the history calls succeeded has
# taken effect exactly once, and no occurrence is lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use Time::HiRes qw(usleep);
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{SCHED_CRASH_ROUNDS} // 20;

my $node = new_node('crash', log_min_messages => 'fatal');
$node->start;
install($node);
make_effects($node);

# Short runs, runs that are killed in their middle, and occurrences that overlap.
my %commands = (
	fast => effect(),
	slow => 'SELECT pg_sleep(0.3); ' . effect(),
	late => effect() . '; SELECT pg_sleep(0.2)');
for my $role (qw(anna bert carl))
{
	$node->safe_psql('postgres', "CREATE ROLE $role LOGIN; GRANT USAGE ON SCHEMA cron TO $role");
	for my $name (sort keys %commands)
	{
		my $schedule = $name eq 'slow' ? '@every 2 seconds' : '1 second';
		$node->safe_psql('postgres', qq{
			SELECT cron.schedule_in_database('${role}_$name', '$schedule', \$c\$$commands{$name}\$c\$,
			                                 'postgres', '$role');
			SELECT cron.configure_job(jobid, missed => 'all', catchup_window => '1 hour',
			                          overlap_policy => 'buffer_all')
			  FROM cron.job WHERE jobname = '${role}_$name'});
	}
}

# Runs that write nothing, whose records a crash may lose: they are repeated.
$node->safe_psql('postgres', 'CREATE DATABASE reading');
install($node, 'reading');
$node->safe_psql('reading', q{
	SELECT cron.schedule('reads', '1 second', 'SELECT 1');
	SELECT cron.configure_job('reads', missed => 'all', catchup_window => '1 hour', overlap_policy => 'buffer_all')});

my $succeeded = "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'";

# The pid of a process of that kind, which may have ended by the time the pid is used.
sub victim
{
	my ($kind) = @_;
	my @pids;
	wait_until(sub { @pids = our_pids($node, $kind); return @pids > 0 }, "a $kind");
	return $pids[ rand @pids ];
}

# The server may notice only now that one of its processes was killed, and restart.
sub answer
{
	my ($sql) = @_;
	my $answer;
	wait_until(sub { return defined($answer = ask($node, 'postgres', $sql)) }, 'the server answers');
	return $answer;
}

my %deeds = (
	'kill a job worker' => sub { return kill 9, victim('job worker') },
	'kill the scheduler' => sub { return kill 9, victim('scheduler') },
	'kill the postmaster' => sub { kill_server($node); $node->start; return 1 },
	'terminate the scheduler' => sub { return kill 'TERM', victim('scheduler') });
my @names = sort keys %deeds;
my $seed = $ENV{SCHED_CRASH_SEED} // time();
srand($seed);
note("SCHED_CRASH_SEED=$seed");

wait_for($node, "SELECT ($succeeded) >= 9", 't', 'runs are made');
for my $round (1 .. $rounds)
{
	my $name = $names[ $round % @names ];
	my $before = answer($succeeded);
	usleep(rand 900_000);    # the moment is the test's input
	# At least one crash comes while a run is under way.
	wait_for($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'", 't',
		"round $round: a run is under way") if $round == 1;
	wait_until($deeds{$name}, $name);
	wait_for($node, "SELECT ($succeeded) > $before", 't', "round $round: $name, and runs go on");
}

my $end = answer('SELECT now()');
wait_for($node, qq{
	SELECT bool_and(EXISTS (SELECT FROM effects e WHERE e.jobid = j.jobid AND e.scheduled_at >= '$end'))
	  FROM cron.job j}, 't', 'every job has caught up');
invariants_hold($node, 'with jobs going on');
settle($node);
exactly_once($node, "after $rounds rounds");
wait_for($node, qq{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded' AND scheduled_at >= '$end'}, 't',
	'the job that only reads has caught up', 'reading');
settle($node, 'reading');
is($node->safe_psql('reading', q{
	SELECT r.run_at
	  FROM (SELECT min(scheduled_at) AS first, max(scheduled_at) AS last FROM cron.job_run_details) e,
	       LATERAL cron.next_runs('1 second', 10000, e.first) AS r(run_at)
	 WHERE r.run_at < e.last AND 1 <> (
	       SELECT count(*) FROM cron.job_run_details d WHERE d.status = 'succeeded' AND d.scheduled_at = r.run_at)}),
	'', 'each of its occurrences has succeeded once');
my $interrupted = $node->safe_psql('postgres',
	"SELECT count(*) FROM cron.job_run_details WHERE status = 'failed' AND reason = 'server restarted'");
cmp_ok($interrupted, '>', 0, "runs were interrupted ($interrupted)");
is($node->safe_psql('postgres', q{
	SELECT runid, reason, sqlstate, return_message FROM cron.job_run_details
	 WHERE status <> 'succeeded' AND (reason IS NULL OR reason NOT IN ('server restarted', 'job is paused'))}),
	'', 'runs failed for no other reason');

$node->stop;
done_testing();
