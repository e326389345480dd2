# After the server was down for minutes, each job's `missed` rule decides about the occurrences in
# between.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('missed');
$node->start;
install($node);
make_effects($node);

my %rules = (
	skip => "missed => 'skip'",
	once => "missed => 'once'",
	all => "missed => 'all'",
	all_recent => "missed => 'all', catchup_window => '2 minutes'",
	once_too_old => "missed => 'once', catchup_window => '10 seconds'",
	default => undef,
	paused => "missed => 'all'");
my @roles = qw(anna bert carl);
$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN; GRANT USAGE ON SCHEMA cron TO $_") for @roles;
for my $name (sort keys %rules)
{
	push @roles, my $role = shift @roles;
	$node->safe_psql('postgres', "SELECT cron.schedule('$name', '\@every 1 minute', \$c\$" . effect() . "\$c\$)",
		extra_params => [ '-U', $role ]);
	$node->safe_psql('postgres', "SELECT cron.configure_job('$name', $rules{$name})", extra_params => [ '-U', $role ])
	  if defined $rules{$name};
}
$node->safe_psql('postgres', "SELECT cron.pause('paused', 'on holiday')");
wait_for($node, 'SELECT count(*) FROM cron.scheduler_state', '1', 'the scheduler has planned');
$node->stop('immediate');

# The same server without its scheduler makes the tables those of one that went away 3:30 minutes
# ago: occurrences 2:30, 1:30 and 0:30 minutes ago were missed; the next is in half a minute.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->start;
is(scalar(our_pids($node)), 0, 'nothing of ours runs in a server that does not preload it');
my $away = $node->safe_psql('postgres', q{
	ALTER TABLE cron.job DISABLE TRIGGER USER;
	ALTER TABLE cron.scheduler_state DISABLE TRIGGER USER;
	WITH gone AS (SELECT now() - interval '3 minutes 30 seconds' AS since),
	     jobs AS (UPDATE cron.job SET planned_from = since FROM gone)
	UPDATE cron.scheduler_state SET planned_until = since FROM gone RETURNING planned_until;
	ALTER TABLE cron.job ENABLE TRIGGER USER;
	ALTER TABLE cron.scheduler_state ENABLE TRIGGER USER;});
$node->safe_psql('postgres', "SELECT cron._arm_triggers(t) FROM unnest('{cron.job,cron.scheduler_state}'::regclass[]) AS t");
$node->stop('immediate');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'securatlas_sched'");
$node->start;
scheduler_pid($node);

# 2 of all_recent, 3 of all, 1 of once and of default.
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'", '7',
	'what is to be made up is made up');

# Minutes after the server went away, in the order of execution.
sub made_up
{
	my ($job) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(extract(minute FROM scheduled_at - '$away')::text || trigger, ' ' ORDER BY start_time)
		  FROM cron.job_run_details WHERE jobname = '$job' AND status = 'succeeded'});
}

sub skipped
{
	my ($job) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT extract(minute FROM scheduled_at - '$away') || ': ' || reason
		  FROM cron.job_run_details WHERE jobname = '$job' AND status = 'skipped'});
}

my $why = 'missed: the scheduler was not running';
is(made_up('skip'), '', 'skip makes up nothing');
is(skipped('skip'), "3: $why (3 occurrences)", 'skip says how many in one row');
is(made_up('once'), '3catchup', 'once makes up the latest');
is(skipped('once'), "2: $why (2 occurrences)", 'once says what it left out');
is(made_up('default'), '3catchup', 'the default is once');
is(made_up('all'), '1catchup 2catchup 3catchup', 'all makes up each one, oldest first');
is(skipped('all'), '', 'all leaves out nothing');
is(made_up('all_recent'), '2catchup 3catchup', 'all makes up what is inside its window');
is(skipped('all_recent'), "1: $why", 'and says what is not');
is(made_up('once_too_old'), '', 'once makes up nothing that is older than the window');
is(skipped('once_too_old'), "3: $why (3 occurrences)", 'and says so');
is(made_up('paused') . skipped('paused'), '', 'a paused job misses nothing');

# Once more, at once: nothing of it is made up again.
my $made_up = "SELECT count(*) FROM cron.job_run_details
	WHERE scheduled_at <= '$away'::timestamptz + interval '3 minutes'";
my $rows = $node->safe_psql('postgres', $made_up);
$node->stop('immediate');
$node->start;
scheduler_pid($node);
wait_for($node, "SELECT planned_until IS NOT NULL AND jobs = 7 FROM cron.scheduler_status", 't',
	'the scheduler has planned again');
is($node->safe_psql('postgres', $made_up), $rows,
	'a second restart makes up nothing twice');
$node->safe_psql('postgres', "SELECT cron.resume('paused')");
settle($node);
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE jobname = 'paused'"), '0',
	'paused time is not missed time');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT FROM effects GROUP BY jobid, scheduled_at HAVING count(*) > 1) twice}),
	'0', 'no effect twice');

invariants_hold($node, 'at the end');
$node->stop;
done_testing();
