# Alerts in copies of a database: a dump has them and nothing that they have to tell; a logical subscriber
# does not tell what its publisher tells.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('alert_copies', init => { allows_streaming => 'logical' }, max_worker_processes => 40);
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE plain LOGIN;
	GRANT USAGE ON SCHEMA cron, net TO plain;
	CREATE TABLE heard (event jsonb);
	GRANT INSERT ON heard TO plain;
	CREATE FUNCTION hear(event jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.heard VALUES (event)';});
sub as_plain { return $node->safe_psql($_[1] // 'postgres', $_[0], extra_params => [ '-U', 'plain' ]) }
as_plain(q{SELECT cron.add_alert('mine', '{failed}', function => 'hear(jsonb)');
	SELECT cron.schedule('broken', '1 second', 'SELECT 1/0')});
wait_for($node, 'SELECT count(*) FROM heard', '1', 'the original tells');
# Something is waiting, too.
$node->safe_psql('postgres', q{INSERT INTO cron.alert_event (alertid, event, jobid, subject, due_at)
	SELECT alertid, 'failed', 0, 'x', 'infinity' FROM cron.alert});

# ---- a dump ------------------------------------------------------------------------------------

my $dump = PostgreSQL::Test::Utils::tempdir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
my $shown = q{SELECT name, username, events, function, (SELECT roleid = 'plain'::regrole FROM cron.alert a WHERE a.alertid = v.alertid), held FROM cron.alerts v};
is($node->safe_psql('restored', $shown), 'mine|plain|{failed}|public.hear(pg_catalog.jsonb)|t|', 'the alert is there');
is($node->safe_psql('restored', q{SELECT count(*) FROM cron.alert_event UNION ALL SELECT count(*) FROM cron.alert_incident}), "0\n0",
	'but nothing to tell');
cmp_ok(as_plain(q{SELECT cron.add_alert('another', '{failed}', channel => 'x')}, 'restored'), '>',
	$node->safe_psql('restored', q{SELECT alertid FROM cron.alert WHERE name = 'mine'}), 'ids go on');
$node->safe_psql('restored', 'TRUNCATE heard');
as_plain(q{SELECT cron.unschedule(jobid) FROM cron.job; SELECT cron.schedule('broken here', '1 second', 'SELECT 1/0')}, 'restored');
wait_for($node, q{SELECT count(*) > 0 FROM heard WHERE event->>'job' = 'broken here' AND event->>'database' = 'restored'}, 't', 'and it tells', 'restored');

# ---- a subscriber ------------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE subscriber');
install($node, 'subscriber');
$node->safe_psql('subscriber', q{
	CREATE TABLE heard (event jsonb);
	CREATE FUNCTION hear(event jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.heard VALUES (event)';});
$node->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('copy', 'pgoutput')");
my $publisher = 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres application_name=copy';
$node->safe_psql('subscriber', "CREATE SUBSCRIPTION copy CONNECTION '$publisher' PUBLICATION everything WITH (create_slot = false)");
wait_for($node, q{SELECT count(*) FROM cron.alert WHERE name = 'mine'}, '1', 'the alert is replicated', 'subscriber');
is($node->safe_psql('subscriber', q{SELECT held FROM cron.alerts}), 'its role does not exist here', 'and has no role');
as_plain(q{SELECT cron.add_alert('later', '{failed}', function => 'hear(jsonb)', remind_after => '0')});
wait_for($node, q{SELECT count(*) > 1 FROM heard WHERE event->>'alert' = 'later'}, 't', 'the publisher tells');
my $until = $node->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
wait_for($node, "SELECT replay_lsn >= '$until' FROM pg_stat_replication WHERE application_name = 'copy'", 't', 'all is replicated');
is($node->safe_psql('subscriber', q{SELECT count(*), count(roleid) FROM cron.alert}), '2|0', 'a later one has no role either');
is($node->safe_psql('subscriber', q{SELECT count(*) FROM cron.alert_event UNION ALL SELECT count(*) FROM cron.alert_incident}), "0\n0",
	'events and incidents are not replicated');
is($node->safe_psql('subscriber', q{SELECT count(*) FROM pg_stat_subscription_stats WHERE subname = 'copy' AND apply_error_count + sync_error_count > 0}), '0',
	'without errors');
$node->safe_psql('subscriber', 'ALTER SUBSCRIPTION copy DISABLE; ALTER SUBSCRIPTION copy SET (slot_name = NONE); DROP SUBSCRIPTION copy; TRUNCATE heard; GRANT INSERT ON heard TO plain; GRANT USAGE ON SCHEMA cron TO plain');
$node->safe_psql('subscriber', q{SELECT cron.take_over()});
wait_for($node, q{SELECT count(*) > 1 FROM heard WHERE event->>'database' = 'subscriber'}, 't', 'after cron.take_over() it tells', 'subscriber');

done_testing();
