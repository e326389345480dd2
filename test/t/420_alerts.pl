# Alerts: what happened is told to a channel and a function, once, then with how often, then that it
# is over; by roles that may see it only, and exactly once in effect over kill -9.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('alerts', autovacuum => 'on');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE plain LOGIN;
	CREATE ROLE other LOGIN;
	CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	GRANT USAGE ON SCHEMA cron, net TO plain, other, watcher;
	GRANT CREATE ON SCHEMA public TO plain, other, watcher;
	CREATE TABLE heard (who text, session_role text, event jsonb, at timestamptz DEFAULT clock_timestamp());
	GRANT SELECT, INSERT ON heard TO plain, other, watcher;
	CREATE FUNCTION hear(event jsonb) RETURNS void LANGUAGE sql AS
		'INSERT INTO public.heard VALUES (current_user, session_user, event)';
	CREATE TABLE switch (broken boolean);
	INSERT INTO switch VALUES (true);
	GRANT SELECT ON switch TO plain, other;
	CREATE FUNCTION work() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT broken FROM public.switch) THEN RAISE EXCEPTION 'the disk is tired'; END IF;
	END $$;});

sub psql_as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', "SET SESSION AUTHORIZATION $role; $sql");
}
sub heard
{
	my ($who, $event, $columns) = @_;
	return "SELECT $columns FROM heard WHERE who = '$who' AND event->>'event' = '$event'";
}

# ---- a failure, again and again, and its end ---------------------------------------------------

psql_as($_, "SELECT cron.add_alert('mine', '{failed,recovered}', function => 'hear(jsonb)', remind_after => '1 day')")
	for qw(plain other watcher);
psql_as('plain', q{SELECT cron.schedule('night work', '1 second', 'SELECT work()')});
wait_for($node, heard('plain', 'failed', 'count(*)'), '1', 'the owner of the job is told');
wait_for($node, heard('watcher', 'failed', 'count(*)'), '1', 'and who sees all jobs');
my $told = $node->safe_psql('postgres', heard('plain', 'failed', q{event->>'text'}));
like($told, qr/^job 'night work' failed at 2\d{3}-.*\+00: run \d+, P0001 the disk is tired\. See: SELECT \* FROM cron\.job_run_details WHERE runid = \d+$/,
	'the message says what, when and where to look');
is($node->safe_psql('postgres', heard('plain', 'failed', q{session_role, event->>'job', event->>'alert', event->>'sqlstate', event->>'count'})),
	'plain|night work|mine|P0001|1', 'in a session of the role of the alert');
wait_for($node, q{SELECT count >= 3 FROM cron.alert_incident i JOIN cron.alert a USING (alertid) WHERE a.username = 'plain'}, 't',
	'what goes on is counted');
is($node->safe_psql('postgres', heard('plain', 'failed', 'count(*)')), '1', 'and not told each time');
is($node->safe_psql('postgres', heard('other', 'failed', 'count(*)')), '0', 'a role that does not see the job is not told');
is(psql_as('plain', q{SELECT name, incidents, told, last_error FROM cron.alerts}), 'mine|1|1|', 'cron.alerts');

$node->safe_psql('postgres', 'UPDATE switch SET broken = false');
wait_for($node, heard('plain', 'recovered', 'count(*)'), '1', 'its end is told');
like($node->safe_psql('postgres', heard('plain', 'recovered', q{event->>'text'})),
	qr/^job 'night work' succeeded again at .* after \d+ incidents since /, 'with how often it happened');
wait_for($node, q{SELECT count(*) FROM cron.alert_incident}, '0', 'nothing is going on any more');
my $successes = q{SELECT count(*) >= 2 FROM cron.job_run_details WHERE status = 'succeeded'};
wait_for($node, $successes, 't', 'the job goes on');
is($node->safe_psql('postgres', q{SELECT count(*) FROM heard WHERE event->>'event' = 'recovered'}), '2',
	'success is nothing to tell');

# ---- reminders, and the channel ----------------------------------------------------------------

my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN "the night"');
psql_as('plain', q{SELECT cron.add_alert('mine', '{failed}', jobs => 'night%', channel => 'the night', remind_after => '0')});
psql_as('plain', q{SELECT cron.add_alert('days only', '{failed}', jobs => 'day%', function => 'hear(jsonb)')});
$node->safe_psql('postgres', 'TRUNCATE heard; UPDATE switch SET broken = true');
wait_for($node, q{SELECT told >= 5 FROM cron.alert WHERE username = 'plain' AND name = 'mine'}, 't', 'each failure is told if asked for');
my $notices = $listener->query_safe('SELECT 1');
like($notices, qr/Asynchronous notification "the night" with payload "\{.*"event": "failed".*"\}" received/, 'the channel hears it');
like($notices, qr/failed \d times in a row since/, 'and how often');
$listener->quit;
is($node->safe_psql('postgres', heard('plain', 'failed', 'count(*)')), '0', 'an alert tells of the jobs of its pattern only');
psql_as('plain', q{SELECT cron.drop_alert('days only')});

# ---- a function that fails ---------------------------------------------------------------------

$node->safe_psql('postgres', 'UPDATE switch SET broken = false');
psql_as('plain', q{
	CREATE FUNCTION deaf(event jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'cannot hear'; END $$;
	SELECT cron.add_alert('mine', '{failed}', function => 'deaf(jsonb)', remind_after => '1 day')});
wait_for($node, 'SELECT count(*) FROM cron.alert_event e JOIN cron.alert a USING (alertid) WHERE a.username = \'plain\'', '0', 'nothing waits');
$node->safe_psql('postgres', q{DELETE FROM cron.alert_incident; TRUNCATE heard; UPDATE switch SET broken = true});
wait_for($node, q{SELECT split_part(last_error, E'\n', 1) FROM cron.alerts WHERE username = 'plain'}, 'ERROR: cannot hear', 'why it could not be told');
is($node->safe_psql('postgres', q{SELECT told_at FROM cron.alert_incident i JOIN cron.alert a USING (alertid) WHERE a.username = 'plain'}), '',
	'a failure to tell leaves nothing');
wait_for($node, heard('watcher', 'failed', 'count(*)'), '1', 'others are told meanwhile');
wait_for($node, q{SELECT max(attempts) >= 2 FROM cron.alert_event}, 't', 'it is tried again');
psql_as('plain', q{CREATE OR REPLACE FUNCTION deaf(event jsonb) RETURNS void LANGUAGE sql AS 'SELECT public.hear(event)'});
wait_for($node, heard('plain', 'failed', 'count(*)'), '1', 'and succeeds when it can');

# ---- after each run ----------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE SEQUENCE imports; GRANT USAGE ON SEQUENCE imports TO plain');
psql_as('plain', q{
	CREATE TABLE after_runs (run bigint, event text);
	CREATE FUNCTION after_run(event jsonb) RETURNS void LANGUAGE sql AS
		$$ INSERT INTO public.after_runs VALUES ((event->>'runid')::bigint, event->>'event') $$;
	SELECT cron.add_alert('after import', '{failed,succeeded}', jobs => 'import', function => 'after_run(jsonb)', remind_after => '0');
	SELECT cron.schedule('import', '1 second', 'SELECT 1 / (nextval(''public.imports'') % 2)')});
wait_for($node, q{SELECT count(*) >= 2 FROM after_runs WHERE event = 'succeeded'}, 't', 'successes are told');
wait_for($node, q{SELECT count(*) >= 2 FROM after_runs WHERE event = 'failed'}, 't', 'and failures');
psql_as('plain', q{SELECT cron.pause('import')});
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE jobname = 'import' AND status IN ('starting', 'running')}, '0', 'no run is left');
wait_for($node, q{SELECT count(*) FROM cron.alert_event WHERE subject = 'import'}, '0', 'nothing is left to tell');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT runid, status FROM cron.job_run_details WHERE jobname = 'import' AND status <> 'skipped') d
	  FULL JOIN after_runs r ON (r.run, r.event) = (d.runid, d.status) WHERE r.run IS NULL OR d.runid IS NULL
	UNION ALL SELECT count(*) - count(DISTINCT run) FROM after_runs}), "0\n0", 'each run is told once, as it ended');
is($node->safe_psql('postgres', q{SELECT cron.unschedule('import'); SELECT count(*) FROM cron.alert_incident i WHERE NOT EXISTS (SELECT FROM cron.job j WHERE j.jobid = i.jobid)}),
	"t\n0", 'the incidents of a job end with it');

# The same as a rule of the job; and a job that runs once tells before its alert goes with it.
my $import = q{SELECT 1 / (nextval(''public.imports'') % 2)};
psql_as('plain', qq{
	TRUNCATE after_runs;
	SELECT cron.drop_alert('after import');
	SELECT cron.schedule('import', '1 second', '$import');
	SELECT cron.schedule('import of another', '1 second', 'SELECT 1');
	SELECT cron.configure_job('import', on_failure => 'after_run(jsonb)', on_success => 'after_run(jsonb)')});
wait_for($node, q{SELECT count(*) FILTER (WHERE event = 'succeeded') >= 2 AND count(*) FILTER (WHERE event = 'failed') >= 2 FROM after_runs}, 't',
	'on_success and on_failure are called');
is($node->safe_psql('postgres', q{SELECT count(*) - count(DISTINCT run), count(*) FILTER (WHERE d.runid IS NULL)
	FROM after_runs r LEFT JOIN cron.job_run_details d ON (d.runid, d.status, d.jobname) = (r.run, r.event, 'import')}), '0|0', 'once for each run of this job');
psql_as('plain', q{SELECT cron.unschedule('import'), cron.unschedule('import of another');
	SELECT cron.schedule_once('at last', now() + interval '1 second', 'SELECT 1');
	SELECT cron.configure_job('at last', on_success => 'after_run(jsonb)')});
wait_for($node, q{SELECT count(*) FROM after_runs a JOIN cron.job_run_details d ON d.runid = a.run WHERE d.jobname = 'at last'}, '1',
	'a job that runs once is told of');
wait_for($node, q{SELECT count(*) FROM cron.alert WHERE jobid IS NOT NULL}, '0', 'alerts of jobs go with these');

# ---- kill -9 -----------------------------------------------------------------------------------

# The function is in the middle of its work when its process is killed.
$node->safe_psql('postgres', q{UPDATE switch SET broken = false});
wait_for($node, q{SELECT count(*) FROM cron.alert_incident}, '0', 'all is well');
$node->safe_psql('postgres', q{CREATE TABLE gate (); TRUNCATE heard});
psql_as('plain', q{
	CREATE OR REPLACE FUNCTION deaf(event jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		PERFORM public.hear(event);
		PERFORM pg_advisory_xact_lock(7);
	END $$;});
for my $whom ('the worker', 'the server')
{
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(7)');
	$node->safe_psql('postgres', q{TRUNCATE heard; UPDATE switch SET broken = true});
	my $stuck = q{SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'cron: alert%' AND wait_event = 'advisory'};
	my $pid;
	wait_until(sub { $pid = ask($node, 'postgres', $stuck); return $pid }, "$whom: the function is in its middle");
	if ($whom eq 'the worker')
	{
		$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
		wait_until(sub { is_gone($pid) }, 'the worker ends');
		$gate->query_safe('SELECT pg_advisory_unlock(7)');
		$gate->quit;
	}
	else
	{
		kill_process($node, $pid);
		$gate->{run}->finish;
	}
	wait_for($node, heard('plain', 'failed', 'count(*)'), '1', "$whom: it is told");
	wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'failed' AND runid >
		(SELECT (event->>'runid')::bigint + 1 FROM heard WHERE who = 'plain' LIMIT 1)}, 't', "$whom: more failures");
	is($node->safe_psql('postgres', heard('plain', 'failed', 'count(*)')), '1', "$whom: once in effect");
	$node->safe_psql('postgres', q{UPDATE switch SET broken = false});
	wait_for($node, q{SELECT count(*) FROM cron.alert_incident}, '0', "$whom: all is well again");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.alert_event WHERE due_at < now() - interval '1 minute'}), '0', 'nothing is left');

# ---- a clock that was ahead --------------------------------------------------------------------

# As such a clock writes it: an event that is not told yet, and one that could not be told.
$node->safe_psql('postgres', q{TRUNCATE heard;
	INSERT INTO cron.alert_event (alertid, event, host, subject, attempts, due_at)
	SELECT alertid, 'failed', n, 'of ' || n, n, now() + interval '1 hour'
	  FROM cron.alert, generate_series(0, 1) n WHERE username = 'plain' AND name = 'mine'});
$node->safe_psql('postgres', "SELECT pg_terminate_backend(${\scheduler_pid($node)})");
wait_for($node, heard('plain', 'failed', q{string_agg(event->>'text', '|' ORDER BY event->>'text') ~ 'of 0.*of 1'}), 't', 'what waits for the time of a clock that was ahead is told');

# ---- roles -------------------------------------------------------------------------------------

$node->safe_psql('postgres', 'ALTER ROLE plain RENAME TO "plain & simple"');
wait_for($node, q{SELECT username FROM cron.alerts WHERE username LIKE 'plain%' AND name = 'mine'}, 'plain & simple', 'an alert follows its role');
my ($rc, $out, $err) = $node->psql("postgres", q{REASSIGN OWNED BY other TO watcher});
like($err, qr{role "watcher" would have two alerts "mine"}, "REASSIGN OWNED keeps names unique");
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.alerts WHERE username = 'other'}), '1',
	'an alert is not given to a role that has one of its name');
$node->safe_psql('postgres', q{REASSIGN OWNED BY "plain & simple" TO CURRENT_USER});
is($node->safe_psql('postgres', q{SELECT username = current_user FROM cron.alerts WHERE username NOT IN ('other', 'watcher') AND name = 'mine'}), 't', 'REASSIGN OWNED');
$node->safe_psql('postgres', q{DROP OWNED BY watcher});
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.alert WHERE username = 'watcher'}), '0', 'DROP OWNED');
$node->safe_psql('postgres', q{DROP OWNED BY "plain & simple"; REVOKE ALL ON heard, switch FROM other; REVOKE ALL ON SCHEMA public, cron, net FROM other; DROP ROLE other});
wait_for($node, q{SELECT held FROM cron.alerts WHERE name = 'mine' AND username LIKE 'unknown%'}, 'inactive', 'an alert of a dropped role is paused');
is($node->safe_psql('postgres', q{SELECT last_error FROM cron.alerts WHERE username LIKE 'unknown%'}), 'role "other" was dropped', 'and says why');

done_testing();
