# Dumps by roles that are no superusers, and restores of jobs that are not valid on the new server
# or whose roles do not exist there.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('origin');
$node->start;
$node->safe_psql('postgres', qq{CREATE ROLE owner LOGIN; CREATE ROLE dumper LOGIN BYPASSRLS; CREATE ROLE absent LOGIN;
	CREATE DATABASE app OWNER owner});
install($node, 'app');
sub sql { return $node->safe_psql('app', $_[0]) }
sub schedule
{
	my ($role, $name) = @_;
	sql("SET ROLE $role; SELECT cron.schedule('$name', '1 second', 'SELECT 1'), cron.pause('$name')");
	return;
}
sql(q{GRANT USAGE ON SCHEMA cron, net TO owner, dumper, absent});
schedule('owner', "job $_") for 1 .. 3;
schedule('absent', 'absent');
sql(q{SET ROLE owner; SELECT net.set_secret('of_owner', 'a value')});
sql(q{SET ROLE absent; SELECT net.set_secret('of_absent', 'a value')});
sql(q{SET ROLE owner; SELECT net.http_get('http://127.0.0.1:1/', timeout_milliseconds => 1)});

sub dump_ok
{
	my ($role, $what, @options) = @_;
	my $file = $node->basedir . "/$what.dump";
	$file =~ s/ /_/g;
	$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('app'), '-U', $role, '-f', $file, @options ],
		"a dump by $what");
	return $file;
}
# The text of a table's rows in a dump.
sub rows
{
	my ($file, $table) = @_;
	my ($stdout, $stderr) = ('', '');
	IPC::Run::run([ 'pg_restore', '-a', '-f', '-', $file ], '>', \$stdout, '2>', \$stderr) or die $stderr;
	return $stdout =~ /^COPY \Q$table\E [^\n]*\n(.*?)^\\\.$/ms ? $1 : '';
}

# ---- who may dump -----------------------------------------------------------------------------

my $bypassing = dump_ok('dumper', 'a role with BYPASSRLS');
is(scalar(() = rows($bypassing, 'cron.job') =~ /\n/g), 4, 'has all jobs');
is(scalar(() = rows($bypassing, 'net.secret') =~ /\n/g), 2, 'and all secrets, encrypted');
unlike(rows($bypassing, 'net.secret'), qr/a value/, 'which are no plain text');
my $owned = dump_ok('owner', 'the owner of the database', '--enable-row-security');
like(rows($owned, 'cron.job'), qr/job 1.*job 2.*job 3/s, 'has the jobs of that role');
unlike(rows($owned, 'cron.job'), qr/absent/, 'and no others');
like(rows($owned, 'net.secret'), qr/of_owner/, 'its secrets');
unlike(rows($owned, 'net.secret'), qr/of_absent/, 'and no others');
dump_ok('owner', 'the owner without schemas cron and net', '-N', 'cron', '-N', 'net', '--enable-row-security');
dump_ok('dumper', 'a role with BYPASSRLS without them', '-N', 'cron', '-N', 'net');
my ($rc, $out, $err) = $node->psql('app', 'SET ROLE owner; SELECT sealed FROM net.secret WHERE owner::regrole::text <> current_user');
is($out, '', 'others see no secret, not even encrypted');

# ---- who may write what the scheduler has planned ----------------------------------------------

sql(q{GRANT ALL ON ALL TABLES IN SCHEMA cron TO dumper});
for my $statement ("UPDATE cron.scheduler_state SET planned_until = '2000-01-01'", 'DELETE FROM cron.scheduler_state',
	"INSERT INTO cron.scheduler_state SELECT * FROM cron.scheduler_state", 'TRUNCATE cron.scheduler_state')
{
	($rc, $out, $err) = $node->psql('app', "SET ROLE dumper; $statement", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/42501: permission denied for table scheduler_state\nDETAIL: /, "not by a grant: $statement");
}

# ---- what a restore cannot read -----------------------------------------------------------------

schedule('owner', $_) for 'bad zone', 'bad schedule', 'too long';
sql(q{UPDATE cron.job SET active = true WHERE jobname <> 'job 3';
	ALTER TABLE cron.job DISABLE TRIGGER USER;
	UPDATE cron.job SET timezone = 'Middle/Earth' WHERE jobname = 'bad zone';
	UPDATE cron.job SET schedule = 'now and then' WHERE jobname = 'bad schedule';
	UPDATE cron.job SET command = 'SELECT 1 /*' || repeat('x', 10000000) || '*/' WHERE jobname = 'too long';
	UPDATE cron.job SET active = true;
	UPDATE cron.job SET active = false, note = 'by hand' WHERE jobname = 'job 3'});
my $damaged = dump_ok('postgres', 'a superuser');

my $target = new_node('target');
$target->start;
# The role has another number here than there, and its number there is another role's.
$target->safe_psql('postgres', qq{CREATE ROLE r$_}) for 1 .. 3;
$target->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE ROLE dumper; CREATE DATABASE app OWNER owner');
$target->command_fails_like([ 'pg_restore', '-d', $target->connstr('app'), $damaged ],
	qr/role "absent" does not exist/, 'a dump is restored where a role is missing');
is(scheduler_pid($target, 'app') > 0, 1, 'with a scheduler');
my %expected = (
	'job 1' => qr/^t $/,
	'job 3' => qr/^f by hand$/,
	'absent' => qr/^f paused: role "absent" does not exist\. Create it.*cron\.resume/,
	'bad zone' => qr/^f paused: time zone "Middle\/Earth" not recognized\..*cron\.resume/,
	'bad schedule' => qr/^f paused: invalid schedule: now and then \(.*cron\.resume/,
	'too long' => qr/^f paused: command is too long\./);
for my $job (sort keys %expected)
{
	like($target->safe_psql('app', "SELECT active, note FROM cron.job WHERE jobname = '$job'") =~ s/\|/ /r,
		$expected{$job}, "$job: restored, and no error");
}
is($target->safe_psql('app', q{
	SELECT string_agg(jobname, ',' ORDER BY jobname) FROM cron.job WHERE NOT active AND note LIKE 'paused: %'}),
	'absent,bad schedule,bad zone,too long', 'one query lists those that could not be read');
is($target->safe_psql('app', q{SELECT roleid::regrole FROM cron.job WHERE jobname = 'job 1'}), 'owner',
	'a job belongs to the role of that name');
wait_for($target, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded' AND jobname = 'job 1'},
	't', 'the others run', 'app');
$target->safe_psql('app', q{CREATE ROLE absent LOGIN; SELECT cron.resume('absent')});
wait_for($target, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded' AND jobname = 'absent'
	AND username = 'absent'}, 't', 'and that of the role, when it is made', 'app');

# ---- past the triggers ------------------------------------------------------------------------

$target->safe_psql('postgres', 'CREATE DATABASE loaded');
install($target, 'loaded');
$target->safe_psql('loaded', q{GRANT USAGE ON SCHEMA cron TO owner});
my $scheduler = scheduler_pid($target, 'loaded');
$target->command_ok([ 'pg_restore', '-d', $target->connstr('loaded'), '--data-only', '--disable-triggers',
	'-t', 'job', '-t', 'job_dependency', '-t', 'scheduler_state', $bypassing ], 'pg_restore --disable-triggers');
is($target->safe_psql('loaded', q{
	SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger
	 WHERE tgrelid IN ('cron.job'::regclass, 'cron.job_dependency'::regclass) AND NOT tgisinternal}), 'A',
	'triggers fire as before');
is($target->safe_psql('loaded', q{SELECT DISTINCT roleid::regrole FROM cron.job WHERE jobname LIKE 'job%'}), 'owner',
	'a role is found by its name even so');
$target->safe_psql('loaded', q{UPDATE cron.job SET database = 'loaded'; SELECT cron.resume(jobid) FROM cron.job WHERE jobname = 'job 1'});
wait_for($target, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded'}, 't',
	'what is changed reaches the scheduler', 'loaded');
is(scheduler_pid($target, 'loaded'), $scheduler, 'without a start of it');

$node->stop;
$target->stop;
done_testing();
