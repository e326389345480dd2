-- ==== schema net: requests made by triggers ==================================================

CREATE FUNCTION net.http_webhook() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'securatlas_http_webhook';
COMMENT ON FUNCTION net.http_webhook() IS 'Trigger function: posts {"type", "table", "schema", "record", "old_record"} to a URL when the transaction commits. The request belongs to the owner of the table. Arguments: URL [, headers as JSON [, timeout in milliseconds [, query parameters as JSON]]].';
