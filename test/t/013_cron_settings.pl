# Settings of a database or role (ALTER DATABASE/ROLE ... SET): scheduler and http worker are not
# affected, and a run always executes as its job's role.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('settings', max_worker_processes => 20);
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE owner LOGIN; CREATE ROLE nobody; GRANT nobody TO owner;
	CREATE DATABASE hosted OWNER owner});
install($node, 'hosted');
$node->safe_psql('hosted', q{
	GRANT USAGE ON SCHEMA cron TO owner;
	CREATE TABLE public.who (name name, at timestamptz); GRANT INSERT ON public.who TO PUBLIC});
$node->safe_psql('hosted', q{SELECT cron.schedule('who', '1 second',
	'INSERT INTO public.who VALUES (current_user, clock_timestamp())')}, extra_params => [ '-U', 'owner' ]);
my %set = (
	role => 'nobody', search_path => 'nowhere', DateStyle => 'German', IntervalStyle => 'sql_standard',
	TimeZone => "'Asia/Kolkata'", bytea_output => 'escape', extra_float_digits => '-15', work_mem => "'64kB'",
	enable_indexscan => 'off', enable_seqscan => 'off', enable_nestloop => 'off', xmlbinary => 'hex',
	array_nulls => 'off', standard_conforming_strings => 'off');
$node->safe_psql('hosted', join(' ', map { "ALTER DATABASE hosted SET $_ = $set{$_};" } sort keys %set),
	extra_params => [ '-U', 'owner' ]);
# Of the role that scheduler and http worker are connected as.
$node->safe_psql('postgres', join(' ', map { "ALTER ROLE postgres IN DATABASE hosted SET $_;" }
	"statement_timeout = '1ms'", "idle_in_transaction_session_timeout = '1ms'", 'default_transaction_read_only = on',
	"default_transaction_isolation = serializable", "session_replication_role = origin", "log_statement = 'all'"));
$node->restart;

$ENV{PGOPTIONS} = '-c role=none -c search_path=public -c statement_timeout=0 -c DateStyle=ISO'
  . ' -c standard_conforming_strings=on -c default_transaction_read_only=off -c idle_in_transaction_session_timeout=0';
my $restarted = $node->safe_psql('hosted', 'SELECT clock_timestamp()');
wait_for($node, "SELECT count(*) > 1 FROM who WHERE at > '$restarted'", 't', 'jobs run although the database and their roles have hindering settings', 'hosted');
is($node->safe_psql('hosted', 'SELECT DISTINCT name FROM who'), 'owner', 'jobs run as their role although the database sets another role');
wait_for($node, "SELECT count(*) > 1 FROM cron.job_run_details WHERE status = 'succeeded' AND start_time > '$restarted'",
	't', 'the history records the runs although settings hinder the scheduler', 'hosted');
my $id = $node->safe_psql('hosted', q{SELECT net.http_get('http://127.0.0.1:1/')});
wait_for($node, "SELECT count(*) FROM net._http_response WHERE id = $id", '1', 'requests are sent although settings hinder the http worker', 'hosted');
delete $ENV{PGOPTIONS};

$node->stop;
done_testing();
