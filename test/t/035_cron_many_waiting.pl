# Very many runs that wait: what the scheduler does for each does not depend on how many there are, also where
# PostgreSQL believes that there are none.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $runs = 4000;
my $node = new_node('many', autovacuum => 'off');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	INSERT INTO cron.job_run_details (jobid, database, username, command, status, start_time, end_time)
	SELECT 0, 'postgres', 'postgres', 'SELECT 1', 'succeeded', now(), now() FROM generate_series(1, 20000);
	VACUUM ANALYZE cron.job_run_details;
	SELECT cron.schedule('long', '0 0 1 1 *', 'SELECT pg_sleep(3600)');
	SELECT cron.run_job('long')});
wait_for($node, q{SELECT count(*) FROM cron_stat.workers WHERE state = 'busy'}, '1', 'a run goes on');

# All of them wait for the one before, and their rows say so.
$node->safe_psql('postgres', "SELECT count(cron.run_job('long')) FROM generate_series(1, $runs)");
wait_for($node, q{SELECT count(*) FROM cron.job_run_details WHERE COALESCE(status, '') = 'starting' AND reason <> ''}, $runs,
	'all others wait for it');
# The scheduler tells what it has read with a transaction that it makes a second later or more: for another run.
wait_for($node, qq{SELECT n_tup_upd >= $runs FROM pg_stat_user_tables, cron.run_job('long') WHERE relname = 'job_run_details'}, 't',
	'it is counted what was read for that');
my $read = q{SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'job_run_details_unfinished_idx'};
cmp_ok($node->safe_psql('postgres', $read), '<', 5 * $runs, 'not all waiting runs for each of them');

is($node->safe_psql('postgres', q{SELECT cron.cancel_run(max(runid)) FROM cron.job_run_details}), 't', 'one of them is cancelled');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cron.job_run_details WHERE reason = 'cancelled'}), '1', 'and waits no more');

$node->stop('immediate');
done_testing();
