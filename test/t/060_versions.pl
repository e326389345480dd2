# What newer versions of PostgreSQL have: names for waits, transaction_timeout, memberships without
# SET, a cache of extensions.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Socket::INET;
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('versions', autovacuum => 'on');
$node->start;
my $major = $node->safe_psql('postgres', "SELECT current_setting('server_version_num')::int / 10000");
my $scheduler = install($node);
$node->safe_psql('postgres', 'CREATE ROLE runner LOGIN; CREATE ROLE admin LOGIN; CREATE ROLE bob LOGIN;
	GRANT USAGE ON SCHEMA cron, net TO runner, admin, bob');

sub run_now
{
	my ($name, $command, $role) = @_;
	$role //= 'postgres';
	return $node->safe_psql('postgres', "SET ROLE $role;
		SELECT cron.schedule('$name', '0 0 1 1 *', \$c\$$command\$c\$); SELECT cron.run_job('$name')");
}

# ---- waits --------------------------------------------------------------------------------------

my %names = (
	'launcher' => 'CronLauncherMain', 'scheduler' => 'CronSchedulerMain',
	'job worker' => 'CronWorkerIdle', 'http worker' => 'NetWorkerMain');

# A server that never answers.
my $silent = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "no socket: $!";
my $request = $node->safe_psql('postgres',
	"SELECT net.http_get('http://127.0.0.1:" . $silent->sockport . "/', timeout_milliseconds => 600000)");
run_now('short', 'SELECT 1');
for my $kind (sort keys %names)
{
	wait_for($node, "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'securatlas_sched $kind'",
		'Extension|' . wait_name($names{$kind}), "the $kind waits by its name");
}
my $waiter = $node->background_psql('postgres', on_error_stop => 0);
$waiter->query_until(qr/start/, "\\echo start\nSELECT net._await_response($request);\n");
wait_for($node, "SELECT wait_event FROM pg_stat_activity WHERE query LIKE 'SELECT net._await%'", wait_name('NetResponse'),
	'so does a session that waits for a response');
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
my $frozen = install($node, 'doomed');
kill 'STOP', $frozen;
my $dropper = $node->background_psql('postgres', on_error_stop => 0);
$dropper->query_until(qr/start/, "\\echo start\nDROP DATABASE doomed;\n");
wait_for($node, "SELECT wait_event FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE%'", wait_name('CronDatabaseEnd'),
	'and one that drops a database');
SKIP:
{
	skip 'PostgreSQL has no names for the waits of extensions', 2 if $major < 17;
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'Extension'"), '0',
		'no wait has no name');
	is($node->safe_psql('postgres', q{SELECT string_agg(name, ' ' ORDER BY name COLLATE "C") FROM pg_wait_events
		WHERE type = 'Extension' AND name <> 'Extension'}),
		'CronDatabaseEnd CronLauncherMain CronSchedulerMain CronUpdate CronWorkerIdle CronWorkerLock '
		  . 'NetResponse NetWorkerMain SecuratlasErrorPause', 'pg_wait_events shows all names');
}
kill 'CONT', $frozen;
$dropper->quit;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = 'doomed'"), '0', 'it is dropped');
$node->safe_psql('postgres', "SELECT net.cancel_request($request)");
$waiter->quit;

# ---- memberships without SET --------------------------------------------------------------------

SKIP:
{
	skip 'every member may become the role', 2 if $major < 16;
	$node->safe_psql('postgres', 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO bob;
		GRANT admin TO bob WITH INHERIT TRUE, SET FALSE');
	my $as_admin = q{SET ROLE bob; SELECT cron.schedule_in_database('theirs', '0 0 1 1 *', 'SELECT 1', 'postgres', 'admin')};
	my ($rc, $out, $err) = $node->psql('postgres', $as_admin);
	like($err, qr/You may not SET ROLE to "admin"/, 'a member who may not become the role makes no jobs for it');
	$node->safe_psql('postgres', 'GRANT admin TO bob WITH SET TRUE');
	like($node->safe_psql('postgres', $as_admin), qr/^\d+$/, 'one who may does');
}

# ---- transaction_timeout ------------------------------------------------------------------------

SKIP:
{
	skip 'there is no transaction_timeout', 3 if $major < 17;
	$node->safe_psql('postgres', q{
		ALTER DATABASE postgres SET transaction_timeout = '1ms';
		ALTER ROLE runner IN DATABASE postgres SET transaction_timeout = 0;
		ALTER ROLE bob IN DATABASE postgres SET transaction_timeout = '300ms'});
	local $ENV{PGOPTIONS} = '-c transaction_timeout=0';
	$node->restart;
	run_now('too long', 'SELECT pg_sleep(3600)', 'bob');
	wait_for($node, q{SELECT status, sqlstate FROM cron.job_run_details WHERE command LIKE '%pg_sleep%'}, 'failed|25P04',
		'a run ends with the transaction_timeout of its role');
	run_now('many', 'SELECT count(*) FROM cron.job', 'runner');
	wait_for($node, q{SELECT status FROM cron.job_run_details WHERE jobname = 'many'}, 'succeeded', 'that of a database does not stop the scheduler');
	my $refused = $node->safe_psql('postgres', "SELECT net.http_get('http://127.0.0.1:1/')");
	wait_for($node, "SELECT count(*) FROM net._http_response WHERE id = $refused", '1', 'nor the HTTP worker');
}

$node->stop;
done_testing();
