// The entry of securatlas_sched_http, the library that has libcurl. The http worker loads it, and
// nobody else: neither the postmaster nor a backend has libcurl and what it brings along.
#include "securatlas/http/engine.hpp"
#include "securatlas/http/engine_library.hpp"
#include "securatlas/pg/border/prelude.hpp"

namespace http = securatlas::http;

extern "C" {

PG_MODULE_MAGIC;

PGDLLEXPORT http::Engine* SECURATLAS_MAKE_ENGINE(http::EngineOptions* options);

// C++ calls it, and may be thrown at.
http::Engine* SECURATLAS_MAKE_ENGINE(http::EngineOptions* options) {
    return http::make_engine(std::move(*options)).release();
}

}  // extern "C"
