# Requests do not slow down others: highly compressed bodies, endless bodies. The engine is a
# library that only the http worker loads.
use strict;
use warnings;
use File::Copy qw(copy);
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my ($bombs, $stub) = (HttpStub->new, HttpStub->new);
my $node = new_node('bounds', autovacuum => 'on');
$node->start;
install($node);
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN;
	GRANT USAGE ON SCHEMA net TO mallory, alice');

sub as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");
}

# ---- bodies that are too long --------------------------------------------------------------------
# Made ready before it counts.
as('mallory', "SELECT net.http_get('" . $bombs->url('/gzip/400000000') . "', timeout_milliseconds => 60000)");
wait_for($node, 'SELECT count(*) FROM net._http_response', '1', 'a body of 400 MB in 400 kB ends');
as('mallory', "SELECT net.http_get('" . $bombs->url('/gzip/400000000') . "', timeout_milliseconds => 60000) FROM generate_series(1, 20)");
as('alice', "SELECT net.http_get('" . $stub->url("/$_") . "', timeout_milliseconds => 2000)") for 1 .. 20;
wait_for($node, 'SELECT count(*) FROM net._http_response', '41', 'and so do twenty of them');
is(as('alice', "SELECT count(*), bool_and(status_code = 200) FROM net._http_response"), '20|t',
	'requests of another role have their answers meanwhile');
is(as('mallory', "SELECT DISTINCT status_code, length(content), truncated, timed_out, error_msg FROM net._http_response"),
	'200|1048576|t|f|', 'what was kept of the long bodies is recorded');

my $endless = $node->safe_psql('postgres', "SELECT net.http_get('" . $stub->url('/endless-body') . "', timeout_milliseconds => 60000)");
wait_for($node, "SELECT status_code, length(content), truncated FROM net._http_response WHERE id = $endless",
	'200|1048576|t', 'a body that never ends is recorded when it is cut');

# ---- libcurl -------------------------------------------------------------------------------------
sub has_curl
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/maps") =~ /libcurl/ ? 'yes' : 'no';
}
my $session = $node->background_psql('postgres', on_error_stop => 1);
my $backend = $session->query_safe("SELECT net.http_get('" . $stub->url('/delay/60000') . "', timeout_milliseconds => 60000); SELECT pg_backend_pid()");
$backend =~ s/^\d+\n//;
wait_for($node, 'SELECT in_flight FROM net.worker_status', '1', 'a request is under way');
is(has_curl((our_pids($node, 'http worker'))[0]), 'yes', 'the http worker has libcurl');
is(has_curl($backend), 'no', 'a backend that makes requests has none');
is(has_curl($node->{_pid}), 'no', 'nor has the postmaster');
is(has_curl($_), 'no', 'nor any other process of the extension') for our_pids($node, 'launcher'), our_pids($node, 'scheduler');
$session->quit;

# After an update of the files the server has the old one of the two libraries in memory. Here another
# library of PostgreSQL has the name of the new one.
my $elsewhere = PostgreSQL::Test::Utils::tempdir;
chomp(my $libdir = `pg_config --pkglibdir`);
copy("$libdir/plpgsql.so", "$elsewhere/securatlas_sched_http.so") or die "copy: $!";
sub set_path
{
	my ($path) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET dynamic_library_path = '$path'");
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	$node->poll_query_until('postgres', "SELECT current_setting('dynamic_library_path') = '$path'") or die;
	return;
}
set_path("$elsewhere:\$libdir");
$node->safe_psql('postgres', 'SELECT net.worker_restart()');
my $later = $node->safe_psql('postgres', "SELECT net.http_get('" . $stub->url('/later') . "')");
wait_until(sub { log_count($node, 'library securatlas_sched_http is of another version') > 0 }, 'the log says that it is another one');
wait_for($node, "SELECT reason FROM net.requests WHERE id = $later", 'the http worker is not running', 'requests wait meanwhile');
set_path('$libdir');
wait_for($node, "SELECT status_code FROM net._http_response WHERE id = $later", '200', 'and are sent when it is there');
$node->stop;
done_testing();
