# However a run ends, its row is correct. Also retries, max_failures, overlap and order between
# jobs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('endings');
$node->start;
my $scheduler = install($node);
make_effects($node);
# All of it as a role that is no superuser.
$node->safe_psql('postgres', q{
	CREATE ROLE worker LOGIN IN ROLE pg_monitor;
	GRANT USAGE ON SCHEMA cron TO worker;
	GRANT CREATE ON SCHEMA public TO worker;
	ALTER TABLE effects OWNER TO worker});
$ENV{PGUSER} = 'worker';
$node->safe_psql('postgres', q{
	CREATE TABLE unique_at_end (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
	INSERT INTO unique_at_end VALUES (1);
	CREATE SEQUENCE tries;});

# A job that runs when it is asked to.
sub make_job
{
	my ($name, $command) = @_;
	$node->safe_psql('postgres', "SELECT cron.schedule('$name', '0 0 1 1 *', \$c\$$command\$c\$)");
	return;
}

sub run_job
{
	my ($name) = @_;
	return $node->safe_psql('postgres', "SELECT cron.run_job('$name')");
}

sub wait_for_end
{
	my ($run, $what) = @_;
	wait_for($node, "SELECT end_time IS NOT NULL FROM cron.job_run_details WHERE runid = $run", 't', "$what: ends");
	return;
}

sub row
{
	my ($run) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT status, sqlstate, transactional, coalesce(reason, '-'), job_pid IS NOT NULL, return_message
		  FROM cron.job_run_details WHERE runid = $run});
}

# Waits until the run is visibly in progress; returns its process.
sub wait_for_start
{
	my ($run) = @_;
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'running',
		'a run in progress is shown as running');
	return $node->safe_psql('postgres', "SELECT job_pid FROM cron.job_run_details WHERE runid = $run");
}

# ---- ends -----------------------------------------------------------------------------------

my $insert = effect();
my %ends = (
	success => [ $insert, qr/^succeeded\|00000\|t\|-\|t\|INSERT 0 1$/, 1 ],
	several => [ "$insert; SELECT 1", qr/^succeeded\|00000\|t\|-\|t\|SELECT 1$/, 1 ],
	error => [ "$insert; SELECT 1/0", qr/^failed\|22012\|t\|-\|t\|ERROR: division by zero/, 0 ],
	syntax => [ 'SELEKT 1', qr/^failed\|42601\|t\|-\|t\|ERROR: syntax error/, 0 ],
	raised => [ "$insert; DO \$\$ BEGIN RAISE EXCEPTION 'no luck' USING ERRCODE = 'AB123', HINT = 'wait'; END \$\$",
		qr/^failed\|AB123\|t\|-\|t\|ERROR: no luck.*HINT: wait/s, 0 ],
	at_commit => [ "$insert; INSERT INTO unique_at_end VALUES (1)",
		qr/^failed\|23505\|t\|-\|t\|ERROR: duplicate key.*DETAIL: Key/s, 0 ],
	ends_itself => [ "$insert; SELECT pg_terminate_backend(pg_backend_pid()); SELECT pg_sleep(60)",
		qr/^failed\|57P01\|t\|[^|]*\|t\|.*terminat/, 0 ],
	parts => [ "DO \$\$ BEGIN $insert; COMMIT; PERFORM 1/0; END \$\$",
		qr/^failed\|22012\|f\|-\|t\|ERROR: division by zero/, 1 ],
	alone => [ 'VACUUM effects', qr/^succeeded\|00000\|f\|-\|t\|VACUUM$/, 0 ],
	in_block => [ "BEGIN; $insert; COMMIT; BEGIN; $insert; ROLLBACK", qr/^succeeded\|00000\|f\|-\|t\|ROLLBACK$/, 1 ],
	read_only => [ 'SET default_transaction_read_only = on; SELECT 1',
		qr/^succeeded\|00000\|t\|-\|t\|SELECT 1$/, 0 ]);
for my $name (sort keys %ends)
{
	my ($command, $expected, $effects) = @{ $ends{$name} };
	make_job($name, $command);
	my $run = run_job($name);
	wait_for_end($run, $name);
	like(row($run), $expected, "$name: the row says how");
	is($node->safe_psql('postgres', qq{
		SELECT count(*) FROM effects e JOIN cron.job_run_details d USING (jobid, scheduled_at) WHERE runid = $run}),
		$effects, "$name: $effects effects");
}

make_job('sleeper', "$insert; SELECT pg_sleep(300)");
my $run = run_job('sleeper');
$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . wait_for_start($run) . ')');
wait_for_end($run, 'terminated from outside');
like(row($run), qr/^failed\|57P01\|t\|[^|]*\|t\|.*terminat/, 'terminated: the row says so');

$run = run_job('sleeper');
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . wait_for_start($run) . ')');
wait_for_end($run, 'cancelled from outside');
like(row($run), qr/^failed\|57014\|t\|-\|t\|ERROR: canceling statement due to user request/,
	'pg_cancel_backend: the row says so');

$run = run_job('sleeper');
wait_for_start($run);
is($node->safe_psql('postgres', "SELECT cron.cancel_run($run)"), 't', 'cron.cancel_run() finds a run in progress');
wait_for_end($run, 'cron.cancel_run()');
like(row($run), qr/^failed\|57014\|t\|cancelled\|t\|.*cron\.cancel_run/, 'cancelled: the row says so');
is($node->safe_psql('postgres', "SELECT cron.cancel_run($run)"), 'f', 'it can be cancelled only once');

make_job('stubborn', q{DO $$ BEGIN PERFORM pg_sleep(300); EXCEPTION WHEN query_canceled THEN NULL; END $$; } . $insert);
$node->safe_psql('postgres', "SELECT cron.configure_job('stubborn', max_runtime => '1 second')");
$run = run_job('stubborn');
wait_for_end($run, 'max_runtime');
like(row($run), qr/^failed\|57014\|t\|max_runtime\|t\|ERROR: canceling statement due to max_runtime/,
	'max_runtime: a command that catches its end does not get away with it');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM effects JOIN cron.job USING (jobid) WHERE jobname IN ('sleeper', 'stubborn')}), '0',
	'none of them left anything');

# Manual runs of one job follow each other; one that waits can be cancelled.
$run = run_job('sleeper');
wait_for_start($run);
my $waiting = run_job('sleeper');
wait_for($node, "SELECT reason FROM cron.job_run_details WHERE runid = $waiting", 'waiting for the previous run',
	'a second run says what it waits for');
is($node->safe_psql('postgres', "SELECT cron.cancel_run($waiting)"), 't', 'it can be cancelled');
like(row($waiting), qr/^failed\|57014\|t\|cancelled\|f\|cancelled before it started/, 'and says so at once');
$node->safe_psql('postgres', "SELECT cron.cancel_run($run)");
wait_for_end($run, 'the first');

is(log_count($node, 'could not record the end of a run'), 0, 'workers have recorded the ends of their runs');
is(scheduler_pid($node), $scheduler, 'the scheduler has seen all of it');

# ---- retries and max_failures ---------------------------------------------------------------

$node->safe_psql('postgres', qq{
	SELECT cron.schedule('third time', '\@at ' || (now() + interval '1 second'),
	    \$c\$$insert; SELECT 1 / (nextval('tries') / 3)\$c\$)});
$node->safe_psql('postgres', "SELECT cron.configure_job('third time', max_retries => 5, retry_period => '100 ms')");
wait_for($node, q{
	SELECT string_agg(attempt || ' ' || trigger || ' ' || status, ', ' ORDER BY attempt)
	  FROM cron.job_run_details WHERE jobname = 'third time'},
	'1 once failed', 'division by zero is an error that a retry cannot mend');

$node->safe_psql('postgres', q{
	CREATE FUNCTION fail_twice() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
	    IF nextval('tries') % 3 <> 1 THEN RAISE EXCEPTION 'not yet' USING ERRCODE = '40001'; END IF;
	END $$;
	SELECT setval('tries', 1);});
$node->safe_psql('postgres', qq{
	SELECT cron.schedule('third time', '\@at ' || (now() + interval '1 second'),
	    \$c\$$insert; SELECT fail_twice()\$c\$)});
my $job = $node->safe_psql('postgres', "SELECT jobid FROM cron.job WHERE jobname = 'third time'");
wait_for($node, qq{
	SELECT string_agg(attempt || ' ' || trigger || ' ' || status || ' ' || sqlstate, ', ' ORDER BY attempt)
	  FROM cron.job_run_details WHERE jobid = $job AND scheduled_at = (
	       SELECT max(scheduled_at) FROM cron.job_run_details WHERE jobid = $job)},
	'1 once failed 40001, 2 retry failed 40001, 3 retry succeeded 00000', 'each attempt has its own row');
is($node->safe_psql('postgres', "SELECT count(*) FROM effects WHERE jobid = $job"), '1', 'one effect');
wait_for($node, "SELECT count(*) FROM cron.job WHERE jobid = $job", '0', 'then the job is gone');

$node->safe_psql('postgres', "SELECT cron.schedule('hopeless', '1 second', 'SELECT 1/0')");
$node->safe_psql('postgres', "SELECT cron.configure_job('hopeless', max_failures => 2)");
wait_for($node, "SELECT active FROM cron.job WHERE jobname = 'hopeless'", 'f', 'max_failures pauses the job');
like($node->safe_psql('postgres', "SELECT note FROM cron.job WHERE jobname = 'hopeless'"),
	qr/^paused after 2 failed occurrences in a row; last: run \d+\. .*cron\.resume\('hopeless'\)/, 'with a note');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details
	WHERE jobname = 'hopeless' AND status = 'failed'"), '2', 'after two runs');

# ---- overlap --------------------------------------------------------------------------------

for my $policy (qw(buffer_one buffer_all skip cancel_other allow))
{
	$node->safe_psql('postgres', qq{
		BEGIN;
		SELECT cron.schedule('$policy', '1 second', \$c\$SELECT pg_sleep(2.5)\$c\$);
		SELECT cron.configure_job('$policy', overlap_policy => '$policy');
		COMMIT});
}
wait_for($node, q{SELECT min(n) >= 6 FROM (
	SELECT count(*) AS n FROM cron.job_run_details WHERE jobname IN ('buffer_one', 'buffer_all', 'skip', 'cancel_other', 'allow')
	 GROUP BY jobname) counted}, 't', 'there are occurrences of each policy');

sub of_policy
{
	my ($policy, $what) = @_;
	return $node->safe_psql('postgres', qq{SELECT $what FROM cron.job_run_details WHERE jobname = '$policy'});
}

my $skipped = "count(*) FILTER (WHERE status = 'skipped' AND reason = 'overlap: the previous run has not finished') > 0";
my $waits = "count(*) FILTER (WHERE status = 'starting' AND reason = 'waiting for the previous run')";
my $runs = "count(*) FILTER (WHERE status = 'running' OR status = 'starting' AND reason IS NULL)";
my $overlaps = q{
	SELECT count(*) FROM cron.job_run_details a JOIN cron.job_run_details b USING (jobid)
	 WHERE jobid = (SELECT jobid FROM cron.job WHERE jobname = '%s') AND a.runid < b.runid
	   AND a.status IN ('running', 'succeeded') AND b.status IN ('running', 'succeeded')
	   AND (a.start_time, coalesce(a.end_time, now())) OVERLAPS (b.start_time, coalesce(b.end_time, now()))};
is(of_policy('buffer_one', "$skipped, $waits <= 1, $runs <= 1"), 't|t|t', 'buffer_one: one waits, others are skipped');
is(of_policy('buffer_all', "$skipped, $waits > 1, $runs <= 1"), 'f|t|t', 'buffer_all: all wait');
is(of_policy('skip', "$skipped, $waits, $runs <= 1"), 't|0|t', 'skip: none waits');
is(of_policy('allow', "$skipped, $waits"), 'f|0', 'allow: none waits, none is skipped');
is(of_policy('cancel_other', "$skipped, count(*) FILTER (WHERE sqlstate = '57014' AND reason = 'cancelled') > 1, $runs <= 2"),
	'f|t|t', 'cancel_other: the last one takes the place of the others');
for my $policy (qw(buffer_one buffer_all skip))
{
	is($node->safe_psql('postgres', sprintf($overlaps, $policy)), '0', "$policy: one at a time");
}
cmp_ok($node->safe_psql('postgres', sprintf($overlaps, 'allow')), '>', 0, 'allow: side by side');
$node->safe_psql('postgres', "SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname ~ 'buffer|skip|cancel|allow'");

# ---- order ----------------------------------------------------------------------------------

# Made due at the same instant; the second would be done first.
$node->safe_psql('postgres', qq{
	BEGIN;
	CREATE TABLE at_once AS SELECT '\@at ' || (now() + interval '1.5 seconds') AS schedule;
	SELECT cron.schedule('sync', schedule, \$c\$$insert\$c\$) FROM at_once;
	SELECT cron.schedule('sync only if', schedule, \$c\$$insert\$c\$) FROM at_once;
	SELECT cron.schedule('recompute', schedule, \$c\$SELECT pg_sleep(1.5); SELECT 1/0\$c\$) FROM at_once;
	SELECT cron.run_after('sync', 'recompute');
	SELECT cron.run_after('sync only if', 'recompute', 'succeeded');
	COMMIT});
wait_for($node, "SELECT status, reason FROM cron.job_run_details WHERE jobname = 'sync'",
	'starting|waiting for recompute', 'a job that runs after another waits for it, visibly');
wait_for($node, q{
	SELECT string_agg(jobname || ' ' || status || ' ' || coalesce(reason, '-'), ', ' ORDER BY start_time)
	  FROM cron.job_run_details WHERE jobname IN ('sync', 'sync only if', 'recompute') AND end_time IS NOT NULL},
	'recompute failed -, sync only if skipped recompute failed, sync succeeded -',
	'then it runs, or is skipped if that is its condition');
is($node->safe_psql('postgres', q{
	SELECT a.end_time <= b.start_time FROM cron.job_run_details a, cron.job_run_details b
	 WHERE a.jobname = 'recompute' AND b.jobname = 'sync'}), 't', 'not before the other has ended');
is(scheduler_pid($node), $scheduler, 'the scheduler is the same');

invariants_hold($node, 'at the end');
$node->stop;
done_testing();
