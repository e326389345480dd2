# The history as its owner has altered it: the outcome of a run heeds what an UPDATE would heed, in
# sessions of a plain role and at every isolation level.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $node = new_node('altered', init => { allows_streaming => 'logical' });
$node->start;
install($node);
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA cron TO worker;
	CREATE TABLE effects (name text, isolation text); GRANT INSERT ON effects TO worker});

# Runs the job once; its row when it has ended.
sub outcome
{
	my ($name, $command, $columns) = @_;
	$command //= 'SELECT 1';
	my $run = sql("SET ROLE worker; SELECT cron.run_job(cron.schedule('$name', '\@yearly', \$c\$$command\$c\$))");
	wait_for($node, "SELECT status IN ('succeeded', 'failed') FROM cron.job_run_details WHERE runid = $run", 't', "$name ends");
	return sql("SELECT concat_ws('|', status, " . ($columns // 'sqlstate') . ") FROM cron.job_run_details WHERE runid = $run");
}

# ---- as it was installed ------------------------------------------------------------------------

is(outcome('plain', 'SELECT 1', 'sqlstate, return_message, reason IS NULL, transactional, roleid::regrole, start_time <= end_time, job_pid > 0'),
	'succeeded|00000|SELECT 1|t|t|worker|t|t', 'every column of an outcome is written');
is(outcome('fails', 'SELECT 1/0', 'sqlstate, return_message, transactional'),
	'failed|22012|ERROR: division by zero|t', 'and of a failure');
is(outcome('commits', 'DO $$BEGIN COMMIT; PERFORM 1; END$$', 'transactional'), 'succeeded|f',
	'a run that has committed stays marked');
for my $level ('read committed', 'repeatable read', 'serializable')
{
	(my $name = $level) =~ tr/ /_/;
	is(outcome($name, "SET TRANSACTION ISOLATION LEVEL $level; INSERT INTO public.effects VALUES ('$name', current_setting('transaction_isolation'))"),
		'succeeded|00000', "$level: the outcome is written");
	is(sql("SELECT isolation FROM effects WHERE name = '$name'"), $level, 'with the effects');
}
is(outcome('read_only', 'SET TRANSACTION READ ONLY; SELECT 1'), 'succeeded|00000', 'also in a read-only transaction');

# A command so long that it is stored out of line, which every version of the row has to keep.
my $long = q{SELECT '} . join('', map { chr(97 + ($_ * 7919) % 26) . $_ } 1 .. 20000) . q{'};
sql('ALTER TABLE cron.job_run_details ALTER command SET STORAGE EXTERNAL');
is(outcome('long', $long, 'length(command)'), 'succeeded|' . length($long), 'a long command stays');
sql(q{DELETE FROM cron.job WHERE jobname = 'long'});

# What the indexes find is the row as it is now.
is(sql(q{SET enable_seqscan = off; SELECT count(*) FROM cron.job_run_details WHERE start_time > now() - interval '1 day'}),
	sql('SELECT count(*) FROM cron.job_run_details'), 'the index on the start finds every run');
is(sql(q{SET enable_seqscan = off; SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}), '0',
	'and that on unfinished ones none');

# While somebody changes the row, the outcome waits and takes over the change.
my $other = $node->background_psql('postgres', on_error_stop => 1);
sql("CREATE FUNCTION hold() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_xact_lock_shared(7)'; SELECT 1");
$other->query_safe('SELECT pg_advisory_lock(7)');
my $held = sql(q{SET ROLE worker; SELECT cron.run_job(cron.schedule('held', '@yearly', 'SELECT public.hold()'))});
wait_for($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}, '1', 'a run waits');
$other->query_safe("BEGIN; UPDATE cron.job_run_details SET reason = 'by hand', transactional = false WHERE runid = $held; SELECT pg_advisory_unlock(7)");
wait_for($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'securatlas_sched job worker' AND wait_event = 'transactionid'}, '1',
	'its outcome waits for the change of its row');
$other->query_safe('COMMIT');
wait_for($node, "SELECT concat_ws('|', status, transactional) FROM cron.job_run_details WHERE runid = $held", 'succeeded|f',
	'and keeps what was changed');
$other->quit;

# ---- as its owner has altered it -----------------------------------------------------------------

sql(q{
	CREATE TABLE seen (runid bigint, before text, after text);
	CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.seen VALUES (NEW.runid, OLD.status, NEW.status); RETURN NEW; END $$;
	CREATE TRIGGER see AFTER UPDATE ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION see();
	ALTER TABLE cron.job_run_details ENABLE ALWAYS TRIGGER see});
is(outcome('seen'), 'succeeded|00000', 'with a trigger of its owner');
is(sql(q{SELECT string_agg(before || ' ' || after, ', ') FROM seen}), 'starting succeeded', 'the trigger fires once');
sql('DROP TRIGGER see ON cron.job_run_details');

sql(q{ALTER TABLE cron.job_run_details ADD COLUMN took interval GENERATED ALWAYS AS (end_time - start_time) STORED});
is(outcome('took', 'SELECT 1', 'took = end_time - start_time'), 'succeeded|t', 'a generated column is computed');
sql('ALTER TABLE cron.job_run_details DROP COLUMN took');
is(outcome('took no more'), 'succeeded|00000', 'and a dropped one left out');

sql(q{ALTER TABLE cron.job_run_details ADD CONSTRAINT no_such_run CHECK (NOT (jobname = 'unwanted' AND status = 'succeeded'))});
is(outcome('unwanted', q{INSERT INTO public.effects VALUES ('unwanted')}), 'failed|23514', 'a constraint refuses an outcome');
is(sql(q{SELECT count(*) FROM effects WHERE name = 'unwanted'}), '0', 'and the effects with it');
sql('ALTER TABLE cron.job_run_details DROP CONSTRAINT no_such_run');

sql(q{ALTER TABLE cron.job_run_details ADD COLUMN label text DEFAULT 'none';
	CREATE INDEX by_word ON cron.job_run_details (upper(return_message)) WHERE status <> 'starting';
	CREATE INDEX by_block ON cron.job_run_details USING brin (end_time)});
is(outcome('indexed', q{SELECT 'x'}, 'label'), 'succeeded|none', 'with indexes of other kinds');
is(sql(q{SET enable_seqscan = off; SELECT jobname FROM cron.job_run_details
	WHERE upper(return_message) = 'SELECT 1' AND status <> 'starting' AND jobname = 'indexed'}), 'indexed',
	'they have the outcome');
sql('DROP INDEX cron.by_word; DROP INDEX cron.by_block');

sql(q{CREATE UNIQUE INDEX one_success ON cron.job_run_details (jobid) WHERE status = 'succeeded'});
is(outcome('once'), 'succeeded|00000', 'with a unique index of the runs that have succeeded');
is(outcome('once', q{INSERT INTO public.effects VALUES ('twice')}), 'failed|23505', 'the second success of a job is refused');
is(sql(q{SELECT count(*) FROM effects WHERE name = 'twice'}), '0', 'and its effects with it');
sql('DROP INDEX cron.one_success');

sql(q{CREATE RULE kept AS ON UPDATE TO cron.job_run_details WHERE NEW.jobname = 'ruled'
	DO ALSO INSERT INTO public.seen VALUES (NEW.runid, 'rule', NEW.status);
	ALTER TABLE cron.job_run_details ENABLE ALWAYS RULE kept});
is(outcome('ruled'), 'succeeded|00000', 'with a rule');
is(sql(q{SELECT count(*) FROM seen WHERE before = 'rule'}), '1', 'the rule acts');
sql('DROP RULE kept ON cron.job_run_details');

sql('ALTER TABLE cron.job_run_details DROP CONSTRAINT job_run_details_pkey');
is(outcome('no key'), 'succeeded|00000', 'without the primary key');
sql('ALTER TABLE cron.job_run_details ADD PRIMARY KEY (runid)');

sql(q{ALTER TABLE cron.job_run_details REPLICA IDENTITY FULL; CREATE PUBLICATION history FOR TABLE cron.job_run_details;
	SELECT pg_create_logical_replication_slot('decoded', 'test_decoding')});
my $run = outcome('published', 'SELECT 1', 'runid');
$run =~ s/.*\|//;
like(sql(q{SELECT string_agg(data, E'\n') FROM pg_logical_slot_get_changes('decoded', NULL, NULL)}),
	qr/job_run_details: UPDATE: old-key:[^\n]*runid\[bigint\]:$run [^\n]*status\[text\]:'starting'[^\n]* new-tuple:[^\n]*status\[text\]:'succeeded'/,
	'an outcome is decoded with the old row');
is(sql(q{SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')}), '0', 'no run is left');
sql(q{SELECT pg_drop_replication_slot('decoded'); DROP PUBLICATION history; ALTER TABLE cron.job_run_details REPLICA IDENTITY DEFAULT});
is(outcome('at last'), 'succeeded|00000', 'and as before');

# ---- how far the scheduler has planned -----------------------------------------------------------

sql(q{SELECT cron.schedule('steady', '1 second', 'SELECT 1')});
sub advances
{
	my ($what) = @_;
	my $now = sql('SELECT clock_timestamp()');
	wait_for($node, "SELECT count(*) FROM cron.scheduler_state WHERE planned_until > '$now'", '1', $what);
	is(sql('SELECT count(*) FROM cron.scheduler_state'), '1', 'there is one row');
	return;
}
advances('planned_until advances');
sql('VACUUM FULL cron.scheduler_state');
advances('after its row has moved');
sql(q{UPDATE cron.scheduler_state SET database_name = database_name});
advances('after somebody has changed it');
sql('DELETE FROM cron.scheduler_state');
advances('after somebody has deleted it');
sql('BEGIN; TRUNCATE cron.scheduler_state; COMMIT');
advances('after somebody has truncated the table');
sql(q{
	CREATE TABLE moved (planned_until timestamptz);
	CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.moved VALUES (NEW.planned_until); RETURN NEW; END $$;
	CREATE TRIGGER follow AFTER UPDATE ON cron.scheduler_state FOR EACH ROW EXECUTE FUNCTION follow();
	ALTER TABLE cron.scheduler_state ENABLE ALWAYS TRIGGER follow});
wait_for($node, 'SELECT count(*) > 1 FROM moved', 't', 'a trigger of its owner fires each time');
done_testing();
