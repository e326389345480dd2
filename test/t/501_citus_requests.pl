# On a cluster of Citus: requests are sent by the node on which they are made, by functions, by webhooks of
# distributed tables, and by the nightly sync; token refreshes by the coordinator.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Citus;
use HttpStub;
use JSON::PP qw(decode_json);
use Sched;
use Test::More;

plan skip_all => 'Citus is not installed' unless citus_is_installed();

my $stub = HttpStub->new;
my @nodes = start_cluster();
my ($coordinator, @workers) = @nodes;
sub sql { return $coordinator->safe_psql('postgres', $_[0]) }
my %name_of = map { $_->host . ':' . $_->port => $_->name } @nodes;
# Which nodes have sent requests to a path, and how many each.
sub senders
{
	my ($path) = @_;
	my %sent = map { my ($node, $n) = split /\|/; ($name_of{$node} => $n) }
	  split /\n/, sql("SELECT node, count(*) FROM net.requests_of_all_nodes() WHERE url LIKE '%$path%' AND state = 'succeeded' GROUP BY 1");
	return join(' ', map { "$_:$sent{$_}" } sort keys %sent);
}
sub waits_for
{
	my ($path, $count, $what) = @_;
	wait_for($coordinator, "SELECT count(*) FROM net.requests_of_all_nodes() WHERE url LIKE '%$path%' AND state = 'succeeded'", $count, $what);
	return;
}
# Nobody looks at a queue without being told, for a minute.
sub at_once
{
	my ($path, $what) = @_;
	is(sql("SELECT count(*) FROM net.requests_of_all_nodes() WHERE url LIKE '%$path%' AND finished_at > created + interval '30 s'"), '0', $what);
	return;
}

sql('CREATE EXTENSION securatlas_sched');
scheduler_pid($_) for @nodes;
wait_for($coordinator, 'SELECT count(*), count(DISTINCT node), count(DISTINCT pid), sum(jobs) FROM cron.schedulers_of_all_nodes()', '3|3|3|0',
	'the schedulers of all nodes are in one view');

# ---- functions ------------------------------------------------------------------------------

sql("SELECT run_command_on_workers(format('SELECT net.http_get(%L)', '" . $stub->url('/on-workers') . "'))");
waits_for('on-workers', 2, 'what a function on a worker requests is sent');
is(senders('on-workers'), 'worker1:1 worker2:1', 'by that worker');
sql(q{CREATE TABLE account (id int PRIMARY KEY, balance int);
	SELECT create_distributed_table('account', 'id', shard_count => 8);
	INSERT INTO account SELECT n, 0 FROM generate_series(1, 40) AS n;
	CREATE FUNCTION tell(account int, url text) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN net.http_get(url); END';
	SELECT create_distributed_function('tell(int, text)', 'account', colocate_with => 'account')});
sql("SELECT tell($_, '" . $stub->url('/delegated') . "')") for 1 .. 10;
waits_for('delegated', 10, 'a delegated function makes requests');
like(senders('delegated'), qr/^worker1:\d worker2:\d$/, 'on the nodes of its rows');

# ---- webhooks -------------------------------------------------------------------------------

my $trigger = "CREATE TRIGGER told AFTER UPDATE ON account FOR EACH ROW EXECUTE FUNCTION net.http_webhook('" . $stub->url('/hook') . "')";
my (undef, undef, $error) = $coordinator->psql('postgres', $trigger);
like($error, qr/ERROR:  a webhook on distributed table "account" needs citus\.enable_unsafe_triggers/, 'a webhook on a distributed table is refused');
like($error, qr/HINT:  .*citus\.enable_unsafe_triggers/, 'with a hint how to make it');
sql("SET citus.enable_unsafe_triggers = on; $trigger");
sql('BEGIN; UPDATE account SET balance = 1; ROLLBACK');
sql('UPDATE account SET balance = 2');
waits_for('hook', 40, 'a statement on all shards sends a request for each row');
like(senders('hook'), qr/^worker1:\d+ worker2:\d+$/, 'from the nodes of the rows');
at_once('hook', 'as soon as its distributed transaction is committed');
my @bodies = map { decode_json($_->{body}) } $stub->requests('/hook');
is(join(',', sort { $a <=> $b } map { $_->{record}{id} } @bodies), join(',', 1 .. 40), 'each row once, and none of what was rolled back');
is(join(',', keys %{ { map { ("$_->{type} $_->{schema}.$_->{table} $_->{record}{balance}" => 1) } @bodies } }), 'UPDATE public.account 2',
	'with the name of the table, not of its shard');

# ---- the sync -------------------------------------------------------------------------------

# The tables of two roles in two schemas, one of whose names needs quotation marks.
sql(q{CREATE ROLE atlas LOGIN; CREATE SCHEMA "Kunden ""Nord""" AUTHORIZATION atlas;
	SELECT run_command_on_all_nodes('GRANT USAGE ON SCHEMA securatlas, cron, net TO atlas')});
sub as_role
{
	my ($role, $schema, $statements) = @_;
	return $coordinator->safe_psql('postgres', "SET search_path = $schema; $statements", extra_params => [ '-U', $role ]);
}
sql("ALTER DATABASE postgres SET app.settings.edge_function_url = '" . $stub->url('/functions/v1') . "'");
$_->safe_psql('postgres', q{SELECT net.set_secret('service_role_key', 'not-a-real-key')}, extra_params => [ '-U', 'atlas' ]) for @nodes;
sql("ALTER ROLE postgres SET app.settings.service_role_key = 'not-a-real-key'");
sql("ALTER ROLE postgres SET app.settings.edge_function_url = '" . $stub->url('/postgres') . "'");
my $quoted = '"Kunden ""Nord"""';
for my $way ([ 'atlas', $quoted, '/functions/v1/trigger-sync' ], [ 'postgres', 'public', '/postgres/trigger-sync' ])
{
	my ($role, $schema, $path) = @$way;
	my $in = sub { return as_role($role, $schema, $_[0]) };
	$in->("SELECT securatlas.install('$schema', schedule_jobs => false)");
	$in->("SELECT securatlas.distribute(8, '$schema')");
	$in->("SELECT securatlas.load_demo(40, 1, '$schema')");
	my $due = $in->(q{SELECT count(*) FROM integration_connections c WHERE c.status = 'active'
		AND c.tenant_id IN (SELECT tenant_id FROM tenant_subscriptions WHERE status IN ('active', 'trialing'))});
	$in->('BEGIN; SELECT fn_trigger_nightly_sync(); ROLLBACK');
	is(sql("SELECT count(*) FROM net.requests_of_all_nodes() WHERE url LIKE '%$path'"), '0', "$schema: a sync that is rolled back requests nothing");
	my (undef, undef, $debug) = $coordinator->psql('postgres', "SET search_path = $schema; SET client_min_messages = debug1; SELECT fn_trigger_nightly_sync()",
		extra_params => [ '-U', $role ]);
	unlike($debug, qr/subplan|repartitioned|Collecting INSERT|cannot push down/i, "$schema: all of a sync is executed on the shards");
	waits_for($path, $due, "$schema: each of the $due connections that are due is asked for");
	like(senders($path), qr/^worker1:\d+ worker2:\d+$/, "$schema: by the node of its tenant");
	at_once($path, "$schema: at once");
	my @asked = $stub->requests($path);
	is(join(',', sort map { my $body = decode_json($_->{body}); "$body->{connection_id} $body->{sync_job_id} $_->{headers}{'idempotency-key'}" } @asked),
		$in->(q{SELECT string_agg(connection_id || ' ' || id || ' ' || id, ',' ORDER BY (connection_id || ' ' || id) COLLATE "C") FROM integration_sync_jobs}),
		"$schema: each once, with its id");
	is(scalar(grep { $_->{headers}{authorization} ne 'Bearer not-a-real-key' } @asked), 0, "$schema: with the key");
	wait_for($coordinator, "SELECT count(*) FROM $schema.integration_sync_jobs WHERE status = 'dispatched' AND dispatched_at IS NOT NULL", $due,
		"$schema: the answers reach the rows of the tenants");
	is(on_each("SELECT count(*) FROM net._http_response WHERE url LIKE '%$path' AND callback_state <> 'done'", @nodes), '0 0 0', "$schema: no callback failed");
	$in->('SELECT fn_trigger_nightly_sync()');
	is($in->('SELECT count(*) FROM integration_sync_jobs'), $due, "$schema: what is in progress is not asked for again");
	# A session that calls very many callbacks does not grow.
	my ($kept) = $workers[0]->safe_psql('postgres', qq{SET search_path = $schema; SET citus.enable_ddl_propagation = off;
		CREATE TEMP VIEW plans AS SELECT sum(total_bytes) AS bytes FROM pg_backend_memory_contexts WHERE name LIKE 'CachedPlan%';
		CREATE TEMP TABLE answer AS SELECT r::net._http_response AS response FROM net._http_response r WHERE url LIKE '%$path';
		CREATE TEMP TABLE had AS SELECT NULL::bigint AS bytes WHERE false;
		DO \$\$ BEGIN PERFORM fn_on_sync_response(response) FROM answer; INSERT INTO had SELECT bytes FROM plans;
			FOR i IN 1 .. 20 LOOP PERFORM fn_on_sync_response(response) FROM answer; END LOOP; END \$\$;
		SELECT plans.bytes - had.bytes FROM plans, had});
	cmp_ok($kept, '<', 1e6, "$schema: callbacks keep no plans");
}

sub atlas { return as_role('atlas', $quoted, $_[0]) }

# ---- tokens ---------------------------------------------------------------------------------

atlas(q{UPDATE integration_connections SET status = 'disabled';
	SELECT net.set_secret('refresh', 'initial-refresh'); SELECT net.set_secret('client', 'client-s3cret+&=');
	INSERT INTO integration_providers (key, token_endpoint, client_id, client_secret_name) VALUES ('oauth', '} . $stub->url('/oauth') . q{', 'the-client', 'client'),
		('silent', NULL, 'the-client', 'client')});
atlas(q{INSERT INTO integration_connections (tenant_id, provider_id, status, auth_type, refresh_token_name, token_expires_at)
	SELECT t.id, p.id, 'active', 'oauth', CASE p.key WHEN 'oauth' THEN 'refresh' END, now()
	  FROM (SELECT id FROM tenants ORDER BY id LIMIT 1) AS t, integration_providers p WHERE p.key IN ('oauth', 'silent')});
atlas('SELECT fn_refresh_expiring_tokens()');
wait_for($coordinator, q{SELECT count(*) FROM "Kunden ""Nord""".integration_connections WHERE status = 'active' AND token_expires_at > now() AND last_error IS NULL}, '1',
	'a token is refreshed');
is(atlas(q{SELECT last_error FROM integration_connections WHERE status = 'active' AND last_error IS NOT NULL}),
	'token refresh: provider silent has no token endpoint', 'and what cannot be is said');
is(senders('oauth'), 'coordinator:1', 'by the coordinator, which has the secrets');
is(sql("SELECT count(*) FROM net._http_response WHERE url LIKE '%oauth' AND split_part(idempotency_key, '/', 4)::uuid IN (SELECT tenant_id FROM $quoted.integration_connections)"),
	'1', 'and the callback knows the tenant');

# ---- a node that is down --------------------------------------------------------------------

is(atlas('SELECT count(*) FROM net.requests_of_all_nodes(newest => 3)') <= 9, 1, 'newest limits the requests of each node');
(undef, undef, $error) = $coordinator->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM net.requests_of_all_nodes(-1)");
like($error, qr/ERROR:  22023: newest must not be negative/, 'and must not be negative');
$workers[1]->stop('immediate');
my ($status, $out);
($status, $out, $error) = $coordinator->psql('postgres', 'SELECT count(DISTINCT node) FROM net.requests_of_all_nodes()');
is($out, '2', 'the requests of the other nodes are shown');
like($error, qr/WARNING:  node \S+ did not answer/, 'with a warning');
is($coordinator->safe_psql('postgres', 'SELECT count(*) FROM cron.schedulers_of_all_nodes()'), '2', 'and their schedulers');
invariants_hold($coordinator, 'at the end');
$_->stop for @nodes[0, 1];
done_testing();
