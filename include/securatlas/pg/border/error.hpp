// A PostgreSQL error: SQLSTATE, message, detail, hint, context.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace securatlas::pg {

// Thrown by everything in src/pg, and by the app for errors that a user should see. pg::entry turns
// it into ereport(ERROR). If PostgreSQL raised it, it may only be swallowed by aborting the
// (sub)transaction in which it happened.
class Error : public std::exception {
  public:
    // An error of this library. `sqlstate` has five characters.
    Error(std::string sqlstate, std::string message, std::string detail = {}, std::string hint = {})
        : sqlstate_(std::move(sqlstate)),
          message_(std::move(message)),
          detail_(std::move(detail)),
          hint_(std::move(hint)) {}

    // An error that PostgreSQL raised; `origin` is its ErrorData, which has more fields than this
    // class.
    Error(Error parts, std::string context, std::shared_ptr<void> origin)
        : Error(std::move(parts)) {
        context_ = std::move(context);
        origin_ = std::move(origin);
    }

    const std::string& sqlstate() const { return sqlstate_; }
    const std::string& message() const { return message_; }
    const std::string& detail() const { return detail_; }
    const std::string& hint() const { return hint_; }
    const std::string& context() const { return context_; }
    // PostgreSQL's ErrorData; null if PostgreSQL did not raise the error.
    const std::shared_ptr<void>& origin() const { return origin_; }
    const char* what() const noexcept override { return message_.c_str(); }

  private:
    std::string sqlstate_;
    std::string message_;
    std::string detail_;
    std::string hint_;
    std::string context_;
    std::shared_ptr<void> origin_;
};

// The error as it is stored in tables: "ERROR: ..." followed by detail, hint and context as far as
// it has them, each on a line of its own.
std::string error_text(const std::exception& error);

}  // namespace securatlas::pg
