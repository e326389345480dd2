# Race conditions in moments that are too short to hit by chance: a library that the test builds
# stops the processes there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $library = build_library('moments.c');
plan skip_all => 'no compiler for PostgreSQL here' unless defined $library;

my $stub = HttpStub->new;
my $node = new_node('moments', init => { allows_streaming => 1 }, max_worker_processes => 20, 'cron.log_statement' => 'on',
	'cron.worker_idle_timeout' => "'1 h'",
	shared_preload_libraries => "'securatlas_sched,$library'");
my $control = $node->data_dir . '/moments';
append_to_file($control, pack('l6', 0, 0, 0, 0, 0, 0));
$node->start;
my $scheduler = install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE anna LOGIN; CREATE ROLE bert LOGIN; GRANT USAGE ON SCHEMA cron, net TO anna, bert;
	CREATE TABLE ran (what text, run text); GRANT INSERT ON ran TO anna, bert;});

sub as
{
	my ($role, $sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql, extra_params => [ '-U', $role ]);
}

# The numbers that test/support/moments.c shares with the test.
my %place = (hold_at => 0, except => 1, held => 2, ended => 3, files => 4, fail => 5);
sub set_moment
{
	my ($name, $value) = @_;
	open(my $file, '+<:raw', $control) or die "$control: $!";
	sysseek($file, 4 * $place{$name}, 0);
	syswrite($file, pack('l', $value));
	close $file;
	return;
}

sub moment
{
	my ($name) = @_;
	return (unpack 'l6', slurp_file($control))[ $place{$name} ];
}

sub is_row
{
	my ($run, $expected, $what) = @_;
	wait_for($node, "SELECT status, coalesce(reason, '-') FROM cron.job_run_details WHERE runid = $run", $expected, $what);
	return;
}

# Until the process waits for what comes.
sub asleep
{
	my ($pid, $wait) = @_;
	wait_for($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", wait_name($wait), 'it sleeps');
	return;
}

# ---- CREATE EXTENSION while a scheduler is leaving -------------------------------------------

# CREATE DATABASE asks for a scheduler, which finds no extension. It is held at each of the commits of
# its short life; CREATE EXTENSION commits meanwhile.
set_moment(except => $node->safe_psql('postgres', 'SELECT oid FROM pg_database WHERE datname = current_database()'));
my $held = 0;
while ($held < 20)
{
	my $ended = moment('ended');
	my $commit = $held + 1;
	set_moment(hold_at => $commit);
	$node->safe_psql('postgres', "CREATE DATABASE soon$commit");
	wait_until(sub { moment('held') == $commit || moment('ended') > $ended }, "a scheduler is held at commit $commit, or ends");
	last if moment('held') != $commit;
	$held = $commit;
	$node->safe_psql("soon$commit", 'CREATE EXTENSION securatlas_sched');
	set_moment(hold_at => 0);
	like(scheduler_pid($node, "soon$commit"), qr/^\d+$/, "CREATE EXTENSION at commit $commit of a scheduler that found none");
}
set_moment(hold_at => 0);
cmp_ok($held, '>', 1, "a scheduler that finds no extension has commits ($held)");
$node->safe_psql('postgres', "DROP DATABASE soon$_") for 1 .. $held;

# ---- a wake-up that comes while PostgreSQL itself waits on the latch ---------------------------

# The scheduler's commit waits for a standby that does not exist. A request that arrives meanwhile sets
# the latch, and that wait resets it. If the scheduler did not look again it would sleep for a minute,
# as nothing else wakes it: both roles have a worker already.
for my $role (qw(anna bert))
{
	as($role, "SELECT cron.schedule('called', '\@yearly', 'SET synchronous_commit = on; SELECT 1')");
	is_row(as($role, "SELECT cron.run_job('called')"), 'succeeded|-', "a worker of $role is there");
}
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()});
wait_for($node, 'SHOW synchronous_standby_names', 'nobody', 'commits wait');
$ENV{PGOPTIONS} = '-c synchronous_commit=local';
# An hourly job whose hour is over in a second.
$node->safe_psql('postgres', q{INSERT INTO cron.job (jobname, schedule, command, username, log_runs, planned_from)
	VALUES ('met', '@every 1 hour', 'SELECT pg_sleep(3600)', 'bert', 'none', now() - interval '1 hour' + interval '1 second')});
wait_for($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $scheduler", 'SyncRep', 'so does that of the scheduler');
my $asked = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
as('anna', "SELECT cron.run_job('called')");
$node->safe_psql('postgres', "SELECT pg_cancel_backend($scheduler)");
my $run_of_anna = q{FROM pg_stat_activity WHERE application_name LIKE 'cron: called [%' AND usename = 'anna' AND state = 'active'};
wait_for($node, "SELECT count(*) $run_of_anna", '1', 'a run that was asked for meanwhile');
is($node->safe_psql('postgres', "SELECT query_start < '$asked'::timestamptz + interval '30 s' $run_of_anna"), 't',
	'is not forgotten');
delete $ENV{PGOPTIONS};
$node->safe_psql('postgres', q{ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()});
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status <> 'succeeded'}, '0', 'it ends');
$node->safe_psql('postgres', q{SELECT cron.unschedule('met');
	SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cron: met%'});

# ---- an order that is given back, and cancelled ----------------------------------------------

as('anna', q{SELECT cron.schedule('called', '@yearly', $$INSERT INTO ran VALUES ('called')$$)});
# The worker is stopped when it gets the order, and the basis of its session is another by then. It is
# cancelled after it was given back and before the scheduler knows, or before it is given back.
for my $case ([ 'given back', q{ALTER ROLE anna SET work_mem = '5MB'} ], [ 'not given back yet', 'ALTER ROLE anna RESET ALL' ])
{
	my ($moment, $change) = @$case;
	my $worker = $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'securatlas_sched job worker' AND usename = 'anna'");
	asleep($worker, 'CronWorkerIdle');
	asleep($scheduler, 'CronSchedulerMain');
	$node->safe_psql('postgres', $change);
	kill 'STOP', $worker;
	$node->safe_psql('postgres', 'TRUNCATE ran');
	my $run = as('anna', "SELECT cron.run_job('called')");
	wait_for($node, 'SELECT workers_busy FROM cron.scheduler_status', '1', 'the stopped worker gets the order');
	asleep($scheduler, 'CronSchedulerMain');
	kill 'STOP', $scheduler;
	my $cancel = sub { is(as('anna', "SELECT cron.cancel_run($run)"), 't', "an order that was $moment is cancelled") };
	$cancel->() if $moment eq 'not given back yet';
	kill 'CONT', $worker;
	wait_until(sub { is_gone($worker) || $moment ne 'given back' }, 'the worker leaves');
	$cancel->() if $moment eq 'given back';
	kill 'CONT', $scheduler;
	is_row($run, 'failed|cancelled', 'its row says so');
	my $next = as('anna', "SELECT cron.run_job('called')");
	is_row($next, 'succeeded|-', 'the next run of the job');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM ran'), '1', 'is the only one that did anything');
}

# ---- a run that fails before its command begins ------------------------------------------------

# What a worker keeps of it must not be there for the next order: here a callback.
$node->safe_psql('postgres', 'GRANT CREATE ON SCHEMA public TO anna');
as('anna', q{SELECT cron.schedule('fails_to_start', '@yearly', 'SELECT 1 AS fails_to_start')});
as('anna', "CREATE FUNCTION answered(r net._http_response) RETURNS void LANGUAGE sql AS \$\$
	INSERT INTO public.ran VALUES ('callback of ' || pg_backend_pid(), current_setting('cron.run_id'));
	SELECT net.http_get('" . $stub->url('/again') . "') \$\$");
set_moment(fail => 1);
my $run = as('anna', "SELECT cron.run_job('fails_to_start')");
wait_for($node, "SELECT status, sqlstate, return_message FROM cron.job_run_details WHERE runid = $run",
	'failed|53200|ERROR: out of memory, says the test', 'a run that cannot even begin has failed');
set_moment(fail => 0);
my $worker = $node->safe_psql('postgres', "SELECT job_pid FROM cron.job_run_details WHERE runid = $run");
as('anna', "SELECT net.http_request('GET', '" . $stub->url('/first') . "', on_response => 'answered(net._http_response)')");
wait_for($node, "SELECT what, run FROM ran WHERE what LIKE 'callback%'", "callback of $worker|", 'what its worker does next is no run');
wait_for($node, q{SELECT count(*), count(runid) FROM net._http_response}, '2|0', 'nor are its requests made by one');

# ---- a server that is short of descriptors ------------------------------------------------------

# What the scheduler cannot do without is open already; for the rest PostgreSQL closes something.
set_moment(files => 1);
as('anna', "SELECT cron.schedule('each second', '1 second', 'SELECT 1')");
wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'each second' AND status = 'succeeded'},
	't', 'a job runs while the scheduler can open no file');
as('anna', "SELECT cron.schedule('far away', '1 second', 'SELECT 1'), cron.configure_job('far away', timezone => 'Pacific/Kiritimati')");
wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'far away' AND status = 'succeeded'},
	't', 'and one in a zone that it has to look at');
is($node->safe_psql('postgres', q{SELECT active, note FROM cron.job WHERE jobname = 'far away'}), 't|', 'which is not paused for that');
set_moment(files => 0);
as('anna', "SELECT cron.unschedule('far away'), cron.unschedule('each second')");

# ---- what is kept of workers that have ended ---------------------------------------------------

# The scheduler's memory in use, as it logs it.
sub kept
{
	my $pattern = qr/TopMemoryContext: \d+ total in \d+ blocks; \d+ free \(\d+ chunks\); (\d+) used/;
	my $before = log_count($node, $pattern);
	$node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($scheduler)");
	wait_until(sub { log_count($node, $pattern) > $before }, 'the scheduler tells of its memory');
	my @used = slurp_file($node->logfile) =~ /$pattern/g;
	return $used[-1];
}
$node->safe_psql('postgres', 'ALTER SYSTEM SET cron.worker_idle_timeout = 0');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
# Each of its own role, so that each needs a worker of its own.
my $count = 40;
$node->safe_psql('postgres', qq{
	DO \$\$ BEGIN FOR i IN 1 .. $count LOOP
		EXECUTE 'CREATE ROLE short_' || i || ' LOGIN';
		PERFORM cron.schedule_in_database('short', '\@yearly', 'SELECT 1', 'postgres', 'short_' || i);
	END LOOP; END \$\$});
sub run_all
{
	$node->safe_psql('postgres', q{SELECT count(cron.run_job(jobid)) FROM cron.job WHERE jobname = 'short'});
	wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}, '0', "$count runs end");
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched job worker'}, '0', 'and their workers');
	return;
}
run_all();
my $kept = kept();
run_all() for 1 .. 3;
# A few bytes for each of them would be more.
cmp_ok(kept() - $kept, '<', 3 * $count * 16, 'nothing is kept of a worker that has ended');

$node->stop;
done_testing();
