# On a cluster of Citus: tables of a role that is no superuser, in a schema whose name needs quotation marks;
# a node that dies in the middle of a recompute; a node that is added later.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Citus;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

plan skip_all => 'Citus is not installed' unless citus_is_installed();

my @nodes = start_cluster();
my ($coordinator, @workers) = @nodes;
sub sql { return $coordinator->safe_psql('postgres', $_[0]) }
my $rights = 'GRANT USAGE ON SCHEMA securatlas, cron, net TO atlas';
sql(qq{CREATE EXTENSION securatlas_sched; CREATE ROLE atlas LOGIN; CREATE ROLE reader;
	SELECT run_command_on_all_nodes('$rights');
	CREATE SCHEMA "Kunden ""Nord""" AUTHORIZATION atlas; CREATE SCHEMA plain AUTHORIZATION atlas});
my $quoted = '"Kunden ""Nord"""';
# As its owner, in a schema; what psql says is in $error.
my $error;
sub atlas
{
	my ($schema, $statements) = @_;
	my ($status, $out);
	($status, $out, $error) = $coordinator->psql('postgres', "SET search_path = $schema; $statements", extra_params => [ '-U', 'atlas' ], on_error_stop => 1);
	is($status, 0, "as atlas: $statements") or diag($error);
	return $out;
}
# How many of the functions there are, and how many of them somebody but the owner can execute.
sub functions
{
	my ($schema) = @_;
	return "SELECT count(*) || ':' || count(DISTINCT p.oid) FILTER (WHERE a.grantee <> p.proowner)
		FROM pg_proc p LEFT JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a ON a.grantee <> p.proowner
		WHERE p.pronamespace = '$schema'::regnamespace AND p.proowner = 'atlas'::regrole";
}
my $all = sql('SELECT count(*) FROM securatlas._functions()');

# ---- a schema whose name needs quotation marks ----------------------------------------------

atlas($quoted, "SELECT securatlas.install('$quoted')");
is($error, '', 'install() warns of nothing');
is(on_each(functions($quoted), $coordinator), "$all:0", 'it creates functions that nobody else can execute');
atlas($quoted, "SELECT securatlas.distribute(8, '$quoted')");
is($error, '', 'neither does distribute()');
is(on_each(functions($quoted), @nodes), "$all:0 $all:0 $all:0", 'which brings them to each node');
atlas($quoted, "SELECT securatlas.load_demo(40, 1, '$quoted')");
my $count = atlas($quoted, 'SELECT fn_recompute_all_tenant_risk_scores()');
cmp_ok($count, '>', 20, 'tenants are computed');
is($_->safe_psql('postgres', "SELECT count(*) FROM $quoted.v_risk_trend"), $count, 'and seen from ' . $_->name) for @workers;
atlas($quoted, 'SELECT fn_recompute_tenant_risk_score((SELECT tenant_id FROM v_risk_trend LIMIT 1))');
sql(qq{SET citus.enable_ddl_propagation = off; GRANT EXECUTE ON FUNCTION $quoted.fn_trigger_frequent_sync() TO reader});
atlas($quoted, "SELECT securatlas.install('$quoted')");
is(on_each("SELECT has_function_privilege('reader', '$quoted.fn_trigger_frequent_sync()', 'EXECUTE')", @nodes), 't t t',
	'install() gives privileges to the other nodes');
sql(qq{SET citus.enable_ddl_propagation = off; REVOKE EXECUTE ON FUNCTION $quoted.fn_trigger_frequent_sync() FROM reader});
atlas($quoted, "SELECT securatlas.distribute(8, '$quoted')");
is(on_each(functions($quoted), @nodes), "$all:0 $all:0 $all:0", 'and takes them');

# ---- a node that dies in the middle of a recompute ------------------------------------------

sql(q{SELECT cron.configure_job(job_name => 'nightly_risk_recompute', max_retries => 1000, retry_period => '1 second')});
my $runs = q{SELECT count(*) FROM cron.job_run_details WHERE jobname = 'nightly_risk_recompute' AND status = 'succeeded'};
sql(q{SELECT cron.run_job('nightly_risk_recompute')});
wait_for($coordinator, $runs, '1', 'a night is computed');
my $shards_of = sub {
	my ($table, $node) = @_;
	return split /\n/, sql("SELECT format('%s_%s', '$quoted.$table', s.shardid)
		FROM pg_dist_shard s JOIN pg_dist_placement USING (shardid) JOIN pg_dist_node n USING (groupid)
		WHERE s.logicalrelid = '$quoted.$table'::regclass AND n.nodeport = " . $node->port);
};
# Evidence is read by the statement that stores the scores only.
my ($shard) = $shards_of->('tenant_evidence_items', $workers[1]);
my $holder = $workers[1]->background_psql('postgres', on_error_stop => 0);
$holder->query_safe("SET citus.enable_manual_changes_to_shards = on; BEGIN; LOCK TABLE $shard");
my $stored = join(' UNION ALL ', map { "SELECT id, computed_at FROM $_ WHERE snapshot_type = 'nightly'" } $shards_of->('tenant_risk_snapshots', $workers[0]));
$stored = "SELECT count(*), md5(string_agg(id || ' ' || computed_at, ',' ORDER BY id)) FROM ($stored) AS s";
my $before = $workers[0]->safe_psql('postgres', $stored);
my $run = sql(q{SELECT cron.run_job('nightly_risk_recompute')});
my $inserting = q{FROM pg_stat_activity WHERE query LIKE 'INSERT INTO %tenant_risk_snapshots%' AND pid <> pg_backend_pid()};
wait_for($workers[1], "SELECT count(*) > 0 $inserting AND wait_event_type = 'Lock'", 't', 'the recompute waits on one node');
wait_for($workers[0], "SELECT count(*) > 0 AND bool_and(state = 'idle in transaction') $inserting", 't', 'while the other one has stored its scores');
kill_server($workers[1]);
eval { $holder->quit };
wait_for($coordinator, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'failed', 'if the node dies the run fails');
like(sql("SELECT return_message FROM cron.job_run_details WHERE runid = $run"), qr/connection/, 'and says why');
wait_for($coordinator, "SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'nightly_risk_recompute' AND attempt > 1 AND status = 'failed'",
	't', 'so does a retry while it is away');
is($workers[0]->safe_psql('postgres', $stored), $before, 'the other node still has the scores of before');
$workers[1]->start;
wait_for($coordinator, $runs, '2', 'a retry succeeds when the node is back');
is(sql("SELECT count(*), count(DISTINCT tenant_id), count(DISTINCT computed_at) FROM $quoted.tenant_risk_snapshots WHERE snapshot_type = 'nightly'"),
	"$count|$count|1", 'and replaces all of them');
isnt($workers[0]->safe_psql('postgres', $stored), $before, 'on each node');
invariants_hold($coordinator, 'after that');

# ---- a node that is added later -------------------------------------------------------------

atlas('plain', "SELECT securatlas.install('plain', schedule_jobs => false)");
is($error, '', 'install() warns of nothing in another schema');
atlas('plain', "SELECT securatlas.distribute(8, 'plain')");
atlas('plain', "SELECT securatlas.load_demo(40, 1, 'plain')");
my $new = new_citus_node('worker3');
$new->safe_psql('postgres', "SET citus.enable_ddl_propagation = off; CREATE EXTENSION securatlas_sched; CREATE ROLE atlas LOGIN; $rights");
scheduler_pid($new);
is($new->safe_psql('postgres', 'SELECT count(*), count(node), count(DISTINCT pid) FROM cron.schedulers_of_all_nodes()'), '1|1|1', 'a node without others answers for itself');
add_node($coordinator, $new);
push @nodes, $new;
atlas('plain', "SELECT securatlas.distribute(8, '$_')") for 'plain', $quoted;
is(on_each(functions($_), @nodes), join(' ', ("$all:0") x 4), "distribute() gives it the functions of schema $_, and nobody the right to execute them")
  for 'plain', $quoted;
sql('SELECT citus_rebalance_start()');
wait_for($coordinator, q{SELECT string_agg(DISTINCT state::text, ',') FROM pg_dist_background_job}, 'finished', 'tables are moved to it while they are in use');
cmp_ok(sql('SELECT count(*) FROM pg_dist_placement JOIN pg_dist_node USING (groupid) JOIN pg_dist_shard USING (shardid)
	JOIN pg_dist_partition USING (logicalrelid) WHERE partmethod = $$h$$ AND nodeport = ' . $new->port), '>', 0, 'some shards');
is(atlas($_, 'SELECT fn_recompute_all_tenant_risk_scores()'), $count, "all tenants of schema $_ are computed") for 'plain', $quoted;

# ---- uninstall ------------------------------------------------------------------------------

atlas($_, "SELECT securatlas.uninstall('$_')") for 'plain', $quoted;
is(on_each(functions($_), @nodes), join(' ', ('0:0') x 4), "uninstall() drops the functions of schema $_ on each node") for 'plain', $quoted;
$_->stop for @nodes;
done_testing();
