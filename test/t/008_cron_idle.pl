# An idle cluster has no wake-ups but one a minute, and still starts new work at once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('idle');
$node->start;
my $scheduler = install($node);
make_effects($node);
my ($launcher) = our_pids($node, 'launcher');

# How often a process has gone to sleep.
sub sleeps
{
	my ($pid) = @_;
	my ($count) = slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
	return $count;
}

# How often each of them sleeps in that time.
sub sleeps_during
{
	my ($seconds, @pids) = @_;
	my @before = map { sleeps($_) } @pids;
	$node->safe_psql('postgres', "SELECT pg_sleep($seconds)");
	return map { sleeps($_) - shift @before } @pids;
}

# What was done at the start is over when nobody moves for a second.
sub wait_for_quiet
{
	my (@pids) = @_;
	wait_until(sub { return !grep { $_ > 0 } sleeps_during(1, @pids) }, "processes @pids become quiet");
	return;
}

$node->safe_psql('postgres', "SELECT cron.schedule('yearly', '0 0 1 1 *', \$c\$" . effect() . "\$c\$)");
$node->safe_psql('postgres', "SELECT cron.schedule('paused', '1 second', 'SELECT 1')");
$node->safe_psql('postgres', "SELECT cron.pause('paused')");
wait_for_quiet($launcher, $scheduler);
my ($of_launcher, $of_scheduler) = sleeps_during(5, $launcher, $scheduler);
cmp_ok($of_launcher, '<=', 1, "the launcher has no wake-ups ($of_launcher in 5 s)");
cmp_ok($of_scheduler, '<=', 1, "the scheduler has no wake-ups ($of_scheduler in 5 s)");

# The longest sleep is 60 s; these do not wait for its end.
my $asked = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
my $run = $node->safe_psql('postgres', "SELECT cron.run_job('yearly')");
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', 'a run that is asked for');
is($node->safe_psql('postgres', "SELECT start_time < '$asked'::timestamptz + interval '10 s'
	FROM cron.job_run_details WHERE runid = $run"), 't', 'starts at once');

# A worker that waits for its next run is as quiet.
my ($worker) = our_pids($node, 'job worker');
wait_for_quiet($launcher, $scheduler, $worker);
my ($of_worker) = sleeps_during(3, $worker);
cmp_ok($of_worker, '<=', 1, "a warm worker has no wake-ups ($of_worker in 3 s)");

$asked = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', "SELECT cron.schedule('new', '1 second', \$c\$" . effect() . "\$c\$)");
wait_for($node, "SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'new' AND status = 'succeeded'",
	't', 'a new job runs');
is($node->safe_psql('postgres', "SELECT min(start_time) < '$asked'::timestamptz + interval '10 s'
	FROM cron.job_run_details WHERE jobname = 'new'"), 't', 'it is seen at once');
is($node->safe_psql('postgres', "SELECT DISTINCT job_pid FROM cron.job_run_details WHERE jobname IN ('new', 'yearly')"),
	$worker, 'by the worker that was there');

# A process waits by the same descriptor for all its life.
sub wait_descriptors
{
	return join(', ', map { my $pid = $_; scalar(grep { (readlink($_) // '') =~ /eventpoll/ } glob("/proc/$pid/fd/*")) } @_);
}
my $descriptors = wait_descriptors($launcher, $scheduler, $worker);
unlike($descriptors, qr/\b0\b/, 'launcher, scheduler and job worker wait by descriptors');
my $runs = $node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE jobname = 'new' AND status = 'succeeded'");
wait_for($node, "SELECT count(*) >= $runs + 3 FROM cron.job_run_details WHERE jobname = 'new' AND status = 'succeeded'", 't',
	'the job runs three more times');
is(wait_descriptors($launcher, $scheduler, $worker), $descriptors, 'no wait leaves a descriptor behind');

# Without the job there is nothing to wake up for.
$node->safe_psql('postgres', "SELECT cron.unschedule('new')");
wait_for_quiet($launcher, $scheduler);
pass('quiet again when the job is gone');

$node->stop;
done_testing();
