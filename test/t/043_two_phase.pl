# Two-phase commit: what a prepared transaction did to jobs and requests takes effect when any
# session commits it, even after a crash, and never if it is rolled back.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('two_phase', autovacuum => 'on', max_prepared_transactions => 20);
$node->start;
install($node);
make_effects($node);
$node->safe_psql('postgres', q{
	CREATE ROLE plain LOGIN;
	GRANT USAGE ON SCHEMA cron, net TO plain;
	GRANT INSERT ON effects TO plain;
	CREATE TABLE hooked (a int);
	CREATE TRIGGER hook AFTER INSERT ON hooked FOR EACH ROW EXECUTE FUNCTION net.http_webhook('http://127.0.0.1:1/hook');
	GRANT INSERT ON hooked TO plain;});

# Nobody listens there: the answer is an error, and shows that the request was tried.
my $request = "SELECT net.http_get('http://127.0.0.1:1/%s')";
sub prepare
{
	my ($name, $sql, $database) = @_;
	$node->safe_psql($database // 'postgres', "BEGIN; $sql; PREPARE TRANSACTION '$name'");
	return;
}
sub answers
{
	my ($path) = @_;
	return "SELECT count(*) FROM net._http_response WHERE url LIKE '%/$path'";
}
# Without being told the scheduler would look after a minute.
sub runs_at_once
{
	my ($job, $since, $what) = @_;
	wait_for($node, "SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = '$job' AND status = 'succeeded' AND start_time > '$since'",
		't', $what);
	is($node->safe_psql('postgres', "SELECT min(start_time) < '$since'::timestamptz + interval '30 s'
		FROM cron.job_run_details WHERE jobname = '$job' AND start_time > '$since'"), 't', "$what, at once");
	return;
}

# ---- another session ------------------------------------------------------------------------

prepare('all', q{SET LOCAL ROLE plain; SELECT cron.schedule('prepared', '1 second', $c$} . effect() . '$c$); '
	. sprintf($request, 'all') . '; INSERT INTO hooked VALUES (1); RESET ROLE');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM cron.job), (SELECT count(*) FROM net.http_request_queue)'),
	'0|0', 'what is prepared is not there yet');
my $since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', "COMMIT PREPARED 'all'");
runs_at_once('prepared', $since, 'a job runs from COMMIT PREPARED on');
wait_for($node, answers('all'), '1', 'a request is sent');
wait_for($node, answers('hook'), '1', 'and that of a webhook');

# Requests only, which are marked otherwise; beside a transaction that is about jobs and stays prepared.
# To other hosts, since that one has failed too often by now.
prepare('requests', sprintf($request =~ s/0\.1:/0.2:/r, 'requests'));
prepare('stays', q{SELECT cron.schedule('stays', '0 0 1 1 *', 'SELECT 1')});
$node->safe_psql('postgres', "COMMIT PREPARED 'requests'");
wait_for($node, answers('requests'), '1', 'a request of a transaction without jobs is sent');
prepare('more', sprintf($request =~ s/0\.1:/0.3:/r, 'more'));
$node->safe_psql('postgres', "ROLLBACK PREPARED 'stays'");
$node->safe_psql('postgres', "COMMIT PREPARED 'more'");
wait_for($node, answers('more'), '1', 'also if there is no other');
is($node->safe_psql('postgres', q{SELECT count(*) FROM net._http_response WHERE url ~ 'requests|more' AND created > requested_at + interval '30 s'}), '0', 'at once');

my $job = $node->safe_psql('postgres', 'SELECT jobid FROM cron.job');
prepare('pause', "SELECT cron.alter_job($job, active => false)");
$node->safe_psql('postgres', "COMMIT PREPARED 'pause'");
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}, '0', 'no run is left');
my $runs = $node->safe_psql('postgres', 'SELECT max(runid) FROM cron.job_run_details');
$since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
prepare('once', "SELECT cron.run_job($job)");
$node->safe_psql('postgres', "COMMIT PREPARED 'once'");
runs_at_once('prepared', $since, 'cron.run_job()');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE runid > $runs"), '1',
	'the paused job has no other run');

my $id = $node->safe_psql('postgres', "SELECT net.http_request('GET', 'http://127.0.0.1:1/late', not_before => now() + '1 day')");
prepare('cancel', "SELECT net.cancel_request($id)");
$node->safe_psql('postgres', "COMMIT PREPARED 'cancel'");
is($node->safe_psql('postgres', "SELECT state FROM net.requests WHERE id = $id"), 'cancelled', 'net.cancel_request()');

# ---- rolled back ----------------------------------------------------------------------------

prepare('never', q{SELECT cron.schedule('never', '1 second', 'SELECT 1'); } . sprintf($request, 'never'));
$node->safe_psql('postgres', "ROLLBACK PREPARED 'never'");
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.job WHERE jobname = 'never'
	UNION ALL SELECT count(*) FROM net.http_request_queue}), "0\n0", 'ROLLBACK PREPARED leaves nothing');

# ---- a crash between ------------------------------------------------------------------------

prepare('crash', q{SELECT cron.schedule('after a crash', '1 second', $c$} . effect() . '$c$); ' . sprintf($request, 'crash'));
$node->stop('immediate');
$node->start;
scheduler_pid($node);
is($node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts'), 'crash', 'a prepared transaction survives a crash');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job WHERE jobname = 'after a crash'"), '0', 'uncommitted');
$since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', "COMMIT PREPARED 'crash'");
runs_at_once('after a crash', $since, 'its job runs when it is committed then');
wait_for($node, answers('crash'), '1', 'and its request is sent');
is($node->safe_psql('postgres', answers('never')), '0', 'what was rolled back never was');

# ---- the extension --------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE other');
prepare('create', 'CREATE EXTENSION securatlas_sched', 'other');
$node->safe_psql('other', "COMMIT PREPARED 'create'");
my $scheduler = scheduler_pid($node, 'other');
like($scheduler, qr/^\d+$/, 'CREATE EXTENSION in a prepared transaction brings a scheduler');
prepare('drop', 'DROP EXTENSION securatlas_sched', 'other');
$node->safe_psql('other', "COMMIT PREPARED 'drop'");
wait_until(sub { is_gone($scheduler) }, 'the scheduler leaves');
pass('DROP EXTENSION in one ends it');
install($node, 'other');
prepare('roles', 'ALTER ROLE plain CONNECTION LIMIT 7', 'other');
$node->safe_psql('other', "COMMIT PREPARED 'roles'");
is($node->safe_psql('postgres', "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'plain'"), '7', 'a role can be changed in one');

# ---- in a run -------------------------------------------------------------------------------

$id = $node->safe_psql('postgres', q{
	SELECT cron.schedule('prepares', '0 0 1 1 *',
		$$BEGIN; INSERT INTO effects VALUES (-1); PREPARE TRANSACTION 'of a run'$$);
	SELECT cron.run_job('prepares')});
($id) = $id =~ /(\d+)$/;
wait_for($node, "SELECT status || ' ' || transactional FROM cron.job_run_details WHERE runid = $id", 'succeeded false',
	'a run that prepares is not called transactional');
is($node->safe_psql('postgres', q{COMMIT PREPARED 'of a run'; SELECT count(*) FROM effects WHERE jobid = -1}), '1',
	'what it prepared can be committed');
# The row of a run that is interrupted afterwards must not say that it left nothing.
$node->safe_psql('postgres', q{
	SELECT cron.schedule('dies', '0 0 1 1 *',
		$$BEGIN; INSERT INTO effects VALUES (-2); PREPARE TRANSACTION 'before a crash'; SELECT pg_sleep(3600)$$);
	SELECT cron.schedule('dies as well', '0 0 1 1 *', 'SELECT pg_sleep(3600)');
	SELECT cron.run_job('dies'), cron.run_job('dies as well')});
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'cron: dies%' AND wait_event = 'PgSleep'}, '2',
	'two runs go on, and one has prepared a transaction');
$node->stop('immediate');
$node->start;
wait_for($node, q{SELECT status FROM cron.job_run_details WHERE jobname = 'dies as well' AND attempt = 2}, 'running',
	'after a crash one is repeated');
is($node->safe_psql('postgres', q{SELECT attempt, status, transactional, reason FROM cron.job_run_details WHERE jobname = 'dies'}),
	'1|failed|f|server restarted', 'the one that has prepared something is not');
is($node->safe_psql('postgres', q{COMMIT PREPARED 'before a crash'; SELECT count(*) FROM effects WHERE jobid = -2}), '1',
	'what it prepared is there once');

invariants_hold($node, 'at the end');
$node->stop;
done_testing();
