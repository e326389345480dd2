# Three roles that are no superusers, and have only USAGE, use all functions of the schemas cron and
# net. None sees or changes anything of another role.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('plain_roles', autovacuum => 'on', 'cron.worker_idle_timeout' => "'1 s'");
$node->start;
install($node);
my @roles = qw(ann ben cid);

sub as
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return ($out, $err);
}

sub run_as
{
	my ($role, $sql) = @_;
	my ($out, $err) = as($role, $sql);
	die "as $role: $sql\n$err" if $err =~ /ERROR|FATAL/;
	return $out;
}

for my $role (@roles)
{
	$node->safe_psql('postgres', "CREATE ROLE $role LOGIN; GRANT USAGE ON SCHEMA cron, net TO $role; CREATE SCHEMA $role AUTHORIZATION $role");
	run_as($role, qq{
		CREATE TABLE note (what text, who text DEFAULT current_user || ',' || session_user);
		CREATE FUNCTION answered(r net._http_response) RETURNS void LANGUAGE sql AS
			\$\$ INSERT INTO $role.note (what) SELECT 'answer ' || r.status_code \$\$;
		CREATE FUNCTION failing(r net._http_response) RETURNS void LANGUAGE sql AS \$\$ SELECT 1 / 0 \$\$;
		REVOKE EXECUTE ON FUNCTION answered, failing FROM PUBLIC;
		SELECT net.set_secret('key/$role', 'value of $role')});
}

# ---- each does all that it may -------------------------------------------------------------------
my (%job, %waits, %run, %held, %far, %asked, %failing);
for my $role (@roles)
{
	# The same names for all.
	$job{$role} = run_as($role, "SELECT cron.schedule('nightly', '0 3 * * *', 'INSERT INTO note (what) VALUES (''run'')')");
	$waits{$role} = run_as($role, "SELECT cron.schedule('hangs', '0 4 * * *', 'SELECT pg_sleep(600)')");
	run_as($role, "SELECT cron.configure_job('nightly', timezone => 'Europe/Berlin', max_retries => 2);
		SELECT cron.pause('nightly', 'a while'); SELECT cron.resume('nightly'); SELECT cron.run_after('hangs', 'nightly');
		SELECT cron.schedule_once('once', now(), 'INSERT INTO note (what) VALUES (''once'')')");
	$run{$role} = run_as($role, "SELECT cron.run_job('nightly')");
	$held{$role} = run_as($role, "SELECT cron.run_job('hangs')");
	my $key = qq{headers => '{"X-Key": "{{secret:key/$role}}"}'};
	$asked{$role} = run_as($role, "SELECT net.http_request('GET', '" . $stub->url("/asked/$role") . "', $key, on_response => 'answered(net._http_response)')");
	$failing{$role} = run_as($role, "SELECT net.http_request('GET', '" . $stub->url("/failing/$role") . "', on_response => 'failing(net._http_response)')");
	$far{$role} = run_as($role, "SELECT net.http_request('GET', 'http://$role.invalid/', not_before => now() + interval '1 hour')");
	run_as($role, "CREATE TRIGGER changed AFTER INSERT ON note FOR EACH ROW WHEN (NEW.what = 'hook')
		EXECUTE FUNCTION net.http_webhook('" . $stub->url("/hook/$role") . qq{', '{"X-Key": "{{secret:key/$role}}"}');
		GRANT USAGE ON SCHEMA $role TO PUBLIC; GRANT INSERT ON note TO PUBLIC});
}
for my $role (@roles)
{
	wait_for($node, "SELECT string_agg(what || ':' || who, ' ' ORDER BY what COLLATE \"C\") FROM $role.note",
		"answer 200:$role,$role once:$role,$role run:$role,$role", "$role: jobs and callbacks run as the role");
	wait_for($node, "SELECT status, username FROM cron.job_run_details WHERE runid = $held{$role}", "running|$role", "$role: one is in progress");
	wait_for($node, "SELECT callback_state FROM net._http_response WHERE id = $failing{$role}", 'failed', "$role: a callback fails");
	my ($request) = $stub->requests("/asked/$role");
	is($request->{headers}{'x-key'}, "value of $role", "$role: its secret is sent");
}

# ---- what each sees ------------------------------------------------------------------------------
for my $role (@roles)
{
	my @own = ("SELECT string_agg(DISTINCT username, ',') FROM cron.job", "SELECT string_agg(DISTINCT username, ',') FROM cron.job_run_details",
		"SELECT string_agg(DISTINCT created_by::regrole::text, ',') FROM net._http_response",
		"SELECT string_agg(DISTINCT created_by::regrole::text, ',') FROM net.http_request_queue",
		"SELECT string_agg(DISTINCT created_by::text, ',') FROM net.requests",
		"SELECT string_agg(DISTINCT owner::text, ',') FROM net.secrets",
		"SELECT string_agg(DISTINCT owner::text, ',') FROM net.secret");
	is(run_as($role, $_), $role, "$role sees its own: $_") for @own;
	is(run_as($role, "SELECT count(*), count(*) FILTER (WHERE jobid IN ($job{$role}, $waits{$role})) FROM cron.jobs"), '2|2', "$role: cron.jobs");
	is(run_as($role, "SELECT count(*) > 0, count(*) = count(*) FILTER (WHERE jobid IN ($job{$role}, $waits{$role})) FROM cron.upcoming_runs"), 't|t', "$role: cron.upcoming_runs");
	is(run_as($role, 'SELECT count(*), min(jobid) FROM cron.job_dependency'), "1|$waits{$role}", "$role: dependencies");
	is(run_as($role, 'SELECT string_agg(host, \',\') FROM net.host_status WHERE host LIKE \'%.invalid%\''), '', "$role: hosts");
	like(run_as($role, "SELECT net._http_collect_response($asked{$role})"), qr/^\(SUCCESS/, "$role: its response");
}

# ---- what nobody does to another -----------------------------------------------------------------
my %before = map { $_ => run_as('postgres', "SELECT j::text FROM cron.job j WHERE username = '$_' ORDER BY jobid") } @roles;
for my $role (@roles)
{
	my ($other) = grep { $_ ne $role } @roles;
	my ($job, $run, $far) = ($job{$other}, $held{$other}, $far{$other});
	for my $call ("cron.unschedule($job)", "cron.configure_job($job, max_retries => 9)", "cron.run_job($job)", "cron.pause($job)", "cron.resume($job)",
		"cron.alter_job($job, command => 'SELECT 1')", "cron.alter_job($job{$role}, username => '$other')",
		"cron.schedule_in_database('mine', '* * * * *', 'SELECT 1', 'postgres', username => '$other')")
	{
		my ($out, $err) = as($role, "SELECT $call");
		like($err, qr/ERROR:  (?:could not find valid entry for job|permission denied|must be superuser)/, "$role cannot: $call");
	}
	my ($out, $err) = as($role, "SELECT cron.cancel_run($run)");
	ok($err =~ /ERROR/ || $out eq 'f', "$role does not cancel another's run");
	is(run_as($role, "SELECT net.cancel_request($far), net.repeat_callback($failing{$other}), net.drop_secret('key/$other')"), 'f|f|f',
		"$role does not touch another's requests and secrets");
	like(run_as($role, "SELECT net._http_collect_response($asked{$other})"), qr/^\(ERROR/, "$role does not see another's response");
	is(run_as($role, "DELETE FROM cron.job_run_details WHERE username <> '$role'; SELECT count(*) FROM cron.job_run_details WHERE username <> '$role'"),
		'0', "$role deletes nothing of another's history");
	is(run_as($role, "WITH gone AS (DELETE FROM $_ WHERE id IN ($far, $asked{$other}) RETURNING id) SELECT count(*) FROM gone"),
		'0', "$role deletes nothing of another's: $_") for qw(net.http_request_queue net._http_response);
	for my $sql ("UPDATE cron.job SET username = '$other'", 'DELETE FROM cron.job', "INSERT INTO cron.job (schedule, command, username) VALUES ('* * * * *', 'SELECT 1', '$other')",
		'UPDATE cron.job_run_details SET status = NULL', 'DELETE FROM cron.scheduler_state', 'UPDATE net._http_response SET created_by = 10',
		'UPDATE net.secret SET owner = current_user::regrole', "SELECT net.http_get('http://localhost/', headers => '{\"X\": \"{{secret:key/$other}}\"}')",
		"SELECT net.http_request('GET', 'http://localhost/', on_response => '$other.answered(net._http_response)')",
		"CREATE TRIGGER t AFTER INSERT ON $other.note EXECUTE FUNCTION net.http_webhook('http://localhost/')")
	{
		($out, $err) = as($role, $sql);
		like($err, qr/ERROR:  (?:permission denied|new row violates row-level security)/, "$role cannot: $sql");
	}
}
for my $role (@roles)
{
	is(run_as('postgres', "SELECT j::text FROM cron.job j WHERE username = '$role' ORDER BY jobid"), $before{$role}, "$role: its jobs are as they were");
	is(run_as('postgres', "SELECT status FROM cron.job_run_details WHERE runid = $held{$role}"), 'running', "$role: its run goes on");
	is(run_as('postgres', "SELECT count(*) FROM cron.job_run_details WHERE runid = $run{$role}"), '1', "$role: its history is there");
	is(run_as('postgres', "SELECT count(*) FROM net.http_request_queue WHERE id = $far{$role}"), '1', "$role: its request waits");
}

# ---- webhooks: whoever writes, the request is the table owner's ----------------------------------
run_as('ben', "INSERT INTO ann.note (what) VALUES ('hook')");
wait_for($node, q{SELECT created_by::regrole, state FROM net._http_response WHERE url LIKE '%/hook/ann'}, 'ann|succeeded', 'a webhook is sent');
my ($hook) = $stub->requests('/hook/ann');
is($hook->{headers}{'x-key'}, 'value of ann', 'with the secret of the table\'s owner');
is(run_as($_, q{SELECT count(*) FROM net.requests WHERE url LIKE '%/hook/ann'}), $_ eq 'ann' ? '1' : '0', "$_: whose it is to see") for @roles;

# ---- each ends its own ---------------------------------------------------------------------------
for my $role (@roles)
{
	is(run_as($role, "SELECT cron.cancel_run($held{$role}), net.cancel_request($far{$role}), net.repeat_callback($failing{$role})"), 't|t|t', "$role: cancels and repeats");
	wait_for($node, "SELECT status, reason FROM cron.job_run_details WHERE runid = $held{$role}", 'failed|cancelled', "$role: its run ends");
	is(run_as($role, "SELECT state FROM net.requests WHERE id = $far{$role}"), 'cancelled', "$role: its request, too");
	is(run_as($role, "SELECT cron.remove_run_after('hangs', 'nightly'), cron.unschedule('nightly'), cron.unschedule($waits{$role})"), '|t|t', "$role: and its jobs go");
	is(run_as($role, 'DELETE FROM cron.job_run_details; SELECT count(*) FROM cron.job_run_details'), '0', "$role: with their history");
	is(run_as($role, "SELECT net.drop_secret('key/$role')"), 't', "$role: and its secret");
}
is(run_as('postgres', 'SELECT (SELECT count(*) FROM cron.job), (SELECT count(*) FROM cron.job_run_details), (SELECT count(*) FROM net.secret)'), '0|0|0', 'nothing is left');

done_testing();
