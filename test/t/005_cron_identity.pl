# Roles, databases, privileges and functions are dropped, and rows are damaged by hand. The job
# concerned fails or is paused, with a message that says what to do; all others go on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('identity');
$node->start;
my $scheduler = install($node);
make_effects($node);
$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN")
  for qw(dropped renamed locked_out no_connect no_function healthy);
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(gone closed);
$node->safe_psql('postgres', q{
	CREATE FUNCTION helper() RETURNS int LANGUAGE sql AS 'SELECT 1'});

my %jobs = (
	dropped => [ 'postgres', 'dropped', effect() ],
	renamed => [ 'postgres', 'renamed', effect() ],
	locked_out => [ 'postgres', 'locked_out', effect() ],
	no_database => [ 'gone', 'healthy', 'SELECT 1' ],
	no_connect => [ 'closed', 'no_connect', 'SELECT 1' ],
	no_function => [ 'postgres', 'no_function', 'SELECT public.helper()' ],
	bad_schedule => [ 'postgres', 'healthy', effect() ],
	bad_zone => [ 'postgres', 'healthy', effect() ],
	healthy => [ 'postgres', 'healthy', effect() ]);
for my $name (sort keys %jobs)
{
	my ($database, $role, $command) = @{ $jobs{$name} };
	$node->safe_psql('postgres', "SELECT cron.schedule_in_database('$name', '1 second',
		\$c\$$command\$c\$, '$database', '$role')");
}
wait_for($node, "SELECT count(DISTINCT jobname) FROM cron.job_run_details WHERE status = 'succeeded'",
	scalar(keys %jobs), 'all jobs run');

# Waits until what happened has been noticed by a run, and the healthy job has run after that.
sub healthy_goes_on
{
	my ($what) = @_;
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for($node, qq{
		SELECT EXISTS (SELECT FROM cron.job_run_details
		                WHERE jobname = 'healthy' AND status = 'succeeded' AND scheduled_at > '$now')},
		't', "the healthy job goes on: $what");
	return;
}

# ---- what a job needs goes away -------------------------------------------------------------

$node->safe_psql('postgres', 'DROP ROLE dropped');
$node->safe_psql('postgres', 'ALTER ROLE renamed RENAME TO other_name');
$node->safe_psql('postgres', 'ALTER ROLE locked_out NOLOGIN');
$node->safe_psql('postgres', 'DROP DATABASE gone');
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE closed FROM PUBLIC');
$node->safe_psql('postgres', 'DROP FUNCTION helper()');

my %expected = (
	locked_out => [ '28000', qr/role "locked_out" is not permitted to log in.*HINT: .*LOGIN/s ],
	no_database => [ '3D000', qr/database "gone" does not exist.*HINT: .*alter_job/s ],
	no_connect => [ '42501', qr/does not have CONNECT privilege on closed.*HINT: .*GRANT CONNECT/s ],
	no_function => [ '42883', qr/function public.helper\(\) does not exist/ ]);
for my $name (sort keys %expected)
{
	my ($sqlstate, $message) = @{ $expected{$name} };
	wait_for($node, qq{
		SELECT status || ' ' || sqlstate FROM cron.job_run_details
		 WHERE jobname = '$name' AND status NOT IN ('starting', 'running')
		 ORDER BY runid DESC LIMIT 1}, "failed $sqlstate", "$name: fails");
	like($node->safe_psql('postgres', qq{
		SELECT return_message FROM cron.job_run_details
		 WHERE jobname = '$name' AND status = 'failed' ORDER BY runid DESC LIMIT 1}),
		$message, "$name: says what to do");
}
healthy_goes_on('with jobs that cannot run');
is(scheduler_pid($node), $scheduler, 'the scheduler is the same');
is($node->safe_psql('postgres', "SELECT string_agg(jobname, ',') FROM cron.job WHERE NOT active"), 'dropped',
	'only the job of a dropped role is paused');

# These jobs run again as soon as their roles may; nobody has to resume them.
$node->safe_psql('postgres', 'ALTER ROLE locked_out LOGIN');
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE closed TO no_connect');
my $mended = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, qq{
	SELECT count(DISTINCT jobname) FROM cron.job_run_details
	 WHERE jobname IN ('renamed', 'locked_out', 'no_connect') AND status = 'succeeded'
	   AND scheduled_at > '$mended'}, '3', 'what is mended runs again');

# ---- rows damaged by hand -------------------------------------------------------------------

$node->safe_psql('postgres', q{
	ALTER TABLE cron.job DISABLE TRIGGER USER;
	ALTER TABLE cron.job_run_details DISABLE TRIGGER USER;
	UPDATE cron.job SET schedule = 'every now and then' WHERE jobname = 'bad_schedule';
	UPDATE cron.job SET timezone = 'Middle/Earth' WHERE jobname = 'bad_zone';
	INSERT INTO cron.job (jobname, schedule, command, planned_from, retry_period, jitter, catchup_window) VALUES
	    ('from the beginning', '@every 1 hour', 'SELECT 1', '-infinity', '1 hour', NULL, '100000 years'),
	    ('never planned', '* * * * *', 'SELECT 1', 'infinity', '100000 years', '100000 years', NULL),
	    (NULL, '* * * * *', 'SELECT 1', now(), '1 hour', NULL, '0');
	INSERT INTO cron.job_run_details (jobid, status, trigger, scheduled_at, username) VALUES
	    (NULL, 'starting', 'manual', now(), 'nobody'), (-1, 'running', 'foo', NULL, NULL),
	    (1, 'starting', NULL, NULL, NULL), (2, NULL, NULL, NULL, NULL);
	ALTER TABLE cron.job_run_details ENABLE TRIGGER USER;
	ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_check;
	ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_changed;
	ALTER TABLE cron.job ENABLE ALWAYS TRIGGER job_truncated;});
# Noticed at once, or at the next start.
$node->restart;
scheduler_pid($node);
healthy_goes_on('beside damaged rows');
for my $name (qw(bad_schedule bad_zone))
{
	wait_for($node, "SELECT active FROM cron.job WHERE jobname = '$name'", 'f', "$name: paused");
	like($node->safe_psql('postgres', "SELECT note FROM cron.job WHERE jobname = '$name'"),
		qr/^paused: (invalid schedule: every now and then|.*Middle\/Earth).*cron\.resume/,
		"$name: the note says what to do");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.jobs WHERE jobname LIKE 'bad%'"), '2',
	'the views still show everything');
is(log_count($node, 'could not record the end of a run'), 0, 'workers have recorded the ends of their runs');
my $pid = scheduler_pid($node);
$node->safe_psql('postgres', "UPDATE cron.job SET schedule = '1 second' WHERE jobname = 'bad_schedule'");
$node->safe_psql('postgres', "UPDATE cron.job SET timezone = NULL WHERE jobname = 'bad_zone'");
$node->safe_psql('postgres', "SELECT cron.resume('bad_schedule'), cron.resume('bad_zone')");
$mended = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, qq{
	SELECT count(DISTINCT jobname) FROM cron.job_run_details
	 WHERE jobname LIKE 'bad%' AND status = 'succeeded' AND scheduled_at > '$mended'}, '2',
	'mended and resumed, they run again');
is(scheduler_pid($node), $pid, 'the scheduler has not died of it');

$node->stop;
done_testing();
