# Credentials are readable nowhere, and requests reach no forbidden host or address.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

# Bytes that nothing else can hold; in a header, in secrets, in a response.
my %secret = (
	header => 'HeaderSecret7f3a9c', named => 'NamedSecret51d2b8', form => 'FormSecret0e6f4d&=',
	redirect => 'RedirectSecret93ab');
my $stub = HttpStub->new;
my $other = HttpStub->new;

# Proxies of the environment are not for these requests.
$ENV{http_proxy} = $ENV{HTTP_PROXY} = $ENV{all_proxy} = 'http://127.0.0.1:1';
my $node = new_node('secrets',
	log_min_messages => 'debug5', log_statement => 'none', log_min_error_statement => 'panic',
	shared_preload_libraries => "'securatlas_sched, pg_stat_statements'",
	'pg_stat_statements.track_utility' => 'on');
$node->start;
install($node);
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub response_to
{
	my ($call, $columns) = @_;
	my $id = sql("SELECT net.$call");
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM net._http_response WHERE id = $id)")
	  or die "no response to $call";
	return sql("SELECT $columns FROM net._http_response WHERE id = $id");
}

# ---- the key -------------------------------------------------------------------------------------
my $key_file = $node->data_dir . '/securatlas_sched.key';
is(sprintf('%04o', (stat $key_file)[2] & 07777), '0600', 'the key file is for the server only');
is(-s $key_file, 32, 'it holds a key');

# ---- sealed headers and secrets ------------------------------------------------------------------
sql("SELECT net.set_secret('api/key', '$secret{named}'), net.set_secret('form', '$secret{form}')");
is(response_to("http_post('" . $stub->url('/sealed') . "', headers => '{\"Authorization\": \"Bearer $secret{header}\","
		  . " \"X-Named\": \"<{{secret:api/key}}>\", \"X-Plain\": \"seen\"}')", 'status_code'), '200', 'a request with credentials');
my ($request) = $stub->requests('/sealed');
is($request->{headers}{authorization}, "Bearer $secret{header}", 'a sealed header arrives');
is($request->{headers}{'x-named'}, "<$secret{named}>", 'a secret arrives');
is($request->{headers}{'x-plain'}, 'seen', 'and the rest');
response_to("http_post_form('" . $stub->url('/form') . "', '{\"a b\": \"1&2\", \"t\": \"{{secret:form}}\"}')", 'status_code');
($request) = $stub->requests('/form');
is($request->{body}, 't=FormSecret0e6f4d%26%3D&a%20b=1%262', 'a form, with its secret encoded');
is($request->{headers}{'content-type'}, 'application/x-www-form-urlencoded', 'and its type');
response_to("http_post('" . $stub->url('/json') . "', '{\"t\": \"{{secret:form}}\"}')", 'status_code');
($request) = $stub->requests('/json');
is($request->{body}, '{"t": "{{secret:form}}"}', 'in a JSON body nothing is put in');

# One that waits, so that the queue has been written with it.
sql("SELECT net.http_request('POST', '" . $stub->url('/later') . "', headers => '{\"Cookie\": \"$secret{header}\"}',
	not_before => now() + interval '1 hour')");
like(sql('SELECT q::text FROM net.http_request_queue q'), qr/later/, 'one waits');
sql('CHECKPOINT');

# ---- who may use a secret ------------------------------------------------------------------------
sql(q{CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT USAGE ON SCHEMA net TO alice, bob;
	SET ROLE alice; SELECT net.set_secret('hers', 'alice-value')});
my $use = "SELECT net.http_get('" . $stub->url('/hers') . "', headers => '{\"X-Key\": \"{{secret:hers}}\"}')";
my ($rc, $out, $err) = $node->psql('postgres', "SET ROLE bob; $use");
like($err, qr/permission denied for secret "hers"/, 'a secret of another role cannot be used');
($rc, $out, $err) = $node->psql('postgres', "SET ROLE bob; SELECT net.set_secret('hers', 'x')");
like($err, qr/permission denied for secret "hers"/, 'or replaced');
is(sql('SET ROLE bob; SELECT count(sealed) FROM net.secret'), '0', 'or looked at, not even encrypted');
sql(q{SET ROLE alice; SELECT net.grant_secret('hers', 'bob')});
my $id = (split /\n/, sql("SET ROLE bob; $use"))[-1];
wait_for($node, "SELECT status_code FROM net._http_response WHERE id = $id", '200', 'a granted one can be used');
$id = (split /\n/, sql("SET ROLE bob; SELECT net.http_request('GET', '" . $stub->url('/revoked')
	  . "', headers => '{\"X-Key\": \"{{secret:hers}}\"}', not_before => now() + interval '1 second')"))[-1];
sql(q{SET ROLE alice; SELECT net.revoke_secret('hers', 'bob')});
wait_for($node, "SELECT error_msg FROM net._http_response WHERE id = $id",
	'request cannot be sent: secret "hers" is missing, or its use is not granted', 'what was revoked in the meantime is not sent');
is(scalar($stub->requests('/revoked')), 0, 'at all');

# ---- redirects -----------------------------------------------------------------------------------
my $credentials = "headers => '{\"Authorization\": \"Bearer $secret{redirect}\"}'";
is(response_to("http_get('" . $stub->url('/redirect?to=/target') . "', $credentials)", 'status_code'), '200',
	'a redirect to the same origin is followed');
($request) = $stub->requests('/target');
is($request->{headers}{authorization}, "Bearer $secret{redirect}", 'with its credentials');
is(response_to("http_get('" . $stub->url('/redirect?to=' . $other->url('/elsewhere')) . "', $credentials)", 'status_code'),
	'302', 'one to another origin is the response');
is(scalar($other->requests), 0, 'and not followed');
sub set_and_reload
{
	my (%settings) = @_;
	$node->append_conf('postgresql.conf', "$_ = $settings{$_}") for keys %settings;
	# The worker of before the change must not be the one that is asked.
	$node->restart;
	scheduler_pid($node, 'postgres');
	return;
}
set_and_reload('net.follow_redirects' => 'any');
is(response_to("http_get('" . $stub->url('/redirect?to=' . $other->url('/elsewhere')) . "', $credentials)", 'status_code'),
	'200', 'unless that is wanted');
($request) = $other->requests('/elsewhere');
is($request->{headers}{authorization}, undef, 'but without credentials');

# ---- where requests must not go ------------------------------------------------------------------
my $port = $stub->{port};
set_and_reload('net.blocked_networks' => "'127.0.0.2/32, ::1'", 'net.allowed_hosts' => "'127.0.0.1, 127.0.0.2, localhost, *.example.com, ::ffff:127.0.0.2'");
is(response_to("http_get('http://127.0.0.1:$port/allowed')", 'status_code'), '200', 'an address that is not blocked');
for my $url ("http://127.0.0.2:$port/blocked", "http://[::ffff:127.0.0.2]:$port/blocked", "http://127.0.0.1:$port/redirect?to=http://127.0.0.2:$port/blocked")
{
	is(response_to("http_get('$url')", 'error_msg, attempts'), 'address is blocked by net.blocked_networks|1', "blocked: $url");
}
is(scalar($stub->requests('/blocked')), 0, 'nothing came through');
($rc, $out, $err) = $node->psql('postgres', "SELECT net.http_get('http://example.com/')");
like($err, qr/requests to host "example.com" are not allowed/, 'a host that is not allowed');
is(response_to("http_get('http://127.0.0.1:$port/redirect?to=http://[::1]:$port/')", 'coalesce(error_msg, status_code::text)') =~ /302|not allowed|blocked/, 1,
	'a redirect to one is not followed');

# ---- nothing in clear ----------------------------------------------------------------------------
sql('CHECKPOINT');
my $found = '';
for my $name (sort keys %secret)
{
	my $text = substr($secret{$name}, 0, 14);
	my $files = `grep -rlaF '$text' '@{[ $node->data_dir ]}' '@{[ $node->logfile ]}'`;
	$found .= "$name: $files" if $files ne '';
}
is($found, '', 'no credential is in a table, an index, the WAL or the log');
is(sql("SELECT count(*) FROM pg_stat_statements WHERE query ~ 'HeaderSecret|NamedSecret|FormSecret|RedirectSecret'"), '0',
	'or in pg_stat_statements');

# ---- another key ---------------------------------------------------------------------------------
$node->stop;
unlink $key_file or die;
$node->start;
sql(q{UPDATE net.http_request_queue SET ready_at = now()});
wait_for($node, q{SELECT error_msg FROM net._http_response WHERE url LIKE '%/later'},
	'request cannot be sent: sealed headers cannot be decrypted: they were sealed with another key',
	'with another key what was sealed is of no use');
is(response_to("http_get('http://127.0.0.1:$port/x', headers => '{\"X-Key\": \"{{secret:api/key}}\"}')", 'error_msg'),
	'request cannot be sent: secret "api/key" is missing, or its use is not granted', 'secrets are neither');
$node->stop;
chmod 0644, $key_file;
$node->start;
($rc, $out, $err) = $node->psql('postgres', "SELECT net.set_secret('x', 'y')");
like($err, qr/secret key file .* must not be accessible to others/, 'a key file that others can read is refused');
is(response_to("http_get('http://127.0.0.1:$port/without')", 'status_code'), '200', 'what needs no key goes on');

done_testing();
