# Callbacks: on_response is called with each response as the role that made the request, and takes
# effect exactly once, whichever process is killed when.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('callbacks');
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# As a role that is no superuser.
sub sql_as
{
	my ($role, $sql) = @_;
	return $node->safe_psql('postgres', $sql, connstr => $node->connstr('postgres') . " user=$role");
}

# Makes a request as a role, and returns its number.
sub request_as
{
	my ($role, $path, $function, $more) = @_;
	return sql_as($role, "SELECT net.http_request('GET', '" . $stub->url($path)
		  . "', on_response => '$function(net._http_response)'" . ($more // '') . ')');
}

sub wait_for_state
{
	my ($id, $state, $what) = @_;
	wait_for($node, "SELECT callback_state FROM net._http_response WHERE id = $id", $state, $what);
	return sql("SELECT callback_error FROM net._http_response WHERE id = $id");
}

sql(q{
CREATE ROLE clerk LOGIN;
CREATE ROLE helper;
GRANT helper TO clerk;
GRANT USAGE ON SCHEMA net TO clerk;
CREATE TABLE effect (id bigint, who text, note text, at timestamptz DEFAULT clock_timestamp());
GRANT ALL ON effect TO clerk;
GRANT CREATE ON SCHEMA public TO clerk;
});
sql_as('clerk', q{
CREATE FUNCTION note(r net._http_response) RETURNS void LANGUAGE sql
    AS $$ INSERT INTO public.effect (id, who, note) VALUES (r.id, session_user || '/' || current_user, r.content) $$;
CREATE FUNCTION divide(r net._http_response) RETURNS int LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO public.effect (id) VALUES (r.id); RETURN r.id / 0; END $$;
CREATE FUNCTION third_time(r net._http_response) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.effect (id, note) VALUES (r.id, r.callback_attempts);
    IF r.callback_attempts < 2 THEN
        RAISE 'not yet' USING ERRCODE = 'serialization_failure';
    END IF;
END $$;
CREATE FUNCTION ask_again(r net._http_response) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.effect (id, note) VALUES (r.id, 'asked again');
    PERFORM net.http_request('GET', r.url || '/again', on_response => 'public.note(net._http_response)');
END $$;
CREATE FUNCTION leave_traces(r net._http_response) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    SET search_path = pg_temp;
    CREATE TEMP TABLE trace ();
    PERFORM pg_advisory_lock(1);
    SET ROLE helper;
END $$;
CREATE FUNCTION find_traces(r net._http_response) RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.effect (id, note) SELECT r.id, concat_ws(' ', session_user, current_user,
        current_setting('search_path'), pg_catalog.to_regclass('pg_temp.trace'),
        (SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory'),
        current_setting('application_name') = 'net: callback [' || r.id || ']') $$;
CREATE FUNCTION suicide(r net._http_response) RETURNS void LANGUAGE sql
    AS $$ SELECT pg_terminate_backend(pg_backend_pid()) $$;
CREATE FUNCTION sleep(r net._http_response) RETURNS void LANGUAGE sql
    AS $$ SELECT pg_sleep(60) $$;
});

# ---- the call ------------------------------------------------------------------------------------
my $id = request_as('clerk', '/status/200', 'note');
wait_for_state($id, 'done', 'a callback is called');
is(sql("SELECT who, note FROM effect WHERE id = $id"), 'clerk/clerk|{"ok":true}', 'as the role, with the response');
is(sql("SELECT callback_attempts, callback_error IS NULL, state FROM net._http_response WHERE id = $id"),
	'0|t|succeeded', 'nothing has failed');
$id = request_as('clerk', '/status/404', 'note');
wait_for_state($id, 'done', 'a status that is no success');
is(sql("SELECT state FROM net._http_response WHERE id = $id"), 'failed', 'has a callback, too');
$id = sql_as('clerk', "SELECT net.http_request('GET', 'http://127.0.0.1:1/', max_attempts => 1,
	on_response => 'note(net._http_response)')");
wait_for_state($id, 'done', 'a request without a response');
is(sql("SELECT count(*) FROM effect WHERE id = $id AND note IS NULL"), '1', 'has one as well');

$id = request_as('clerk', '/status/200', 'ask_again');
wait_for($node, "SELECT count(*) FROM effect WHERE note = 'asked again' OR id > $id", '2',
	'a callback may make requests with callbacks');

# ---- errors --------------------------------------------------------------------------------------
$id = request_as('clerk', '/status/200', 'divide');
like(wait_for_state($id, 'failed', 'an error that stays ends it'), qr/^ERROR: division by zero\nCONTEXT: /,
	'its text is recorded');
is(sql("SELECT count(*) FROM effect WHERE id = $id"), '0', 'its effects are not there');
is(sql_as('clerk', "SELECT net.repeat_callback($id)"), 't', 'it can be repeated');
wait_for($node, "SELECT callback_attempts FROM net._http_response WHERE id = $id AND callback_state = 'failed'", '1',
	'and fails again');

$id = request_as('clerk', '/status/200', 'third_time');
wait_for_state($id, 'done', 'an error that may pass is repeated');
is(sql("SELECT note FROM effect WHERE id = $id"), '2', 'until it passes');

sql("ALTER ROLE clerk SET statement_timeout = '300ms'");
sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched job worker'");
$id = request_as('clerk', '/status/200', 'sleep');
wait_for($node, "SELECT callback_error LIKE '%statement timeout%' FROM net._http_response WHERE id = $id", 't',
	'statement_timeout applies');
sql('ALTER ROLE clerk RESET statement_timeout');
sql("UPDATE net._http_response SET callback_state = 'failed' WHERE id = $id");
sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched job worker'");

$id = request_as('clerk', '/status/200', 'sleep');
my $sleeping = "backend_type = 'securatlas_sched job worker' AND application_name = 'net: callback [$id]'
	AND query = 'SELECT public.sleep(\$1)' AND state = 'active'";
wait_for($node, "SELECT count(*) FROM pg_stat_activity WHERE $sleeping", '1', 'pg_stat_activity shows the call');
my $other = request_as('clerk', '/status/200', 'note');
sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $sleeping");
wait_for_state($other, 'done', 'a cancelled callback holds up no other');
like(sql("SELECT callback_error FROM net._http_response WHERE id = $id"), qr/canceling statement/, 'and has failed');
sql("UPDATE net._http_response SET callback_state = 'failed' WHERE id = $id");

# One that somebody has locked is passed over until it is free.
my $locked = request_as('clerk', '/status/200', 'divide');
wait_for_state($locked, 'failed', 'a callback has failed');
sql_as('clerk', 'CREATE OR REPLACE FUNCTION divide(r net._http_response) RETURNS int LANGUAGE sql
	AS $$ INSERT INTO public.effect (id, note) VALUES (r.id, \'late\') RETURNING 1 $$');
sql("UPDATE net._http_response SET callback_state = 'waiting', callback_at = now() + interval '1 s' WHERE id = $locked");
my $holder = $node->background_psql('postgres', on_error_die => 1);
$holder->query_safe("BEGIN; SELECT FROM net._http_response WHERE id = $locked FOR UPDATE");
wait_for($node, "SELECT callback_at < clock_timestamp() FROM net._http_response WHERE id = $locked", 't', 'it is due again');
my $behind = sql_as('clerk', "SELECT max(net.http_request('GET', '" . $stub->url('/behind/') . "' || i,
	on_response => 'note(net._http_response)')) FROM generate_series(1, 20) AS i");
wait_for($node, "SELECT count(*) FROM effect JOIN net._http_response r USING (id) WHERE r.url LIKE '%/behind/%'", '20',
	'those behind it are called');
is(sql("SELECT callback_state FROM net._http_response WHERE id = $locked"), 'waiting', 'before it');
$holder->query_safe('COMMIT');
$holder->quit;
wait_for_state($locked, 'done', 'it is called when it is free');
is(sql("SELECT note FROM effect WHERE id = $locked"), 'late', 'once');

# Those that a clock has put off that was ahead: one was not called yet, one was to be called again.
sub put_off
{
	my ($id, $attempts, $at) = @_;
	sql("UPDATE net._http_response SET callback_state = 'waiting', callback_attempts = $attempts, callback_at = now() + interval '$at'
		WHERE id = $id");
}
put_off($locked, 0, '1 hour');
put_off($other, 2, '1 hour');
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_cron scheduler'});
wait_for_state($_, 'done', 'a callback that waits for a clock that was ahead is called') for $locked, $other;

# What the owner of the table adds to it applies when a callback is marked as done, too.
sql_as('clerk', q{CREATE FUNCTION tidy(r net._http_response) RETURNS void LANGUAGE sql
	AS $$ DELETE FROM net._http_response WHERE id = r.id; INSERT INTO public.effect (id, note) VALUES (r.id, 'tidy') $$});
$id = request_as('clerk', '/status/200', 'tidy');
wait_for($node, "SELECT note FROM effect WHERE id = $id", 'tidy', 'a callback may delete its response');
is(sql("SELECT count(*) FROM net._http_response WHERE id = $id"), '0', 'which is gone then');
sql(q{CREATE TABLE marks (id bigint, state text);
	CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO public.marks VALUES (new.id, new.callback_state); RETURN NULL; END $$;
	CREATE TRIGGER remember AFTER UPDATE ON net._http_response FOR EACH ROW EXECUTE FUNCTION remember();
	ALTER TABLE net._http_response ENABLE ALWAYS TRIGGER remember});
$id = request_as('clerk', '/status/200', 'note');
wait_for_state($id, 'done', 'a table with a trigger');
is(sql("SELECT string_agg(state, ' ') FROM marks WHERE id = $id AND state = 'done'"), 'done', 'which fires');
sql('DROP TRIGGER remember ON net._http_response');
is(sql(q{SET enable_seqscan = off; SELECT count(*) FROM net._http_response r WHERE created < now() + interval '1 hour'}),
	sql('SELECT count(*) FROM net._http_response'), 'the index finds every response after it was marked');

# A callback that ends its process.
$id = request_as('clerk', '/status/200', 'suicide');
$other = request_as('clerk', '/status/200', 'note');
wait_for_state($other, 'done', 'a callback that ends its process does not keep others from being called');
like(wait_for_state($id, 'failed', 'and is given up'), qr/process that called it ended/, 'it says why');
is(sql("SELECT callback_attempts FROM net._http_response WHERE id = $id"), '5', 'after five attempts');

# ---- what one leaves behind, the next does not find ----------------------------------------------
sql("ALTER SYSTEM SET cron.max_running_jobs = 1");
$node->restart;
request_as('clerk', '/delay/300/a', 'leave_traces');
$id = request_as('clerk', '/delay/300/b', 'find_traces');
wait_for_state($id, 'done', 'a call after one that leaves traces');
is(sql("SELECT note FROM effect WHERE id = $id"), 'clerk clerk "$user", public 0 t', 'finds none');
sql("ALTER SYSTEM RESET cron.max_running_jobs");
$node->restart;

# ---- a sealed body -------------------------------------------------------------------------------
$id = request_as('clerk', '/headers/Sesame-4711', 'note', q{, headers => '{"X-Word": "Sesame-4711"}', store_response => 'sealed'});
wait_for_state($id, 'done', 'a sealed response');
like(sql("SELECT note FROM effect WHERE id = $id"), qr/"x-word":"Sesame-4711"/, 'is seen in clear by its callback');
is(sql("SELECT sealed, content IS NULL, position('Sesame'::bytea IN content_bytes) FROM net._http_response WHERE id = $id"),
	't|t|0', 'and by nobody else');
sql_as('clerk', q{CREATE FUNCTION blab(r net._http_response) RETURNS int LANGUAGE sql AS 'SELECT r.content::int'});
$id = request_as('clerk', '/headers', 'blab', q{, headers => jsonb_build_object('X-Word', 'Chatter-' || '0815'), store_response => 'sealed'});
like(wait_for_state($id, 'failed', 'a callback of a sealed response fails'), qr/SQLSTATE 22P02/, 'the error is named');
unlike(sql("SELECT callback_error FROM net._http_response WHERE id = $id"), qr/Chatter/, 'but not its text');
is(log_count($node, 'Chatter-0815'), 0, 'nor is that in the log');

# ---- roles ---------------------------------------------------------------------------------------
for my $case (
	[ 'NOLOGIN', 'ALTER ROLE %s NOLOGIN', qr/not permitted to log in/ ],
	[ 'dropped', 'DROP OWNED BY %1$s; DROP ROLE %1$s', qr/does not exist/ ],
	[ 'without EXECUTE', 'REVOKE EXECUTE ON FUNCTION record(net._http_response) FROM PUBLIC, %s', qr/permission denied/ ])
{
	my ($name, $change, $error) = @$case;
	my $role = 'role_' . lc substr $name, 0, 3;
	sql("CREATE ROLE $role LOGIN; GRANT USAGE ON SCHEMA net TO $role");
	sql('CREATE OR REPLACE FUNCTION record(r net._http_response) RETURNS void LANGUAGE sql
		AS $$ INSERT INTO public.effect (id) VALUES (r.id) $$');
	$id = request_as($role, '/delay/700', 'record');
	sql(sprintf $change, $role);
	like(wait_for_state($id, 'failed', "the role is $name"), $error, 'the reason is recorded');
	is(sql("SELECT count(*) FROM effect WHERE id = $id"), '0', 'nothing was called');
}
$id = request_as('clerk', '/status/200', 'note');
wait_for_state($id, 'done', 'another role has its callbacks executed');

# ---- a callback that ends the server -------------------------------------------------------------
sql(q{CREATE FUNCTION crash(r net._http_response) RETURNS void LANGUAGE plpgsql
	AS $$ BEGIN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; END $$;
	CREATE ROLE reckless LOGIN; GRANT pg_execute_server_program TO reckless; GRANT USAGE ON SCHEMA net TO reckless});
$id = request_as('reckless', '/status/200', 'crash');
wait_for_state($id, 'failed', 'a callback that ends the server is given up');
is(sql("SELECT callback_attempts FROM net._http_response WHERE id = $id"), '5', 'after five attempts');
is(log_count($node, 'job worker" \(PID \d+\) was terminated by signal 9'), 5, 'the server went down for each, and for no more');

# ---- exactly once --------------------------------------------------------------------------------
sql('TRUNCATE effect');
sql_as('clerk', q{
CREATE OR REPLACE FUNCTION note(r net._http_response) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.effect (id, who, note) VALUES (r.id, current_user, r.url);
    PERFORM pg_sleep(random() * 0.01);
END $$});
my ($rounds, $each) = (20, 20);
my %kills;
for my $round (1 .. $rounds)
{
	sql_as('clerk', "SELECT net.http_request('GET', '" . $stub->url('/once/') . "' || $round || '/' || i,
		on_response => 'note(net._http_response)', max_attempts => 10, retry => 'always')
		FROM generate_series(1, $each) AS i");
	select(undef, undef, undef, rand(0.25));
	if ($round % 2)
	{
		my ($pid) = our_pids($node, 'job worker');
		$kills{worker} += kill_process($node, $pid) if $pid;
	}
	else
	{
		kill_server($node);
		$kills{postmaster}++;
		$node->start;
	}
}
note("killed: $kills{worker} workers, $kills{postmaster} postmasters");
wait_for($node, "SELECT count(*) FROM net._http_response WHERE url LIKE '%/once/%' AND callback_state = 'done'",
	$rounds * $each, 'all callbacks are done');
is(sql('SELECT count(*), count(DISTINCT id), count(DISTINCT note) FROM effect'),
	join('|', ($rounds * $each) x 3), 'each has had its effect exactly once');

# ---- nothing to do, nothing done -----------------------------------------------------------------
my $scheduler = scheduler_pid($node);
select(undef, undef, undef, 1);
my $ticks = cpu_ticks($scheduler);
select(undef, undef, undef, 3);
cmp_ok(cpu_ticks($scheduler) - $ticks, '<=', 1, 'the scheduler sleeps when no callback waits');
is(log_count($node, 'PANIC|TRAP|securatlas_sched scheduler: '), 0, 'nothing went wrong in the scheduler');
invariants_hold($node, 'at the end');
$node->stop;
done_testing();
