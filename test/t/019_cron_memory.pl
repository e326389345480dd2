# The scheduler runs out of memory at one point after another: it starts again, and each occurrence has
# its effects once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use NoMemory;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $memory = NoMemory->new or plan skip_all => 'no compiler here';
my $node = new_node('memory');
$memory->start($node);
my $scheduler = install($node);
make_effects($node);
for my $role (qw(anna bert))
{
	$node->safe_psql('postgres', "CREATE ROLE $role LOGIN; GRANT USAGE ON SCHEMA cron TO $role");
	$node->safe_psql('postgres', "SELECT cron.schedule('of $role', '1 second', \$c\$" . effect() . "\$c\$);
		SELECT cron.configure_job('of $role', missed => 'all', catchup_window => '1 hour', overlap_policy => 'buffer_all')",
		extra_params => [ '-U', $role ]);
}
my $succeeded = "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'";
wait_for($node, "SELECT ($succeeded) > 1", 't', 'jobs run');
my @moments = (1 .. 6, map { $_ * $_ } 3 .. 12);
my $number = 0;
for my $moment (@moments)
{
	my $failed = $memory->failed;
	$memory->fail_at($scheduler, $moment);
	# So that it handles each kind of notice.
	++$number;
	$node->safe_psql('postgres', "
		SELECT cron.schedule('new $number', '1 second', 'SELECT 1'), cron.run_job('new $number'), cron.unschedule('new $number')",
		extra_params => [ '-U', 'anna' ]);
	wait_until(sub { $memory->failed > $failed }, "allocation $moment fails");
}
my $before = $node->safe_psql('postgres', $succeeded);
wait_for($node, "SELECT ($succeeded) > $before + 3", 't', 'runs go on');
settle($node);
exactly_once($node, 'afterwards');
cmp_ok(log_count($node, 'scheduler: starts anew: '), '>', 0, 'the scheduler began anew');
is(scheduler_pid($node), $scheduler, 'and is the same process');
is(log_count($node, 'terminated by signal'), 0, 'no process has died');
is($node->safe_psql('postgres', q{SELECT DISTINCT reason FROM cron.job_run_details WHERE status = 'failed' AND reason <> 'server restarted'}), '',
	'no run has failed for it');

$node->stop;
done_testing();
