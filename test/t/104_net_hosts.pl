# Hosts that hang, send invalid responses or are down affect their own requests only.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use IO::Socket::INET;
use Sched;
use Test::More;

my $node = new_node('hosts',
	'net.max_connections' => 16, 'net.max_connections_per_host' => 4, 'net.max_response_bytes' => 100000);
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub value_of
{
	my ($id, $columns) = @_;
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM net._http_response WHERE id = $id)")
	  or die "no response to $id";
	return sql("SELECT $columns FROM net._http_response WHERE id = $id");
}

# ---- hosts that misbehave, and one that does not -------------------------------------------------
# Nobody accepts: connections are established, and no response ever comes.
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1000) or die $!;
my $silent_url = 'http://127.0.0.1:' . $silent->sockport . '/';
my $bad = HttpStub->new;
my $good = HttpStub->new;
my $slow = HttpStub->new;
sql("SELECT net.http_get('$silent_url', timeout_milliseconds => 600000) FROM generate_series(1, 100)");
sql("SELECT net.http_get('" . $slow->url('/delay/600000') . "', timeout_milliseconds => 600000) FROM generate_series(1, 100)");
for my $path ('/endless-headers', '/endless-body')
{
	sql("SELECT net.http_get('" . $bad->url($path) . "', timeout_milliseconds => 3000)");
}
sql("SELECT net.http_get('" . $good->url('/fast') . "') FROM generate_series(1, 200)");
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/fast' AND status_code = 200}, '200',
	'200 requests to a good host are answered');
is(sql("SELECT count(*) FROM net.http_request_queue WHERE url = '$silent_url' OR url LIKE '%/delay/%'"), '200',
	'while those to a silent and a slow one still wait');
my $in_flight = sql("SELECT max(in_flight) FROM net.host_status WHERE host = 'http://127.0.0.1:" . $silent->sockport . "'");
is($in_flight, '4', 'of whom each has as many as one host may have');

wait_for($node, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/endless-%'}, '2',
	'what never ends is ended');
is(sql(q{SELECT error_msg FROM net._http_response WHERE url LIKE '%/endless-headers'}), 'Response headers are too large',
	'headers without end');
is(sql(q{SELECT error_msg, status_code, truncated FROM net._http_response WHERE url LIKE '%/endless-body'}), '|200|t',
	'a body without end');
is(sql('SELECT count(net.cancel_request(id)) FROM net.http_request_queue'), '200', 'waiting and sent ones are cancelled');
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE state = 'cancelled'}, '200', 'and recorded so');
wait_for($node, 'SELECT in_flight FROM net.worker_status', '0', 'none is in flight any more');

# ---- a breaker -----------------------------------------------------------------------------------
my $port = do { my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1); $s->sockport };
my $down = "http://127.0.0.1:$port";
my @ids = split /\n/, sql("SELECT net.http_request('GET', '$down/', max_attempts => 1000) FROM generate_series(1, 20)");
wait_for($node, "SELECT breaker FROM net.host_status WHERE host = '$down'", 'open', 'a host that is down opens its breaker');
like(sql("SELECT last_error FROM net.host_status WHERE host = '$down'"), qr/connect to server/, 'which says why');
my $late = sql("SELECT net.http_request('GET', '$down/late', max_attempts => 1000)");
is(sql("SELECT count(*) FROM net.http_request_queue WHERE host = '$down'"), '21', 'its requests wait');
is(sql("SELECT net.http_get('" . $good->url('/meanwhile') . "')") =~ /^\d+$/, 1, 'another host');
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/meanwhile' AND status_code = 200}, '1',
	'goes on');

my $back = HttpStub->new(port => $port);
for my $id (@ids, $late) { value_of($id, 'status_code') }
is(sql("SELECT count(*) FROM net._http_response WHERE url LIKE '$down/%' AND status_code = 200"), '21',
	'all are answered when it is back');
wait_for($node, "SELECT breaker FROM net.host_status WHERE host = '$down'", 'closed', 'its breaker closes');

# A failed probe is an attempt of all that wait for it: nobody waits for ever.
my $dead = do { my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1); 'http://127.0.0.1:' . $s->sockport };
sql("SELECT net.http_get('$dead/') FROM generate_series(1, 300)");
wait_for($node, "SELECT count(*) FROM net._http_response WHERE url = '$dead/' AND error_msg LIKE '%connect to server'",
	'300', 'requests to a host that stays down end when their attempts are used up');
is(sql("SELECT DISTINCT attempts FROM net._http_response WHERE url = '$dead/'"), '3', 'each has had as many as it may');

# ---- a rate --------------------------------------------------------------------------------------
$node->append_conf('postgresql.conf', "net.requests_per_second_per_host = 10");
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('net.requests_per_second_per_host') = '10'}) or die;
# The worker has read it, too, when a request after it was answered.
value_of(sql("SELECT net.http_get('" . $good->url('/reloaded') . "')"), 'id');
sql("SELECT net.http_get('" . $good->url('/rate') . "') FROM generate_series(1, 21)");
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/rate' AND status_code = 200}, '21',
	'requests at a limited rate are sent');
cmp_ok(sql(q{SELECT extract(epoch FROM max(created) - min(created)) FROM net._http_response WHERE url LIKE '%/rate'}),
	'>', 1.8, '20 intervals of 100 ms take two seconds');

# ---- a fast shutdown with a request in flight ----------------------------------------------------
sql("SELECT net.http_get('" . $slow->url('/delay/60000/shutdown') . "', timeout_milliseconds => 60000)");
wait_until(sub { $slow->requests('/delay/60000/shutdown') == 1 }, 'it is in flight');
$node->stop('fast');
$node->start;
is(sql(q{SELECT count(*) FROM net.http_request_queue WHERE url LIKE '%/shutdown'}), '1', 'it is still in the queue');
wait_until(sub { $slow->requests('/delay/60000/shutdown') == 2 }, 'and is sent again');
my @keys = map { $_->{headers}{'idempotency-key'} } $slow->requests('/delay/60000/shutdown');
is($keys[0], $keys[1], 'with the same key');

done_testing();
