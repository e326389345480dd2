# pg_upgrade of databases that hold the extensions pg_cron and pg_net, alone and as names.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Catalog;
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'make install-compat was not run, or another pg_cron is installed' if !names_are_installed();

my %settings = (shared_preload_libraries => "'pg_cron, pg_net'", autovacuum => 'on');
my $old = new_node('old_names', %settings);
my $new = new_node('new_names', %settings);
$old->start;
my %extensions = (cron => 'pg_cron', net => 'pg_net', both => 'pg_cron pg_net', all => 'pg_net securatlas_sched pg_cron');
my (%catalog, %state);
my $state = q{
	SELECT e.extname, e.extversion, pg_describe_object(d.classid, d.objid, d.objsubid), d.deptype
	  FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	UNION ALL
	SELECT e.extname, '', c.id::regclass || ' ' || c.condition, NULL
	  FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS c(id, condition)
	 ORDER BY 1, 2, 3, 4};
for my $database (sort keys %extensions)
{
	$old->safe_psql('postgres', "CREATE DATABASE \"$database\"");
	$old->safe_psql($database, join ';', map { "CREATE EXTENSION $_" } split / /, $extensions{$database});
	$old->safe_psql($database, q{SELECT cron.schedule('kept', '0 0 1 1 *', 'SELECT 1')}) if $extensions{$database} =~ /cron/;
	$old->safe_psql($database, q{SELECT net.set_secret('kept', 'a value')}) if $extensions{$database} =~ /net/;
	$state{$database} = $old->safe_psql($database, $state);
	$catalog{$database} = catalog($old, $database);
}
$old->stop;

my $bin = $old->config_data('--bindir');
chdir($new->basedir);
command_ok([ 'pg_upgrade', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
	'-s', $new->host, '-p', $old->port, '-P', $new->port, '--no-sync' ], 'pg_upgrade');
system_or_bail('cp', $old->data_dir . '/securatlas_sched.key', $new->data_dir);
$new->start;
for my $database (sort keys %extensions)
{
	is($new->safe_psql($database, $state), $state{$database}, "$database: the extensions are as they were");
	my $differences = differences('after', catalog($new, $database), 'before', $catalog{$database});
	# Those of pg_net are the default, which pg_upgrade writes as none.
	$differences =~ s/^only \w+: function net\.worker_restart\(\): initial privileges: .*\n?//mg;
	is($differences, '', "$database: so are the catalogs");
	next if $extensions{$database} !~ /cron/;
	my $run = $new->safe_psql($database, q{SELECT cron.run_job('kept')});
	wait_for($new, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', "$database: jobs run", $database);
}
is($new->safe_psql('net', 'SELECT name FROM net.secrets'), 'kept', 'net: the secrets are there');
like($new->safe_psql('all', 'DROP EXTENSION pg_cron; DROP EXTENSION pg_net; SELECT count(*) FROM cron.job'), qr/^1$/,
	'all: the two are names only');

$new->stop;
done_testing();
