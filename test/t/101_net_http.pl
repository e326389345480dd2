# HTTP requests: sent if and only if their transaction commits, never lost, one response each.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('http');
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Makes a request and waits for its response: the columns of interest.
sub response_to
{
	my ($call, $columns) = @_;
	my $id = sql("SELECT net.$call");
	$node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM net._http_response WHERE id = $id)")
	  or die "no response to $call";
	return sql("SELECT $columns FROM net._http_response WHERE id = $id");
}

sub worker_pid
{
	my @pids;
	wait_until(sub { @pids = our_pids($node, 'http worker'); return @pids == 1 }, 'an http worker');
	return $pids[0];
}

# ---- a commit sends, a rollback does not ---------------------------------------------------------
my $url = $stub->url('/echo');
is(response_to("http_post('$url', '{\"a\": 1}', headers => '{\"X-Test\": \"yes\"}')",
		'status_code, content, content_type, error_msg IS NULL, timed_out, attempts, method, url'),
	"200|{\"a\": 1}|application/json|t|f|1|POST|$url", 'the response is recorded');
my ($request) = $stub->requests('/echo');
is($request->{method}, 'POST', 'the method arrives');
is($request->{body}, '{"a": 1}', 'the body arrives');
is($request->{headers}{'x-test'}, 'yes', 'a header arrives');
like($request->{headers}{'idempotency-key'}, qr/^[0-9a-f-]{36}$/, 'an idempotency key arrives');

sql(q{CREATE TABLE note (t text)});
sql("BEGIN; SELECT net.http_post('" . $stub->url('/rolled-back') . "'); ROLLBACK");
sql("BEGIN; INSERT INTO note VALUES ('x'); SAVEPOINT s; SELECT net.http_post('" . $stub->url('/rolled-back')
	  . "'); ROLLBACK TO s; COMMIT");
sql("SELECT net.http_post('" . $stub->url("/many/1?i=") . "' || i) FROM generate_series(1, 500) AS i");
wait_for($node, "SELECT count(*) FROM net._http_response WHERE url LIKE '%/many/%' AND status_code = 200", '500',
	'500 requests of one transaction are answered');
my %seen;
$seen{ $_->{path} }++ for grep { $_->{path} =~ m{^/many} } $stub->requests;
is(scalar(keys %seen), 500, 'each arrived');
is(scalar(grep { $_ != 1 } values %seen), 0, 'and each once');
is(scalar($stub->requests('/rolled-back')), 0, 'what was rolled back was not sent');
is(sql('SELECT count(*) FROM net.http_request_queue'), '0', 'the queue is empty');

# ---- what else can come of a request -------------------------------------------------------------
is(response_to("http_get('" . $stub->url('/status/404') . "')", 'status_code, error_msg'), '404|',
	'a status that is no success is a response');
is(response_to("http_delete('" . $stub->url('/echo') . "', body => '{}')", 'status_code, content, method'),
	'200|{}|DELETE', 'a DELETE with a body');
like(response_to("http_get('" . $stub->url('/delay/60000') . "', timeout_milliseconds => 200)",
		'status_code, timed_out, error_msg'),
	qr/^\|t\|Timeout of 200 ms reached\. Total time: /, 'a timeout');
is(response_to("http_get('http://127.0.0.1:1/')", q{status_code, timed_out, error_msg LIKE '%connect to server', attempts}),
	'|f|t|3', 'a refused connection is tried again, then recorded in the words of libcurl');
is(response_to("http_get('" . $stub->url('/reset') . "')", "status_code, error_msg <> '', attempts"), '|t|1',
	'a request that may have been processed is not sent again by default');
is(scalar($stub->requests('/reset')), 1, 'and it was not');
is(response_to("http_get('" . $stub->url('/bytes/2000000') . "')", 'length(content), truncated'),
	'1048576|t', 'a long body is cut');
is(response_to("http_get('" . $stub->url('/status/204') . "')", "status_code, content"), '204|',
	'a response without a body');

# More than the worker reads at a time, to a server of its own: its log is long.
{
	my $other = HttpStub->new;
	sql("SELECT net.http_post('" . $other->url('/long/')
		  . "' || i, jsonb_build_object('long', repeat('x', 3000000))) FROM generate_series(1, 12) AS i");
	wait_for($node, "SELECT count(*) FROM net._http_response WHERE url LIKE '%/long/%' AND status_code = 200", '12',
		'long bodies are sent');
	cmp_ok(-s $other->{log}, '>', 12 * 3000000, 'and arrive whole');
}

# Bytes that are no text are kept apart. The row is a superuser's own.
$url = $stub->url('/echo?bytes');
sql("INSERT INTO net.http_request_queue (method, url, body) VALUES ('POST', '$url', '\\x00ff41')");
wait_for($node, "SELECT content IS NULL, content_bytes FROM net._http_response WHERE url = '$url'", 't|\\x00ff41',
	'a body that is no text');

# 503 with Retry-After is sent again, with the same key; without it, it is an answer.
is(response_to("http_post('" . $stub->url('/status/503?retry_after=0') . "')", 'status_code, attempts'), '503|3',
	'Retry-After is obeyed');
my %keys = map { $_->{headers}{'idempotency-key'} => 1 } $stub->requests('/status/503?retry_after=0');
is(scalar(keys %keys), 1, 'all attempts have the same key');
is(response_to("http_post('" . $stub->url('/status/503') . "')", 'status_code, attempts'), '503|1',
	'503 alone is an answer');

# ---- the run that made it ------------------------------------------------------------------------
my $run = sql("SELECT cron.schedule('poster', '0 0 1 1 *', \$\$SELECT net.http_post('"
	  . $stub->url('/from-a-run') . "')\$\$); SELECT cron.run_job('poster')");
$run = (split /\n/, $run)[-1];
wait_for($node, "SELECT runid FROM net._http_response WHERE url LIKE '%/from-a-run'", $run,
	'a request of a run says which');

# ---- an idle worker ends, and another one starts -------------------------------------------------
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched http worker'",
	'0', 'an idle worker ends');
my $state = q{SELECT state FROM pg_stat_activity WHERE backend_type = 'securatlas_sched http worker'};
is(sql('SELECT net.worker_restart()'), 'f', 'there is none to restart');
wait_for($node, $state, 'idle', 'but one starts, and is idle');
# Autovacuum goes by these; the worker lives on.
sql(q{SELECT pg_stat_reset_single_table_counters('net._http_response'::regclass)});
sql("SELECT net.http_get('" . $stub->url('/counted') . "?' || i) FROM generate_series(1, 30) AS i");
wait_for($node, q{
	SELECT n_tup_ins, (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched http worker')
	  FROM pg_stat_user_tables WHERE relid = 'net._http_response'::regclass}, '30|1', 'all responses are counted while it lives');
is(response_to("http_get('" . $stub->url('/after-idle') . "')", 'status_code'), '200', 'and starts for a request');

# ---- a worker that is terminated -----------------------------------------------------------------
my $id = sql("SELECT net.http_get('" . $stub->url('/held/1/60000/terminated') . "', timeout_milliseconds => 60000)");
wait_until(sub { $stub->requests('/held/1/60000/terminated') == 1 }, 'the request is in flight');
wait_for($node, $state, 'active', 'and the worker active');
is(sql('SELECT net.worker_restart()'), 't', 'the worker is told to restart');
wait_for($node, "SELECT status_code FROM net._http_response WHERE id = $id", '200',
	'what was in flight is sent again');
is(scalar($stub->requests('/held/1/60000/terminated')), 2, 'by another worker');

# ---- kill -9 -------------------------------------------------------------------------------------
# The server restarts all its processes; what was in flight, and what waited, is sent.
sql("ALTER SYSTEM SET net.max_connections = 20");
sql("SELECT net.http_post('" . $stub->url('/held/5/60000/killed?i=') . "' || i, timeout_milliseconds => 60000)
       FROM generate_series(1, 60) AS i");
my $victim = worker_pid();
wait_until(sub { grep { $_->{path} =~ /killed/ } $stub->requests }, 'requests are in flight');
kill_process($node, $victim);
wait_for($node, "SELECT count(*) FROM net._http_response WHERE url LIKE '%/killed%' AND status_code = 200", '60',
	'each request has a response after kill -9');
is(sql("SELECT count(DISTINCT url) FROM net._http_response WHERE url LIKE '%/killed%'"), '60', 'and one only');
is(sql('SELECT count(*) FROM net.http_request_queue'), '0', 'the queue is empty');
%seen = ();
%keys = ();
for my $arrived (grep { $_->{path} =~ /killed/ } $stub->requests)
{
	$seen{ $arrived->{path} }++;
	$keys{ $arrived->{path} }{ $arrived->{headers}{'idempotency-key'} } = 1;
}
is(scalar(keys %seen), 60, 'each arrived at least once');
ok((grep { $_ > 1 } values %seen) > 0, 'those in flight arrived again');
is(scalar(grep { keys %$_ != 1 } values %keys), 0, 'with the same key');

# ---- a request for later outlives a restart ------------------------------------------------------
$url = $stub->url('/later');
sql("INSERT INTO net.http_request_queue (method, url, ready_at) VALUES ('GET', '$url', clock_timestamp() + '4 seconds')");
$node->restart;
wait_for($node, "SELECT status_code FROM net._http_response WHERE url = '$url'", '200', 'a request for later is sent');
is(sql("SELECT created >= (SELECT pg_postmaster_start_time()) FROM net._http_response WHERE url = '$url'"), 't',
	'after the restart');

# ---- old responses go, in an idle database too ---------------------------------------------------
sql("ALTER SYSTEM SET net.ttl = '1 second'");
$node->restart;
wait_for($node, 'SELECT count(*) FROM net._http_response', '0', 'old responses are removed');

is(log_count($node, 'PANIC|TRAP|http worker: '), 0, 'nothing went wrong in the worker');
invariants_hold($node, 'at the end');
$node->stop;
done_testing();
