# Locks on the extension's tables: a role that does not own them can neither acquire nor wait for a
# lock that blocks writers, whatever command it uses, and the runs of others go on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('locks', autovacuum => 'on', max_prepared_transactions => 5);
$node->start;
install($node);
make_effects($node);
$node->safe_psql('postgres', q{
	CREATE ROLE alice LOGIN;
	CREATE ROLE mallory LOGIN;
	GRANT USAGE ON SCHEMA cron, net TO alice, mallory;
	GRANT UPDATE, DELETE, TRUNCATE ON cron.job, cron.job_dependency, cron.scheduler_state,
		net.http_request_queue, net._http_response, net.secret, net.secret_grant TO mallory;
	CREATE SCHEMA mine AUTHORIZATION mallory;
	CREATE VIEW public.of_the_owner AS SELECT * FROM cron.job_run_details;
	GRANT DELETE ON public.of_the_owner TO mallory;
	SET ROLE mallory;
	CREATE FUNCTION mine.lock(name text) RETURNS void LANGUAGE plpgsql AS
		$$BEGIN EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', name); END$$;
	CREATE FUNCTION mine.lock_as_definer() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
		$$BEGIN LOCK TABLE cron.job_run_details IN ACCESS EXCLUSIVE MODE; END$$;
	CREATE VIEW mine.view AS SELECT * FROM cron.job_run_details;
	CREATE VIEW mine.outer_view AS SELECT 1 AS one FROM (SELECT * FROM mine.view) v;
	CREATE VIEW mine.deep AS SELECT 1 AS one WHERE EXISTS (SELECT FROM cron.job_run_details);
	CREATE VIEW mine.invoking WITH (security_invoker) AS SELECT * FROM cron.job_run_details;
	CREATE FUNCTION mine.fire() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
	CREATE TABLE mine.plain (a bigint);
	CREATE VIEW mine.plain_view AS SELECT * FROM mine.plain;
	CREATE TABLE mine.parts (LIKE cron.job_run_details) PARTITION BY RANGE (runid);
	CREATE INDEX parts_idx ON ONLY mine.parts (runid);
	CREATE TABLE mine.job_run_details (a int);
	RESET ROLE;
	SET ROLE alice;
	SELECT cron.schedule('each second', '1 second', $c$} . effect() . q{$c$);});
wait_for($node, 'SELECT count(*) > 1 FROM effects', 't', 'a job runs');

sub session
{
	my ($role) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe("SET ROLE $role; SET lock_timeout = '3s'; \\set VERBOSITY sqlstate");
	return $session;
}

sub jobs_run
{
	my ($what) = @_;
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_for($node, "SELECT count(*) > 1 FROM effects WHERE at > '$now'", 't', $what);
	return;
}

# ---- a lock, in a transaction that goes on ----------------------------------------------------

my $history = 'cron.job_run_details';
my $mallory = session('mallory');
$mallory->query_safe('BEGIN');
sub refused
{
	my ($sql, $what) = @_;
	$mallory->query_safe('SAVEPOINT s');
	$mallory->{stderr} = '';
	$mallory->query($sql);
	my ($state) = $mallory->{stderr} =~ /ERROR:\s+(\w+)/;
	is($state, '42501', "refused: $what");
	$mallory->{stderr} = '';
	$mallory->query('ROLLBACK TO s') if defined $state;
	$mallory->{stderr} = '';
	return;
}
refused("LOCK TABLE $history IN $_ MODE", "LOCK in $_ mode")
  for 'SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE';
refused("LOCK ONLY $history", 'LOCK ONLY');
refused("LOCK $history NOWAIT", 'LOCK NOWAIT');
refused("LOCK mine.plain, $history", 'LOCK of two');
refused("SET LOCAL search_path = cron; LOCK job_run_details", 'LOCK without the schema');
refused("LOCK $_", "LOCK of $_")
  for qw(cron.job cron.job_dependency cron.scheduler_state net.http_request_queue net._http_response net.secret net.secret_grant);
refused("DO \$\$BEGIN LOCK TABLE $history; END\$\$", 'LOCK in a DO');
refused("SELECT mine.lock('$history')", 'LOCK in a function');
refused('SELECT mine.lock_as_definer()', 'LOCK in a SECURITY DEFINER function of the role');
refused("LOCK mine.$_", "LOCK through mine.$_") for qw(view outer_view deep invoking);
refused('LOCK public.of_the_owner', "LOCK through a view of the tables' owner");
$mallory->query_safe("DO \$\$BEGIN LOCK TABLE $history; EXCEPTION WHEN insufficient_privilege THEN NULL; END\$\$");
jobs_run('jobs run while that transaction goes on');
$mallory->query_safe('ROLLBACK');

# ---- a request for one, while somebody writes -------------------------------------------------

my $writer = session('postgres');
$writer->query_safe("BEGIN; DELETE FROM $history WHERE false; UPDATE cron.job SET note = note WHERE false;
	DELETE FROM net._http_response WHERE false; COMMENT ON EXTENSION securatlas_sched IS 'mine'");
my %queued = (
	'CREATE TRIGGER' => "CREATE TRIGGER t AFTER INSERT ON $history FOR EACH ROW EXECUTE FUNCTION mine.fire()",
	'CREATE TRIGGER on an index' =>
	  'CREATE TRIGGER t AFTER INSERT ON cron.job_run_details_pkey FOR EACH ROW EXECUTE FUNCTION mine.fire()',
	'CREATE RULE' => "CREATE RULE r AS ON INSERT TO $history DO NOTHING",
	'REFERENCES' => "CREATE TABLE mine.r (a bigint REFERENCES $history)",
	'FOREIGN KEY of a new table' => "CREATE TABLE mine.r (a bigint, FOREIGN KEY (a) REFERENCES $history)",
	'FOREIGN KEY of a table that there is' => "ALTER TABLE mine.plain ADD FOREIGN KEY (a) REFERENCES cron.job",
	'REFERENCES of a new column' => "ALTER TABLE mine.plain ADD COLUMN b bigint REFERENCES net._http_response (id)",
	'PARTITION OF' => "CREATE TABLE mine.p PARTITION OF $history FOR VALUES FROM (1) TO (2)",
	'ATTACH PARTITION' => "ALTER TABLE mine.parts ATTACH PARTITION $history DEFAULT",
	'DETACH PARTITION' => "ALTER TABLE mine.parts DETACH PARTITION $history",
	'DETACH PARTITION FINALIZE' => "ALTER TABLE mine.parts DETACH PARTITION $history FINALIZE",
	'ATTACH PARTITION of an index' => 'ALTER INDEX mine.parts_idx ATTACH PARTITION cron.job_run_details_pkey',
	'DEPENDS ON EXTENSION of an index' => 'ALTER INDEX cron.job_run_details_pkey DEPENDS ON EXTENSION plpgsql',
	'DEPENDS ON EXTENSION of what is no index' => "ALTER INDEX $history DEPENDS ON EXTENSION plpgsql",
	'DEPENDS ON EXTENSION of what is no view' => "ALTER MATERIALIZED VIEW $history DEPENDS ON EXTENSION plpgsql",
	'DEPENDS ON this EXTENSION' => 'ALTER FUNCTION mine.fire() DEPENDS ON EXTENSION securatlas_sched',
	'DROP EXTENSION' => 'DROP EXTENSION securatlas_sched',
	'LOCK' => "LOCK TABLE $history",
	'LOCK through a view' => 'LOCK TABLE mine.view');
$mallory->query_safe('BEGIN');
refused($queued{$_}, $_) for sort keys %queued;
jobs_run('jobs run meanwhile');
$mallory->query_safe('ROLLBACK');
$writer->query_safe('ROLLBACK');

# ---- what a name or a view means after a wait -------------------------------------------------

sub waits_for_a_lock
{
	my ($session, $what) = @_;
	wait_for($node, q{SELECT count(*) FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK %'}, '1', "$what waits");
	return;
}
sub is_not_locked
{
	my ($what) = @_;
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE relation = '$history'::regclass
		AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"), '0', $what);
	return;
}
my $second = session('mallory');
$mallory->query_safe("SET lock_timeout = 0");
for my $race (
	[ 'LOCK mine.plain_view', 'CREATE OR REPLACE VIEW mine.plain_view AS SELECT runid AS a FROM cron.job_run_details',
		'42501', 'a view that gets another query' ],
	[ 'SET LOCAL search_path = mine, cron; LOCK job_run_details', 'DROP TABLE mine.job_run_details',
		'42P01', 'a name that comes to mean another table' ])
{
	my ($lock, $change, $state, $what) = @$race;
	$second->query_safe("BEGIN; $change");
	$mallory->query_safe('BEGIN');
	$mallory->query_until(qr/sent/, "\\echo sent\n$lock;\n");
	waits_for_a_lock($mallory, $what);
	$second->query_safe('COMMIT');
	$mallory->query("SELECT 'over'");
	is_not_locked("the history is not locked by $what");
	like($mallory->{stderr}, qr/ERROR:\s+$state/, "but refused ($state)");
	$mallory->query('ROLLBACK');
	$mallory->{stderr} = '';
}
jobs_run('jobs run');

# ---- what goes on working ---------------------------------------------------------------------

$_->{stderr} = '' for $mallory, $second;
sub works
{
	my ($session, $sql, $what) = @_;
	$session->{stderr} = '';
	$session->query("BEGIN; $sql; ROLLBACK");
	is($session->{stderr}, '', "works: $what");
	$session->query('ROLLBACK') if $session->{stderr} ne '';
	$session->{stderr} = '';
	return;
}
works($mallory, "LOCK $history IN $_ MODE", "LOCK in $_ mode") for 'ROW SHARE', 'ROW EXCLUSIVE', 'SHARE UPDATE EXCLUSIVE';
works($mallory, "LOCK $history IN ACCESS SHARE MODE NOWAIT", 'what pg_dump does');
works($mallory, "DELETE FROM $history", 'DELETE');
works($mallory, 'TRUNCATE net._http_response', 'TRUNCATE by whoever may');
works($mallory, 'LOCK mine.plain', 'LOCK of an own table');
works($mallory, 'CREATE TEMP TABLE t (a bigint PRIMARY KEY, b bigint REFERENCES t); LOCK t; ALTER TABLE mine.plain ADD UNIQUE (a);
	CREATE TABLE mine.r (a bigint REFERENCES mine.plain (a)); SET LOCAL search_path = mine; LOCK plain;
	CREATE TRIGGER t AFTER INSERT ON plain FOR EACH ROW EXECUTE FUNCTION mine.fire();
	CREATE RULE r AS ON INSERT TO plain DO ALSO NOTHING', 'the same with own tables');
$node->safe_psql('postgres', "GRANT TRIGGER, REFERENCES (runid) ON $history TO mallory");
works($mallory, "CREATE TRIGGER t AFTER INSERT ON $history FOR EACH ROW EXECUTE FUNCTION mine.fire();
	CREATE TABLE mine.r (a bigint REFERENCES $history (runid))", 'a trigger and a key by whoever may');
my $owner = session('postgres');
works($owner, "LOCK $history, cron.job, public.of_the_owner, mine.view", 'LOCK by the owner');
works($owner, 'ALTER FUNCTION mine.fire() DEPENDS ON EXTENSION securatlas_sched', 'DEPENDS ON EXTENSION by the owner');
$owner->query_safe('CREATE FUNCTION public.lock_for_you() RETURNS void LANGUAGE sql SECURITY DEFINER AS
	$$LOCK TABLE cron.job_run_details$$');
works($mallory, 'SELECT public.lock_for_you()', "LOCK in the owner's function");
$owner->query_safe("VACUUM FULL $history; VACUUM net._http_response; REINDEX TABLE $history");
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', '/dev/null' ], 'works: pg_dump');
jobs_run('jobs run at last');

$_->quit for $mallory, $second, $writer, $owner;
settle($node);
exactly_once($node, 'at the end');
$node->stop;
done_testing();
