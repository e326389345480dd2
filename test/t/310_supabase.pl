# Supabase: its roles and what it grants, the statements of its dashboard, its webhooks, its upgrade, and
# what its users write into clean-up jobs. Of securatlas_sched, and of pg_cron and pg_net, where these
# names are installed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;
use JSON::PP qw(decode_json);

# The superuser is not postgres there.
$ENV{PGUSER} = 'supabase_admin';
my ($stub, $node, $names);

sub as
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "SET ROLE $role; $sql");
	return ($out // '', $err);
}

# As a role; ends the test on an error.
sub run_as
{
	my ($role, $sql) = @_;
	my ($out, $err) = as($role, $sql);
	die "as $role: $sql\n$err" if $err =~ /ERROR|FATAL/;
	return $out;
}
sub admin { my ($sql) = @_; return run_as('supabase_admin', $sql) }

sub refused
{
	my ($role, $sql, $pattern, $what) = @_;
	my ($out, $err) = as($role, $sql);
	like($err, $pattern, $what);
	return;
}

# What is granted to postgres when pg_cron is created.
my $grant_cron = q{
	GRANT USAGE ON SCHEMA cron TO postgres WITH GRANT OPTION;
	GRANT ALL ON ALL FUNCTIONS IN SCHEMA cron TO postgres WITH GRANT OPTION;
	ALTER DEFAULT PRIVILEGES FOR USER supabase_admin IN SCHEMA cron GRANT ALL ON SEQUENCES TO postgres WITH GRANT OPTION;
	ALTER DEFAULT PRIVILEGES FOR USER supabase_admin IN SCHEMA cron GRANT ALL ON TABLES TO postgres WITH GRANT OPTION;
	ALTER DEFAULT PRIVILEGES FOR USER supabase_admin IN SCHEMA cron GRANT ALL ON FUNCTIONS TO postgres WITH GRANT OPTION;
	GRANT ALL PRIVILEGES ON ALL TABLES IN SCHEMA cron TO postgres WITH GRANT OPTION;
	REVOKE ALL ON TABLE cron.job FROM postgres;
	GRANT SELECT ON TABLE cron.job TO postgres WITH GRANT OPTION;};
# The request functions run with their owner's rights.
my $grant_net = q{
	GRANT USAGE ON SCHEMA net TO supabase_functions_admin, postgres, anon, authenticated, service_role;
	ALTER FUNCTION net.http_get(url text, params jsonb, headers jsonb, timeout_milliseconds integer)
		SECURITY DEFINER SET search_path = net;
	ALTER FUNCTION net.http_post(url text, body jsonb, params jsonb, headers jsonb, timeout_milliseconds integer)
		SECURITY DEFINER SET search_path = net;
	REVOKE ALL ON FUNCTION net.http_get(url text, params jsonb, headers jsonb, timeout_milliseconds integer) FROM PUBLIC;
	REVOKE ALL ON FUNCTION net.http_post(url text, body jsonb, params jsonb, headers jsonb, timeout_milliseconds integer) FROM PUBLIC;
	GRANT EXECUTE ON FUNCTION net.http_get(url text, params jsonb, headers jsonb, timeout_milliseconds integer),
		net.http_post(url text, body jsonb, params jsonb, headers jsonb, timeout_milliseconds integer)
		TO supabase_functions_admin, postgres, anon, authenticated, service_role;};

# Event triggers grant it.
sub grant_by_triggers
{
	for my $case ([ 'pg_cron', $grant_cron ], [ 'pg_net', $grant_net ])
	{
		my ($extension, $grants) = @$case;
		admin(qq{
			CREATE OR REPLACE FUNCTION extensions.grant_${extension}_access() RETURNS event_trigger LANGUAGE plpgsql AS \$\$
			BEGIN
				IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c JOIN pg_extension e ON c.objid = e.oid
				            WHERE e.extname = '$extension') THEN
					$grants
				END IF;
			END \$\$;
			CREATE EVENT TRIGGER issue_${extension}_access ON ddl_command_end WHEN TAG IN ('CREATE EXTENSION')
				EXECUTE FUNCTION extensions.grant_${extension}_access()});
	}
	return;
}

sub create_extensions
{
	if ($names)
	{
		admin('CREATE EXTENSION pg_cron SCHEMA pg_catalog; CREATE EXTENSION IF NOT EXISTS pg_net SCHEMA extensions');
		scheduler_pid($node);
	}
	else
	{
		install($node);
		admin($grant_cron);
		admin($grant_net);
	}
	return;
}

sub suite
{
	$stub = HttpStub->new;
	$node = new_node($names ? 'names' : 'own', init => { extra => ['--username=supabase_admin'] }, autovacuum => 'on',
		max_worker_processes => 30, shared_preload_libraries => $names ? "'pg_cron, pg_net'" : "'securatlas_sched'");
	$node->start;

	$node->safe_psql('postgres', q{
		CREATE ROLE postgres LOGIN CREATEDB CREATEROLE BYPASSRLS REPLICATION;
		GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO postgres;
		CREATE ROLE anon NOLOGIN NOINHERIT;
		CREATE ROLE authenticated NOLOGIN NOINHERIT;
		CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
		CREATE ROLE authenticator LOGIN NOINHERIT;
		GRANT anon, authenticated, service_role TO authenticator, postgres;
		CREATE ROLE supabase_functions_admin NOINHERIT CREATEROLE LOGIN NOREPLICATION;
		CREATE SCHEMA extensions;
		GRANT CREATE ON DATABASE postgres TO postgres});
	grant_by_triggers() if $names;
	create_extensions();

	# ---- rights ----------------------------------------------------------------------------------
	is(run_as('postgres', q{
		SELECT count(*) FROM cron.job;
		GRANT USAGE ON SCHEMA cron TO authenticated;
		GRANT SELECT ON ALL TABLES IN SCHEMA cron TO authenticated;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO authenticated;
		SET ROLE authenticated;
		SELECT count(*) FROM cron.job}), "0\n0", 'postgres grants onwards what it was granted');

	for my $sql ("INSERT INTO cron.scheduler_state SELECT now(), 1, 'x', 1", 'UPDATE cron.scheduler_state SET planned_until = now()',
		'DELETE FROM cron.scheduler_state', 'TRUNCATE cron.scheduler_state', 'TRUNCATE cron.scheduler_state, cron.job_dependency')
	{
		refused('postgres', $sql, qr/ERROR:  permission denied for table scheduler_state/, "whatever is granted: $sql");
	}
	refused('postgres', $_, qr/ERROR:  permission denied for (?:table|function|schema)/, "postgres cannot: $_")
		for q{INSERT INTO cron.job (schedule, command) VALUES ('* * * * *', 'SELECT 1')}, 'UPDATE cron.job SET active = false', 'DELETE FROM cron.job',
		'TRUNCATE cron.job', q{INSERT INTO net.http_request_queue (method, url) VALUES ('GET', 'http://localhost/')};

	# A trigger of a role that was granted TRIGGER is never fired by the extension, which is a superuser.
	run_as('postgres', q{
		CREATE SCHEMA traps; GRANT ALL ON SCHEMA traps TO PUBLIC;
		CREATE TABLE traps.sprung (who text, what text);
		GRANT ALL ON traps.sprung TO PUBLIC;
		CREATE FUNCTION traps.spring() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO traps.sprung VALUES (current_user, TG_RELNAME || ' ' || TG_OP); RETURN COALESCE(NEW, OLD); END $$;
		CREATE TRIGGER spring BEFORE INSERT OR UPDATE OR DELETE ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION traps.spring();
		CREATE TRIGGER spring BEFORE INSERT OR UPDATE OR DELETE ON cron.job_dependency FOR EACH ROW EXECUTE FUNCTION traps.spring();
		CREATE TRIGGER spring BEFORE INSERT OR UPDATE OR DELETE ON cron.scheduler_state FOR EACH ROW EXECUTE FUNCTION traps.spring()});

	# ---- the dashboard: jobs ---------------------------------------------------------------------
	my $url = $stub->url('/echo');
	my $post = "select net.http_post( url:='$url', headers:=jsonb_build_object('Authorization','Bearer x'), body:='{\"k\":\"v\"}', timeout_milliseconds:=5000 );";
	my %command = (
		'edge function' => $post,
		'text headers' => "select net.http_post(url:='$url', headers:='{\"X-One\": \"1\"}', timeout_milliseconds:=5000);",
		'cast headers' => "select net.http_get(url:='$url', headers:='{\"X-One\": \"1\"}'::jsonb, timeout_milliseconds:=5000);",
		'no headers' => "select net.http_get(url:='$url', headers:=jsonb_build_object(), timeout_milliseconds:=5000);",
		'function' => 'SELECT public.tidy()',
		'procedure' => 'CALL public.tidy_all()');
	admin('GRANT ALL ON SCHEMA public TO postgres');
	run_as('postgres', q{
		CREATE TABLE public.tidied (who text DEFAULT current_user);
		CREATE FUNCTION public.tidy() RETURNS void LANGUAGE sql AS 'INSERT INTO public.tidied DEFAULT VALUES';
		CREATE PROCEDURE public.tidy_all() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.tidied DEFAULT VALUES; COMMIT; END $$});
	my %job;
	for my $name (sort keys %command)
	{
		$job{$name} = run_as('postgres', "select cron.schedule('$name', '0 0 1 1 *', \$\$$command{$name}\$\$);");
	}
	is(run_as('postgres', "select cron.schedule('function', '30 seconds', \$\$SELECT public.tidy()\$\$);"), $job{function}, 'a job is edited by its name');
	is(run_as('postgres', "SELECT schedule FROM cron.job WHERE jobid = $job{function}"), '30 seconds', 'its schedule');
	run_as('postgres', "select cron.schedule('function', '0 0 1 1 *', \$\$SELECT public.tidy()\$\$);");
	is(run_as('postgres', q{
		SELECT job.jobid, job.jobname, job.schedule, job.command, job.active FROM cron.job job
		 WHERE job.jobname ILIKE '%Headers%' ORDER BY job.jobid LIMIT 10 OFFSET 0}) =~ tr/\n//, 2, 'the list of jobs, searched');
	is(run_as('postgres', q{
		with job_count as (select count(*) as count from cron.job where jobname like '%headers%')
		select count from job_count, cron.job where jobname like '%headers%' order by jobid limit 1 offset 0}), '3', 'and counted');

	is(run_as('postgres', "SELECT username FROM cron.job WHERE jobid = $job{function}"), 'postgres', 'jobs are the role\'s');
	for my $name (sort keys %command)
	{
		my $run = run_as('postgres', "SELECT cron.run_job('$name')");
		wait_for($node, "SELECT status, username FROM cron.job_run_details WHERE runid = $run", 'succeeded|postgres', "$name: it runs");
	}
	wait_for($node, q{SELECT count(*) FROM net._http_response WHERE status_code = 200 AND created_by = 'postgres'::regrole}, '4',
		'what jobs request is answered');
	is(run_as('postgres', 'SELECT DISTINCT who FROM tidied'), 'postgres', 'they run as the role');
	is(run_as('supabase_admin', 'SELECT count(*) FROM traps.sprung'), '0', 'no trigger of another role was fired for them');
	my $latest = q{
		WITH latest_runs AS (
			SELECT jobid, status, MAX(start_time) AS latest_run FROM cron.job_run_details GROUP BY jobid, status),
		most_recent_runs AS (
			SELECT jobid, status, latest_run FROM latest_runs l
			 WHERE latest_run = (SELECT MAX(latest_run) FROM latest_runs o WHERE o.jobid = l.jobid))
		SELECT job.jobname, mr.status, mr.latest_run IS NOT NULL FROM cron.job job
		  LEFT JOIN most_recent_runs mr ON job.jobid = mr.jobid ORDER BY job.jobname LIMIT 100 OFFSET 0};
	is(run_as('postgres', $latest), join("\n", map { "$_|succeeded|t" } sort keys %command), 'the list of jobs with their latest runs');
	run_as('postgres', 'DELETE FROM cron.job_run_details WHERE runid = (SELECT min(runid) FROM cron.job_run_details)');
	is(run_as('supabase_admin', 'SELECT who, what FROM traps.sprung'), 'postgres|job_run_details DELETE', 'as it is for statements of the role\'s own');
	run_as('postgres', 'REVOKE TRIGGER ON cron.job_run_details FROM postgres');
	admin(q{REVOKE TRIGGER ON cron.job_run_details FROM postgres; DROP FUNCTION traps.spring CASCADE});

	my $page = (split /\n/, run_as('postgres', "SELECT start_time FROM cron.job_run_details WHERE jobid = '$job{function}' ORDER BY start_time DESC LIMIT 30"))[-1];
	is(run_as('postgres', "SELECT * FROM cron.job_run_details WHERE jobid = '$job{function}' AND start_time < '$page' ORDER BY start_time DESC LIMIT 30"),
		'', 'the runs of a job, page by page');
	is(run_as('postgres', q{SELECT count(*) FROM pg_stat_user_tables WHERE schemaname = 'cron' AND relname IN ('job', 'job_run_details') AND n_live_tup >= 0}),
		'2', 'the estimates of rows');
	is(run_as('postgres', "select setting from pg_settings where name = 'cron.timezone'"), 'GMT', 'the zone');

	run_as('postgres', "select cron.alter_job(job_id := $job{function}, active := false)");
	is(run_as('postgres', "SELECT active FROM cron.job WHERE jobid = $job{function}"), 'f', 'a job is switched off');
	run_as('postgres', "select cron.alter_job(job_id := $job{function}, active := true)");
	is(run_as('postgres', "SELECT active FROM cron.job WHERE jobid = $job{function}"), 't', 'and on');
	my $tidied = run_as('postgres', 'SELECT count(*) FROM tidied');
	run_as('postgres', qq{DO \$\$ DECLARE job_command text;
		BEGIN select command into job_command from cron.job where jobid = $job{function}; EXECUTE job_command; END \$\$});
	is(run_as('postgres', 'SELECT count(*) FROM tidied'), $tidied + 1, 'run now, by DO');
	# The dashboard computes next runs by functions of the session's own.
	is(run_as('postgres', qq{
		CREATE FUNCTION pg_temp.part(schedule text, n int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
			\$\$ BEGIN RETURN split_part(schedule, ' ', n); END \$\$;
		SELECT pg_temp.part(schedule, 4), count(*) FROM cron.job WHERE jobname LIKE '%headers' GROUP BY 1}), '1|3', 'next runs, by functions of the session');
	is(run_as('postgres', "SELECT cron.unschedule($job{procedure})"), 't', 'a job is deleted');

	# ---- the dashboard: clean-up -----------------------------------------------------------------
	is(run_as('postgres', q{
		SELECT pg_relation_size(oid) / current_setting('block_size')::int8 > 0 FROM pg_class
		 WHERE relname = 'job_run_details' AND relnamespace = 'cron'::regnamespace}), 't', 'the pages of the history');
	admin(q{
		INSERT INTO cron.job_run_details (jobid, username, status, start_time, end_time)
		SELECT -1, CASE WHEN n % 2 = 0 THEN 'postgres' ELSE 'authenticated' END, 'succeeded', now() - interval '9 days', now() - interval '8 days'
		  FROM generate_series(1, 100) n});
	my $batch = q{
		WITH deleted AS (
			DELETE FROM cron.job_run_details
			 WHERE ctid >= '(0,0)'::tid AND ctid < '(5000,0)'::tid AND end_time < now() - interval '7 days' RETURNING 1)
		SELECT count(*) as deleted_count FROM deleted};
	is(run_as('authenticated', $batch), '50', 'pages are cleaned up through row security');
	is(run_as('postgres', $batch), '50', 'and by who sees all rows');
	is(run_as('postgres', $batch), '0', 'once');
	my @cleaning = (
		[ 'delete-job-run-details', q{DELETE FROM cron.job_run_details WHERE end_time < now() - interval '7 days'} ],
		[ 'truncate responses', 'TRUNCATE net._http_response' ],
		[ 'delete responses', q{DELETE FROM net._http_response WHERE created < now() - interval '1 day'} ]);
	for my $job (@cleaning)
	{
		my ($name, $command) = @$job;
		run_as('postgres', "SELECT cron.schedule('$name', '0 12 * * *', \$\$$command\$\$)");
		my $run = run_as('postgres', "SELECT cron.run_job('$name')");
		wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', "a job: $name");
	}
	is(admin('SELECT count(*) FROM net._http_response'), '0', 'no response is left');
	# Found in clean-up jobs, of whoever owns the table.
	my $vacuum = admin(q{SELECT cron.run_job(cron.schedule('shrink', '0 12 * * *', 'VACUUM (FULL) cron.job_run_details'))});
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $vacuum", 'succeeded', 'the history is rewritten');
	admin(q{SELECT cron.unschedule('shrink')});

	# ---- requests --------------------------------------------------------------------------------
	for my $role (qw(postgres authenticated anon service_role supabase_functions_admin))
	{
		my $id = run_as($role, "select net.http_get('$url/get-$role', null::jsonb, null::jsonb, 5000)");
		run_as($role, "select net.http_post('$url/post-$role', '{}', null, null, 5000)");
		wait_for($node, "SELECT count(*) FROM net._http_response WHERE status_code = 200 AND url LIKE '%-$role'", '2',
			"$role: without headers and parameters, by position");
		is(admin("SELECT DISTINCT created_by::regrole FROM net._http_response WHERE url LIKE '%-$role'"), $role,
			"$role: the role that called has made it");
		is(run_as($role, "SELECT count(*) FROM net._http_response WHERE url LIKE '%-$role'"), '2', "$role: and sees its response");
		is(run_as($role, "SELECT (response).status_code FROM net._http_collect_response($id)"), '200', "$role: which it collects");
	}
	is(run_as('anon', 'SELECT count(*) FROM net._http_response'), '2', 'and no other');
	is(run_as('postgres', qq{
		BEGIN;
		SELECT net.http_get('$url/asked') AS id \\gset
		SELECT status FROM net._http_collect_response(:id);
		ROLLBACK}), 'PENDING', 'in the transaction of the request its response is not waited for');

	run_as('supabase_functions_admin', q{SELECT net.set_secret('service_key', 'key of functions')});
	admin(q{SELECT net.set_secret('admin_key', 'key of admin')});
	for my $role (qw(anon authenticated postgres))
	{
		for my $secret (qw(service_key admin_key))
		{
			refused($role, qq{SELECT net.http_post('$url/stolen', '{}', '{}', '{"X-Key": "{{secret:$secret}}"}')},
				qr/permission denied for secret "$secret"/, "$role: functions that run as a superuser give away no secret ($secret)");
		}
	}
	run_as('supabase_functions_admin', qq{SELECT net.http_post('$url/keyed', '{}', '{}', '{"X-Key": "{{secret:service_key}}"}')});
	wait_until(sub { scalar $stub->requests('/echo/keyed') }, 'its own secret is sent');
	is(($stub->requests('/echo/keyed'))[0]{headers}{'x-key'}, 'key of functions', 'its role uses its own secret');
	is(scalar($stub->requests('/echo/stolen')), 0, 'nothing else was sent');

	# ---- removing requests and responses ---------------------------------------------------------
	for my $role (qw(postgres service_role))
	{
		run_as('anon', "SELECT net.http_get('$url')");
		wait_for($node, 'SELECT count(*) FROM net.http_request_queue', '0', 'the queue is empty');
		cmp_ok(run_as($role, 'WITH gone AS (DELETE FROM net._http_response RETURNING 1) SELECT count(*) FROM gone'), '>', 0, "$role deletes responses");
		run_as('anon', "SELECT net.http_get('$url/removed')" );
		run_as($role, 'TRUNCATE net._http_response; TRUNCATE net.http_request_queue');
		is(admin('SELECT count(*) FROM net._http_response'), '0', "$role truncates both");
	}
	# What the http worker has read, and not sent yet, is not sent when it was deleted.
	$node->append_conf('postgresql.conf', "net.requests_per_second_per_host = 2");
	$node->reload;
	run_as('authenticated', "SELECT net.http_get('$url/deleted') FROM generate_series(1, 50)");
	wait_for($node, q{SELECT count(*) > 0 FROM net._http_response WHERE url LIKE '%/deleted'}, 't', 'some are sent');
	run_as('authenticated', 'DELETE FROM net.http_request_queue');
	$node->append_conf('postgresql.conf', "net.requests_per_second_per_host = 0");
	$node->reload;
	run_as('anon', "SELECT net.http_get('$url/afterwards')");
	wait_for($node, q{SELECT count(*) FROM net._http_response WHERE url LIKE '%/afterwards'}, '1', 'a later one is sent');
	cmp_ok(scalar($stub->requests('/echo/deleted')), '<', 50, 'those that were deleted are not');

	# ---- database webhooks -----------------------------------------------------------------------
	admin(q{
		CREATE SCHEMA supabase_functions AUTHORIZATION supabase_admin;
		GRANT USAGE ON SCHEMA supabase_functions TO postgres, anon, authenticated, service_role;
		CREATE TABLE supabase_functions.migrations (version text PRIMARY KEY, inserted_at timestamptz NOT NULL DEFAULT now());
		CREATE TABLE supabase_functions.hooks (id bigserial PRIMARY KEY, hook_table_id int NOT NULL, hook_name text NOT NULL,
			created_at timestamptz NOT NULL DEFAULT now(), request_id bigint);
		CREATE INDEX ON supabase_functions.hooks (request_id);
		CREATE INDEX ON supabase_functions.hooks (hook_table_id, hook_name);
		CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql
			SECURITY DEFINER SET search_path = supabase_functions AS $$
		DECLARE
			request bigint;
			target CONSTANT text := TG_ARGV[0];
			headers CONSTANT jsonb := COALESCE(NULLIF(TG_ARGV[2], 'null')::jsonb, '{"Content-Type": "application/json"}');
			params CONSTANT jsonb := COALESCE(NULLIF(TG_ARGV[3], 'null')::jsonb, '{}');
			timeout CONSTANT int := COALESCE(NULLIF(TG_ARGV[4], 'null')::int, 1000);
			retries CONSTANT int := COALESCE(NULLIF(TG_ARGV[5], 'null')::int, 0);
			status int;
		BEGIN
			FOR attempt IN 0..retries LOOP
				IF TG_ARGV[1] = 'GET' THEN
					SELECT http_get INTO request FROM net.http_get(target, params, headers, timeout);
				ELSE
					SELECT http_post INTO request FROM net.http_post(target,
						jsonb_build_object('old_record', OLD, 'record', NEW, 'type', TG_OP,
						                   'table', TG_TABLE_NAME, 'schema', TG_TABLE_SCHEMA),
						params, headers, timeout);
				END IF;
				EXIT WHEN retries = 0;
				-- It is in the queue of this very transaction.
				SELECT (response).status_code::int INTO status FROM net._http_collect_response(request);
				EXIT WHEN status < 500;
			END LOOP;
			INSERT INTO supabase_functions.hooks (hook_table_id, hook_name, request_id) VALUES (TG_RELID, TG_NAME, request);
			RETURN NEW;
		END $$;
		GRANT ALL ON ALL TABLES IN SCHEMA supabase_functions TO supabase_functions_admin;
		GRANT ALL ON ALL SEQUENCES IN SCHEMA supabase_functions TO supabase_functions_admin;
		GRANT USAGE, CREATE ON SCHEMA supabase_functions TO supabase_functions_admin;
		ALTER FUNCTION supabase_functions.http_request() OWNER TO supabase_functions_admin;
		GRANT EXECUTE ON FUNCTION supabase_functions.http_request() TO postgres, anon, authenticated, service_role;
		GRANT supabase_functions_admin TO postgres});
	is(run_as('postgres', q{SELECT EXISTS (SELECT FROM information_schema.schemata WHERE schema_name = 'supabase_functions')}), 't', 'webhooks are there');
	run_as('postgres', qq{
		CREATE TABLE public.item (id int PRIMARY KEY, name text);
		GRANT ALL ON public.item TO anon, authenticated;
		BEGIN;
		CREATE TRIGGER hook AFTER INSERT OR UPDATE ON public.item FOR EACH ROW
			EXECUTE FUNCTION supabase_functions.http_request('$url/old', 'POST', '{}', '{}', '1000');
		COMMIT;
		BEGIN;
		DROP TRIGGER hook ON public.item;
		CREATE TRIGGER hook AFTER INSERT OR UPDATE OR DELETE ON public.item FOR EACH ROW
			EXECUTE FUNCTION supabase_functions.http_request('$url/hook', 'POST', '{"Content-Type": "application/json"}', '{"p": "1"}', '5000');
		COMMIT});
	run_as('anon', q{INSERT INTO public.item VALUES (1, 'new')});
	run_as('authenticated', q{UPDATE public.item SET name = 'changed' WHERE id = 1});
	run_as('authenticated', q{DELETE FROM public.item WHERE id = 1});
	run_as('anon', q{BEGIN; INSERT INTO public.item VALUES (2, 'never'); ROLLBACK});
	run_as('anon', q{INSERT INTO public.item VALUES (3, 'last')});
	wait_until(sub { $stub->requests('/echo/hook?p=1') == 4 }, 'each change is posted');
	my @posts = map { decode_json($_->{body}) } $stub->requests('/echo/hook?p=1');
	is_deeply([ sort map { join ' ', $_->{type}, $_->{old_record} ? $_->{old_record}{name} : '-', $_->{record} ? $_->{record}{name} : '-',
				$_->{schema}, $_->{table} } @posts ],
		[ 'DELETE changed - public item', 'INSERT - last public item', 'INSERT - new public item', 'UPDATE new changed public item' ],
		'with what has happened, and not what was rolled back');
	is(scalar($stub->requests('/echo/old')), 0, 'the former trigger posts nothing');
	is(admin(q{SELECT count(*) FROM supabase_functions.hooks h JOIN net._http_response r ON r.id = h.request_id}), '4', 'each has its response');
	is(admin(q{SELECT DISTINCT created_by::regrole FROM net._http_response WHERE url LIKE '%/hook?p=1'}), 'supabase_functions_admin', 'made by the function\'s owner');
	run_as('postgres', qq{
		DROP TRIGGER hook ON public.item;
		CREATE TRIGGER retried AFTER INSERT ON public.item FOR EACH ROW WHEN (NEW.name = 'retried')
			EXECUTE FUNCTION supabase_functions.http_request('$url/retried', 'POST', '{}', '{}', '5000', '2');
		INSERT INTO public.item VALUES (4, 'retried');
		CREATE TRIGGER many AFTER INSERT ON public.item FOR EACH ROW
			EXECUTE FUNCTION supabase_functions.http_request('$url/many', 'POST', '{}', '{}', '5000');
		INSERT INTO public.item SELECT n, 'x' FROM generate_series(1001, 2000) n});
	wait_for($node, q{SELECT count(*) FROM net._http_response WHERE status_code = 200 AND url LIKE '%/many'}, '1000', 'a thousand rows are a thousand posts');
	is(scalar($stub->requests('/echo/retried')), 3, 'a function that asks for the response at once does not wait for it');

	# ---- the upgrade: out and in again -----------------------------------------------------------
	admin(q{SELECT cron.schedule('of the superuser', '0 0 1 1 *', 'SELECT 1')});
	my $jobs = q{SELECT jobid, jobname, schedule, command, active FROM cron.job ORDER BY jobid};
	my $kept = admin($jobs);
	my ($next_job, $next_run) = split /\|/, admin('SELECT j.last_value, r.last_value FROM cron.jobid_seq j, cron.runid_seq r');
	admin(q{
		CREATE TABLE public.kept_job AS
		SELECT jobid, schedule, command, nodename, nodeport, database, username, active, jobname FROM cron.job;
		CREATE TABLE public.kept_run AS
		SELECT jobid, runid, job_pid, database, username, command, status, return_message, start_time, end_time FROM cron.job_run_details;
		-- As pg_cron leaves them when a server stops.
		INSERT INTO public.kept_run (jobid, runid, username, status, start_time, end_time)
		SELECT 1, 100000 + n, 'postgres', s, now() - interval '9 days', now() - interval '9 days'
		  FROM unnest('{starting,running,sending,connecting,succeeded,failed}'::text[]) WITH ORDINALITY AS u(s, n);
		-- Rows that pg_cron takes and misreads, and one that it cannot run either.
		INSERT INTO public.kept_job VALUES
			(90001, '0 0 12 * * *', 'SELECT 1', 'localhost', 5432, 'postgres', 'postgres', true, 'six fields'),
			(90002, '*10 * * * *', 'SELECT 1', 'localhost', 5432, 'postgres', 'postgres', true, 'no slash'),
			(90003, E'0 3 * * *\n', 'SELECT 1', 'localhost', 5432, 'postgres', 'postgres', true, 'a line feed'),
			(90004, '0 3 * * * # nightly', 'SELECT 1', 'localhost', 5432, 'postgres', 'postgres', true, 'a comment'),
			(90005, '0 3 * * *', 'SELECT 1', 'localhost', 5432, 'postgres', 'nobody_here', true, 'of nobody')});
	admin($names ? 'DROP EXTENSION pg_cron' : 'DROP EXTENSION securatlas_sched');
	$names ? admin('CREATE EXTENSION pg_cron SCHEMA pg_catalog') : create_extensions();
	scheduler_pid($node);
	my ($rc, $out, $err) = $node->psql('postgres', qq{
		SET client_min_messages = error;
		BEGIN;
		INSERT INTO cron.job SELECT * FROM public.kept_job;
		INSERT INTO cron.job_run_details SELECT * FROM public.kept_run;
		SELECT setval('cron.jobid_seq', $next_job), setval('cron.runid_seq', $next_run);
		UPDATE cron.job SET username = 'postgres' WHERE username = 'supabase_admin';
		COMMIT}, on_error_stop => 1);
	is($err, '', 'all rows come in');
	is(admin(q{SELECT jobid, jobname, schedule, command, active FROM cron.job WHERE jobid < 90000 ORDER BY jobid}), $kept, 'the jobs are as they were');
	is(admin(q{SELECT DISTINCT username FROM cron.job WHERE jobid < 90000}), 'postgres', 'the superuser\'s are given away');
	like(admin(q{SELECT string_agg(jobname || ': ' || note, '; ' ORDER BY jobid) FROM cron.job WHERE NOT active AND note LIKE 'paused: %'}),
		qr/^six fields: paused: invalid schedule: 0 0 12 \* \* \* \(.*pg_cron ignores it\.\).*; no slash: paused: .*pg_cron skips the rest of the field.*; of nobody: paused: role "nobody_here" does not exist/,
		'one query lists those that the server cannot read, which are paused');
	is(admin(q{SELECT string_agg(jobname, ',' ORDER BY jobid) FROM cron.job WHERE active AND jobid > 90000}), 'a line feed,a comment',
		'line feeds and comments in a schedule are taken');
	is(admin(q{SELECT string_agg(status, ',' ORDER BY runid) FROM cron.job_run_details WHERE runid > 100002}), 'sending,connecting,succeeded,failed',
		'the history has what pg_cron writes');
	cmp_ok(run_as('postgres', q{SELECT cron.schedule('after', '0 0 1 1 *', 'SELECT 1')}), '>', $next_job, 'the numbers of jobs go on');
	my $run = run_as('postgres', q{SELECT cron.run_job('after')});
	cmp_ok($run, '>', $next_run, 'and those of runs');
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $run", 'succeeded', 'jobs run on');
	cmp_ok(run_as('postgres', q{SELECT cron.purge_history('8 days')}), '>=', 4, 'old rows are removed whatever they say');

	# The same with the columns that are there, as the upgrade does where this extension was before.
	my $history = q{SELECT count(*), count(roleid), sum(runid), count(DISTINCT jobid) FROM cron.job_run_details WHERE end_time IS NOT NULL};
	my $kept_history = admin($history);
	$kept = admin($jobs);
	my $create = $names ? 'CREATE EXTENSION pg_cron SCHEMA pg_catalog' : 'CREATE EXTENSION securatlas_sched';
	my $drop = $names ? 'DROP EXTENSION pg_cron' : 'DROP EXTENSION securatlas_sched';
	($rc, $out, $err) = $node->psql('postgres', qq{
		SET client_min_messages = error;
		BEGIN;
		CREATE TEMPORARY TABLE cron_job AS SELECT * FROM cron.job;
		CREATE TEMPORARY TABLE cron_job_run_details AS SELECT * FROM cron.job_run_details WHERE end_time IS NOT NULL;
		SELECT last_value AS job FROM cron.jobid_seq \\gset
		SELECT last_value AS run FROM cron.runid_seq \\gset
		$drop;
		$create;
		INSERT INTO cron.job SELECT * FROM cron_job;
		INSERT INTO cron.job_run_details SELECT * FROM cron_job_run_details;
		SELECT setval('cron.jobid_seq', :job), setval('cron.runid_seq', :run);
		UPDATE cron.job SET username = 'postgres' WHERE username = 'supabase_admin';
		COMMIT}, on_error_stop => 1);
	is($err, '', 'and so do all columns of this extension');
	scheduler_pid($node);
	if (!$names) { admin($grant_cron); admin($grant_net) }
	is(admin($jobs), $kept, 'with all jobs');
	is(admin($history), $kept_history, 'and the history, whose roles are found by name');

	# ---- support ---------------------------------------------------------------------------------
	my $failed = run_as('postgres', q{SELECT cron.run_job(cron.schedule('fails', '0 0 1 1 *', 'SELECT 1/0'))});
	wait_for($node, "SELECT status FROM cron.job_run_details WHERE runid = $failed", 'failed', 'a job fails');
	like(run_as('postgres', q{
		SELECT status, return_message FROM cron.job_run_details
		 WHERE (status <> 'succeeded' AND status <> 'running') AND start_time > NOW() - INTERVAL '5 days' AND runid < 100000
		 ORDER BY start_time DESC}), qr/^failed\|ERROR: division by zero/, 'what failed lately');

	# ---- what the documentation says -----------------------------------------------------------------
	if ($names)
	{
		my @blocks = slurp_file("$FindBin::RealBin/../../doc/supabase.md") =~ /^```sql\n(.*?)^```$/msg;
		cmp_ok(scalar(@blocks), '>', 5, 'the page on Supabase has SQL');
		admin(q{
			GRANT CREATE ON SCHEMA public TO postgres;
			CREATE SCHEMA vault; GRANT USAGE ON SCHEMA vault TO postgres;
			CREATE VIEW vault.decrypted_secrets AS SELECT 'service_role_key'::text AS name, 'a key' AS decrypted_secret;
			GRANT SELECT ON vault.decrypted_secrets TO postgres;
			ALTER SYSTEM SET net.send_requests = off});
		$node->reload;
		wait_for($node, 'SELECT sends FROM net.worker_status', 'f', 'nothing is sent');
		for my $block (@blocks)
		{
			my ($out, $err) = as('postgres', $block);
			unlike($err, qr/ERROR|WARNING/, 'it runs: ' . ($block =~ /(.*)/)[0]);
		}
		is(run_as('postgres', q{SELECT count(*) FROM net.requests WHERE url LIKE '%/order' AND state = 'waiting'}), '1', 'the webhook waits');
		admin('ALTER SYSTEM RESET net.send_requests');
		$node->reload;
		run_as('postgres', 'TRUNCATE net.http_request_queue; DROP TABLE public.orders');
	}

	# ---- types of users ------------------------------------------------------------------------------
	# A type whose cast runs code of its owner is not used by the scripts of a superuser.
	admin(q{
		CREATE TABLE traps.cast_by (who text);
		CREATE TYPE public.current_setting AS ENUM ('cron.database_name');
		CREATE FUNCTION traps.spring(public.current_setting) RETURNS text LANGUAGE sql
			AS $$ INSERT INTO traps.cast_by VALUES (current_user); SELECT 'x' $$;
		CREATE CAST (public.current_setting AS text) WITH FUNCTION traps.spring(public.current_setting) AS IMPLICIT});
	admin($names ? 'DROP EXTENSION pg_cron, pg_net' : 'DROP EXTENSION securatlas_sched');
	create_extensions();
	is(admin('SELECT count(*) FROM traps.cast_by'), '0', 'CREATE EXTENSION uses no cast of a user');

	# A guide for those whose webhooks do not arrive.
	if ($names)
	{
		is(run_as('postgres', 'select net.worker_restart() IS NOT NULL'), 't', 'postgres restarts the worker');
		admin('CREATE ROLE newcomer');
		run_as('newcomer', "SELECT net.http_delete('$url/newcomer')");
		wait_for($node, q{SELECT status_code FROM net._http_response WHERE url LIKE '%/newcomer'}, '200', 'a new role makes requests without a grant');
		# Supabase's trigger makes the functions of these versions SECURITY DEFINER.
		is(admin(q{SELECT count(*) FROM pg_extension WHERE extname = 'pg_net'
			AND extversion NOT IN ('0.2', '0.6', '0.7', '0.7.1', '0.8', '0.10.0', '0.11.0')}), '1', 'a version of pg_net that needs no SECURITY DEFINER');
		# What supautils lets a role without superuser set.
		admin(q{ALTER SYSTEM SET pg_net.batch_size = 100; ALTER SYSTEM SET pg_net.ttl = '3 hours'});
		$node->reload;
		wait_for($node, 'SHOW pg_net.batch_size', '100', 'pg_net.batch_size is set and shown');
		is(run_as('postgres', 'SHOW pg_net.ttl'), '3 hours', 'and pg_net.ttl');
		is(admin(q{SELECT string_agg(extname || ' ' || extnamespace::regnamespace, ', ' ORDER BY extname) FROM pg_extension WHERE extname IN ('pg_cron', 'pg_net')}),
			'pg_cron pg_catalog, pg_net extensions', 'the extensions that the dashboard looks for');
	}
	$node->stop;
	return;
}

suite();
SKIP:
{
	skip 'make install-compat was not run', 1 if !names_are_installed();
	$names = 1;
	suite();
}
done_testing;
