# The http worker runs out of memory at one point after another: it starts again, and no request is
# lost.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use NoMemory;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $memory = NoMemory->new or plan skip_all => 'no compiler here';
my $stub = HttpStub->new;
my $node = new_node('memory', autovacuum => 'on');
$memory->start($node);
install($node);
$node->safe_psql('postgres', 'CREATE ROLE alice LOGIN; GRANT USAGE ON SCHEMA net TO alice');
sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', $role ]);
}

# One that answers, one that answers late, one that nobody answers, and at times one that is tried again.
sub ask_all
{
	my ($round) = @_;
	my @urls = ($stub->url("/echo/$round"), $stub->url("/delay/20/$round"), 'http://127.0.0.1:' . ($round % 900 + 1) . '/');
	push @urls, $stub->url("/flaky/1/503/$round") if $round % 4 == 0;
	return as('alice', "SELECT count(net.http_request('GET', url, headers => '{\"X-A\": \"b\"}', max_attempts => 2)) FROM unnest(ARRAY['"
		  . join("', '", @urls)
		  . "']) AS url");
}
my $requests = ask_all(0);
wait_for($node, 'SELECT count(*) FROM net._http_response', $requests, 'requests are answered');
my ($worker) = our_pids($node, 'http worker');
my @moments = (1 .. 5, map { $_ * $_ } 3 .. 15);
for my $moment (@moments)
{
	$memory->fail_at($worker, $moment);
	$requests += ask_all($moment);
	$node->poll_query_until('postgres', "SELECT count(*) = $requests FROM net._http_response")
	  or die "requests are lost when allocation $moment fails";
	$memory->fail_at($worker, 0);
}
is($node->safe_psql('postgres', 'SELECT count(*), (SELECT count(*) FROM net.http_request_queue) FROM net._http_response'), "$requests|0",
	'every request has its end');
cmp_ok($memory->failed, '>', @moments / 2, 'memory was missing (' . $memory->failed . ' times)');
cmp_ok(log_count($node, 'http worker: starts anew: out of memory'), '>', 0, 'the worker began anew');
is((our_pids($node, 'http worker'))[0], $worker, 'and is the same process');
is(log_count($node, 'terminated by signal'), 0, 'no process has died');

$node->stop;
done_testing();
