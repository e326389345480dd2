# The reference in doc/ is the one that scripts/reference makes of this catalog, and every object that a user
# sees explains itself: functions, their arguments and errors, tables, views, columns, types.
use strict;
use warnings;
use FindBin;
use IPC::Run qw(run);
use lib "$FindBin::RealBin/lib";
use Sched;
use PostgreSQL::Test::Utils qw(slurp_file);
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $node = new_node('reference');
$node->start;
install($node);

my ($made, $errors);
run([ "$root/scripts/reference", '-h', $node->host, '-p', $node->port, '-d', 'postgres' ], '>', \$made, '2>', \$errors)
  or diag($errors);
my $kept = slurp_file("$root/doc/reference.md");
is($made, $kept, 'doc/reference.md is current: scripts/reference > doc/reference.md makes it again');

my $ours = q{(SELECT oid FROM pg_namespace WHERE nspname IN ('cron', 'cron_stat', 'net', 'securatlas'))};
is($node->safe_psql('postgres', qq{
	SELECT 'schema ' || nspname FROM pg_namespace WHERE oid IN $ours AND obj_description(oid, 'pg_namespace') IS NULL
	UNION ALL
	SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace IN $ours AND obj_description(oid, 'pg_proc') IS NULL
	UNION ALL
	SELECT 'relation ' || oid::regclass FROM pg_class
	 WHERE relnamespace IN $ours AND relkind IN ('r', 'v', 'S') AND obj_description(oid, 'pg_class') IS NULL
	UNION ALL
	SELECT 'column ' || a.attrelid::regclass || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	 WHERE c.relnamespace IN $ours AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
	   AND col_description(c.oid, a.attnum) IS NULL
	UNION ALL
	SELECT 'type ' || oid::regtype FROM pg_type WHERE typnamespace IN $ours AND typtype IN ('d', 'e') AND obj_description(oid, 'pg_type') IS NULL}),
	'', 'every object has a comment');

# Of the functions for users: a comment names each argument that the caller gives.
is($node->safe_psql('postgres', qq{
	SELECT f.oid::regprocedure || ' ' || argument
	  FROM pg_proc f, unnest(f.proargnames, COALESCE(f.proargmodes, array_fill('i'::"char", ARRAY[COALESCE(array_length(f.proargnames, 1), 0)])))
	       AS a(argument, mode)
	 WHERE f.pronamespace IN $ours AND f.proname !~ '^_' AND mode IN ('i', 'v')
	   AND obj_description(f.oid, 'pg_proc') !~ ('(^|\\n|, )' || argument || '(, [a-z_]+)*: ')
	 ORDER BY 1}), '', 'the comment of every function for users explains each of its arguments');

done_testing();
