# A job is not affected by other roles' jobs of the same name, by a lack of file descriptors, or by
# control characters in its name.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('care', 'cron.log_statement' => 'on');
$node->start;
my $scheduler = install($node);
sub sql { return $node->safe_psql('postgres', $_[0]) }
sql("CREATE ROLE $_ LOGIN; GRANT USAGE ON SCHEMA cron TO $_") for qw(alice bob);

# ---- others' rows are not locked ----------------------------------------------------------------

sql(q{SET ROLE alice; SELECT cron.schedule('mine', '@yearly', 'SELECT 1')});
my $other = $node->background_psql('postgres', on_error_stop => 0);
$other->query_safe(q{SET ROLE bob; BEGIN; SELECT cron.schedule('mine', '@yearly', 'SELECT 2')});
$other->query_safe($_) for q{SELECT cron.pause('mine')}, q{SELECT cron.resume('mine')},
  q{SELECT cron.configure_job('mine', max_retries => 1)}, q{SELECT cron.unschedule('mine')};
my ($rc, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '30s'; SET ROLE alice;
	SELECT cron.pause('mine'); SELECT active FROM cron.job WHERE jobname = 'mine'});
is($out =~ s/\n//gr, 'f', 'a job can be changed while another role names its own the same');
is($err, '', 'without an error');
$other->query('ROLLBACK');
$other->quit;

# ---- short of descriptors -----------------------------------------------------------------------

# A zone that the scheduler has not looked at yet, when it may open no file any more.
sql(q{SELECT cron.schedule('healthy', '1 second', 'SELECT 1')});
wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded'}, 't', 'a job runs');
my ($limit) = slurp_file("/proc/$scheduler/limits") =~ /^Max open files\s+(\d+)/m;
is(system('prlimit', '--pid', $scheduler, '--nofile=3:'), 0, 'the scheduler may open no file any more');
sql(q{SELECT cron.schedule('far away', '1 second', 'SELECT 1'), cron.configure_job('far away', timezone => 'Pacific/Kiritimati')});
wait_until(sub { log_count($node, qr/WARNING:  securatlas_sched scheduler/) > 0
	  || sql(q{SELECT NOT active FROM cron.job WHERE jobname = 'far away'}) eq 't' }, 'it has looked at the job');
unlike(slurp_file($node->logfile), qr/WARNING:  securatlas_sched scheduler: .*\((?!53)\w+\)/, 'and lacks resources, no more');
is(sql(q{SELECT active, note FROM cron.job WHERE jobname = 'far away'}), 't|', 'the job is not paused for that');
# Unless it has ended for want of files, and another one has started.
system('prlimit', '--pid', $scheduler, "--nofile=$limit:") unless is_gone($scheduler);
wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE jobname = 'far away' AND status = 'succeeded'},
	't', 'the job runs when there are files again');

# ---- a name in the log ---------------------------------------------------------------------------

sql(q{SELECT cron.schedule(E'two\nlines: FATAL:  no', '@yearly', 'CREATE TABLE public.named AS SELECT current_setting($$application_name$$) AS name');
	SELECT cron.run_job(E'two\nlines: FATAL:  no')});
wait_for($node, q{SELECT status FROM cron.job_run_details WHERE trigger = 'manual'}, 'succeeded', 'a job of two lines runs');
like(sql('SELECT name FROM named'), qr/^cron: two\?lines: FATAL:  no \[\d+\]$/, 'and has one in the log');
is(log_count($node, qr/LOG:  cron job \d+ starting: CREATE TABLE public.named/), 1, 'beside its command');

$node->stop;
done_testing();
