# pg_upgrade with jobs due, history, pending requests and secrets: all are preserved, and nothing
# ran meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Catalog;
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_node('old', autovacuum => 'on');
my $new = new_node('new', autovacuum => 'on');
$old->start;
install($old);
make_effects($old);
$old->safe_psql('postgres', q{CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA cron, net TO plain});
$old->safe_psql('postgres', "SELECT cron.schedule('due', '1 second', \$c\$" . effect() . "\$c\$);
	SET ROLE plain;
	SELECT cron.schedule('of a plain role', '1 second', \$c\$" . effect() . "\$c\$);
	SELECT net.set_secret('token', 'hidden');
	SELECT net.http_request('GET', 'http://localhost:1/', not_before => now() + '1 day');");
$old->safe_psql('postgres', 'CREATE DATABASE other');
install($old, 'other');
$old->safe_psql('other', q{
	CREATE TABLE grows (a int);
	SELECT cron.schedule('rewrites', '1 second', 'INSERT INTO grows VALUES (1); TRUNCATE grows; INSERT INTO grows VALUES (2)')});
wait_for($old, 'SELECT count(DISTINCT jobid) FROM effects', '2', 'jobs run in the old server');
wait_for($old, 'SELECT count(*) FROM grows', '1', 'in both databases', 'other');
$old->safe_psql('postgres', 'ALTER SYSTEM SET cron.launch_active_jobs = off; SELECT pg_reload_conf()');
wait_for($old, q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}, '0',
	'no run is left');
$old->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
my $facts = q{
	SELECT count(*), max(runid), max(end_time) FROM cron.job_run_details
	UNION ALL SELECT count(*), max(jobid), NULL FROM cron.job WHERE active
	UNION ALL SELECT count(*), max(id), max(ready_at) FROM net.http_request_queue
	UNION ALL SELECT count(*), 0, max(at) FROM effects};
my $facts_other = 'SELECT count(*), max(runid), max(end_time) FROM cron.job_run_details';
my ($before, $before_other) = ($old->safe_psql('postgres', $facts), $old->safe_psql('other', $facts_other));
my $catalog = catalog($old, 'postgres');
$old->stop;

my $bin = $old->config_data('--bindir');
chdir($new->basedir);
command_ok([ 'pg_upgrade', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
	'-s', $new->host, '-p', $old->port, '-P', $new->port, '--no-sync' ], 'pg_upgrade');
ok(!-e $new->data_dir . '/securatlas_sched.key', 'it made no key in the place of the old one');

# The new server without its jobs, to look at what came.
system_or_bail('cp', $old->data_dir . '/securatlas_sched.key', $new->data_dir);
$new->append_conf('postgresql.conf', 'cron.launch_active_jobs = off');
$new->start;
is($new->safe_psql('postgres', $facts), $before, 'history, jobs, requests and effects are there, and nothing ran');
is(differences('after', catalog($new, 'postgres'), 'before', $catalog), '', 'the catalogs are as they were');
is($new->safe_psql('other', $facts_other), $before_other, 'nor in the other database');
$new->safe_psql('postgres', 'ALTER SYSTEM SET cron.launch_active_jobs = on; SELECT pg_reload_conf()');
wait_for($new, q{SELECT count(DISTINCT jobid) FROM effects WHERE at > pg_postmaster_start_time()}, '2',
	'and jobs go on there');
is($new->safe_psql('postgres', q{SET ROLE plain;
	SELECT net.http_request('GET', 'http://localhost:1/', headers => '{"Authorization": "Bearer {{secret:token}}"}',
		not_before => now() + '1 day') > 0}), 't', 'with its key the secrets can be used');

$new->stop;
done_testing();
