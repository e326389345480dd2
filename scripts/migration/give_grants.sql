-- What keep_grants.sql has kept, on what is there under the same name now.
CREATE FUNCTION pg_temp.give_grants() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    g record;
BEGIN
    FOR g IN
        SELECT k.statement,
               CASE k.kind
                   WHEN 'SCHEMA' THEN to_regnamespace(k.name) IS NOT NULL
                   WHEN 'FUNCTION' THEN EXISTS (SELECT FROM pg_proc p WHERE p.oid::regprocedure::text = k.name)
                   ELSE to_regclass(k.name) IS NOT NULL
               END AS is_there
          FROM pg_temp.kept_grant k ORDER BY k.kind = 'SCHEMA' DESC, k.statement
    LOOP
        IF g.is_there THEN
            EXECUTE g.statement;
        END IF;
        RETURN NEXT '  ' || g.statement || CASE WHEN NOT g.is_there THEN '   -- not possible: it is not there now' ELSE '' END;
    END LOOP;
END $$;
\echo 'Grants:'
SELECT pg_temp.give_grants();
