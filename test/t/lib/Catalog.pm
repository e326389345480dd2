# What the catalogs say about the extension in a database.
package Catalog;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(catalog differences);

# Each query gives lines of: object, what of it, its value. Options of columns that PostgreSQL keeps
# there for itself (pg_...) are left out.
my $members = q{
	SELECT d.classid, d.objid, pg_identify_object(d.classid, d.objid, 0) AS about
	  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname IN ('securatlas_sched', 'pg_cron', 'pg_net')};
my $relations = qq{
	SELECT c.*, c.oid::regclass::text AS name
	  FROM ($members) m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid};
my @queries = (
	qq{SELECT (about).type || ' ' || (about).identity AS object, 'is', 'a member'
	     FROM ($members) m},
	qq{SELECT (about).type || ' ' || (about).identity, 'comment', obj_description(objid, classid::regclass::name)
	     FROM ($members) m},
	qq{SELECT (about).type || ' ' || (about).identity, 'initial privileges',
	          (SELECT string_agg(i.objsubid || ' ' || a::text, ', ' ORDER BY i.objsubid, a::text)
	             FROM pg_init_privs i, unnest(i.initprivs) a
	            WHERE i.objoid = m.objid AND i.classoid = m.classid)
	     FROM ($members) m},
	qq{SELECT 'function ' || p.oid::regprocedure, w.what, w.value
	     FROM ($members) m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid,
	          LATERAL (VALUES ('definition', CASE p.prokind WHEN 'a' THEN (SELECT a::text FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
	                                 ELSE pg_get_functiondef(p.oid) END), ('owner', p.proowner::regrole::text),
	              ('privileges', (SELECT string_agg(a::text, ', ' ORDER BY a::text)
	                                FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) a))) w(what, value)},
	qq{SELECT 'schema ' || nspname, w.what, w.value
	     FROM ($members) m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid,
	          LATERAL (VALUES ('owner', n.nspowner::regrole::text), ('privileges', n.nspacl::text)) w(what, value)},
	qq{SELECT 'type ' || t.oid::regtype, w.what, w.value
	     FROM ($members) m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid,
	          LATERAL (VALUES ('kind', t.typtype::text), ('owner', t.typowner::regrole::text),
	              ('privileges', t.typacl::text),
	              ('labels', (SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)),
	              ('columns', (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
	                             FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0))) w(what, value)},
	qq{SELECT 'relation ' || name, w.what, w.value
	     FROM ($relations) c,
	          LATERAL (VALUES ('kind', concat(c.relkind, c.relpersistence)), ('owner', c.relowner::regrole::text),
	              ('options', c.reloptions::text), ('replica identity', c.relreplident::text),
	              ('row security', concat(c.relrowsecurity, c.relforcerowsecurity)),
	              ('access method', (SELECT amname FROM pg_am WHERE oid = c.relam)::text),
	              ('privileges', (SELECT string_agg(a::text, ', ' ORDER BY a::text)
	                                FROM unnest(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) a)),
	              ('view', CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END),
	              ('rules', (SELECT string_agg(rulename, ', ' ORDER BY rulename) FROM pg_rewrite WHERE ev_class = c.oid)),
	              ('sequence', (SELECT to_jsonb(s) - 'seqrelid' FROM pg_sequence s WHERE seqrelid = c.oid)::text)) w(what, value)},
	qq{SELECT 'column ' || c.name || '.' || a.attname, w.what, w.value
	     FROM ($relations) c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum,
	          LATERAL (VALUES ('type', format_type(a.atttypid, a.atttypmod)), ('not null', a.attnotnull::text),
	              ('collation', a.attcollation::regcollation::text), ('default', pg_get_expr(d.adbin, d.adrelid)),
	              ('generated', concat(a.attgenerated, a.attidentity)), ('storage', concat(a.attstorage, a.attcompression)),
	              ('options', (SELECT string_agg(o, ', ') FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg\_%')),
	              ('privileges', a.attacl::text),
	              ('place', (SELECT count(*) FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attnum > 0
	                            AND b.attnum <= a.attnum AND NOT b.attisdropped)::text),
	              ('comment', col_description(c.oid, a.attnum))) w(what, value)},
	qq{SELECT 'constraint ' || k.conname || ' of ' || c.name, w.what, w.value
	     FROM ($relations) c JOIN pg_constraint k ON k.conrelid = c.oid,
	          LATERAL (VALUES ('definition', pg_get_constraintdef(k.oid)), ('validated', k.convalidated::text),
	              ('comment', obj_description(k.oid, 'pg_constraint'))) w(what, value)},
	qq{SELECT 'index ' || i.indexrelid::regclass || ' of ' || c.name, w.what, w.value
	     FROM ($relations) c JOIN pg_index i ON i.indrelid = c.oid JOIN pg_class x ON x.oid = i.indexrelid,
	          LATERAL (VALUES ('definition', pg_get_indexdef(i.indexrelid)), ('options', x.reloptions::text),
	              ('valid', concat(i.indisvalid, i.indisclustered, i.indisreplident)),
	              ('comment', obj_description(i.indexrelid, 'pg_class'))) w(what, value)},
	qq{SELECT 'trigger ' || t.tgname || ' of ' || c.name, w.what, w.value
	     FROM ($relations) c JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal,
	          LATERAL (VALUES ('definition', pg_get_triggerdef(t.oid)), ('enabled', t.tgenabled::text),
	              ('comment', obj_description(t.oid, 'pg_trigger'))) w(what, value)},
	qq{SELECT 'policy ' || p.polname || ' of ' || c.name, w.what, w.value
	     FROM ($relations) c JOIN pg_policy p ON p.polrelid = c.oid,
	          LATERAL (VALUES ('command', concat(p.polcmd, p.polpermissive)), ('roles', p.polroles::regrole[]::text),
	              ('using', pg_get_expr(p.polqual, p.polrelid)), ('check', pg_get_expr(p.polwithcheck, p.polrelid)),
	              ('comment', obj_description(p.oid, 'pg_policy'))) w(what, value)},
	q{SELECT 'extension', w.what, w.value
	    FROM pg_extension e,
	         LATERAL (VALUES ('version', e.extversion), ('schema', e.extnamespace::regnamespace::text),
	             ('relocatable', e.extrelocatable::text), ('owner', e.extowner::regrole::text),
	             ('comment', obj_description(e.oid, 'pg_extension')),
	             ('dumped', (SELECT string_agg(t::regclass || ' ' || c, ', ' ORDER BY t::regclass::text)
	                           FROM unnest(e.extconfig, e.extcondition) AS u(t, c)))) w(what, value)
	   WHERE e.extname = 'securatlas_sched'});

# One line a fact.
sub catalog
{
	my ($node, $database) = @_;
	my $union = join "\nUNION ALL ", @queries;
	return [ split /\n/, $node->safe_psql($database, qq{
		SET search_path = pg_catalog;
		SELECT object || ': ' || what || ': ' || replace(coalesce(value, '-'), E'\n', '\\n ')
		  FROM ($union) AS facts(object, what, value) ORDER BY 1}) ];
}

# The lines that only one of the two lists has, each with the name of that list; '' if there are none.
sub differences
{
	my ($of, $list, $other_of, $other) = @_;
	my %here = map { $_ => 1 } @$list;
	my %there = map { $_ => 1 } @$other;
	return join "\n", sort((map { "only $of: $_" } grep { !$there{$_} } @$list),
		(map { "only $other_of: $_" } grep { !$here{$_} } @$other));
}

1;
