# The SQL of README.md and of the pages in doc/ is executed, in the order of the page, in a database of its
# own. What cron.explain_schedule() returns is what the comment behind the call says.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils qw(slurp_file);
use Sched;
use Test::More;

my $root = "$FindBin::RealBin/../..";

# What a page takes for granted: objects of its reader.
my %before = (
	'alerts.md' => 'CREATE TABLE items (id int)',
	'README.md' => 'CREATE ROLE app',
	'getting-started.md' => 'DROP EXTENSION securatlas_sched',
	'monitoring.md' => 'CREATE ROLE watcher',
	'net.md' => q{CREATE ROLE reporting; CREATE TABLE rate (day date, value numeric); CREATE TABLE item (id int)},
	'schedules.md' => q{SELECT cron.schedule(name, '@daily', 'SELECT 1')
		FROM unnest('{nightly,nightly_risk_recompute,securatlas_nightly_integration_sync,publish,build}'::text[]) AS name},
	'securatlas.md' => 'DROP EXTENSION securatlas_sched; CREATE SCHEMA platform; CREATE DATABASE platform',
	'report.md' => 'CREATE SCHEMA api',
	'supabase.md' => q{DROP EXTENSION securatlas_sched; CREATE SCHEMA extensions; CREATE SCHEMA vault;
		CREATE TABLE vault.decrypted_secrets (name text, decrypted_secret text)},
);
# Blocks that need something more: a part of their text, and the statement before them, or why they are not executed.
my @special = (
	[ 'CREATE FUNCTION fn_trigger_nightly_sync()', 'DROP FUNCTION fn_trigger_nightly_sync()' ],
);
my @not_here = (
	[ 'create_distributed_table', sub { 1 }, 'needs Citus' ],
);

my $node = new_node('documents', 'net.send_requests' => 'off', 'max_worker_processes' => 40);
$node->start;

# Pages for the names pg_cron and pg_net.
my %needs_names = ('supabase.md' => 1);

my ($pages, $blocks) = (0, 0);
for my $path ("$root/README.md", sort(glob "$root/doc/*.md"), sort(glob "$root/doc/runbooks/*.md"))
{
	my ($page) = $path =~ m{^\Q$root\E/(?:doc/)?(.*)$};
	my $text = slurp_file($path);
	next unless $text =~ /^```sql$/m;
	if ($needs_names{$page} && !names_are_installed())
	{
		note("$page is not executed: it needs make install-compat");
		next;
	}
	my $database = 'page_' . ++$pages;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	# README creates the extension itself.
	$node->safe_psql($database, 'CREATE EXTENSION securatlas_sched') unless $page eq 'README.md';
	for my $statement (split /;/, $before{$page} // '') { $node->safe_psql($database, $statement) }
	while ($text =~ /^```sql\n(.*?)^```$/msg)
	{
		my $block = $1;
		my $where = "$page, line " . (1 + (() = substr($text, 0, $-[0]) =~ /\n/g));
		$blocks++;
		my ($why) = map { $_->[2] } grep { index($block, $_->[0]) >= 0 && $_->[1]->() } @not_here;
	  SKIP:
		{
			skip("$where: $why", 1) if $why;
			for (grep { index($block, $_->[0]) >= 0 } @special) { $node->safe_psql($database, $_->[1]) }
			my ($rc, $out, $errors) = $node->psql($database, $block, on_error_stop => 1);
			is($errors =~ s/^.*NOTICE: .*\n?//mgr, '', "$where: the statements succeed");
			for my $line (split /\n/, $block)
			{
				my ($query, $shown) = $line =~ /^(SELECT cron\.explain_schedule\(.*\);)\s+-- (.*)$/ or next;
				is($node->safe_psql($database, $query), $shown, "$where: the outcome is the one that is shown");
			}
		}
	}
	if ($page eq 'migration.md')
	{
		is($node->safe_psql($database, q{SELECT string_agg(jobname, ', ' ORDER BY jobid) FROM cron.job}),
			'keep a month, load, report, once, ping, report failures', 'the jobs of migration.md are there');
	}
	if ($page eq 'README.md')
	{
		$node->safe_psql($database, q{SELECT cron.unschedule('first')});
		is($node->safe_psql($database, q{SELECT string_agg(jobname, ', ' ORDER BY jobname) FROM cron.job}),
			'frequent_integration_sync, nightly_risk_recompute, securatlas_nightly_integration_sync, token_refresh_cron',
			'the jobs of README.md are there');
	}
}
cmp_ok($blocks, '>', 40, 'the pages have SQL');

$node->stop;
done_testing();
