# The SQL of README.md and of the pages in doc/ is executed, in the order of the page, in a database of its
# own, and has the outcome that is shown: a comment behind cron.explain_schedule(), or a block "text" after the
# statements, which is what psql prints for the last of them, a query, at the latest when the jobs have run. Every link from one page to another leads to
# something.
use strict;
use warnings;
use File::Basename qw(dirname);
use FindBin;
use IPC::Run qw(run);
use List::Util qw(max);
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
	[ 'securatlas.distribute', sub { 1 }, 'needs Citus' ],
);

my $node = new_node('documents', 'net.send_requests' => 'off', 'max_worker_processes' => 40);
$node->start;

# Pages for the names pg_cron and pg_net.
my %needs_names = ('supabase.md' => 1);

# What psql prints for a statement in its usual form, without blanks at the ends of lines.
sub psql_prints
{
	my ($database, $statement) = @_;
	my $out = '';
	run([ 'psql', '-X', '-P', 'pager=off', '-d', $node->connstr($database), '-c', $statement ], '>', \$out);
	return $out =~ s/ +$//mgr =~ s/\n\n\z/\n/r;
}

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
	while ($text =~ /^```sql\n(.*?)^```$(?:\n\n?```text\n(.*?)^```$)?/msg)
	{
		my ($block, $shown_block) = ($1, $2);
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
			next unless defined $shown_block;
			# Trailing blanks are no part of what a page shows.
			my ($last) = $block =~ /(?:\A|;\s*)([^;]+;)\s*\z/;
			$shown_block =~ s/ +$//mg;
			my ($prints, $deadline) = ('', time() + $PostgreSQL::Test::Utils::timeout_default);
			until (($prints = psql_prints($database, $last)) eq $shown_block || time() > $deadline)
			{
				select(undef, undef, undef, 0.05);
			}
			is($prints, $shown_block, "$where: psql prints what is shown");
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
		my ($query) = $text =~ /^(SELECT [^;]* FROM cron\.jobs ORDER BY[^;]*;)/m;
		cmp_ok(max(map { length } split /\n/, psql_prints($database, $query)), '<=', 160,
			'the list of jobs that README.md asks for fits 160 columns');
	}
}
cmp_ok($blocks, '>', 40, 'the pages have SQL');

# Links within the project: to a file or directory, and to a heading if there is one behind "#".
sub anchors
{
	my ($text) = @_;
	$text =~ s/^```.*?^```$//msg;
	return map { lc s/[^\w\- ]//gr =~ tr/ /-/r } $text =~ /^#+ +(.*?) *$/mg;
}
my ($links, @broken) = (0);
for my $path (glob("$root/*.md"), glob("$root/{doc,contrib}/*.md"), glob "$root/doc/runbooks/*.md")
{
	my $text = slurp_file($path) =~ s/^```.*?^```$//msgr;
	while ($text =~ /\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)/g)
	{
		my ($file, $anchor) = ($1, $2);
		my $target = $file eq '' ? $path : dirname($path) . "/$file";
		$links++;
		next if -e $target && (!defined $anchor || grep { $_ eq $anchor } anchors(slurp_file($target)));
		push @broken, "$path: $file" . (defined $anchor ? "#$anchor" : '');
	}
}
is("@broken", '', 'every link of a page leads to a file or a heading');
cmp_ok($links, '>', 60, 'the pages refer to each other');

$node->stop;
done_testing();
