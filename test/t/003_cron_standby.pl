# A standby runs nothing. When the primary dies and the standby is promoted, scheduling goes on, and
# the promise holds in the tables that the standby has.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node('primary', init => { allows_streaming => 1 });
$primary->start;
install($primary);
make_effects($primary);
# Each of a role of its own that is no superuser.
for my $name (qw(one two three))
{
	$primary->safe_psql('postgres', "CREATE ROLE $name LOGIN; GRANT USAGE ON SCHEMA cron TO $name");
	$primary->safe_psql('postgres', "
		SELECT cron.schedule('$name', '1 second', \$c\$SELECT pg_sleep(0.1); " . effect() . "\$c\$);
		SELECT cron.configure_job('$name', missed => 'all', catchup_window => '1 hour', overlap_policy => 'buffer_all')",
		extra_params => [ '-U', $name ]);
}
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

my $succeeded = "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'";
my $so_far = $primary->safe_psql('postgres', $succeeded);
wait_for($standby, "SELECT ($succeeded) > $so_far + 4", 't', 'the standby receives runs and their effects');
is(join(' ', our_pids($standby)), '', 'nothing of ours runs on a standby');
my ($rc, $out, $err) = $standby->psql('postgres', "SELECT cron.schedule('x', '* * * * *', 'SELECT 1')");
like($err, qr/read-only transaction/, 'a standby accepts no job');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM cron.jobs WHERE next_run_at IS NOT NULL'), '3',
	'the views work on a standby');

kill_server($primary);
my $before = $standby->safe_psql('postgres', $succeeded);
is(join(' ', our_pids($standby)), '', 'nor when the primary is dead');
my $promotion = $standby->safe_psql('postgres', 'SELECT now()');
$standby->promote;
scheduler_pid($standby);
wait_for($standby, qq{
	SELECT count(*) FROM cron.job j WHERE EXISTS (
	       SELECT FROM effects e WHERE e.jobid = j.jobid AND e.scheduled_at > '$promotion')}, '3',
	'scheduling goes on after the promotion');
cmp_ok($standby->safe_psql('postgres', $succeeded), '>', $before, 'with what was there before');
settle($standby);
exactly_once($standby, 'after the promotion');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM cron.scheduler_state'), '1',
	'the promoted server has taken the state over');

$standby->stop;
done_testing();
