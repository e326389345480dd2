# Servers that Patroni manages fail over under load, for a minute with synchronous replication and for a
# minute with asynchronous one; each promise is looked at after each failover. scripts/chaos failover does
# it for longer.
use strict;
use warnings;
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

for my $program (qw(patroni etcd))
{
	plan skip_all => "$program is not installed" if system("command -v $program >/dev/null") != 0;
}
plan skip_all => 'Patroni has no client for etcd' if system("python3 -c 'import etcd' 2>/dev/null") != 0;

chomp(my $bindir = `pg_config --bindir`);
# By the seed both begin with another fault, so that together they have all.
for my $trial ([ 'synchronous', '--seed', 0, '--synchronous' ], [ 'asynchronous', '--seed', 3 ])
{
	my ($name, @options) = @$trial;
	my $directory = PostgreSQL::Test::Utils::tempdir;
	my @command = ($^X, "$FindBin::RealBin/../chaos/failover.pl", '--directory', $directory, '--bindir', $bindir,
		'--minutes', 1, @options);
	my $output = '';
	IPC::Run::run(\@command, '<', '/dev/null', '>', \$output, '2>&1');
	my $status = $? >> 8;
	note $output;
	is($status, 0, "$name replication: no promise is broken") or diag $output;
	cmp_ok(($output =~ /(\d+) promotions/)[0] // 0, '>', 1, "$name replication: there were promotions");
}

done_testing();
