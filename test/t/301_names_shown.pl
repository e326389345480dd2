# What programs look for beside the extensions: settings, processes and log lines of pg_cron and pg_net.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

plan skip_all => 'make install-compat was not run, or another pg_cron is installed' if !names_are_installed();

my $stub = HttpStub->new;
my $node = new_node('shown', shared_preload_libraries => "'pg_cron, pg_net'", autovacuum => 'on',
	'pg_net.batch_size' => 1, 'pg_net.ttl' => "'2 hours'");
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]) }
sql(q{CREATE EXTENSION pg_cron; CREATE EXTENSION pg_net});

# ---- settings -------------------------------------------------------------------------------
my %shown = (
	'cron.database_name' => 'postgres', 'cron.host' => 'localhost', 'cron.use_background_workers' => 'off',
	'cron.log_run' => 'on', 'cron.log_statement' => 'on', 'cron.max_running_jobs' => '32', 'cron.timezone' => 'GMT',
	'cron.launch_active_jobs' => 'on', 'cron.enable_superuser_jobs' => 'on', 'cron.log_min_messages' => 'warning',
	'pg_net.ttl' => '2 hours', 'pg_net.batch_size' => '1', 'pg_net.database_name' => 'postgres', 'pg_net.username' => '');
is(sql("SHOW $_"), $shown{$_}, "$_ is shown") for sort keys %shown;

# ---- processes ------------------------------------------------------------------------------
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE application_name ILIKE 'pg_cron scheduler'}, '1',
	'the scheduler is found');
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%'};
wait_for($node, "SELECT count(*) FROM ($worker) w", '1', 'so is the http worker, before there is a request');
is(sql(q{SELECT application_name FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%'}), 'pg_net worker',
	'which has its application_name');
my $pid = sql($worker);
is(sql('SELECT net.worker_restart()'), 't', 'net.worker_restart() ends it');
wait_until(sub { my $now = ask($node, 'postgres', $worker) // ''; return $now =~ /^\d+$/ && $now ne $pid },
	'and another one comes');
sql('SELECT net.check_worker_is_up()');

# ---- what the settings do -----------------------------------------------------------------------
sql("SELECT net.http_get('" . $stub->url('/delay/4000/') . "' || i) FROM generate_series(1, 2) AS i");
my $states = 'SELECT state, count(*) FROM net.requests GROUP BY 1 ORDER BY 1';
wait_for($node, $states, "in_flight|1\nwaiting|1", 'pg_net.batch_size limits the requests in flight');
sql('ALTER SYSTEM SET net.max_connections = 10');
$node->reload;
wait_for($node, $states, "in_flight|2", 'net.max_connections counts, if it is set');
wait_for($node, $states, "succeeded|2", 'both are answered');
sql(q{ALTER SYSTEM SET pg_net.ttl = '1 millisecond'});
$node->reload;
# It removes them when it starts.
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_cron scheduler'});
wait_for($node, 'SELECT count(*) FROM net._http_response', '0', 'pg_net.ttl is the age at which responses go');

# ---- the log ------------------------------------------------------------------------------------
my $job = sql(q{SELECT cron.schedule('logged', '@yearly', 'SELECT 1 FROM generate_series(1, 3)')});
my $bad = sql(q{SELECT cron.schedule('bad', '@yearly', 'SELECT 1 / 0')});
my $silent = sql(q{SELECT cron.schedule('silent', '@yearly', 'SELECT 2')});
sql(qq{SELECT cron.run_job($job), cron.run_job($bad)});
my $ended = q{SELECT count(*) FROM cron.job_run_details WHERE jobid = %d AND status IN ('succeeded', 'failed')};
wait_for($node, sprintf($ended, $_), '1', "job $_ has run") for $job, $bad;
wait_until(sub { log_count($node, "LOG:  cron job $job COMMAND completed: SELECT 3") == 1 }, 'a line when it has ended');
is(log_count($node, "LOG:  cron job $job starting: SELECT 1 FROM generate_series"), 1,
	'the log has a line when a job starts');
is(log_count($node, "LOG:  cron job $bad failed: division by zero"), 1, 'and one when it fails');
sql(q{ALTER SYSTEM SET cron.log_statement = off});
$node->restart;
sql("SELECT cron.run_job($silent)");
wait_for($node, sprintf($ended, $silent), '1', "job $silent has run");
is(log_count($node, "cron job $silent"), 0, 'and says nothing about it');
is(sql(q{SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension}), 'pg_cron pg_net plpgsql', 'all that under two names');

$node->stop;
done_testing();
