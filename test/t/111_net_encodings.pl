# Databases with other encodings than UTF8: responses are converted, requests are sent in UTF-8.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use PostgreSQL::Test::Utils;
use Sched;
use Test::More;

my $stub = HttpStub->new;
my $dir = PostgreSQL::Test::Utils::tempdir;
# Whose name holds a sign that EUC_JP has no place for.
system_or_bail('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-utf8', '-days', '2', '-keyout', "$dir/key",
	'-out', "$dir/certificate", '-subj', "/CN=x\xe2\x82\xac");
my $node = new_node('encodings', init => { extra => [ '--encoding=UTF8', '--locale=C' ] }, 'net.ca_file' => "'$dir/certificate'");
$node->start;
for my $encoding (qw(LATIN1 SQL_ASCII EUC_JP))
{
	$node->safe_psql('postgres', "CREATE DATABASE $encoding ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'");
}
my @databases = qw(postgres latin1 sql_ascii euc_jp);
install($node, $_) for @databases;

sub value_of
{
	my ($database, $request, $columns) = @_;
	my $id = $node->safe_psql($database, "SELECT net.$request");
	$node->poll_query_until($database, "SELECT EXISTS (SELECT FROM net._http_response WHERE id = $id)") or die "no response";
	return $node->safe_psql($database, "SELECT $columns FROM net._http_response WHERE id = $id");
}

# The bytes of a text of the database.
sub bytes_of { return "encode(convert_to($_[0], getdatabaseencoding()), 'hex')" }

# ---- what comes ----------------------------------------------------------------------------------
my $both = bytes_of('content') . ", encode(content_bytes, 'hex')";
for my $case (
	[ 'postgres', 'utf-8', '5ac3bc72696368', '5ac3bc72696368|' ],
	[ 'postgres', 'ISO-8859-1', '5afc72696368', '5ac3bc72696368|' ],
	[ 'postgres', 'windows-1252', '80', 'e282ac|' ],
	[ 'postgres', 'Shift_JIS', '82a0', 'e38182|' ],
	[ 'postgres', 'us-ascii', '61', '61|' ],
	[ 'postgres', 'utf-16', '6100', '|6100' ],
	[ 'postgres', '-', 'fc', '|fc' ],
	[ 'postgres', 'iso-8859-1', '610062', '|610062' ],
	[ 'postgres', '-', '', '|' ],
	[ 'latin1', 'utf-8', '5ac3bc72696368', '5afc72696368|' ],
	[ 'latin1', '-', '5ac3bc72696368', '5afc72696368|' ],
	[ 'latin1', 'iso-8859-1', '5afc72696368', '5afc72696368|' ],
	[ 'latin1', 'iso-8859-2', 'e1', 'e1|' ],
	[ 'latin1', '-', '5afc72696368', '|5afc72696368' ],
	[ 'latin1', 'utf-8', 'e282ac', '|e282ac' ],
	[ 'latin1', 'no-such-charset', '61', '|61' ],
	[ 'latin1', 'x' x 100, '61', '|61' ],
	[ 'sql_ascii', 'utf-8', '5ac3bc', '5ac3bc|' ],
	[ 'sql_ascii', 'iso-8859-1', '5afc', '5afc|' ],
	[ 'sql_ascii', '-', '6100', '|6100' ],
	[ 'euc_jp', 'iso-8859-1', 'fc', '8fabe4|' ],
	[ 'euc_jp', 'utf-8', 'e38182', 'a4a2|' ])
{
	my ($database, $charset, $sent, $kept) = @$case;
	is(value_of($database, "http_get('" . $stub->url("/text/$charset/$sent") . "')", $both), $kept eq '|' ? '|' : $kept,
		"in $database: " . length($sent) / 2 . " bytes of $charset");
}

# ---- what goes -----------------------------------------------------------------------------------
my %umlaut = (postgres => 'chr(252)', latin1 => 'chr(252)', euc_jp => "convert_from('\\x8fabe4', 'EUC_JP')", sql_ascii => "E'\\303\\274'");
for my $database (@databases)
{
	my $u = $umlaut{$database};
	my $q = "jsonb_build_object($u, $u)";
	value_of($database, "http_get('" . $stub->url("/get/$database") . "', $q)", 'id');
	is(scalar($stub->requests("/get/$database?%C3%BC=%C3%BC")), 1, "in $database: a parameter");
	value_of($database, "http_post_form('" . $stub->url("/form/$database") . "', $q)", 'id');
	is(($stub->requests("/form/$database"))[0]{body}, '%C3%BC=%C3%BC', "in $database: a form");
	value_of($database, "http_post('" . $stub->url("/json/$database") . "', $q)", 'id');
	is(($stub->requests("/json/$database"))[0]{body}, "{\"\xc3\xbc\": \"\xc3\xbc\"}", "in $database: JSON");
	$node->safe_psql($database, "SELECT net.set_secret('umlaut', $u)");
	value_of($database, "http_post_form('" . $stub->url("/secret/$database") . "', '{\"s\": \"{{secret:umlaut}}\"}')", 'id');
	is(($stub->requests("/secret/$database"))[0]{body}, 's=%C3%BC', "in $database: a secret in a form");
	is($node->safe_psql($database, "SELECT net._urlencode_string($u)"), '%C3%BC', "in $database: net._urlencode_string()");
}

# ---- what a callback gets of a sealed body -------------------------------------------------------
for my $database (qw(postgres latin1))
{
	$node->safe_psql($database, 'CREATE TABLE seen (content text, bytes bytea);
		CREATE FUNCTION see(r net._http_response) RETURNS void LANGUAGE sql AS $$ INSERT INTO seen VALUES (r.content, r.content_bytes) $$');
	value_of($database, "http_request('GET', '" . $stub->url('/text/utf-8/5ac3bc') . "', store_response => 'sealed', on_response => 'see(net._http_response)')", 'id');
	wait_for($node, 'SELECT ' . bytes_of('content') . ", bytes IS NULL FROM seen", $database eq 'latin1' ? '5afc|t' : '5ac3bc|t',
		"in $database: a sealed body in a callback", $database);
}

# ---- a body that was cut within a character ------------------------------------------------------
$node->safe_psql('postgres', q{ALTER SYSTEM SET net.max_response_bytes = '2B'});
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
$node->poll_query_until('postgres', "SELECT current_setting('net.max_response_bytes') = '2B'") or die;
is(value_of('latin1', "http_get('" . $stub->url('/text/utf-8/5ac3bc') . "')", "$both, truncated"), '5a||t', 'half a character is left out');

# ---- messages ------------------------------------------------------------------------------------
my $pid = open(my $server, '-|', 'openssl', 's_server', '-accept', '127.0.0.1:0', '-key', "$dir/key", '-cert', "$dir/certificate", '-www')
  or die "openssl: $!";
my $port;
while (!defined $port) { $port = $1 if (<$server> // die 'no server') =~ /^ACCEPT \S*:(\d+)/ }
for my $database (qw(euc_jp latin1))
{
	my $id = $node->safe_psql($database, "SELECT net.http_request('GET', 'https://127.0.0.1:$port/', max_attempts => 1000)");
	wait_for($node, "SELECT attempts > 0 FROM net.http_request_queue WHERE id = $id", 't', "in $database: the wrong host is told", $database);
	# An error if it is no valid text.
	is($node->safe_psql($database, "SELECT last_error = convert_from(convert_to(last_error, 'UTF8'), 'UTF8') FROM net.http_request_queue WHERE id = $id"),
		't', "in $database: last_error is valid text, whatever is in the certificate");
}
kill 'TERM', $pid;
close $server;
$node->stop;
done_testing();
