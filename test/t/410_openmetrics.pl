# OpenMetrics as its readers understand it, and what is in contrib/: Prometheus scrapes the server by way of
# postgres_exporter, and every alert and every panel of the dashboard finds its series.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use JSON::PP;
use Sched;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $contrib = "$FindBin::RealBin/../../contrib";
my $stub = HttpStub->new;
my $node = new_node('metrics', log_min_messages => 'warning');
$node->start;
install($node);
my $echo = $stub->url('/echo');
$node->safe_psql('postgres', qq{
	CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
	SELECT cron.schedule('good "one"', '0 0 1 1 *', \$\$SELECT net.http_post('$echo', '{}')\$\$);
	SELECT cron.schedule('bad', '1 second', 'SELECT 1/0');
	SELECT cron.run_job('good "one"')});
wait_for($node, 'SELECT succeeded FROM cron_stat.hosts', '1', 'a request has succeeded');
wait_for($node, 'SELECT made, sent, attempts, succeeded, failed, bytes_out, bytes_in > 0 FROM cron_stat.requests',
	'1|1|1|1|0|2|t', 'it is counted, with the bytes of its body');
wait_for($node, "SELECT requests FROM cron_stat.jobs WHERE jobname <> 'bad'", '1', 'and for the job that made it');
wait_for($node, 'SELECT count > 0 AND counts[1] <= count AND sum > 0 FROM cron_stat.histograms WHERE host IS NOT NULL', 't',
	'its duration is in the histogram');
wait_for($node, "SELECT consecutive_failures > 1 FROM cron_stat.jobs WHERE jobname = 'bad'", 't', 'a job fails');
$node->safe_psql('postgres', 'SELECT net.http_get($1)' =~ s/\$1/"'" . $stub->url('\/status\/404') . "'"/er);
wait_for($node, 'SELECT failed, cancelled, expired FROM cron_stat.requests', '1|0|0', 'a request that fails is counted');

my $text = $node->safe_psql('postgres', 'SELECT cron_stat.openmetrics()', extra_params => [ '-U', 'watcher' ]);
like($text, qr/^net_requests_total\{host="[^"]+",outcome="succeeded",database="postgres"\} 1$/m, 'the text shows the request');
like($text, qr/^cron_job_runs_total\{job="good \\"one\\"",jobid="1",status="succeeded",database="postgres"\} 1$/m, 'and the run');
like($text, qr/# EOF$/, 'it ends as it should');
unlike($text, qr/securatlas_tenants/, 'without tenants there are no series of them');
is($node->safe_psql('postgres', q{SELECT r.state, count(*) FROM net.requests r JOIN cron.job_run_details d USING (runid) WHERE d.jobid = 1 GROUP BY r.state}),
	'succeeded|1', 'net.requests shows the requests of a run by state');

sub has { my ($command) = @_; return system("command -v $command >/dev/null 2>&1") == 0 }

SKIP:
{
	skip 'python3-prometheus-client is not installed', 1
	  if system('python3 -c "import prometheus_client.openmetrics.parser" 2>/dev/null') != 0;
	my $file = $node->basedir . '/metrics.txt';
	append_to_file($file, $text);
	my $families = `python3 -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(len(list(parse(open(sys.argv[1]).read()))))' $file 2>&1`;
	like($families, qr/^\d+$/, 'the parser of python3-prometheus-client takes it');
}

SKIP:
{
	skip 'promtool is not installed', 3 unless has('promtool');
	# It reads the text format, in which the family of a counter has the suffix of its series.
	my %is_counter = map { $_ => 1 } $text =~ /^# TYPE (\S+) counter$/mg;
	(my $plain = $text) =~ s/^# (HELP|TYPE) (\S+)/"# $1 " . ($is_counter{$2} ? "$2_total" : $2)/gem;
	my $file = $node->basedir . '/plain.txt';
	append_to_file($file, $plain);
	is(`promtool check metrics < $file 2>&1`, '', 'promtool finds nothing wrong');
	system_or_bail('promtool', 'check', 'rules', "$contrib/prometheus/securatlas_sched.rules.yml");
	is(system("cd $contrib/prometheus && promtool test rules securatlas_sched.rules.test.yml >/dev/null 2>&1"), 0,
		'the alerts fire when they should');
	pass('the alerts are rules');
}

# ---- Prometheus ------------------------------------------------------------------------------------

my @children;

# Starts a program of which nobody reads what it writes.
sub start_program
{
	my ($log, @command) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', $log) or die;
		open(STDERR, '>&', \*STDOUT);
		exec(@command) or POSIX::_exit(1);
	}
	push @children, $pid;
	return;
}
END
{
	my $status = $?;
	for my $pid (@children) { kill 'TERM', $pid; waitpid($pid, 0) }
	$? = $status;
}

SKIP:
{
	skip 'prometheus or prometheus-postgres-exporter is not installed', 1
	  unless has('prometheus') && has('prometheus-postgres-exporter');
	my $dir = $node->basedir;
	my ($exporter, $prometheus) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
	local $ENV{DATA_SOURCE_NAME} = 'host=' . $node->host . ' port=' . $node->port . ' user=watcher dbname=postgres sslmode=disable';
	start_program("$dir/exporter.log", 'prometheus-postgres-exporter', "--web.listen-address=127.0.0.1:$exporter",
		"--extend.query-path=$contrib/postgres_exporter/queries.yaml", '--disable-default-metrics', '--disable-settings-metrics');
	append_to_file("$dir/prometheus.yml", <<"YML");
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ['$contrib/prometheus/securatlas_sched.rules.yml']
scrape_configs:
  - {job_name: sched, honor_labels: true, static_configs: [{targets: ['127.0.0.1:$exporter']}]}
YML
	start_program("$dir/prometheus.log", 'prometheus', "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/tsdb",
		"--web.listen-address=127.0.0.1:$prometheus");

	# The result of a query; undef: it failed.
	my $ask = sub {
		my ($query) = @_;
		my $http = HTTP::Tiny->new(timeout => 10);
		my $answer = $http->get("http://127.0.0.1:$prometheus/api/v1/query?" . $http->www_form_urlencode({ query => $query }));
		return unless $answer->{success};
		return decode_json($answer->{content})->{data}{result};
	};
	require HTTP::Tiny;
	wait_until(sub { my $up = $ask->('cron_scheduler_up'); return $up && @$up == 1 && $up->[0]{value}[1] eq '1' },
		'Prometheus scrapes');
	pass('Prometheus scrapes what postgres_exporter reads');
	is(join(' ', map { "$_->{metric}{job}=$_->{value}[1]" } @{ $ask->('cron_job_runs_total{status="succeeded",jobid="1"}') }),
		'good "one"=1', 'with the labels that it should have');

	my $expressions = {};
	my $rules = slurp_file("$contrib/prometheus/securatlas_sched.rules.yml");
	$expressions->{"alert $1"} = $2 while $rules =~ /- alert: (\S+)\n\s+expr: (.*)\n/g;
	is(scalar(keys %$expressions), 10, 'there are ten alerts');
	my $dashboard = decode_json(slurp_file("$contrib/grafana/securatlas_sched.json"));
	for my $panel (@{ $dashboard->{panels} })
	{
		$expressions->{"panel $panel->{title}, $_->{refId}"} = $_->{expr} =~ s/\$database/.*/gr for @{ $panel->{targets} };
	}
	my (@bad, %series);
	for my $name (sort keys %$expressions)
	{
		push @bad, $name unless $ask->($expressions->{$name});
		$series{$_} = 1 for $expressions->{$name} =~ /\b((?:cron|net)_[a-z_]+)/g;
	}
	is("@bad", '', 'each alert and each panel asks what Prometheus understands');
	is(join(' ', grep { !@{ $ask->($_) // [] } } sort keys %series), '', 'for series that there are');
	# The other way round: what the exporter has, the text has too.
	my @names = map { $_->{metric}{__name__} } @{ $ask->('count by (__name__) ({__name__=~"(cron|net)_.*"})') };
	is(join(' ', grep { $text !~ /^\Q$_\E\{/m } sort @names), '', 'and they are those of OpenMetrics');
	wait_until(sub { my $alert = $ask->('ALERTS{alertname="CronJobFailing",alertstate="firing"}'); return $alert && @$alert == 1 },
		'an alert fires');
	pass('an alert fires');
}

# ---- the other presets -----------------------------------------------------------------------------

# Each query of a file, as it is written there: a JSON string.
sub queries
{
	my ($file) = @_;
	return map { JSON::PP->new->allow_nonref->decode($_) } slurp_file("$contrib/$file") =~ /^\s+(?:query|11): (".*")$/mg;
}
my @queries = queries('postgres_exporter/queries.yaml');
is_deeply([ queries('cloudnativepg/securatlas-sched-monitoring.yaml') ], \@queries, 'CloudNativePG has the same queries');
for my $file ('sql_exporter/securatlas_sched.collector.yml', 'sql_exporter/prometheus-sql-exporter.yml', 'pgwatch/metrics.yaml')
{
	my @failed = grep { ($node->psql('postgres', $_, extra_params => [ '-U', 'watcher' ]))[0] != 0 } queries($file);
	is("@failed", '', "the queries of $file are right");
}

SKIP:
{
	skip 'prometheus-sql-exporter is not installed', 3 unless has('prometheus-sql-exporter');
	my $dir = $node->basedir;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $config = slurp_file("$contrib/sql_exporter/prometheus-sql-exporter.yml");
	my $connection = 'postgres://watcher@/postgres?host=' . $node->host . '&port=' . $node->port . '&sslmode=disable';
	$config =~ s/'postgres:[^']+'/'$connection'/;
	$config =~ s/interval: \S+/interval: 1s/;
	append_to_file("$dir/sql_exporter.yml", $config);
	start_program("$dir/sql_exporter.log", 'prometheus-sql-exporter', '-config.file', "$dir/sql_exporter.yml", '-web.listen-address', "127.0.0.1:$port");
	require HTTP::Tiny;
	my $series;
	wait_until(sub { $series = HTTP::Tiny->new->get("http://127.0.0.1:$port/metrics")->{content}; return $series =~ /^sql_net_request_duration_seconds_count/m },
		'the sql_exporter of Debian reads');
	unlike(slurp_file("$dir/sql_exporter.log"), qr/"level":"error"/, 'the sql_exporter of Debian has no complaints');
	# As the relabelling in the file does it.
	my %theirs = map { $_ => 1 } $series =~ /^sql_((?:cron|net)_[a-z_]+)\{/mg;
	my %ours = map { $_ => 1 } $text =~ /^([a-z_]+)\{/mg;
	is(join(' ', grep { !$ours{$_} } sort keys %theirs), '', 'its series are those of OpenMetrics');
	like($series, qr/^sql_cron_job_runs_total\{col="total",database="postgres",[^}]*job="good \\"one\\"",jobid="1",[^}]*status="succeeded",[^}]*\} 1$/m,
		'with the labels that they should have');
}

# ---- tenants ---------------------------------------------------------------------------------------

$node->safe_psql('postgres', q{
	SELECT securatlas.install();
	SELECT securatlas.load_demo(tenants => 30);
	SELECT fn_recompute_all_tenant_risk_scores();});
my $metrics = sub { $node->safe_psql('postgres', 'SELECT cron_stat.openmetrics()', extra_params => [ '-U', 'watcher' ]) };
unlike($metrics->(), qr/securatlas_tenants/, 'who may not read the tables has no series of tenants');
$node->safe_psql('postgres', 'GRANT SELECT ON tenants, tenant_risk_snapshots TO watcher; ALTER TABLE tenants DISABLE ROW LEVEL SECURITY;
	ALTER TABLE tenant_risk_snapshots DISABLE ROW LEVEL SECURITY');
my %tenants = $metrics->() =~ /^securatlas_tenants\{level="(\w+)",database="postgres"\} (\d+)$/mg;
is(join(' ', map { "$_=$tenants{$_}" } sort keys %tenants),
	$node->safe_psql('postgres', q{SELECT string_agg(l || '=' || (SELECT count(*) FROM v_risk_trend t WHERE t.level = l), ' ' ORDER BY l)
		FROM unnest('{critical,high,low,medium,moderate}'::text[]) l}), 'who may has their number by level');

# ---- more hosts than have counters of their own ------------------------------------------------------

$node->safe_psql('postgres', q{SELECT cron.pause('bad');
	SELECT net.http_request('GET', format('http://127.1.%s.%s:1/', i / 250, i % 250), max_attempts => 1) FROM generate_series(1, 1100) i});
wait_for($node, 'SELECT sum(attempts) FROM cron_stat.hosts', '1102', 'requests to many hosts are counted');
is($node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE host = '(others)'), sum(attempts) FILTER (WHERE host = '(others)') FROM cron_stat.hosts}),
	'1001|1|101', 'those beyond a thousand together');
my $host = $node->safe_psql('postgres', q{SELECT min(host) FROM cron_stat.hosts WHERE host LIKE 'http://127.1.%'});
$node->safe_psql('postgres', qq{SELECT cron_stat.reset_host('(others)'), cron_stat.reset_host('$host'), cron_stat.reset_host('no such host')});
is($node->safe_psql('postgres', qq{SELECT count(*), sum(attempts), sum(attempts) FILTER (WHERE host IN ('(others)', '$host')) FROM cron_stat.hosts}),
	'1001|1000|0', 'the counters of one host are set to 0, and no others');

$node->stop;
done_testing();
