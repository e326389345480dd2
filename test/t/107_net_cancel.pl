# Cancelling requests that are in flight, and what the views show of requests, the worker and hosts.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('cancel');
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub state_of { return "SELECT state FROM net.requests WHERE id = $_[0]" }
my $host = $stub->url(':') =~ s{:$}{}r;

# ---- in flight -----------------------------------------------------------------------------------
my $slow = sql("SELECT net.http_get('" . $stub->url('/delay/60000/slow') . "', timeout_milliseconds => 120000)");
wait_for($node, state_of($slow), 'in_flight', 'a request in flight is shown');
is(sql("SELECT state || coalesce(reason, '') FROM net.requests"), 'in_flight', 'and once');
wait_for($node, 'SELECT in_flight FROM net.worker_status', '1', 'the worker shows it');
is(sql('SELECT in_flight, breaker FROM net.host_status'), '1|closed', 'its host shows it');
is(sql(q{SELECT pid = (SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%http worker%'), started <= updated
           FROM net.worker_status}), 't|t', 'and the worker its process');

# Roles see the hosts of their own requests, and no errors; who may see statistics sees all.
sql(q{CREATE ROLE owner; CREATE ROLE other; CREATE ROLE watcher IN ROLE pg_monitor;
      GRANT USAGE ON SCHEMA net TO owner, other, watcher});
sql("SELECT net.http_request('GET', 'http://127.0.0.1:1/', max_attempts => 1)");
wait_for($node, q{SELECT last_error IS NOT NULL FROM net.host_status WHERE host = 'http://127.0.0.1:1'}, 't',
	'a failure is shown');
my $own = sql("SET ROLE owner; SELECT net.http_request('GET', 'http://127.0.0.1:1/', not_before => now() + interval '1 hour')");
sub hosts_for { return sql("SET ROLE $_[0]; SELECT count(*), count(last_error), (SELECT count(last_error) FROM net.worker_status) FROM net.host_status") }
is(hosts_for('owner'), '1|0|0', 'a role sees the host of its request');
is(hosts_for('other'), '0|0|0', 'another does not');
is(hosts_for('watcher'), '2|1|1', 'a member of pg_monitor sees all');
is(sql("SET ROLE owner; SELECT net.cancel_request($own)"), 't', 'a role cancels its request');

is(sql("SELECT net.cancel_request($slow)"), 't', 'it is cancelled');
is(sql(state_of($slow)), 'cancelled', 'which is recorded at once');
wait_for($node, 'SELECT in_flight FROM net.worker_status', '0', 'the worker gives it up');
is(sql("SELECT net.cancel_request($slow)"), 'f', 'it cannot be cancelled twice');

# A savepoint that is rolled back leaves the attempt alone.
my $kept = sql("SELECT net.http_get('" . $stub->url('/delay/1500/kept') . "')");
wait_for($node, state_of($kept), 'in_flight', 'another request is in flight');
sql("BEGIN; SAVEPOINT s; SELECT net.cancel_request($kept); ROLLBACK TO s; COMMIT");
wait_for($node, state_of($kept), 'succeeded', 'it ends as if nobody had cancelled it');
is(scalar($stub->requests('/delay/1500/kept')), 1, 'and was sent once');

# More than are told one by one.
my $many = 600;
sql("SELECT net.http_get('" . $stub->url('/later/') . "' || i) FROM generate_series(1, 10) AS i");
sql("SELECT net.http_request('GET', '" . $stub->url('/never/') . "' || i, not_before => now() + interval '1 hour')
       FROM generate_series(1, $many) AS i");
my $flying = sql("SELECT net.http_get('" . $stub->url('/delay/60000/flying') . "', timeout_milliseconds => 120000)");
wait_for($node, state_of($flying), 'in_flight', 'one of many is in flight');
is(sql('SELECT count(*) FROM (SELECT net.cancel_request(id) AS done FROM net.http_request_queue) AS c WHERE done'),
	$many + 1, 'many are cancelled in one transaction');
wait_for($node, 'SELECT in_flight FROM net.worker_status', '0', 'the worker gives up the one in flight');

# ---- why requests wait ---------------------------------------------------------------------------
sql("ALTER SYSTEM SET net.max_connections_per_host = 1");
sql("SELECT pg_reload_conf()");
sql("SELECT net.http_get('" . $stub->url('/delay/60000/') . "' || i, timeout_milliseconds => 120000) FROM generate_series(1, 3) AS i");
wait_for($node, q{SELECT state, reason, count(*) FROM net.requests WHERE url LIKE '%/delay/60000/_' GROUP BY 1, 2 ORDER BY 1},
	"in_flight||1\nwaiting|limit of its host|2", 'a limit of the host is a reason');
is(sql("SELECT limited FROM net.host_status WHERE host = '$host'"), 't', 'and shown');
sql("SELECT net.cancel_request(id) FROM net.requests WHERE state IN ('in_flight', 'waiting')");
wait_for($node, 'SELECT in_flight FROM net.worker_status', '0', 'all are cancelled');
sql("ALTER SYSTEM RESET net.max_connections_per_host");
sql("SELECT pg_reload_conf()");

sql("SELECT net.http_request('GET', 'http://127.0.0.1:1/', max_attempts => 1) FROM generate_series(1, 8)");
wait_for($node, "SELECT breaker FROM net.host_status WHERE host = 'http://127.0.0.1:1'", 'open', 'a breaker opens');
sql("SELECT net.http_request('GET', 'http://127.0.0.1:1/', max_attempts => 100)");
wait_for($node, q{SELECT reason FROM net.requests WHERE reason LIKE 'breaker%' LIMIT 1},
	'breaker of its host is open', 'and is a reason');
sql("SELECT net.cancel_request(id) FROM net.requests WHERE state IN ('in_flight', 'waiting', 'retrying')");

# ---- a transaction that has cancelled and stays open ---------------------------------------------
# Its row is locked: nobody else has to wait for that.
my $id = sql("SELECT net.http_get('" . $stub->url('/delay/1000/undecided') . "')");
wait_for($node, state_of($id), 'in_flight', 'a request is in flight');
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe("BEGIN; SELECT net.cancel_request($id)");
for my $i (1 .. 3)
{
	my $other = sql("SELECT net.http_get('" . $stub->url("/other/$i") . "')");
	wait_for($node, state_of($other), 'succeeded', "another request ends ($i)");
}
wait_for($node, 'SELECT in_flight FROM net.worker_status', '0', 'the undecided one has been answered');
sql("SELECT net.http_get('" . $stub->url('/other/4') . "')");
wait_for($node, "SELECT count(*) FROM net._http_response WHERE url LIKE '%/other/%'", '4', 'and others go on');
is(sql(state_of($id)), 'waiting', 'it is in the queue as long as nobody knows');
$session->query_safe('ROLLBACK');
wait_for($node, state_of($id), 'succeeded', 'its response is recorded when the transaction is rolled back');
is(scalar($stub->requests('/delay/1000/undecided')), 1, 'it was sent once');
$session->quit;

# ---- webhooks ------------------------------------------------------------------------------------
sql("CREATE TABLE item (id int); CREATE TRIGGER hook AFTER INSERT ON item FOR EACH ROW
     EXECUTE FUNCTION net.http_webhook('" . $stub->url('/echo') . "')");
sql('BEGIN; INSERT INTO item VALUES (1); ROLLBACK; INSERT INTO item VALUES (2)');
wait_for($node, q{SELECT content FROM net._http_response WHERE url LIKE '%/echo'},
	'{"type":"INSERT","table":"item","schema":"public","record":{"id":2},"old_record":null}',
	'a row that was committed is posted, one that was rolled back is not');
is(scalar($stub->requests('/echo')), 1, 'once');
sql(qq{SELECT cron.schedule('hooked', '0 0 1 1 *', 'INSERT INTO item VALUES (3)'); SELECT cron.run_job('hooked')});
wait_for($node, q{SELECT jobname, status, requests, succeeded FROM cron.run_requests}, 'hooked|succeeded|1|1',
	'the requests of a run are counted for it');

is(log_count($node, qr/lock timeout/), 0, 'nobody has waited for a lock');
done_testing();
