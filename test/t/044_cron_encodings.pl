# Jobs with names, commands and errors that are not ASCII, in databases of several encodings and
# across them.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{PGCLIENTENCODING} = 'UTF8';
my $node = new_node('encodings', autovacuum => 'on');
$node->start;
my %databases = (utf => 'UTF8', latin => 'LATIN1', ascii => 'SQL_ASCII');
for my $name (sort keys %databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $name ENCODING '$databases{$name}' TEMPLATE template0 LOCALE 'C'");
	install($node, $name);
	$node->safe_psql($name, 'CREATE TABLE said (what text, job text)');
}

# What psql sends and prints is bytes.
sub bytes { my ($text) = @_; utf8::encode($text); return $text; }

# Runs a command once in another database or the same; its status, SQLSTATE and message.
my $count = 0;
sub run
{
	my ($from, $to, $command) = @_;
	my $name = 'Zürich ' . ++$count;
	my $id = $node->safe_psql($from, bytes(qq{
		DO \$do\$ BEGIN PERFORM cron.schedule_in_database('$name', '0 0 1 1 *', \$c\$$command\$c\$, '$to'); END \$do\$;
		SELECT cron.run_job('$name')}));
	wait_for($node, "SELECT status NOT IN ('starting', 'running') FROM cron.job_run_details WHERE runid = $id", 't',
		"$from to $to: it ends", $from);
	return $node->safe_psql($from, qq{
		SELECT concat_ws('|', status, sqlstate, return_message) FROM cron.job_run_details WHERE runid = $id});
}

my $say = q{INSERT INTO said VALUES ('Größe: 5 µm', current_setting('cron.job_name'))};
my $fail = q{DO $$ BEGIN RAISE EXCEPTION 'Größe fehlt' USING ERRCODE = 'P1234'; END $$};
for my $name (sort keys %databases)
{
	like(run($name, $name, $say), qr/^succeeded/, "$name: a command beyond ASCII");
	is($node->safe_psql($name, 'SELECT what, job FROM said'), bytes("Größe: 5 µm|Zürich $count"),
		"$name: text and name arrive");
	my $message = bytes('Größe fehlt');
	like(run($name, $name, $fail), qr/^failed\|P1234\|ERROR: \Q$message\E/, "$name: so does an error");
	$node->safe_psql($name, 'TRUNCATE said');
}
for my $way ([ 'utf', 'latin' ], [ 'latin', 'utf' ])
{
	my ($from, $to) = @$way;
	like(run($from, $to, $say), qr/^succeeded/, "$from to $to: a command beyond ASCII");
	is($node->safe_psql($to, 'SELECT what, job FROM said'), bytes("Größe: 5 µm|Zürich $count"),
		"$from to $to: text and name are converted");
	my $message = bytes('Größe fehlt');
	like(run($from, $to, $fail), qr/^failed\|P1234\|ERROR: \Q$message\E/, "$from to $to: an error comes back converted");
}
like(run('utf', 'latin', "INSERT INTO said VALUES ('漢')"), qr/^failed\|22P05\|ERROR: command or name .* encoding .*\nDETAIL: .*UTF8.*LATIN1/s,
	'a command that the other encoding has no characters for fails and says so');
is($node->safe_psql('latin', 'SELECT count(*) FROM said'), '1', 'and does nothing');
like(run('ascii', 'utf', $say), qr/^succeeded/, 'from SQL_ASCII bytes go as they are');
is($node->safe_psql('utf', 'SELECT count(*) FROM said WHERE what LIKE \'%5%\''), '2', 'and arrive');
like(run('utf', 'ascii', $say), qr/^succeeded/, 'to SQL_ASCII, too');
my $message = bytes('Größe fehlt');
like(run('latin', 'ascii', $fail), qr/^failed\|P1234\|ERROR: \Q$message\E/, 'an error comes back from there as the bytes that it has');

$node->stop;
done_testing();
