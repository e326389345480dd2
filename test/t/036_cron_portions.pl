# Claims of many occurrences are written in portions. A run whose row goes when it succeeds is not claimed again
# if the server ends between two of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('portions', autovacuum => 'on');
$node->start;
install($node);
# Some minutes ago, each day.
my ($first, $last) = map { $node->safe_psql('postgres',
	"SELECT to_char(now() AT TIME ZONE 'UTC' - interval '$_ minutes', 'MI HH24') || ' * * *'") } 5, 3;

# The last portion has the run of the job "last", which cannot be claimed as long as a table says so.
my $jobs = 100;
refuse_rows_of($node, 'last');
$node->safe_psql('postgres', qq{
	CREATE TABLE effect (note text);
	SELECT cron.schedule('early ' || i, '$first', format('INSERT INTO effect VALUES (%L)', i)) FROM generate_series(1, $jobs) i;
	SELECT cron.schedule('last', '$last', 'INSERT INTO effect VALUES (0)');
	SELECT cron.configure_job(jobid, timezone => 'UTC', missed => 'once', catchup_window => '1 hour',
	                          log_runs => CASE jobname WHEN 'last' THEN 'all' ELSE 'failures' END) FROM cron.job;
	UPDATE cron.job SET planned_from = now() - interval '1 hour';
	UPDATE cron.scheduler_state SET planned_until = now() - interval '1 hour'});
kill_server($node);
$node->start;
wait_for($node, 'SELECT last_value > 2 FROM tries', 't', 'the last portion fails');
# What was claimed has ended.
wait_for($node, q{SELECT count(*) FROM cron.job_run_details}, '0', 'nothing is under way');
kill_server($node);
$node->start;
$node->safe_psql('postgres', 'DELETE FROM broken');
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'}, '1', 'it does not fail any more');
wait_for($node, q{SELECT count(DISTINCT note) FROM effect}, $jobs + 1, 'all run');
is($node->safe_psql('postgres', 'SELECT count(*) FROM effect'), $jobs + 1, 'each once');
is($node->safe_psql('postgres', 'SELECT * FROM cron.check_invariants()'), '', 'nothing is violated');

$node->stop;
done_testing();
