# Where no process of the extension may run: without preloading, during pg_upgrade, and with a
# library of another version than the extension.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('gate', autovacuum => 'on');
$node->start;
install($node);
make_effects($node);
$node->safe_psql('postgres', q{
	CREATE ROLE plain LOGIN;
	GRANT USAGE ON SCHEMA cron, net TO plain;
	CREATE DATABASE empty;
	CREATE DATABASE target;});
$node->safe_psql('postgres', "SELECT cron.schedule('due', '1 second', \$c\$" . effect() . "\$c\$)");
$node->safe_psql('postgres', "SELECT cron.schedule('later', '0 0 1 1 *', 'SELECT 1')",
	extra_params => [ '-U', 'plain' ]);
wait_for($node, 'SELECT count(*) > 0 FROM effects', 't', 'the job runs while the library is loaded');

# SQLSTATE, message and hint of a statement's error.
sub error_of
{
	my ($sql, $database) = @_;
	my ($rc, $out, $err) = $node->psql($database // 'postgres', "\\set VERBOSITY verbose\n$sql");
	return $err;
}

# ---- not preloaded --------------------------------------------------------------------------

$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->restart;
my $not_loaded = qr/55000: library "securatlas_sched" is not loaded by the server.*HINT: .*shared_preload_libraries = 'securatlas_sched'/s;

like(error_of('CREATE EXTENSION securatlas_sched', 'empty'), $not_loaded,
	'CREATE EXTENSION is refused with the line to add');
for my $sql (
	'SELECT cron.schedule(\'* * * * *\', \'SELECT 1\')',
	'SELECT cron.explain_schedule(\'* * * * *\')',
	'SELECT * FROM cron.jobs',
	'SELECT * FROM cron.upcoming_runs',
	'SELECT * FROM cron.scheduler_status',
	'INSERT INTO cron.job (schedule, command) VALUES (\'* * * * *\', \'SELECT 1\')',
	'UPDATE cron.job SET active = false',
	'DELETE FROM cron.job',
	'TRUNCATE cron.job',
	'SELECT net.http_get(\'http://localhost/\')',
	'SELECT net.set_secret(\'a\', \'b\')',
	'SELECT cron.purge_history()',
	'SELECT net._urlencode_string(\'a b\')')
{
	like(error_of($sql), $not_loaded, "55000: $sql");
}
like(error_of('SET ROLE plain; SELECT * FROM cron.job'), $not_loaded,
	'so does the row security of a plain role');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), '2', 'the tables can be read');

# Calls each function of the extension with values, and with NULLs where it takes them, each in a
# transaction that is rolled back. A list of [language, call, SQLSTATE].
my $calls = q{
WITH member AS (
	SELECT p.*, l.lanname
	  FROM pg_extension e
	  JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
	  JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
	  JOIN pg_language l ON l.oid = p.prolang
	 WHERE e.extname = 'securatlas_sched' AND p.prokind = 'f')
SELECT lanname, 'CREATE TABLE fires (a int); '
       || format('CREATE TRIGGER t BEFORE INSERT ON fires FOR EACH ROW EXECUTE FUNCTION %s(%L); ', oid::regproc, 'http://x/')
       || 'INSERT INTO fires VALUES (1)'
  FROM member WHERE prorettype = 'trigger'::regtype
UNION ALL
SELECT lanname, format('SELECT * FROM %s(%s)', m.oid::regproc, (
	SELECT string_agg(CASE WHEN m.provariadic <> 0 AND n = m.pronargs THEN 'VARIADIC ' ELSE '' END || CASE
	           WHEN nulls OR typtype = 'c' THEN 'NULL'
	           WHEN t.oid = 'float8[]'::regtype THEN '''{1,2,3,4}'''
	           WHEN typcategory = 'A' OR typname IN ('json', 'jsonb') THEN '''{}'''
	           WHEN typcategory = 'N' THEN '''1'''
	           WHEN typcategory = 'B' THEN '''t'''
	           WHEN typcategory = 'D' THEN '''2000-01-01'''
	           WHEN typcategory = 'T' THEN '''1 hour'''
	           WHEN typname = 'uuid' THEN quote_literal(gen_random_uuid())
	           WHEN typname LIKE 'reg%' THEN '''0'''
	           ELSE '''x''' END || '::' || t.oid::regtype, ', ' ORDER BY n)
	  FROM unnest(m.proargtypes::oid[]) WITH ORDINALITY AS a(type, n)
	  JOIN pg_type t ON t.oid = a.type))
  FROM member m, unnest(ARRAY[false, true]) AS nulls
 WHERE prorettype NOT IN ('trigger'::regtype, 'internal'::regtype) AND 'internal'::regtype <> ALL (m.proargtypes::oid[])
   AND NOT (nulls AND proisstrict)};

sub call_all
{
	my @all = map { [ split /\|/, $_, 2 ] } split /\n/, $node->safe_psql('postgres', $calls);
	my $script = join '', map {
		"BEGIN; SET LOCAL statement_timeout = 2000;\n$_->[1];\n\\warn state :SQLSTATE\nROLLBACK;\n" } @all;
	my ($rc, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0);
	my @states = $err =~ /^state ([0-9A-Z]{5})$/mg;
	is(scalar(@states), scalar(@all), 'each call is answered');
	return map { [ @$_, shift @states ] } @all;
}
my @calls = call_all();
is(join("\n", map { "$_->[2] $_->[1]" } grep { $_->[0] eq 'c' && $_->[2] ne '55000' } @calls), '',
	'each function in C says 55000, with values and with NULLs');
cmp_ok(scalar(grep { $_->[0] eq 'c' } @calls), '>', 60, 'these are many');
cmp_ok(scalar(grep { $_->[0] ne 'c' } @calls), '>', 30, 'and the others have been called, too');

is($node->safe_psql('postgres', "LOAD 'securatlas_sched'; SELECT 1"), '1', 'LOAD does no harm');
{
	local $ENV{PGOPTIONS} = '-c session_preload_libraries=securatlas_sched';
	like(error_of("SELECT cron.schedule('* * * * *', 'SELECT 1')"), $not_loaded,
		'session_preload_libraries is not enough');
	like(error_of("SET cron.timezone = 'UTC'; SELECT cron.next_runs('* * * * *')"), $not_loaded,
		'nor does a setting of that name help');
}
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump works');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE postgres');
$node->safe_psql('copy', 'DROP EXTENSION securatlas_sched');
is($node->safe_psql('copy', "SELECT count(*) FROM pg_namespace WHERE nspname IN ('cron', 'net')"), '0',
	'DROP EXTENSION works');
is(log_count($node, qr/terminated by signal|server process .* exited/), 0, 'no process of the server has died');

$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'securatlas_sched'");
$node->restart;
scheduler_pid($node);
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('target') ],
	'what was dumped is restored where the library is loaded');
is($node->safe_psql('target', 'SELECT string_agg(jobname, \' \' ORDER BY jobid) FROM cron.job'), 'due later',
	'with all jobs');
is(join("\n", map { $_->[1] } grep { $_->[0] eq 'c' && $_->[2] eq '55000' } call_all()), '',
	'where the library is loaded none of them does');
is(log_count($node, qr/terminated by signal/), 0, 'and none ends the server');
$node->safe_psql('postgres', 'DROP DATABASE target; DROP DATABASE copy');

# ---- another version ------------------------------------------------------------------------

# What ALTER EXTENSION ... UPDATE does to the row, and a change of the extension that is seen.
$node->safe_psql('postgres', 'CREATE FUNCTION public.member() RETURNS int LANGUAGE sql AS $$SELECT 1$$');
sub set_version
{
	my ($version, $change) = @_;
	$node->safe_psql('postgres', qq{
		BEGIN;
		UPDATE pg_extension SET extversion = '$version' WHERE extname = 'securatlas_sched';
		ALTER EXTENSION securatlas_sched $change FUNCTION public.member();
		COMMIT;});
	return;
}
my $version = $node->safe_psql('postgres',
	"SELECT extversion FROM pg_extension WHERE extname = 'securatlas_sched'");
my $refused = qr/the loaded library is for version \Q$version\E of extension "securatlas_sched", but this database has version 0\.0/;
my $session = $node->background_psql('postgres', on_error_stop => 0);
like($session->query('SELECT cron.next_runs(\'* * * * *\', 1) IS NOT NULL'), qr/^t$/m, 'a session works');

set_version('0.0', 'ADD');
like(error_of("SELECT cron.schedule('* * * * *', 'SELECT 1')"),
	qr/55000: $refused.*HINT: .*ALTER EXTENSION securatlas_sched UPDATE/s,
	'an extension of another version: 55000');
$session->query('SELECT cron.next_runs(\'* * * * *\', 1) IS NOT NULL');
like($session->{stderr}, $refused, 'in a session that has called our functions before, too');
wait_until(sub { log_count($node, qr/scheduler: $refused; nothing runs here/) == 1 },
	'the scheduler says so');
# Its other settings are read and the latch is set: it goes on waiting, and says nothing more.
my $run = $node->safe_psql('postgres', 'SELECT coalesce(max(runid), 0) FROM cron.job_run_details');
my $waiting = $node->safe_psql('postgres', q{
	SELECT pid FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type = 'securatlas_sched scheduler'});
like($waiting, qr/^\d+$/, 'and is there');
set_version('0.0.1', 'DROP');
set_version('0.0', 'ADD');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cron.job_run_details WHERE runid > ' . $run), '0',
	'nothing runs');
set_version($version, 'DROP');
$session->{stderr} = '';
like($session->query('SELECT cron.next_runs(\'* * * * *\', 1) IS NOT NULL'), qr/^t$/m,
	'after the update the session works again');
$session->quit;
is(scheduler_pid($node), $waiting, 'and the same scheduler');
wait_for($node, "SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded' AND runid > $run", 't',
	'which runs jobs');
is(log_count($node, qr/nothing runs here/), 1, 'it said once what it waited for');

# ---- binary upgrade mode --------------------------------------------------------------------

my $registered = qr/registering background worker "securatlas_sched launcher"/;
my $before = log_count($node, $registered);
$node->append_conf('postgresql.conf', "log_min_messages = debug1");
$node->restart;
is(log_count($node, $registered) - $before, 1, 'a launcher is registered at a start');
scheduler_pid($node);
$node->stop;
my $log = $node->basedir . '/upgrade_mode.log';
command_ok([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $log, '-o', '-b', 'start' ],
	'the server starts in binary upgrade mode');
my $effects = $node->safe_psql('postgres', 'SELECT count(*) FROM effects');
is($node->safe_psql('postgres', "SELECT cron.next_runs('* * * * *', 1) IS NOT NULL"), 't',
	'the library is loaded');
is(scalar(our_pids($node)), 0, 'nothing of ours runs');
command_ok([ 'pg_ctl', '-w', '-D', $node->data_dir, 'stop' ], 'it stops');
unlike(slurp_file($log), $registered, 'nor would have later');
$node->start;
is($node->safe_psql('postgres',
	'SELECT count(*) FROM effects WHERE at < pg_postmaster_start_time()'), $effects, 'no job ran');

$node->stop;
done_testing();
