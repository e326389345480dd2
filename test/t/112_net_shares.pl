# Limits for a role, what it may see and wait for; and requests that must not be sent
# (net.send_requests).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('shares', autovacuum => 'on', 'net.max_connections_per_host' => 1);
$node->start;
install($node);
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN; CREATE ROLE watch LOGIN IN ROLE pg_monitor;
	GRANT USAGE ON SCHEMA net TO mallory, alice, watch');

sub sql { return $node->safe_psql('postgres', $_[0]) }

sub as
{
	my ($role, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");
	return $status == 0 ? $out : $err;
}

sub set_and_reload
{
	my ($name, $value) = @_;
	sql("ALTER SYSTEM SET $name = '$value'");
	sql('SELECT pg_reload_conf()');
	$node->poll_query_until('postgres', "SELECT current_setting('$name') = '$value'") or die "$name is not $value";
	return;
}

# ---- what is seen --------------------------------------------------------------------------------
my $host = 'http://127.0.0.1:' . $stub->{port};
my $sent = as('alice', "SELECT net.http_get('" . $stub->url('/delay/30000') . "', timeout_milliseconds => 60000)");
wait_for($node, 'SELECT in_flight FROM net.worker_status', '1', 'a request is in flight');
my $waiting = as('alice', "SELECT net.http_get('" . $stub->url('/second') . "')");
wait_for($node, "SELECT reason FROM net.requests WHERE id = $waiting", 'limit of its host', 'and another one waits for its host');
my $ask = "SELECT net._requests_in_flight(), net._wait_reason('$host', now() - interval '1 s', 0)";
is(as('alice', $ask), "{$sent}|limit of its host", 'its role sees that');
is(as('watch', $ask), "{$sent}|limit of its host", 'so does whoever may read all statistics');
is(as('mallory', $ask), '{}|waiting for a slot', 'nobody else does');

# ---- waiting for the end -------------------------------------------------------------------------
sql('CREATE TABLE awaited (what text, is_recorded boolean); GRANT ALL ON awaited TO PUBLIC');
sub await
{
	my ($what, $id) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/start/, "\\echo start\nINSERT INTO awaited VALUES ('$what', net._await_response($id));\n");
	wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%awaited%($id)%' AND pid <> pg_backend_pid() AND wait_event = '" . wait_name('NetResponse') . "'",
		'1', "a session waits for one that will be $what");
	return $session;
}
my @sessions = (await('deleted', $waiting));
sql("DELETE FROM net.http_request_queue WHERE id = $waiting");
wait_for($node, "SELECT is_recorded FROM awaited WHERE what = 'deleted'", 'f', 'its end is none');
push @sessions, await('cancelled', $sent);
is(as('alice', "SELECT net.cancel_request($sent)"), 't', 'the one in flight is cancelled');
wait_for($node, "SELECT is_recorded FROM awaited WHERE what = 'cancelled'", 't', 'that is an end, too');
my $slow = as('alice', "SELECT net.http_get('" . $stub->url('/delay/1500') . "')");
push @sessions, await('answered', $slow);
wait_for($node, "SELECT is_recorded FROM awaited WHERE what = 'answered'", 't', 'and so is an answer');
is(sql('SELECT net._await_response(0)'), 'f', 'nobody waits for one that there is not');
is(as('mallory', "SELECT net._await_response($slow)"), 'f', 'nor for another role\'s');
$_->quit for @sessions;

# ---- a role's share of the queue -----------------------------------------------------------------
set_and_reload('net.max_pending_requests', 10);
my $far = "SELECT net.http_request('GET', 'http://far.example/', not_before => now() + interval '1 year')";
as('mallory', "$far FROM generate_series(1, 10)");
wait_for($node, "SELECT pg_stat_get_live_tuples('net.http_request_queue'::regclass) >= 10", 't', 'a role has as many as it may have');
like(as('mallory', $far), qr/too many HTTP requests of role "mallory" are waiting/, 'it gets no more');
as('postgres', 'CREATE TABLE orders (id int); ALTER TABLE orders OWNER TO alice; GRANT INSERT ON orders TO mallory;
	CREATE TRIGGER hook AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION net.http_webhook(\'' . $stub->url('/hook') . '\')');
is(as('alice', 'INSERT INTO orders SELECT generate_series(1, 3) RETURNING id'), "1\n2\n3", 'another role writes into its table with a webhook');
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/hook' AND status_code = 200}, '3', 'and its posts are sent');
sql('DELETE FROM net.http_request_queue');

# ---- nothing is sent -----------------------------------------------------------------------------
# One is in flight when it is switched off, two wait for their turn.
as('alice', "SELECT net.http_get('" . $stub->url("/delay/1000/$_") . "') FROM generate_series(1, 1)") for 1 .. 3;
wait_for($node, 'SELECT in_flight FROM net.worker_status', '1', 'a request is in flight');
set_and_reload('net.send_requests', 'off');
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/delay/1000/%'}, '1', 'it comes to its end though sending is switched off');
is(as('alice', 'SELECT state, reason, count(*) FROM net.requests WHERE state NOT IN (\'succeeded\', \'cancelled\') GROUP BY 1, 2'),
	'waiting|net.send_requests is off|2', 'the others wait, and say for what');
is(sql('SELECT sends FROM net.worker_status'), 'f', 'so does the status of the worker');
like(as('alice', 'SELECT net.check_worker_is_up()'), qr/requests are not sent.*net\.send_requests is off/s, 'and whoever asks whether it is up');
# A copy of the cluster that does not send: no process for it is started.
$node->restart;
scheduler_pid($node);
as('alice', "SELECT net.http_get('" . $stub->url('/off') . "')");
sql(q{SELECT cron.schedule('tick', '1 second', 'SELECT 1')});
wait_for($node, q{SELECT count(*) > 1 FROM cron.job_run_details WHERE status = 'succeeded'}, 't', 'the scheduler is at work');
is(join(' ', our_pids($node, 'http worker')), '', 'and starts no http worker');
is(scalar($stub->requests('/off')), 0, 'nothing is sent');
set_and_reload('net.send_requests', 'on');
wait_for($node, q{SELECT count(*) FROM net._http_response WHERE status_code = 200 AND (url LIKE '%/delay/1000/%' OR url LIKE '%/off')}, '4',
	'switched on, all are sent');
is(sql('SELECT sends FROM net.worker_status'), 't', 'which is shown');
$node->stop;
done_testing();
