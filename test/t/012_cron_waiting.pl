# Signals and changes of settings that arrive while a process starts, or while PostgreSQL itself
# waits in it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use IPC::Run ();
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('waiting', max_worker_processes => 20, autovacuum => 'on', init => { allows_streaming => 1 });
$node->start;

# ---- a reload while the processes start ------------------------------------------------------

# Some times: the reload is to come when the scheduler has been forked, with the setting from before,
# and does not hear signals yet.
for my $i (1 .. 3)
{
	$node->safe_psql('postgres', "CREATE DATABASE early$i");
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET cron.launch_active_jobs; SELECT pg_reload_conf()');
	wait_for($node, 'SHOW cron.launch_active_jobs', 'on', 'jobs are launched');
	my $pause = ($i - 1) / 1000;
	# At the end two seconds of the server's clock, in which there would be runs.
	$node->safe_psql("early$i", qq{
		CREATE TABLE ran (at timestamptz);
		ALTER SYSTEM SET cron.launch_active_jobs = off;
		CREATE EXTENSION securatlas_sched;
		SELECT pg_sleep($pause);
		SELECT pg_reload_conf();
		SELECT cron.schedule('each second', '1 second', 'INSERT INTO ran VALUES (clock_timestamp())');
		SELECT pg_sleep(2);});
	scheduler_pid($node, "early$i");
	is($node->safe_psql("early$i", 'SELECT count(*) FROM ran'), '0', "the setting is heeded ($i)");
}
$node->safe_psql('postgres', "DROP DATABASE early$_") for 1 .. 3;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET cron.launch_active_jobs; SELECT pg_reload_conf()');

# ---- cancellation ----------------------------------------------------------------------------

my $scheduler = install($node);
make_effects($node);
$node->safe_psql('postgres', "SELECT cron.schedule('each second', '1 second', \$c\$" . effect() . "\$c\$)");
wait_for($node, 'SELECT count(*) > 0 FROM effects', 't', 'a job runs');
my $request = $node->safe_psql('postgres', q{SELECT net.http_get('http://127.0.0.1:1/')});
wait_for($node, "SELECT count(*) FROM net._http_response WHERE id = $request", '1', 'the http worker is there');
# With this one it does not leave.
$node->safe_psql('postgres', q{SELECT net.http_request('GET', 'http://127.0.0.1:1/', not_before => now() + interval '1 hour')});
my %pid = map { $_ => (our_pids($node, $_))[0] } ('launcher', 'scheduler', 'job worker', 'http worker');
for my $round (1 .. 20)
{
	# Some reach them between two turns, others in one.
	$node->safe_psql('postgres', 'SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE backend_type LIKE $$securatlas_sched %$$ AND backend_type <> $$securatlas_sched job worker$$');
}
my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, "SELECT count(*) > 1 FROM effects WHERE at > '$now'", 't', 'jobs run on');
is((our_pids($node, $_))[0], $pid{$_}, "the $_ is the same") for ('launcher', 'scheduler', 'http worker');
$node->safe_psql('postgres', "SELECT cron.pause('each second')");
wait_for($node, "SELECT count(*) FROM pg_stat_activity
	WHERE pid = $pid{'job worker'} AND state = 'idle'", '1', 'the job worker is idle');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid{'job worker'})") for 1 .. 3;
$node->safe_psql('postgres', "SELECT cron.resume('each second')");
$now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, "SELECT count(*) > 1 FROM effects WHERE at > '$now'", 't', 'it goes on');
is((our_pids($node, 'job worker'))[0], $pid{'job worker'}, 'the idle job worker is the same');

# ---- a process without memory ----------------------------------------------------------------

sub limit_memory
{
	my ($pid, $more) = @_;
	my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s+(\d+)/m;
	my $limit = $more eq 'unlimited' ? $more : ($kilobytes * 1024 + $more);
	system('prlimit', "--pid=$pid", "--as=$limit:unlimited") == 0 or die "prlimit: $?";
	return;
}
SKIP:
{
	skip 'no prlimit here', 3 if system('prlimit --version >/dev/null 2>&1') != 0;
	limit_memory($scheduler, 4 * 1024 * 1024);
	$node->safe_psql('postgres', q{
		SELECT count(cron.schedule('many ' || i, '0 0 1 1 *', 'SELECT ' || i)) FROM generate_series(1, 20000) AS i});
	wait_until(sub { log_count($node, 'scheduler: (out of memory|starts anew: )') > 0 },
		'the scheduler has no memory for so many jobs');
	pass('the scheduler has no memory for so many jobs');
	limit_memory($scheduler, 'unlimited');
	wait_for($node, 'SELECT jobs FROM cron.scheduler_status', '20001', 'it goes on when there is some');
	is(scheduler_pid($node), $scheduler, 'the scheduler is the same');
	$node->safe_psql('postgres', q{DELETE FROM cron.job WHERE jobname LIKE 'many %'});
}

# ---- a synchronous standby that does not answer ----------------------------------------------

# A request is sent as soon as its transaction is visible to others, which is after the standby has it.
my $stub = HttpStub->new;
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()});
wait_for($node, 'SHOW synchronous_standby_names', 'nobody', 'a standby is waited for that is not there');
my @psql = ('psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c');
my $session = IPC::Run::start([ @psql, "SELECT net.http_get('${\$stub->url('/replicated')}')" ],
	'<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event = 'SyncRep'},
	'1', 'the commit of a request waits');
$node->safe_psql('postgres', "SET synchronous_commit = local; SELECT net.http_get('${\$stub->url('/local')}')");
wait_until(sub { $stub->requests('/local') }, 'a later one that does not wait is sent');
is(scalar $stub->requests('/replicated'), 0, 'a request whose commit is not replicated is not sent');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()');
$session->finish;
wait_until(sub { $stub->requests('/replicated') }, 'it is sent when its commit does not wait any more');
pass('it is sent when its commit does not wait any more');

$node->safe_psql('postgres', q{
	CREATE TABLE written (i int);
	SELECT cron.schedule('writes ' || i, '1 second', 'INSERT INTO written VALUES (1)') FROM generate_series(1, 5) AS i});
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()});
wait_for($node, q{SELECT count(*) >= 5 FROM pg_stat_activity
	WHERE backend_type = 'securatlas_sched job worker' AND wait_event = 'SyncRep'}, 't',
	'five commits wait for a standby that is not there');
# Many times what it takes, and less than a process sleeps at most.
{
	local $ENV{PGCTLTIMEOUT} = 30;
	$node->stop('fast');
}
pass('the server stops meanwhile');

done_testing();
