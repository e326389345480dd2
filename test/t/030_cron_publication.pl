# A publication FOR ALL TABLES, and a subscriber that has the extension too: runs and requests go on
# at the publisher, and the subscriber does not act on them before cron.take_over().
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $publisher = new_node('publisher', init => { allows_streaming => 'logical' }, max_connections => 50, autovacuum => 'on');
$publisher->start;
my $scheduler = install($publisher);
sub pub { return $publisher->safe_psql('postgres', $_[0]) }

# ---- the publisher ----------------------------------------------------------------------------

# Every table of the extension can be updated and deleted from while it is published.
pub('CREATE PUBLICATION everything FOR ALL TABLES');
is(pub(q{
	SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'securatlas_sched') AND c.relkind = 'r'
	   AND NOT (c.relreplident = 'f' OR c.relreplident = 'd' AND EXISTS (
	            SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))}), '',
	'every table has a replica identity');
pub('CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA cron, net TO worker');
pub(q{CREATE TABLE acted (id bigint GENERATED ALWAYS AS IDENTITY, job text, port text,
	PRIMARY KEY (id, port)); GRANT INSERT ON acted TO PUBLIC});
my $act = q{INSERT INTO public.acted (job, port) VALUES (current_setting('cron.job_name'), current_setting('port'))};
pub("SET ROLE worker; SELECT cron.schedule('job $_', '1 second', \$c\$$act\$c\$)") for 1 .. 3;
pub(q{SELECT cron.pause('job 3', 'by hand')});
wait_for($publisher, 'SELECT count(DISTINCT job) > 1 FROM acted', 't', 'jobs run');
pub("SELECT pg_terminate_backend($scheduler)");
my $second = scheduler_pid($publisher);
isnt($second, $scheduler, 'a scheduler that was ended starts again');
my $runs = pub('SELECT count(*) FROM acted');
wait_for($publisher, "SELECT count(*) > $runs FROM acted", 't', 'runs go on at the publisher after its scheduler was ended');
my $url = $stub->url('/first');
pub("SET ROLE worker; SELECT net.http_get('$url')");
wait_for($publisher, q{SELECT state FROM net._http_response}, 'succeeded', 'requests go on, too');
pub(q{SELECT cron.purge_history('0'), cron.schedule('gone', '@yearly', 'SELECT 1'), cron.unschedule('gone')});
pass('jobs and runs can be deleted');

# ---- a subscriber that holds the extension, too -----------------------------------------------

my $subscriber = new_node('subscriber', init => { allows_streaming => 'logical' }, max_connections => 50, autovacuum => 'on');
$subscriber->start;
my $own_scheduler = install($subscriber);
sub subscribed { return $subscriber->safe_psql('postgres', $_[0]) }
# A role has the number here that `worker` has there, and `worker` another one.
my $number = pub(q{SELECT oid FROM pg_roles WHERE rolname = 'worker'});
subscribed('CREATE ROLE worker LOGIN; CREATE ROLE stranger; GRANT USAGE ON SCHEMA cron, net TO PUBLIC');
subscribed('DROP ROLE worker; CREATE ROLE worker LOGIN')
  if subscribed(q{SELECT oid FROM pg_roles WHERE rolname = 'worker'}) == $number;
subscribed("SET allow_system_table_mods = on; UPDATE pg_authid SET oid = $number WHERE rolname = 'stranger' AND oid <> $number");
subscribed(q{CREATE TABLE acted (id bigint GENERATED ALWAYS AS IDENTITY, job text, port text,
	PRIMARY KEY (id, port)); GRANT INSERT ON acted TO PUBLIC});
# Numbers of its own.
subscribed(qq{SELECT setval('$_', 1000000)}) for qw(cron.jobid_seq cron.runid_seq net.http_request_queue_id_seq);
subscribed("SELECT cron.schedule('own', '1 second', \$c\$$act\$c\$)");
my $connection = $publisher->connstr('postgres') =~ s/'/''/gr;
subscribed("CREATE SUBSCRIPTION copy CONNECTION '$connection' PUBLICATION everything");
wait_for($subscriber, q{SELECT string_agg(DISTINCT srsubstate::text, '') FROM pg_subscription_rel}, 'r',
	'all tables are copied');

my $port = $subscriber->port;
my $others = "SELECT count(*) FROM acted WHERE port = '$port' AND job <> 'own'";
pub("SET ROLE worker; SELECT cron.schedule('job $_', '1 second', \$c\$$act\$c\$)") for 4 .. 5;
pub(q{SELECT cron.schedule('job 4', '1 second', 'SELECT 1'), cron.schedule('job 4', '1 second', $c$} . $act . q{$c$)});
wait_for($subscriber, q{SELECT string_agg(jobname, ',' ORDER BY jobname) FROM cron.job WHERE replicated},
	'job 1,job 2,job 3,job 4,job 4,job 5', 'jobs come by replication, and are marked');
is(subscribed(q{SELECT string_agg(jobname, ',' ORDER BY jobname) FROM cron.job WHERE active AND replicated}),
	'job 1,job 2,job 4,job 4,job 5', 'with their states');
is(subscribed(q{SELECT DISTINCT roleid::regrole FROM cron.job WHERE jobname = 'job 5'}), 'worker',
	'of the role of that name');
# The rows of these runs are inserted and then changed by replication.
wait_for($subscriber, q{SELECT EXISTS (SELECT FROM cron.job_run_details WHERE jobname = 'job 5' AND status = 'succeeded')}, 't',
	'a run comes by replication, and then its outcome');
is(subscribed(q{SELECT string_agg(DISTINCT COALESCE(roleid::regrole::text, 'none'), ',') FROM cron.job_run_details
	WHERE jobname = 'job 5'}), 'worker', 'each of these runs belongs to the role of that name');
is(subscribed(q{SET ROLE stranger; SELECT count(*) FROM cron.job_run_details}), '0',
	'a role that has its number here sees none of its runs');
is(subscribed(q{SET ROLE worker; SELECT count(*) > 0 FROM cron.job_run_details}), 't', 'the role that has the name of the publisher\'s sees its runs');
is(subscribed(q{SELECT DISTINCT held FROM cron.jobs WHERE active AND jobname <> 'own'}),
	'came by replication: cron.take_over() makes this server run it', 'cron.jobs says why jobs that came by replication wait');
is(subscribed(q{SELECT count(next_run_at) FROM cron.jobs WHERE jobname <> 'own'}), '0', 'jobs that came by replication have no next run');
is(subscribed(q{SELECT count(*) FROM cron.upcoming_runs WHERE jobname <> 'own'}), '0', 'jobs that came by replication have no upcoming run');
my ($rc, $out, $err) = $subscriber->psql('postgres', q{SELECT cron.run_job('job 5')});
like($err, qr/job "job 5" was replicated from another server\nDETAIL: .*\nHINT: .*take_over/, 'jobs that came by replication cannot be run by hand');

# A scheduler that starts while the publisher's runs are under way leaves them alone.
pub(q{SELECT cron.schedule('long', '1 second', 'SELECT pg_sleep(2)')});
wait_for($subscriber, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'long' AND status = 'running'},
	't', 'a run in progress is seen at the subscriber');
subscribed("SELECT pg_terminate_backend($own_scheduler)");
isnt(scheduler_pid($subscriber), $own_scheduler, 'the scheduler of the subscriber starts again');
wait_for($subscriber, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'long' AND status = 'succeeded'},
	't', 'a run that came by replication ends as it does at the publisher');
is(subscribed(q{SELECT count(*) FROM cron.job_run_details WHERE reason = 'server restarted'}), '0',
	'no run was taken for an interrupted one');

# 1,000 requests, while the subscriber sends its own.
my ($slow, $later, $own) = ($stub->url('/delay/100/pub/'), $stub->url('/later/'), $stub->url('/sub/'));
pub("SET ROLE worker; SELECT count(net.http_post('$slow' || n)) FROM generate_series(1, 1000) n");
pub("SET ROLE worker; SELECT count(net.http_request('GET', '$later' || n, not_before => now() + '1 hour')) FROM generate_series(1, 20) n");
subscribed("SELECT count(net.http_post('$own' || n)) FROM generate_series(1, 100) n");
wait_for($subscriber, q{SELECT count(*) FROM net.requests WHERE reason LIKE 'came by replication%' AND url LIKE '%later%'}, '20',
	'requests come by replication, and say why they wait');
wait_for($publisher, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%pub%'}, '1000', 'the publisher sends its own');
wait_for($subscriber, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/sub/%' OR url LIKE '%/pub/%'}, '1100',
	'the subscriber sends its own requests, and has the responses of the publisher, too');
is(subscribed(q{SELECT count(*) FROM net._http_response WHERE created_by IS NOT NULL AND url LIKE '%pub%'}), '0',
	'responses of other roles belong to nobody');
my %came;
++$came{ $_->{path} } for $stub->requests;
is(scalar(grep { m{/pub/} } keys %came), 1000, 'each of the 1,000 requests has been sent');
is(join(',', grep { $came{$_} > 1 } keys %came), '', 'no request has been sent twice');
is(scalar(grep { m{^/later/} } keys %came), 0, 'requests that are not due wait');
is(subscribed($others), '0', 'the subscriber has run no job of the publisher');
wait_for($subscriber, "SELECT count(*) > 2 FROM acted WHERE port = '$port' AND job = 'own'", 't', 'the subscriber runs its own job');
is(subscribed(q{SELECT count(*) FROM pg_stat_subscription_stats WHERE apply_error_count + sync_error_count > 0}), '0',
	'replication has met no conflict');

# ---- the subscriber takes over ----------------------------------------------------------------

pub(q{SELECT cron.schedule('endless', '1 second', 'SELECT pg_sleep(3600)')});
wait_for($subscriber, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'endless' AND status = 'running'},
	't', 'a run that will not end');
$publisher->stop('immediate');
subscribed('ALTER SUBSCRIPTION copy DISABLE; ALTER SUBSCRIPTION copy SET (slot_name = NONE); DROP SUBSCRIPTION copy');
($rc, $out, $err) = $subscriber->psql('postgres', 'SET ROLE worker; SELECT cron.take_over()');
like($err, qr/permission denied for function take_over/, 'a plain role does not take over');
is(subscribed(q{SELECT jobs, requests FROM cron.take_over()}), '8|20', 'taken over');
wait_for($subscriber, "SELECT count(DISTINCT job) FROM acted WHERE port = '$port'", '5', 'active jobs run here');
is(subscribed(q{SELECT active, note FROM cron.job WHERE jobname = 'job 3'}), 'f|by hand', 'a paused one stays so');
is(subscribed(q{SELECT DISTINCT status || ' ' || reason FROM cron.job_run_details WHERE jobname = 'endless' AND end_time IS NOT NULL}),
	'failed taken over', 'what the publisher left undone has failed');
subscribed('UPDATE net.http_request_queue SET ready_at = now()');
wait_for($subscriber, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/later/%'}, '20', 'requests are sent here');
%came = ();
++$came{ $_->{path} } for $stub->requests;
is(join(',', grep { $came{$_} > 1 } keys %came), '', 'all of them once');
is(subscribed(q{SELECT count(*) FROM cron.job_run_details WHERE status = 'failed' AND reason <> 'taken over'}), '0',
	'no run has failed');

# ---- held by the setting ----------------------------------------------------------------------

# For a clone or a restored backup.
$subscriber->append_conf('postgresql.conf', 'cron.launch_active_jobs = off');
$subscriber->stop('immediate');
$subscriber->start;
scheduler_pid($subscriber);
is(subscribed(q{SELECT held FROM cron.scheduler_status}), 'cron.launch_active_jobs is off', 'the status says why nothing runs');
is(subscribed(q{SELECT DISTINCT held FROM cron.jobs WHERE active}), 'cron.launch_active_jobs is off', 'cron.jobs says why nothing runs');
is(subscribed(q{SELECT count(*) FROM cron.job_run_details WHERE attempt > 1}), '0', 'an interrupted run is not repeated');
my $held = subscribed('SELECT count(*) FROM cron.job_run_details');
subscribed(q{SELECT cron.run_job('job 3')});
wait_for($subscriber, q{SELECT status FROM cron.job_run_details WHERE trigger = 'manual'}, 'succeeded', 'a job runs by hand while jobs are not launched');
is(subscribed('SELECT count(*) FROM cron.job_run_details'), $held + 1, 'no other job runs while jobs are not launched');
$subscriber->append_conf('postgresql.conf', 'cron.launch_active_jobs = on');
$subscriber->reload;
wait_for($subscriber, "SELECT count(*) > $held + 1 FROM cron.job_run_details", 't', 'switched on, jobs run again');
is(subscribed(q{SELECT held FROM cron.scheduler_status}), '', 'nothing is held');

$subscriber->stop;
done_testing();
