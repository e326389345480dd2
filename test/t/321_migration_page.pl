# doc/migration.md: its SQL is executed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $node = new_node('page', 'net.send_requests' => 'off');
$node->start;
install($node);
my @blocks = slurp_file("$FindBin::RealBin/../../doc/migration.md") =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar(@blocks), '>', 3, 'the page has SQL');
for my $block (@blocks)
{
	my ($rc, $out, $err) = $node->psql('postgres', $block);
	is($err, '', 'it runs: ' . ($block =~ /(.*)/)[0]);
}
is($node->safe_psql('postgres', q{SELECT string_agg(jobname, ', ' ORDER BY jobid) FROM cron.job}),
	'keep a month, load, report, once, ping, report failures', 'the jobs are there');
$node->stop;
done_testing;
