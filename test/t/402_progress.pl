# cron_stat.progress: what long work does while it lasts, and nothing of it afterwards, however it ends.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('progress', autovacuum => 'on');
$node->append_conf('postgresql.conf', "cron.history_retention = 0");
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	CREATE ROLE plain LOGIN;
	GRANT USAGE ON SCHEMA cron_stat TO plain;
	GRANT USAGE ON SCHEMA cron, net TO plain;
	INSERT INTO cron.job_run_details (jobid, database, username, command, status, start_time, end_time)
	SELECT 1, 'postgres', 'postgres', 'SELECT 1', 'succeeded', now() - interval '2 days', now() FROM generate_series(1, 25000)});
sub rows { return "SELECT work, phase, done, total, datname, pid IS NOT NULL, started <= clock_timestamp() FROM cron_stat.progress" }

# A session that stops in the middle of what it does, at a lock that is held.
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
sub in_the_middle
{
	my ($sql) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/begun/, "\\echo begun\n$sql;\n");
	wait_for($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}, '1', 'it is in the middle');
	return $session;
}
sub go_on
{
	my ($session) = @_;
	$gate->query_safe('SELECT pg_advisory_unlock(1)');
	$session->query_safe('SELECT 1');
	$gate->query_safe('SELECT pg_advisory_lock(1)');
	return;
}

# ---- a purge, and who sees it --------------------------------------------------------------------

$node->safe_psql('postgres', q{
	CREATE FUNCTION stop() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1)';
	CREATE FUNCTION stop_at() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('public.stops') = 5000 THEN PERFORM public.stop(); END IF;
		RETURN OLD;
	END $$;
	CREATE SEQUENCE stops;
	CREATE TRIGGER stop BEFORE DELETE ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION stop_at()});
my $purge = in_the_middle(q{SELECT cron.purge_history('1 day')});
is($node->safe_psql('postgres', rows()), 'purge|removing old history|5000||postgres|t|t', 'a purge shows how many rows it has removed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.progress', extra_params => [ '-U', 'watcher' ]), '1', 'a member of pg_monitor sees it');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.progress', extra_params => [ '-U', 'plain' ]), '0', 'others do not');
go_on($purge);
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.progress'), '0', 'when it has ended it is not shown');
$purge->quit;

# ---- requests --------------------------------------------------------------------------------------

my $fill = q{net.http_get($$http://127.0.0.1:1/$$) FROM generate_series(1, %d) AS i WHERE CASE WHEN i = %d THEN public.stop() ELSE true END};
my $outbox = in_the_middle('BEGIN; SELECT count(id) FROM (SELECT ' . sprintf($fill, 4000, 2500) . ' OFFSET 0) AS made(id)');
is($node->safe_psql('postgres', rows()), 'outbox|making requests|2000||postgres|t|t', 'who makes many requests is shown');
go_on($outbox);
$outbox->query_safe('ROLLBACK');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.progress'), '0', 'and not after a rollback');
$outbox->quit;
$outbox = in_the_middle('BEGIN; SAVEPOINT a; SELECT count(id) FROM (SELECT ' . sprintf($fill, 4000, 1500) . ' OFFSET 0) AS made(id)');
is($node->safe_psql('postgres', 'SELECT done FROM cron_stat.progress'), '1000', 'nor after a rollback');
go_on($outbox);
$outbox->query_safe('ROLLBACK TO a');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.progress'), '0', 'to a savepoint');
$outbox->quit;
$outbox = in_the_middle('BEGIN; SELECT count(id) FROM (SELECT ' . sprintf($fill, 4000, 1500) . ' OFFSET 0) AS made(id)');
my $pid = $node->safe_psql('postgres', 'SELECT pid FROM cron_stat.progress');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_for($node, 'SELECT count(*) FROM cron_stat.progress', '0', 'nor when its process has ended');
eval { $outbox->quit };

# Those of a run, until the last one has its response. Some wait for tomorrow, and are cancelled.
my $url = $stub->url('/echo');
$node->safe_psql('postgres', qq{SELECT cron.schedule('sync', '0 0 1 1 *',
	\$\$SELECT net.http_request('GET', '$url', not_before => CASE WHEN i > 1000 THEN now() + interval '1 day' END) FROM generate_series(1, 1200) i\$\$);
	SELECT cron.run_job('sync')});
wait_for($node, q{SELECT work, phase, done, total, pid IS NULL, runid = (SELECT max(runid) FROM cron.job_run_details WHERE jobname = 'sync') FROM cron_stat.progress},
	'requests of a run|sending|1000|1200|t|t', 'the requests of a run are shown, and how many have ended');
$node->safe_psql('postgres', q{SELECT net.cancel_request(id) FROM net.http_request_queue ORDER BY id LIMIT 199});
is($node->safe_psql('postgres', 'SELECT done, total FROM cron_stat.progress'), '1199|1200', 'however they have ended');
$node->safe_psql('postgres', q{SELECT net.cancel_request(id) FROM net.http_request_queue});
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.progress'), '0', 'after the last one they are not shown');
is($node->safe_psql('postgres', q{SELECT count(*) FROM net._http_response WHERE runid IS NOT NULL}), '1200', 'and all have a response');

# ---- the scheduler's own purge -----------------------------------------------------------------------

$node->safe_psql('postgres', 'ALTER TABLE cron.job_run_details ENABLE ALWAYS TRIGGER stop');
$node->safe_psql('postgres', 'VACUUM ANALYZE cron.job_run_details');
$node->safe_psql('postgres', 'ALTER TABLE cron.job_run_details SET (autovacuum_enabled = off)');
$node->safe_psql('postgres', q{INSERT INTO cron.job_run_details (jobid, database, username, command, status, start_time, end_time)
	SELECT 1, 'postgres', 'postgres', 'SELECT 1', 'succeeded', now() - interval '2 days', now() FROM generate_series(1, 25000)});
# It stops in its second portion, until a row says that it may go on: a lock would not outlive the restart.
# What PostgreSQL believes of the table is of a time when it was empty; no portion takes long because of it.
$node->safe_psql('postgres', q{
	CREATE TABLE stopped ();
	INSERT INTO stopped DEFAULT VALUES;
	ALTER SEQUENCE stops RESTART;
	CREATE OR REPLACE FUNCTION stop_at() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('public.stops') = 15000 THEN
			WHILE EXISTS (SELECT FROM public.stopped) LOOP PERFORM pg_sleep(0.02); END LOOP;
		END IF;
		RETURN OLD;
	END $$});
$node->append_conf('postgresql.conf', "cron.history_retention = '1 day'");
$gate->quit;
$node->restart;
$gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(1)');
wait_for($node, rows(), 'purge|removing old history|10000||postgres|t|t', 'the scheduler shows what takes more than one portion');
$node->safe_psql('postgres', 'DELETE FROM stopped');
wait_for($node, q{SELECT count(*) FROM cron_stat.progress}, '0', 'and ends');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.job_run_details WHERE start_time < now() - interval '1 day'}), '0', 'with all of it');

# ---- old responses -------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	INSERT INTO stopped DEFAULT VALUES;
	ALTER SEQUENCE stops RESTART;
	CREATE TRIGGER stop BEFORE DELETE ON net._http_response FOR EACH ROW EXECUTE FUNCTION stop_at();
	ALTER TABLE net._http_response ENABLE ALWAYS TRIGGER stop;
	INSERT INTO net._http_response (id, state, created)
	SELECT 1000000 + i, 'succeeded', now() - interval '2 days' FROM generate_series(1, 25000) i;
	SELECT net.wake()});
wait_for($node, rows(), 'purge|removing old responses|10000||postgres|t|t', 'the removal of old responses is shown');
$node->safe_psql('postgres', 'DELETE FROM stopped');
wait_for($node, q{SELECT count(*) FROM cron_stat.progress}, '0', 'until it ends');
is($node->safe_psql('postgres', q{SELECT count(*) FROM net._http_response WHERE created < now() - interval '1 day'}), '0', 'with all of them');

# ---- a recompute ---------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	SELECT securatlas.install();
	SELECT securatlas.load_demo(tenants => 30);
	CREATE SEQUENCE scored;
	CREATE FUNCTION stop_scoring() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF nextval('public.scored') = 10 THEN PERFORM public.stop(); END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER stop BEFORE INSERT ON tenant_risk_snapshots FOR EACH ROW EXECUTE FUNCTION stop_scoring()});
my $tenants = $node->safe_psql('postgres', q{SELECT count(DISTINCT tenant_id) FROM tenant_subscriptions WHERE status IN ('active', 'trialing')});
# Before a score is stored: in the order of what it does, the first statement on the table deletes.
$node->safe_psql('postgres', q{
	CREATE FUNCTION stop_before() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.stop();
		RETURN NULL;
	END $$;
	CREATE TRIGGER stop_before BEFORE DELETE ON tenant_risk_snapshots FOR EACH STATEMENT EXECUTE FUNCTION stop_before()});
my $nightly = in_the_middle(q{SELECT fn_store_risk_snapshots(NULL, 'nightly')});
is($node->safe_psql('postgres', rows()), "recompute|computing scores|0|$tenants|postgres|t|t", 'of how many tenants is known from the beginning');
go_on($nightly);
$node->safe_psql('postgres', 'DROP TRIGGER stop_before ON tenant_risk_snapshots; ALTER SEQUENCE scored RESTART');
$nightly->quit;
my $recompute = in_the_middle('SELECT fn_recompute_all_tenant_risk_scores()');
is($node->safe_psql('postgres', rows()), "recompute|storing snapshots|10|$tenants|postgres|t|t", 'a recompute shows how many tenants of all are done');
go_on($recompute);
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron_stat.progress'), '0', 'until it ends');
$recompute->quit;

$gate->quit;
$node->stop;
done_testing();
