# The extensions pg_cron and pg_net: each alone, both, and beside securatlas_sched, in any order; what
# DROP, dump and restore, and updates make of them; and the libraries of these names.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'make install-compat was not run, or another pg_cron is installed' if !names_are_installed();

my $stub = HttpStub->new;
my $node = new_node('names',
	shared_preload_libraries => "'pg_net, securatlas_sched, pg_cron'", max_worker_processes => 60,
	autovacuum => 'on');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE plain LOGIN');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched launcher'}),
	'1', 'preloaded under three names it is there once');

my %name = (C => 'pg_cron SCHEMA pg_catalog', N => 'pg_net SCHEMA extensions', S => 'securatlas_sched');
sub make_database
{
	my ($database, @extensions) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, join ';', 'CREATE SCHEMA extensions', map { "CREATE EXTENSION $name{$_}" } @extensions);
	return;
}
sub in { my ($database, $sql) = @_; return $node->safe_psql($database, $sql) }
sub error_of { my ($database, $sql) = @_; my ($rc, $out, $err) = $node->psql($database, "\\set VERBOSITY verbose\n$sql"); return $err }

# All that the catalogs record about the extensions: members, what a dump includes, dependencies.
my $state = q{
	SELECT e.extname, pg_describe_object(d.classid, d.objid, d.objsubid)
	  FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	 WHERE e.extname <> 'plpgsql' AND d.deptype IN ('e', 'n')
	UNION ALL
	SELECT e.extname, c.id::regclass || ' ' || c.condition
	  FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS c(id, condition)
	UNION ALL
	SELECT extname, extversion || ' ' || extnamespace::regnamespace FROM pg_extension
	 ORDER BY 1, 2};

# ---- any order ------------------------------------------------------------------------------
my %states;
for my $order (qw(C N S CN NC CS SC NS SN CNS NCS CSN SNC))
{
	make_database(lc $order, split //, $order);
	my $set = join '', sort split //, $order;
	my $is = in(lc $order, $state);
	$states{$set} //= $is;
	is($is, $states{$set}, "$order comes to the same as any other order");
	is(in(lc $order, q{SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname IN ('cron', 'net', 'securatlas')}),
		join(' ', ($set =~ /[CS]/ ? 'cron' : ()), ($set =~ /[NS]/ ? 'net' : ()), ($set =~ /S/ ? 'securatlas' : ())),
		"$order has these schemas");
	is(in(lc $order, q{
		SELECT DISTINCT p.proname FROM pg_proc p WHERE p.pronamespace::regnamespace::text IN ('cron', 'net')
		   AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')}),
		'', "$order: each function is some extension's");
}
my $members = q{SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = '%s')};
is(in('cns', sprintf $members, 'pg_cron'), '0', 'beside securatlas_sched, pg_cron is a name only');
is(in('cns', sprintf $members, 'pg_net'), '0', 'and so is pg_net');
is(in('cns', sprintf $members, 'securatlas_sched'), in('s', sprintf $members, 'securatlas_sched'),
	'which has what it has alone');

# ---- each alone ----------------------------------------------------------------------------
sub runs
{
	my ($database) = @_;
	in($database, q{SELECT cron.schedule('every second', '1 second', 'SELECT 1')});
	wait_for($node, q{SELECT count(*) > 0 FROM cron.job_run_details WHERE status = 'succeeded'}, 't',
		"$database: jobs run", $database);
	in($database, q{SELECT cron.unschedule('every second')});
	return;
}
sub sends
{
	my ($database) = @_;
	in($database, q{
		CREATE TABLE answers (status int);
		CREATE FUNCTION answered(r net._http_response) RETURNS void LANGUAGE sql
			AS 'INSERT INTO public.answers VALUES (r.status_code)'});
	in($database, "SELECT net.http_request('GET', '" . $stub->url("/echo/$database")
		  . "', on_response => 'answered(net._http_response)'::regprocedure)");
	wait_for($node, 'SELECT status FROM answers', '200', "$database: requests are answered, and call back", $database);
	is(in($database, 'SELECT status_code FROM net._http_response'), '200', "$database: and recorded");
	return;
}
runs('c');
sends('n');
runs('cn');
sends('cn');
runs('cns');
sends('cns');
is(in('c', 'SELECT * FROM cron.take_over()'), '0|0', 'pg_cron alone takes over jobs only');
is(in('n', 'SELECT net.take_over()'), '0', 'pg_net alone takes over requests');
my $not_always = q{SELECT tgname FROM pg_trigger WHERE tgrelid = '%s'::regclass AND tgenabled <> 'A' AND tgname ~ 'replicated|^job_check'};
in('c', 'ALTER TABLE cron.job DISABLE TRIGGER ALL; ALTER TABLE cron.job ENABLE TRIGGER ALL');
is(in('c', sprintf $not_always, 'cron.job'), '', 'pg_cron alone: triggers that are enabled fire always');
in('n', 'ALTER TABLE net._http_response DISABLE TRIGGER ALL; ALTER TABLE net._http_response ENABLE TRIGGER ALL');
is(in('n', sprintf $not_always, 'net._http_response'), '', 'pg_net alone: so do they');
in('n', q{GRANT USAGE ON SCHEMA net TO plain; SET ROLE plain; SELECT net.set_secret('s', 'a value'); RESET ROLE; DROP OWNED BY plain});
in('c', q{GRANT USAGE ON SCHEMA cron TO plain; SET ROLE plain; SELECT cron.schedule('of plain', '@yearly', ''); RESET ROLE; DROP OWNED BY plain});
is(in('c', 'SELECT count(*) FROM cron.job'), '0', 'pg_cron alone: DROP OWNED drops jobs');

# ---- DROP of one leaves the other ------------------------------------------------------------
my $gate = $node->basedir . '/gate';
# A run that waits until the file is there.
my $waits = "DO \$d\$ BEGIN WHILE pg_stat_file('$gate', true) IS NULL LOOP PERFORM pg_sleep(0.05); END LOOP; END \$d\$";
sub begin_run
{
	my ($database) = @_;
	unlink $gate;
	my $run = in($database, "SELECT cron.run_job(cron.schedule('waits', '\@yearly', \$c\$$waits\$c\$))");
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'running', "$database: a run is in progress", $database);
	return $run;
}
sub end_run
{
	my ($database, $run, $what) = @_;
	append_to_file($gate, 'open');
	wait_for($node, "SELECT status, attempt FROM cron.job_run_details WHERE runid = $run", 'succeeded|1', $what, $database);
	return;
}
my $run = begin_run('cn');
in('cn', 'DROP TABLE answers; DROP FUNCTION answered; DROP EXTENSION pg_net');
end_run('cn', $run, 'a run outlives DROP EXTENSION pg_net');
is(in('cn', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'net'}), '0', 'schema net is gone');
$run = begin_run('cn');
in('cn', 'CREATE EXTENSION pg_net SCHEMA extensions');
end_run('cn', $run, 'and CREATE EXTENSION pg_net');
in('cn', q{DELETE FROM cron.job_run_details; SELECT cron.unschedule('waits')});
sends('cn');
runs('cn');

in('nc', q{SELECT cron.schedule('every second', '1 second', 'SELECT 1')});
in('nc', "SELECT net.http_get('" . $stub->url('/delay/2000/nc') . "')");
wait_for($node, 'SELECT in_flight FROM net.worker_status', '1', 'a request is in flight', 'nc');
in('nc', 'DROP EXTENSION pg_cron');
wait_for($node, 'SELECT status_code FROM net._http_response', '200', 'a request outlives DROP EXTENSION pg_cron', 'nc');
is(scalar($stub->requests('/delay/2000/nc')), 1, 'a request is sent once although pg_cron is dropped meanwhile');
in('nc', "SELECT net.http_get('" . $stub->url('/delay/1000/nc') . "')");
wait_for($node, 'SELECT in_flight FROM net.worker_status', '1', 'another request is in flight', 'nc');
in('nc', 'CREATE EXTENSION pg_cron');
wait_for($node, 'SELECT count(*) FROM net._http_response WHERE status_code = 200', '2', 'a request outlives CREATE EXTENSION pg_cron', 'nc');
is(scalar($stub->requests('/delay/1000/nc')), 1, 'a request is sent once although pg_cron is created meanwhile');
runs('nc');
in('nc', 'DROP EXTENSION pg_cron, pg_net');
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'nc' AND backend_type LIKE 'securatlas%'}, '0',
	'without both, no process is there');

# ---- securatlas_sched takes in ---------------------------------------------------------------
make_database('taken', 'C', 'N');
in('taken', q{
	SELECT cron.schedule('kept', '0 0 1 1 *', 'SELECT 1');
	GRANT USAGE ON SCHEMA cron TO plain;
	GRANT SELECT ON cron.job_run_details TO plain WITH GRANT OPTION});
$run = begin_run('taken');
in('taken', 'CREATE EXTENSION securatlas_sched');
end_run('taken', $run, 'a run outlives CREATE EXTENSION securatlas_sched');
is(in('taken', q{SELECT jobname FROM cron.job WHERE jobname = 'kept'}), 'kept', 'the jobs are there');
runs('taken');
sends('taken');
is(in('taken', 'SELECT count(*) FROM cron.run_requests'), '0', 'and what needs both schemas');
in('taken', 'DROP EXTENSION pg_net; DROP EXTENSION pg_cron');
is(in('taken', q{SELECT jobname FROM cron.job WHERE jobname = 'kept'}), 'kept', 'the names go without anything else');
in('taken', 'CREATE EXTENSION pg_cron');
like(error_of('taken', 'DROP EXTENSION securatlas_sched'),
	qr/2BP01: cannot drop extension securatlas_sched because other objects depend on it.*extension pg_cron depends on extension securatlas_sched/s,
	'what a name stands for is not dropped without a word');
in('taken', 'DROP EXTENSION securatlas_sched CASCADE');
is(in('taken', q{SELECT count(*) FROM pg_extension WHERE extname <> 'plpgsql'}), '0', 'DROP ... CASCADE drops the extension and its names');

# What pg_net grants, and what an administrator has granted.
my $acl = q{SELECT n.nspname, a.a::text FROM pg_namespace n, unnest(n.nspacl) AS a(a) WHERE n.nspname IN ('cron', 'net')
	AND a.a::text !~ '^postgres='
	UNION ALL SELECT p.proname, a.a::text FROM pg_proc p, unnest(p.proacl) AS a(a) WHERE p.proname IN ('worker_restart', 'alter_job')
	AND a.a::text !~ '^postgres='
	ORDER BY 1, 2};
in('cns', q{GRANT USAGE ON SCHEMA cron TO plain; GRANT EXECUTE ON FUNCTION cron.alter_job TO plain WITH GRANT OPTION});
like(in('cns', $acl), qr/^net\|=U/m, 'what pg_net has granted to everybody stays when it is taken in');

# ---- dump and restore ------------------------------------------------------------------------
for my $database (qw(c n cn cs ns cns))
{
	in($database, q{SELECT cron.schedule('dumped', '0 0 1 1 *', 'SELECT 1'), cron.run_after('dumped', cron_other)
		FROM (SELECT 'other' AS cron_other FROM (SELECT cron.schedule('other', '@yearly', 'SELECT 2')) o OFFSET 0) x})
	  if $database =~ /[cs]/;
	in($database, q{SELECT net.set_secret('dumped', 'a value')}) if $database =~ /[ns]/;
	my $file = $node->basedir . "/$database.sql";
	$node->command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr($database) ], "$database is dumped");
	in('postgres', "CREATE DATABASE re_$database");
	my ($out, $err) = run_command([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr("re_$database"), '-f', $file ]);
	is($err, '', 'and restored');
	my $set = join '', sort split //, uc $database;
	is(in("re_$database", $state), $states{$set}, "re_$database is the same");
	is(in("re_$database", $acl), in($database, $acl), 'with its privileges');
	is(in("re_$database", q{SELECT string_agg(jobname, ' ' ORDER BY jobname) FROM cron.job}), 'dumped other', 'with its jobs')
	  if $database =~ /[cs]/;
	is(in("re_$database", q{SELECT name FROM net.secrets WHERE name = 'dumped'}), 'dumped', 'with its secrets') if $database =~ /[ns]/;
}

# ---- what looks for the names ----------------------------------------------------------------
in('postgres', 'CREATE DATABASE looked_for');
in('looked_for', q{
	CREATE TABLE created (name text);
	CREATE FUNCTION note_extension() RETURNS event_trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO created SELECT object_identity FROM pg_event_trigger_ddl_commands()
		 WHERE object_type = 'extension';
		IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'pg_cron') THEN
			GRANT USAGE ON SCHEMA cron TO plain WITH GRANT OPTION;
		END IF;
	END $$;
	CREATE EVENT TRIGGER noted ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION') EXECUTE FUNCTION note_extension();
	CREATE EXTENSION pg_cron; CREATE EXTENSION pg_net; CREATE EXTENSION securatlas_sched});
is(in('looked_for', 'SELECT name FROM created'), "pg_cron\npg_net\nsecuratlas_sched", 'event triggers on CREATE EXTENSION fire');
is(in('looked_for', q{SELECT has_schema_privilege('plain', 'cron', 'USAGE WITH GRANT OPTION')}), 't', 'what they grant is granted');
my ($rc, $out, $err) = $node->psql('looked_for', 'ALTER EXTENSION pg_cron UPDATE; ALTER EXTENSION pg_net UPDATE');
is($rc, 0, 'ALTER EXTENSION ... UPDATE has nothing to do');
unlike($err, qr/WARNING|ERROR/, 'the statement gives no other warning and no error');
is(in('looked_for', q{SELECT extname, string_to_array(extversion, '.')::int[] > ARRAY[CASE extname WHEN 'pg_cron' THEN 1 ELSE 0 END, 5]
	FROM pg_extension WHERE extname LIKE 'pg\_%' ORDER BY 1}), "pg_cron|t\npg_net|t", 'their versions can be compared');
like(error_of('postgres', 'CREATE EXTENSION pg_cron SCHEMA public'), qr/must be installed in schema "pg_catalog"/,
	'pg_cron is in no other schema than the original');

# ---- the originals, and other versions -------------------------------------------------------
in('c', q{UPDATE pg_extension SET extversion = '1.6' WHERE extname = 'pg_cron'});
like(error_of('c', 'CREATE EXTENSION securatlas_sched'),
	qr/42P06: schema "cron" already exists\nDETAIL:  It belongs to extension "pg_cron" 1.6.\nHINT:  securatlas_sched_migrate moves/,
	'what the original has is not taken in');
in('c', q{UPDATE pg_extension SET extversion = '1.6.101' WHERE extname = 'pg_cron'; COMMENT ON EXTENSION pg_cron IS 'of a later version'});
like(error_of('c', q{SELECT cron.schedule('x', '@yearly', '')}),
	qr/55000: the loaded library is for version 1\.6\.\d+ of extension "pg_cron", but this database has version 1\.6\.101\nHINT:  Install/,
	'a version that is not the library\'s is refused');
in('n', q{UPDATE pg_extension SET extversion = '0.19.100' WHERE extname = 'pg_net'});
like(error_of('n', q{SELECT net.http_get('http://localhost/')}), qr/HINT:  Run ALTER EXTENSION pg_net UPDATE/, 'with what to do');

$node->stop;
done_testing;
