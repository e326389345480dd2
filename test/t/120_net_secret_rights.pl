# Only its owner and the roles that it was granted to can send a secret: neither being superuser nor
# a SECURITY DEFINER function gives that right. A request belongs to the role that called the
# function.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $node = new_node('secret_rights', autovacuum => 'on');
$node->start;
install($node);

sub as
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return ($out, $err);
}

sub run_as
{
	my ($role, $sql) = @_;
	my ($out, $err) = as($role, $sql);
	die "as $role: $sql\n$err" if $err =~ /ERROR|FATAL/;
	return $out;
}

sub refused
{
	my ($role, $sql, $pattern, $what) = @_;
	my ($out, $err) = as($role, "\\set VERBOSITY verbose\n$sql");
	like($err, qr/ERROR:  42501: $pattern/, $what);
	return;
}

sub call { my ($path, $secret) = @_; return "net.http_post('" . $stub->url($path) . qq{', headers => '{"X-Key": "{{secret:$secret}}"}')} }

# The key that arrived at a path; undef as long as there is none.
sub arrives
{
	my ($path, $key, $what) = @_;
	my @got;
	wait_until(sub { @got = $stub->requests($path); scalar @got }, $what);
	is($got[0]{headers}{'x-key'}, $key, $what);
	return;
}

my @roles = qw(victim anon wrapper);
run_as('postgres', "CREATE ROLE $_ LOGIN; GRANT USAGE ON SCHEMA net, cron TO $_; CREATE SCHEMA $_ AUTHORIZATION $_; GRANT USAGE ON SCHEMA $_ TO PUBLIC") for @roles;
run_as($_, "SELECT net.set_secret('key_of_$_', 'value of $_')") for @roles;
my $denied = 'permission denied for secret "key_of_victim"';

# ---- as installed --------------------------------------------------------------------------------
refused('anon', 'SELECT ' . call('/no', 'key_of_victim'), $denied, 'another role\'s secret');
refused('postgres', 'SELECT ' . call('/no', 'key_of_victim'), $denied, 'a superuser sends it no more than others');
refused('postgres', "SET ROLE anon; SELECT " . call('/no', 'key_of_victim'), $denied, 'after SET ROLE neither');
run_as('wrapper', "CREATE FUNCTION wrapper.send(path text, secret text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS \$\$
	BEGIN RETURN net.http_post('" . $stub->url('') . "' || path, headers => jsonb_build_object('X-Key', '{{secret:' || secret || '}}')); END \$\$");
refused('anon', "SELECT wrapper.send('/no', 'key_of_victim')", $denied, 'a function has the rights of its owner, no more');
refused('anon', "SELECT wrapper.send('/no', 'key_of_anon')", 'permission denied for secret "key_of_anon"', 'a SECURITY DEFINER function does not have its caller\'s secrets');
my $id = run_as('anon', "SELECT wrapper.send('/lent', 'key_of_wrapper')");
arrives('/lent', 'value of wrapper', 'its owner\'s secrets are his to lend');
is(run_as('postgres', "SELECT created_by::regrole FROM net.requests WHERE id = $id"), 'wrapper', 'the request of a SECURITY DEFINER function belongs to its owner');

# ---- whether there is one ------------------------------------------------------------------------
for my $sql (map { my $f = $_; sub { "SELECT net.$f" =~ s/NAME/$_[0]/r } } "http_get('http://localhost/', headers => '{\"X\": \"{{secret:NAME}}\"}')",
	"http_post_form('http://localhost/', '{\"X\": \"{{secret:NAME}}\"}')", "drop_secret('NAME')", "grant_secret('NAME', 'anon')", "revoke_secret('NAME', 'anon')")
{
	my ($there, $absent) = map { my ($out, $err) = as('anon', "\\set VERBOSITY verbose\n" . $sql->($_)); "$out$err" =~ s/$_/NAME/gr } 'key_of_victim', 'key_of_nobody';
	is($there, $absent, 'nobody learns whether a secret is there: ' . $sql->('NAME'));
}
is(run_as('victim', q{SELECT net.drop_secret('key_of_anon')}), 'f', 'another role\'s is not dropped');
is(run_as('anon', q{SELECT name FROM net.secrets}), 'key_of_anon', 'it is there, and its owner sees it alone');

# ---- every function SECURITY DEFINER, of a superuser ---------------------------------------------
my $functions = q{(SELECT oid::regprocedure AS f FROM pg_proc WHERE pronamespace = 'net'::regnamespace
	AND proname IN ('http_get', 'http_post', 'http_put', 'http_patch', 'http_delete', 'http_post_form', 'http_request'))};
run_as('postgres', "DO \$\$ DECLARE x regprocedure; BEGIN FOR x IN SELECT f FROM $functions AS f LOOP
	EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER', x); EXECUTE format('ALTER FUNCTION %s SET search_path = net', x); END LOOP; END \$\$");
my $url = $stub->url('/no');
my $named = q{headers => '{"X-Key": "{{secret:key_of_victim}}"}'};
my $form = q{form => '{"a": "{{secret:key_of_victim}}"}'};
for my $call ((map { "http_$_('$url', $named)" } qw(get post put patch delete)), "http_request('GET', '$url', $named)",
	"http_post_form('$url', $form)", "http_post_form('$url', $form, headers => '{}', timeout_milliseconds => 1000, max_attempts => 1)")
{
	refused('anon', "SELECT net.$call", $denied, "SECURITY DEFINER: $call");
}
refused('postgres', 'SELECT ' . call('/no', 'key_of_victim'), $denied, 'the same for a superuser');
refused('postgres', "SET ROLE anon; SELECT " . call('/no', 'key_of_victim'), $denied, 'the same after SET ROLE');
refused('anon', "SELECT wrapper.send('/no', 'key_of_victim')", $denied, 'the same for a function with its owner\'s rights');
refused('anon', "SELECT wrapper.send('/no', 'key_of_anon')", 'permission denied for secret "key_of_anon"', 'which is known as the caller then');
run_as('anon', "SELECT wrapper.send('/lent2', 'key_of_wrapper')");
arrives('/lent2', 'value of wrapper', 'a SECURITY DEFINER function lends its owner\'s secret');
run_as('anon', q{CREATE FUNCTION anon.own() RETURNS bigint LANGUAGE plpgsql SET search_path = net AS $$ BEGIN RETURN } . call('/own', 'key_of_anon') . q{; END $$});
$id = run_as('anon', 'SELECT anon.own()');
arrives('/own', 'value of anon', 'its own secret is sent');
wait_for($node, "SELECT created_by::regrole, status_code FROM net._http_response WHERE id = $id", 'anon|200', 'the request is the caller\'s');
like(run_as('anon', "SELECT net._http_collect_response($id)"), qr/^\(SUCCESS,ok/, 'who sees its response');
like(run_as('victim', "SELECT net._http_collect_response($id)"), qr/^\(ERROR/, 'no other role can collect the response of a request');

# What PostgreSQL runs in the name of another role by itself.
run_as('postgres', q{CREATE TABLE parent (id int PRIMARY KEY); GRANT SELECT, REFERENCES ON parent TO wrapper; INSERT INTO parent VALUES (1)});
run_as('wrapper', q{CREATE TABLE wrapper.child (id int REFERENCES public.parent ON DELETE CASCADE); INSERT INTO wrapper.child VALUES (1);
	CREATE FUNCTION wrapper.fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM wrapper.ask(); RETURN OLD; END $$;
	CREATE FUNCTION wrapper.ask() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN } . call('/cascade', 'key_of_postgres') . q{; END $$;
	CREATE TRIGGER fired BEFORE DELETE ON wrapper.child FOR EACH ROW EXECUTE FUNCTION wrapper.fired()});
run_as('postgres', q{SELECT net.set_secret('key_of_postgres', 'value of postgres')});
refused('postgres', 'DELETE FROM parent', 'cannot determine which role makes the request', 'a trigger behind a foreign key does not speak for who deletes');
run_as('wrapper', q{CREATE TABLE wrapper.indexed (id int); INSERT INTO wrapper.indexed VALUES (1);
	CREATE FUNCTION wrapper.pure(i int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
	CREATE INDEX i ON wrapper.indexed (wrapper.pure(id));
	CREATE OR REPLACE FUNCTION wrapper.pure(i int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN wrapper.ask(); END $$});
refused('postgres', 'REINDEX INDEX wrapper.i', 'cannot determine which role makes the request', 'an index does not speak for who rebuilds it');
is(scalar($stub->requests('/cascade')), 0, 'nothing was sent');

# ---- jobs, callbacks, triggers (the functions still SECURITY DEFINER) ----------------------------
my $job = run_as('anon', q{SELECT cron.schedule('steals', '0 0 1 1 *', $$SELECT } . call('/no', 'key_of_victim') . q{$$)});
run_as('anon', "SELECT cron.run_job($job)");
wait_for($node, "SELECT status, sqlstate FROM cron.job_run_details WHERE jobid = $job", 'failed|42501', 'a job is its role');
$job = run_as('anon', q{SELECT cron.schedule('asks', '0 0 1 1 *', $$SELECT } . call('/job', 'key_of_anon') . q{$$)});
run_as('anon', "SELECT cron.run_job($job)");
arrives('/job', 'value of anon', 'a job sends the secret of its own role');
run_as('anon', q{CREATE FUNCTION anon.answered(r net._http_response) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM } . call('/no', 'key_of_victim') . q{; END $$;
	CREATE FUNCTION anon.answered_well(r net._http_response) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM } . call('/callback', 'key_of_anon') . q{; END $$});
$id = run_as('anon', "SELECT net.http_request('GET', '" . $stub->url('/first') . "', on_response => 'anon.answered(net._http_response)')");
wait_for($node, "SELECT callback_state, callback_error ~ '$denied' FROM net._http_response WHERE id = $id", 'failed|t', 'a callback is the role that asked');
run_as('anon', "SELECT net.http_request('GET', '" . $stub->url('/first') . "', on_response => 'anon.answered_well(net._http_response)')");
arrives('/callback', 'value of anon', 'a callback sends the secret of its own role');
run_as('wrapper', q{CREATE TABLE wrapper.fires (id int); GRANT INSERT ON wrapper.fires TO anon, postgres;
	CREATE FUNCTION wrapper.on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM } . call('/fired', 'key_of_wrapper') . q{; RETURN NEW; END $$;
	CREATE TRIGGER fires AFTER INSERT ON wrapper.fires FOR EACH ROW EXECUTE FUNCTION wrapper.on_insert()});
refused('anon', 'INSERT INTO wrapper.fires VALUES (1)', 'permission denied for secret "key_of_wrapper"', 'a trigger is the role that fires it');

# ---- membership and grants -----------------------------------------------------------------------
run_as('victim', q{SELECT net.grant_secret('key_of_victim', 'postgres')});
run_as('postgres', 'SELECT ' . call('/granted', 'key_of_victim'));
arrives('/granted', 'value of victim', 'a superuser sends what was granted to it');
run_as('victim', q{SELECT net.revoke_secret('key_of_victim', 'postgres')});
refused('postgres', 'SELECT ' . call('/no', 'key_of_victim'), $denied, 'a secret whose grant was revoked is refused');
run_as('postgres', 'GRANT victim TO postgres');
run_as('postgres', 'SELECT ' . call('/member', 'key_of_victim'));
arrives('/member', 'value of victim', 'a role sends the secret of a role that it is a member of');
run_as('postgres', 'REVOKE victim FROM postgres');
is(scalar($stub->requests('/no')), 0, 'nothing else was sent');

# ---- webhooks ------------------------------------------------------------------------------------
my $hook_number = 0;
sub hook
{
	my ($headers, $table, $create) = @_;
	++$hook_number;
	return ($create // "CREATE TRIGGER hook$hook_number") . " AFTER INSERT ON $table FOR EACH ROW EXECUTE FUNCTION net.http_webhook('" . $stub->url("/hook$hook_number") . "', '$headers')";
}
my $names = '{"X-Key": "{{secret:key_of_postgres}}"}';
run_as('postgres', q{CREATE TABLE t (id int); GRANT SELECT, INSERT, TRIGGER ON t TO anon;
	CREATE TABLE parted (id int) PARTITION BY LIST (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1); GRANT INSERT, TRIGGER ON parted, parted_1 TO anon});
my $no_hook = 'permission denied to name a secret in a webhook on table';
refused('anon', hook($names, 't'), $no_hook, 'who may make triggers does not spend the secrets of the table\'s owner');
refused('anon', hook('{"X-Key": "\u007b{secret:key_of_postgres}}"}', 't'), $no_hook, 'a name of a secret that is written with escapes is refused in a webhook of another\'s table');
refused('anon', hook($names, 'parted'), $no_hook, 'a webhook on a partitioned table does not spend the secrets of its owner');
refused('anon', hook($names, 'parted_1'), $no_hook, 'a webhook on a partition does not spend the secrets of its owner');
run_as('anon', hook('{"X-Key": "none"}', 't'));
my $plain = "/hook$hook_number";
run_as('postgres', hook($names, 't', 'CREATE TRIGGER owners'));
my $owners = "/hook$hook_number";
refused('anon', hook($names, 't', 'CREATE OR REPLACE TRIGGER owners'), $no_hook, 'who may make triggers does not replace a webhook of the owner');
run_as('anon', 'INSERT INTO t VALUES (1)');
arrives($plain, 'none', 'who may make triggers makes a webhook without secrets');
arrives($owners, 'value of postgres', 'the owner\'s webhook sends the owner\'s secret');
run_as('postgres', 'DROP TRIGGER owners ON t; ' . hook('{"X-Key": "{{secret:key_of_victim}}"}', 't', 'CREATE TRIGGER owners'));
refused('anon', 'INSERT INTO t VALUES (1)', $denied, 'a webhook does not send a secret that the table\'s owner may not use');
run_as('postgres', 'DROP TRIGGER owners ON t; ' . hook($names, 'parted', 'CREATE TRIGGER all_parts'));
run_as('anon', 'INSERT INTO parted VALUES (1)');
arrives("/hook$hook_number", 'value of postgres', 'a webhook on a partitioned table sends the secret of that table\'s owner for a partition');

# Who becomes the owner of a table does not send his secrets to where another has chosen.
my $kept = 'cannot change the owner of table "spy"';
run_as('wrapper', 'CREATE TABLE wrapper.spy (id int); GRANT INSERT ON wrapper.spy TO anon; ' . hook('{"X-Key": "{{secret:key_of_victim}}"}', 'wrapper.spy', 'CREATE TRIGGER spies'));
my $spied = "/hook$hook_number";
refused('postgres', 'ALTER TABLE wrapper.spy OWNER TO victim', $kept, 'a table whose webhook names a secret of somebody else does not become his');
refused('postgres', 'REASSIGN OWNED BY wrapper TO victim', $kept, 'REASSIGN OWNED does not give such a table to the owner of the secret either');
(undef, my $reason) = as('postgres', 'ALTER TABLE wrapper.spy OWNER TO victim');
like($reason, qr/DETAIL:  Webhook "spies" names secret "key_of_victim", which the present owner of the table may not use\.\nHINT:  Drop the trigger, and have the new owner create it again\./,
	'the error names the webhook, the secret and what to do');
run_as('wrapper', 'DROP TRIGGER spies ON wrapper.spy; ' . hook('{"X-Key": "{{secret:not_there_yet}}"}', 'wrapper.spy', 'CREATE TRIGGER spies'));
refused('postgres', 'ALTER TABLE wrapper.spy OWNER TO victim', $kept, 'a table whose webhook names a secret that does not exist keeps its owner');
run_as('postgres', 'ALTER TABLE wrapper.spy OWNER TO wrapper; ALTER TABLE wrapper.spy SET (fillfactor = 90); ALTER TABLE wrapper.spy RENAME TO spies; ALTER TABLE wrapper.spies RENAME TO spy');
run_as('wrapper', 'DROP TRIGGER spies ON wrapper.spy; ' . hook('{"X-Key": "{{secret:key_of_wrapper}}"}', 'wrapper.spy', 'CREATE TRIGGER spies'));
$spied = "/hook$hook_number";
run_as('postgres', 'ALTER TABLE wrapper.spy OWNER TO victim');
refused('anon', 'INSERT INTO wrapper.spy VALUES (1)', 'permission denied for secret "key_of_wrapper"', 'a webhook fails if the new owner of its table may not use the secret');
run_as('wrapper', "SELECT net.grant_secret('key_of_wrapper', 'victim')");
run_as('anon', 'INSERT INTO wrapper.spy VALUES (1)');
arrives($spied, 'value of wrapper', 'a webhook whose secret both owners of its table may use goes on');

# ---- a callback that is another one by now -------------------------------------------------------
run_as('postgres', q{CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO victim, wrapper; GRANT USAGE ON SCHEMA shared TO anon; CREATE TABLE called (by text); GRANT INSERT ON called TO PUBLIC});
my $takes = q{CREATE FUNCTION shared.takes(r net._http_response) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.called VALUES ('%s as ' || current_user) $$};
run_as('victim', sprintf $takes, 'honest');
$id = run_as('anon', "SELECT net.http_request('GET', '" . $stub->url('/late') . "', not_before => now() + interval '1 hour', on_response => 'shared.takes(net._http_response)')");
my $same = run_as('anon', "SELECT net.http_request('GET', '" . $stub->url('/late') . "', not_before => now() + interval '1 hour', on_response => 'anon.answered_well(net._http_response)')");
run_as('victim', 'DROP FUNCTION shared.takes');
run_as('wrapper', sprintf $takes, 'another');
run_as('postgres', q{UPDATE net.http_request_queue SET ready_at = now()});
wait_for($node, "SELECT callback_state, callback_error ~ 'is not the one that was to be called' FROM net._http_response WHERE id = $id", 'failed|t',
	'what has its name now, and another owner, is not called');
is(run_as('postgres', 'SELECT count(*) FROM called'), '0', 'a function of another owner that has the callback\'s name did nothing');
run_as('wrapper', 'DROP FUNCTION shared.takes');
run_as('victim', sprintf $takes, 'honest again');
run_as('anon', "SELECT net.repeat_callback($id)");
wait_for($node, 'SELECT by FROM called', 'honest again as anon', 'a function of the same owner that has the callback\'s name is called');
my (undef, $err) = as('anon', "CREATE FUNCTION pg_temp.gone(r net._http_response) RETURNS void LANGUAGE sql AS ''; SELECT net.http_request('GET', '$url', on_response => 'pg_temp.gone(net._http_response)')");
like($err, qr/ERROR:  function pg_temp\w*\.gone\(net\._http_response\) is temporary/, 'a callback that no other process sees is refused at once');

$node->stop;

# ---- a cluster whose group may read --------------------------------------------------------------
my $open = new_node('group_access', init => { extra => ['--allow-group-access'] });
$open->start;
install($open);
my $key_file = $open->data_dir . '/securatlas_sched.key';
is(sprintf('%04o', (stat $key_file)[2] & 07777), '0640', 'where the group may read the data, for backups, it may read the key');
is($open->safe_psql('postgres', q{SELECT net.set_secret('a', 'b') IS NOT NULL}), 't', 'the key that the group may read is used');
$open->stop;
chmod 0644, $key_file;
$open->start;
(undef, undef, $err) = $open->psql('postgres', q{SELECT net.set_secret('a', 'b')});
like($err, qr/secret key file .* must not be accessible to others/, 'a key that others may read is refused');

done_testing();
