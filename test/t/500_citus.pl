# On a cluster of Citus: the extension on every node, tables distributed by tenant, demo data, and the
# recompute, which each node does for its tenants; also if a node dies meanwhile.
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
my $schedulers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched scheduler'};

# ---- the extension --------------------------------------------------------------------------

my $version = q{SELECT coalesce(max(extversion), 'none') FROM pg_extension WHERE extname = 'securatlas_sched'};
sql(q{CREATE EXTENSION securatlas_sched VERSION '0.1'});
is(on_each($version, @nodes), '0.1 0.1 0.1', 'CREATE EXTENSION creates it on each node');
sql('ALTER EXTENSION securatlas_sched UPDATE');
my ($is) = on_each($version, $coordinator);
is(on_each($version, @nodes), "$is $is $is", 'ALTER EXTENSION UPDATE updates it on each node');
isnt($is, '0.1', 'to another version');
my @pids = map { scheduler_pid($_) } @nodes;
sql('DROP EXTENSION securatlas_sched');
wait_for($_, $schedulers, '0', 'DROP EXTENSION ends the scheduler of ' . $_->name) for @nodes;
is(on_each($version, @nodes), 'none none none', 'and drops it on each node');
my @logs = map { -s $_->logfile } @nodes;
sql('CREATE EXTENSION securatlas_sched');
wait_for($_, $schedulers, '1', 'a new one brings a scheduler on ' . $_->name) for @nodes;

# ---- distribute -----------------------------------------------------------------------------

sql(q{CREATE SCHEMA house; SELECT securatlas.install('house', schedule_jobs => false)});
my $house = 'SET search_path = house';
sub risk { return sql("$house; $_[0]") }
my @tables = split /\n/, sql('SELECT name FROM securatlas._tables() ORDER BY ordinal');
my $all_rows = join(' UNION ALL ', map { "SELECT '$_', count(*) FROM $_" } grep { $_ ne 'tenant_risk_snapshots' } @tables);
sql(q{SELECT securatlas.load_demo(60, 1, 'house')});
my $before = risk($all_rows);
my $count = risk('SELECT fn_recompute_all_tenant_risk_scores()');
my $trend = risk('SELECT tenant_id, risk_score_1_100, level FROM v_risk_trend ORDER BY 1');
my $readiness = risk('SELECT * FROM v_framework_readiness ORDER BY 1, 2');
my $scores = 'SELECT tenant_id, risk_score_1_100, category_breakdown, annualized_loss_expectancy FROM tenant_risk_snapshots';
my $snapshots = risk("$scores ORDER BY 1");
# A row level policy, grants and what a tenant owns stay.
risk('CREATE ROLE reader; GRANT USAGE ON SCHEMA house TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA house TO reader');

my ($status, $out, $error) = $coordinator->psql('postgres', q{SELECT securatlas.distribute(0, 'house')});
like($error, qr/positive number of shards/, 'no shards are refused');
risk('CREATE TABLE elsewhere (id uuid PRIMARY KEY);
	ALTER TABLE tenants ADD COLUMN owner uuid REFERENCES elsewhere, ADD UNIQUE (name);
	CREATE TABLE notes (tenant_id uuid REFERENCES tenants);
	ALTER TABLE tenant_controls DROP CONSTRAINT tenant_controls_pkey, ALTER tenant_id DROP NOT NULL;
	INSERT INTO tenant_controls (control_id) SELECT id FROM unified_controls LIMIT 2;
	CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
	CREATE TRIGGER nothing AFTER INSERT ON integration_findings FOR EACH ROW EXECUTE FUNCTION nothing();');
my $catalog = q{SELECT md5(string_agg(pg_get_constraintdef(oid), ',' ORDER BY oid)) FROM pg_constraint};
my $keys = sql($catalog);
($status, $out, $error) = $coordinator->psql('postgres', q{\set VERBOSITY verbose
	SELECT securatlas.distribute(8, 'house')});
like($error, qr/ERROR:  55000: the tables of schema house cannot be distributed by tenant/, 'what does not fit is refused');
for my $problem ('Unique key tenants_name_key of table house.tenants does not hold id.',
	'Foreign key tenants_owner_fkey of table house.tenants refers to table house.elsewhere, which is not distributed.',
	'Foreign key notes_tenant_id_fkey of table house.notes, which is not distributed, refers to table house.tenants.',
	'Table house.integration_findings has trigger nothing, which needs citus.enable_unsafe_triggers.',
	'Table house.tenant_controls has 2 rows without a tenant.')
{
	like($error, qr/^(DETAIL:  )?\Q$problem\E$/m, "one error says: $problem");
}
is(sql($catalog), $keys, 'and nothing was changed');
is(sql(q{SELECT count(*) FROM pg_dist_partition}), '0', 'no table is distributed');
risk('ALTER TABLE tenants DROP COLUMN owner, DROP CONSTRAINT tenants_name_key; DROP TABLE elsewhere, notes;
	DELETE FROM tenant_controls WHERE tenant_id IS NULL;
	ALTER TABLE tenant_controls ADD PRIMARY KEY (tenant_id, control_id);
	DROP TRIGGER nothing ON integration_findings; DROP FUNCTION nothing()');

my $own_keys = q{SELECT string_agg(conrelid::regclass || ' ' || pg_get_constraintdef(f.oid), E'\n'
		ORDER BY conrelid::regclass || ' ' || pg_get_constraintdef(f.oid))
	FROM pg_constraint f JOIN pg_class c ON c.oid = conrelid JOIN securatlas._tables() AS t ON t.name = c.relname
	WHERE connamespace = 'house'::regnamespace AND contype IN ('p', 'u', 'f')};
$keys = sql("$house; $own_keys");
sql(q{SELECT securatlas.distribute(8, 'house')});
is(sql("$house; $own_keys"), $keys, 'tables of install() are distributed without another key');
is(sql(q{SELECT partmethod, count(*), count(DISTINCT colocationid) FROM pg_dist_partition GROUP BY 1 ORDER BY 1}),
	"h|10|1\nn|6|1", 'tables of tenants are together, and catalogues everywhere');
is(sql(q{SELECT DISTINCT shard_count FROM citus_tables WHERE citus_table_type = 'distributed'}), '8', 'in as many shards as asked for');
is(risk($all_rows), $before, 'all rows are there');
is(risk(join(' UNION ALL ', map { "SELECT count(*) FROM ONLY $_ WHERE pg_relation_size('$_') > 0" } @tables) =~ s/FROM ONLY \w+ /FROM (SELECT 1) AS one /gr),
	join("\n", (0) x @tables), 'and no longer in the tables that were there before');
is(risk('SELECT tenant_id, risk_score_1_100, level FROM v_risk_trend ORDER BY 1'), $trend, 'the trend is the same');
is(risk('SELECT * FROM v_framework_readiness ORDER BY 1, 2'), $readiness, 'and readiness');
is($_->safe_psql('postgres', "$house; SELECT tenant_id, risk_score_1_100, level FROM v_risk_trend ORDER BY 1"), $trend,
	'also asked on ' . $_->name) for @workers;
is(sql(q{SELECT has_table_privilege('reader', 'house.v_risk_trend', 'SELECT')}), 't', 'grants stay');
sql(q{SELECT securatlas.distribute(8, 'house'); SELECT securatlas.distribute(target_schema => 'house')});
is(risk($all_rows), $before, 'distribute() can be repeated');
risk(q{SET citus.enable_unsafe_triggers = on;
	CREATE TRIGGER told AFTER DELETE ON integration_findings FOR EACH ROW EXECUTE FUNCTION net.http_webhook('http://127.0.0.1:1/');
	SET citus.enable_unsafe_triggers = off;
	SELECT securatlas.distribute(8, 'house')});
is(risk($all_rows), $before, 'also with a trigger on a distributed table');

# ---- the recompute --------------------------------------------------------------------------

risk('TRUNCATE tenant_risk_snapshots');
is(risk('SELECT fn_recompute_all_tenant_risk_scores()'), $count, 'the recompute has the same tenants');
is(risk("$scores ORDER BY 1"), $snapshots, 'and the same scores');
# The query, as the function has it.
my $query = risk('SELECT securatlas._with_tenant(securatlas._risk_query())');
my $catalogue = risk(sql('SELECT securatlas._catalogue_query()'));
$query =~ s/weights, penalties/securatlas.risk_weights(), securatlas.risk_penalties()/;
$query =~ s/catalogue([,)])/'$catalogue'::bytea$1/g;
my $insert = "$house; INSERT INTO tenant_risk_snapshots (id, tenant_id, risk_score_1_100, category_breakdown, snapshot_type)
	SELECT securatlas._snapshot_id(tenant_id, 'x'), tenant_id, score, breakdown, 'manual'
	  FROM (%s) AS s (tenant_id, score, breakdown, loss, controls, findings)";
my $of = sub { my ($tenant) = @_; return $query =~ s/only_tenant/$tenant/gr };
# The weights are values there.
(my $values = $insert) =~ s/%s/$of->('NULL::uuid') =~ s{securatlas\.risk_weights\(\), securatlas\.risk_penalties\(\)}{'{0.35,0.25,0.25,0.15}', '{10,5,2,0.5}'}r/e;
is(tasks_of($coordinator, $values), '8', 'query and INSERT are one task a shard');
my ($tenant) = risk('SELECT tenant_id FROM v_risk_trend ORDER BY 1 LIMIT 1');
(my $one = $of->("'$tenant'::uuid")) =~ s{securatlas\.risk_weights\(\), securatlas\.risk_penalties\(\)}{'{0.35,0.25,0.25,0.15}', '{10,5,2,0.5}'};
is(tasks_of($coordinator, "$house; $one"), '1', 'one tenant is one task');
my (undef, undef, $debug) = $coordinator->psql('postgres',
	"$house; SET client_min_messages = debug1; SELECT fn_recompute_all_tenant_risk_scores()");
like($debug, qr/CTE cost is going to be inlined/, 'Citus plans the statement of the function');
unlike($debug, qr/subplan|repartitioned|Collecting INSERT|cannot push down/i, 'and all of it for the shards');
is(risk("SELECT fn_recompute_tenant_risk_score('$tenant') = (SELECT risk_score_1_100 FROM v_risk_trend WHERE tenant_id = '$tenant')"),
	't', 'one tenant has the same score');
is(risk("SELECT DISTINCT stored FROM (SELECT (fn_store_risk_snapshots(NULL, 'nightly')).stored FROM generate_series(1, 2)) AS s"),
	$count, 'a night can be computed again');
is(risk(q{SELECT count(*) FROM tenant_risk_snapshots WHERE snapshot_type = 'nightly'}), $count, 'and has one snapshot a tenant');

# How far it is: the INSERT, which computes and stores on all nodes, waits for a lock.
my $holder = $coordinator->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE house.tenant_risk_snapshots IN SHARE MODE');
my $recompute = $coordinator->background_psql('postgres');
$recompute->query_until(qr/begun/, "\\echo begun\n$house; SELECT fn_recompute_all_tenant_risk_scores();\n");
wait_for($coordinator, 'SELECT work, phase, done, total, datname FROM cron_stat.progress', "recompute|computing and storing|0|$count|postgres",
	'the recompute shows of how many tenants it is');
$holder->query_safe('COMMIT');
$holder->quit;
$recompute->query_safe('SELECT 1');
is(sql('SELECT count(*) FROM cron_stat.progress'), '0', 'until it ends');
$recompute->quit;

# Rows that are left out are counted.
risk(q{ALTER TABLE tenant_controls DROP CONSTRAINT tenant_controls_maturity_check;
	ALTER TABLE integration_findings DROP CONSTRAINT integration_findings_severity_check});
risk("UPDATE tenant_controls SET maturity = 9, status = 'implemented' WHERE tenant_id = '$tenant';
	UPDATE integration_findings SET severity = 'odd', status = 'open' WHERE tenant_id = '$tenant'");
my ($controls, $findings) = map { risk("SELECT count(*) FROM $_ WHERE tenant_id = '$tenant'") } qw(tenant_controls integration_findings);
for my $call ('fn_recompute_all_tenant_risk_scores()', "fn_recompute_tenant_risk_score('$tenant')")
{
	(undef, undef, $error) = $coordinator->psql('postgres', "$house; SELECT $call");
	like($error, qr/WARNING:  ${\($controls + $findings)} rows are left out of the risk scores/, "$call counts rows that are left out");
}

# ---- tables that were there before, with keys by id -----------------------------------------

sql(q{CREATE SCHEMA older; SET search_path = older;
	CREATE TABLE tenants (id uuid PRIMARY KEY, name text, industry text, annual_revenue numeric, created_at timestamptz);
	CREATE TABLE tenant_evidence_items (id uuid PRIMARY KEY, tenant_id uuid REFERENCES tenants, status text, expires_at timestamptz);
	CREATE TABLE control_evidence_links (evidence_item_id uuid REFERENCES tenant_evidence_items ON DELETE CASCADE, control_id uuid,
		UNIQUE (evidence_item_id, control_id));
	CREATE TABLE integration_sync_jobs (id uuid PRIMARY KEY, connection_id uuid NOT NULL, status text, request_id bigint, attempts int,
		error text, created_at timestamptz, dispatched_at timestamptz, completed_at timestamptz);
	CREATE TABLE tenant_risk_snapshots (id uuid PRIMARY KEY, tenant_id uuid, risk_score_1_100 int, category_breakdown jsonb,
		annualized_loss_expectancy numeric, computed_at timestamptz, snapshot_type text);
	SELECT securatlas.install('older', schedule_jobs => false);
	SELECT securatlas.load_demo(60, 1, 'older');
	SELECT older.fn_recompute_all_tenant_risk_scores();
	TRUNCATE older.tenant_risk_snapshots;
	SELECT securatlas.distribute(4, 'older')});
is(sql(q{SELECT count(*) FROM older.control_evidence_links l JOIN older.tenant_evidence_items e ON e.id = l.evidence_item_id AND e.tenant_id = l.tenant_id}),
	sql('SELECT count(*) FROM older.control_evidence_links'), 'links that had no tenant have that of their item');
is(sql('SELECT older.fn_recompute_all_tenant_risk_scores()'), $count, 'they are recomputed');
is(sql("SET search_path = older; $scores ORDER BY 1"), $snapshots, 'with the same scores');

# ---- a node that is down --------------------------------------------------------------------

risk("UPDATE tenant_controls SET maturity = 3, status = 'implemented' WHERE tenant_id = '$tenant'");
sql(q{CREATE SCHEMA fresh; SELECT securatlas.install('fresh'); SELECT securatlas.distribute(8, 'fresh');
	SELECT securatlas.load_demo(60, 1, 'fresh')});
is(sql('SELECT count(*) > 0 FROM fresh.tenant_controls'), 't', 'load_demo() fills distributed tables');
is(sql("SET search_path = fresh; $all_rows"), $before, 'with the same rows');
sql(q{SELECT cron.configure_job(job_name => 'nightly_risk_recompute', max_retries => 1000, retry_period => '1 second')});
$workers[1]->stop('immediate');
my $run = sql(q{SELECT cron.run_job('nightly_risk_recompute')});
wait_for($coordinator, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'failed', 'with a node down the run fails');
like(sql("SELECT return_message FROM cron.job_run_details WHERE runid = $run"), qr/connect/, 'and says why');
$workers[1]->start;
wait_for($coordinator, q{SELECT count(*) FROM cron.job_run_details WHERE jobname = 'nightly_risk_recompute' AND status = 'succeeded'}, '1',
	'a retry succeeds when it is back');
is(sql(q{SELECT count(*), count(DISTINCT tenant_id) FROM fresh.tenant_risk_snapshots}), "$count|$count", 'nothing was half written');
invariants_hold($coordinator, 'at the end');

# ---- silence --------------------------------------------------------------------------------

for my $i (1, 2)
{
	my $log = slurp_file($nodes[$i]->logfile, $logs[$i]);
	unlike($log, qr/(WARNING|ERROR|FATAL|PANIC):.*(cron|scheduler|securatlas_sched|securatlas\.)/, 'schedulers without jobs are silent on ' . $nodes[$i]->name);
}
$_->stop for @nodes;
done_testing();
