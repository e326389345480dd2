# The risk scores as a job: one snapshot for each tenant and night whatever happens to the runs, the
# sync after them however long they take, and the same in a restored dump.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use Test::More;

my $node = new_node('risk');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE atlas LOGIN');
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# As the role that owns the tables.
sub as_atlas { return $node->safe_psql('postgres', $_[0], extra_params => [ '-U', 'atlas' ]) }

# Snapshots of a tenant and night, and of a night. A run that is due before midnight may compute after it.
sub nights
{
	return sql(q{SELECT string_agg(DISTINCT most::text, ','), string_agg(DISTINCT n::text, ',') FROM (
		SELECT max(n) AS most, sum(n) AS n FROM (
			SELECT tenant_id, night, count(*) AS n FROM platform.tenant_risk_snapshots s
			 CROSS JOIN LATERAL (SELECT (computed_at AT TIME ZONE 'UTC')::date) AS d (day)
			 CROSS JOIN LATERAL (SELECT day - (s.id <> securatlas._snapshot_id(tenant_id, to_char(day, 'YYYY-MM-DD')))::int) AS x (night)
			 WHERE snapshot_type = 'nightly' GROUP BY tenant_id, night) AS of_tenant
		 GROUP BY night) AS of_night});
}

sql("ALTER DATABASE postgres SET app.settings.edge_function_url = 'http://127.0.0.1:1'");
sql("ALTER DATABASE postgres SET app.settings.service_role_key = 'not-a-real-key'");
sql('CREATE SCHEMA platform AUTHORIZATION atlas; GRANT USAGE ON SCHEMA cron, net, securatlas TO atlas');
as_atlas("SELECT securatlas.install('platform')");
as_atlas("SELECT securatlas.load_demo(30, 1, 'platform')");
# As where FIPS is in force.
sql('REVOKE EXECUTE ON FUNCTION md5(text), md5(bytea) FROM PUBLIC');
my $active = sql(q{SELECT count(DISTINCT tenant_id) FROM platform.tenant_subscriptions WHERE status IN ('active', 'trialing')});

# ---- one snapshot a tenant and night --------------------------------------------------------

# The recompute waits for this lock: the test decides how long it takes.
my $brake = $node->background_psql('postgres', on_error_stop => 1);
sub hold { $brake->query_safe("SELECT pg_advisory_lock('platform.tenant_risk_snapshots'::regclass::oid::bigint)"); return }
sub release { $brake->query_safe('SELECT pg_advisory_unlock_all()'); return }

sub recompute_is_held
{
	wait_for($node, q{SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	                   WHERE l.locktype = 'advisory' AND NOT l.granted AND a.query ~ 'recompute_all'}, 't', $_[0]);
	return;
}

my $first = as_atlas("SELECT cron.run_job('nightly_risk_recompute')");
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $first", 'succeeded', 'the recompute runs');
is(nights(), "1|$active", 'one snapshot for each active tenant');

hold();
as_atlas("SELECT cron.run_job('nightly_risk_recompute')");
recompute_is_held('the next run is in the middle of it');
kill_server($node);
eval { $brake->quit };
$node->start;
scheduler_pid($node);
wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'failed' AND return_message ~ 'restarted'},
	't', 'a crash ends it');
is(nights(), "1|$active", 'and it has left nothing');
my $again = as_atlas("SELECT cron.run_job('nightly_risk_recompute')");
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $again", 'succeeded', 'it is run once more');
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}, '0', 'and nothing else is left to run');
is(nights(), "1|$active", 'still one snapshot a tenant');

# ---- the sync after the recompute -----------------------------------------------------------

$brake = $node->background_psql('postgres', on_error_stop => 1);
hold();
as_atlas("SELECT cron.schedule(jobname, '2 seconds', command) FROM cron.job WHERE jobname IN ('nightly_risk_recompute', 'securatlas_nightly_integration_sync')");
recompute_is_held('a recompute is slow');
my $sync = q{FROM cron.job_run_details WHERE jobname = 'securatlas_nightly_integration_sync'};
wait_for($node, "SELECT bool_or(status = 'starting' AND reason IS NOT NULL) $sync", 't', 'a sync is due and says that it waits');
is(sql("SELECT count(*) $sync AND status NOT IN ('starting', 'skipped')"), '0', 'it has not begun');
is(sql('SELECT count(*) FROM platform.integration_sync_jobs'), '0', 'nothing is asked for yet');
release();
wait_for($node, "SELECT count(*) > 0 $sync AND status = 'succeeded'", 't', 'when the recompute is done the sync runs');
as_atlas('SELECT cron.pause(jobid) FROM cron.job');
$brake->quit;
is( sql(qq{SELECT bool_and(EXISTS (
		SELECT FROM cron.job_run_details r
		 WHERE r.jobname = 'nightly_risk_recompute' AND r.status = 'succeeded'
		   AND r.scheduled_at <= s.scheduled_at AND r.end_time <= s.start_time
		   AND r.scheduled_at > s.scheduled_at - interval '2 seconds'))
	      FROM (SELECT * $sync AND status = 'succeeded') AS s}),
	't', 'each sync that ran came after a recompute that was due with it');
cmp_ok(sql('SELECT count(*) FROM platform.integration_sync_jobs'), '>', 0, 'and has asked for connections');
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}, '0', 'all is quiet');

# ---- a dump in a fresh cluster --------------------------------------------------------------

as_atlas("SELECT securatlas.install('platform')");
sql('UPDATE securatlas.risk_rule SET value = 20 WHERE name = \'critical\'');
my $dump = $node->basedir . '/risk.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'the database is dumped');
my $copy = new_node('copy');
$copy->start;
$copy->safe_psql('postgres', 'CREATE ROLE atlas LOGIN');
$copy->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $copy->connstr('postgres'), '-f', $dump ],
	'and restored into a fresh cluster');
scheduler_pid($copy);
my %same = (
	jobs => q{SELECT jobname, schedule, command, username, timezone, active FROM cron.job ORDER BY jobname},
	order => q{SELECT j.jobname, a.jobname, d.condition FROM cron.job_dependency d
	             JOIN cron.job j ON j.jobid = d.jobid JOIN cron.job a ON a.jobid = d.after_jobid},
	rules => 'SELECT * FROM securatlas.risk_rule ORDER BY 1, 2',
	tables => q{SELECT relname, relkind, relowner::regrole, relrowsecurity, reloptions FROM pg_class
	             WHERE relnamespace = 'platform'::regnamespace ORDER BY relname},
	constraints => q{SELECT conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint
	                  WHERE connamespace = 'platform'::regnamespace ORDER BY conrelid::regclass::text, 2},
	functions => q{SELECT proowner::regrole, proacl, md5(pg_get_functiondef(oid)) FROM pg_proc
	                WHERE pronamespace = 'platform'::regnamespace ORDER BY proname},
	views => q{SELECT viewname, definition FROM pg_views WHERE schemaname = 'platform' ORDER BY 1},
	snapshots => q{SELECT * FROM platform.tenant_risk_snapshots ORDER BY id},
	trend => q{SELECT * FROM platform.v_risk_trend ORDER BY tenant_id},
);
for my $what (sort keys %same)
{
	my $original = sql($same{$what});
	isnt($original, '', "there are $what");
	is($copy->safe_psql('postgres', $same{$what}), $original, "the same $what");
}
for my $cluster ($node, $copy)
{
	$cluster->safe_psql('postgres', 'TRUNCATE platform.tenant_risk_snapshots');
	my $run = $cluster->safe_psql('postgres', "SELECT cron.run_job('nightly_risk_recompute')", extra_params => [ '-U', 'atlas' ]);
	wait_for($cluster, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', $cluster->name . ' computes');
}
my $scores = q{SELECT tenant_id, risk_score_1_100, category_breakdown, annualized_loss_expectancy, snapshot_type
                 FROM platform.tenant_risk_snapshots ORDER BY tenant_id};
is($copy->safe_psql('postgres', $scores), sql($scores), 'the same scores');
invariants_hold($copy, 'at the end');
$copy->stop;
invariants_hold($node, 'at the end');
$node->stop;
done_testing();
