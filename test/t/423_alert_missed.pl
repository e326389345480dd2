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

$node->stop;
done_testing();
