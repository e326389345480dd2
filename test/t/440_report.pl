# The report page in a real browser: what is in the database is shown as text, every screen fits a phone, a
# tablet and a desk in both themes, with contrast and names for those who need them, and without an error.
# Skipped where Chromium is not installed.
use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use IPC::Run qw(run);
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

my ($browser) = grep { -x } map { my $place = $_; map { "$place/$_" } qw(chromium chromium-browser google-chrome) }
  split /:/, $ENV{PATH};
plan skip_all => 'there is no Chromium' unless $browser;

my $node = new_node('report');
$node->start;
install($node);
my $stub = HttpStub->new;
my $evil = q{<script>alert(1)</script>};
my $url = $stub->url('/echo');

# Real runs: one that succeeds and posts, one that fails, both under names that are markup.
$node->safe_psql('postgres', qq{
	SELECT cron.schedule('$evil', '1 second', \$\$SELECT net.http_post('$url', '{"a": "</script>"}')\$\$);
	SELECT cron.schedule('"><img src=x onerror=alert(2)>', '1 second', \$\$DO 'BEGIN RAISE EXCEPTION \$m\$</script><script>alert(3)</script>\$m\$; END'\$\$);
	SELECT cron.schedule('far away', '0 0 1 1 *', 'SELECT 1');
	SELECT cron.schedule('a name that is as long as names are, of a job of somebody who explains everything', '*/5 * * * *', 'SELECT 1');
	SELECT cron.pause('far away', 'a note with <b>markup</b>');
	SELECT securatlas.install();
	SELECT securatlas.load_demo(20);
	SELECT fn_recompute_all_tenant_risk_scores();
	INSERT INTO tenant_risk_snapshots (tenant_id, risk_score_1_100, category_breakdown, computed_at, snapshot_type)
	SELECT id, 90, '{}', now() - interval '40 days', 'nightly' FROM tenants});
wait_for($node, q{SELECT count(DISTINCT jobname) FROM cron.job_run_details WHERE status IN ('succeeded', 'failed') AND jobname ~ '[<>]'},
	2, 'a run has succeeded and one has failed');
wait_for($node, q{SELECT EXISTS (SELECT FROM net._http_response)}, 't', 'a response is recorded');
# A day of history, of every status, and more runs of one job than are drawn one by one.
$node->safe_psql('postgres', q{
	INSERT INTO cron.job_run_details (jobid, jobname, username, command, status, start_time, end_time, scheduled_at, trigger, reason,
	                                  sqlstate, return_message)
	SELECT j.jobid, j.jobname, j.username, j.command, s.status, t, t + interval '20 s', t - interval '2 min', 'schedule',
	       CASE s.status WHEN 'skipped' THEN CASE WHEN i % 2 = 0 THEN 'missed: the scheduler was not running (3 occurrences)'
	                     ELSE 'overlap: the previous run has not finished' END END,
	       CASE s.status WHEN 'failed' THEN '22012' END, CASE s.status WHEN 'failed' THEN 'division by zero' END
	  FROM cron.job j, generate_series(1, 300) AS i,
	       LATERAL (SELECT now() - i * interval '4 min' + j.jobid * interval '1 s') AS at(t),
	       LATERAL (SELECT CASE i % 40 WHEN 3 THEN 'failed' WHEN 6 THEN 'skipped' WHEN 7 THEN 'skipped' ELSE 'succeeded' END) AS s(status)
	 WHERE j.jobname IN ('far away', 'token_refresh_cron') AND (j.jobname <> 'far away' OR i % 10 IN (3, 6, 7))});

my $directory = tempdir(CLEANUP => 1);
my $checks = slurp_file("$FindBin::RealBin/../support/page_checks.js");

sub looked_at
{
	my ($html, $width) = @_;
	my $watch = q{<script>window.problemsOfPage = [];
		window.onerror = (text) => { window.problemsOfPage.push('error: ' + text); };
		window.alert = (text) => { window.problemsOfPage.push('alert: ' + text); };</script>};
	$html =~ s/(<head>)/$1$watch/ or die 'no head';
	# The last one, because a text of the data may hold it, too.
	my $end = rindex($html, '</body>');
	substr($html, $end, 0, "<script>$checks</script>");
	open my $file, '>', "$directory/page.html" or die $!;
	print $file $html;
	close $file;
	my ($dom, $errors);
	run([ $browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', "--user-data-dir=$directory/profile",
		  '--enable-logging=stderr', '--virtual-time-budget=3000', "--window-size=$width,1000", '--dump-dom',
		  "file://$directory/page.html" ], '>', \$dom, '2>', \$errors) or diag($errors);
	my ($seen, $problems) = $dom =~ m{<pre id="checked">seen (\d+)\n(.*?)</pre>}s;
	my @console = grep { !/:INFO:CONSOLE.*"problems/ } $errors =~ /^.*CONSOLE.*$/mg;
	return ($seen // 'nothing', ($problems // 'the checks did not end') . join("\n", @console));
}

my $page = $node->safe_psql('postgres', 'SELECT cron.report()');
for my $width (390, 820, 1280)
{
	my ($seen, $problems) = looked_at($page, $width);
	is($seen, 12, "six screens in two themes are shown in a window of $width pixels");
	is($problems, '', "nothing is wrong with them in a window of $width pixels");
}
my ($seen, $problems) = looked_at(slurp_file("$FindBin::RealBin/../../report/page.html"), 1280);
is("$seen $problems", '12 ', 'the template shows its sample data');

# What the page says is what the tables say.
my ($data) = $page =~ m{<script id="report-data" type="application/json">\s*(.*?)\s*</script>}s;
$node->safe_psql('postgres', 'CREATE TABLE page (data jsonb)');
$node->safe_psql('postgres', "INSERT INTO page VALUES (\$page\$$data\$page\$)");
is($node->safe_psql('postgres', q{SELECT (data #>> '{totals,missed}')::int, jsonb_array_length(data -> 'jobs'),
	(SELECT count(*) FROM jsonb_array_elements(data -> 'jobs') AS j WHERE j ? 'cells'), data #>> '{risk,tenants}' FROM page}),
	join('|', 2 * 3 * 7 + 2 * 3, $node->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 1,
		$node->safe_psql('postgres', 'SELECT count(DISTINCT tenant_id) FROM tenant_risk_snapshots')),
	'missed occurrences are counted, jobs with many runs are drawn as cells, tenants are counted');

# What PostgREST does with a GET of a function: it takes the content type from the name of the domain that a
# function of a schema that it exposes returns, not as a set, and calls it in a read-only transaction as a role
# that is not the one that it connects as.
$node->safe_psql('postgres', q{
	CREATE SCHEMA api;
	CREATE FUNCTION api.jobs() RETURNS cron."text/html" LANGUAGE sql STABLE AS 'SELECT cron.report()';
	CREATE ROLE authenticator NOINHERIT LOGIN;
	CREATE ROLE on_call;
	GRANT on_call TO authenticator;
	GRANT USAGE ON SCHEMA api, cron TO on_call});
is($node->safe_psql('postgres', q{
	SELECT t.typname, t.typbasetype::regtype, p.proretset, p.provolatile
	  FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype WHERE p.pronamespace = 'api'::regnamespace AND t.typtype = 'd'}),
	'text/html|text|f|s', 'a function of the API returns a media type');
like($node->safe_psql('postgres', q{BEGIN READ ONLY; SET LOCAL ROLE on_call; SELECT api.jobs(); COMMIT},
		connstr => $node->connstr('postgres') . ' user=authenticator'),
	qr{<!DOCTYPE html>.*"jobs":\s*\[\]}s, 'it makes the page in a read-only transaction, with what the role may see: no jobs');

done_testing();
