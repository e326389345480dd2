# Responses of edge functions and token endpoints: sync jobs become dispatched or failed, tokens are
# rotated and never lost, and no secret is readable.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('sync', log_min_messages => 'debug1', log_statement => 'none', wal_keep_size => "'2 GB'", 'cron.worker_idle_timeout' => "'1 s'");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE atlas LOGIN');
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub as_atlas { return $node->safe_psql('postgres', $_[0], extra_params => [ '-U', 'atlas' ]) }

sql('CREATE SCHEMA platform AUTHORIZATION atlas; GRANT USAGE ON SCHEMA cron, net, securatlas TO atlas');
as_atlas("SELECT securatlas.install('platform', schedule_jobs => false)");
sql("ALTER ROLE atlas SET search_path = platform");

# ---- the sync -------------------------------------------------------------------------------

as_atlas(q{
	INSERT INTO tenants (id, name) VALUES ('00000000-0000-0000-0000-000000000001', 'one');
	INSERT INTO tenant_subscriptions VALUES ('00000000-0000-0000-0000-000000000001', 'starter', 'active');
	INSERT INTO integration_providers (key) VALUES ('aws');
	INSERT INTO integration_connections (tenant_id, provider_id, status, auth_type)
	SELECT '00000000-0000-0000-0000-000000000001', p.id, 'active', 'api_key' FROM integration_providers p, generate_series(1, 20)});

# Asks for a sync at a path of the stub, and returns what the jobs have come to.
sub sync_at
{
	my ($path, $setup) = @_;
	sql("ALTER ROLE atlas SET app.settings.edge_function_url = '" . $stub->url($path) . "'; "
		  . ($setup // "ALTER ROLE atlas SET app.settings.service_role_key = 'ServiceKey77aa01'"));
	as_atlas('DELETE FROM integration_sync_jobs; SELECT fn_trigger_nightly_sync()');
	wait_for($node, q{SELECT count(*) FROM platform.integration_sync_jobs j
	                   WHERE j.status = 'queued' AND EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = j.request_id)
	                      OR EXISTS (SELECT FROM net._http_response r WHERE r.id = j.request_id AND r.callback_state = 'waiting')},
		'0', "$path: all are answered");
	return sql(q{SELECT status, attempts, count(*), count(dispatched_at), error FROM platform.integration_sync_jobs
	              GROUP BY status, attempts, error ORDER BY status, attempts, error});
}

is(sync_at('/functions'), 'dispatched|1|20|20|', 'a sync that is accepted is dispatched');
my @requests = $stub->requests('/functions/trigger-sync');
is(scalar(@requests), 20, 'one request each');
is(scalar(grep { $_->{headers}{authorization} eq 'Bearer ServiceKey77aa01' } @requests), 20, 'with the key');
is( join(',', sort map { $_->{headers}{'idempotency-key'} } @requests),
	sql(q{SELECT string_agg(id::text, ',' ORDER BY id::text COLLATE "C") FROM platform.integration_sync_jobs}),
	'a sync request has the id of the sync job as idempotency key');
is(sync_at('/status/400'), 'failed|1|20|0|HTTP status 400', 'one that is refused has failed');
is(sync_at('/status/302'), 'failed|1|20|0|HTTP status 302', 'a redirect to nowhere too');
sql('ALTER ROLE atlas RESET app.settings.service_role_key');
as_atlas("SELECT net.set_secret('service_role_key', 'ServiceSecret19bb02')");
is(sync_at('/flaky/3/503/a', 'SELECT 1'), 'dispatched|1|17|17|
dispatched|2|3|3|', 'one that fails for a while is tried again') or diag(sql('SELECT * FROM platform.integration_sync_jobs'));
is(scalar(grep { $_->{headers}{authorization} ne 'Bearer ServiceSecret19bb02' } $stub->requests('/flaky/3/503/a/trigger-sync')),
	0, 'with the key that is a secret');

# Whoever may ask for a sync does not say where it goes.
my $elsewhere = HttpStub->new;
sql('CREATE ROLE caller LOGIN; GRANT USAGE ON SCHEMA platform TO caller; GRANT EXECUTE ON FUNCTION platform.fn_trigger_nightly_sync() TO caller');
sql("ALTER ROLE atlas SET app.settings.edge_function_url = '" . $stub->url('/right') . "'; ALTER ROLE caller SET app.settings.edge_function_url = '" . $elsewhere->url('/wrong') . "'");
as_atlas('DELETE FROM integration_sync_jobs');
$node->safe_psql('postgres', "SET app.settings.edge_function_url = '" . $elsewhere->url('/wrong') . "'; SELECT platform.fn_trigger_nightly_sync()", extra_params => [ '-U', 'caller' ]);
wait_for($node, q{SELECT count(*) FROM net.http_request_queue}, '0', 'another role has asked for a sync');
is(scalar($elsewhere->requests), 0, 'nothing went where its session says');
is(scalar($stub->requests('/right/trigger-sync')), 20, 'but where it belongs');

# The edge function may be faster than its own answer.
sql("ALTER ROLE atlas SET app.settings.edge_function_url = '" . $stub->url('/delay/2000') . "'");
as_atlas(q{DELETE FROM integration_sync_jobs; SELECT fn_trigger_nightly_sync(); UPDATE integration_sync_jobs SET status = 'completed', completed_at = now()});
wait_for($node, q{SELECT count(*) FROM net.http_request_queue}, '0', 'late answers come');
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE callback_state = 'waiting'}, '0', 'and are worked on');
is(sql('SELECT status, count(*) FROM platform.integration_sync_jobs GROUP BY 1'), 'completed|20', 'what is completed stays so');

# ---- tokens ---------------------------------------------------------------------------------

as_atlas("SELECT net.set_secret('client', 'client-s3cret+&=')");
as_atlas("SELECT net.set_secret('wrong_client', 'WrongClient55cc03')");

# One provider and connection for a path of the stub; its first refresh token is initial-<name>.
sub connect_to
{
	my ($name, $url, $secret) = @_;
	$secret //= 'client';
	my $endpoint = defined $url ? "'$url'" : 'NULL';
	as_atlas("SELECT net.set_secret('refresh/$name', 'initial-$name')");
	as_atlas(qq{WITH p AS (INSERT INTO integration_providers (key, token_endpoint, client_id, client_secret_name)
	                       VALUES ('$name', $endpoint, 'the-client', '$secret') RETURNING id)
		INSERT INTO integration_connections (tenant_id, provider_id, status, auth_type, refresh_token_name,
		                                     access_token_name, token_expires_at)
		SELECT '00000000-0000-0000-0000-000000000001', p.id, 'active', 'oauth', 'refresh/$name', 'access/$name',
		       now() + interval '1 hour' FROM p});
	return;
}

my $refreshing = q{SELECT (SELECT count(*) FROM net.http_request_queue WHERE ready_at < clock_timestamp() + interval '5 s')
                        + (SELECT count(*) FROM net._http_response WHERE callback_state = 'waiting')};
sub refresh
{
	my ($what) = @_;
	as_atlas('SELECT fn_refresh_expiring_tokens()');
	wait_for($node, $refreshing, '0', $what);
	return;
}

sub state_of
{
	my ($name) = @_;
	return sql(qq{SELECT c.status, round(extract(epoch FROM c.token_expires_at - now()) / 3600, 1), c.last_error
	                FROM platform.integration_connections c JOIN platform.integration_providers p ON p.id = c.provider_id
	               WHERE p.key = '$name'});
}

# What a secret is, as the stub sees it.
sub secret
{
	my ($name) = @_;
	as_atlas("SELECT net.http_get('" . $stub->url("/seen/$name") . "', headers => '{\"X-Secret\": \"{{secret:$name}}\"}')");
	my @seen;
	wait_until(sub { @seen = $stub->requests("/seen/$name") }, "the stub sees $name");
	return $seen[-1]{headers}{'x-secret'};
}

connect_to('rotating', $stub->url('/oauth'));
connect_to('keeping', $stub->url('/oauth/keep'));
connect_to('endless', $stub->url('/oauth/no-expiry'));
connect_to('html', $stub->url('/oauth/html'));
connect_to('busy', $stub->url('/oauth/busy/1/x'));
connect_to('gone', 'http://127.0.0.1:1/oauth');
connect_to('nowhere', undef);
connect_to('stranger', $stub->url('/oauth'), 'wrong_client');
connect_to('revoked', $stub->url('/oauth'));
as_atlas("SELECT net.set_secret('refresh/revoked', 'RevokedToken31dd04')");

refresh('the first refresh');
is(state_of('rotating'), 'active|2.0|', 'a token is refreshed for as long as the provider says');
is(state_of('keeping'), 'active|2.0|', 'one without rotation too');
is(state_of('endless'), 'active|1.0|', 'without expires_in for an hour');
is(state_of('revoked'), 'reauth_required|1.0|token refresh: the provider does not accept the refresh token any more (invalid_grant)',
	'what is not granted any more needs a person');
is(state_of('html'), 'active|1.0|token refresh, attempt 1 of 5: the provider answered 200, no JSON object', 'HTML is no token');
is(state_of('busy'), 'active|1.0|token refresh, attempt 1 of 5: the provider answered 503, temporarily_unavailable',
	'a busy provider is noted');
is(state_of('stranger'), 'active|1.0|token refresh, attempt 1 of 5: the provider answered 401, invalid_client',
	'a wrong client secret too');
like(state_of('gone'), qr/^active\|1.0+\|token refresh, attempt 1 of 5: .+/, 'and one that is not there');
is(state_of('nowhere'), 'active|1.0|token refresh: provider nowhere has no token endpoint', 'and one without an endpoint');
my $later = q{SELECT string_agg(split_part(idempotency_key, '/', 3), ',' ORDER BY id),
	bool_and(ready_at BETWEEN created + interval '55 s' AND created + interval '65 s') FROM net.http_request_queue};
is(sql($later), '2,2,2,2|t', 'four are asked again, in a minute');
like(secret('access/rotating'), qr/^access-\d+-of-initial-rotating$/, 'the access token is a secret now');
like(secret('refresh/rotating'), qr/^rotated-\d+-rotating$/, 'a refresh stores the rotated refresh token');
is(secret('refresh/keeping'), 'initial-keeping', 'where there is no new one the old one stays');

# Due again: those under way are left alone.
my $asked = () = $stub->requests;
as_atlas("UPDATE integration_connections SET token_expires_at = now() WHERE auth_type = 'oauth'");
refresh('a second refresh, with four under way');
is(scalar(() = $stub->requests) - $asked, 3, 'each that is not under way is asked for once');
is(state_of('rotating'), 'active|2.0|', 'the rotated refresh token was right');
is(sql('SELECT count(*) FROM net.http_request_queue'), '4', 'no refresh is made twice');

# The four go on, when their time has come; with growing pauses, and not for ever.
for my $attempt (2 .. 5)
{
	sql('UPDATE net.http_request_queue SET ready_at = clock_timestamp()');
	wait_for($node, qq{SELECT count(*) FROM net._http_response WHERE idempotency_key LIKE 'token_refresh/%/$attempt/%' AND callback_state = 'done'},
		$attempt == 2 ? '4' : '3', "attempt $attempt");
	my $pause = 60 * 4**($attempt - 1);
	is(sql(qq{SELECT count(*), count(*) FILTER (WHERE abs(extract(epoch FROM ready_at - created) - $pause) < 5) FROM net.http_request_queue}),
		$attempt < 5 ? '3|3' : '0|0', $attempt < 5 ? "the next after $pause s" : 'there is no sixth');
}
is(state_of('busy'), 'active|2.0|', 'the busy one has answered');
like(state_of('html'), qr/attempt 5 of 5/, 'the page of HTML was asked for five times');

# ---- a crash between the answer and our commit ------------------------------------------------

as_atlas("UPDATE integration_connections SET token_expires_at = now() + interval '9 hours'");
as_atlas("UPDATE integration_connections c SET token_expires_at = now() FROM integration_providers p WHERE p.id = c.provider_id AND p.key = 'rotating'");
my $locker = $node->background_psql('postgres');
$locker->query_safe(q{BEGIN; SELECT c.id FROM platform.integration_connections c JOIN platform.integration_providers p ON p.id = c.provider_id
                       WHERE p.key = 'rotating' FOR UPDATE OF c});
$asked = () = $stub->requests('/oauth');
as_atlas('SELECT fn_refresh_expiring_tokens()');
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE callback_state = 'waiting'}, '1', 'the answer is recorded');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'}, '1', 'and being worked on');
is(sql(q{SELECT content IS NULL, sealed FROM net._http_response WHERE callback_state = 'waiting'}), 't|t', 'its body is sealed');
kill_server($node);
eval { $locker->quit };
$node->start;
scheduler_pid($node);
wait_for($node, $refreshing, '0', 'after a crash it is worked on again');
is(state_of('rotating'), 'active|2.0|', 'the tokens are there');
is(scalar(() = $stub->requests('/oauth')) - $asked, 1, 'nobody was asked twice');
as_atlas("UPDATE integration_connections c SET token_expires_at = now() FROM integration_providers p WHERE p.id = c.provider_id AND p.key = 'rotating'");
refresh('once more');
is(state_of('rotating'), 'active|2.0|', 'with the refresh token of before the crash');

# ---- ten thousand at once ---------------------------------------------------------------------

as_atlas(qq{
	SET client_min_messages = warning;
	SELECT count(net.set_secret('many/' || n, 'initial-many-' || n)) FROM generate_series(1, 10000) AS n;
	INSERT INTO integration_connections (tenant_id, provider_id, status, auth_type, refresh_token_name, token_expires_at)
	SELECT '00000000-0000-0000-0000-000000000001', p.id, 'active', 'oauth', 'many/' || n, now()
	  FROM integration_providers p, generate_series(1, 10000) AS n WHERE p.key = 'rotating'});
as_atlas('SELECT fn_refresh_expiring_tokens()');
as_atlas('SELECT fn_refresh_expiring_tokens()');
wait_for($node, $refreshing, '0', 'ten thousand tokens are refreshed');
is( sql(q{SELECT count(*), bool_and(token_expires_at > now() + interval '90 minutes'), count(last_error)
            FROM platform.integration_connections WHERE refresh_token_name LIKE 'many/%'}),
	'10000|t|0', 'each of them');
is(scalar(grep { $_->{body} =~ /initial-many/ } $stub->requests('/oauth')), 10000, 'each refresh is sent once');

# ---- nothing in clear -------------------------------------------------------------------------

is( sql(q{
	SELECT string_agg(DISTINCT q.name, ', ') FROM (
		SELECT c.oid::regclass::text AS name, query_to_xml(format('SELECT * FROM %s', c.oid::regclass), false, false, '')::text AS rows
		  FROM pg_class c WHERE c.relkind = 'r'
		   AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('platform', 'net', 'cron', 'securatlas'))
		   AND c.reltuples < 5000) AS q
	 WHERE q.rows ~ 'initial-|rotated-|access-\d|client-s3cret|ServiceSecret|RevokedToken|WrongClient'}),
	'', 'no table holds a secret');
my $pattern = qr/initial-(?:many|rot|keep|html|busy|gone|end)|rotated-\d+-|access-\d+-of|client-s3cret|ServiceSecret19bb02|RevokedToken31dd04|WrongClient55cc03/;
# The setting is in the catalogs, where everybody may read it.
is(log_count($node, qr/$pattern|ServiceKey77aa01/), 0, 'the server log neither');
invariants_hold($node, 'at the end');
$node->stop;
my $found = '';
for my $segment (glob($node->data_dir . '/pg_wal/0*'))
{
	my $bytes = slurp_file($segment);
	$found .= " $segment: $&" if $bytes =~ $pattern;
}
is($found, '', 'the WAL does not contain the tokens');
done_testing();
