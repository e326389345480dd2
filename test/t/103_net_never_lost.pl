# The promise of the queue, with kill -9 of the http worker and of the server at any moment: every
# committed request is sent, with the same key in each attempt, and gets one response; requests that
# were rolled back are never sent.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

use constant ROUNDS => 20;
use constant REQUESTS => 40;

my $stub = HttpStub->new;
my $node = new_node('lost', fsync => 'off');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE TABLE made (n int PRIMARY KEY, id bigint NOT NULL);
	CREATE TABLE counter (n int);
	INSERT INTO counter VALUES (0)});

my $seed = $ENV{SEED} // time();
note "SEED=$seed";
srand($seed);

# Sends statements that make requests and may be cut off by the death of the server: each either
# commits its requests and their rows of `made`, or neither. Every third one is rolled back.
sub start_client
{
	my ($round) = @_;
	my $sql = '';
	for my $i (1 .. REQUESTS)
	{
		my $n = $round * 1000 + $i;
		my $rolled_back = $i % 3 == 0;
		my $path = $rolled_back ? '/rolled-back' : ($i % 4 == 0 ? "/delay/50/$n" : "/sent/$n");
		my $url = $stub->url($path);
		$sql .= "BEGIN; INSERT INTO made SELECT $n, net.http_post('$url', '{\"n\": $n}'); "
		  . ($rolled_back ? 'ROLLBACK' : 'COMMIT') . ";\n";
	}
	my $file = $node->basedir . "/client_$round.sql";
	append_to_file($file, $sql);
	return IPC::Run::start(
		[ 'psql', '-X', '-q', '-A', '-t', '-f', $file, '-d', $node->connstr('postgres') ],
		'<', '/dev/null', '>', '/dev/null', '2>', '/dev/null');
}

sub sql { return $node->safe_psql('postgres', $_[0]) }

my %killed = (worker => 0, server => 0);
for my $round (1 .. ROUNDS)
{
	my $client = start_client($round);
	my $pid;
	wait_until(sub { ($pid) = our_pids($node, 'http worker'); return $pid }, 'an http worker');
	# The moment is random on purpose: it is not to matter.
	select(undef, undef, undef, rand(0.1));
	if ($round % 2)
	{
		kill_process($node, $pid) or die "kill: $!";
		$killed{worker}++;
		eval { $client->finish };
	}
	else
	{
		kill_server($node);
		$killed{server}++;
		eval { $client->finish };
		$node->start;
	}
}
cmp_ok($killed{worker}, '>', 0, "http workers were killed ($killed{worker})");
cmp_ok($killed{server}, '>', 0, "servers were killed ($killed{server})");
wait_for($node, 'SELECT count(*) FROM net.http_request_queue', '0', 'the queue is worked off');
invariants_hold($node, 'after the crashes');

my $made = sql('SELECT count(*) FROM made');
cmp_ok($made, '>', ROUNDS, "there were requests ($made)");
is(sql('SELECT count(*) FROM made m WHERE NOT EXISTS (SELECT FROM net._http_response r WHERE r.id = m.id)'), '0',
	'each committed request has a response');
is(sql('SELECT count(*) FROM net._http_response r WHERE NOT EXISTS (SELECT FROM made m WHERE m.id = r.id)'), '0',
	'and nothing else has');
is(sql('SELECT count(*) FROM net._http_response WHERE status_code IS DISTINCT FROM 200'), '0', 'all were answered');

my (%keys, %seen);
for my $request ($stub->requests)
{
	if ($request->{path} eq '/rolled-back') { $seen{rolled_back}++; next }
	my ($n) = $request->{body} =~ /"n": (\d+)/;
	$seen{$n}++;
	$keys{$n}{ $request->{headers}{'idempotency-key'} } = 1;
}
is($seen{rolled_back}, undef, 'what was rolled back was not sent');
my @made = split /\n/, sql('SELECT n FROM made');
is(scalar(grep { !$seen{$_} } @made), 0, 'each committed request arrived');
my %is_made = map { $_ => 1 } @made;
is(scalar(grep { !$is_made{$_} } keys %keys), 0, 'and none that did not commit');
is(scalar(grep { keys %{ $keys{$_} } != 1 } keys %keys), 0, 'with one key at all its attempts');
my $again = grep { $seen{$_} > 1 } @made;
note "$again of $made requests arrived more than once";

# ---- requests of a clock that was ahead ------------------------------------------------------

# As a clock that is an hour ahead writes them; one is wanted for a time of its own. Those that were made
# before are to be tried again; a response may have asked for a pause, but of an hour at most.
$node->safe_psql('postgres', 'ALTER SYSTEM SET net.send_requests = off; SELECT pg_reload_conf()');
wait_for($node, 'SHOW net.send_requests', 'off', 'nothing is sent');
my ($at_once, $later) = map { sql("SELECT net.http_request('GET', '${\$stub->url($_->[0])}', not_before => $_->[1])") }
	([ '/at-once', 'NULL' ], [ '/later', q{now() + interval '1 hour'} ]);
sql("UPDATE net.http_request_queue SET created = created + interval '1 hour', ready_at = ready_at + interval '1 hour'");
my %again = map { $_ => sql("SELECT net.http_get('${\$stub->url('/again')}')") } qw(made unsent answered asked);
sub put_off
{
	my ($id, $created, $attempts, $error, $ready_at) = @_;
	sql("UPDATE net.http_request_queue SET created = created + interval '$created', attempts = $attempts,
		max_attempts = 20, last_error = '$error', ready_at = now() + interval '$ready_at' WHERE id = $id");
}
put_off($again{made}, '1 hour', 3, 'status 503', '61 minutes');
put_off($again{unsent}, '0', 11, 'it could not be sent', '35 minutes');
put_off($again{answered}, '0', 2, 'status 503', '61 minutes');
put_off($again{asked}, '0', 2, 'status 503', '59 minutes');
my $waits = sql("SELECT net.http_get('${\$stub->url('/waits')}')");
put_off($waits, '0', 11, 'it could not be sent', '15 minutes');
kill_server($node);
$node->start;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET net.send_requests; SELECT pg_reload_conf()');
# That there is something to send, the scheduler is told by a request.
sql("SELECT net.http_get('${\$stub->url('/now')}')");
wait_for($node, "SELECT count(*) FROM net._http_response WHERE id = $at_once", '1',
	'a request that a clock made that was ahead is sent when the clock is right again');
is(sql("SELECT count(*) FROM net.http_request_queue WHERE id = $later AND ready_at > now() + interval '1 hour'"), '1',
	'one that is wanted for a later time waits for it');
wait_for($node, "SELECT count(*) FROM net._http_response WHERE id = $again{$_}", '1',
	"one to be tried again that waits for that clock is, too: $_")
  for qw(made unsent answered);
is(sql("SELECT count(*) FROM net.http_request_queue WHERE id IN ($again{asked}, $waits) AND ready_at > now() + interval '10 minutes'"),
	'2', 'pauses between attempts are kept');

done_testing();
