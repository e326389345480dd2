# A job belongs to a role, not to a role name. Roles are renamed, dropped, and created again with
# the name of another one; DROP OWNED, REASSIGN OWNED.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('roles');
$node->start;
my $scheduler = install($node);
make_effects($node);
sub sql { return $node->safe_psql('postgres', $_[0]) }
sql("CREATE ROLE $_ LOGIN; GRANT USAGE ON SCHEMA cron TO $_") for qw(eve old_name owner heir healthy);
sql('CREATE DATABASE other');
install($node, 'other');

my $who = q{INSERT INTO public.who VALUES (current_setting('cron.job_name'), current_user)};
sql('CREATE TABLE who (job text, role text); GRANT INSERT ON who TO PUBLIC');
sub schedule
{
	my ($role, $job) = @_;
	sql("SET ROLE $role; SELECT cron.schedule('$job', '1 second', \$c\$$who\$c\$)");
	return;
}
schedule('eve', 'of eve');
schedule('old_name', 'renamed');
schedule('owner', 'owned');
schedule('owner', 'owned too');
schedule('healthy', 'healthy');
$node->safe_psql('other', q{SELECT cron.schedule_in_database('elsewhere', '1 second', 'SELECT 1', 'other', 'eve')});
wait_for($node, 'SELECT count(DISTINCT job) FROM who', '5', 'all jobs run');

# ---- a renamed role ---------------------------------------------------------------------------

sql('ALTER ROLE old_name RENAME TO new_name');
wait_for($node, "SELECT username FROM cron.job WHERE jobname = 'renamed'", 'new_name',
	'a job takes the new name of its role');
wait_for($node, "SELECT EXISTS (SELECT FROM who WHERE job = 'renamed' AND role = 'new_name')", 't',
	'and runs on');
is(sql("SELECT count(*) FROM cron.job_run_details WHERE jobname = 'renamed' AND status = 'failed'"), '0',
	'no run has failed');
sql('CREATE ROLE old_name LOGIN; GRANT USAGE ON SCHEMA cron TO old_name');
is(sql('SET ROLE old_name; SELECT count(*) FROM cron.job_run_details'), '0',
	'a later role of the former name sees no run');

# ---- a dropped role, and a later one of its name ----------------------------------------------

sql('REVOKE USAGE ON SCHEMA cron FROM eve; DROP ROLE eve; CREATE ROLE eve SUPERUSER LOGIN');
my $before = sql('SELECT clock_timestamp()');
for my $case ([ 'postgres', 'of eve' ], [ 'other', 'elsewhere' ])
{
	my ($database, $job) = @$case;
	wait_for($node, "SELECT active || ' ' || coalesce(note, '') FROM cron.job WHERE jobname = '$job'",
		q{false paused: role "eve" was dropped; cron.alter_job() gives the job to another},
		"$job: a dropped role's job is paused with a note", $database);
	like($node->safe_psql($database, "SELECT username FROM cron.job WHERE jobname = '$job'"),
		qr/^unknown \(OID=\d+\)$/, "$job: and named as PostgreSQL names it");
}
sql("ALTER ROLE eve NOSUPERUSER; GRANT USAGE ON SCHEMA cron TO eve; GRANT EXECUTE ON FUNCTION cron.alter_job TO eve");
is(sql('SET ROLE eve; SELECT count(*) FROM cron.job'), '0', 'the later role of that name has no job');
is(sql('SET ROLE eve; SELECT count(*) FROM cron.job_run_details'), '0', 'and sees no run');
is(sql(q{SET ROLE eve; SELECT cron.schedule('of eve', '1 second', 'SELECT 1') <> (
	SELECT min(jobid) FROM cron.job_run_details)} =~ s/<> .*//sr), sql("SELECT max(jobid) FROM cron.job"),
	'it makes a job of the same name, which is another one');
my $of_eve = sql(q{SELECT jobid FROM cron.job WHERE jobname = 'of eve' AND NOT active});
my ($rc, $out, $err) = $node->psql('postgres', "SELECT cron.resume($of_eve)");
like($err, qr/role "unknown \(OID=\d+\)" does not exist\nHINT: .*alter_job/, 'it cannot be resumed as nobody');
sql("SELECT cron.run_job($of_eve)");
wait_for($node, qq{SELECT status || ' ' || sqlstate FROM cron.job_run_details
	WHERE jobid = $of_eve AND trigger = 'manual'}, 'failed 28000', 'nor run');
is(sql("SELECT count(*) FROM who WHERE job = 'of eve' AND role <> 'eve'"), '0', 'it ran as nobody else');
sql("SELECT cron.alter_job($of_eve, username => 'healthy', active => true)");
wait_for($node, "SELECT EXISTS (SELECT FROM who WHERE job = 'of eve' AND role = 'healthy')", 't',
	'given to another role it runs');

# ---- who may be written into a row by hand ----------------------------------------------------

sql(q{INSERT INTO cron.job (jobname, schedule, command, username) VALUES ('early', '1 second', 'SELECT 1', 'later')});
like(sql(q{SELECT active || ' ' || note FROM cron.job WHERE jobname = 'early'}),
	qr/^false paused: role "later" does not exist\. Create it/, 'a job of a role that is not there yet is paused');
sql(q{CREATE ROLE later LOGIN; SELECT cron.resume(jobid) FROM cron.job WHERE jobname = 'early'});
wait_for($node, q{SELECT EXISTS (SELECT FROM cron.job_run_details
	WHERE jobname = 'early' AND username = 'later' AND status = 'succeeded')}, 't', 'and resumed when it is');
sql(q{UPDATE cron.job SET username = 'heir' WHERE jobname = 'early'});
is(sql(q{SELECT roleid::regrole FROM cron.job WHERE jobname = 'early'}), 'heir',
	'an UPDATE of the name gives it to the role');

# ---- a role that one inherits from, and cannot become -------------------------------------------

SKIP:
{
	skip 'memberships have no options before PostgreSQL 16', 5 if $node->pg_version < 16;
	sql(q{CREATE ROLE chief SUPERUSER LOGIN; GRANT chief TO healthy WITH INHERIT TRUE, SET FALSE;
		GRANT EXECUTE ON FUNCTION cron.schedule_in_database, cron.alter_job TO healthy});
	sql(q{SET ROLE chief; SELECT cron.schedule('of chief', '@yearly', 'SELECT 1')});
	for my $statement (
		q{SELECT cron.schedule_in_database('forged', '1 second', 'SELECT 1', 'postgres', 'chief')},
		q{SELECT cron.alter_job(jobid, username => 'chief') FROM cron.job WHERE jobname = 'healthy' AND username = 'healthy'},
		q{SELECT cron.run_job('of chief')}, q{SELECT cron.unschedule('of chief')})
	{
		($rc, $out, $err) = $node->psql('postgres', "SET ROLE healthy; $statement");
		like($err, qr/ERROR: /, "refused: $statement");
	}
	is(sql(q{SELECT count(*) FROM cron.job WHERE username = 'chief'}), '1', 'nobody schedules as a role that he cannot become');
	sql(q{SELECT cron.unschedule(jobid) FROM cron.job WHERE username = 'chief'; REVOKE chief FROM healthy; DROP ROLE chief});
}

# ---- DROP OWNED, REASSIGN OWNED ---------------------------------------------------------------

sql('REASSIGN OWNED BY owner TO heir');
is(sql(q{SELECT string_agg(username, ',') FROM cron.job WHERE jobname LIKE 'owned%'}), 'heir,heir',
	'REASSIGN OWNED gives jobs to the other role');
wait_for($node, "SELECT EXISTS (SELECT FROM who WHERE job = 'owned' AND role = 'heir')", 't', 'and they run as it');
schedule('owner', 'owned');
($rc, $out, $err) = $node->psql('postgres', 'REASSIGN OWNED BY owner TO heir');
like($err, qr/role "heir" would have two jobs "owned"\nDETAIL: .*\nHINT: /, 'but not beside one of the same name');
sql('DROP OWNED BY heir');
is(sql(q{SELECT string_agg(jobname || ' ' || username, ',') FROM cron.job WHERE username IN ('heir', 'owner')}),
	'owned owner', 'DROP OWNED unschedules the jobs of that role');
($rc, $out, $err) = $node->psql('postgres', 'SET ROLE healthy; DROP OWNED BY owner');
like($err, qr/permission denied/, 'of a role that one is no member of it does not');
is(sql(q{SELECT count(*) FROM cron.job WHERE username = 'owner'}), '1', 'its job is still there');

# ---- restarted ------------------------------------------------------------------------------

# While nobody watches: the scheduler learns of it at its start.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
sql('ALTER ROLE new_name RENAME TO newest_name; DROP OWNED BY owner; DROP ROLE owner');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'securatlas_sched'");
$node->restart;
scheduler_pid($node);
wait_for($node, "SELECT username FROM cron.job WHERE jobname = 'renamed'", 'newest_name',
	'a restarted scheduler finds the new name');
wait_for($node, "SELECT active FROM cron.job WHERE jobname = 'owned'", 'f', 'and that a role is gone');
my $restarted = sql('SELECT clock_timestamp()');
wait_for($node, qq{SELECT EXISTS (SELECT FROM cron.job_run_details
	WHERE jobname = 'healthy' AND status = 'succeeded' AND scheduled_at > '$restarted')}, 't',
	'the healthy job has gone on');

$node->stop;
done_testing();
