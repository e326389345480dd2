# Missed occurrences are told once, even if the scheduler ends before it has recorded all of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('missed', autovacuum => 'on');
$node->start;
install($node);
# Five minutes ago, each day: once an hour would do, but for the hour that may end meanwhile.
my $schedule = $node->safe_psql('postgres', q{SELECT to_char(now() AT TIME ZONE 'UTC' - interval '5 minutes', 'MI HH24') || ' * * *'});
$node->safe_psql('postgres', qq{
	CREATE TABLE heard (event jsonb);
	CREATE FUNCTION hear(event jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.heard VALUES (event)';
	SELECT cron.add_alert('missed', '{missed}', function => 'hear(jsonb)', remind_after => '0');
	SELECT cron.schedule('left out', '$schedule', 'SELECT 1'), cron.schedule('made up for', '$schedule', 'SELECT 1');
	SELECT cron.configure_job('left out', timezone => 'UTC', missed => 'skip'),
	       cron.configure_job('made up for', timezone => 'UTC', missed => 'once', catchup_window => '1 hour')});
my $told = q{SELECT string_agg(event->>'job' || ' ' || (event->>'count'), ', ' ORDER BY event->>'job') FROM heard};

# As after a crash before the last portion was written: rows are there, and planned_until is old.
for my $time ('the first scheduler', 'the next one')
{
	$node->safe_psql('postgres', q{UPDATE cron.job SET planned_from = now() - interval '1 hour';
		UPDATE cron.scheduler_state SET planned_until = now() - interval '1 hour'});
	kill_server($node);
	$node->start;
	wait_for($node, q{SELECT planned_until > now() - interval '1 minute' FROM cron.scheduler_status}, 't', "$time has planned");
	wait_for($node, q{SELECT count(*) FROM cron.alert_event}, '0', 'and told');
	is($node->safe_psql('postgres', $told), 'left out 1, made up for 1', "$time: each is told once");
}
is($node->safe_psql('postgres', q{SELECT string_agg(status, ', ' ORDER BY jobname) FROM cron.job_run_details}), 'skipped, succeeded', 'as each has one row');

# ---- jobs without rows ---------------------------------------------------------------------------

# Nothing in the tables says that an occurrence of such a job was missed, but for planned_until. The scheduler
# writes in portions of a few hundred; here the last one, which has the only row, fails as long as a table says so.
my $jobs = 450;
my $later = $node->safe_psql('postgres', q{SELECT to_char(now() AT TIME ZONE 'UTC' - interval '3 minutes', 'MI HH24') || ' * * *'});
refuse_rows_of($node, 'last');
$node->safe_psql('postgres', qq{
	SELECT cron.unschedule(jobid) FROM cron.job;
	TRUNCATE heard;
	SELECT cron.schedule('unlogged ' || i, '$schedule', 'SELECT 1') FROM generate_series(1, $jobs) i;
	SELECT cron.schedule('last', '$later', 'SELECT 1');
	SELECT cron.configure_job(jobid, timezone => 'UTC', missed => 'skip', log_runs => CASE jobname WHEN 'last' THEN 'all' ELSE 'none' END)
	  FROM cron.job;
	UPDATE cron.job SET planned_from = now() - interval '1 hour';
	UPDATE cron.scheduler_state SET planned_until = now() - interval '1 hour'});
kill_server($node);
$node->start;
wait_for($node, 'SELECT last_value > 2 FROM tries', 't', 'the last portion fails');
wait_for($node, q{SELECT count(*) FROM cron.alert_event}, '0', 'and what was told before is told');
kill_server($node);
$node->start;
$node->safe_psql('postgres', 'DELETE FROM broken');
wait_for($node, q{SELECT planned_until > now() - interval '1 minute' FROM cron.scheduler_state}, 't', 'it does not fail any more');
wait_for($node, q{SELECT count(*) FROM cron.alert_event}, '0', 'and all is told');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT event->>'job'), sum((event->>'count')::int) FROM heard}),
	join('|', ($jobs + 1) x 3), 'of jobs without rows, too, each is told once');

$node->stop;
done_testing();
