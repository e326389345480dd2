// An error of PostgreSQL's kind: SQLSTATE, message, detail, hint, context.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>

namespace securatlas::pg {

// Thrown by everything in src/pg, and by the app where a user is to see an error. Turned into
// ereport(ERROR) by pg::entry. An Error that came out of PostgreSQL may be swallowed only by
// aborting the (sub)transaction it happened in.
class Error : public std::exception {
  public:
    // `sqlstate` has five characters.
    Error(std::string sqlstate, std::string message, std::string detail = {}, std::string hint = {})
        : sqlstate_(std::move(sqlstate)),
          message_(std::move(message)),
          detail_(std::move(detail)),
          hint_(std::move(hint)) {}

    // One that PostgreSQL reported; `origin` is its ErrorData, which has more than is here.
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
    // Null if PostgreSQL did not report it.
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

}  // namespace securatlas::pg
