-- ==== schema net: requests made by triggers ==================================================

CREATE FUNCTION net.http_webhook() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_http_webhook';
COMMENT ON FUNCTION net.http_webhook() IS 'For triggers: posts {"type", "table", "schema", "record", "old_record"} to a URL when the transaction commits, in the name of the table''s owner, who alone may name secrets. Arguments: URL [, headers as JSON [, timeout in milliseconds [, parameters as JSON]]].';
