// libcurl's global state.
#pragma once

namespace securatlas::http {

// Once in a process that uses an Engine, before it has threads. Throws std::runtime_error.
void initialize_library();

}  // namespace securatlas::http
