# The options of net.http_request() and similar functions: methods, bodies, times, attempts, what is
# recorded.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

my $stub = HttpStub->new;
# More connections than the server has descriptors for: as many are used as there are.
my $node = new_node('request', 'net.max_connections' => 10000, max_files_per_process => 200);
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub make { return sql("SELECT net.$_[0]") }

sub value_of
{
	my ($id, $columns) = @_;
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM net._http_response WHERE id = $id)")
	  or die "no response to $id";
	return sql("SELECT $columns FROM net._http_response WHERE id = $id");
}

sub response_to { return value_of(make($_[0]), $_[1]) }

# ---- methods and bodies --------------------------------------------------------------------------
for my $method (qw(GET POST PUT PATCH DELETE OPTIONS))
{
	my $url = $stub->url("/echo/$method");
	is(response_to("http_request('$method', '$url', body => '\\x00ff41')", 'status_code, content_bytes, state'),
		'200|\x00ff41|succeeded', "$method with bytes");
	my ($request) = $stub->requests("/echo/$method");
	is($request->{method}, $method, "$method arrives");
}
is(response_to("http_request('head', '" . $stub->url('/echo/head') . "', params => '{\"q\": \"1 2\"}')", 'status_code, method'),
	'200|HEAD', 'HEAD, in lower case, with a parameter');
my ($request) = $stub->requests('/echo/head?q=1%202');
is($request->{method}, 'HEAD', 'HEAD arrives');
for my $method (qw(put patch))
{
	my $url = $stub->url("/echo/json-$method");
	is(response_to("http_$method('$url', '{\"a\": 1}')", 'status_code, content, content_type'), '200|{"a": 1}|application/json', $method);
	($request) = $stub->requests("/echo/json-$method");
	is($request->{method}, uc $method, "$method arrives");
}

# ---- responses -----------------------------------------------------------------------------------
is(response_to("http_get('" . $stub->url('/twice') . "')", "headers->'X-Twice'"), '["one", "two"]', 'a header that comes twice');
is(response_to("http_get('" . $stub->url('/latin1') . "')", 'length(content), ascii(right(content, 1)), content_bytes'), '4|233|', 'text in another encoding');
my $big = $stub->url('/bytes/2000000');
is(response_to("http_request('GET', '$big', store_response => 'full')", 'length(content), truncated, headers IS NOT NULL'), '1048576|t|t', 'all of a response');
is(response_to("http_request('GET', '$big', store_response => 'headers')", 'content, content_bytes, headers IS NOT NULL, content_type'),
	'||t|text/plain', 'no body');
is(response_to("http_request('GET', '$big', store_response => 'status')", 'content, content_bytes, headers, content_type, status_code'),
	'||||200', 'the status only');
my $sealed = make("http_request('GET', '" . $stub->url('/token') . "', store_response => 'sealed')");
is(value_of($sealed, "content, sealed, length(content_bytes) > 60, position('\\x6163636573'::bytea in content_bytes)"), '|t|t|0', 'a sealed body');

# ---- times ---------------------------------------------------------------------------------------
my $later = make("http_request('GET', '" . $stub->url('/later') . "', not_before => now() + interval '1 second')");
is(sql("SELECT state, reason LIKE '%not before%' OR reason IS NOT NULL FROM net.requests WHERE id = $later"), 'waiting|t', 'a request for later waits');
is(value_of($later, "status_code, created >= (SELECT now()) - interval '1 minute'"), '200|t', 'and is sent');
is(sql("SELECT r.created - interval '1 second' > h.made FROM net._http_response r, (SELECT created AS made FROM net._http_response WHERE id = $sealed) h WHERE r.id = $later"),
	't', 'not before its time');
# Its host is down when it is made, and it expires before the next attempt.
is(response_to("http_request('GET', 'http://127.0.0.1:1/', expires_in => '1 second', max_attempts => 1000, retry => 'always')",
		'state, error_msg'), 'expired|request expired before it was sent', 'a request whose time is up');

# ---- attempts ------------------------------------------------------------------------------------
sub flaky { my ($name, $status) = @_; return $stub->url("/flaky/2/$status/$name") }
is(response_to("http_request('POST', '" . flaky('unsent', 500) . "')", 'status_code, attempts, state'), '500|1|failed', 'unsent: 500 is an answer');
is(response_to("http_request('POST', '" . flaky('no-key', 500) . "', retry => 'idempotent')", 'status_code, attempts'), '500|1',
	'idempotent: a POST without a key is not sent again');
is(response_to("http_request('PUT', '" . flaky('put', 500) . "', retry => 'idempotent')", 'status_code, attempts'), '200|3', 'a PUT is');
is(response_to("http_request('POST', '" . flaky('key', 500) . "', retry => 'idempotent', idempotency_key => 'my key')", 'status_code, attempts, idempotency_key'),
	'200|3|my key', 'and a POST with a key');
my %keys = map { $_->{headers}{'idempotency-key'} => 1 } $stub->requests('/flaky/2/500/key');
is(join(',', keys %keys), 'my key', 'which is the same at each attempt');
is(response_to("http_request('POST', '" . flaky('always', 503) . "', retry => 'always')", 'status_code, attempts'), '200|3', 'always');
is(response_to("http_request('POST', '" . flaky('two', 503) . "', retry => 'always', max_attempts => 2)", 'status_code, attempts'), '503|2', 'max_attempts');
is(response_to("http_request('GET', 'http://127.0.0.1:1/', retry => 'never')", q{error_msg LIKE '%connect to server', attempts}), 't|1', 'never');
is(response_to("http_request('GET', '" . $stub->url('/close') . "', retry => 'idempotent')", 'attempts, status_code'), '3|', 'a broken connection');
my $soon = make("http_request('GET', '" . $stub->url('/status/429?retry_after=3000') . "')");
wait_for($node, "SELECT state, last_error FROM (SELECT r.state, q.last_error FROM net.requests r JOIN net.http_request_queue q USING (id) WHERE id = $soon) s",
	'retrying|status 429', 'what was refused for a while');
is(sql("SELECT ready_at BETWEEN now() + interval '2900 s' AND now() + interval '3000 s' FROM net.http_request_queue WHERE id = $soon"), 't',
	'waits as long as it was told');

# ---- cancelled -----------------------------------------------------------------------------------
is(sql("SELECT net.cancel_request($soon)"), 't', 'a waiting request is cancelled');
is(value_of($soon, 'state, error_msg, attempts'), 'cancelled|request was cancelled|1', 'and recorded so');
is(sql("SELECT net.cancel_request($soon)"), 'f', 'once');
my $slow = make("http_request('GET', '" . $stub->url('/delay/600000') . "', timeout_milliseconds => 600000)");
wait_until(sub { $stub->requests('/delay/600000') == 1 }, 'it is in flight');
wait_for($node, "SELECT state FROM net.requests WHERE id = $slow", 'in_flight', 'which can be seen');
sql("BEGIN; SELECT net.cancel_request($slow); ROLLBACK");
is(sql("SELECT state FROM net.requests WHERE id = $slow"), 'in_flight', 'a cancellation that is rolled back is none');
sql("SELECT net.cancel_request($slow)");
wait_for($node, 'SELECT in_flight FROM net.worker_status', '0', 'one in flight is given up');
is(value_of($slow, 'state'), 'cancelled', 'and recorded so');

# ---- the environment -----------------------------------------------------------------------------
is(sql('SELECT count(*) FROM net.http_request_queue'), '0', 'nothing is left');
done_testing();
