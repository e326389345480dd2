-- ==== schema net: callbacks ==================================================================

CREATE FUNCTION net.repeat_callback(request_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'securatlas_repeat_callback';
COMMENT ON FUNCTION net.repeat_callback(bigint) IS 'Calls on_response again with the response to a request, after all attempts to call it have failed. False: the caller has no response whose callback has failed.
request_id: id that the function which made the request has returned.';
