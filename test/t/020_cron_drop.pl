# The extension can be dropped at any moment: no process of the extension blocks that, deadlocks or
# logs errors.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('drop', autovacuum => 'on', autovacuum_naptime => 1, log_lock_waits => 'on');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE owner_of_it SUPERUSER LOGIN; CREATE ROLE plain LOGIN');

# Runs SQL that creates, uses and drops the extension; returns the errors.
sub errors_of
{
	my ($count, $sql) = @_;
	my @errors;
	for my $i (1 .. $count)
	{
		# The processes are at another step of theirs each time.
		my $pause = sprintf('%.3f', ($i % 4) * ($i % 5) / 100);
		(my $script = $sql) =~ s/PAUSE/SELECT pg_sleep($pause)/;
		my ($rc, $out, $err) = $node->psql('postgres', $script, on_error_stop => 1);
		push @errors, $err if $rc != 0;
		$node->psql('postgres', 'SET client_min_messages = error; DROP EXTENSION IF EXISTS securatlas_sched')
		  if $rc != 0;
	}
	return join "\n", @errors;
}

my $use = q{
	SELECT cron.schedule('j' || i, '1 second', 'SELECT count(*) FROM cron.job') FROM generate_series(1, 5) i;
	SELECT cron.run_job('j1');
	SELECT net.http_get('http://127.0.0.1:9/') FROM generate_series(1, 3);};
is(errors_of(60, "CREATE EXTENSION securatlas_sched; $use PAUSE; DROP EXTENSION securatlas_sched;"), '',
	'DROP EXTENSION right after CREATE EXTENSION and jobs');
is(errors_of(10, "CREATE EXTENSION securatlas_sched; $use PAUSE;
	BEGIN; DROP EXTENSION securatlas_sched; SELECT pg_sleep(0.05); COMMIT;"), '',
	'and in a transaction that goes on for a while');
is(errors_of(15, "SET ROLE owner_of_it; CREATE EXTENSION securatlas_sched; $use PAUSE;
	RESET ROLE; DROP OWNED BY owner_of_it CASCADE;"), '', 'DROP OWNED BY its owner');

# A scheduler that the commit of DROP EXTENSION calls sees each time that the extension is gone.
$node->safe_psql('postgres', q{
	CREATE PROCEDURE make_and_drop(times int) LANGUAGE plpgsql AS $$
	DECLARE
		attached text := 'SELECT EXISTS (SELECT FROM cron.scheduler_status s JOIN pg_stat_activity a USING (pid)
			WHERE a.wait_event_type = ''Extension'')';
		stays text := 'SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND
			backend_type = ''securatlas_sched scheduler'')';
		answer boolean;
		until timestamptz;
	BEGIN
		FOR i IN 1 .. times LOOP
			CREATE EXTENSION securatlas_sched;
			COMMIT;
			LOOP
				EXECUTE attached INTO answer;
				EXIT WHEN answer;
				PERFORM pg_sleep(0.002);
				COMMIT;
			END LOOP;
			DROP EXTENSION securatlas_sched;
			COMMIT;
			until := clock_timestamp() + interval '1 min';
			LOOP
				EXECUTE stays INTO answer;
				EXIT WHEN NOT answer;
				IF clock_timestamp() > until THEN
					RAISE EXCEPTION 'the scheduler stays after DROP EXTENSION number %', i;
				END IF;
				PERFORM pg_sleep(0.002);
				COMMIT;
			END LOOP;
		END LOOP;
	END $$});
is($node->psql('postgres', 'CALL make_and_drop(200)'), 0, 'the scheduler leaves after each of 200 DROP EXTENSION');

# What is dropped and made again in one transaction is new for the scheduler.
my $first = install($node);
$node->safe_psql('postgres', $use);
$node->safe_psql('postgres', q{
	BEGIN; DROP EXTENSION securatlas_sched; CREATE EXTENSION securatlas_sched;
	SELECT cron.schedule('new', '1 second', 'SELECT 1'); COMMIT});
wait_for($node, "SELECT count(*) > 1 FROM cron.job_run_details WHERE status = 'succeeded' AND jobname = 'new'", 't',
	'one that is dropped and made again in one transaction runs its new jobs');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job_run_details WHERE jobname <> 'new'"), '0',
	'and no old ones');

# A scheduler that starts while the extension is being dropped leaves as well.
my $dropper = $node->background_psql('postgres');
$dropper->query_safe('BEGIN; DROP EXTENSION securatlas_sched');
my $scheduler = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'securatlas_sched scheduler'});
kill 'TERM', $scheduler;
wait_for($node, qq{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched scheduler' AND pid <> $scheduler}, '1',
	'another scheduler starts while the extension is locked');
$dropper->query_safe('COMMIT');
$dropper->quit;
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched scheduler'}, '0', 'and leaves when it is gone');
install($node);

# The schema is a member of the extension.
my ($rc, $out, $err) = $node->psql('postgres', 'DROP SCHEMA cron CASCADE');
like($err, qr/cannot drop schema cron because extension securatlas_sched requires it/,
	'DROP SCHEMA cron CASCADE is refused');
$node->safe_psql('postgres', 'DROP EXTENSION securatlas_sched');
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'securatlas_sched %' AND
	backend_type NOT LIKE '%launcher'", '0', 'then all processes leave');

is(log_count($node, 'deadlock detected'), 0, 'no deadlock');
is(log_count($node, 'securatlas_sched.*does not exist'), 0, 'nobody looks for tables that are gone');
is(log_count($node, 'canceling statement due to lock timeout'), 0, 'nobody waits for a lock in vain');
$node->stop;
done_testing();
