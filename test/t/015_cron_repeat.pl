# Interrupted runs are repeated and failed runs retried, however many crashes happen before the next
# attempt is claimed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('repeat');
$node->start;
install($node);
make_effects($node);
$node->safe_psql('postgres', q{
	CREATE ROLE anna LOGIN;
	GRANT USAGE ON SCHEMA cron TO anna;
	CREATE TABLE gate (jobname text);
	GRANT SELECT ON gate TO PUBLIC;
	CREATE FUNCTION wait_at_gate(name text) RETURNS void LANGUAGE plpgsql AS $f$
	BEGIN
		WHILE EXISTS (SELECT FROM public.gate WHERE jobname = name) LOOP
			PERFORM pg_sleep(0.01);
		END LOOP;
	END $f$;
	-- No repeat can be claimed, as if each crash came just before.
	CREATE FUNCTION refuse_repeats() RETURNS trigger LANGUAGE plpgsql AS $f$
	BEGIN
		IF NEW.attempt > 1 THEN RAISE 'no repeats now'; END IF;
		RETURN NEW;
	END $f$;
	CREATE TRIGGER refuse_repeats BEFORE INSERT ON cron.job_run_details
	    FOR EACH ROW EXECUTE FUNCTION refuse_repeats();
	ALTER TABLE cron.job_run_details ENABLE ALWAYS TRIGGER refuse_repeats;});

# Starts a run that waits, and ends it by a crash. Returns its number.
my $command = effect();
sub interrupt
{
	my ($name, $how) = @_;
	$node->safe_psql('postgres', qq{
		INSERT INTO gate VALUES ('$name');
		SELECT cron.schedule_in_database('$name', '$how', \$c\$SELECT public.wait_at_gate('$name'); $command\$c\$,
		                                 'postgres', 'anna')});
	$node->safe_psql('postgres', "SELECT cron.run_job('$name')") if $how eq '0 0 1 1 *';
	wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE jobname = '$name' AND status = 'running'",
		'1', "$name: runs");
	return;
}

sub attempts
{
	my ($name) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(attempt || ' ' || status, ', ' ORDER BY attempt)
		  FROM cron.job_run_details WHERE jobname = '$name'});
}

interrupt('asked for', '0 0 1 1 *');
interrupt('due', '@at ' . $node->safe_psql('postgres', "SELECT now() + interval '0.2 seconds'"));

# A run that has failed, and whose retry is not claimed.
$node->safe_psql('postgres', qq{
	CREATE SEQUENCE tries;
	GRANT USAGE ON SEQUENCE tries TO anna;
	SELECT cron.schedule_in_database('retried', '\@at ' || (now() + interval '0.2 seconds'), \$c\$
		DO \$d\$ BEGIN
			IF nextval('public.tries') = 1 THEN RAISE 'not yet'; END IF;
		END \$d\$; $command\$c\$, 'postgres', 'anna');
	SELECT cron.configure_job('retried', max_retries => 1, retry_period => '10 ms');
	UPDATE cron.job SET missed = 'all' WHERE jobname = 'retried'});
wait_for($node, "SELECT count(*) FROM cron.job_run_details WHERE jobname = 'retried' AND status = 'failed'",
	'1', 'retried: failed');
wait_until(sub { log_count($node, qr/no repeats now/) > 0 }, 'retried: the retry was tried');

for my $crash (1 .. 3)
{
	kill_server($node);
	my $tries = log_count($node, qr/no repeats now/);
	$node->start;
	wait_until(sub { log_count($node, qr/no repeats now/) > $tries }, "crash $crash: the repeat was tried");
	unlike(attempts($_), qr/2/, "crash $crash: $_: nothing was claimed") for 'asked for', 'due', 'retried';
}
$node->safe_psql('postgres', 'DROP FUNCTION refuse_repeats() CASCADE; TRUNCATE gate');
for my $name ('asked for', 'due', 'retried')
{
	wait_for($node, qq{
		SELECT count(*) FROM cron.job_run_details WHERE jobname = '$name' AND status = 'succeeded'},
		'1', "$name: it was repeated");
	is(attempts($name), '1 failed, 2 succeeded', "$name: the history has both attempts");
}
exactly_once($node, 'after three crashes');

$node->stop;
done_testing();
