# A run that is asked for is never taken for one of a job that is gone, however many jobs change meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('requested');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	SELECT count(cron.schedule('job ' || i, '@yearly', 'SELECT 1')) FROM generate_series(1, 3000) i;
	CREATE PROCEDURE ask_for_runs(number int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. number LOOP
			PERFORM cron.schedule('new ' || i, '@yearly', 'SELECT 1');
			COMMIT;
			PERFORM cron.run_job('new ' || i);
			COMMIT;
			PERFORM pg_sleep(0.005);
		END LOOP;
	END $$;});

# So many changes that the scheduler reads all jobs again, while others are made.
my $changes = $node->background_psql('postgres');
$changes->query_until(qr/begins/, q{\echo begins
	DO $$ BEGIN
		WHILE NOT EXISTS (SELECT FROM cron.job WHERE jobname = 'enough') LOOP
			UPDATE cron.job SET max_retries = 1 - max_retries WHERE jobname LIKE 'job %';
			COMMIT;
		END LOOP;
	END $$;
});
$node->safe_psql('postgres', 'CALL ask_for_runs(200)');
$node->safe_psql('postgres', q{SELECT cron.schedule('enough', '@yearly', 'SELECT 1')});
$changes->quit;
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE jobname LIKE 'new %' AND status NOT IN ('starting', 'running')},
	'200', 'all runs have ended');
is($node->safe_psql('postgres', q{
	SELECT status, reason, count(*) FROM cron.job_run_details WHERE jobname LIKE 'new %' GROUP BY 1, 2}),
	'succeeded||200', 'and have succeeded');

$node->stop;
done_testing();
