# A cluster of Citus for a test: a coordinator and two workers.
package Citus;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

our @EXPORT = qw(citus_is_installed new_citus_node add_node start_cluster on_each tasks_of);

sub citus_is_installed
{
	chomp(my $share = `pg_config --sharedir`);
	return -e "$share/extension/citus.control";
}

# A server with Citus, which is no node of a cluster yet.
sub new_citus_node
{
	my ($name, %settings) = @_;
	my $node = new_node($name,
		shared_preload_libraries => "'citus,securatlas_sched'",
		wal_level => 'logical',
		max_wal_senders => 10,
		max_replication_slots => 10,
		max_prepared_transactions => 50,
		max_worker_processes => 30,
		'citus.enable_statistics_collection' => 'off',
		'citus.node_conninfo' => "'sslmode=disable'",
		%settings);
	$node->append_conf('postgresql.conf', "citus.local_hostname = '" . $node->host . "'");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION citus');
	return $node;
}

sub address { return "'" . $_[0]->host . "', " . $_[0]->port }

sub add_node
{
	my ($coordinator, $node) = @_;
	return $coordinator->safe_psql('postgres', 'SELECT citus_add_node(' . address($node) . ')');
}

# The nodes, coordinator first; without the extension.
sub start_cluster
{
	my (%settings) = @_;
	my @nodes = map { new_citus_node($_, %settings) } qw(coordinator worker1 worker2);
	my ($coordinator, @workers) = @nodes;
	$coordinator->safe_psql('postgres', 'SELECT citus_set_coordinator_host(' . address($coordinator) . ')');
	add_node($coordinator, $_) for @workers;
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
