# A database is dropped at any moment: its processes leave, and no process that starts for it finds it gone
# or is interrupted, which would be an error in the server's log. After a rename and a DROP that fails they come back.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

# Lines of the log name the type of the process: autovacuum has errors of its own with databases that go.
my $node = new_node('dropped', autovacuum => 'on', max_worker_processes => 40, log_line_prefix => "'%m [%p] <%b> '",
	init => { allows_streaming => 1 });
# A run that takes long is interrupted.
my $fatal = qr/<securatlas.*> FATAL:(?!.*terminating.*job worker)/;
$node->start;
install($node);
$node->safe_psql('postgres', 'CREATE DATABASE original');
install($node, 'original');
$node->safe_psql('original', q{SELECT cron.schedule('short', '1 second', 'SELECT 1')});

# ---- as soon as it is there ------------------------------------------------------------------
for my $case (
	[ 'its scheduler starts', 'SELECT 1' ],
	[ 'its workers start', q{SELECT cron.resume('short'), cron.run_job('short')} ],
	[ 'its http worker starts', q{SELECT net.http_get('http://127.0.0.1:1/')} ])
{
	my ($what, $sql) = @$case;
	my $errors = '';
	for (1 .. 6)
	{
		$node->safe_psql('postgres', 'CREATE DATABASE brief TEMPLATE original');
		$node->safe_psql('brief', $sql);
		my ($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE brief');
		$errors .= $err;
	}
	is($errors, '', "DROP DATABASE while $what");
}
is(log_count($node, $fatal), 0, 'no process finds its database gone, or is interrupted while it starts');

# ---- between the end of the statement and that of its transaction ----------------------------
# There is no such standby: a commit waits for it. These sessions do not.
local $ENV{PGOPTIONS} = '-c synchronous_commit=local';
my $dropper = $node->background_psql('postgres');
$dropper->query_safe('CREATE DATABASE leaving TEMPLATE original');
scheduler_pid($node, 'leaving');
$node->safe_psql('postgres', q{SELECT cron.schedule_in_database('there', '0 0 1 1 *', 'SELECT 1', 'leaving')});
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
wait_for($node, 'SHOW synchronous_standby_names', 'nobody', 'a commit waits');
$dropper->query_safe('SET synchronous_commit = on');
$dropper->query_until(qr/start/, "\\echo start\nDROP DATABASE leaving;\n");
wait_for($node, q{SELECT wait_event FROM pg_stat_activity WHERE query LIKE 'DROP DATABASE%'}, 'SyncRep', 'that of DROP DATABASE does');
$node->safe_psql('postgres', 'CREATE DATABASE beside TEMPLATE original');
scheduler_pid($node, 'beside');
my $run = $node->safe_psql('postgres', q{SELECT cron.run_job('there')});
wait_for($node, 'SELECT waiting FROM cron.scheduler_status', '1', 'a run of another database waits until it is known whether its own is dropped');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_locks l JOIN pg_database d ON l.objid = d.oid
	 WHERE l.classid = 'pg_database'::regclass AND d.datname = 'leaving' AND NOT granted}), '0',
	'nobody connects to the database meanwhile');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
$dropper->quit;
wait_for($node, "SELECT status, sqlstate, reason, return_message ~ 'does not exist' FROM cron.job_run_details WHERE runid = $run",
	'failed|3D000|could not start|t', 'it fails, because it is');
is(log_count($node, $fatal), 0, 'then no process has been started for it');
$node->safe_psql('postgres', q{SELECT cron.unschedule('there')});

# ---- it stays --------------------------------------------------------------------------------
my $user = $node->background_psql('beside');
$user->query_safe('SELECT 1');
my ($rc, $out, $err) = $node->psql('postgres', 'DROP DATABASE beside');
like($err, qr/database "beside" is being accessed by other users/, 'DROP DATABASE fails while it is used');
$user->quit;
scheduler_pid($node, 'beside');
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE beside RENAME TO other; ROLLBACK');
scheduler_pid($node, 'beside');
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE beside RENAME TO other; COMMIT');
scheduler_pid($node, 'other');
$node->safe_psql('postgres', q{SELECT cron.schedule_in_database('there', '0 0 1 1 *', 'SELECT 1', 'other')});
$run = $node->safe_psql('postgres', q{SELECT cron.run_job('there')});
wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', 'and runs go there');
is(log_count($node, $fatal), 0, 'and after a rename and a rollback of one its processes are there again');
$node->stop;
done_testing();
