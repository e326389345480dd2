# What the TAP tests of securatlas_sched share.
package Sched;

use strict;
use warnings;
use Exporter 'import';
use File::Spec;
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  new_node install ask wait_name wait_for wait_until scheduler_pid our_pids is_gone cpu_ticks log_count
  kill_process kill_server comes_back refuse_rows_of names_are_installed build_library
  make_effects effect settle exactly_once invariants_hold
);

# A node that preloads the extension; not started. Settings are added to its configuration.
sub new_node
{
	my ($name, %settings) = @_;
	my %init = %{ delete $settings{init} // {} };
	# Not those of the machine; what the test wants comes later and counts.
	$init{extra} = [ '--encoding=UTF8', '--locale=C', @{ $init{extra} // [] } ];
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%init);
	my %all = (
		shared_preload_libraries => "'securatlas_sched'",
		max_worker_processes => 20,
		restart_after_crash => 'on',
		autovacuum => 'on',
		autovacuum_naptime => 1,
		timezone => "'UTC'",
		log_timezone => "'UTC'",
		%settings);
	$node->append_conf('postgresql.conf', "$_ = $all{$_}") for sort keys %all;
	return $node;
}

# Creates the extension in a database, and waits until its scheduler is there.
sub install
{
	my ($node, $database) = @_;
	$database //= 'postgres';
	$node->safe_psql($database, 'CREATE EXTENSION securatlas_sched');
	return scheduler_pid($node, $database);
}

# The result of a query as text; undef if the server does not answer. The query is an argument of
# psql: one that ends at once, because the server is restarting, must not leave a broken pipe.
sub ask
{
	my ($node, $database, $sql) = @_;
	my ($out, $err);
	my @psql = ('psql', '-X', '-A', '-t', '-q', '-d', $node->connstr($database), '-c', $sql);
	IPC::Run::run(\@psql, '<', \undef, '>', \$out, '2>', \$err) or return;
	chomp $out;
	return $out;
}

# What pg_stat_activity calls a wait of ours: before PostgreSQL 17 all waits of extensions have one
# name.
sub wait_name
{
	my ($name) = @_;
	my ($major) = `pg_config --version` =~ /(\d+)/;
	return $major < 17 ? 'Extension' : $name;
}

# Polls until the query's result is `expected`; ends the test if it never is.
sub wait_for
{
	my ($node, $sql, $expected, $what, $database) = @_;
	$database //= 'postgres';
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	while ((ask($node, $database, $sql) // '') ne $expected)
	{
		BAIL_OUT_here($node, $database, "timed out: $what") if time() > $deadline;
		select(undef, undef, undef, 0.05);
	}
	pass($what);
	return;
}

# Polls a condition of the test itself.
sub wait_until
{
	my ($condition, $what) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	until ($condition->())
	{
		die "timed out: $what" if time() > $deadline;
		select(undef, undef, undef, 0.02);
	}
	return;
}

# Shows what the history says, and ends this test.
sub BAIL_OUT_here
{
	my ($node, $database, $what) = @_;
	my ($rc, $out) = $node->psql($database,
		"SELECT jobid, jobname, runid, status, attempt, trigger, reason, sqlstate,
		        left(return_message, 120), scheduled_at
		   FROM cron.job_run_details ORDER BY runid DESC LIMIT 15");
	diag($out // '');
	my ($rc2, $out2) = $node->psql($database, "SELECT * FROM cron.scheduler_status");
	diag($out2 // '');
	die $what;
}

# Waits for the scheduler of a database and returns its pid.
sub scheduler_pid
{
	my ($node, $database) = @_;
	$database //= 'postgres';
	my $query = "SELECT pid FROM pg_stat_activity
	  WHERE backend_type = 'securatlas_sched scheduler' AND datname = '$database'
	    AND pid = (SELECT pid FROM cron.scheduler_status)";
	my $pid;
	wait_until(sub { $pid = ask($node, $database, $query); return $pid }, "a scheduler in $database");
	return $pid;
}

# Processes of the extension: all of them, or those of one kind (launcher, scheduler, job worker).
sub our_pids
{
	my ($node, $kind) = @_;
	my $pattern = defined $kind ? "securatlas_sched $kind" : 'securatlas_sched %';
	my $pids;
	wait_until(sub {
		$pids = ask($node, 'postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '$pattern' ORDER BY pid");
		return defined $pids }, 'the server answers');
	return split /\n/, $pids;
}

sub proc_stat
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/stat") or return;
	my $line = <$file> // return;
	$line =~ s/^.*\) //;    # pid and name, which may hold anything
	return split ' ', $line;
}

# A process that nobody has waited for yet is gone, too.
sub is_gone
{
	my ($pid) = @_;
	my @stat = proc_stat($pid);
	return !@stat || $stat[0] eq 'Z';
}

# kill -9 of one of the server's processes, which makes the postmaster restart all; waits until the
# server answers again. False: the process had ended.
sub kill_process
{
	my ($node, $pid) = @_;
	my $restarts = log_count($node, 'all server processes terminated; reinitializing');
	kill('KILL', $pid) or return 0;
	wait_until(sub { log_count($node, 'all server processes terminated; reinitializing') > $restarts },
		'the postmaster sees it');
	comes_back($node);
	return 1;
}

# Kills the postmaster; its children must see that and end by themselves.
sub kill_server
{
	my ($node) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
	push @pids, $node->{_pid};
	$node->kill9;
	wait_until(sub { !grep { !is_gone($_) } @pids }, 'the children of a killed postmaster end');
	# A parent that waits for it slowly, or never, would keep its lock files valid.
	unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	return;
}

# The history takes no row of this job as long as table "broken" has a row; sequence "tries" counts how often.
sub refuse_rows_of
{
	my ($node, $job) = @_;
	$node->safe_psql('postgres', qq{
	CREATE TABLE broken ();
	INSERT INTO broken DEFAULT VALUES;
	CREATE SEQUENCE tries;
	CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \$\$
	BEGIN
		IF NEW.jobname = '$job' AND EXISTS (SELECT FROM public.broken) THEN
			PERFORM nextval('public.tries');
			RAISE 'not yet';
		END IF;
		RETURN NEW;
	END \$\$;
	CREATE TRIGGER fail BEFORE INSERT ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION fail();
	ALTER TABLE cron.job_run_details ENABLE ALWAYS TRIGGER fail});
	return;
}

# Waits until a server that restarts, by itself or after kill_server(), answers.
sub comes_back
{
	my ($node) = @_;
	wait_until(sub { (ask($node, 'postgres', 'SELECT NOT pg_is_in_recovery()') // '') eq 't' }, 'the server comes back');
	return;
}

# Compiles a file of test/support, a library that is preloaded into a server. undef: there is no
# compiler here.
sub build_library
{
	my ($source) = @_;
	my $library = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir) . "/$source.so";
	my $compiler = $source =~ /\.cpp$/ ? 'c++' : 'cc';
	return if system("$compiler --version >/dev/null 2>&1") != 0;
	chomp(my $include = `pg_config --includedir-server`);
	system_or_bail($compiler, '-shared', '-fPIC', '-O1', "-I$include", '-o', $library,
		"$FindBin::RealBin/../support/$source");
	return $library;
}

# CPU time of a process, in ticks of 10 ms.
sub cpu_ticks
{
	my ($pid) = @_;
	my @stat = proc_stat($pid) or die "process $pid is gone";
	return $stat[11] + $stat[12];
}

# How often the server log says it.
sub log_count
{
	my ($node, $pattern) = @_;
	my $log = slurp_file($node->logfile);
	my $count = () = $log =~ /$pattern/g;
	return $count;
}

# Whether the extensions pg_cron and pg_net of this server are those of this project.
sub names_are_installed
{
	my ($share) = run_command([ 'pg_config', '--sharedir' ]);
	my $control = "$share/extension/pg_cron.control";
	return -e $control && slurp_file($control) =~ /securatlas_sched/;
}

# cron.check_invariants() becomes empty: what it reports may be in the middle of a change.
sub invariants_hold
{
	my ($node, $what, $database) = @_;
	my $violations = q{SELECT string_agg(v::text, E'\n') FROM cron.check_invariants('10 seconds') v};
	my $last = '';
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	while (time() < $deadline)
	{
		$last = ask($node, $database // 'postgres', $violations) // 'no answer';
		last if $last eq '';
		select(undef, undef, undef, 0.2);
	}
	is($last, '', "$what: the invariants hold");
	return;
}

# ---- exactly once ---------------------------------------------------------------------------

# The table that effect() writes to.
sub make_effects
{
	my ($node, $database) = @_;
	$database //= 'postgres';
	$node->safe_psql($database, q{
		CREATE TABLE effects (jobid bigint, scheduled_at timestamptz, at timestamptz DEFAULT clock_timestamp());
		GRANT INSERT ON effects TO PUBLIC;});
	return;
}

# A command that leaves one row for the occurrence that it runs for.
sub effect
{
	return q{INSERT INTO public.effects (jobid, scheduled_at)
	         SELECT current_setting('cron.job_id')::bigint, current_setting('cron.scheduled_at')::timestamptz};
}

# Pauses all jobs and waits until no run is left.
sub settle
{
	my ($node, $database) = @_;
	$database //= 'postgres';
	$node->safe_psql($database, "SELECT cron.pause(jobid) FROM cron.job WHERE active");
	wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')",
		'0', 'all runs have ended', $database);
	return;
}

# The promise: what the history calls succeeded and what is in the table are the same, and between
# the first and the last no occurrence is missing. Call it when settled.
sub exactly_once
{
	my ($node, $what, $database) = @_;
	$database //= 'postgres';
	my $runs = $node->safe_psql($database,
		"SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'");
	cmp_ok($runs, '>', 0, "$what: there are runs ($runs)");
	is($node->safe_psql($database, q{
		SELECT jobid, scheduled_at, count(*) FROM effects GROUP BY 1, 2 HAVING count(*) > 1}),
		'', "$what: no effect twice");
	is($node->safe_psql($database, q{
		SELECT jobid, scheduled_at, count(*) FROM cron.job_run_details WHERE status = 'succeeded'
		 GROUP BY 1, 2 HAVING count(*) > 1}),
		'', "$what: no occurrence succeeded twice");
	is($node->safe_psql($database, q{
		SELECT 'no effect', d.jobid, d.scheduled_at, d.runid FROM cron.job_run_details d
		 WHERE d.status = 'succeeded' AND NOT EXISTS (
		       SELECT FROM effects e WHERE (e.jobid, e.scheduled_at) = (d.jobid, d.scheduled_at))
		UNION ALL
		SELECT 'no outcome', e.jobid, e.scheduled_at, NULL FROM effects e WHERE NOT EXISTS (
		       SELECT FROM cron.job_run_details d WHERE d.status = 'succeeded'
		          AND (e.jobid, e.scheduled_at) = (d.jobid, d.scheduled_at))}),
		'', "$what: outcomes and effects are the same");
	is($node->safe_psql($database, q{
		SELECT j.jobname, r.run_at
		  FROM cron.job j
		  JOIN (SELECT jobid, min(scheduled_at) AS first, max(scheduled_at) AS last, count(*)
		          FROM effects GROUP BY jobid) e USING (jobid),
		       LATERAL cron.next_runs(j.schedule, 10000, e.first, j.timezone) AS r(run_at)
		 WHERE r.run_at < e.last AND NOT EXISTS (
		       SELECT FROM effects x WHERE (x.jobid, x.scheduled_at) = (j.jobid, r.run_at))}),
		'', "$what: no occurrence is missing");
	invariants_hold($node, $what, $database);
	return;
}

1;
