// The interface between the library with the engine and the one that uses it. The name of the
// function contains a checksum of the headers that both were built from (Makefile.pgxs): a server
// that was started before an update finds no function, instead of one with another layout of its
// arguments.
#pragma once

#include "securatlas/http/sender.hpp"

namespace securatlas::http {

#define SECURATLAS_JOIN_TEXTS(a, b) a##b
#define SECURATLAS_JOIN(a, b) SECURATLAS_JOIN_TEXTS(a, b)
#define SECURATLAS_MAKE_SENDER SECURATLAS_JOIN(securatlas_make_sender_, SECURATLAS_INTERFACE)
#define SECURATLAS_TEXT_OF(a) #a
#define SECURATLAS_TEXT(a) SECURATLAS_TEXT_OF(a)

inline constexpr const char* kEngineLibrary = "securatlas_sched_http";
inline constexpr const char* kMakeSender = SECURATLAS_TEXT(SECURATLAS_MAKE_SENDER);
// Like make_sender(); the caller owns the result.
using MakeSender = Sender* (*)(SenderOptions* options);

}  // namespace securatlas::http
