# The rows of ended requests leave the queue by where they were when they were read: those that have
# moved since, those of tables to which somebody has added a trigger, and ids that have a response.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('rows');
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }
sub state_of { return "SELECT state FROM net.requests WHERE id = $_[0]" }
sub get { return sql("SELECT net.http_get('" . $stub->url($_[0]) . "')") }
sub worked_off { wait_for($node, 'SELECT count(*) FROM net.http_request_queue', '0', $_[0]) }

# ---- moved ---------------------------------------------------------------------------------------
my $moved = get('/delay/2000/moved');
wait_for($node, state_of($moved), 'in_flight', 'a request is in flight');
my $place = sql("SELECT ctid FROM net.http_request_queue WHERE id = $moved");
sql("UPDATE net.http_request_queue SET ready_at = ready_at - interval '1 s' WHERE id = $moved");
isnt(sql("SELECT ctid FROM net.http_request_queue WHERE id = $moved"), $place, 'a superuser moves its row');
sql('VACUUM net.http_request_queue');
my $later = sql("SELECT net.http_request('GET', 'http://127.0.0.1:1/', not_before => now() + interval '1 hour')");
is(sql("SELECT ctid FROM net.http_request_queue WHERE id = $later"), $place, 'another row takes its place');
wait_for($node, state_of($moved), 'succeeded', 'the request is recorded');
is(sql('SELECT id FROM net.http_request_queue'), $later, 'and the other row stays');
sql('DELETE FROM net.http_request_queue');

# ---- long values, which are in a table of their own -----------------------------------------------
my $url = $stub->url('/long?') . sql(q{SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1500) AS i});
my $long = sql("SELECT net.http_get('$url')");
worked_off('a long URL');
is(sql("SELECT url = '$url' AND state = 'succeeded' FROM net._http_response WHERE id = $long"), 't',
	'is passed on to the response');

# ---- a trigger of the owner's --------------------------------------------------------------------
sql(q{CREATE TABLE removed (id bigint);
      CREATE FUNCTION note_removed() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN INSERT INTO public.removed VALUES (old.id); RETURN NULL; END';
      CREATE TRIGGER noted AFTER DELETE ON net.http_request_queue FOR EACH ROW EXECUTE FUNCTION note_removed();
      ALTER TABLE net.http_request_queue ENABLE ALWAYS TRIGGER noted});
my $held = get('/delay/1000/held');
wait_for($node, state_of($held), 'in_flight', 'a request to be locked is in flight');
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe("BEGIN; SELECT FROM net.http_request_queue WHERE id = $held FOR UPDATE");
my @noted = (get('/status/200'), sql("SELECT net.http_get('$url')"));
wait_for($node, "SELECT count(*) FROM net._http_response WHERE id IN ($noted[0], $noted[1])", '2',
	'with a trigger on the queue requests are recorded beside a locked one');
is(sql("SELECT url = '$url' FROM net._http_response WHERE id = $noted[1]"), 't', 'with all their columns');
is(sql("SELECT created_by = 10, host LIKE 'http://127.0.0.1:%', requested_at < created, idempotency_key IS NOT NULL
          FROM net._http_response WHERE id = $noted[0]"), 't|t|t|t', 'of each type');
is(sql('SELECT id FROM net.http_request_queue'), $held, 'the locked one waits');
$session->query_safe('COMMIT');
$session->quit;
wait_for($node, state_of($held), 'succeeded', 'until it is unlocked');
is(sql('SELECT array_agg(id ORDER BY id) FROM removed'), '{' . join(',', sort { $a <=> $b } $held, @noted) . '}',
	'and the trigger has seen each');
sql('DROP TRIGGER noted ON net.http_request_queue');

# ---- many at once, in all indexes that need no executor -------------------------------------------
sql(q{CREATE INDEX few ON net._http_response (created, id) WHERE attempts = 1 AND status_code BETWEEN 200 AND 299;
      CREATE INDEX all_hosts ON net._http_response (host)});
sql("SELECT count(net.http_get('" . $stub->url('/status/') . "' || CASE WHEN i % 3 = 0 THEN 404 ELSE 200 END
             || '?' || repeat('x', i % 7 * 300))) FROM generate_series(1, 600) AS i");
worked_off('600 requests');
for my $rows ('attempts = 1 AND status_code BETWEEN 200 AND 299 AND created > now() - interval \'1 day\'',
	"host LIKE 'http%'", 'id > 0', 'created > now() - interval \'1 day\'')
{
	my ($all, $found) = map { sql("SET enable_seqscan = $_->[0]; SET enable_indexscan = $_->[1]; SET enable_bitmapscan = off;
		SET enable_indexonlyscan = $_->[1]; SELECT count(*) || ' ' || sum(length(url)) FROM net._http_response WHERE $rows") }
		['on', 'off'], ['off', 'on'];
	is($found, $all, "an index has all rows: $rows");
}
is(sql('SELECT count(DISTINCT id), count(*) FILTER (WHERE status_code = 404) FROM net._http_response
         WHERE url LIKE \'%/status/%?%\''), '600|200', 'each is recorded once');
sql('DROP INDEX net.few, net.all_hosts');

# ---- indexes of the owner's -----------------------------------------------------------------------
sql(q{CREATE INDEX ON net.http_request_queue (lower(url));
      CREATE INDEX ON net._http_response (length(url), id) WHERE status_code BETWEEN 200 AND 299;
      CREATE INDEX ON net._http_response (method) WHERE error_msg IS NULL;
      CREATE INDEX ON net._http_response (host) WHERE error_msg IS NOT NULL});
sql("SELECT net.http_request('GET', 'http://127.0.0.1:1/', not_before => now() + interval '1 hour')");
get('/status/200');
sql("SELECT net.http_request('GET', 'http://127.0.0.1:1/', max_attempts => 1)");
wait_for($node, 'SELECT count(*) FROM net.http_request_queue', '1', 'the tables have indexes of other kinds');
for my $rows ("net.http_request_queue WHERE lower(url) > ''",
	'net._http_response WHERE length(url) > 0 AND status_code BETWEEN 200 AND 299',
	"net._http_response WHERE method = 'GET' AND error_msg IS NULL",
	"net._http_response WHERE host LIKE 'http%' AND error_msg IS NOT NULL")
{
	my ($all, $found) = map { sql("SET enable_seqscan = $_->[0]; SET enable_indexscan = $_->[1]; SET enable_bitmapscan = off;
		SELECT count(*) FROM $rows") } ['on', 'off'], ['off', 'on'];
	cmp_ok($all, '>', 0, "there are rows: $rows");
	is($found, $all, 'and the index has them');
}
like(sql("SET enable_seqscan = off; EXPLAIN SELECT FROM net._http_response WHERE host LIKE 'http%' AND error_msg IS NOT NULL"),
	qr/_http_response_host_idx/, 'which is used');
sql('DELETE FROM net.http_request_queue');

# ---- ids for the second time -----------------------------------------------------------------------
my $first = sql("SELECT min(id) FROM net._http_response");
my $before = sql("SELECT url || created FROM net._http_response WHERE id = $first");
sql("SELECT setval('net.http_request_queue_id_seq', $first, false);
     DELETE FROM net._http_response WHERE id > $first");
my @again = split /\n/, sql("SELECT net.http_get('" . $stub->url('/again/') . "' || i) FROM generate_series(1, 3) AS i");
is($again[0], $first, 'an id that has a response is given again');
worked_off('nobody waits for it');
is(sql("SELECT count(*) FROM net._http_response WHERE id IN ($again[1], $again[2]) AND status_code = 200"), '2',
	'the others are recorded');
is(sql("SELECT url || created FROM net._http_response WHERE id = $first"), $before, 'and the old response stays');

done_testing();
