# A publication for all tables, and a subscriber that holds the extension, too: runs and requests go on
# at the publisher, and the copy does not act before it is told to.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $publisher = new_node('publisher', wal_level => 'logical', autovacuum => 'on');
$publisher->start;
my $scheduler = install($publisher);
sub pub { return $publisher->safe_psql('postgres', $_[0]) }

# ---- the publisher ----------------------------------------------------------------------------

# Every table of the extension can be updated and deleted from while it is published.
pub('CREATE PUBLICATION everything FOR ALL TABLES');
is(pub(q{
	SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	 WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'securatlas_sched') AND c.relkind = 'r'
	   AND NOT (c.relreplident = 'f' OR c.relreplident = 'd' AND EXISTS (
	            SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))}), '',
	'every table has a replica identity');
pub('CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA cron, net TO worker');
pub(q{CREATE TABLE acted (id bigint GENERATED ALWAYS AS IDENTITY, job text, port text,
	PRIMARY KEY (id, port)); GRANT INSERT ON acted TO PUBLIC});
my $act = q{INSERT INTO public.acted (job, port) VALUES (current_setting('cron.job_name'), current_setting('port'))};
pub("SET ROLE worker; SELECT cron.schedule('job $_', '1 second', \$c\$$act\$c\$)") for 1 .. 3;
pub(q{SELECT cron.pause('job 3', 'by hand')});
wait_for($publisher, 'SELECT count(DISTINCT job) > 1 FROM acted', 't', 'jobs run');
pub("SELECT pg_terminate_backend($scheduler)");
my $second = scheduler_pid($publisher);
isnt($second, $scheduler, 'a scheduler that was ended starts again');
my $runs = pub('SELECT count(*) FROM acted');
wait_for($publisher, "SELECT count(*) > $runs FROM acted", 't', 'and runs go on');
my $url = $stub->url('/first');
pub("SET ROLE worker; SELECT net.http_get('$url')");
wait_for($publisher, q{SELECT state FROM net._http_response}, 'succeeded', 'requests go on, too');
pub(q{SELECT cron.purge_history('0'), cron.schedule('gone', '@yearly', 'SELECT 1'), cron.unschedule('gone')});
pass('jobs and runs can be deleted');

$publisher->stop;
done_testing();
