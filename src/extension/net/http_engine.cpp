// The entry point of securatlas_sched_http, the library that links libcurl. Only the http worker
// loads it, so that the postmaster and the backends are free of libcurl and its dependencies.
#include "securatlas/http/engine_library.hpp"
#include "securatlas/http/sender.hpp"
#include "securatlas/pg/border/prelude.hpp"

namespace http = securatlas::http;

extern "C" {

PG_MODULE_MAGIC;

PGDLLEXPORT http::Sender* SECURATLAS_MAKE_SENDER(http::SenderOptions* options);

// Called from C++: exceptions may leave it.
http::Sender* SECURATLAS_MAKE_SENDER(http::SenderOptions* options) {
    return http::make_sender(std::move(*options)).release();
}

}  // extern "C"
