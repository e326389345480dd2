# ALTER EXTENSION UPDATE from the version that was released: the catalogs are those of a fresh
# installation, everything that was there is there, and what runs meanwhile goes on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Catalog;
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('update', autovacuum => 'on');
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE old');
install($node);
$node->safe_psql('old', "CREATE EXTENSION securatlas_sched VERSION '0.1'");
$node->safe_psql('old', 'ALTER EXTENSION securatlas_sched UPDATE');
my $fresh = catalog($node, 'postgres');
cmp_ok(scalar(@$fresh), '>', 1000, 'the catalogs say much');
is(differences('updated', catalog($node, 'old'), 'fresh', $fresh), '',
	'the catalogs of an updated extension are those of a fresh one');
$node->stop;
done_testing();
