# The SecurAtlas jobs as they run at night: scores by the scheduler, then a request for each
# connection that is due.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use JSON::PP qw(decode_json);
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('securatlas');
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Runs a job now, and returns the run when it has succeeded.
sub run_job
{
	my ($name) = @_;
	my $run = sql("SELECT cron.run_job('$name')");
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', "$name runs");
	return $run;
}

sql('SELECT securatlas.install()');
sql('SELECT securatlas.load_demo(20)');
sql("ALTER DATABASE postgres SET app.settings.edge_function_url = '" . $stub->url('/functions/v1') . "'");
sql("ALTER DATABASE postgres SET app.settings.service_role_key = 'not-a-real-key'");
sql('TRUNCATE tenant_risk_snapshots');

run_job('nightly_risk_recompute');
is( sql("SELECT string_agg(DISTINCT snapshot_type, ','), count(*) = count(DISTINCT tenant_id), count(*) > 0
           FROM tenant_risk_snapshots"),
	'nightly|t|t', 'inside a run a snapshot is a nightly one, one a tenant');

my $run = run_job('securatlas_nightly_integration_sync');
my $asked = sql('SELECT count(*) FROM integration_sync_jobs');
cmp_ok($asked, '>', 0, "connections are due ($asked)");
wait_for($node, 'SELECT count(*) FROM integration_sync_jobs j JOIN net._http_response r ON r.id = j.request_id
                  WHERE r.status_code = 200', $asked, 'each has its response');
is(sql("SELECT count(*) FROM net._http_response WHERE runid IS DISTINCT FROM $run"), '0',
	'which knows the run that asked');
my @requests = $stub->requests('/functions/v1/trigger-sync');
is(scalar(@requests), $asked, 'and was asked for once');
is(scalar(grep { $_->{headers}{authorization} ne 'Bearer not-a-real-key' } @requests), 0, 'with the key');
is( join(',', sort map { my $body = decode_json($_->{body}); "$body->{connection_id} $body->{sync_job_id}" } @requests),
	sql("SELECT string_agg(connection_id || ' ' || id, ',' ORDER BY (connection_id || ' ' || id) COLLATE \"C\")
	       FROM integration_sync_jobs"),
	'for the right connections');

wait_for($node, "SELECT count(*) FROM integration_sync_jobs WHERE status = 'dispatched' AND attempts = 1 AND dispatched_at IS NOT NULL",
	$asked, 'the answers make the sync jobs dispatched');

run_job('securatlas_nightly_integration_sync');
is(sql('SELECT count(*) FROM integration_sync_jobs'), $asked, 'what is in progress is not asked for again');
$node->stop;
done_testing();
