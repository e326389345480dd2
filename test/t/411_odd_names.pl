# Statistics and OpenMetrics with names that nobody expects, for roles with few rights, and where there is no scheduler.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use JSON::PP;
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('odd', init => { allows_streaming => 1 });
$node->start;
my $odd = qq{odd "d\\b"\n{x="1"}'};
my $watch = [ '-U', 'watcher' ];

# In template1's other children there is nothing yet.
$node->safe_psql('postgres', q{
	CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	CREATE ROLE stranger LOGIN;
	CREATE ROLE guest LOGIN;
	SELECT format('CREATE DATABASE %I', E'odd "d\\\\b"\n{x="1"}''') \gexec
	CREATE DATABASE empty});
# psql takes a name with "=" for a connection string, in which quotes and backslashes are written so.
(my $quoted = $odd) =~ s/([\\'])/\\$1/g;
sub in_odd { my ($sql, %more) = @_; return $node->safe_psql('postgres', $sql, connstr => $node->connstr . " dbname='$quoted'", %more) }
in_odd('CREATE EXTENSION securatlas_sched');
install($node);

# ---- names ---------------------------------------------------------------------------------------

# Names of jobs, as JSON.
my @names = ('plain', 'with "quotes" and \'others\'', "two\nlines", 'two\nlines', 'back\\slash\\', "tab\tand\rreturn", 'Zürich 東京 🕐',
	'{job="x",y="z"} 1 # EOF', 'x' x 300, ' ', '%s $$ {{ .Value }}');
my $json = JSON::PP->new->utf8->canonical;
for my $where (sub { in_odd(@_) }, sub { $node->safe_psql('postgres', @_) })
{
	# psql gets bytes.
	my $list = $json->encode(\@names) =~ s/'/''/gr;
	$where->(qq{
		SELECT count(cron.schedule(name, '0 0 1 1 *', 'SELECT 1')) FROM json_array_elements_text('$list') AS name;
		SELECT cron.schedule('0 0 1 1 *', 'SELECT 1');
		SELECT cron.run_job(jobid) FROM cron.job;
		SELECT net.http_get('http://[::1]:1/'), net.http_get('http://127.0.0.1:1/'), net.http_get('http://LOCALHOST:1/a'),
			net.http_get('http://localhost:1/b')});
}
wait_until(sub { in_odd('SELECT min(runs) FROM cron_stat.jobs') eq '1' && in_odd('SELECT failed FROM cron_stat.requests') eq '4' },
	'in a database of an odd name all are counted');
wait_for($node, 'SELECT min(runs), (SELECT failed FROM cron_stat.requests) FROM cron_stat.jobs', '1|4', 'and in another');
is($node->safe_psql('postgres', 'SELECT string_agg(host, $$ $$ ORDER BY host COLLATE "C") FROM cron_stat.hosts', extra_params => $watch),
	'http://127.0.0.1:1 http://[::1]:1 http://localhost:1', 'hosts have their ports, and one spelling');

# What readers make of a text: the values of a label, as JSON.
my $python = 'import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
samples = [s for f in parse(open(sys.argv[1], encoding="utf-8", newline="").read()) for s in f.samples]
seen = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]
assert len(seen) == len(set(seen)), "a sample is there twice"
print(json.dumps(sorted({s.labels[sys.argv[2]] for s in samples if sys.argv[2] in s.labels})))';
my $files = 0;
sub labels
{
	my ($text, $label) = @_;
	my $file = $node->basedir . '/text' . ++$files;
	append_to_file($file, $text);
	my ($out, $err) = run_command([ 'python3', '-c', $python, $file, $label ]);
	return $err ne '' ? $err : $json->encode($json->decode($out));
}
SKIP:
{
	skip 'python3-prometheus-client is not installed', 4 if system('python3 -c "import prometheus_client.openmetrics.parser" 2>/dev/null') != 0;
	my $text = in_odd('SELECT cron_stat.openmetrics()', extra_params => $watch);
	# The job without a name has its id as one.
	my $all = $json->encode([ sort @names, (@names + 1) . '' ]);
	is(labels($text, 'job'), $all, 'a reader finds all names as they are');
	is(labels($text, 'database'), $json->encode([$odd]), 'also that of the database');
	is(labels($text, 'host'), $json->encode([ 'http://127.0.0.1:1', 'http://[::1]:1', 'http://localhost:1' ]), 'and hosts');
	is(labels($node->safe_psql('postgres', 'SELECT cron_stat.openmetrics(3, 1)', extra_params => $watch), 'jobid'), '["1","2","3"]', 'not more jobs than asked for');
}
SKIP:
{
	skip 'promtool is not installed', 1 if system('command -v promtool >/dev/null 2>&1') != 0;
	my $text = in_odd('SELECT cron_stat.openmetrics()', extra_params => $watch);
	my %is_counter = map { $_ => 1 } $text =~ /^# TYPE (\S+) counter$/mg;
	$text =~ s/^# (HELP|TYPE) (\S+)/"# $1 " . ($is_counter{$2} ? "$2_total" : $2)/gem;
	my $file = $node->basedir . '/odd.txt';
	append_to_file($file, $text);
	is(`promtool check metrics < $file 2>&1`, '', 'promtool finds nothing wrong');
}
like($node->safe_psql('postgres', 'SELECT cron_stat.openmetrics(-1, -1)'), qr/^(?!.*jobid=).*# EOF$/s, 'less than none is none');

# Settings of the reader's session do not matter.
my $figures = $node->safe_psql('postgres', q{SELECT cron_stat.openmetrics()}, extra_params => $watch) =~ s/^cron_(history|job_(next|interval|overdue)).*\n//gmr;
is($node->safe_psql('postgres', q{
	SET extra_float_digits = 1; SET intervalstyle = iso_8601; SET datestyle = 'German'; SET standard_conforming_strings = off;
	SET quote_all_identifiers = on; SET timezone = 'Asia/Kathmandu'; SET search_path = ''; SET plan_cache_mode = force_generic_plan;
	SET enable_indexscan = off; SET jit_above_cost = 0;
	SELECT cron_stat.openmetrics()}, extra_params => $watch) =~ s/^cron_(history|job_(next|interval|overdue)).*\n//gmr, $figures, 'settings of the session do not matter');

# ---- rights --------------------------------------------------------------------------------------

sub refused { my ($role, $sql) = @_; return ($node->psql('postgres', $sql, extra_params => [ '-U', $role ]))[2] }
like(refused('stranger', 'SELECT cron_stat.openmetrics()'), qr/permission denied for schema cron_stat/, 'who has no rights reads nothing');
like(refused('watcher', 'SELECT * FROM cron.job'), qr/permission denied for schema cron/, 'who watches need not be able to act');
like(refused('watcher', "SELECT cron_stat.$_"), qr/permission denied for function/, "nor to reset: $_")
	for 'reset()', 'reset_job(1)', q{reset_host('http://localhost:1')};
my @views = split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'cron_stat'::regnamespace AND relkind = 'v' ORDER BY 1});
is(join(' ', grep { refused('watcher', "SELECT * FROM cron_stat.$_") ne '' } @views), '', 'all views are readable without rights on cron and net');
$node->safe_psql('postgres', 'GRANT USAGE ON SCHEMA cron_stat TO guest');
is($node->safe_psql('postgres', join(' UNION ALL ', map { "SELECT count(*) FROM cron_stat.$_" } qw(jobs hosts schedulers workers progress)), extra_params => [ '-U', 'guest' ]),
	join("\n", (0) x 5), 'a guest sees nothing of others');
like($node->safe_psql('postgres', 'SELECT cron_stat.openmetrics()', extra_params => [ '-U', 'guest' ]), qr/^(?!.*(jobid|host)=).*# EOF$/s, 'nor as OpenMetrics');

# ---- other databases, and without a scheduler --------------------------------------------------------

is($node->safe_psql('postgres', 'SELECT count(*), count(pid) FROM cron_stat.schedulers', extra_params => $watch), '2|2', 'a database without the extension has no scheduler to be missed');
unlike($node->safe_psql('postgres', 'SELECT cron_stat.openmetrics()', extra_params => $watch), qr/database="odd/, 'the text is about one database');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
wait_for($standby, 'SELECT count(*) FROM cron.job', scalar(@names) + 1, 'a standby has the jobs');
my $there = $standby->safe_psql('postgres', 'SELECT cron_stat.openmetrics()', extra_params => $watch);
unlike($there, qr/^cron_scheduler_up/m, 'nobody misses the scheduler of a standby');
like($there, qr/^cron_job_next_run_timestamp_seconds\{job="plain"/m, 'there is what its tables say');
is(join(' ', grep { ($standby->psql('postgres', "SELECT * FROM cron_stat.$_", extra_params => $watch))[0] != 0 } @views), '', 'all views are readable there');
$standby->stop;

$node->stop;
done_testing();
