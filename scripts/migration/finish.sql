-- The end of both directions: the grants, and then the move is made, or only shown.
\ir give_grants.sql
\if :apply
COMMIT;
\echo 'Done.'
\else
ROLLBACK;
\echo 'Nothing was changed. With --apply it will be.'
\endif
