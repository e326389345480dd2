# Preloaded as pg_net, the http worker of one database is always there, with or without the extension.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

plan skip_all => 'make install-compat was not run, or another pg_net is installed' if !names_are_installed();

my $stub = HttpStub->new;
my $node = new_node('worker', shared_preload_libraries => "'pg_net'");
$node->start;
sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql) }

my $workers = q{SELECT datname FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%' ORDER BY 1};
sub worker { return ask($node, $_[0] // 'postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type ILIKE '%pg_net%'}) // '' }
sub wait_for_another
{
	my ($pid, $what) = @_;
	wait_until(sub { my $now = worker(); return $now =~ /^\d+$/ && $now ne $pid }, $what);
	return worker();
}

# ---- without the extension --------------------------------------------------------------------
wait_for($node, $workers, 'postgres', 'the http worker is there before the extension');
my $pid = worker();
wait_for($node, q{SELECT state FROM pg_stat_activity WHERE backend_type = 'pg_net worker'}, 'idle', 'idle');
sql('CREATE DATABASE other');

# ---- CREATE and DROP ----------------------------------------------------------------------------
sql('CREATE EXTENSION pg_net');
sql("SELECT net.http_get('" . $stub->url('/echo/first') . "')");
wait_for($node, 'SELECT status_code FROM net._http_response', '200', 'it sends as soon as the extension is there');
is(worker(), $pid, 'the same process');
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%pg_net%'}), '1',
	'which is the only one of that name');

sql("SELECT net.http_get('" . $stub->url('/delay/1500/dropped') . "')");
wait_until(sub { scalar $stub->requests('/delay/1500/dropped') }, 'a request is in flight');
sql('DROP EXTENSION pg_net');
is(worker(), $pid, 'it outlives DROP EXTENSION');
sql('CREATE EXTENSION pg_net');
# Those of the former extension had the numbers 1 and 2.
sql("SELECT net.http_request('GET', '" . $stub->url('/status/201') . "', not_before => now() + '3 seconds') FROM generate_series(1, 2)");
wait_for($node, 'SELECT id, status_code FROM net._http_response ORDER BY 1', "1|201\n2|201",
	'what was in flight of the former extension is no answer to requests of the new one');
is(worker(), $pid, 'still the same process');
wait_for($node, 'SELECT sent FROM net.worker_status', '2', 'which counts for the new one only');

sql('CREATE EXTENSION securatlas_sched; DROP EXTENSION securatlas_sched CASCADE; CREATE EXTENSION securatlas_sched');
sql("SELECT net.http_get('" . $stub->url('/echo/third') . "')");
wait_for($node, 'SELECT status_code FROM net._http_response', '200', 'and sends for securatlas_sched');
is(worker(), $pid, 'as the same process');

# ---- when it ends -------------------------------------------------------------------------------
sql("SELECT pg_terminate_backend($pid)");
wait_until(sub { worker() eq '' }, 'it can be ended');
like(ask_error('SELECT net.check_worker_is_up()'), qr/the http worker of this database is not running/,
	'net.check_worker_is_up() says so, though there is a scheduler');
sql('SELECT net.wait_until_running()');
$pid = wait_for_another($pid, 'net.wait_until_running() waits for the next one');
is(sql('SELECT net.worker_restart()'), 't', 'net.worker_restart() ends it');
$pid = wait_for_another($pid, 'and another one comes');
sql("ALTER SYSTEM SET net.send_requests = off; SELECT net.worker_restart()");
$pid = wait_for_another($pid, 'also if it may not send');
sql('ALTER SYSTEM RESET net.send_requests');
$node->reload;

# ---- other databases ----------------------------------------------------------------------------
sql('CREATE EXTENSION pg_net', 'other');
sql('SELECT net.check_worker_is_up()', 'other');
is(sql($workers), 'postgres', 'no http worker without requests in another database');
sql("SELECT net.http_get('" . $stub->url('/echo/other') . "')", 'other');
wait_for($node, 'SELECT status_code FROM net._http_response', '200', 'which has its own when it has requests', 'other');

sql(q{ALTER SYSTEM SET pg_net.database_name = 'other'});
$node->reload;
wait_for($node, $workers, 'other', 'pg_net.database_name says which one is kept');
sql("SELECT net.http_get('" . $stub->url('/echo/fourth') . "')");
wait_for($node, 'SELECT count(*) FROM net._http_response', '2', 'the former sends when it has something to send');
sql('ALTER DATABASE other RENAME TO renamed');
wait_for($node, $workers, '', 'none is kept in a database that is not there any more');
sql('ALTER DATABASE renamed RENAME TO other');
wait_for($node, $workers, 'other', 'but again when it is');
sql('DROP EXTENSION pg_net', 'other');
sql('CREATE DATABASE copy TEMPLATE other');
sql('DROP DATABASE other');
is(sql($workers), '', 'the database can be copied and dropped');
sql(q{ALTER SYSTEM SET pg_net.database_name = ''; SELECT pg_reload_conf()});
sql('CREATE DATABASE other');
sql("SELECT net.http_get('" . $stub->url('/echo/fifth') . "')");
wait_for($node, 'SELECT count(*) FROM net._http_response', '3', 'requests are sent without a kept http worker');
is(sql($workers), 'postgres', 'and there is none but theirs');
is(log_count($node, 'FATAL:  database'), 0, 'none was started for a database that is not there');

$node->stop;
done_testing();

sub ask_error { my ($sql) = @_; my ($rc, $out, $err) = $node->psql('postgres', $sql); return $err }
