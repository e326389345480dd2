# A cluster of Citus for a test: a coordinator and two workers.
package Citus;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

our @EXPORT = qw(citus_is_installed start_cluster on_each tasks_of);

sub citus_is_installed
{
	chomp(my $share = `pg_config --sharedir`);
	return -e "$share/extension/citus.control";
}

# The nodes, coordinator first; without the extension.
sub start_cluster
{
	my (%settings) = @_;
	my @nodes = map {
		new_node($_,
			shared_preload_libraries => "'citus,securatlas_sched'",
			max_prepared_transactions => 50,
			max_worker_processes => 30,
			'citus.enable_statistics_collection' => 'off',
			'citus.node_conninfo' => "'sslmode=disable'",
			%settings)
	} qw(coordinator worker1 worker2);
	for my $node (@nodes)
	{
		$node->start;
		$node->safe_psql('postgres', 'CREATE EXTENSION citus');
	}
	my ($coordinator, @workers) = @nodes;
	my $address = sub { return "'" . $_[0]->host . "', " . $_[0]->port };
	$coordinator->safe_psql('postgres', 'SELECT citus_set_coordinator_host(' . $address->($coordinator) . ')');
	$coordinator->safe_psql('postgres', 'SELECT citus_add_node(' . $address->($_) . ')') for @workers;
	return @nodes;
}

# The results of a query on each of these nodes, separated by blanks.
sub on_each
{
	my ($sql, @nodes) = @_;
	return join(' ', map { $_->safe_psql('postgres', $sql) } @nodes);
}

# How many tasks EXPLAIN shows for a statement, and whether anything but the tasks is executed.
sub tasks_of
{
	my ($node, $sql) = @_;
	my $plan = $node->safe_psql('postgres', $sql =~ s/^(.*;)?\s*(?=INSERT|SELECT|WITH)/($1 \/\/ '') . 'EXPLAIN (COSTS OFF) '/ser);
	my @tasks = $plan =~ /Task Count: (\d+)/g;
	return join(',', @tasks) . ($plan =~ /Subplan|method:/ ? ' and more' : '');
}

1;
