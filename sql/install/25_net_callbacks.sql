-- ==== schema net: callbacks ==================================================================

CREATE FUNCTION net.repeat_callback(request_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_repeat_callback';
COMMENT ON FUNCTION net.repeat_callback(bigint) IS 'Has on_response called again with the response to a request, after its call has failed for good. False: it has not failed, or the response is not the caller''s.';
