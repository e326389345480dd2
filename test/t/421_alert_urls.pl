# Alerts that post to a URL, signatures by Standard Webhooks, and each event: missed, late, overran,
# paused, request_failed, scheduler_restarted.
use strict;
use warnings;
use Digest::SHA qw(hmac_sha256_base64);
use FindBin;
use JSON::PP qw(decode_json);
use MIME::Base64 qw(decode_base64);
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('alert_urls', 'net.max_attempts' => 2);
$node->start;
install($node);
my $secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
$node->safe_psql('postgres', q{
	CREATE ROLE plain LOGIN;
	CREATE ROLE other LOGIN;
	GRANT USAGE ON SCHEMA cron, net TO plain, other;
	GRANT CREATE ON SCHEMA public TO plain, other;
	CREATE TABLE heard (who text, event jsonb);
	GRANT SELECT, INSERT ON heard TO plain, other;
	CREATE FUNCTION hear(event jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.heard VALUES (current_user, event)';});

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}
# Signatures of a request, as its receiver checks them.
sub is_signed
{
	my ($request, $key, $what) = @_;
	my %header = map { lc $_ => $request->{headers}{$_} } keys %{ $request->{headers} };
	my $content = join '.', $header{'webhook-id'} // '', $header{'webhook-timestamp'} // '', $request->{body};
	my $expected = hmac_sha256_base64($content, $key);
	$expected .= '=' while length($expected) % 4;
	is($header{'webhook-signature'}, "v1,$expected", "$what: signed");
	cmp_ok(abs($header{'webhook-timestamp'} - time()), '<', 300, "$what: as of now");
	is($header{'webhook-id'}, $header{'idempotency-key'}, "$what: its id is the idempotency key");
	return $header{'webhook-id'};
}
sub arrives
{
	my ($path, $what) = @_;
	wait_until(sub { scalar $stub->requests($path) }, $what);
	return ($stub->requests($path))[0];
}
my $key = decode_base64($secret =~ s/^whsec_//r);

# ---- requests ----------------------------------------------------------------------------------

as('plain', "SELECT net.set_secret('key', '$secret'); SELECT net.set_secret('words', 'open sesame'); SELECT net.set_secret('bad', 'whsec_?')");
my $sign = q{'{"webhook-signature": "{{secret:key}}"}'};
as('plain', "SELECT net.http_post('" . $stub->url('/echo/json') . qq{', '{"a": "\xc3\xa4"}', headers => $sign)});
is_signed(arrives('/echo/json', 'a request'), $key, 'JSON');
as('plain', "SELECT net.http_request('PUT', '" . $stub->url('/echo/bytes') . qq{', body => '\\x00ff0a', headers => '{"Webhook-Signature": "{{secret:words}}", "webhook-id": "mine"}', idempotency_key => 'mine')});
my $bytes = arrives('/echo/bytes', 'bytes');
is({ map { lc $_ => $bytes->{headers}{$_} } keys %{ $bytes->{headers} } }->{'webhook-id'}, 'mine', 'an id that is given stays');
as('plain', "SELECT net.http_post_form('" . $stub->url('/echo/form') . qq{', '{"k": "{{secret:words}}"}', headers => $sign)});
is_signed(arrives('/echo/form', 'a form'), $key, 'a form with a secret');
as('plain', "SELECT net.http_request('POST', '" . $stub->url('/status/503/again') . "', headers => $sign, retry => 'always', max_attempts => 2)");
wait_until(sub { $stub->requests('/status/503/again') == 2 }, 'a request is tried again');
my @ids = map { is_signed($_, $key, 'an attempt') } $stub->requests('/status/503/again');
is($ids[0], $ids[1], 'both attempts have the same id');
as('plain', qq{CREATE TABLE hooked (a int);
	CREATE TRIGGER hook AFTER INSERT ON hooked FOR EACH ROW EXECUTE FUNCTION net.http_webhook('} . $stub->url('/hooked') . qq{', $sign);
	INSERT INTO hooked VALUES (1)});
is_signed(arrives('/hooked', 'a webhook'), $key, 'net.http_webhook()');
unlike(slurp_file($stub->{log}), qr/MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw|secret:key/, 'the secret itself is not sent');
is($node->safe_psql('postgres', qq{SELECT count(*) FROM net._http_response r WHERE r::text LIKE '%MfKQ9r%'}), '0', 'nor recorded');

my $id = as('plain', "SELECT net.http_post('" . $stub->url('/never') . qq{', '{}', headers => '{"webhook-signature": "{{secret:bad}}"}')});
wait_for($node, "SELECT error_msg LIKE '%the secret of header webhook-signature holds no key' FROM net._http_response WHERE id = $id", 't', 'a secret that is no key');
for my $value ('v1,{{secret:key}}', '{{secret:key}} ')
{
	my ($rc, $out, $err) = $node->psql('postgres', qq{SET SESSION AUTHORIZATION plain; SELECT net.http_post('http://127.0.0.1:1', '{}', headers => '{"webhook-signature": "$value"}')});
	like($err, qr/invalid value of HTTP header "webhook-signature"/, "refused: $value");
}
my ($rc, $out, $err) = $node->psql('postgres', "SET SESSION AUTHORIZATION other; SELECT net.http_post('http://127.0.0.1:1', '{}', headers => $sign)");
like($err, qr/permission denied for secret "key"/, 'who may not use the secret may not sign');

# ---- an alert's URL ----------------------------------------------------------------------------

as('plain', "SELECT cron.add_alert('cloud', '{failed,recovered}', url => '" . $stub->url('/cloud') . "', headers => $sign);
	SELECT cron.add_alert('chat', '{failed}', url => '" . $stub->url('/chat') . "', format => 'text')");
as('plain', q{SELECT cron.schedule('broken', '1 second', 'SELECT 1/0')});
my $cloud = arrives('/cloud', 'CloudEvents');
is_signed($cloud, $key, 'an alert');
my $event = decode_json($cloud->{body});
is($event->{specversion}, '1.0', 'CloudEvents 1.0');
is($event->{type}, 'securatlas_sched.failed', 'type');
is($event->{source}, '/securatlas_sched/postgres', 'source');
is($event->{subject}, 'broken', 'subject');
like($event->{id}, qr/^[0-9a-f-]{36}$/, 'id');
like($event->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/, 'time');
is($event->{data}{sqlstate}, '22012', 'data');
is({ map { lc $_ => $cloud->{headers}{$_} } keys %{ $cloud->{headers} } }->{'content-type'}, 'application/cloudevents+json', 'content type');
my $chat = decode_json(arrives('/chat', 'a chat')->{body});
is(join(' ', keys %$chat), 'text', 'a chat gets a text');
like($chat->{text}, qr/^job 'broken' failed at .*22012 division by zero\. See: /, 'which says what happened');
as('plain', q{SELECT cron.schedule('broken', '1 second', 'SELECT 1')});
wait_until(sub { grep { decode_json($_->{body})->{type} eq 'securatlas_sched.recovered' } $stub->requests('/cloud') }, 'recovered, too');
as('plain', q{SELECT cron.unschedule('broken'); SELECT cron.drop_alert('chat'); SELECT cron.drop_alert('cloud')});
# A source is part of a URI, and no attribute has control characters, whatever database and job are called.
my $database = 'a b/100%';
$node->safe_psql('postgres', qq{CREATE DATABASE "$database"});
install($node, $database);
$node->safe_psql($database, "SELECT cron.add_alert('odd', '{failed}', url => '" . $stub->url('/odd') . q{');
	SELECT cron.schedule(E'two\\nlines \\\\ "\\t"', '1 second', 'SELECT 1/0')});
my $odd = decode_json(arrives('/odd', 'CloudEvents of an odd database')->{body});
is($odd->{source}, '/securatlas_sched/a%20b%2F100%25', 'its source');
is($odd->{subject}, 'two lines \\ " "', 'and subject');
is("$odd->{data}{database} $odd->{data}{job}", qq{$database two\nlines \\ "\t"}, 'its data has the names as they are');
$node->safe_psql('postgres', qq{DROP DATABASE "$database"});
# What the role may not use any more when the event is told.
as('other', "SELECT net.set_secret('others', 'x'); SELECT net.grant_secret('others', 'plain')");
as('plain', "SELECT cron.add_alert('revoked', '{failed}', url => '" . $stub->url('/revoked') . q{', headers => '{"webhook-signature": "{{secret:others}}"}')});
as('other', "SELECT net.revoke_secret('others', 'plain')");
as('plain', q{SELECT cron.schedule('broken', '1 second', 'SELECT 1/0')});
wait_for($node, q{SELECT split_part(last_error, E'\n', 1) FROM cron.alerts WHERE name = 'revoked'}, 'ERROR: permission denied for secret "others"',
	'a secret that was revoked');
is(scalar($stub->requests('/revoked')), 0, 'nothing is sent');
as('plain', q{SELECT cron.unschedule('broken'); SELECT cron.drop_alert('revoked')});

# ---- each event --------------------------------------------------------------------------------

sub heard { return "SELECT count(*) >= 1 FROM heard WHERE who = '$_[0]' AND event->>'event' = '$_[1]'" }
sub text_of { return $node->safe_psql('postgres', "SELECT event->>'text' FROM heard WHERE who = '$_[0]' AND event->>'event' = '$_[1]' LIMIT 1") }
as($_, q{SELECT cron.add_alert('all', '{missed,late,overran,paused,recovered,request_failed,scheduler_restarted}', function => 'hear(jsonb)', late_after => '200 ms')})
	for qw(plain other);
as('plain', q{
	SELECT cron.schedule('slow', '1 second', 'SELECT pg_sleep(1.4)');
	SELECT cron.schedule('endless', '1 second', 'SELECT pg_sleep(1000)');
	SELECT cron.configure_job('endless', max_runtime => '100 ms', max_failures => 2);});
wait_for($node, heard('plain', 'late'), 't', 'late');
like(text_of('plain', 'late'), qr/^job 'slow' (?:started|is) late .*last: run \d+, due at .* and (?:not )?started at /, 'its text');
wait_for($node, heard('plain', 'overran'), 't', 'overran');
like(text_of('plain', 'overran'), qr/^job 'endless' took longer than its max_runtime/, 'its text');
wait_for($node, heard('plain', 'paused'), 't', 'paused');
like(text_of('plain', 'paused'), qr/^job 'endless' was paused at .*It does not run until it is resumed\. See: /, 'its text');
as('plain', q{SELECT cron.pause('slow')});

# Who is late is told of while it waits, by each alert once.
as('plain', q{SELECT cron.add_alert($$late $$ || n, '{late}', jobs => 'gated', function => 'hear(jsonb)', remind_after => '0', late_after => n * interval '300 ms')
	FROM generate_series(1, 3, 2) n});
my $gate = $node->background_psql('postgres');
$gate->query_safe('SELECT pg_advisory_lock(17)');
as('plain', q{SELECT cron.schedule('gated', '1 second', 'SELECT pg_advisory_xact_lock(17)')});
my $late = sub { "SELECT count(*) FROM heard h JOIN cron.job_run_details d ON d.runid = (h.event->>'runid')::bigint
	WHERE h.event->>'job' = 'gated' AND h.event->>'alert' LIKE 'late %' AND $_[0]" };
wait_for($node, $late->(q{d.status = 'starting'}), '2', 'a run that waits is late');
is($node->safe_psql('postgres', q{SELECT count(*) FROM heard WHERE event->>'alert' = 'late 1'
	AND event->>'text' ~ '^job .gated. is late .*, due at .* and not started at .*: .*previous'}), '1', 'and the text says why');
as('plain', q{SELECT cron.pause('gated')});
$gate->query_safe('SELECT pg_advisory_unlock(17)');
$gate->quit;
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE jobname = 'gated' AND status IN ('starting', 'running')}, '0', 'its runs have ended');
wait_for($node, q{SELECT count(*) FROM cron.alert_event e JOIN cron.alert a USING (alertid) WHERE a.name LIKE 'late %'}, '0', 'nothing is left to tell');
is($node->safe_psql('postgres', $late->('true')), '2', 'its start tells nothing again');
as('plain', q{SELECT cron.unschedule('gated'), cron.drop_alert('late 1'), cron.drop_alert('late 3')});

as('plain', "SELECT net.http_get('" . $stub->url('/status/500') . "')");
wait_for($node, heard('plain', 'request_failed'), 't', 'request_failed');
like(text_of('plain', 'request_failed'), qr{^1 request to http://127\.0\.0\.1:\d+ failed at .*HTTP status 500.*See: SELECT \* FROM net\.requests WHERE id = \d+$}, 'its text');
as('plain', "SELECT net.http_get('" . $stub->url('/echo/ok') . "')");
wait_for($node, q{SELECT count(*) FROM heard WHERE event->>'text' LIKE 'requests to http% succeed again after 1 failure since %'}, '1', 'and its end');
is($node->safe_psql('postgres', "SELECT count(*) FROM heard WHERE who = 'other'"), '0', 'a role that sees neither the jobs nor the requests is not told');

# The same server without its scheduler makes the tables those of one that was away.
$node->safe_psql('postgres', 'TRUNCATE heard');
as('plain', q{SELECT cron.schedule('each minute', '@every 1 minute', 'SELECT 1')});
wait_for($node, 'SELECT count(*) FROM cron.scheduler_state', '1', 'the scheduler has planned');
$node->stop('immediate');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->start;
$node->safe_psql('postgres', q{
	ALTER TABLE cron.job DISABLE TRIGGER USER;
	ALTER TABLE cron.scheduler_state DISABLE TRIGGER USER;
	UPDATE cron.job SET planned_from = now() - interval '3 minutes 30 seconds' WHERE jobname = 'each minute';
	UPDATE cron.scheduler_state SET planned_until = now() - interval '3 minutes 30 seconds';
	ALTER TABLE cron.job ENABLE TRIGGER USER;
	ALTER TABLE cron.scheduler_state ENABLE TRIGGER USER;});
$node->safe_psql('postgres', "SELECT cron._arm_triggers(t) FROM unnest('{cron.job,cron.scheduler_state}'::regclass[]) AS t");
$node->stop('immediate');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'securatlas_sched'");
$node->start;
wait_for($node, heard('plain', 'scheduler_restarted'), 't', 'scheduler_restarted');
like(text_of('plain', 'scheduler_restarted'), qr/^the scheduler of database 'postgres' started again at .*It had planned the runs until /, 'its text');
wait_for($node, heard('other', 'scheduler_restarted'), 't', 'it concerns everybody');
wait_for($node, heard('plain', 'missed'), 't', 'missed');
is($node->safe_psql('postgres', q{SELECT event->>'count', event->>'job' FROM heard WHERE who = 'plain' AND event->>'event' = 'missed'}),
	'3|each minute', 'all that were missed, told once');
wait_for($node, heard('plain', 'recovered'), 't', 'the run that makes up for them ends it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM heard WHERE who = 'other' AND event->>'event' <> 'scheduler_restarted'}), '0', 'and nobody else is told');
invariants_hold($node, 'at the end');

done_testing();
