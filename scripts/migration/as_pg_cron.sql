-- What pg_cron understands by a schedule, in words that both understand: the schedule without what
-- pg_cron passes over; 'never' if it takes the schedule and never runs the job; NULL if it refuses it.
CREATE FUNCTION pg_temp.cron_number(field int, word text) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN word ~ '^[0-9]+$' THEN word::int
                WHEN field = 4 THEN array_position('{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}', lower(word))
                WHEN field = 5 THEN array_position('{sun,mon,tue,wed,thu,fri,sat}', lower(word)) - 1 END
$$;

-- A schedule without comments and needless blanks.
CREATE FUNCTION pg_temp.bare(schedule text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(regexp_replace(btrim(regexp_replace(
               split_part(ltrim(schedule, E' \t\r\n'), E'\n', 1), '(^|[ \t])#.*$', ''), E' \t\r'), '[ \t]+', ' ', 'g'))
$$;

CREATE FUNCTION pg_temp.as_pg_cron(schedule text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    line CONSTANT text := pg_temp.bare(schedule);
    lowest CONSTANT int[] := '{0,0,1,1,0}';
    highest CONSTANT int[] := '{59,23,31,12,7}';
    words CONSTANT text[] := string_to_array(line, ' ');
    fields text[] := '{}';
    kept text[];
    rest text;
    part text[];
    first int;
    last int;
BEGIN
    IF line ~ '^@' THEN
        RETURN (SELECT words[1] WHERE words[1] IN ('@yearly', '@annually', '@monthly', '@weekly', '@daily',
                                                   '@midnight', '@hourly', '@reboot'));
    ELSIF line ~ '^\+?[0-9]+ seconds?$' THEN
        RETURN ltrim(line, '+');
    ELSIF cardinality(words) < 5 THEN
        RETURN NULL;
    END IF;
    FOR i IN 1..5 LOOP
        rest := words[i];
        kept := '{}';
        LOOP
            part := regexp_match(rest, '^(\*|[$]|[0-9]{1,4}|[a-z]+)(?:-([0-9]{1,4}|[a-z]+))?(?:/([0-9]{1,4}))?(.*)$');
            IF part IS NULL OR (part[2] IS NULL AND part[3] IS NOT NULL AND part[1] <> '*')
               OR (part[1] = '$' AND i <> 3) THEN
                RETURN NULL;
            END IF;
            first := CASE WHEN part[1] IN ('*', '$') THEN lowest[i] ELSE pg_temp.cron_number(i, part[1]) END;
            last := CASE WHEN part[2] IS NULL THEN first ELSE pg_temp.cron_number(i, part[2]) END;
            IF first IS NULL OR last IS NULL OR first NOT BETWEEN lowest[i] AND highest[i]
               OR last NOT BETWEEN lowest[i] AND highest[i] OR part[3]::int = 0 THEN
                RETURN NULL;
            END IF;
            -- A range that goes around has no values there, and a long step only the first one.
            IF first <= last THEN
                kept := kept || CASE WHEN part[3]::int > highest[i] THEN first::text
                                     ELSE part[1] || COALESCE('-' || part[2], '') || COALESCE('/' || part[3], '') END;
            END IF;
            rest := part[4];
            EXIT WHEN rest !~ '^,';
            rest := substr(rest, 2);
        END LOOP;
        IF kept = '{}' THEN
            RETURN 'never';
        END IF;
        fields := fields || array_to_string(kept, ',');
    END LOOP;
    RETURN array_to_string(fields, ' ');
END $$;
