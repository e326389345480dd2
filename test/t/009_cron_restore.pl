# A dump that is restored beside its original, and one whose original does not exist any more.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('restore');
$node->start;

sub restore_into
{
	my ($dump, $database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', $dump ],
		"the dump is restored into $database");
	scheduler_pid($node, $database);
	return;
}

$node->safe_psql('postgres', 'CREATE DATABASE original');
install($node, 'original');
make_effects($node, 'original');
$node->safe_psql('original', "SELECT cron.schedule('each', '1 second', \$c\$" . effect() . "\$c\$)");
$node->safe_psql('original', "SELECT cron.schedule('off', '1 second', 'SELECT 1'), cron.pause('off', 'a remark')");
$node->safe_psql('original', "SELECT cron.run_after('off', 'each')");
wait_for($node, 'SELECT count(*) > 0 FROM effects', 't', 'the job runs before its database is dumped', 'original');
my $dump = $node->basedir . '/original.sql';
$node->command_ok([ 'pg_dump', '-d', $node->connstr('original'), '-f', $dump ], 'the database is dumped');

# ---- beside its original --------------------------------------------------------------------

restore_into($dump, 'beside');
my $restored = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
wait_for($node, q{SELECT string_agg(format('%s %s %s', jobname, database, active), ', ' ORDER BY jobid) FROM cron.job},
	'each beside f, off beside f', 'jobs of a dump that is restored beside its original belong to the new database, and are paused', 'beside');
like($node->safe_psql('beside', q{SELECT note FROM cron.job WHERE jobname = 'each'}),
	qr/^paused: this database is a copy of "original"/, 'a job that was paused by the restore has a note');
is($node->safe_psql('beside', q{SELECT note FROM cron.job WHERE jobname = 'off'}),
	'a remark', 'a job that was paused before the dump keeps its note');
is($node->safe_psql('beside', 'SELECT count(*) FROM cron.job_dependency'), '1', 'the restore includes what a job runs after');
is($node->safe_psql('beside', 'SELECT string_agg(database_name, \', \') FROM cron.scheduler_state'),
	'beside', 'the planning state of the restored database is its own, not that of the original');
wait_for($node, "SELECT count(*) > 1 FROM effects WHERE at > '$restored'", 't', 'the jobs of the original go on beside the restored database', 'original');
is($node->safe_psql('beside', 'SELECT count(*) FROM cron.job_run_details'), '0', 'a database restored beside its original has run nothing');

$restored = $node->safe_psql('beside', 'SELECT clock_timestamp() FROM cron.resume(\'each\')');
wait_for($node, "SELECT count(*) > 0 FROM effects WHERE at > '$restored'", 't',
	'a job in a database restored beside its original runs when it is resumed', 'beside');

# ---- without its original -------------------------------------------------------------------

$node->safe_psql('postgres', "DROP DATABASE original");
restore_into($dump, 'instead');
wait_for($node, q{SELECT string_agg(format('%s %s %s', jobname, database, active), ', ' ORDER BY jobid) FROM cron.job},
	'each instead t, off instead f', 'jobs of a dump whose original is gone belong to the new database, and are not paused', 'instead');
wait_for($node, q{SELECT bool_and(transactional) FROM cron.job_run_details WHERE status = 'succeeded'}, 't',
	'jobs of a dump whose original is gone run', 'instead');

$node->stop;
done_testing();
